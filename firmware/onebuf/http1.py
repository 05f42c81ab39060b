"""HTTP/1.1 without I/O (RFC 9110, RFC 9112): it writes request heads and parses responses.

Both work in the caller's one buffer and keep only ints. Request raises ValueError for what may
not be sent, before a byte is sent; Response never raises: its results are ints, and they do not
depend on how the octets were split.
"""

from array import array

from micropython import const

from onebuf import message, scan, span

_EPROTO = const(-71)  # not HTTP/1.x as RFC 9112 has it
_EMSGSIZE = const(-90)  # more than the buffer, or than a limit below
_ENODATA = const(-61)  # the peer closed in the middle of the response
_ECONNRESET = const(-104)  # the peer closed before the first octet of it
_ENOENT = const(-2)  # no such field

_FIELDS = const(100)  # in a head
_LINE = const(256)  # octets of a chunk-size line with its extensions

_CHUNK_SIZE = const(1)  # message's states: from here on the head has ended
_TRAILER = const(2)
_UNTIL_CLOSE = const(6)


class Request:
    """The head of a request, written to buf[0:n]: start(), field() as often as needed, end()."""

    def __init__(self, buf):
        self.buf = buf
        self.n = 0  # octets of the head; 0 until it is finished
        self._end = 0
        self.method = b""
        self._writing = False
        self.content_length = -1  # what it says now; -1: not known yet
        self._at = 0  # where its digits are; 0: the head has none

    def start(self, method: bytes, host: bytes, path: bytes = b"/"):
        """Write the request line and Host (RFC 9112 section 3). ValueError: not sendable."""
        self.n = 0
        path = path or b"/"
        if not _is_token(method):
            raise ValueError("method")
        if not _visible(host) or b"/" in host:
            raise ValueError("host")
        if path[0] != 47 or not _visible(path):
            raise ValueError("path")
        self._end = self._at = 0
        self.content_length = -1
        self._writing = True
        self.method = method
        for part in (method, b" ", path, b" HTTP/1.1\r\nHost: ", host, b"\r\n"):
            self._put(part)

    def field(self, name: bytes, value: bytes):
        """Add a field (RFC 9110 section 5). ValueError: not sendable, or ours to write."""
        if not _is_token(name):
            raise ValueError("field name")
        if name.lower() in (b"host", b"content-length", b"transfer-encoding"):
            raise ValueError("field is written by start() and end()")
        if not span.is_text(value, 0, len(value)):
            raise ValueError("field value")  # which may be a secret, so it is not shown
        for part in (name, b": ", value, b"\r\n"):
            self._put(part)

    def range(self, first: int, last: int = -1):
        """Ask for octets first..last, for all from first on, or for the last -first ones."""
        if first < 0 and last == -1:
            value = b"bytes=%d" % first
        elif last == -1:
            value = b"bytes=%d-" % first
        elif 0 <= first <= last:
            value = b"bytes=%d-%d" % (first, last)
        else:
            raise ValueError("range")
        self.field(b"Range", value)

    def end(self):
        """Finish the head. One that may carry a body gets a Content-Length of fixed width.

        The digits are padded in front with spaces (OWS, RFC 9110 section 5.5): the length of the
        head does not depend on the length of the body, and length() rewrites the digits alone.
        """
        if self.method[0] not in b"GHDO":  # GET, HEAD, DELETE, OPTIONS
            self._put(b"Content-Length:       0\r\n")
            self._at = self._end - 3
            self.content_length = 0
        self._put(b"\r\n")
        self._writing = False
        self.n = self._end

    def length(self, n: int):
        """A body of n octets follows, 0 <= n < 10**7. ValueError: this head can carry none."""
        if n == self.content_length:
            return
        if not self._at:
            if n:
                raise ValueError("no body in this request")
            return
        if not 0 <= n < 10_000_000:
            raise ValueError("body length")
        self.content_length = n
        for at in range(self._at, self._at - 7, -1):
            self.buf[at] = 48 + n % 10 if n or at == self._at else 32
            n //= 10

    def _put(self, part):
        if not self._writing:
            raise ValueError("start() comes first, end() last")
        e = self._end + len(part)
        if e > len(self.buf):
            self._writing = False
            raise ValueError("head needs more than %d bytes" % len(self.buf))
        self.buf[self._end : e] = part
        self._end = e


