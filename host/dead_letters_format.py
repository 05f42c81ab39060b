"""The records that a cloud refused for good, read independently of the device's code.

Two files, `path` and the older `path.old`, have them one after another:

    length (2 octets), reason (2, signed), data, CRC-32 of all that (4)     little-endian

reason: a status, or -errno.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

_HEAD = struct.Struct("<Hh")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Letter:
    """One record, and why it was refused."""

    reason: int
    payload: bytes


@dataclass
class Letters:
    """All that are intact, oldest first, and what is wrong with the files."""

    letters: list[Letter] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(files: Mapping[str, bytes], path: str) -> Letters | None:
    """Return what path and path.old hold, as far as it is intact; None if there is neither."""
    found = Letters()
    names = [name for name in (f"{path}.old", path) if name in files]
    for name in names:
        _read(name, files[name], found)
    return found if names else None


def _read(name: str, octets: bytes, found: Letters) -> None:
    """Read on one octet further wherever no intact record begins."""
    at = behind = 0  # behind the last intact record
    while at < len(octets):
        letter = _letter(octets, at)
        if not letter:
            at += 1
            continue
        _note_damage(name, behind, at, found)
        found.letters.append(letter)
        at = behind = at + _HEAD.size + len(letter.payload) + _CRC.size
    _note_damage(name, behind, at, found)


def _note_damage(name: str, start: int, end: int, found: Letters) -> None:
    if start < end:
        found.problems.append(f"{name}: CRC: octets {start} to {end - 1}")


def _letter(octets: bytes, at: int) -> Letter | None:
    if at + _HEAD.size + _CRC.size > len(octets):
        return None
    length, reason = _HEAD.unpack_from(octets, at)
    end = at + _HEAD.size + length
    if octets[end : end + _CRC.size] != _CRC.pack(zlib.crc32(octets[at:end])):
        return None
    return Letter(reason, octets[at + _HEAD.size : end])
