"""A board's module machine for one process, which is one wake.

RTC memory is the file rtc; deep sleep ends the process after a line `deepsleep {...}`; a watchdog
that starves ends it with status 3.
"""

import json
import sys
import time

_dog = {"timeout": 0, "fed": 0, "longest": 0}


class WDT:
    def __init__(self, id=0, timeout=5000):
        _dog["timeout"] = timeout
        _dog["fed"] = time.ticks_ms()

    def feed(self):
        gap = time.ticks_diff(time.ticks_ms(), _dog["fed"])
        _dog["longest"] = max(_dog["longest"], gap)
        _dog["fed"] = time.ticks_ms()
        if 0 < _dog["timeout"] < gap:
            print("the watchdog starved:", gap, "ms")
            sys.exit(3)


class RTC:
    def memory(self, data=None):
        if data is not None:
            with open("rtc", "wb") as file:
                file.write(data)
            return None
        try:
            with open("rtc", "rb") as file:
                return file.read()
        except OSError:
            return b""


def deepsleep(ms=0):
    if _dog["timeout"]:
        WDT.feed(None)
    modules = [name for name in sys.modules if name.startswith("onebuf")]
    said = {"ms": ms, "modules": sorted(modules), "longest_ms": _dog["longest"]}
    print("deepsleep", json.dumps(said))
    sys.exit(0)
