"""onebuf: telemetry over HTTPS out of one fixed buffer. Imports nothing: take what you need."""

__version__ = "0.1.0"
