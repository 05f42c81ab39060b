"""A new board's file system as one image: package, application, settings and credentials."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host import flash_image, partitions
from host.boards import CIRCUITPYTHON, Board
from host.firmware_file import Firmware, FirmwareError
from host.partitions import Partition, TableError
from tools import packages

FIRMWARE = Path(__file__).parents[1] / "firmware"
CONFIG = "config.json"
_OTHERS = ("code.py", "manifest.py")  # for CircuitPython, for freezing
_LIB = "lib"  # on MicroPython's sys.path, and where mip installs
_DER = 0x30  # SEQUENCE, with which each certificate and key in DER begins


class ImageError(Exception):
    """The image cannot be made; str() says why, without a word of the credentials."""


@dataclass(frozen=True)
class Image:
    """An image, and where in the flash it begins.

    files: what the file system holds, by name. missing: the credentials that config.json names
    and nobody gave. filesystem: the partition that MicroPython mounts.
    """

    data: bytes = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    offset: int
    filesystem: Partition
    missing: tuple[str, ...]


def build(
    board: Board,
    *,
    cloud: str = "",
    config: bytes = b"",
    credentials: Path | None = None,
    added: Mapping[str, bytes] | None = None,
    source: bool = False,
    march: str = "",
    table: bytes = b"",
    firmware: Firmware | None = None,
) -> Image:
    """Return the image of a board's file system, behind the firmware if there is one.

    cloud: the one whose modules are wanted, else what config.json (config) says, else all.
    credentials: the folder of the files that config.json names. added: more files, and others
    instead of ours. source: .py files, not .mpy. march: what to compile for instead of the board's
    processor. table: of the board's partitions, binary or CSV; the firmware's own wins.
    Raises ImageError, FirmwareError, TableError, OSError.
    """
    settings = _settings(config)
    files = package(_list(cloud, settings), "" if source else march or board.mpy_arch)
    files |= application()
    if config:
        files[CONFIG] = config
    named = list(_credentials(settings))
    files |= _read(named, credentials) if credentials else {}
    files |= added or {}
    place = filesystem(board, table, firmware)
    try:
        data = flash_image.pack(files, place.size, board.filesystem.block_size)
    except flash_image.Full as error:
        raise ImageError(f"partition {place.name} of {board.name}: {error}") from None
    offset = place.offset
    if firmware is not None:
        data, offset = _behind(firmware, place) + data, firmware.offset
    missing = tuple(name for name in named if name not in files)
    return Image(data, files, offset, place, missing)


def package(name: str, march: str) -> dict[str, bytes]:
    """Return the files of one of tools.packages' lists for the folder lib, by name.

    march: what mpy-cross calls the processor that they are compiled for; empty: the sources.
    """
    files = packages.lists()[name]
    if not march:
        return {f"{_LIB}/{file}": (FIRMWARE / file).read_bytes() for file in files}
    from tools.size import compile_package  # here: it takes half a second

    with tempfile.TemporaryDirectory(prefix="onebuf-image-") as folder:
        compile_package(Path(folder), march)
        compiled = [str(Path(file).with_suffix(".mpy")) for file in files]
        return {f"{_LIB}/{file}": Path(folder, file).read_bytes() for file in compiled}


def application() -> dict[str, bytes]:
    """Return main.py and what it imports from beside it, by name."""
    found = sorted(FIRMWARE.glob("*.py"))
    return {file.name: file.read_bytes() for file in found if file.name not in _OTHERS}


def filesystem(board: Board, table: bytes, firmware: Firmware | None) -> Partition:
    """Return the partition of the file system: the firmware's, the table's, or the board's."""
    if firmware is not None:
        firmware.check(board)
        if firmware.runtime == CIRCUITPYTHON:
            raise FirmwareError("CircuitPython keeps its files in FAT: copy them to CIRCUITPY")
        known = firmware.partitions
    elif table:
        known = partitions.read(table, board.flash_bytes)
    else:
        own = board.filesystem
        known = (Partition(own.name, partitions.DATA, partitions.FAT, own.offset, own.size),)
    found = partitions.filesystem(known, board.flash_bytes)
    if found.offset % partitions.SECTOR or found.size % partitions.SECTOR:
        raise TableError(f"partition {found.name} is not made of whole sectors of 4096")
    return found


def _settings(config: bytes) -> dict[str, Any]:
    if not config:
        return {}
    try:
        settings = json.loads(config)
    except ValueError as error:
        raise ImageError(f"{CONFIG} is no JSON: {_where(error)}") from None
    if not isinstance(settings, dict):
        raise ImageError(f"{CONFIG} is no JSON object")
    return settings


def _where(error: ValueError) -> str:
    """The place of a mistake; the message itself may quote a secret."""
    return f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "no UTF-8"


def _list(cloud: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the list of modules, one of tools.packages'."""
    module = str(settings.get("cloud", "aws")) if settings else ""
    said = module.split("_")[0]
    if said and said not in packages.CLOUDS:
        raise ImageError(f"{CONFIG}: there is no cloud {module!r}")
    if cloud and said and cloud != said:
        raise ImageError(f"{CONFIG} is for {said}, not for {cloud}")
    return cloud or said or "package"


def _credentials(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the files with certificates and keys that main.py will read."""
    if not settings or not settings.get("tls", True):
        return
    for key in ("ca", "cert", "key"):
        names = settings.get(key, [])
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str) or Path(name).name != name:
                raise ImageError(f"{CONFIG}: {key!r} is no name of a file")
            yield name


def _read(names: list[str], folder: Path) -> dict[str, bytes]:
    found = {name: (folder / name).read_bytes() for name in names}
    for name, octets in found.items():
        if octets[:1] != bytes((_DER,)):
            raise ImageError(f"{folder / name} is not DER: `onebuf certs der` makes it so")
    return found


def _behind(firmware: Firmware, place: Partition) -> bytes:
    """Return the firmware, filled up to where the file system begins."""
    room = place.offset - firmware.offset
    if len(firmware.data) > room:
        raise ImageError(f"the firmware ends after {place.offset:#x}, where {place.name} begins")
    return firmware.data.ljust(room, b"\xff")
