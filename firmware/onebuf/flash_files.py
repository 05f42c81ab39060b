"""The files of a flash_queue: the cursor and the segments, in a folder of their own.

    0000002a.q   a segment, named after the number of its first record: %08x.q
    cursor       what has left
    record   n (2 octets)  number (4)  data (n)  CRC-32 (4) of all the former;  all little-endian

Numbers have 29 bits and go round; a is before b if (b - a) mod 2**29 is below 2**28. Each record
pushed gets the next one, and none that may have been delivered shares its number with another;
some may be missing. CRC-32 over a whole record, its own CRC too, is 0x2144DF1C. Segments are only
appended to: a batch is one write and one flush, in one segment. Where no intact record begins, the
reader goes on one octet further; a record numbered before the one that is due has left already.
A segment that was read to its end is removed once there is a newer one. When the newest ends with
something else than a record, it is left alone, and the next batch begins a new one.

The cursor has two slots of 12 octets, written in turn and flushed: first (4 octets), the number of
the oldest record that has not left; limit (4): none from here on was ever used, unless it is
before first; CRC-32 of both (4). The intact slot with the later first counts, then the later
limit; where none is intact, all that the segments hold is waiting. On LittleFS a flush happens
wholly or not at all. FAT promises less. Where a sector is written by erasing it first, as on bare
flash, a cut can take the folder, and all that waits; on a card that keeps or replaces a sector
nothing was seen lost. What is delivered is intact on either: docs/flash-queue.md.

What the file system refuses is an OSError here.
"""

import binascii
import os
import struct

from micropython import const

FRAME = 10  # octets of a record beside its data
OVER = -2
_FRAME = const(10)
_OVER = const(-2)
_INTACT = const(0x2144DF1C)  # the CRC-32 of anything that ends with its own CRC-32; a small int
_MASK = const(0x1FFFFFFF)
_HALF = const(0x10000000)
_SLOT = const(12)  # octets
_ENOENT = const(-2)
_EILSEQ = const(-84)


def gap(a, b):
    """How far number a is behind b, negative if it is before it."""
    return ((a - b + _HALF) & _MASK) - _HALF


class Cursor:
    """The file `path`. known: whether there was one that is intact."""

    def __init__(self, path: str):
        self.first = self.limit = self._slot = 0
        self.known = False
        self._path = path
        self._mark = bytearray(_SLOT)
        self._marked = memoryview(self._mark)[: _SLOT - 4]
        self._file = None
        for mode in ("rb", "r+b"):  # where nothing may be written, the first will do
            self.close()
            try:
                self._file = open(path, mode)
                self._read(self._file, 0)
                self._read(self._file, 1)
            except OSError:  # none yet; or it tells nothing
                pass

    def _read(self, file, slot):
        n = file.readinto(self._mark)
        if n < _SLOT or binascii.crc32(self._mark) != _INTACT:
            return
        first, limit = struct.unpack("<II", self._marked)
        if not self.known or (gap(first, self.first) or gap(limit, self.limit)) > 0:
            self.first = first
            self.limit = limit
            self._slot = slot ^ 1
        self.known = True

    def save(self, first: int, limit: int):
        """Write them, durably; limit stays what it is if that is later."""
        if self.known and gap(self.limit, limit) > 0:
            limit = self.limit
        struct.pack_into("<II", self._mark, 0, first, limit)
        struct.pack_into("<I", self._mark, _SLOT - 4, binascii.crc32(self._marked))
        try:
            if not self._file:
                self._file = _open_or_make(self._path)
            self._file.seek(_SLOT * self._slot)
            self._file.write(self._mark)
            self._file.flush()
        except OSError:
            self.close()
            raise
        self._slot ^= 1
        self.known = True
        self.first = first
        self.limit = limit

    def close(self):
        """The next save() opens it again."""
        close(self._file)
        self._file = None


