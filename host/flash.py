"""Firmware and file system into a board's flash, by esptool's Python API."""

from __future__ import annotations

import errno
import hashlib
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import serial  # type: ignore[import-untyped]
from serial.tools import list_ports  # type: ignore[import-untyped]

from host import boards, firmware_file, image, partitions
from host.boards import Board
from host.firmware_file import Firmware, FirmwareError
from host.partitions import TableError

Progress = Callable[[str, int, int], None]  # what is written, how much of it, and of how much

_ROM_BAUD = 115200
_BUSY_S, _PAUSE_S = 1.0, 0.02
_ATTEMPTS = 4  # esptool has four ways of resetting a board by DTR and RTS
_TABLE_BYTES = 0xC00
_PSEUDO = "/dev/pts/"  # a pseudo-terminal, as an emulated board's, has neither
# What esptool and pyserial raise when the port goes, or when noise comes; FatalError is the first.
_TERMIOS = (sys.modules["termios"].error,) if "termios" in sys.modules else ()
LOST = (RuntimeError, OSError, struct.error, IndexError, *_TERMIOS)

_DOWNLOAD = (
    "no answer from the chip's boot loader. Hold the button BOOT, press and release RESET "
    "(or EN), let go of BOOT, and run this again; is the cable one for data, too?"
)
_PULLED = "the board has gone; was the cable pulled? Connect it and run this again"
_NOISE = "{}. Noise on the line? Use a shorter cable or a lower --baud, and run this again"


class FlashFailed(Exception):
    """The flash is not as it was to be; str() says why, and what to do."""


@dataclass(frozen=True)
class Flashed:
    """What was found and done: esptool's name of the chip, its MAC address, and sizes."""

    chip: str
    mac: str
    flash_bytes: int
    written: int
    seconds: float


def checked(octets: bytes, checksum: str) -> bytes:
    """Return the octets of a download if their SHA-256 is the one expected; FlashFailed."""
    found = hashlib.sha256(octets).hexdigest()
    if found != checksum.strip().lower():
        raise FlashFailed(f"the firmware has another SHA-256, {found}: download it again")
    return octets


def flash(
    board: Board,
    port: str,
    firmware: bytes | None = None,
    filesystem: bytes | None = None,
    *,
    erase: bool = False,
    baud: int = 0,
    progress: Progress | None = None,
) -> Flashed:
    """Write a firmware file, or a file system's image, or both, and start the board.

    Each is compared by MD5 with what is in the flash then. erase: all of the flash before.
    baud: while writing (the board's). Raises FlashFailed.
    """
    began = time.monotonic()
    try:
        read = _read(board, firmware) if firmware is not None else None
        with connected(board, port, baud) as loader:
            parts = _parts(board, loader, read, filesystem)
            _write(loader, parts, erase, progress)
            done = Flashed(
                chip=chip_name(loader),
                mac=":".join(f"{octet:02x}" for octet in loader.read_mac("BASE_MAC")),
                flash_bytes=flash_size(loader),
                written=sum(len(octets) for _, octets in parts),
                seconds=time.monotonic() - began,
            )
            start(board, loader, port)
            return done
    except (FirmwareError, TableError) as error:
        raise FlashFailed(str(error)) from error
    except LOST as error:
        raise FlashFailed(advice(port, error)) from error


def _read(board: Board, octets: bytes) -> Firmware:
    firmware = firmware_file.read(octets)
    firmware.check(board)
    return firmware


@contextmanager
def connected(board: Board, port: str, baud: int) -> Iterator[Any]:
    """Give esptool's stub on the chip, which is the board's; FlashFailed, RuntimeError."""
    from esptool import cmds  # type: ignore[import-untyped]  # here: it takes 0.2 s

    _quieten()
    with _opened(port) as line:
        mode = "no-reset" if port.startswith(_PSEUDO) else board.reset_before
        try:
            loader = cmds.detect_chip(line, _ROM_BAUD, mode, connect_attempts=_ATTEMPTS)
        except RuntimeError as error:
            raise FlashFailed(f"{port}: {_PULLED if _gone(port) else _DOWNLOAD}") from error
        if chip_name(loader) != board.chip:
            raise FlashFailed(_other_chip(board, port, chip_name(loader)))
        loader = cmds.run_stub(loader)
        loader.WRITE_FLASH_ATTEMPTS = 1  # who pulls the cable wants to know at once
        loader.change_baud(baud or board.flash_baud)
        cmds.attach_flash(loader)
        yield loader


@contextmanager
def _opened(port: str) -> Iterator[Any]:
    """Give the port, open for us alone; FlashFailed with what to do if it cannot be."""
    try:
        line = _line(port)
    except (OSError, ValueError) as error:
        raise FlashFailed(_why_closed(port, error)) from error
    try:
        yield line
    finally:
        line.close()


