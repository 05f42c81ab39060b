"""The clock over supervisor's ticks and rtc, and SNTP over a socket pool."""

import random
import time

import rtc
from checks import status
from loopback import POOL
from onebuf import sntp
from onebuf.port.circuitpython_clock import Clock

_ENXIO = -6
_ETIMEDOUT = -110
_2020 = 1577836800
_2026 = 1795259730  # 2026-11-21T11:15:30Z
_1900 = -2208988800


class Play:
    """An SNTP server, which has its turn before each poll of the clock's; it stands for select."""

    POLLIN = 1

    def __init__(self, replies=True):
        self.replies = replies
        self.requests = []
        self.sock = POOL.socket(POOL.AF_INET, POOL.SOCK_DGRAM)
        for _ in range(500):
            self.port = 20000 + random.getrandbits(15)
            try:
                self.sock.bind(("127.0.0.1", self.port))
                break
            except OSError:
                pass
        self.sock.setblocking(False)

    def poll(self):
        import select

        poller = select.poll()
        play = self

        class Turn:
            def register(self, sock, events):
                poller.register(sock, events)

            def poll(self, ms):
                play.turn()
                return poller.poll(min(ms, 20))

        return Turn()

    def turn(self):
        request = bytearray(100)
        try:
            n, client = self.sock.recvfrom_into(request)
        except OSError:
            return
        self.requests.append(bytes(request[:n]))
        if self.replies:
            b = bytearray(48)
            b[0] = 0x24
            b[1] = 2
            b[24:32] = request[40:48]
            b[40:44] = (_2026 - _1900).to_bytes(4, "big")
            self.sock.sendto(b, client)


def sync(play, servers=("127.0.0.1",)):
    """What a clock that asks that server says, and the clock."""
    import select

    c = Clock(POOL, servers, 200, play.port)
    sntp.select = play
    try:
        return c.sync(), c
    finally:
        sntp.select = select
        play.sock.close()


def test_a_server_sets_the_clock_and_the_boards_time():
    play = Play()
    r, c = sync(play)
    assert r == 0 and 0 <= c.now() - _2026 < 2
    assert len(play.requests[0]) == 48 and play.requests[0][0] == 0x23
    assert 0 <= time.time() - _2026 < 2
    assert tuple(rtc.RTC().datetime)[:3] == (2026, 11, 21)
    assert 0 <= Clock(POOL).now() - _2026 < 2, "the next one believes the board"


def test_nobody_who_answers_and_nobody_there_are_ints():
    assert sync(Play(replies=False))[0] == _ETIMEDOUT
    assert sync(Play(), ("no-such-host.invalid",))[0] == _ENXIO


def test_seconds_pass_with_supervisors_ticks():
    c = Clock(POOL)
    c.set(_2026)
    ticks = c.time.ticks_ms()
    c.time.ticks_ms = lambda: ticks
    c.set(_2026)
    for ms in (999, 1, 60_000, 2**28 - 1000, 123):
        ticks = c.time.ticks_add(ticks, ms)
        c.seconds()
    assert c.now() - _2026 == (999 + 1 + 60_000 + 2**28 - 1000 + 123) // 1000


def test_the_date_of_a_response_sets_it_where_it_is_off():
    c = Clock(POOL, servers=())
    c.set(_2026 - 7200)
    reply = status(401, b"Date: Sat, 21 Nov 2026 11:15:30 GMT\r\n")
    assert c.correct(401, reply) is True and 0 <= c.now() - _2026 < 2
