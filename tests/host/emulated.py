"""An emulated board with MicroPython on it, whose cable is pulled; what is on its flash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial  # type: ignore[import-untyped]

from host import boards, flash_image, partitions, repl
from host.board import EmulatedBoard, Faults

BOARD = "ESP32_GENERIC_S3"
_MAGIC = b"\xe9"  # of a boot loader, "Firmware Image Format" of esptool
_PATIENCE_S = 10.0
_SIZE = 0x40000  # octets of the file system: small, so that it is soon full


class Bench:
    """The board on the bench, plugged in."""

    flash_octets = _SIZE

    def __init__(self, board: EmulatedBoard) -> None:
        self.board = board
        self.mac = board.mac
        self._offset = board.board.filesystem.offset
        vfs = partitions.Partition("vfs", partitions.DATA, partitions.FAT, self._offset, _SIZE)
        board.flash.program(board.board.firmware_offset, _MAGIC)
        board.flash.program(partitions.OFFSET, partitions.build([vfs]))

    @property
    def port(self) -> str:
        return self.board.port

    def files(self) -> dict[str, bytes]:
        """What is on the flash, by path."""
        return flash_image.files(self.board.folder / "flash.bin", self._offset)

    def wipe(self) -> None:
        """Erase the file system; the board makes a new one when it starts."""
        self.board.unplug()
        self.board.flash.erase(self._offset, _SIZE)
        self.board.plug()

    def plug(self, faults: Faults = Faults()) -> None:  # noqa: B008
        """Pull the cable if it is in, and plug it in; the board starts."""
        self.board.plug(faults)

    def pulled(self) -> None:
        """Wait until the cable is out, which a fault has pulled."""
        until = time.monotonic() + _PATIENCE_S
        while self.board.plugged:
            assert time.monotonic() < until
            time.sleep(0.01)

    def started(self) -> None:
        """Wait until boot.py has run."""
        with repl.opened(self.port):
            pass


@contextmanager
def on_the_bench(folder: Path) -> Iterator[Bench]:
    """A board that starts, and has nothing on its file system."""
    with EmulatedBoard(boards.load(BOARD), folder=folder) as board:
        made = Bench(board)
        made.wipe()
        yield made


def sent(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many octets the host sends to a serial port in action."""
    octets = []
    write = serial.Serial.write

    def counted(port: serial.Serial, data: bytes) -> object:
        octets.append(len(data))
        return write(port, data)

    with monkeypatch.context() as patched:
        patched.setattr(serial.Serial, "write", counted)
        action()
    return sum(octets)
