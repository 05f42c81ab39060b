"""HTTP/1.1 without I/O (RFC 9110, RFC 9112): it writes request heads and parses responses.

Both work in the caller's one buffer and keep only ints. Request raises ValueError for what may
not be sent, before a byte is sent; Response never raises: its results are ints, and they do not
depend on how the octets were split.
"""

from array import array

from micropython import const

from onebuf import message, scan, span

_EMSGSIZE = const(-90)  # more than the buffer, or than a limit below
_ENODATA = const(-61)  # the peer closed in the middle of the response
_ECONNRESET = const(-104)  # the peer closed before the first octet of it

_ECANCELED = const(-125)  # the sink gave up

_CHUNKED = const(2)  # flags, as in message
_NO_CONTENT = const(8)
_SINK = const(16)
_TRAILER = const(32)

_INTERIM = const(8)  # 1xx responses before the final one (RFC 9110 section 15.2)
_CONTENT = const(11)  # a step
_DONE = const(0)  # message says that it is complete, or that the sink is to be called
_POUR = const(15)


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
            raise ValueError("field")
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
        _digits(self.buf, self._at, n)

    def _put(self, part):
        if not self._writing:
            raise ValueError("start() comes first, end() last")
        e = self._end + len(part)
        if e > len(self.buf):
            self._writing = False
            raise ValueError("head needs more than %d bytes" % len(self.buf))
        self.buf[self._end : e] = part
        self._end = e


# viper: ptr8 int int -> int
def _digits(b, a, n):
    """Write n, below 10**7, with spaces before it, to the seven octets that end with a: 0."""
    i = 7
    while i:
        b[a] = 48 + n % 10 if n or i == 7 else 32
        n = n // 10
        a -= 1
        i -= 1
    return 0


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
    The gap, chunked framing that is parsed (RFC 9112 section 7.1), is closed by feed(). The marks:
    0 state of the step, 1 pos, 2 end, 3 the end of what a head may take, 4 where the line, name or
    value begins, 5 its octets, 6 fields so far, 7 status, 8 flags, 9 Content-Length + 1 or 0,
    10 octets of content to come, 11 off, 12 n, 13 interim responses allowed yet, 14 at, 15 the
    first field, 16 the step to go on with, 17 the size of buf, 18 field_n.
    """

    def __init__(self, buf):
        self.buf = buf
        self.field_n = 0  # length of the value that field() found last
        self._m = array("i", bytes(76))
        self._m[17] = len(buf)
        self.start(0)

    def start(self, at: int, no_content: bool = False, sink=None):
        """Expect a response at buf[at:]; no_content: to a HEAD request.

        sink(buf, off, n), if given, takes the content piece by piece, so that it may be longer
        than the buffer; it returns None, or a negative int to give up.
        """
        m = self._m
        m[2] = m[14] = self.end = self.off = at
        m[8] = (_NO_CONTENT if no_content else 0) + (_SINK if sink else 0)
        m[13] = _INTERIM
        self._sink = sink
        message.start(self.buf, m, scan.WORDS)
        self._result = self.n = self.status = 0
        self.keep_alive = True

    def feed(self, n: int) -> int:
        """n more octets lie at buf[end:]: 0: more are needed; the status: complete; or -errno."""
        if self._result:
            self.keep_alive = self.keep_alive and not n
            return self._result
        b = self.buf
        m = self._m
        w = scan.WORDS
        steps = message.STEPS
        m[2] += n
        r = m[16]
        while r > 0:
            r = steps[r](b, m, w)
            if r == 0 and m[16] == _POUR:
                r = self._pour(m)
        if r == 0:
            r = m[7] if m[16] == _DONE else self._more(m)
        self.end = m[2]
        self.status = m[7]
        self.off = m[11]
        self.n = m[12]
        self._result = r
        # not after an error, octets that nobody asked for, or if the head says so
        self.keep_alive = r >= 0 and m[8] & 1 == 1 and (r == 0 or m[2] == m[1])
        return r

    def _pour(self, m):
        """Call the sink, and go on behind what it took."""
        self.status = m[7]
        self.off = m[11]
        self.n = m[12]
        m[16] = _CONTENT
        return _CONTENT if (self._sink(self.buf, m[1] - m[5], m[5]) or 0) >= 0 else _ECANCELED

    def _more(self, m):
        """More octets are needed: 0, or -EMSGSIZE."""
        if m[16] > 1 or m[8] & _TRAILER:
            message.close(m)
        return 0 if m[2] < m[17] else _EMSGSIZE

    def feed_eof(self) -> int:
        """The peer has closed. Returns the status: complete; or -errno."""
        m = self._m
        if not self._result:
            if m[16] == _CONTENT and not m[8] & _CHUNKED and not m[9]:
                self._result = m[7]
            else:
                seen = m[2] > m[14] or m[13] < _INTERIM
                self._result = _ENODATA if seen else _ECONNRESET
        self.keep_alive = False
        return self._result

    def field(self, name: bytes) -> int:
        """Where in buf the value of a field begins, its length in field_n; -ENOENT: no such field.

        name is in lower case; of several fields of that name it is the first.
        """
        a = scan.find(self.buf, self._m, name, len(name))
        self.field_n = self._m[18]
        return a

    def number(self, name: bytes) -> int:
        """The value of a field that is 1*DIGIT; -1 if it is absent or anything else."""
        a = self.field(name)
        return scan.number(self.buf, a, a + self.field_n) if a >= 0 else -1
