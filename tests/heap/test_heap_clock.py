"""Asking for the time takes no heap, nor does reading a Date that is right."""

import time

from checks import status
from fixed_transport import locked
from onebuf.clock import Clock, date

_2020 = 1577836800
_2026 = 1795259730  # 2026-11-21T11:15:30Z
_EKEYEXPIRED = -127


class Ticks:
    """A module time whose ticks are told, and wrap where the runtime's do."""

    def __init__(self):
        self.ticks = time.ticks_add(0, -5000)
        self.ticks_diff = time.ticks_diff
        self.ticks_add = time.ticks_add
        self.gmtime = time.gmtime

    def ticks_ms(self):
        return self.ticks

    def time(self):
        return _2026


def _count(c, ticks):
    for _ in range(10000):
        ticks.ticks = time.ticks_add(ticks.ticks, 777)
        c.seconds()


def test_the_seconds_take_no_heap_across_the_wrap():
    ticks = Clock.time = Ticks()
    try:
        c = Clock()
        locked(lambda: _count(c, ticks))
        assert c.seconds() == _2026 - _2020 + 7770
    finally:
        Clock.time = time


def test_the_seconds_are_a_small_int_up_to_2054():
    ticks = Clock.time = Ticks()
    try:
        c = Clock()
        c.set(_2020 + (1 << 30) - 8000)
        locked(lambda: _count(c, ticks))
        assert c.seconds() == (1 << 30) - 8000 + 7770
    finally:
        Clock.time = time


def _ask(c):
    assert c.seconds() < 0


def test_a_clock_that_is_not_set_takes_no_heap():
    c = Clock()
    c.set(0)
    locked(lambda: _ask(c))


def _read(buf, texts):
    for text in texts:
        buf[: len(text)] = text
        assert -1 <= date(buf, 0, 29)


def test_reading_a_date_takes_no_heap():
    texts = (
        b"Wed, 31 Dec 2053 23:59:59 GMT",
        b"Fri, 31 Dec 9999 23:59:59 GMT",
        b"Sat, 01 Jan 0000 00:00:00 GMT",
        b"Fri, 99 Dec 9999 99:59:59 GMT",
        b"no date, but as long as one is",
    )
    buf = bytearray(40)
    locked(lambda: _read(buf, texts))


def _judge(c, reply):
    for _ in range(10):
        assert c.correct(401, reply) is False
        assert c.correct(-110, reply) is False


def test_a_response_whose_date_is_right_takes_no_heap():
    c = Clock(servers=())
    c.set(_2026)
    reply = status(401, b"Date: Sat, 21 Nov 2026 11:16:30 GMT\r\n")
    locked(lambda: _judge(c, reply))
    c.set(0)
    reply = status(401, b"X: y\r\n")
    locked(lambda: _judge(c, reply))


def _fail(c, reply):
    try:
        c.sync()
        raise AssertionError("it took heap")
    except MemoryError:
        pass
    assert c.correct(_EKEYEXPIRED, reply) is False
    assert c.correct(401, reply) in (True, False)


def test_what_needs_heap_says_so_and_correct_raises_nothing():
    c = Clock(servers=("127.0.0.1",))
    c.set(_2026)
    reply = status(401, b"Date: Sat, 21 Nov 2026 12:16:30 GMT\r\n")
    locked(lambda: _fail(c, reply))
