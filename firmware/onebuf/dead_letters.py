"""The records that a cloud refused for good, each with the reason, in two files of bounded length.

    path, path.old   n (2 octets)  reason (2, signed)  data (n)  CRC-32 (4) of all the former

all little-endian. When path is full it becomes path.old, and what was path.old is gone: the newest
letters stay. Each is on flash when add() returns. On FAT a cut may leave something torn: where no
intact record begins, a reader goes on one octet further.
"""

import binascii
import os
import struct


class DeadLetters:
    """The file `path`, and path.old: together size octets. error: 0, or -errno of the last add."""

    def __init__(self, path: str, size: int = 8192):
        self.error = 0
        self._path = path
        self._half = size // 2

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
