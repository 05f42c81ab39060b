"""A bounded FIFO of records in RAM, its memory taken once.

    | free | n n data | n n data | free |     two octets of length stand before each record
A record is never split: one that does not fit at the end is laid at the beginning. peek() copies
the oldest one to where it is sent from, so that push() may drop it before it has been sent. All of
it is for one thread; it is not for callbacks of timers and interrupts.
"""

from io import BytesIO

from micropython import const

from onebuf import span

_EMSGSIZE = const(-90)


class Queue:
    """size octets for records and their lengths; a record has up to 65,535 octets.

    drop_oldest: when full, push() drops the oldest records, counted in dropped; else it refuses.
    first counts the records that have left, modulo 2**29: it tells them apart.
    """

    def __init__(self, size: int, drop_oldest: bool = True):
        self.drop_oldest = drop_oldest
        self.dropped = self.first = 0
        self._size = size
        self._ring = BytesIO()
        self._ring.seek(size)  # takes the memory, once
        self._ring.write(b"\0")
        self._two = bytearray(2)
        self._count = self._head = self._tail = 0
        self._end = -1  # where the records end and go on at 0; -1: they do not

    def __len__(self):
        return self._count

    def push(self, data) -> bool:
        """Append a record, octets. False: too long for the queue, or full and not dropping.

        ValueError: not octets.
        """
        if not isinstance(data, span.OCTETS):
            raise ValueError("record: bytes")
        n = len(data)
        if n > min(self._size - 2, 0xFFFF):
            return False
        while not self._fits(n + 2):
            if not self.drop_oldest:
                return False
            self.pop()
            self.dropped += 1
        self._two[0] = n & 255
        self._two[1] = n >> 8
        self._ring.seek(self._tail)
        self._ring.write(self._two)
        self._ring.write(data)
        self._tail += n + 2
        self._count += 1
        return True

    def peek(self, window) -> int:
        """Copy the oldest record to the start of window: its length, or -EMSGSIZE: too long.

        The rest of window may change too. An empty queue gives -1.
        """
        if not self._count:
            return -1
        n = self._oldest()
        if n > len(window):
            return _EMSGSIZE
        self._ring.readinto(window)
        return n

    def pop(self):
        """Forget the oldest record. The queue must not be empty."""
        self._head += 2 + self._oldest()
        if self._head == self._end:
            self._head = 0
            self._end = -1
        self._count -= 1
        self.first = (self.first + 1) & 0x1FFFFFFF

    def _oldest(self):
        """The length of the oldest record; the ring stands at its data."""
        self._ring.seek(self._head)
        self._ring.readinto(self._two)
        return self._two[0] | self._two[1] << 8

    def _fits(self, n):
        """Put _tail where n octets are free, if there is such a place."""
        if not self._count:
            self._head = self._tail = 0
            self._end = -1
        if self._end >= 0:
            return self._tail + n <= self._head
        if self._tail + n > self._size and n <= self._head:
            self._end = self._tail
            self._tail = 0
        return self._tail + n <= (self._head if self._end >= 0 else self._size)