class Segments:
    """The segments in folder, up to `octets` long: a reader at the oldest, a writer at the newest.

    numbers: their first numbers, oldest first. data: the record read last, number() its number.
    """

    def __init__(self, folder: str, octets: int, longest: int):
        self.data = None
        self._folder = folder + "/"
        self._octets = octets
        self._record = memoryview(bytearray(longest + _FRAME))
        self._head = self._tail = None  # the files of the oldest and of the newest
        self._pos = 0  # where the reader stands
        self._end = octets  # where the writer does; the next batch begins a new one
        try:
            names = os.listdir(folder)
        except UnicodeError:  # names on a FAT that a power cut has spoilt
            raise OSError(-_EILSEQ)
        self.numbers = [int(name[:8], 16) for name in names if _is_segment(name)]

    def sort(self, cursor: Cursor):
        """Put them in order; those that hold nothing after the cursor are removed."""
        numbers = self.numbers
        first = cursor.first if cursor.known or not numbers else min(numbers)
        numbers.sort(key=lambda number: gap(number, first))
        while len(numbers) > 1 and gap(numbers[1], first) <= 0:
            try:
                self.remove()
            except OSError:
                pass
            self.leave()

    def last(self) -> int:
        """The number of the newest record; one more if something torn follows it. There is one.

        Of a segment that cannot be read it is the last number that may be in it.
        """
        last = (self.numbers[-1] - 1) & _MASK
        end = pos = n = 0
        try:
            self._tail = open(self._path(-1), "rb")
            while n != _OVER:
                n = self._read(self._tail, pos)
                pos += n + _FRAME if n >= 0 else 1
                if n >= 0:
                    end = pos
                    last = self.number()
            torn = self._tail.seek(0, 2) != end
            self.give_up()
            if torn:
                return (last + 1) & _MASK
            self._tail = open(self._path(-1), "r+b")
            self._end = end
        except OSError:
            self.give_up()
            if n != _OVER:
                last = (self.numbers[-1] + self._octets // _FRAME) & _MASK
        return last

    def read(self) -> int:
        """Read where the reader stands: length of the record, -1: damaged, or OVER."""
        if not self._head:
            alone = self._tail if len(self.numbers) == 1 else None
            self._head = alone or open(self._path(0), "rb")
        return self._read(self._head, self._pos)

    def skip(self, n: int):
        """The reader goes on behind a record of n octets, or by one if n is negative."""
        self._pos += n + _FRAME if n >= 0 else 1

    def skip_all(self):
        """The reader goes to where the writer stands. There is one segment."""
        self._pos = self._end

    def number(self) -> int:
        """The number of the record read last."""
        r = self._record
        return r[2] | r[3] << 8 | r[4] << 16 | (r[5] & 31) << 24

    def fits(self, n: int) -> bool:
        """Whether n octets more have room in the newest."""
        return self._end + n <= self._octets

    def append(self, data):
        """Write records, durably, into the newest."""
        try:
            self._tail.seek(self._end)
            self._tail.write(data)
            self._tail.flush()
        except OSError:
            self.give_up()
            raise
        self._end += len(data)

    def begin(self, number: int):
        """Have a new segment be the newest. One of the same number held nothing yet."""
        self.give_up()
        again = self.numbers[-1:] == [number]
        if again:
            self._let_go()
        self._tail = open(self._folder + "%08x.q" % number, "w+b")
        if not again:
            self.numbers.append(number)
        if len(self.numbers) == 1:
            self._pos = 0
        self._end = 0

    def remove(self):
        """Remove the oldest; leave() comes next."""
        self._let_go()
        os.remove(self._path(0))

    def leave(self):
        """The reader goes to the next."""
        self._let_go()
        self.numbers.pop(0)
        self._pos = 0

    def give_up(self):
        """Write no more into the newest: what it ends with is not known."""
        if self._head is self._tail:
            self._head = None
        close(self._tail)
        self._tail = None
        self._end = self._octets

    def close(self):
        """Close the files. The next batch begins a new segment."""
        self._let_go()
        self.give_up()

    def _let_go(self):
        if self._head is not self._tail:
            close(self._head)
        self._head = None

    def _path(self, i):
        return self._folder + "%08x.q" % self.numbers[i]

    def _read(self, file, pos):
        record = self._record
        file.seek(pos)
        got = file.readinto(record)
        if got < _FRAME:
            return _OVER
        n = record[0] | record[1] << 8
        if n + _FRAME > got or record[5] > 31:
            return -1
        if binascii.crc32(record[: n + _FRAME]) != _INTACT:
            return -1
        self.data = record[6 : 6 + n]
        return n


def close(file):
    """Close a file, if there is one: what it held has been flushed, or given up."""
    if file:
        try:
            file.close()
        except OSError:
            pass


def _open_or_make(path):
    try:
        return open(path, "r+b")
    except OSError as e:
        if e.errno != -_ENOENT:  # to make it anew would take from it what it holds
            raise
    return open(path, "w+b")


def _is_segment(name):
    try:
        return name == "%08x.q" % (int(name[:8], 16) & _MASK)
    except ValueError:
        return False
