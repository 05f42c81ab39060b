"""CPython as MicroPython: runs firmware unchanged, many emulated devices in one process.

Nothing global is patched. Each `Device` has its own module objects with MicroPython's names and
semantics, handed to its code by an `__import__` of its own.
"""

from host.shim.device import Device

__all__ = ["Device"]
