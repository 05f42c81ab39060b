"""The queue and the backoff take no heap, and no number outgrows 31 bits."""

from fixed_transport import locked
from onebuf.backoff import Backoff
from onebuf.queue import Queue

RECORDS = (
    b"",
    b"1",
    b"22",
    b"55555",
    b"a longer record",
    b"the longest record in here: 41 octets..",
)


def _wander(q, window):
    seed = 1
    for _ in range(2000):
        seed = (seed * 75 + 74) % 65537
        if seed % 5 < 3 or not len(q):
            q.push(RECORDS[seed % len(RECORDS)])
        else:
            assert q.peek(window) >= 0
            q.pop()


def test_push_peek_and_pop_around_the_wrap_take_no_heap():
    for drop_oldest in (True, False):
        for size in (64, 61, 200):
            q = Queue(size, drop_oldest)
            window = memoryview(bytearray(60))
            locked(lambda: _wander(q, window))


def _push_first(q):
    assert q.push(b"first")


def test_the_very_first_push_takes_no_heap():
    q = Queue(64)
    locked(lambda: _push_first(q))


def _count(q):
    for _ in range(3):
        q.push(b"")
        q.pop()


def test_the_count_of_records_that_left_stays_a_small_int():
    q = Queue(64)
    q.first = (1 << 29) - 2
    locked(lambda: _count(q))
    assert q.first == 1


def _all_randoms(backoff):
    for random in range(65536):
        assert 0 <= backoff.next_ms(random) <= backoff.cap_ms


def test_every_random_number_at_the_widest_bounds_takes_no_heap():
    for bound in (1000, 300000, 4194303):
        backoff = Backoff(bound, bound)
        locked(lambda: _all_randoms(backoff))


def _bounds(base, cap):
    for b in base:
        for c in cap:
            BACKOFF.base_ms = b
            BACKOFF.cap_ms = c
            BACKOFF.reset()
            for _ in range(30):
                assert 0 <= BACKOFF.next_ms(65535) <= 4194303


BACKOFF = Backoff(1, 1)


def test_every_way_up_to_the_widest_bounds_takes_no_heap():
    some = (0, 1, 3, 1000, 65535, 65536, 2097151, 2097152, 4194302, 4194303)
    locked(lambda: _bounds(some, some))
