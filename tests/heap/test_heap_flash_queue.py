"""What the queue on flash takes of the heap, on LittleFS: its bounds are in flash_queue's head."""

import gc
import os
import sys

from fixed_transport import FixedTransport, locked
from flash_disk import Disk
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.dead_letters import DeadLetters
from onebuf.flash_queue import FlashQueue
from onebuf.port.micropython import random16
from onebuf.uplink import Uplink

BLOCK = 32 if sys.maxsize > 0x7FFFFFFF else 16  # the heap's unit: four words
RECORD = b'{"seq":1,"uptime_ms":123456}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Bare(Disk):
    """A Disk whose files are the file system's own."""

    def __enter__(self):
        self._mount()
        return self


def blocks(function):
    """How many units of the heap function() takes."""
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    try:
        function()
        return (gc.mem_alloc() - before) // BLOCK
    finally:
        gc.enable()


def queue(disk, batch, segment=4096, size=16384):
    """One whose files are open: both its segment's and the cursor's."""
    q = FlashQueue(disk.folder + "/q", size, True, batch, segment, 96)
    push(q, 1)
    assert q.sync() and len(q) == 1
    q.pop()
    assert q.sync()
    return q


def push(q, times):
    for _ in range(times):
        assert q.push(RECORD)


def serve(q, window, times):
    for _ in range(times):
        assert len(q) and q.peek(window) == len(RECORD)
        q.pop()


def test_a_push_takes_three_units_and_a_write_one_more():
    with Bare() as disk:
        q = queue(disk, 1)
        assert blocks(lambda: push(q, 20)) <= 20 * 4 + 2
        q.close()
    with Bare() as disk:
        q = queue(disk, 8)
        assert blocks(lambda: push(q, 40)) <= 40 * 3 + 5 + 2
        q.close()


def test_a_record_served_takes_two_units_and_two_for_each_cursor():
    for batch in (1, 8):
        with Bare() as disk:
            q = queue(disk, batch)
            push(q, 40)
            q.sync()
            window = memoryview(bytearray(100))
            assert blocks(lambda: serve(q, window, 40)) <= 40 * 2 + 40 // batch * 2 + 2
            q.close()


def test_a_record_served_from_ram_takes_one_unit():
    with Bare() as disk:
        q = queue(disk, 50)
        push(q, 40)
        window = memoryview(bytearray(100))
        assert blocks(lambda: serve(q, window, 40)) <= 40 + 3
        assert q.synced == q.next
        q.close()


def test_what_was_found_is_served_with_the_heap_locked():
    for batch in (1, 8):
        with Bare() as disk:
            q = queue(disk, batch)
            push(q, 20)
            window = memoryview(bytearray(100))
            for _ in range(20):
                assert len(q)
                locked(lambda: serve(q, window, 1))
            assert len(q) == 0 and q.first == q.next
            q.close()


def test_what_wants_heap_raises_memory_error_where_it_is_locked_and_changes_nothing():
    with Bare() as disk:
        q = queue(disk, 4)
        window = memoryview(bytearray(100))
        push(q, 6)
        dead = DeadLetters(disk.folder + "/dead")
        calls = (
            lambda: q.push(RECORD),
            q.sync,
            lambda: q.peek(window),
            lambda: dead.add(RECORD, len(RECORD), 400),
        )
        for call in calls:
            before = (q.first, q.next, q.synced, q.error)
            try:
                locked(call)
            except MemoryError:
                pass
            else:
                raise AssertionError("it did without")
            assert (q.first, q.next, q.synced, q.error) == before
        assert q.sync() and len(q) == 6 and os.listdir(disk.folder) == ["q"]
        serve(q, window, 6)
        assert len(q) == 0
        q.close()


def test_what_the_queue_holds_does_not_grow():
    with Bare() as disk:
        q = queue(disk, 4, 512, 2048)
        window = memoryview(bytearray(100))

        def work():
            for _ in range(20):
                push(q, 40)
                serve(q, window, len(q) - 3)
            gc.collect()

        work()
        taken = blocks(work)
        assert -80 <= taken <= 80, taken  # a file more or less is open
        q.close()


def test_a_publish_of_what_connect_has_found_takes_no_heap():
    for batch in (1, 8):
        with Bare() as disk:
            q = queue(disk, batch)
            cloud = AWS("a3qjexampleffp-ats.iot.us-west-2.amazonaws.com", "device/message")
            transport = FixedTransport(ANSWER, 40)
            client = Client(transport, bytearray(512), cloud.host, cloud.port)
            u = Uplink(client, cloud, q, Backoff(1000, 300000), random16)
            push(q, 12)
            for i in range(12):
                assert u.connect() == 0
                locked(lambda: u.forward())
                assert u.accepted == i + 1, "one for each connect() while the heap is locked"
            assert len(q) == 0
            push(q, 30)
            while u.accepted < 42:
                assert u.connect() == 0 and u.forward() > 0
            q.close()
