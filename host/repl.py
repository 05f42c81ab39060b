"""A board at a serial port, its program stopped: the raw REPL by mpremote's transport."""

from __future__ import annotations

import ast
import errno
import os
import re
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import serial  # type: ignore[import-untyped]
from mpremote.transport import TransportError, TransportExecError  # type: ignore[import-untyped]
from mpremote.transport_serial import SerialTransport  # type: ignore[import-untyped]
from serial.tools import list_ports  # type: ignore[import-untyped]

BAUD = 115200
_ATTEMPTS = 8
_PROMPT_S = 1.5  # a board that is just starting takes no notice of Ctrl-C
_START_S = 10.0  # boot.py has its time
_POLL_S = 0.1
_ANSWER_S = 5.0  # a board with a full flash takes a second to open a file
_SILENCE_S = 10.0
_BUSY_S, _PAUSE_S = 1.0, 0.02  # that a port may be busy, and between two attempts
_CHUNK = 512  # octets of a file in one command, which the board holds twice
_RAW = b"raw REPL; CTRL-B to exit\r\n"
_REBOOTED = b"soft reboot\r\n"
# What mpremote and pyserial raise when the port goes; termios, which Windows lacks, has its own.
TERMIOS = (sys.modules["termios"].error,) if "termios" in sys.modules else ()
_LOST = (TransportError, OSError, struct.error, IndexError, *TERMIOS)

# "MicroPython .mpy files", section "Versioning and compatibility".
_ARCHS = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
_FULL = re.compile(r"OSError: (28$|\[Errno 28\])")
_CHIP = re.compile(r"(esp32)-?([chps]\d+)?")  # "ESP32S3", and "ESP32-S2FN4R2" of the LOLIN
_IDENTIFY = """\
import machine, sys
def tell():
    serial = getattr(machine, 'unique_id', bytes)()
    try:
        import network
        mac = network.WLAN(network.STA_IF).config('mac')
    except ImportError:
        mac = b''
    i = sys.implementation
    v = '.'.join(str(part) for part in i.version[:3])
    print((serial.hex(), mac.hex(), i.name + ' ' + v, i._machine, i._mpy))
tell()
"""
_SET_CLOCK = """\
import machine
rtc = getattr(machine, 'RTC', None)
if rtc:
    rtc().datetime(%r)
print(bool(rtc))
"""
_RESET_S = 0.1  # so that the command's receipt arrives: with native USB the port goes, too
_RESET = f"import machine, time\ntime.sleep({_RESET_S})\nmachine.reset()"


class Failed(Exception):
    """The board cannot be reached, went away, or refused; str() says what, and what to do."""


@dataclass(frozen=True)
class Facts:
    """What a board says of itself; serial and mac are "" where it has none."""

    serial: str  # machine.unique_id(), hex
    mac: str  # of the Wi-Fi station, as aa:bb:cc:dd:ee:ff
    runtime: str  # "micropython 1.27.0"
    machine: str  # "Generic ESP32S3 module with ESP32S3"
    mpy_arch: str  # what mpy-cross calls its instruction set, "" if it takes no native code

    @property
    def chip(self) -> str:
        """The chip in esptool's words, "esp32s3"; "" if it does not say."""
        found = _CHIP.match(self.machine.rpartition(" with ")[2].lower())
        return f"{found[1]}{found[2] or ''}" if found else ""


