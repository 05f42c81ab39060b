"""An ESP32-class board without the board: a serial port that esptool and mpremote take for one.

Its flash is a file. In download mode it speaks the ROM loader's protocol; after a reset a real
MicroPython mounts the file system that was flashed, runs its boot.py and main.py, and has a REPL.
Linux, because of the pseudo-terminals.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from host.board.application import MPY_ARCH
from host.board.chip import Chip
from host.board.flash import Flash
from host.board.line import Faults
from host.board.power import Power
from host.boards import Board

__all__ = ["MAC", "MPY_ARCH", "EmulatedBoard", "Faults", "at", "is_emulated"]

EMULATED = "emulated"
MAC = "24:0a:c4:00:00:00"  # the first of the emulated ones; the prefix is Espressif's


class EmulatedBoard:
    """A board of a kind, at `port`, from the first `with` on; what is flashed stays in folder.

    chip, flash_bytes: what it really has, where that is another than the kind says. faults hold
    until it is unplugged.
    """

    def __init__(
        self,
        board: Board,
        mac: str = MAC,
        folder: Path | None = None,
        faults: Faults = Faults(),  # noqa: B008
        chip: str = "",
        flash_bytes: int = 0,
    ) -> None:
        self.board, self.mac, self._faults = board, mac, faults
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="onebuf-board-")
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.flash = Flash(self.folder / "flash.bin", flash_bytes or board.flash_bytes)
        self._chip = Chip(chip or board.chip, bytes.fromhex(mac.replace(":", "")), self.flash.size)
        self._power: Power | None = None
        self._unplugged: Power | None = None  # who looks for its port is to find no other's there

    @property
    def port(self) -> str:
        """What a serial program opens; another after each plug()."""
        assert self._power
        return self._power.port

    @property
    def plugged(self) -> bool:
        """Whether its port is there."""
        return bool(self._power and self._power.alive())

    @property
    def process(self) -> int:
        """The ID of the process that runs its program, 0 where none does."""
        return self._power.process if self._power else 0

    def plug(self, faults: Faults = Faults()) -> str:  # noqa: B008
        """Plug it in, unplugged before if need be, and return its port."""
        self.unplug()
        self._forget()
        self._power = Power(self.board, self._chip, self.flash, faults)
        return self.port

    def wait(self, seconds: float = 10.0) -> bool:
        """Wait until it has started what is in its flash; whether it has."""
        until = time.monotonic() + seconds
        while self._power and not self._power.started() and time.monotonic() < until:
            time.sleep(0.01)
        return bool(self._power and self._power.started())

    def unplug(self) -> None:
        """Pull the cable; port and power are gone."""
        if self._power:
            self._power.stop()
            self._unplugged, self._power = self._power, None

    def _forget(self) -> None:
        if self._unplugged:
            self._unplugged.release()
            self._unplugged = None

    def reset(self, download: bool = False) -> None:
        """Press the reset button; download: while the one named BOOT is held."""
        assert self._power
        self._power.reset(download)

    def __enter__(self) -> EmulatedBoard:
        self.plug(self._faults)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unplug()
        self._forget()
        self.flash.close()
        if self._temporary:
            self._temporary.cleanup()


def is_emulated(port: str) -> bool:
    """Whether that is `emulated`, or `emulated:N` for one of several."""
    name, colon, number = port.partition(":")
    return name == EMULATED and (not colon or number.isdecimal())


@contextmanager
def at(port: str, board: Board, root: Path = Path(".onebuf")) -> Iterator[str]:
    """Give a real port as it is; for an emulated one that of a board whose flash is below root."""
    if not is_emulated(port):
        yield port
        return
    number = int(port.partition(":")[2] or 0)
    mac = f"{MAC[:8]}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    folder = root / (f"board-{board.name}-{number}" if number else f"board-{board.name}")
    with EmulatedBoard(board, mac, folder) as emulated:
        yield emulated.port
        emulated.wait()  # a first boot makes the file system
