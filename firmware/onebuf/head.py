"""How the head of a response is read: status line and fields (RFC 9112 sections 4, 5 and 6.3).

The first two states of http1.Response; the steps are as in body. A line is checked when its CRLF
is there, and a field counts when the next line shows that it is not folded.
"""

from micropython import const

from onebuf import body, span

_EPROTO = const(-71)
_EMSGSIZE = const(-90)

_FIELDS = const(100)  # fields in a head
_INTERIM = const(8)  # 1xx responses before the final one (RFC 9110 section 15.2)

_FIELD_LINE = const(1)
_LENGTH = const(2)
_CHUNK_SIZE = const(3)
_UNTIL_CLOSE = const(7)


def _status_line(m):
    r = m._line(m.size)
    if r != 1:
        return r
    b, a, e = m.buf, m._pos, m._eol
    if e - a < 12 or b.find(b"HTTP/1.", a, a + 7) != a or not 48 <= b[a + 7] <= 57:
        return _EPROTO
    status = span.number(b, a + 9, a + 12)
    if status < 100 or b[a + 8] != 32 or (e > a + 12 and b[a + 12] != 32):
        return _EPROTO  # the reason, even the space before it, may be missing
    if not span.is_text(b, a + 12, e):
        return _EPROTO
    m.status = status
    m._minor = b[a + 7] - 48
    m._pos = m._fields = e + 2
    m._state = _FIELD_LINE
    return 1


def _field_line(m):
    r = m._line(m.size)
    if r != 1:
        return r
    b, a, e = m.buf, m._pos, m._eol
    m._pos = e + 2
    if e > a and (b[a] == 32 or b[a] == 9):  # obs-fold (RFC 9112 section 5.2): as if spaces
        b[a - 2] = b[a - 1] = 32
        m._value_end = e
        return 1 if m._colon and span.is_text(b, a, e) else _EPROTO
    r = _meaning(m)  # of the field before: only now is it known to be whole
    if r != 1 or e == a:
        return r if r != 1 else _head_end(m)
    m._count += 1
    m._name, m._colon, m._value_end = a, body.field_colon(b, a, e), e
    if m._count > _FIELDS:
        return _EMSGSIZE
    return 1 if m._colon > 0 else _EPROTO


def _meaning(m):
    """Note what the last field says about the framing or the connection."""
    b, a, c = m.buf, m._name, m._colon
    n = c - a
    if not c or (n != 10 and n != 14 and n != 17):
        return 1
    e = m._value_end
    v = span.skip(b, c + 1, e)
    e = span.trim(b, v, e)
    if span.same(b, a, c, b"content-length"):
        return _length(m, v, e)
    if span.same(b, a, c, b"transfer-encoding"):
        if m._chunked or not m._minor or not span.same(b, v, e, b"chunked"):
            return _EPROTO  # RFC 9112 section 6.1; no other coding is known here
        m._chunked = True
    elif span.same(b, a, c, b"connection"):
        _connection(m, v, e)
    return 1


def _length(m, v, e):
    """Content-Length: 1*DIGIT, or a list of the same number (RFC 9110 section 8.6)."""
    while True:
        c = m.buf.find(b",", v, e)
        if c < 0:
            c = e
        n = span.number(m.buf, v, span.trim(m.buf, v, c))
        if n < 0 or (m.content_length >= 0 and n != m.content_length):
            return _EPROTO
        m.content_length = n
        if c == e:
            return 1
        v = span.skip(m.buf, c + 1, e)


def _connection(m, v, e):
    while v < e:
        c = m.buf.find(b",", v, e)
        if c < 0:
            c = e
        t = span.trim(m.buf, v, c)
        if span.same(m.buf, v, t, b"close"):
            m._keep |= 2
        elif span.same(m.buf, v, t, b"keep-alive"):
            m._keep |= 1
        v = span.skip(m.buf, c + 1, e)


def _head_end(m):
    """The empty line: how the content ends follows from the head (RFC 9112 section 6.3)."""
    s = m.status
    if s < 200:
        return _interim(m)
    m.off = m._pos
    m.keep_alive = m._keep < 2 and (m._minor > 0 or m._keep > 0)
    if m._no_content or s == 204 or s == 304:
        return body.done(m)
    if m._chunked:
        m._state = _CHUNK_SIZE
        return 1 if m.content_length < 0 else _EPROTO
    if m.content_length >= 0:
        m._state = _LENGTH
        return body.expect(m, m.content_length)
    m._state = _UNTIL_CLOSE
    m.keep_alive = False
    return 1


def _interim(m):
    """A 1xx response is skipped; 101 was never asked for (RFC 9110 section 15.2)."""
    m._interim += 1
    if m.status == 101 or m._interim > _INTERIM:
        return _EPROTO
    m._drop(m._at)
    m._begin()
    return 1


STEPS = (_status_line, _field_line)
