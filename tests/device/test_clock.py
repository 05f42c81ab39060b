"""The clock: scripted ticks, a system that boots in 2000, and an SNTP server in the same program.

The server plays while the clock waits: sntp.select is replaced by Play, which lets it have its
turn before each poll. tests/host/test_clock_sntp.py has a server in a thread of its own.
"""

import random
import select
import socket
import time

import onebuf.sntp as sntp
from checks import raises, status
from onebuf.clock import Clock, date
from script_transport import REQUEST
from test_uplink import answer, bodies, exchanges, uplink

_ENXIO = -6
_ENOMEM = -12
_ETIMEDOUT = -110
_ECONNREFUSED = -111
_EHOSTUNREACH = -113
_EKEYEXPIRED = -127
_2000 = 946684800  # in Unix seconds
_2020 = 1577836800
_2026 = 1795259730  # 2026-11-21T11:15:30Z
_1900 = -2208988800
_SLACK_MS = 400


class System:
    """A module time whose ticks and calendar stand still unless told; it counts from epoch."""

    def __init__(self, unix=_2000, epoch=_2000, ticks=0):
        self.ticks = ticks
        self.unix = unix
        self.epoch = epoch
        self.ticks_diff = time.ticks_diff
        self.ticks_add = time.ticks_add

    def ticks_ms(self):
        return self.ticks

    def pass_ms(self, ms):
        self.ticks = time.ticks_add(self.ticks, ms)

    def time(self):
        return self.unix - self.epoch + 0.5  # a float on the unix port

    def gmtime(self, seconds):
        return time.gmtime(seconds + self.epoch)


class RTC:
    """Records what it is set to."""

    def __init__(self):
        self.dates = []

    def datetime(self, date):
        self.dates.append(date)


class NoMemory:
    def datetime(self, date):
        raise MemoryError


def within(module, function):
    """function() with Clock.time replaced by module."""
    Clock.time = module
    try:
        return function()
    finally:
        Clock.time = time


def read(text):
    """What date() makes of text somewhere in a buffer."""
    buf = bytearray(b"00" + text + b"00")
    return date(buf, 2, 2 + len(text))


def test_a_date_is_read_as_seconds_since_2020():
    assert read(b"Wed, 01 Jan 2020 00:00:00 GMT") == 0
    assert read(b"Sat, 21 Nov 2026 11:15:30 GMT") == _2026 - _2020
    assert read(b"Thu, 29 Feb 2024 23:59:59 GMT") == 1709251199 - _2020
    assert read(b"Wed, 31 Dec 2053 23:59:59 GMT") == 2650838399 - _2020 < 1 << 30


def test_a_date_before_2020_or_after_2053_is_none():
    for text in (b"Sun, 06 Nov 1994 08:49:37 GMT", b"Tue, 31 Dec 2019 23:59:59 GMT"):
        assert read(text) == -1
    for text in (b"Thu, 01 Jan 2054 00:00:00 GMT", b"Fri, 31 Dec 9999 23:59:59 GMT"):
        assert read(text) == -1


def test_every_day_of_34_years_is_one_more_than_the_day_before():
    months = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    days = 0
    for y in range(2020, 2054):
        for m in range(12):
            last = 28 + (y % 4 == 0) if m == 1 else (31, 30)[m in (3, 5, 8, 10)]
            for d in range(32):
                text = b"Day, %02d %s %d 01:02:03 GMT" % (d, months[3 * m : 3 * m + 3], y)
                if 0 < d <= last:
                    assert read(text) == days * 86400 + 3723, text
                    days += 1
                else:
                    assert read(text) == -1, text
    assert days == 12419


def test_what_is_no_fixdate_is_refused():
    good = b"Sat, 21 Nov 2026 11:15:30 GMT"
    assert read(good) > 0
    for text in (
        b"",
        b"0",
        good[:-1],
        good + b" ",
        b"Saturday, 21-Nov-26 11:15:30 GMT",  # RFC 850
        b"Sat Nov 21 11:15:30 2026",  # asctime()
        b"Sat, 21 nov 2026 11:15:30 GMT",
        b"Sat, 21 Foo 2026 11:15:30 GMT",
        b"Sat, 21 Nov 2026 24:00:00 GMT",
        b"Sat, 21 Nov 2026 99:00:00 GMT",
        b"Sat, 21 Nov 2026 11:60:00 GMT",
        b"Sat, 21 Nov 2026 11:00:60 GMT",
        b"Sat, 21 Nov 2026 11:15:30 UTC",
        b"Sat, 21 Nov 2026 11:15:30 gmt",
        b"Sat, -1 Nov 2026 11:15:30 GMT",
        b"Sat,  1 Nov 2026 11:15:30 GMT",
        b"Sat, 2\xb2 Nov 2026 11:15:30 GMT",
    ):
        assert read(text) == -1, text
    for i in range(3, 29):
        if not 8 <= i < 11:
            assert read(good[:i] + b"/" + good[i + 1 :]) == -1
            assert read(good[:i] + b":" + good[i + 1 :]) == (read(good) if good[i] == 58 else -1)