def _is_token(text):
    return 0 < len(text) == span.token_end(text, 0, len(text))


def _visible(text):
    for c in text:
        if not 32 < c < 127:
            return False
    return len(text) > 0


class Response:
    """The response, parsed in buf[at:] as it arrives. Its content is buf[off:off+n] in the end.

    at            off       off+n  pos     end
    | head        | content | gap  | not yet parsed |  feed(n) says that n octets were laid at end
    The gap, chunked framing that is parsed (RFC 9112 section 7.1), is closed by feed().
    """

    def __init__(self, buf):
        self.buf = buf
        self.size = len(buf)
        self.field_n = 0  # length of the value that field() found last
        self._marks = array("i", (0, 0, 0, 0, 0))
        self.start(0)

    def start(self, at: int, no_content: bool = False, sink=None):
        """Expect a response at buf[at:]; no_content: to a HEAD request.

        sink(buf, off, n), if given, takes the content piece by piece, so that it may be longer
        than the buffer; it returns None, or a negative int to give up.
        """
        self.end = self.off = self._at = self._pos = at
        self.n = 0  # octets of content
        self._result = self._interim = 0
        self._no_content = no_content
        self._sink = sink
        self._begin()

    def _begin(self):
        """A head begins at pos."""
        self._scan = self._fields = self._pos
        self._limit = self.size
        self._state = self._need = self.status = 0
        self._marks[0] = self._marks[3] = 0
        self._marks[4] = _FIELDS
        self.content_length = -1
        self.keep_alive = True
        self._chunked = False

    def feed(self, n: int) -> int:
        """n more octets lie at buf[end:]: 0: more are needed; the status: complete; or -errno."""
        self.end += n
        if self._result:
            self.keep_alive = self.keep_alive and not n
            return self._result
        r = 1
        while r == 1:
            s = self._state
            r = message.head(self) if not s or s == _TRAILER else self._step(s)
        if r == 0:
            if self._state:
                self._drop(self.off if self._sink else self.off + self.n)
            if self.end < self.size:
                return 0
            r = _EMSGSIZE
        if r < 0 or self.end > self._pos:
            self.keep_alive = False  # an error, or octets that nobody asked for
        self._result = r
        return r

    def feed_eof(self) -> int:
        """The peer has closed. Returns the status: complete; or -errno."""
        if not self._result:
            if self._state == _UNTIL_CLOSE:
                self._result = self.status
            else:
                self._result = _ENODATA if self.end > self._at or self._interim else _ECONNRESET
        self.keep_alive = False
        return self._result

    def field(self, name: bytes) -> int:
        """Where in buf the value of a field begins, its length in field_n; -ENOENT: no such field.

        name is in lower case; of several fields of that name it is the first.
        """
        b, a = self.buf, self._fields
        while True:
            e = b.find(b"\r\n", a, self.off)
            if e <= a:
                return _ENOENT
            c = a + len(name)
            if c < e and b[c] == 58 and scan.same(b, a, c, name):
                a = span.skip(b, c + 1, e)
                self.field_n = span.trim(b, a, e) - a
                return a
            a = e + 2

    def number(self, name: bytes) -> int:
        """The value of a field that is 1*DIGIT; -1 if it is absent or anything else."""
        a = self.field(name)
        return scan.number(self.buf, a, a + self.field_n, 10) if a >= 0 else -1

    def _drop(self, to):
        """Lay what is not yet parsed at to."""
        rest = self.end - self._pos
        if to != self._pos:
            span.copy(self.buf, to, self.buf, self._pos, rest)
            self._marks[1] -= self._pos - to
            self._limit -= self._pos - to
        self._pos = to
        self.end = self._scan = to + rest

    def _step(self, s):
        """Take the state's step, with a line or with content."""
        a = self._pos
        if s != _CHUNK_SIZE:
            return message.STEPS[s](self, self.buf, a, self.end)
        b = self.buf
        e = b.find(b"\n", self._scan, self.end)
        if (self.end if e < 0 else e) - a > _LINE:
            return _EMSGSIZE
        if e < 0:
            return 0
        if e == a or b[e - 1] != 13:
            return _EPROTO
        self._pos = self._scan = e + 1
        return message.STEPS[s](self, b, a, e - 1)