def _line(port: str) -> Any:
    """The port, opened; busy it may be for a moment (see host.repl)."""
    end = time.monotonic() + _BUSY_S
    while True:
        try:
            return serial.serial_for_url(port, exclusive=True)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EAGAIN) or time.monotonic() > end:
                raise
        time.sleep(_PAUSE_S)


def _why_closed(port: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        known = ", ".join(each.device for each in list_ports.comports()) or "none"
        return f"no port {port}: is the board plugged in? (ports: {known})"
    if code in (errno.EACCES, errno.EPERM):
        who = "`sudo usermod -aG dialout $USER`, log out and in"
        return f"{port}: no permission; join the group that may: {who}"
    if code in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
        return f"{port} is busy: close the serial monitor, or whatever else has it open"
    return f"{port} cannot be opened: {error}"


def _other_chip(board: Board, port: str, chip: str) -> str:
    fit = ", ".join(each.name for each in boards.all_boards() if each.chip == chip) or "none"
    return (
        f"the board at {port} has the chip {chip}, but {board.name} has the {board.chip}: "
        f"take the file of another board (with that chip: {fit})"
    )


def chip_name(loader: Any) -> str:
    return str(loader.CHIP_NAME).lower().replace("-", "")


def flash_size(loader: Any) -> int:
    from esptool import cmds

    size = cmds.detect_flash_size(loader)
    if size is None:
        raise FlashFailed("the flash does not say how large it is: is it soldered well?")
    return int(size.removesuffix("MB")) << 20


def _parts(
    board: Board,
    loader: Any,
    firmware: Firmware | None,
    filesystem: bytes | None,
) -> list[tuple[int, bytes]]:
    """Return what is written where; FirmwareError, TableError, FlashFailed."""
    parts = [(firmware.offset, firmware.data)] if firmware else []
    if filesystem is not None:
        table = b"" if firmware else loader.read_flash(partitions.OFFSET, _TABLE_BYTES)
        if table.startswith(b"\xff"):
            raise FlashFailed("there is no firmware on the board yet: write one, too")
        place = image.filesystem(board, table, firmware)
        if len(filesystem) > place.size:
            raise FlashFailed(f"the image is larger than partition {place.name}, {place.size}")
        parts.append((place.offset, filesystem))
    size = flash_size(loader)
    if any(at + len(octets) > size for at, octets in parts):
        raise FlashFailed(f"the board has {size >> 20} MiB of flash, too little for {board.name}")
    return parts


def _write(
    loader: Any, parts: list[tuple[int, bytes]], erase: bool, progress: Progress | None
) -> None:
    from esptool import cmds

    if erase:
        with _reporting(progress, "erase"):
            cmds.erase_flash(loader)
    for at, octets in parts:
        with _reporting(progress, f"write at {at:#x}"):
            cmds.write_flash(loader, [(at, octets)], flash_size="keep")


def start(board: Board, loader: Any, port: str) -> None:
    """Reset it into what was written; an emulated board does so when its port is closed."""
    from esptool import cmds

    if not port.startswith(_PSEUDO):
        cmds.reset_chip(loader, board.reset_after)


def advice(port: str, error: BaseException) -> str:
    """What to do about what esptool or pyserial say once the chip has answered."""
    if isinstance(error, (OSError, *_TERMIOS)) or _gone(port):
        return f"{port}: {_PULLED}"
    said = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{port}: " + _NOISE.format(said or type(error).__name__)


def _gone(port: str) -> bool:
    """Whether the port was there and is not any more, which esptool may tell as something else."""
    return port.startswith("/") and not Path(port).exists()


class _Reports(threading.local):
    """Where the bar of esptool goes that writes in this thread."""

    to: Callable[[int, int], None] | None = None


_reports = _Reports()


@contextmanager
def _reporting(progress: Progress | None, what: str) -> Iterator[None]:
    """Give progress what esptool tells of this step; at the beginning it is 0 of 1."""
    if progress:
        _reports.to = lambda done, total: progress(what, done, total)
        progress(what, 0, 1)
    try:
        yield
        if progress:
            progress(what, 1, 1)
    finally:
        _reports.to = None


def _quieten() -> None:
    """Have esptool say nothing: what matters of it is in its exceptions, and in the bar."""
    from esptool.logger import EsptoolLogger, TemplateLogger  # type: ignore[import-untyped]

    class Quiet(TemplateLogger):
        def _nothing(self, *_: object, **__: object) -> None:
            pass

        print = note = warning = error = stage = set_verbosity = _nothing

        def progress_bar(self, cur_iter: int, total_iters: int, *_: object, **__: object) -> None:
            if _reports.to:
                _reports.to(cur_iter, total_iters)

    EsptoolLogger().set_logger(Quiet())