def test_octets_at_random_are_a_date_or_none():
    good = b"Sat, 21 Nov 2026 11:15:30 GMT"
    for _ in range(2000):
        text = bytearray(good)
        for _ in range(3):
            text[random.getrandbits(8) % 29] = random.getrandbits(8)
        assert -1 <= read(text) < 1 << 30


def test_a_system_that_booted_in_2000_is_not_believed():
    for epoch in (0, _2000):
        c = within(System(_2000 + 100, epoch), Clock)
        assert c.seconds() == -1 and c.now() == 0
        assert within(System(1704067200, epoch), Clock).seconds() == -1, "that is 2024"


def test_a_system_that_knows_the_time_is_believed_whatever_it_counts_from():
    for epoch in (0, _2000):
        system = System(_2026, epoch)
        assert within(system, lambda: Clock().seconds()) == _2026 - _2020
        assert within(system, lambda: Clock().now()) == _2026
    assert -2 <= Clock().now() - int(time.time()) <= 0


def _drift(c, system):
    steps = (1, 999, 1000, 1001, 37, 0, 123456)
    passed = 0
    for n in range(100000):
        step = steps[n % 7]
        system.pass_ms(step)
        passed += step
        if n % 1000 == 0:
            assert c.seconds() == _2026 - _2020 + passed // 1000
        else:
            c.seconds()
    return c.seconds() - (_2026 - _2020 + passed // 1000)


def test_no_part_of_a_second_is_lost_over_many_calls():
    system = System(_2026, 0)
    assert within(system, lambda: _drift(Clock(), system)) == 0


def _asked_after(system, c, ms):
    system.pass_ms(ms)
    return c.seconds()


def test_the_ticks_may_wrap_between_two_calls():
    for before in (1, 500, 5000):
        system = System(_2026, 0, time.ticks_add(0, -before))
        c = within(system, Clock)
        assert within(system, lambda: _asked_after(system, c, 61001)) == _2026 - _2020 + 61


def test_a_call_each_half_period_suffices():
    step = (1 << 29) - 1000
    system = System(_2026, 0, 12345)
    c = within(system, Clock)
    for n in range(1, 33):
        s = within(system, lambda: _asked_after(system, c, step))
        assert s == _2026 - _2020 + n * step // 1000


def test_a_call_that_comes_too_late_is_no_exception():
    for late in (0, 1, 999, 100000):
        system = System(_2026, 0, 999)
        c = within(system, Clock)
        system.pass_ms((1 << 29) - 500)
        assert isinstance(within(system, lambda: _asked_after(system, c, 500 + late)), int)


def test_setting_it_sets_the_rtc_in_utc_with_the_day_of_the_week():
    for epoch in (0, _2000):
        rtc = RTC()
        system = System(_2000, epoch)
        c = within(system, lambda: Clock(rtc))
        within(system, lambda: c.set(_2026))
        assert within(system, c.seconds) == _2026 - _2020 and within(system, c.now) == _2026
        assert rtc.dates == [(2026, 11, 21, 5, 11, 15, 30, 0)]


def test_setting_it_to_a_time_before_2020_is_to_unset_it():
    c = Clock()
    c.set(_2000)
    assert c.seconds() < 0 and c.now() == 0


def test_a_time_that_is_some_milliseconds_old_advances_so_much_sooner():
    system = System()
    c = within(system, Clock)
    within(system, lambda: c.set(_2026, 2700))
    assert within(system, c.now) == _2026 + 2
    assert within(system, lambda: _asked_after(system, c, 299)) == _2026 - _2020 + 2
    assert within(system, lambda: _asked_after(system, c, 1)) == _2026 - _2020 + 3


def at(unix, rtc=None):
    """A clock that says unix, which asks nobody."""
    c = Clock(rtc, servers=())
    c.set(unix)
    return c


_DATE = b"Date: Sat, 21 Nov 2026 11:15:30 GMT\r\n"


def test_a_date_more_than_two_minutes_off_corrects_the_clock_once():
    for skew in (-1200, -125, 125, 1200, -500000000):
        rtc = RTC()
        c = at(_2026 + skew, rtc)
        assert c.correct(401, status(401, _DATE)) is True
        assert 0 <= c.now() - _2026 < 5
        assert rtc.dates[1:] == [(2026, 11, 21, 5, 11, 15, 30, 0)]
        assert c.correct(401, status(401, _DATE)) is False, "it was not the clock"


def test_a_date_sets_a_clock_that_is_not_set():
    c = within(System(), lambda: Clock(servers=()))
    assert c.correct(403, status(403, _DATE)) is True
    assert 0 <= c.now() - _2026 < 5


def test_a_date_that_is_near_missing_or_malformed_corrects_nothing():
    for skew, fields in (
        (0, _DATE),
        (-115, _DATE),
        (115, _DATE),
        (9000, b""),
        (9000, b"Date: yesterday\r\n"),
        (9000, b"Date:\r\n"),
        (9000, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
    ):
        c = at(_2026 + skew)
        assert c.correct(401, status(401, fields)) is False
        assert 0 <= c.now() - _2026 - skew < 5


def test_only_a_response_has_a_date_to_be_believed():
    c = at(_2026 + 9000)
    for result in (0, _ETIMEDOUT, -129, -104):
        assert c.correct(result, status(200, _DATE)) is False
    assert c.correct(_EKEYEXPIRED, status(200, _DATE)) is False, "there is no server to ask"


def test_a_date_that_nobody_vouches_for_corrects_nothing():
    c = at(_2026 + 1200)
    c.dates = False
    assert c.correct(401, status(401, _DATE)) is False
    assert c.now() - _2026 >= 1200
    c.dates = True
    assert c.correct(401, status(401, _DATE)) is True


def test_an_rtc_without_memory_is_no_exception_while_correcting_and_is_set_later():
    c = at(_2026)
    c.rtc = NoMemory()
    reply = status(401, b"Date: Sat, 21 Nov 2026 11:25:30 GMT\r\n")
    assert c.correct(401, reply) is True
    assert 0 <= c.seconds() + _2020 - _2026 - 600 < 5
    raises(MemoryError, c.now)
    c.rtc = RTC()
    assert 0 <= c.now() - _2026 - 600 < 5
    c.now()
    assert [date[:6] for date in c.rtc.dates] == [(2026, 11, 21, 5, 11, 25)]


def in_uplink(unix, rtc, *events):
    """An uplink with one record, whose clock says unix; its ticks are told."""
    u = uplink(list(events) + exchanges(200))
    u.clock = within(System(), lambda: Clock(servers=()))
    u.clock.time = System()
    u.clock.set(unix)
    u.clock.rtc = rtc
    u.queue.push(b"x")
    return u


def test_an_uplink_whose_heap_is_locked_corrects_the_clock_and_sets_the_rtc_later():
    for refused in (401, 403):
        u = in_uplink(_2026 - 1200, NoMemory(), REQUEST, answer(refused, _DATE))
        u.connect()
        assert u.forward() == 0 and u.result == _ENOMEM
        u.clock.rtc = RTC()
        assert u.connect() == 0
        assert u.cloud.heads == [_2026 - 1200, _2026]
        assert u.clock.rtc.dates == [(2026, 11, 21, 5, 11, 15, 30, 0)]
        assert u.forward() == 1 and bodies(u) == [b"x", b"x"]


def test_the_date_of_a_refusal_does_not_set_the_clock_back_after_the_wait_that_it_asked_for():
    u = in_uplink(_2026, None, REQUEST, answer(429, b"Retry-After: 3600\r\n" + _DATE))
    assert u.forward() == 0 and u.wait_ms == 3600000
    u.clock.time.pass_ms(u.wait_ms)
    assert u.connect() == 0 and u.forward() == 1
    assert u.clock.now() == _2026 + 3600


def test_a_refusal_longer_than_the_buffer_corrects_the_clock_as_well():
    for refused, again in ((401, True), (403, True), (503, False)):
        reply = b"HTTP/1.1 %d Any\r\n%sContent-Length: 900\r\n\r\n" % (refused, _DATE)
        u = in_uplink(_2026 - 1200, None, REQUEST, reply + bytes(50))
        u.client.transport._connections.append(exchanges(200))
        assert u.forward() == again
        assert u.clock.now() == _2026


class Play:
    """A UDP server with a script: what it says to the request, datagram after datagram.

    It is a module select too, in whose poll() it has its turn.
    """

    POLLIN = select.POLLIN

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = bind(self.sock)
        bind(self.other)
        self.sock.setblocking(False)

    def poll(self):
        return Turn(self)

    def turn(self):
        try:
            request, self.client = self.sock.recvfrom(100)
            self.requests.append(request)
        except OSError:
            pass
        if self.requests and self.replies:
            reply = self.replies.pop(0)
            if reply is not None:
                sock, octets = reply(self.requests[-1])
                (self.other if sock else self.sock).sendto(octets, self.client)

    def close(self):
        self.sock.close()
        self.other.close()


class Turn:
    """A poll object."""

    def __init__(self, play):
        self.play = play
        self.poller = select.poll()
        self.register = self.poller.register

    def poll(self, ms):
        assert 0 < ms <= 5000
        self.play.turn()
        return self.poller.poll(min(ms, 20))


def bind(sock):
    """Bind to a free port, and return it: MicroPython cannot ask which it got."""
    for _ in range(500):
        port = 20000 + random.getrandbits(15)
        try:
            sock.bind(socket.getaddrinfo("127.0.0.1", port, 0, socket.SOCK_DGRAM)[0][-1])
            return port
        except OSError:
            pass
    raise AssertionError("no free port")


def good(unix=_2026, first=0x24, stratum=2, fraction=0, other=False, length=48, origin=None):
    """A reply to come (RFC 4330 section 4): LI, version and mode are in the first octet."""

    def reply(request):
        b = bytearray(68)
        b[0] = first
        b[1] = stratum
        b[24:32] = request[40:48] if origin is None else origin
        b[40:44] = ((unix - _1900) & 0xFFFFFFFF).to_bytes(4, "big")
        b[44] = fraction
        return other, bytes(b[:length])

    return reply


def lowest():
    """The lowest free descriptor."""
    s = socket.socket()
    n = s.fileno()
    s.close()
    return n


def sync(play, servers=("127.0.0.1",), timeout_ms=2000, rtc=None, port=0):
    """Ask that server: (result, clock, milliseconds that it took)."""
    c = Clock(rtc, servers, timeout_ms, port or play.port)
    c.set(_2000)
    sntp.select = play
    free = lowest()
    begin = time.ticks_ms()
    try:
        r = c.sync()
    finally:
        sntp.select = select
        play.close()
    ms = time.ticks_diff(time.ticks_ms(), begin)
    assert lowest() <= free, "a socket was left open"
    return r, c, ms


def test_a_server_sets_the_clock_and_the_rtc():
    play = Play(good())
    rtc = RTC()
    r, c, ms = sync(play, rtc=rtc)
    assert r == 0 and 0 <= c.now() - _2026 < 2
    assert rtc.dates[-1][:4] == (2026, 11, 21, 5)
    assert ms < _SLACK_MS


def test_the_request_is_a_clients_and_tells_nothing_but_chance():
    requests = []
    for _ in range(2):
        play = Play(good())
        sync(play)
        (request,) = play.requests
        assert len(request) == 48 and request[0] == 0x23
        assert request[1:40] == bytes(39) and request[40:] != bytes(8)
        requests.append(request)
    assert requests[0] != requests[1]


def test_replies_that_are_none_are_passed_over():
    wrong = _2026 + 86400
    play = Play(
        good(wrong, length=0),
        good(wrong, length=47),
        good(wrong, first=0x23),  # mode 3: a client
        good(wrong, first=0x25),  # mode 5: broadcast
        good(wrong, first=0x14),  # version 2
        good(wrong, first=0x2C),  # version 5
        good(wrong, first=0x00),
        good(wrong, first=0xE4),  # leap indicator 3
        good(wrong, stratum=16),
        good(wrong, stratum=255),
        good(wrong, origin=bytes(8)),
        good(wrong, stratum=0, origin=bytes(8)),  # a kiss-o'-death that somebody forged
        good(wrong, other=True),
        None,
        good(_2020 + (1 << 30)),  # 2054
        good(_2020 - 1),
        good(),
    )
    r, c, _ = sync(play)
    assert r == 0 and 0 <= c.now() - _2026 < 2 and play.replies == []


def test_replies_of_both_versions_with_each_leap_second_and_of_any_length_are_good():
    for first in (0x24, 0x1C, 0x64, 0x5C, 0xA4, 0x9C):
        r, c, _ = sync(Play(good(first=first, stratum=15, length=68)))
        assert r == 0 and 0 <= c.now() - _2026 < 2


def test_a_time_after_the_era_of_2036_is_understood():
    for unix in (2085978495, 2085978496, 2085978497, _2020, _2020 + (1 << 30) - 10):
        r, c, _ = sync(Play(good(unix)))
        assert r == 0 and 0 <= c.now() - unix < 2


def test_the_fraction_of_a_second_counts():
    r, c, _ = sync(Play(good(fraction=250)))
    time.sleep_ms(100)
    assert r == 0 and 1 <= c.now() - _2026 <= 2


def test_silence_ends_when_the_time_is_up():
    for replies in ((), (good(first=0x23),) * 200):
        r, c, ms = sync(Play(*replies), timeout_ms=120)
        assert r == _ETIMEDOUT and c.now() == 0
        assert 119 <= ms < 120 + _SLACK_MS


def test_a_server_that_sends_a_kiss_of_death_is_left_at_once():
    play = Play(good(0, first=0xE4, stratum=0))
    r, c, ms = sync(play)
    assert r == _ECONNREFUSED and c.now() == 0 and ms < _SLACK_MS
    assert len(play.requests) == 1


def test_the_next_server_is_asked_when_one_fails():
    for servers, replies in (
        (("", "127.0.0.1"), (good(),)),
        (("127.0.0.1", "127.0.0.1"), (good(0, stratum=0), good())),
        (("127.0.0.1", "127.0.0.1", "127.0.0.1"), (good(), good(0))),
    ):
        r, c, _ = sync(Play(*replies), servers)
        assert r == 0 and 0 <= c.now() - _2026 < 2


def test_where_nothing_listens_is_no_way():
    play = Play()
    play.close()
    begin = time.ticks_ms()
    assert Clock(None, ("127.0.0.1",), 2000, play.port).sync() == _EHOSTUNREACH
    assert time.ticks_diff(time.ticks_ms(), begin) < _SLACK_MS


def test_a_name_without_an_address_is_enxio():
    for servers in (("",), ()):
        assert sync(Play(), servers)[0] == _ENXIO


class NoRoom:
    """A module socket whose sockets cannot be had, or cannot connect, for that reason."""

    def __init__(self, error, made=None):
        self.error = error
        self.made = made
        self.getaddrinfo = socket.getaddrinfo

    def socket(self, family, kind):
        if self.made is None:
            raise self.error
        return self

    def setblocking(self, flag):
        pass

    def connect(self, address):
        raise self.error

    def close(self):
        self.made.append("closed")


def test_a_socket_that_fails_is_an_int_and_is_closed():
    for error, result in ((OSError(118), _EHOSTUNREACH), (MemoryError(), _ENOMEM)):
        for made in (None, []):
            c = Clock(servers=("127.0.0.1",))
            assert sntp.sync(c, NoRoom(error, made)) == result
            assert made in (None, ["closed"])


def corrected(play, unix):
    """What correct() says to a refused certificate, with the clock at unix."""
    c = Clock(None, ("127.0.0.1",), 100, play.port)
    c.set(unix)
    sntp.select = play
    try:
        return c.correct(_EKEYEXPIRED, None), c
    finally:
        sntp.select = select
        play.close()


def test_a_refused_certificate_is_worth_another_try_if_the_clock_was_off():
    for unix in (_2026 - 7200, _2026 + 7200, _2000):
        better, c = corrected(Play(good()), unix)
        assert better is True and 0 <= c.now() - _2026 < 2


def test_a_refused_certificate_is_not_worth_another_try_if_the_clock_was_right():
    for unix in (_2026 - 50, _2026, _2026 + 50):
        assert corrected(Play(good()), unix)[0] is False
    better, c = corrected(Play(), _2026 - 7200)
    assert better is False and c.now() < _2026, "nobody answered"


def test_each_server_has_its_own_time():
    play = Play(None, None, None, None, None, None, good())
    r, _, ms = sync(play, ("127.0.0.1", "127.0.0.1"), 100)
    assert r == 0 and len(play.requests) == 2 and 99 <= ms < 200 + _SLACK_MS


def test_a_watchdog_is_fed_while_a_server_is_silent():
    fed = []
    play = Play()
    server = Clock(None, ("127.0.0.1",), 1100, play.port)
    server.feed = lambda: fed.append(1)
    r = server.sync()
    play.close()
    assert r == _ETIMEDOUT and 2 <= len(fed) <= 3
