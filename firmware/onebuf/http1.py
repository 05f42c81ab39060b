"""HTTP/1.1 without I/O (RFC 9110, RFC 9112): it writes request heads and parses responses.

Both work in the caller's one buffer and keep only ints. Request raises ValueError for what may
not be sent, before a byte is sent; Response never raises: its results are ints, and they do not
depend on how the octets were split.
"""

from array import array

from micropython import const

from onebuf import message, scan, span

_ENOENT = const(-2)
_EMSGSIZE = const(-90)  # more than the buffer, or than a limit below
_ENODATA = const(-61)  # the peer closed in the middle of the response
_ECONNRESET = const(-104)  # the peer closed before the first octet of it

_ECANCELED = const(-125)  # the sink gave up

# Marks, flags and steps, as in scan and message.
_POS = const(1)
_END = const(2)
_PART_N = const(5)
_STATUS = const(7)
_FLAGS = const(8)
_LENGTH = const(9)
_OFF = const(11)
_N = const(12)
_INTERIMS = const(13)
_AT = const(14)
_FIELDS = const(15)
_STEP = const(16)
_SIZE = const(17)

_KEEP = const(1)
_CHUNKED = const(2)
_NO_CONTENT = const(8)
_SINK = const(16)
_TRAILER = const(32)

_DONE = const(0)
_TO_SCAN = const(1)
_TO_CONTENT = const(11)
_TO_SINK = const(15)

_MOST_INTERIMS = const(8)  # 1xx responses before the final one (RFC 9110 section 15.2)


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
    The gap, chunked framing that is parsed (RFC 9112 section 7.1), is closed by feed().

    The marks are _STATE of the step, _POS, _END, _LIMIT: the end of what a head may take, _PART:
    where a line, name or value begins, _PART_N: its octets, _COUNT of fields so far, _STATUS,
    _FLAGS, _LENGTH: Content-Length + 1, or 0, _LEFT: octets of content to come, _OFF, _N,
    _INTERIMS: 1xx responses allowed yet, _AT, _FIELDS: where the first begins, _STEP to go on
    with, _SIZE of buf.
    """

    def __init__(self, buf):
        self.buf = buf
        self.field_n = 0  # length of the value that field() found last
        self._m = array("i", bytes(72))
        self._m[_SIZE] = len(buf)
        self.start(0)

    def start(self, at: int, no_content: bool = False, sink=None):
        """Expect a response at buf[at:]; no_content: to a HEAD request.

        sink(buf, off, n), if given, takes the content piece by piece, so that it may be longer
        than the buffer; it returns None, or a negative int to give up.
        """
        m = self._m
        m[_END] = m[_AT] = self.end = self.off = at
        m[_FLAGS] = (_NO_CONTENT if no_content else 0) + (_SINK if sink else 0)
        m[_INTERIMS] = _MOST_INTERIMS
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
        m[_END] += n
        r = m[_STEP]
        while r > 0:
            r = steps[r](b, m, w)
            if r == 0 and m[_STEP] == _TO_SINK:
                r = self._pour(m)
        if r == 0:
            r = m[_STATUS] if m[_STEP] == _DONE else self._more(m)
        self.end = m[_END]
        self.status = m[_STATUS]
        self.off = m[_OFF]
        self.n = m[_N]
        self._result = r
        # not after an error, octets that nobody asked for, or if the head says so
        self.keep_alive = r >= 0 and m[_FLAGS] & _KEEP == _KEEP and (r == 0 or m[_END] == m[_POS])
        return r

    def _pour(self, m):
        """Call the sink, and go on behind what it took."""
        self.status = m[_STATUS]
        self.off = m[_OFF]
        self.n = m[_N]
        m[_STEP] = _TO_CONTENT
        r = self._sink(self.buf, m[_POS] - m[_PART_N], m[_PART_N]) or 0
        return _TO_CONTENT if r >= 0 else _ECANCELED

    def _more(self, m):
        """More octets are needed: 0, or -EMSGSIZE."""
        if m[_STEP] > _TO_SCAN or m[_FLAGS] & _TRAILER:
            message.close(m)
        return 0 if m[_END] < m[_SIZE] else _EMSGSIZE

    def feed_eof(self) -> int:
        """The peer has closed. Returns the status: complete; or -errno."""
        m = self._m
        if not self._result:
            if m[_STEP] == _TO_CONTENT and not m[_FLAGS] & _CHUNKED and not m[_LENGTH]:
                self._result = m[_STATUS]
            else:
                seen = m[_END] > m[_AT] or m[_INTERIMS] < _MOST_INTERIMS
                self._result = _ENODATA if seen else _ECONNRESET
        self.keep_alive = False
        return self._result

    def field(self, name: bytes) -> int:
        """Where in buf the value of a field begins, its length in field_n; -ENOENT: no such field.

        name is in lower case; of several fields of that name it is the first.
        """
        b = self.buf
        m = self._m
        n = len(name)
        a = m[_FIELDS]
        while a + n < m[_OFF]:
            i = 0
            while i < n and name[i] == (b[a] | 32 if 64 < b[a] < 91 else b[a]):
                a += 1
                i += 1
            found = i == n and b[a] == 58
            e = a + 1
            while e < m[_OFF] and b[e] != 10:
                e += 1
            if found:
                a += 1
                e -= 1
                while a < e and (b[a] == 32 or b[a] == 9):
                    a += 1
                while e > a and (b[e - 1] == 32 or b[e - 1] == 9):
                    e -= 1
                self.field_n = e - a
                return a
            a = e + 1
        return _ENOENT

    def number(self, name: bytes) -> int:
        """The value of a field that is 1*DIGIT; -1 if it is absent or anything else."""
        a = self.field(name)
        return scan.number(self.buf, a, a + self.field_n) if a >= 0 else -1
