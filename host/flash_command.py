"""`onebuf flash`: firmware and file system onto a board, or onto an emulated one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from host import board as emulated
from host import boards, flash
from host.boards import Board

if TYPE_CHECKING:
    from rich.progress import TaskID


def add_flash(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "write MicroPython or CircuitPython, and a file system's image, to a board's flash"
    command = commands.add_parser("flash", help=text, description=text)
    command.add_argument("--board", required=True, metavar="NAME", help="see `onebuf boards`")
    help = "serial port; `emulated`: a board whose flash is kept below .onebuf"
    command.add_argument("--port", required=True, help=help)
    help = "the .bin file that you downloaded for the board (emulated: an empty one)"
    command.add_argument("--firmware", type=Path, metavar="FILE", help=help)
    help = "that the firmware file must have"
    command.add_argument("--checksum", metavar="SHA256", help=help)
    help = "file system, as `onebuf image` makes it without --merge"
    command.add_argument("--image", type=Path, metavar="FILE", help=help)
    help = "erase all of the flash before, files and settings, too"
    command.add_argument("--erase", action="store_true", help=help)
    help = "while writing (the board's)"
    command.add_argument("--baud", type=_baud, default=0, metavar="N", help=help)
    command.set_defaults(command=_run)


def _baud(text: str) -> int:
    if not text.isdecimal() or not 9600 <= int(text) <= 5_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no baud rate")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    try:
        board = boards.load(options.board)
        firmware = _firmware(options, board)
        image = options.image.read_bytes() if options.image else None
        if firmware is None and image is None:
            raise flash.FlashFailed("nothing to write: give --firmware, --image, or both")
        with emulated.at(options.port, board) as port, _Bar() as bar:
            done = flash.flash(
                board,
                port,
                firmware,
                image,
                erase=options.erase,
                baud=options.baud,
                progress=bar.progress,
            )
    except (boards.BoardError, flash.FlashFailed) as error:
        raise SystemExit(f"onebuf: {error}") from None
    print(f"{done.chip}, MAC {done.mac}, {done.flash_bytes >> 20} MiB of flash")
    print(f"{done.written} octets written and verified in {done.seconds:.1f} s")
    return 0


def _firmware(options: argparse.Namespace, board: Board) -> bytes | None:
    if options.firmware:
        octets: bytes = options.firmware.read_bytes()
        return flash.checked(octets, options.checksum) if options.checksum else octets
    if options.checksum:
        raise flash.FlashFailed("--checksum is that of --firmware")
    if emulated.is_emulated(options.port):
        from host.board.firmware import stand_in

        return stand_in(board)
    return None


class _Bar:
    """A bar for each part that is written, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # here: they take 0.1 s
        from rich.progress import Progress

        self._shown = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bar:
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the bar, or begin another one."""
        if what not in self._tasks:
            self._tasks[what] = self._shown.add_task(what)
        self._shown.update(self._tasks[what], completed=done, total=total)