class Board:
    """One whose raw REPL listens; made by opened()."""

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self._transport = _transport(port, baud)
        self._transport.serial.write_timeout = _ANSWER_S

    def run(self, code: str, silence_s: float = _SILENCE_S) -> str:
        """Run code and return what it prints; OSError for a full flash, else Failed.

        silence_s: how long it may say nothing.
        """
        with self._told():
            # An empty one would be a soft reset.
            text, error = self._transport.exec_raw(code or "pass", silence_s)
            if error:
                raise TransportExecError(text, error.decode())
            return bytes(text).decode()

    def lines(self, code: str) -> list[Any]:
        """Run code that prints one literal a line, and return them; Failed."""
        try:
            return [ast.literal_eval(line) for line in self.run(code).splitlines()]
        except (ValueError, SyntaxError):
            raise Failed(f"{self.port}: the answer is garbled; the line may be bad") from None

    def read(self, path: str) -> bytes:
        """Return what the file holds; Failed."""
        with self._told():
            return bytes(self._transport.fs_readfile(path, _CHUNK))

    def write(self, path: str, data: bytes) -> None:
        """Write the file, in place; OSError for a full flash, else Failed."""
        with self._told():
            self._transport.fs_writefile(path, data, _CHUNK)

    def facts(self) -> Facts:
        """Ask the board what it is; Failed."""
        identity, mac, runtime, machine, mpy = self.lines(_IDENTIFY)[-1]
        arch = mpy >> 10 & 0x0F
        pairs = ":".join(mac[at : at + 2] for at in range(0, len(mac), 2))
        return Facts(identity, pairs, runtime, machine, _ARCHS[arch] if arch < len(_ARCHS) else "")

    def set_clock(self) -> bool:
        """Set its clock to this computer's, in UTC. Returns whether it has one; Failed."""
        now = time.gmtime()
        # machine.RTC.datetime: year, month, day, weekday (0: Monday), h, min, s, subseconds.
        stamp = (*now[:3], now.tm_wday, *now[3:6], 0)
        return bool(self.lines(_SET_CLOCK % (stamp,))[-1])

    def reset(self) -> None:
        """Start it anew, as its button does; Failed. The board is then closed."""
        with self._told():
            self._transport.exec_raw_no_follow(_RESET)
        time.sleep(2 * _RESET_S)  # whoever opens the port next would interrupt it
        self.close()

    def close(self) -> None:
        """Let the port go. The program stands still until a reset."""
        with suppress(*_LOST):
            self._transport.close()
        with suppress(*_LOST):
            self._transport.serial.close()

    def enter(self) -> None:
        """Stop the program and begin anew, without it: boot.py runs, main.py does not; Failed."""
        with self._told():
            self._transport.serial.timeout = _POLL_S  # mpremote waits for so long at a pty
            if not any(self._entered() for _ in range(_ATTEMPTS)):
                raise Failed(
                    f"{self.port}: no MicroPython answers; is it flashed, and the baud rate right?"
                )
            self._transport.serial.timeout = _ANSWER_S
            self._transport.in_raw_repl = True

    def _entered(self) -> bool:
        self._stop()
        if not self._says(_RAW, _PROMPT_S):
            return False
        self._transport.serial.write(b"\x04")  # in the raw REPL: a soft reset
        return self._says(_REBOOTED, _PROMPT_S) and self._says(_RAW, _START_S)

    def _stop(self) -> None:
        line = self._transport.serial
        for _ in range(2):  # a program may catch one
            line.write(b"\r\x03")
            time.sleep(0.05)
        until = time.monotonic() + 1  # a program may print without end
        while line.in_waiting and time.monotonic() < until:
            line.read(line.in_waiting)
        line.write(b"\r\x01")

    def _says(self, ending: bytes, timeout_s: float) -> bool:
        found = self._transport.read_until(1, ending, timeout_overall=timeout_s)
        return bool(found.endswith(ending))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what mpremote raises into Failed; but ENOSPC is for the caller."""
        try:
            yield
        except TransportExecError as error:
            line = _last_line(error.error_output)
            if _FULL.match(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise Failed(f"{self.port}: on the board: {line}") from None
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise Failed(f"{self.port}: the board is gone ({_reason(error)})") from None
        except _LOST:
            raise Failed(f"{self.port}: the board does not answer any more") from None


@contextmanager
def opened(port: str, baud: int = BAUD) -> Iterator[Board]:
    """The board at that port, its program stopped and the port ours; Failed."""
    board = Board(port, baud)
    try:
        board.enter()
        yield board
    finally:
        board.close()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["an exception"])[-1]


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


_BUSY = "another program has it open"
_FREE = "it could not be opened; try again"
_ADVICE: Mapping[int, str] = {
    errno.ENOENT: "no such port",
    errno.EACCES: "no permission; on Linux: sudo usermod -aG dialout $USER, and log in again",
    errno.EBUSY: _BUSY,
    errno.EAGAIN: _BUSY,
}


def advice(error: Exception) -> str:
    """What it means that a port cannot be opened, and what to do."""
    number = getattr(error, "errno", None) or 0
    text = _ADVICE.get(number) or (os.strerror(number) if number else str(error))
    if number == errno.ENOENT:
        there = ", ".join(each.device for each in list_ports.comports())
        text += f"; found: {there}" if there else "; is the cable one for data?"
    return text


def _why(port: str) -> str:
    """Why mpremote could not open the port, which it does not tell."""
    try:
        serial.serial_for_url(port, exclusive=True).close()
    except _LOST as error:
        return advice(error)
    return _FREE


def _transport(port: str, baud: int) -> SerialTransport:
    """Open the port; Failed.

    A process that another thread starts has a copy of every open port for a moment, and with it
    the lock of one that was closed meanwhile.
    """
    end = time.monotonic() + _BUSY_S
    while True:
        try:
            return SerialTransport(port, baud, timeout=_ANSWER_S)
        except TransportError:
            why = _why(port)
        if why not in (_BUSY, _FREE) or time.monotonic() > end:
            raise Failed(f"{port}: {why}")
        time.sleep(_PAUSE_S)
