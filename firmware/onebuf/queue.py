"""A bounded FIFO of records in RAM, memory taken once.

    | ...free... | n n data | n n data | ...free... |     two octets of length before each record
A record is never split: where the end has no room for the next one, it is laid at the beginning,
and two octets 0xFFFF (if they fit) say so. peek() copies the oldest record to where it is sent
from, so that a record that is dropped meanwhile cannot change under the sender.
"""

from io import BytesIO

from micropython import const

_SKIP = const(0xFFFF)


class Queue:
    """size octets for records and their lengths; each record may have up to 65,534 octets.

    drop_oldest: when full, push() drops the oldest records, counted in dropped; else it refuses.
    """

    def __init__(self, size: int, drop_oldest: bool = True):
        self.size = size
        self.drop_oldest = drop_oldest
        self.dropped = 0
        self.first = 0  # how many records have left so far, modulo 2**29: it tells records apart
        self._ring = BytesIO(bytearray(size))
        self._two = bytearray(2)
        self._count = self._head = self._tail = 0

    def __len__(self):
        return self._count

    def push(self, data) -> bool:
        """Append a record, bytes-like. False: too long for the queue, or full and not dropping."""
        n = len(data)
        if n + 2 > self.size or n >= _SKIP:
            return False
        while not self._fits(n + 2):
            if not self.drop_oldest:
                return False
            self.pop()
            self.dropped += 1
        self._length(n)
        self._ring.write(data)
        self._tail += n + 2
        self._count += 1
        return True

    def peek(self, window) -> int:
        """Copy the oldest record to the start of window: its length, or -EMSGSIZE: too long.

        The rest of window may change too. The queue must not be empty.
        """
        n = self._oldest()
        if n > len(window):
            return -90
        self._ring.readinto(window)
        return n

    def pop(self):
        """Forget the oldest record. The queue must not be empty."""
        self._head += 2 + self._oldest()
        self._count -= 1
        self.first = (self.first + 1) & 0x1FFFFFFF

    def _oldest(self):
        """The length of the oldest record; the ring stands at its data."""
        n = self._read() if self._head + 2 <= self.size else _SKIP
        if n == _SKIP:
            self._head = 0
            n = self._read()
        return n

    def _read(self):
        self._ring.seek(self._head)
        self._ring.readinto(self._two)
        return self._two[0] | self._two[1] << 8

    def _length(self, n):
        self._two[0] = n & 255
        self._two[1] = n >> 8
        self._ring.seek(self._tail)
        self._ring.write(self._two)

    def _fits(self, n):
        """Make _tail a place where n octets are free, if there is one now."""
        if not self._count:
            self._head = self._tail = 0
        if self._tail < self._head or (self._count and self._tail == self._head):
            return self._tail + n <= self._head
        if self._tail + n <= self.size:
            return True
        if n > self._head:
            return False
        if self._tail + 2 <= self.size:
            self._length(_SKIP)
        self._tail = 0
        return True
