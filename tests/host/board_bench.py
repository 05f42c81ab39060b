"""What the tests of the emulated board share: real esptool and mpremote, and a board to use."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mpremote.transport_serial import SerialTransport  # type: ignore[import-untyped]

from host import boards, flash_image
from host.board import MAC, EmulatedBoard, Faults
from host.board.firmware import stand_in

BOARD = boards.load("ESP32_GENERIC")
_TIMEOUT_S = 60
_RESET_S = 3  # then it was over before it was looked at


def tool(name: str, *arguments: object) -> str:
    """What esptool or mpremote print, run as a user does; AssertionError if it fails."""
    argv = [sys.executable, "-m", name, *map(str, arguments)]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mpremote(board: EmulatedBoard, *arguments: object) -> str:
    """What mpremote prints, connected to the board."""
    return tool("mpremote", "connect", board.port, *arguments)


def reset_by_mpremote(board: EmulatedBoard) -> None:
    """Have the program reset the machine, which it does a moment after mpremote has gone.

    Before, mpremote itself has had a soft reset. What is sent while the board resets is lost.
    """
    mpremote(board, "reset")
    before, until = board.process, time.monotonic() + _RESET_S
    while board.process == before and time.monotonic() < until:
        time.sleep(0.01)
    assert board.wait()


def filesystem(files: Mapping[str, bytes]) -> bytes:
    """An image of these files, by littlefs-python."""
    return flash_image.pack(files, BOARD.filesystem.size, BOARD.filesystem.block_size)


@contextmanager
def flashed(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    mac: str = MAC,
    image: bytes = b"",
    faults: Faults = Faults(),  # noqa: B008
) -> Iterator[EmulatedBoard]:
    """A board with MicroPython and these files, or this image of them, in its flash, started."""
    emulated = EmulatedBoard(BOARD, mac, folder, faults)
    emulated.flash.program(BOARD.firmware_offset, stand_in(BOARD))
    if files or image:
        emulated.flash.program(BOARD.filesystem.offset, image or filesystem(files))
    with emulated:
        assert emulated.wait()
        yield emulated


def on_flash(board: EmulatedBoard) -> dict[str, bytes]:
    """The files in the flash, by littlefs-python."""
    return flash_image.files(board.flash.path, board.board.filesystem.offset)


@contextmanager
def session(board: EmulatedBoard, soft_reset: bool = True) -> Iterator[SerialTransport]:
    """mpremote's transport, in the raw REPL."""
    transport = SerialTransport(board.port, board.board.serial_baud)
    try:
        transport.enter_raw_repl(soft_reset=soft_reset)
        yield transport
        transport.exit_raw_repl()
    finally:
        transport.close()
