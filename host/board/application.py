"""The board's program: a real MicroPython process, whose REPL, reset and clock are repl.py's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import micropython

BITS = 32  # as an ESP32
MPY_ARCH = "x86"  # what mpy-cross calls the instruction set of that process
_DEVICE = Path(__file__).with_name("device")
_OWN_HEAP = 26_000  # octets that repl.py and standins.py take
_BUSY_NS = 100_000_000  # after so long without waiting for anything it is in a loop


@dataclass(frozen=True)
class Settings:
    """What repl.py is told: a file and a part of it, in octets, and what the board is.

    rtc: by how many seconds its clock is ahead of the host's; raw: boot into the raw REPL.
    """

    flash: str
    offset: int
    size: int
    flash_size: int
    mac: str
    machine: str
    build: str
    cause: int
    rtc: int
    raw: bool


class Application:
    """One run of MicroPython, from a reset to the next; heap in octets, the application's."""

    def __init__(self, settings: Settings, heap: int) -> None:
        runtime = micropython.find(BITS)
        self.control, control = os.pipe()
        heard, self._heard = os.pipe()
        banner = f"MicroPython v{runtime.version}; {settings.machine} (emulated)"
        told = json.dumps(
            {**asdict(settings), "control": control, "heard": heard, "banner": banner}
        )
        own = ("-X", f"heapsize={heap + _OWN_HEAP}", str(_DEVICE / "repl.py"))
        self._process = subprocess.Popen(
            (*runtime.argv, *own),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(control, heard),
            env={**os.environ, "ONEBUF_BOARD": told, "TZ": "UTC"},
        )
        os.close(control)
        os.close(heard)
        assert self._process.stdin and self._process.stdout
        self._input, self.output = self._process.stdin.fileno(), self._process.stdout.fileno()
        for descriptor in (self._input, self.output, self.control):
            os.set_blocking(descriptor, False)
        self._said = b""
        self._asked: list[str] = []
        self._booting, self._runs, self._interrupted = True, False, False
        self.cooked = True  # `\n` is sent as `\r\n`
        self.started = False  # the file system is mounted

    @property
    def process(self) -> int:
        """Its process's ID."""
        return self._process.pid

    def read(self) -> bytes:
        """Return what it has printed; nothing if it has not, or is gone."""
        return _read(self.output)

    def told(self) -> list[str]:
        """Return what it asks of the host, beyond what is understood here."""
        self._update()
        if self._interrupted and self._runs:
            self._interrupt()
        asked, self._asked = self._asked, []
        return asked

    def write(self, octets: bytes) -> None:
        """Give it what came from the line; Ctrl-C interrupts what runs."""
        self._update()
        pieces = octets.split(b"\x03")
        for i, piece in enumerate(pieces):
            if i:
                self._interrupt()
            self._type(piece)

    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        self._process.wait()
        os.close(self.control)
        os.close(self._heard)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _update(self) -> None:
        self._said += _read(self.control)
        *lines, self._said = self._said.split(b"\n")
        self._asked += [line.decode() for line in lines if not self._understood(line.decode())]

    def _understood(self, line: str) -> bool:
        if line == "x":
            self.started = self._runs = True
        elif line.startswith("r "):
            self._runs = False
            self._acknowledge(int(line[2:]))
        elif line in ("raw", "cooked"):
            self.cooked = self._runs = line == "cooked"
        elif line == "repl":
            self.started = True
            self._booting = self._interrupted = False
        else:
            return False
        return True

    def _acknowledge(self, end: int) -> None:
        """No signal follows, so the REPL may read again: one would cost it an octet."""
        with contextlib.suppress(OSError):  # it has gone
            os.write(self._heard, bytes([end]))

    def _type(self, octets: bytes) -> None:
        with contextlib.suppress(OSError):  # full, as the chip's own buffer can be
            os.write(self._input, octets)

    def _interrupt(self) -> None:
        """Send SIGINT while it waits in a system call; or, if it never does, after a while.

        MicroPython's handler raises the exception at once, wherever that is: in the collector, or
        in LittleFS, it would leave a mess that no board knows.
        """
        until = self._busy_ns() + _BUSY_NS
        while self._runs and not self._waits() and self._busy_ns() < until and not self.ended():
            time.sleep(0.001)
        self._update()
        self._interrupted = self._booting and not self._runs
        if self._runs:
            self._process.send_signal(signal.SIGINT)
        elif not self._booting:
            self._type(b"\x03")

    def _waits(self) -> bool:
        return self._kernel("stat", "S").rpartition(") ")[2].startswith("S")

    def _busy_ns(self) -> int:
        """How long it has been running on a processor, which says more than the time of day."""
        return int(self._kernel("schedstat", "0").split()[0])

    def _kernel(self, name: str, otherwise: str) -> str:
        """What Linux says of the process."""
        try:
            return Path(f"/proc/{self._process.pid}/{name}").read_text()
        except OSError:
            return otherwise


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
