"""MicroPython's `machine` and `network` of a board whose Wi-Fi connects at once."""

from __future__ import annotations

import calendar
import time as host
import uuid
from types import ModuleType
from typing import Any, NoReturn

from host.shim.clock import Clock
from host.shim.errnos import os_error

_STAT_IDLE, _STAT_CONNECTING, _STAT_GOT_IP = 1000, 1001, 1010  # as on ESP32
_ADDRESS = ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")


class WLAN:
    """A station: connected as soon as it is told to connect."""

    IF_STA = 0

    def __init__(self, interface: int = 0) -> None:
        self._active = False
        self._connected = False

    def active(self, up: bool | None = None) -> bool:
        """Switch the radio on or off; return whether it is on."""
        if up is not None:
            self._active = bool(up)
            self._connected = self._connected and self._active
        return self._active

    def connect(self, ssid: str | None = None, key: str | None = None, **_options: Any) -> None:
        """Join a network; raises OSError if the radio is off."""
        if not self._active:
            raise os_error("EIO")
        self._connected = True

    def disconnect(self) -> None:
        """Leave the network."""
        self._connected = False

    def isconnected(self) -> bool:
        """Return whether there is an address."""
        return self._connected

    def status(self, what: str = "") -> int:
        """Return ESP32's state number, or for "rssi" the signal in dBm."""
        if what == "rssi":
            return -50
        return _STAT_GOT_IP if self._connected else _STAT_IDLE

    def ifconfig(self) -> tuple[str, str, str, str]:
        """Return (address, netmask, gateway, DNS server)."""
        return _ADDRESS if self._connected else ("0.0.0.0",) * 4

    def config(self, name: str = "", **_settings: Any) -> bytes | None:
        """Return the value of "mac"; settings are accepted."""
        return b"\x02onebf" if name == "mac" else None


def make_network() -> ModuleType:
    """Return a module `network` with one station, the same object at every call."""
    station = WLAN()

    class Station(WLAN):
        """Whoever asks for it gets that one."""

        def __new__(cls, interface: int = 0) -> WLAN:  # type: ignore[misc]
            """Return the station."""
            return station

    module = ModuleType("network")
    vars(module).update(
        WLAN=Station,
        STA_IF=0,
        STAT_IDLE=_STAT_IDLE,
        STAT_CONNECTING=_STAT_CONNECTING,
        STAT_GOT_IP=_STAT_GOT_IP,
        hostname=lambda name="onebuf": name,
    )
    return module


class WDT:
    """A watchdog that never bites."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:
        self.timeout = timeout

    def feed(self) -> None:
        """Put off the reset."""


def _reset() -> NoReturn:
    raise SystemExit("machine.reset()")


def _deepsleep(ms: int = 0) -> NoReturn:
    raise SystemExit(f"machine.deepsleep({ms})")


def make_machine(clock: Clock) -> ModuleType:
    """Return a module `machine`; its RTC sets `clock`.

    reset() and deepsleep() raise SystemExit; RTC memory is as after switching the power on.
    """
    kept = bytearray()

    class RTC:
        """The calendar clock: (year, month, day, weekday, hour, minute, second, subsecond)."""

        def datetime(self, date: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
            """Return the date, or set it."""
            if date is None:
                year, month, day, hour, minute, second, weekday, _ = clock.gmtime()
                return (year, month, day, weekday, hour, minute, second, 0)
            wanted = calendar.timegm((*date[:3], *date[4:7], 0, 0, 0))
            clock.ahead_ns = wanted * 1_000_000_000 - host.time_ns()
            return None

        def memory(self, data: bytes | None = None) -> bytes | None:
            """Return what the memory holds, or replace it."""
            if data is None:
                return bytes(kept)
            kept[:] = data
            return None

    module = ModuleType("machine")
    identity = uuid.uuid4().bytes[:6]
    vars(module).update(
        RTC=RTC,
        WDT=WDT,
        deepsleep=_deepsleep,
        reset=_reset,
        soft_reset=_reset,
        unique_id=lambda: identity,
        freq=lambda hz=0: 160_000_000,
        idle=lambda: host.sleep(0),
    )
    return module
