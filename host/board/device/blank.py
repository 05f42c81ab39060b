"""An empty module; standins.py fills copies of it."""
