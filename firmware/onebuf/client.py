"""One connection, one buffer, one request at a time.

    0        head.n                              len(buf)
    | head   | body, then the response           |
The head stays, so that the next request is the same bytes with another body. Nothing here
allocates once window() has seen a head of that length, and nothing here knows a clock or a
socket: the transport does.
"""

from micropython import const

from onebuf import span
from onebuf.http1 import Request, Response

_EPIPE = const(-32)
_ECONNRESET = const(-104)
_ESHUTDOWN = const(-108)  # what a transport returns at end of file
_ENOTCONN = const(-107)  # poll() without start()

_TIMEOUT_MS = const(30000)

# The states; from _OPENING on a request or connect() is under way.
_CLOSED = const(0)
_OPEN = const(1)
_OPENING = const(2)
_SENDING = const(3)
_RECEIVING = const(4)


class Client:
    """Requests over one kept connection: write the head, then request(), or start() and poll().

    Results are ints: the status of the response, or -errno (see onebuf.errno). After a failure the
    connection is closed and the next request opens another.
    """

    def __init__(self, transport, buf: bytearray, host: str, port: int):
        """buf takes the head with a body behind it, and the head with a response behind it."""
        self.transport = transport
        self.buf = buf
        self.host = host
        self.port = port
        self.head = Request(buf)
        self.response = Response(buf)
        self.requests = self.connects = self.resends = 0
        self._state = _CLOSED
        self._kept = False  # the connection is an old one and has not answered this request yet
        self.room = memoryview(buf)  # what window() gave last
        self._one = bytearray(1)
        self._body: object = None  # where the rest of the body lies, if it is not in buf
        self._first = self._total = self._done = 0  # octets: in buf, in all, written
        self._tails: list = []
        n = 1
        while 2 * n <= len(buf):
            self._tails.insert(0, memoryview(buf)[-n:])
            n *= 4

    def window(self):
        """The room behind the head: a body laid in this memoryview goes out with the head."""
        if len(self.room) + self.head.n != len(self.buf):
            self.room = memoryview(self.buf)[self.head.n :]
        return self.room

    def connect(self, timeout_ms: int = _TIMEOUT_MS, backoff=None, random=None) -> int:
        """Open the connection: 0, or -errno once backoff, a Backoff, allows no further attempt.

        Each attempt may take timeout_ms. random() gives a number of 16 bits.
        """
        while True:
            self.close()
            self.transport.start(timeout_ms)
            self._kept = False
            self._total = 0
            self._state = _OPENING
            r = self._run()
            ms = backoff.next_ms(random()) if r < 0 and backoff else -1
            if ms < 0:
                return min(r, 0)
            self.transport.sleep_ms(ms)

    def request(self, body=None, off=0, n=-1, timeout_ms=_TIMEOUT_MS, sink=None) -> int:
        """One exchange, waited for: the status, or -errno. The arguments are those of start()."""
        self.start(body, off, n, timeout_ms, sink)
        return self._run()

    def start(self, body=None, off=0, n=-1, timeout_ms=_TIMEOUT_MS, sink=None):
        """Begin an exchange that ends, good or bad, within timeout_ms; poll() carries it on.

        The body is n octets of body from off on, or without body what lies in window(); it goes
        out with the head where both fit in buf, else from where it lies. sink: see Response. What
        was under way is abandoned. ValueError: no such body, no head, or no room behind it.
        """
        if n < 0:
            n = len(body) - off if body is not None else 0
        if len(self.room) + self.head.n != len(self.buf):
            self.window()
        if not self.head.n or not len(self.room) or (body is None and n > len(self.room)):
            raise ValueError("no head, or no room behind it")
        if n != self.head.content_length:
            self.head.length(n)
        self._done = 0
        self._first = self._total = self.head.n + n
        self._body = None
        if body is not None:
            self._lay(body, off, n)
        self.transport.start(timeout_ms)
        # Not if something came in meanwhile: an end of file, octets that nobody asked for.
        self._kept = self._state == _OPEN and self.transport.readinto(self._one) == 0
        if not self._kept:
            self.close()
        self.response.start(self.head.n, self.head.method == b"HEAD", sink)
        self._state = _SENDING if self._kept else _OPENING

    def poll(self) -> int:
        """Go on as far as possible without waiting: 0: not finished; the status; or -errno.

        With nothing under way it is 1 on an open connection, and -ENOTCONN on none.
        """
        s = self._state
        r = 1 if s else _ENOTCONN
        while r == 1 and s >= _OPENING:
            r = (
                self._receive()
                if s == _RECEIVING
                else self._send()
                if s == _SENDING
                else self._open()
            )
            if r < 0:
                r = self._failed(r)
            s = self._state
        return r

    def wait(self) -> int:
        """Wait until poll() can go on: 0, or -errno after which the exchange has ended."""
        t = self.transport
        r = t.wait_readable() if self._state == _RECEIVING else t.wait_writable()
        if r < 0:
            self.close()
        return r

    def close(self):
        """Close the connection, in order where it still stands."""
        if self._state != _CLOSED:
            self._state = _CLOSED
            self.transport.close()

    def _run(self):
        r = self.poll()
        while r == 0:
            r = self.wait() or self.poll()
        return r

    def _lay(self, body, off, n):
        if not (isinstance(body, span.OCTETS) and 0 <= off <= off + n <= len(body)):
            raise ValueError("body: bytes, and off, n within")
        h = self.head.n
        if self._total > len(self.buf):
            self._body = body
            self._off = off - h  # so that the octet to write is at _off + _done
            self._first = h
        elif n == len(body):
            self.buf[h : h + n] = body
        else:
            for i in range(n):
                self.buf[h + i] = body[off + i]

    def _failed(self, r):
        """A kept connection that broke before the first octet of a response was stale.

        A body in the window that begins with an H may be overwritten: a failed read does not tell.
        """
        self.close()
        whole = self._first == self.head.n or self.room[0] != 72
        if self._kept and whole and (r == _EPIPE or r == _ECONNRESET):
            self._kept = False
            self._done = 0
            self.resends += 1
            self._state = _OPENING
            return 1
        return r

    def _open(self):
        r = self.transport.connect(self.host, self.port)
        if r == 1:
            self.connects += 1
            self._state = _SENDING if self._total else _OPEN
        return r

    def _send(self):
        i = self._done
        if i < self._first:
            r = self.transport.write(self.buf, i, self._first - i)
        else:
            r = self.transport.write(self._body, self._off + i, self._total - i)
        if r > 0:
            self._done = i = i + r
            if i < self._total:
                return 1
        elif r != _EPIPE and r != _ECONNRESET:
            return r
        self._state = _RECEIVING  # also when the peer reads no further: it may have said why
        return 0  # there is hardly an answer yet

    def _receive(self):
        m = self.response
        at = m.end
        w = self.room if at == self.head.n else self._hole(at)
        r = self.transport.readinto(w)
        if r == 0 or (r < 0 and r != _ESHUTDOWN):
            return r
        if r > 0:
            self._kept = False
            if w is not self.room and at + len(w) < len(self.buf):
                self.buf[at : at + len(w)] = w
            r = m.feed(r)
        else:
            r = _ECONNRESET if self._kept else m.feed_eof()
        if r <= 0:
            return r or 1
        self.requests += 1
        self._state = _OPEN
        if not m.keep_alive or self._done < self._total:
            self.close()
        return r

    def _hole(self, at):
        """A window for the octets that belong at at: there, or behind with room for a copy."""
        room = len(self.buf) - at
        i = 0
        while 2 * len(self._tails[i]) > room and len(self._tails[i]) != room:
            i += 1
        return self._tails[i]
