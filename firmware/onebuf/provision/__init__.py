"""Provisioning: asked once which cloud is ours, and who we are there; then dropped from RAM."""
