"""The clock for CircuitPython: supervisor's ticks, rtc, and SNTP over the radio's socket pool."""

import time

import rtc
from supervisor import ticks_ms

from onebuf import clock
from onebuf.port.circuitpython import ticks_add, ticks_diff


class Clock(clock.Clock):
    """See onebuf.clock. What is set is set in rtc too, so that time.time() is right.

    pool: as for Transport. Ask for seconds() more often than every three days.
    """

    def __init__(self, pool, servers=("pool.ntp.org",), timeout_ms: int = 5000, port: int = 123):
        self.time = _Time()
        super().__init__(_RTC(), servers, timeout_ms, port)
        self._pool = pool

    def sync(self) -> int:
        from onebuf import sntp

        return sntp.sync(self, self._pool)


class _Time:
    """MicroPython's module time, as far as the clock needs it."""

    def __init__(self):
        self.ticks_ms = ticks_ms
        self.ticks_add = ticks_add
        self.ticks_diff = ticks_diff
        self.time = time.time

    def gmtime(self, seconds):
        return tuple(time.localtime(seconds))  # there are no time zones


class _RTC:
    """MicroPython's machine.RTC, as far as the clock needs it."""

    def datetime(self, t):
        """t: year, month, day, weekday, hour, minute, second, subseconds."""
        rtc.RTC().datetime = time.struct_time(t[:3] + t[4:7] + (t[3], -1, -1))
