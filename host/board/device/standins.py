# mypy: ignore-errors
# ruff: noqa: RUF005, UP031
"""The modules that a board has and the unix port lacks, or has with another meaning."""

import collections
import gc
import os
import sys
import time

import machine
import micropython

_EPOCH = 946684800  # seconds from 1970 to 2000, where the ESP32 port begins to count
_POINTS = (
    (b"onebuf-lab", b"\x02\x00\x00\x00\x00\x01", 6, -48, 3, False),
    (b"onebuf-cellar", b"\x02\x00\x00\x00\x00\x02", 11, -83, 3, False),
)
_IDLE, _NO_AP, _GOT_IP = 1000, 201, 1010  # ports/esp32/modnetwork_globals.h


def module(name, base=None, **members):
    """Make a module with the members of base and these, which import then finds."""
    made = __import__("blank")
    del sys.modules["blank"]
    for each in dir(base) if base else ():
        if each[:2] != "__":
            setattr(made, each, getattr(base, each))
    for each, value in members.items():
        setattr(made, each, value)
    made.__name__ = name
    sys.modules[name] = made


class Seconds:
    """The board's clock: seconds since 2000, without allocating, which time.time() must not."""

    def __init__(self, ahead, tell):
        self.tell = tell
        self.start = time.ticks_ms()
        self.base = int(time.time()) + ahead - _EPOCH

    def now(self):
        """Seconds since 2000."""
        passed = time.ticks_diff(time.ticks_ms(), self.start) // 1000
        if passed > 3600:
            self.start = time.ticks_add(self.start, passed * 1000)
            self.base += passed
            passed = 0
        return self.base + passed

    def set(self, seconds):
        """Set it; the host keeps it over a reset."""
        self.base = seconds
        self.start = time.ticks_ms()
        self.tell("rtc %d" % (seconds + _EPOCH - int(time.time())))


class WLAN:
    """A station that finds two networks, and is connected as soon as it is told to."""

    IF_STA, IF_AP = 0, 1
    _mac = b""
    _active = False
    _status = _IDLE

    def __init__(self, interface=0):
        pass

    def active(self, on=None):
        """Whether it is on; switch it."""
        if on is not None:
            WLAN._active = bool(on)
        return WLAN._active

    def scan(self):
        """The networks: (name, BSSID, channel, RSSI, security, hidden)."""
        if not WLAN._active:
            raise OSError("STA must be active")
        return list(_POINTS)

    def connect(self, ssid=None, key=None, **_):
        """Join a network by name; any key will do."""
        if not WLAN._active:
            raise OSError("Wifi Internal State Error")
        names = [point[0].decode() for point in _POINTS]
        WLAN._status = _GOT_IP if ssid in names else _NO_AP

    def disconnect(self):
        """Leave it."""
        WLAN._status = _IDLE

    def isconnected(self):
        """Whether it has an address."""
        return WLAN._status == _GOT_IP

    def status(self, what=None):
        """How it went, or with "rssi" how strong the signal is."""
        return _POINTS[0][3] if what == "rssi" else WLAN._status

    def ifconfig(self):
        """Address, mask, gateway, name server: those of the host."""
        address = "127.0.0.1" if self.isconnected() else "0.0.0.0"
        return address, "255.0.0.0", address, address

    def config(self, what=None, **_):
        """The MAC address; the rest is taken as it is."""
        return WLAN._mac if what == "mac" else None


def install(settings, tell, leave):
    """Put all of them into sys.modules."""
    seconds = Seconds(settings["rtc"], tell)
    mac = WLAN._mac = bytes.fromhex(settings["mac"])
    real = time  # the unix port's, which begins in 1970
    _install_time(seconds, real)
    _install_machine(settings, seconds, mac, leave)
    module("network", WLAN=WLAN, STA_IF=0, AP_IF=1, **_STATES)
    module("esp", flash_size=lambda: settings["flash_size"], osdebug=lambda *_: None)
    module("micropython", micropython, kbd_intr=lambda c: tell("raw" if c < 0 else "cooked"))
    _install_names(settings)
    gc.collect()


_STATES = {"STAT_IDLE": _IDLE, "STAT_NO_AP_FOUND": _NO_AP, "STAT_GOT_IP": _GOT_IP}


def _install_time(seconds, real):
    def fields(t=None):
        return real.gmtime((seconds.now() if t is None else t) + _EPOCH)[:8]

    def mktime(t):
        return int(real.mktime(tuple(t[:6]) + (0, 0, 0))) - _EPOCH

    def nanoseconds():
        return seconds.now() * 1_000_000_000

    changed = {"gmtime": fields, "localtime": fields, "mktime": mktime}
    module("time", real, time=seconds.now, time_ns=nanoseconds, **changed)


def _install_machine(settings, seconds, mac, leave):
    now = sys.modules["time"]

    class RTC:
        """The board's clock, set and read as (year, month, day, weekday, h, min, s, us)."""

        def datetime(self, t=None):
            if t is None:
                y, mo, d, h, mi, s, weekday, _ = now.gmtime()
                return y, mo, d, weekday, h, mi, s, 0
            seconds.set(now.mktime((t[0], t[1], t[2], t[4], t[5], t[6], 0, 0)))

    causes = {"PWRON_RESET": 1, "HARD_RESET": 2, "SOFT_RESET": 5}
    module(
        "machine",
        machine,
        RTC=RTC,
        reset=lambda: leave("reset"),
        soft_reset=lambda: sys.exit(),
        reset_cause=lambda: settings["cause"],
        unique_id=lambda: mac,
        freq=lambda *_: 160_000_000,
        **causes,
    )


def _install_names(settings):
    """What sys and os call the machine."""
    version = "%d.%d.%d" % sys.implementation[1][:3]
    names = ("name", "version", "_machine", "_mpy", "_build")
    values = (settings["machine"], sys.implementation._mpy, settings["build"])
    made = collections.namedtuple("implementation", names)(*sys.implementation[:2], *values)
    module("sys", sys, platform="esp32", implementation=made, path=sys.path)
    names = ("sysname", "nodename", "release", "version", "machine")
    uname = collections.namedtuple("uname", names)
    told = uname("esp32", "esp32", version, "v" + version, settings["machine"])
    module("os", os, uname=lambda: told)
