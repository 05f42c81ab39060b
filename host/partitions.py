"""ESP-IDF's partition table: read as the chip has it or as CSV, written as the chip has it.

ESP-IDF Programming Guide, "Partition Tables": entries of 32 octets from 0x8000 of the flash on,
then one with the MD5 of those before it, then 0xFF.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OFFSET = 0x8000  # CONFIG_PARTITION_TABLE_OFFSET, which MicroPython and CircuitPython leave alone
SECTOR = 4096
APP, DATA, FAT = 0, 1, 0x81
_TABLE_BYTES = 0xC00
_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_MD5 = b"\xeb\xeb" + b"\xff" * 14
_END = b"\xff" * _ENTRY.size
_TYPES = {"app": APP, "data": DATA}
_DATA = {"ota": 0, "phy": 1, "nvs": 2, "coredump": 3, "nvs_keys": 4, "efuse": 5, "undefined": 6}
_SUBTYPES = {
    APP: {"factory": 0, "test": 0x20, **{f"ota_{n}": 0x10 + n for n in range(16)}},
    DATA: {**_DATA, "esphttpd": 0x80, "fat": FAT, "spiffs": 0x82, "littlefs": 0x83},
}
_FLAGS = {"encrypted": 1, "readonly": 2}
_FILESYSTEMS = ("vfs", "ffat")  # MicroPython, ports/esp32/modules/flashbdev.py


class TableError(Exception):
    """That is no partition table, or one that cannot be; str() says why."""


@dataclass(frozen=True)
class Partition:
    """One entry; offset in the flash and size in octets."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        """The offset of what comes after it."""
        return self.offset + self.size


def read(octets: bytes, flash_bytes: int) -> tuple[Partition, ...]:
    """Return the partitions of a table, binary or CSV, that fit a flash; TableError."""
    if octets.startswith(_MAGIC):
        return checked(parse(octets), flash_bytes)
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise TableError("neither a partition table (it begins with AA 50) nor CSV") from None
    return checked(parse_csv(text), flash_bytes)


def parse(octets: bytes) -> tuple[Partition, ...]:
    """Return the partitions of a binary table, whose MD5 is checked if it has one; TableError."""
    found: list[Partition] = []
    for at in range(0, min(len(octets), _TABLE_BYTES) - _ENTRY.size + 1, _ENTRY.size):
        entry = octets[at : at + _ENTRY.size]
        if entry == _END:
            break
        if entry.startswith(_MD5):
            if entry[len(_MD5) :] != hashlib.md5(octets[:at], usedforsecurity=False).digest():
                raise TableError("the partition table is damaged: its MD5 is another")
            continue
        found.append(_parsed(entry, at))
    if not found:
        raise TableError("no partition table is there")
    return tuple(found)


def _parsed(entry: bytes, at: int) -> Partition:
    magic, kind, subtype, offset, size, name, flags = _ENTRY.unpack(entry)
    if magic != _MAGIC:
        what = "the partition table is damaged" if at else "no partition table is there"
        raise TableError(what)
    text = name.rstrip(b"\0").decode("ascii", "replace")
    return Partition(text, kind, subtype, offset, size, flags)


def build(partitions: Iterable[Partition]) -> bytes:
    """Return the binary table, 0xC00 octets, as parse() reads it; TableError if they are many."""
    table = b"".join(
        _ENTRY.pack(
            _MAGIC, each.type, each.subtype, each.offset, each.size, _name(each), each.flags
        )
        for each in partitions
    )
    table += _MD5 + hashlib.md5(table, usedforsecurity=False).digest() + _END
    if len(table) > _TABLE_BYTES:
        raise TableError(f"a partition table has room for {_TABLE_BYTES // _ENTRY.size - 2}")
    return table.ljust(_TABLE_BYTES, b"\xff")


def _name(partition: Partition) -> bytes:
    name = partition.name.encode("ascii", "replace")
    if not 0 < len(name) <= 16:
        raise TableError(f"{partition.name!r}: a partition's name has 1 to 16 characters")
    return name


def parse_csv(text: str) -> tuple[Partition, ...]:
    """Return the partitions of ESP-IDF's CSV; an offset left out follows from the one before."""
    found: list[Partition] = []
    end = OFFSET + SECTOR
    for number, line in enumerate(text.splitlines(), 1):
        words = [word.strip() for word in line.partition("#")[0].split(",")]
        if words == [""]:
            continue
        try:
            found.append(_from_words(words, end))
        except (KeyError, ValueError):
            raise TableError(f"line {number} is no partition: {line.strip()!r}") from None
        end = found[-1].end
    if not found:
        raise TableError("the CSV has no partition")
    return tuple(found)


def _from_words(words: Sequence[str], after: int) -> Partition:
    name, kind, subtype, offset, size, *rest = words
    code = _TYPES[kind] if kind in _TYPES else int(kind, 0)
    known = _SUBTYPES.get(code, {})
    step = 0x10000 if code == APP else SECTOR
    flags = sum(_FLAGS[word] for word in ":".join(rest).split(":") if word)
    return Partition(
        name,
        code,
        known[subtype] if subtype in known else int(subtype, 0),
        _octets(offset) if offset else -(-after // step) * step,
        _octets(size),
        flags,
    )


def _octets(text: str) -> int:
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper())
    return int(text[:-1], 0) * unit if unit else int(text, 0)


def checked(partitions: tuple[Partition, ...], flash_bytes: int) -> tuple[Partition, ...]:
    """Return the partitions, unless they overlap, or do not fit the flash: TableError."""
    end = OFFSET
    for each in sorted(partitions, key=lambda each: each.offset):
        if each.offset < end or not each.size:
            raise TableError(f"partition {each.name!r} at {each.offset:#x} overlaps another")
        if each.end > flash_bytes:
            raise TableError(
                f"partition {each.name!r} ends at {each.end:#x}, after the flash of the board, "
                f"{flash_bytes >> 20} MiB"
            )
        end = each.end
    return partitions


def filesystem(partitions: Iterable[Partition], flash_bytes: int) -> Partition:
    """Return the partition that MicroPython mounts at `/`; TableError if there is no room.

    Where the table has none, MicroPython from 1.26 on takes what is after the last partition up to
    the end of the flash (ports/esp32/main.c, boardctrl_startup).
    """
    known = tuple(partitions)
    for name in _FILESYSTEMS:
        for each in known:
            if each.type == DATA and each.name == name:
                return each
    end = max((each.end for each in known), default=flash_bytes)
    if end >= flash_bytes:
        raise TableError("the partition table leaves no room for a file system")
    return Partition(_FILESYSTEMS[0], DATA, FAT, end, flash_bytes - end)
