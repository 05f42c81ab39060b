"""The records refused for good: kept with the reason, the newest of them, in bounded files."""

import binascii
import os
import struct

from flash_disk import Disk
from onebuf.dead_letters import DeadLetters


def letters(path):
    """What the file holds, as its head says: (reason, data) of each record."""
    with open(path, "rb") as file:
        octets = file.read()
    found = []
    at = 0
    while at < len(octets):
        n, reason = struct.unpack("<Hh", octets[at : at + 4])
        end = at + 4 + n
        assert struct.unpack("<I", octets[end : end + 4])[0] == binascii.crc32(octets[at:end])
        found.append((reason, octets[at + 4 : end]))
        at = end + 4
    return found


def test_letters_are_kept_with_their_reasons_across_restarts():
    with Disk() as disk:
        path = disk.folder + "/dead"
        window = memoryview(bytearray(b"a reading, and what is behind it"))
        assert DeadLetters(path).add(window, 9, 400)
        assert DeadLetters(path).add(b"", 0, -7)
        assert DeadLetters(path).add(bytearray(b"far"), 3, -100000)
        assert letters(path) == [(400, b"a reading"), (-7, b""), (-0x8000, b"far")]


def test_when_full_the_oldest_half_is_gone():
    with Disk() as disk:
        path = disk.folder + "/dead"
        dead = DeadLetters(path, 200)
        for i in range(40):
            assert dead.add(b"letter %02d" % i, 9, 400)
            assert os.stat(path)[6] <= 100
        kept = letters(path + ".old") + letters(path)
        assert kept == [(400, b"letter %02d" % i) for i in range(40 - len(kept), 40)]
        assert 5 < len(kept) <= 10


def test_what_is_too_long_or_cannot_be_written_is_said():
    with Disk() as disk:
        dead = DeadLetters(disk.folder + "/dead", 100)
        assert dead.add(bytes(60), 42, 413) and not dead.add(bytes(60), 43, 413)
        assert not dead.add(bytes(60), -1, 413) and dead.error == 0
        dead = DeadLetters(disk.folder + "/nowhere/dead")
        assert not dead.add(b"x", 1, 400) and dead.error == -2
