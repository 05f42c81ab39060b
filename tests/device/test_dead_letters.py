"""The records refused for good: kept with the reason, the newest of them, in bounded files."""

import binascii
import os
import struct

from flash_disk import Disk
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.dead_letters import DeadLetters
from onebuf.outcome import ACCEPTED, REJECTED, RETRY
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import REQUEST, ScriptTransport

_ENOMEM = -12


class Cloud:
    host = "h"
    port = 80
    max_payload = 50
    login = None
    signs = False

    def refresh(self, head, now):
        head.start(b"POST", b"h", b"/")
        head.end()
        return 0

    def outcome(self, reply):
        return ACCEPTED if reply.status == 200 else RETRY if reply.status > 499 else REJECTED


class NoHeap(DeadLetters):
    """As under a locked heap, so many times."""

    times = 0

    def add(self, buf, n, reason):
        if self.times:
            self.times -= 1
            raise MemoryError
        return super().add(buf, n, reason)


def uplink(dead, *statuses):
    events = []
    for status in statuses:
        events += [REQUEST, b"HTTP/1.1 %d Any\r\nContent-Length: 4\r\n\r\nnope" % status]
    c = Client(ScriptTransport(events), bytearray(300), "h", 80)
    u = Uplink(c, Cloud(), Queue(900), Backoff(1000, 4000), lambda: 65535)
    u.dead_letters = dead
    return u


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


def test_a_record_refused_for_good_is_kept_with_the_reason_and_the_next_one_goes_on():
    with Disk() as disk:
        path = disk.folder + "/dead"
        u = uplink(DeadLetters(path), 200, 400, 413, 200)
        for body in (b"one", b"two", b"three", b"x" * 51, b"y" * 280, b"six"):
            assert u.queue.push(body)
        assert u.forward() == 2
        assert letters(path) == [(400, b"two"), (413, b"three"), (-7, b"x" * 51), (-7, b"")]
        assert (u.accepted, u.rejected, u.retries, len(u.queue)) == (2, 4, 0, 0)


def test_a_record_that_is_only_not_now_is_no_dead_letter():
    with Disk() as disk:
        path = disk.folder + "/dead"
        u = uplink(DeadLetters(path), 503)
        u.queue.push(b"one")
        assert u.forward() == 0 and len(u.queue) == 1
        assert os.listdir(disk.folder) == []


def test_under_a_locked_heap_the_record_waits_for_connect_to_keep_it():
    with Disk() as disk:
        path = disk.folder + "/dead"
        dead = NoHeap(path)
        dead.times = 2
        u = uplink(dead, 400, 200)
        u.queue.push(b"one")
        u.queue.push(b"two")
        assert u.forward() == 0
        assert (u.result, len(u.queue), u.rejected) == (_ENOMEM, 2, 0) and u.wait_ms == 1000
        assert u.connect() == 0 and (len(u.queue), u.rejected) == (2, 0), "still no heap"
        assert u.connect() == 0 and (len(u.queue), u.rejected) == (1, 1)
        assert letters(path) == [(400, b"one")]
        assert u.connect() == 0 and u.forward() == 1
        assert (u.accepted, u.rejected, len(u.queue)) == (1, 1, 0)


def test_a_record_that_was_dropped_meanwhile_is_not_kept_instead_of_another():
    with Disk() as disk:
        path = disk.folder + "/dead"
        dead = NoHeap(path)
        dead.times = 1
        u = uplink(dead, 400, 200)
        u.queue.push(b"one")
        u.queue.push(b"two")
        assert u.forward() == 0
        u.queue.pop()
        assert u.connect() == 0 and u.forward() == 1
        assert os.listdir(disk.folder) == [] and u.rejected == 0


def test_a_full_disk_takes_no_letter_but_stops_nothing():
    with Disk() as disk:
        dead = DeadLetters(disk.folder + "/no/such/folder")
        u = uplink(dead, 400, 200)
        u.queue.push(b"one")
        u.queue.push(b"two")
        assert u.forward() == 1 and (u.rejected, len(u.queue)) == (1, 0)
        assert dead.error < 0
