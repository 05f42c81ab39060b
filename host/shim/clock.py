"""MicroPython's `time`, with ticks that wrap soon so that a wrap bug shows in every run."""

from __future__ import annotations

import calendar
import time as host
from types import ModuleType

TICKS_PERIOD = 1 << 30
_HALF = TICKS_PERIOD // 2


def ticks_add(ticks: int, delta: int) -> int:
    """Return ticks moved by `delta`; raises OverflowError beyond half the period."""
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return (ticks + delta) % TICKS_PERIOD


def ticks_diff(end: int, start: int) -> int:
    """Return end - start in the ring, from -2**29 to 2**29 - 1."""
    return (end - start + _HALF) % TICKS_PERIOD - _HALF


class Clock:
    """Ticks and calendar time of one device; the unix port's epoch, 1970."""

    def __init__(self, wraps_in_ms: int) -> None:
        self._zero_ns = host.monotonic_ns()
        self._wraps_in_ms = wraps_in_ms
        self.ahead_ns = 0  # how far machine.RTC was set ahead of the host's clock

    def _ticks(self, unit_ns: int) -> int:
        elapsed = (host.monotonic_ns() - self._zero_ns) // unit_ns
        return (elapsed - self._wraps_in_ms * 1_000_000 // unit_ns) % TICKS_PERIOD

    def ticks_ms(self) -> int:
        """Return milliseconds, modulo 2**30."""
        return self._ticks(1_000_000)

    def ticks_us(self) -> int:
        """Return microseconds, modulo 2**30."""
        return self._ticks(1000)

    def time_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return host.time_ns() + self.ahead_ns

    def time(self) -> int:
        """Return whole seconds since the epoch, as boards do."""
        return self.time_ns() // 1_000_000_000

    def gmtime(self, seconds: float | None = None) -> tuple[int, ...]:
        """Return (year, month, day, hour, minute, second, weekday, day of the year), UTC."""
        return tuple(host.gmtime(self.time() if seconds is None else seconds))[:8]


def make_time(clock: Clock) -> ModuleType:
    """Return a module `time` that reads `clock`; local time is UTC, as on a board."""
    module = ModuleType("time")
    vars(module).update(
        ticks_ms=clock.ticks_ms,
        ticks_us=clock.ticks_us,
        ticks_cpu=clock.ticks_us,
        ticks_add=ticks_add,
        ticks_diff=ticks_diff,
        sleep=host.sleep,
        sleep_ms=lambda ms: host.sleep(max(ms, 0) / 1000),
        sleep_us=lambda us: host.sleep(max(us, 0) / 1_000_000),
        time=clock.time,
        time_ns=clock.time_ns,
        gmtime=clock.gmtime,
        localtime=clock.gmtime,
        mktime=lambda date: calendar.timegm((*date[:6], 0, 0, 0)),
    )
    return module
