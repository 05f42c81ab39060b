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
        self._n = -1  # the length of the oldest record, if it is known

    def __len__(self):
        return self._count

    def push(self, data) -> bool:
        """Append a record, octets. False: too long for the queue, or full and not dropping.

        ValueError: not octets.
        """
        if not isinstance(data, span.OCTETS):
            raise ValueError("record: bytes")
        n = len(data)
        to = self._tail
        if self._end >= 0 or to + n + 2 > self._size or n > 0xFFFF:
            if not self._make_room(n + 2):
                return False
            to = self._tail
        two = self._two
        two[0] = n & 255
        two[1] = n >> 8
        ring = self._ring
        ring.seek(to)
        ring.write(two)
        ring.write(data)
        self._tail = to + n + 2
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
        n = self._n
        self._head += 2 + (n if n >= 0 else self._oldest())
        self._n = -1
        self._count -= 1
        self.first = (self.first + 1) & 0x1FFFFFFF
        if not self._count:
            self._head = self._tail = 0
            self._end = -1
        elif self._head == self._end:
            self._head = 0
            self._end = -1

    def _oldest(self):
        """The length of the oldest record, at whose data the ring stands then."""
        self._ring.seek(self._head)
        self._ring.readinto(self._two)
        n = self._n = self._two[0] | self._two[1] << 8
        return n

    def _make_room(self, n):
        """Put _tail where n octets are free: whether there is such a place."""
        if n > min(self._size, 0xFFFF + 2):
            return False
        while not self._fits(n):
            if not self.drop_oldest:
                return False
            self.pop()
            self.dropped += 1
        return True

    def _fits(self, n):
        if self._end >= 0:
            return self._tail + n <= self._head
        if self._tail + n > self._size and n <= self._head:
            self._end = self._tail
            self._tail = 0
            return True
        return self._tail + n <= self._size
