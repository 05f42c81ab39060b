"""The queue in RAM, held against a list."""

from array import array

from checks import check_queue, lcg, raises
from onebuf.queue import Queue

_EMSGSIZE = -90


def test_the_contract_of_a_queue_is_kept_whether_full_drops_or_refuses():
    check_queue(Queue)
    check_queue(lambda size: Queue(size, False))


class Model:
    """A queue and the list that it must be equal to."""

    def __init__(self, size, drop_oldest):
        self.queue = Queue(size, drop_oldest)
        self.size = size
        self.drops = drop_oldest
        self.records = []
        self.left = 0  # records that left
        self.dropped = 0
        self.serial = 0
        self.window = memoryview(bytearray(size))

    def push(self, n):
        self.serial += 1
        data = bytes([(self.serial + i) & 255 for i in range(n)])
        accepted = self.queue.push(data)
        gone = self.queue.dropped - self.dropped
        self.dropped = self.queue.dropped
        used = sum([len(r) + 2 for r in self.records])
        if n + 2 > self.size:
            assert not accepted and not gone
        elif not accepted:
            assert not self.drops and not gone
            self._could_not_fit(n, used)
        else:
            self.records.append(data)
            assert gone == 0 or self.drops
        for _ in range(gone):
            self.left += 1
            used -= len(self.records[0]) + 2
            self._could_not_fit(n, used + len(self.records.pop(0)) + 2)

    def _could_not_fit(self, n, used):
        """A record is laid in one piece, so some octets at the end of the ring are lost."""
        longest = max([len(r) for r in self.records] + [n]) + 2
        assert used + n + 2 + longest > self.size, "there was room"

    def pop(self):
        if self.records:
            self.queue.pop()
            self.records.pop(0)
            self.left += 1

    def check(self):
        q = self.queue
        assert len(q) == len(self.records) and q.first == self.left
        if self.records:
            data = self.records[0]
            n = len(data)
            assert q.peek(self.window[:n]) == n
            assert bytes(self.window[:n]) == data
            assert q.peek(self.window) == n and bytes(self.window[:n]) == data
            assert n == 0 or q.peek(self.window[: n - 1]) == _EMSGSIZE
            assert len(q) == len(self.records) and q.first == self.left


def _wander(size, longest, steps, drop_oldest, peeks):
    model = Model(size, drop_oldest)
    chance = lcg(size * 31 + longest)
    for _ in range(steps):
        if next(chance) % 5 < 3:
            model.push(next(chance) % (longest + 1))
        else:
            model.pop()
        if peeks:
            model.check()
    while model.records:
        model.check()
        model.pop()
    model.check()


def test_random_pushes_and_pops_give_what_a_list_gives():
    for size, longest in ((64, 10), (64, 62), (61, 30), (7, 6), (300, 120), (40, 3)):
        for drop_oldest in (True, False):
            _wander(size, longest, 400, drop_oldest, True)


def test_random_pushes_and_pops_give_what_a_list_gives_without_a_peek_between():
    for size, longest in ((64, 10), (61, 30), (9, 8), (100, 40)):
        for drop_oldest in (True, False):
            _wander(size, longest, 400, drop_oldest, False)


def test_every_length_around_every_wrap_is_kept():
    size = 16
    for first in range(size - 1):
        for second in range(size - 1):
            for third in range(0, size - 1, 3):
                model = Model(size, True)
                for n in (first, second, third, 1):
                    model.push(n)
                    model.check()
                model.pop()
                model.push(second)
                while model.records:
                    model.check()
                    model.pop()


def test_the_longest_record_takes_the_whole_queue():
    for size in (2, 3, 50):
        model = Model(size, True)
        for _ in range(3):
            model.push(size - 2)
            model.check()
            assert model.records
            model.push(size - 1)
            model.push(size)
            model.check()
        assert model.queue.dropped == 2


def test_a_queue_too_small_for_anything_refuses_everything():
    assert not Queue(1).push(b"")
    assert not Queue(0).push(b"")


def test_a_record_of_65536_octets_is_refused():
    q = Queue(70000)
    assert q.push(bytes(65535))
    assert not q.push(bytes(65536))
    assert len(q) == 1 and q.peek(bytearray(65535)) == 65535


def test_a_full_queue_refuses_and_keeps_what_it_has_if_it_may_not_drop():
    q = Queue(20, False)
    assert q.push(b"12345678") and q.push(b"abcdefgh")
    assert not q.push(b"")
    assert (len(q), q.dropped, q.first) == (2, 0, 0)
    q.pop()
    assert q.push(b"ABCDEFGH") and not q.push(b"")
    window = bytearray(8)
    for data in (b"abcdefgh", b"ABCDEFGH"):
        assert q.peek(window) == 8 and window == data
        q.pop()


def test_a_full_queue_drops_as_many_of_the_oldest_as_it_must():
    q = Queue(30)
    for data in (b"aaaaaaaa", b"bbbbbbbb", b"cccccccc"):
        q.push(data)
    assert q.push(b"dddddddddd")
    assert (len(q), q.dropped, q.first) == (2, 2, 2)
    window = bytearray(10)
    assert q.peek(window) == 8 and window[:8] == b"cccccccc"


def test_what_is_peeked_does_not_change_when_the_record_is_dropped():
    q = Queue(12)
    q.push(b"0123456789")
    window = bytearray(10)
    q.peek(window)
    q.push(b"9876543210")
    assert window == b"0123456789" and q.dropped == 1


def test_nothing_is_dropped_while_there_is_room_behind_the_last_record():
    for drop_oldest in (True, False):
        q = Queue(30, drop_oldest)
        q.push(bytes(18))
        q.push(bytes(5))
        q.pop()
        assert q.push(b"at the beginning")
        q.pop()  # now only 18 of the 30 octets are taken
        assert q.push(b"8 octets")
        assert (len(q), q.dropped) == (2, 0)


def test_what_has_another_length_than_octets_is_refused():
    q = Queue(64)
    for text in ("abc", "\u00e9\u00e9", array("H", [1, 2, 3]), 5, None):
        raises((TypeError, ValueError), q.push, text)
        assert len(q) == 0
