"""CPython as a CircuitPython 10 board (ESP32-S3): what such a board lacks, it lacks here too.

Nothing global is patched: as in host.shim, each `Device` has its own module objects. Where its
semantics come from: CircuitPython's ports/espressif/common-hal, shared-module/ssl and
shared-bindings, and circuitpython-stubs.
"""

from host.shim.circuitpython.device import Device

__all__ = ["Device"]
