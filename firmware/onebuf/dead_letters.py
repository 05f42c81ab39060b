"""The records that a cloud refused for good, each with the reason, in two files of bounded length.

    path, path.old   n (2 octets)  reason (2, signed)  data (n)  CRC-32 (4) of all the former

all little-endian. When path is full it becomes path.old, and what was path.old is gone: the newest
letters stay. Each is on flash when add() returns. On FAT a cut may leave something torn: where no
intact record begins, a reader goes on one octet further.
"""

import binascii
import os
import struct

from onebuf import outcome

_ENOMEM = -12


class DeadLetters:
    """The file `path`, and path.old: together size octets. error: 0, or -errno of the last add."""

    def __init__(self, path: str, size: int = 8192):
        self.error = 0
        self._path = path
        self._half = size // 2
        self._reason = 0  # of the record numbered _first, which waits for connect()
        self._first = 0

    def add(self, buf, n: int, reason: int) -> bool:
        """Keep the first n octets of buf, refused with reason, a status or -errno: whether it is.

        It opens a file: under a locked heap that is a MemoryError, and nothing is written.
        """
        if not 0 <= n <= min(self._half - 8, 0xFFFF):
            return False
        data = memoryview(buf)[:n]
        head = struct.pack("<Hh", n, max(-0x8000, min(reason, 0x7FFF)))
        crc = struct.pack("<I", binascii.crc32(data, binascii.crc32(head)))
        self.error = 0
        try:
            if self._octets() + n + 8 > self._half:
                self._turn()
            with open(self._path, "ab") as file:
                file.write(head)
                file.write(data)
                file.write(crc)
        except OSError as e:
            self.error = -(e.errno or 5)
        return not self.error

    def step(self, uplink) -> int:
        """Of uplink.step(): keep the oldest record, refused with result. REJECTED: forget it.

        One too long for the buffer is kept without its octets. Under a locked heap it is RETRY,
        and connect() keeps it.
        """
        self._first = uplink.queue.first
        self._reason = uplink.result
        try:
            room = uplink.client.room
            n = uplink.queue.peek(room)  # its octets were where the answer is now
            self.add(room, max(n, 0), self._reason)
        except MemoryError:
            uplink.result = _ENOMEM
            return outcome.RETRY
        self._reason = 0
        return outcome.REJECTED

    def connect(self, uplink):
        """Of uplink.connect(): what step() could not do."""
        reason = self._reason
        self._reason = 0
        if reason and len(uplink.queue) and uplink.queue.first == self._first:
            uplink.result = reason
            if self.step(uplink) == outcome.REJECTED:
                uplink.queue.pop()
                uplink.rejected += 1

    def _octets(self):
        try:
            return os.stat(self._path)[6]
        except OSError:
            return 0

    def _turn(self):
        old = self._path + ".old"
        try:
            os.remove(old)  # FAT renames to no name that is taken
        except OSError:
            pass
        os.rename(self._path, old)
