"""CircuitPython's supervisor, as far as the port needs it, on MicroPython."""

import time


def ticks_ms():
    return time.ticks_ms() & 0x1FFFFFFF
