"""CircuitPython's `wifi`, `storage`, `supervisor`, `microcontroller`, `board` and `rtc`."""

from __future__ import annotations

import calendar
import time as host
import uuid
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import NoReturn

from host.shim.circuitpython.library import Drive, ticks_ms
from host.shim.clock import Clock

_BOARD = "onebuf_shim_esp32s3"


class Radio:
    """A radio whose network is there at once; adafruit_connection_manager goes by its name."""

    def __init__(self) -> None:
        self.enabled = True
        self.connected = False
        self.hostname = "cpy"
        self.mac_address = b"\x02onebf"
        self.ipv4_address: str | None = None

    def connect(
        self, ssid: str | bytes, password: str | bytes = b"", *, timeout: float | None = None
    ) -> None:
        """Join the network; ConnectionError without a name."""
        if not ssid:
            raise ConnectionError("No network with that ssid")
        self.connected, self.ipv4_address = True, "127.0.0.1"

    def stop_station(self) -> None:
        """Leave the network."""
        self.connected, self.ipv4_address = False, None


def make_wifi() -> ModuleType:
    """Return a module `wifi`."""
    module = ModuleType("wifi")
    vars(module).update(radio=Radio(), Radio=Radio)
    return module


def make_storage(drive: Drive, usb: bool) -> ModuleType:
    """Return a module `storage` of that drive; usb: a host has it mounted."""

    def getmount(mount_path: str) -> SimpleNamespace:
        if mount_path != "/":
            raise OSError(19, "ENODEV")
        return SimpleNamespace(readonly=drive.readonly, label="CIRCUITPY")

    def remount(
        mount_path: str,
        readonly: bool = False,
        *,
        disable_concurrent_write_protection: bool = False,
    ) -> None:
        getmount(mount_path)
        if usb and not disable_concurrent_write_protection:
            raise RuntimeError("Cannot remount path when visible via USB.")
        drive.readonly = readonly

    module = ModuleType("storage")
    vars(module).update(getmount=getmount, remount=remount)
    return module


def make_supervisor(clock: Clock, usb: bool) -> ModuleType:
    """Return a module `supervisor`, whose ticks_ms() wraps soon."""
    module = ModuleType("supervisor")
    vars(module).update(
        reload=_ends("supervisor.reload()"),
        runtime=SimpleNamespace(usb_connected=usb, serial_connected=usb, autoreload=True),
        ticks_ms=lambda: ticks_ms(clock),
    )
    return module


def _ends(call: str) -> Callable[[], NoReturn]:
    def end() -> NoReturn:
        raise SystemExit(call)

    return end


def make_microcontroller() -> ModuleType:
    """Return a module `microcontroller`; reset() raises SystemExit."""
    module = ModuleType("microcontroller")
    cpu = SimpleNamespace(uid=bytearray(uuid.uuid4().bytes[:6]), frequency=240_000_000)
    vars(module).update(
        cpu=cpu, nvm=bytearray(8192), reset=_ends("microcontroller.reset()"), watchdog=None
    )
    return module


def make_board() -> ModuleType:
    """Return a module `board` without pins."""
    module = ModuleType("board")
    vars(module)["board_id"] = _BOARD
    return module


def make_rtc(clock: Clock) -> ModuleType:
    """Return a module `rtc`, whose RTC sets `clock`."""

    class RTC:
        """The calendar clock."""

        @property
        def datetime(self) -> host.struct_time:
            """The date and time, a struct_time."""
            return host.gmtime(clock.time())

        @datetime.setter
        def datetime(self, date: host.struct_time) -> None:
            if not isinstance(date, host.struct_time):
                raise TypeError("datetime: struct_time")
            clock.ahead_ns = calendar.timegm(date) * 1_000_000_000 - host.time_ns()

    module = ModuleType("rtc")
    vars(module)["RTC"] = RTC
    return module
