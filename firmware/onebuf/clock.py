"""Unix time on a board that boots in 2000, from SNTP or from a response's Date.

It is kept as seconds since 2020-01-01T00:00:00Z, which stays below 2**30 until 2054, and advanced
by time.ticks_ms(): asking for it takes no heap. SNTP is not authenticated: whoever sits on the way
can forge it. A Date is as good as the TLS connection that it came over: where that verifies no
server, set dates to False.
"""

import time

from micropython import const

_EKEYEXPIRED = const(-127)  # TLS: the server's certificate is not valid now

_UNIX_2020 = const(1577836800)  # where time.time() counts from 1970
_BOARD_2020 = const(631152000)  # where time.time() counts from 2000
_2025 = const(157852800)
_SKEW_S = const(120)  # a Date may be that far off: it says when the response began
_MOVE_S = const(60)


class Clock:
    """Unix time: the system's if that is after 2024, else not set until set, sync or correct.

    rtc: machine.RTC() where the board has one; it is set too, because TLS compares certificates
    with it. servers: names or addresses, asked in this order, once each, at UDP port; each has
    timeout_ms for its answer. feed, None or a callable, feeds a watchdog once a second meanwhile.
    """

    time = time  # a runtime that lacks what is used of it puts its own here
    dates = True  # False: over plain text, or from any server, no Date is to be believed

    def __init__(
        self, rtc=None, servers=("pool.ntp.org",), timeout_ms: int = 5000, port: int = 123
    ):
        self.rtc = rtc
        self.servers = servers
        self.timeout_ms = timeout_ms
        self.port = port
        self.feed = None
        self._rtc_late = False  # whether rtc is still to be set
        self._base = _UNIX_2020 if self.time.gmtime(0)[0] == 1970 else _BOARD_2020
        s = int(self.time.time()) - self._base
        self._s = s if s > _2025 else -1
        self._t = self.time.ticks_ms()  # when it was _s seconds

    def seconds(self) -> int:
        """Seconds since 2020-01-01T00:00:00Z, without heap; negative: not set.

        Ask more often than half the period of time.ticks_ms(): every 2**29 ms, six days, less a
        second on a 32-bit board.
        """
        if self._s >= 0:
            t = self.time.ticks_ms()
            n = self.time.ticks_diff(t, self._t)
            self._t = self.time.ticks_add(t, -(n % 1000))
            self._s += n // 1000
        return self._s

    def now(self) -> int:
        """Unix time in seconds; 0: not set. It takes heap where ints have 31 bits."""
        s = self.seconds()
        if self._rtc_late:
            t = self.time.gmtime(s + self._base)
            self.rtc.datetime(t[:3] + t[6:7] + t[3:6] + (0,))
            self._rtc_late = False
        return s + _UNIX_2020 if s >= 0 else 0

    def set(self, unix: int, ms: int = 0):
        """It was that Unix time ms milliseconds ago; a time before 2020 makes it not set."""
        self._set(unix - _UNIX_2020, ms)

    def _set(self, s, ms):
        self._moved = s - self.seconds()
        self._s = s
        self._t = self.time.ticks_add(self.time.ticks_ms(), -ms)
        self._rtc_late = self.rtc is not None
        self.now()  # sets it; under heap_lock() a later one will

    def sync(self) -> int:
        """Ask the servers until one answers: 0, or the last one's -errno (see sntp).

        The one call that raises MemoryError under heap_lock().
        """
        from onebuf import sntp  # whoever wants its RAM back drops that module

        return sntp.sync(self)

    def correct(self, result: int, reply) -> bool:
        """Whether the clock was the cause of that result of Client.request(), and is better now.

        It is set by sync() after -EKEYEXPIRED, and by the Date of a response (RFC 9110 section
        6.6.1), reply, that is more than two minutes off. True: the exchange is worth another try.
        Ask when it has just come: a Date grows old.
        """
        wrong = False
        try:
            if result == _EKEYEXPIRED:
                return not self.sync() and abs(self._moved) > _MOVE_S
            a = reply.field(b"date") if result > 0 and self.dates else -1
            s = date(reply.buf, a, a + reply.field_n) if a >= 0 else -1
            wrong = s >= 0 and abs(s - self.seconds()) > _SKEW_S
            if wrong:
                self._set(s, 0)
        except MemoryError:  # under heap_lock()
            pass
        return wrong


def date(buf, a: int, e: int) -> int:
    """The IMF-fixdate (RFC 9110 section 5.6.7) in a..e as seconds since 2020, without heap.

    -1: it is none, or not in 2020 to 2053. Which day of the week it names does not matter.
    """
    if e - a != 29:
        return -1
    d = n = 0
    for i in range(29):
        c = b"aaa, 00 aaa 0000 00:00:00 GMT"[i]
        digit = buf[a + i] - c
        base = 6 if i == 20 or i == 23 else 10  # minutes and seconds end at 59
        if c == 48 and 0 <= digit < base:
            n = n * base + digit
        elif digit and c != 97:
            return -1
        if i == 16:
            d, n = n, 0  # the day and the year; what follows is the second of the day
    names = b"MarAprMayJunJulAugSepOctNovDecJanFeb"
    m = 33
    while buf[a + 8] != names[m] or buf[a + 9] != names[m + 1] or buf[a + 10] != names[m + 2]:
        m -= 3
        if m < 0:
            return -1
    m //= 3
    y, d = d % 10000 - 2020, d // 10000
    most = 31 - (m % 5 & 1) if m < 11 else 28 if y & 3 else 29
    # days since 2020, in years from March on: then a leap day is the last one of its year
    days = ((y - (m > 9)) * 1461 >> 2) + (153 * m + 2) // 5 + 59 + d
    return days * 86400 + n if 0 < d <= most and n < 86400 and not days // 12419 else -1
