"""A bounded FIFO of records on flash: the contract of queue.Queue, kept across power cuts.

What is on flash, and how, is written in flash_files. What waits in RAM, at most `batch` records,
is served from there when nothing older is on flash: a device that is online writes nothing but
the cursor, every 64 records. After a cut up to `batch` records come twice: those popped since the
cursor was written, and the one under way.

Heap with 32-bit words: 48 octets for each record pushed, 16 for each batch written, 32 for each
cursor written and each record found, all garbage. What len() or peek() has found, peek() and pop()
serve with the heap locked. Besides, a segment that is begun or opened takes a file. RAM: batch *
(longest + 10) octets but no more than a segment, longest + 10, and up to three open files.
"""

import binascii
import os
import struct

from micropython import const

from onebuf import span
from onebuf.flash_files import FRAME, OVER, Cursor, Segments, gap

_EMSGSIZE = const(-90)
_MASK = const(0x1FFFFFFF)
_LOST = const(-3)  # of a segment that cannot be read
_AHEAD = const(64)  # numbers that the cursor keeps for records served from RAM


class FlashQueue:
    """folder on flash, made if need be, with size octets in segments; a record has up to longest.

    batch: so many records at most wait in RAM until they are written together. drop_oldest: when
    full, push() drops the oldest segment, its records counted in dropped; else it refuses. corrupt
    counts the numbers found missing or damaged. first is the number of the oldest record, next the
    one that the next push gives; all before synced are on flash, or have left. error is what the
    file system said last, -errno, or 0; while it neither gives nor takes, len() is 0. longest may
    not become less while records wait. ValueError: bad sizes; OSError: no such folder, or damaged.
    """

    def __init__(
        self, folder: str, size=65536, drop_oldest=True, batch=1, segment=4096, longest=256
    ):
        room = longest + FRAME
        if batch < 1 or not FRAME <= room <= min(segment, 65535) or segment * 2 > size:
            raise ValueError("sizes: longest + 10 <= segment <= size / 2")
        try:
            os.stat(folder)
        except OSError:
            os.mkdir(folder)  # it says what is wrong: a file system that takes no writes, say
        self.drop_oldest = drop_oldest
        self.dropped = self.corrupt = self.error = 0
        self._batch = batch
        self._longest = longest
        self._most = size // segment
        self._buf = bytearray(min(batch * room, segment))  # records not yet written: _a to _e
        self._view = memoryview(self._buf)
        self._segments = Segments(folder, segment, longest)
        self._mount(Cursor(folder + "/cursor"))

    def _mount(self, cursor):
        self._a = self._e = 0
        self._n = -1  # the length of the oldest record, if it was found, and its data
        self._data = None
        self._cursor = cursor
        self.first = self.next = cursor.first
        segments = self._segments
        segments.sort(cursor)
        numbers = segments.numbers
        if numbers:
            self.next = (segments.last() + 1) & _MASK
            if not cursor.known or gap(numbers[0], cursor.first) > 0:
                self.first = numbers[0]
        if gap(self.first, self.next) >= 0:  # nothing waits
            if gap(self.first, cursor.limit) < 0:
                self.first = cursor.limit
            self.next = self.first
            segments.skip_all()
        self.synced = self._edge = self.next  # _edge: behind the last number on flash

    def __len__(self):
        """How many wait; 0 too while the file system neither gives nor takes: error says why."""
        try:
            if not self._find():
                return 0
        except MemoryError:  # under a locked heap: peek() will say so
            pass
        return (self.next - self.first) & _MASK

    def push(self, data) -> bool:
        """Append a record, octets: True when it is on flash, or in RAM with less than `batch`.

        False, and it is not taken: too long, or full and not dropping, or what error says.
        ValueError: not octets.
        """
        if not isinstance(data, span.OCTETS):
            raise ValueError("record: bytes")
        n = len(data)
        if n > self._longest:
            return False
        if self._e + n + FRAME > len(self._buf) and not self._write():
            return False
        e = self._e
        struct.pack_into("<HI", self._buf, e, n, self.next)
        self._buf[e + 6 : e + 6 + n] = data
        struct.pack_into("<I", self._buf, e + 6 + n, binascii.crc32(self._view[e : e + 6 + n]))
        self._e = e + n + FRAME
        self.next = (self.next + 1) & _MASK
        if (self.next - self.synced) & _MASK >= self._batch and not self._write():
            self._e = e
            self.next = (self.next - 1) & _MASK
            return False
        return True

    def peek(self, window) -> int:
        """Copy the oldest record to the start of window: its length, or -EMSGSIZE: too long.

        -1: there is none.
        """
        if not self._find():
            return -1
        if self._n > len(window):
            return _EMSGSIZE
        window[: self._n] = self._data
        return self._n

    def pop(self):
        """Forget the oldest record; on flash when `batch` of them have been popped."""
        if not self._find():
            return
        n = self._n
        self._n = -1
        in_ram = self.first == self.synced
        self.first = (self.first + 1) & _MASK
        if in_ram:
            self.synced = self.first
            self._a += n + FRAME
            if self._a == self._e:
                self._a = self._e = 0
            return
        self._segments.skip(n)
        if gap(self.first, self._cursor.first) >= self._batch:
            try:
                self._save()
            except MemoryError:  # under a locked heap: a later one will
                pass

    def sync(self) -> bool:
        """Make durable what was pushed and popped: whether it is. Before deep sleep, or by age."""
        done = self._write()
        return self._save() and done

    def close(self):
        """sync(), and close the files."""
        self.sync()
        self._segments.close()
        self._cursor.close()

    def _find(self):
        """Have the oldest intact record at hand: whether there is one."""
        while self._n < 0 and self.first != self.next:
            if self.first != self.synced:
                if self._find_on_flash():
                    break
                continue
            cursor = self._cursor
            if gap(self._edge, cursor.first) > 0 or gap(cursor.limit, self.first) <= 0:
                self._save(True)  # first of all, so that no number delivered is used again
            a = self._a + 6
            n = self._buf[a - 6] | self._buf[a - 5] << 8
            self._data = self._view[a : a + n]
            self._n = n
        return self._n >= 0

    def _find_on_flash(self):
        """Go on by one record, one octet of damage, or one segment: True if that is not possible.

        What cannot be read is given up, unless nothing can be written either: it may come back.
        """
        segments = self._segments
        try:
            n = segments.read()
        except OSError as e:
            self._fail(e)
            if not self._save(True):
                return True
            n = _LOST
        if n <= OVER:
            self._leave_segment(n)
            return False
        ahead = gap(segments.number(), self.first)
        if n < 0 or not 0 <= ahead < gap(self.synced, self.first):
            segments.skip(n)
            return False
        self.corrupt += ahead
        self.first = (self.first + ahead) & _MASK
        self._data = segments.data
        self._n = n
        return False

    def _leave_segment(self, n):
        segments = self._segments
        if len(segments.numbers) == 1:
            self.corrupt += gap(self.synced, self.first)
            self.first = self.synced
            return
        try:
            if n == OVER:
                segments.remove()
        except OSError as e:
            self._fail(e)
        segments.leave()

    def _write(self):
        """Write what waits in RAM: whether nothing does any more."""
        n = self._e - self._a
        if not n:
            return True
        self._save()
        try:
            if not self._segments.fits(n):
                if not self._make_room():
                    return False
                self._segments.begin(self.synced)
            self._segments.append(self._view[self._a : self._e])
        except OSError as e:
            return self._fail(e)
        if self.first == self.synced:
            self._n = -1  # the oldest has gone from RAM to flash
        self._a = self._e = self.error = 0
        self.synced = self._edge = self.next
        return True

    def _make_room(self):
        """Whether one segment more may be begun."""
        segments = self._segments
        numbers = segments.numbers
        while len(numbers) >= self._most and numbers[-1] != self.synced:
            waiting = gap(numbers[1], self.first)
            if waiting > 0 and not self.drop_oldest:
                return False
            segments.remove()
            segments.leave()
            if waiting > 0:
                self.dropped += waiting
                self.first = numbers[0]
                self._n = -1
        return True

    def _save(self, anyway=False):
        """Write the cursor, if it has moved: whether it is on flash."""
        if self._cursor.first == self.first and not anyway:
            return True
        # Numbers behind limit have not been used; those in RAM may be at any time.
        limit = self.first if self.next == self.synced else (self.next + _AHEAD) & _MASK
        try:
            self._cursor.save(self.first, limit)
        except OSError as e:
            return self._fail(e)
        return True

    def _fail(self, e):
        self.error = -(e.errno or 5)
        return False
