"""The files of a flash queue, read and written independently of the device's code.

A segment file, named after the number of its first record, has records one after another:

    length (2 octets), number (4), data, CRC-32 of all that (4)             little-endian

`cursor` has one or two slots: the number of the oldest record that waits, the number from which
on none has been used (4 octets each), CRC-32 (4). Numbers have 29 bits and begin again at 0.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_SEGMENT = re.compile(r"([01][0-9a-f]{7})\.q")
_SEGMENT_OCTETS = 4096
_CURSOR = "cursor"
_HEAD = struct.Struct("<HI")
_SLOT = struct.Struct("<II")
_CRC_OCTETS = 4
_MODULUS = 1 << 29


@dataclass(frozen=True)
class Record:
    """One record as it was pushed."""

    number: int
    payload: bytes


@dataclass(frozen=True)
class Cursor:
    """first: the oldest record that waits. limit: from here on no number was used yet."""

    first: int
    limit: int


@dataclass
class Segment:
    """A file of records; damaged are the ranges of octets in which there is none intact."""

    name: str
    octets: int
    records: list[Record] = field(default_factory=list)
    damaged: list[range] = field(default_factory=list)


@dataclass
class Contents:
    """A whole queue, its segments in order. Without an intact cursor everything waits."""

    segments: list[Segment]
    cursor: Cursor | None
    problems: list[str]
    gaps: list[str]

    @property
    def records(self) -> list[Record]:
        """All that are intact, in their order."""
        return [record for segment in self.segments for record in segment.records]

    @property
    def waiting(self) -> list[Record]:
        """Those that have not left the queue."""
        cursor = self.cursor
        return [
            each for each in self.records if not cursor or after(each.number, cursor.first) >= 0
        ]


def after(number: int, other: int) -> int:
    """Return by how much number comes after other; negative: before it."""
    return (number - other + _MODULUS // 2) % _MODULUS - _MODULUS // 2


def is_part(name: str) -> bool:
    """Whether a file of this name belongs to a flash queue."""
    return name == _CURSOR or bool(_SEGMENT.fullmatch(name))


def read(files: Mapping[str, bytes]) -> Contents:
    """Read what the files of a queue hold, as far as it is intact."""
    cursor, problems = _cursor(files.get(_CURSOR))
    names = [name for name in files if _SEGMENT.fullmatch(name)]
    base = cursor.first if cursor else int(min(names, default="0")[:8], 16)
    names.sort(key=lambda name: after(int(name[:8], 16), base))
    segments = [_segment(name, files[name]) for name in names]
    problems += [problem for segment in segments for problem in _damage(segment)]
    contents = Contents(segments, cursor, problems, [])
    for segment, earlier, record in _neighbours(segments):
        ahead = after(record.number, earlier.number)
        if ahead <= 0:
            problems.append(f"{segment.name}: number {record.number} after {earlier.number}")
        elif ahead > 1:
            contents.gaps.append(f"{segment.name}: {ahead - 1} missing before {record.number}")
    return contents


def write(records: Sequence[Record], cursor: Cursor | None = None) -> dict[str, bytes]:
    """Return the files of a queue in which records wait, with the numbers that they have.

    cursor: that of the queue they come from; without records it is kept.
    """
    first = records[0].number if records else cursor.first if cursor else 0
    limit = cursor.limit if cursor else first
    files = {_CURSOR: _with_crc(_SLOT.pack(first, limit))}
    name = ""
    for record in records:
        octets = _with_crc(_HEAD.pack(len(record.payload), record.number) + record.payload)
        if not name or len(files[name]) + len(octets) > _SEGMENT_OCTETS:
            name = f"{record.number:08x}.q"
            files[name] = b""
        files[name] += octets
    return files


def _with_crc(octets: bytes) -> bytes:
    return octets + struct.pack("<I", zlib.crc32(octets))


def _segment(name: str, octets: bytes) -> Segment:
    """Read on one octet further wherever no intact record begins."""
    segment = Segment(name, len(octets))
    at = behind = 0  # behind the last intact record
    while at < len(octets):
        record = _record(octets, at)
        if not record:
            at += 1
            continue
        if at > behind:
            segment.damaged.append(range(behind, at))
        segment.records.append(record)
        at = behind = at + _HEAD.size + len(record.payload) + _CRC_OCTETS
    if behind < len(octets):
        segment.damaged.append(range(behind, len(octets)))
    return segment


def _record(octets: bytes, at: int) -> Record | None:
    if at + _HEAD.size + _CRC_OCTETS > len(octets):
        return None
    length, number = _HEAD.unpack_from(octets, at)
    end = at + _HEAD.size + length
    if number >= _MODULUS or end + _CRC_OCTETS > len(octets):
        return None
    if _with_crc(octets[at:end]) != octets[at : end + _CRC_OCTETS]:
        return None
    return Record(number, octets[at + _HEAD.size : end])


def _damage(segment: Segment) -> Iterator[str]:
    for where in segment.damaged:
        what = "torn tail" if where.stop == segment.octets else "CRC"
        yield f"{segment.name}: {what}: octets {where.start} to {where.stop - 1}"


def _cursor(octets: bytes | None) -> tuple[Cursor | None, list[str]]:
    """The newer of the intact slots, and what is wrong with the others."""
    if octets is None:
        return None, []
    best: Cursor | None = None
    problems = []
    size = _SLOT.size + _CRC_OCTETS
    for at in range(0, max(len(octets), 1), size):
        slot = octets[at : at + size]
        if len(slot) < size or _with_crc(slot[: _SLOT.size]) != slot:
            problems.append(f"{_CURSOR}: CRC: octets {at} to {at + size - 1}")
            continue
        found = Cursor(*_SLOT.unpack_from(slot))
        if not best or _newer(found, best):
            best = found
    return best, problems


def _newer(one: Cursor, other: Cursor) -> bool:
    later = after(one.first, other.first)
    return later > 0 or (not later and after(one.limit, other.limit) > 0)


def _neighbours(segments: Iterable[Segment]) -> Iterator[tuple[Segment, Record, Record]]:
    """Each record with the one before it."""
    earlier: Record | None = None
    for segment in segments:
        for record in segment.records:
            if earlier:
                yield segment, earlier, record
            earlier = record
