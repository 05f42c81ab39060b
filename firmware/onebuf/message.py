"""How a response is read (RFC 9112 sections 4 to 7): the steps of http1.Response, state by state.

Each takes the response m, moves m._pos over what it has parsed and returns 1: go on; 0: more
octets are needed; the status: complete; or -errno. A line is checked once its CRLF is there; a
field counts once the next line shows that it is not folded.
"""

from micropython import const

from onebuf import span

_EPROTO = const(-71)
_EMSGSIZE = const(-90)
_ECANCELED = const(-125)  # the sink gave up

_FIELDS = const(100)  # fields in a head
_INTERIM = const(8)  # 1xx responses before the final one (RFC 9110 section 15.2)
_LINE = const(256)  # octets of a chunk-size line with its extensions
_TRAILERS = const(1024)  # octets of the trailer section
_HUGE = const(0x3FFFFFF)  # as in span: more content than is ever let pass

# The states, in the order of STEPS.
_FIELD_LINE = const(1)
_LENGTH = const(2)
_CHUNK_SIZE = const(3)
_CHUNK_DATA = const(4)
_CHUNK_END = const(5)
_TRAILER = const(6)
_UNTIL_CLOSE = const(7)


def _status_line(m):
    r = m._line(m.size)
    if r != 1:
        return r
    b, a, e = m.buf, m._pos, m._eol
    if b.find(b"HTTP/1.", a, a + 7) != a or not 48 <= b[a + 7] <= 57:
        return _EPROTO
    status = span.number(b, a + 9, a + 12)
    if status < 100 or b[a + 8] != 32 or (e > a + 12 and b[a + 12] != 32):
        return _EPROTO  # the reason, even the space before it, may be missing
    if not span.is_text(b, a + 12, e):
        return _EPROTO
    m.status = status
    m.keep_alive = m._minor = b[a + 7] > 48  # of HTTP/1.0 no connection is kept
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
    m._name, m._colon, m._value_end = a, _colon_of(b, a, e), e
    if m._count > _FIELDS:
        return _EMSGSIZE
    return 1 if m._colon > 0 else _EPROTO


def _meaning(m):
    """Note what the last field says about the framing or the connection."""
    b, a, c = m.buf, m._name, m._colon
    n = c - a
    if n != 10 and n != 14 and n != 17:
        return 1
    v = span.skip(b, c + 1, m._value_end)
    e = span.trim(b, v, m._value_end)
    if span.same(b, a, c, b"content-length"):
        n = span.number(b, v, e)
        if n < 0 or (m.content_length >= 0 and n != m.content_length):
            return _EPROTO  # a list of lengths too, which RFC 9110 section 8.6 lets us refuse
        m.content_length = n
    elif span.same(b, a, c, b"transfer-encoding"):
        if m._chunked or not m._minor or not span.same(b, v, e, b"chunked"):
            return _EPROTO  # RFC 9112 section 6.1; no other coding is known here
        m._chunked = True
    elif span.same(b, a, c, b"connection"):
        _connection(m, v, e)
    return 1


def _connection(m, v, e):
    """Connection is a list (RFC 9110 section 7.6.1); close is all that matters in it."""
    while v < e:
        c = m.buf.find(b",", v, e)
        if c < 0:
            c = e
        if span.same(m.buf, v, span.trim(m.buf, v, c), b"close"):
            m.keep_alive = False
        v = span.skip(m.buf, c + 1, e)


def _head_end(m):
    """The empty line: how the content ends follows from the head (RFC 9112 section 6.3)."""
    s = m.status
    if s < 200:
        return _interim(m)
    m.off = m._pos
    if m._no_content or s == 204 or s == 304:
        return m.status
    if m._chunked:
        m._state = _CHUNK_SIZE
        return 1 if m.content_length < 0 else _EPROTO
    if m.content_length >= 0:
        m._state = _LENGTH
        return _expect(m, m.content_length)
    m._state = _UNTIL_CLOSE
    m._need = _HUGE
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


def _colon_of(buf, a: int, e: int) -> int:
    """Where the colon of the field line a..e stands, or -EPROTO (RFC 9112 section 5.1)."""
    c = span.token_end(buf, a, e)
    return c if a < c < e and buf[c] == 58 and span.is_text(buf, c, e) else _EPROTO


def _expect(m, n: int) -> int:
    """n octets of content come next: 1, or -EMSGSIZE where there is no room for them."""
    m._need = n
    if n >= _HUGE or (not m._sink and m.off + m.n + n > m.size):
        return _EMSGSIZE
    return 1


def _take(m, n):
    """n octets of content lie at pos: to the sink, or behind the content so far."""
    r = None
    if m.n + n >= _HUGE:
        return _EMSGSIZE
    if m._sink:
        r = m._sink(m.buf, m._pos, n)
    elif m._pos != m.off + m.n:
        span.copy(m.buf, m.off + m.n, m.buf, m._pos, n)
    m._pos += n
    m.n += n
    return _ECANCELED if r is not None and r < 0 else 1


def _data(m):
    n = min(m.end - m._pos, m._need)
    r = _take(m, n) if n else 1
    m._need -= n
    if r != 1 or m._need:
        return r if r != 1 else 0
    if m._state == _LENGTH:
        return m.status
    m._state = _CHUNK_END
    return 1


def _chunk_size(m):
    r = m._line(_LINE)
    if r != 1:
        return r
    b, a, e = m.buf, m._pos, m._eol
    c = b.find(b";", a, e)
    if c < 0:
        c = e
    n = span.number(b, a, span.trim(b, a, c), 16)
    if n < 0 or not span.is_text(b, c, e):  # extensions are skipped (section 7.1.1)
        return _EPROTO
    m._pos = e + 2
    m._state = _CHUNK_DATA if n else _TRAILER
    return _expect(m, n)


def _chunk_end(m):
    b, a = m.buf, m._pos
    n = m.end - a
    if (n and b[a] != 13) or (n > 1 and b[a + 1] != 10):
        return _EPROTO
    if n < 2:
        return 0
    m._pos = a + 2
    m._state = _CHUNK_SIZE
    return 1


def _trailer(m):
    """Trailers are checked and skipped; _need counts the octets of their section, from 0."""
    r = m._line(_TRAILERS - 1 - m._need)
    if r != 1:
        return r
    a, e = m._pos, m._eol
    m._pos = e + 2
    m._need += e + 2 - a
    if e == a:
        return m.status
    return 1 if _colon_of(m.buf, a, e) > 0 else _EPROTO


STEPS = (
    _status_line,
    _field_line,
    _data,
    _chunk_size,
    _data,
    _chunk_end,
    _trailer,
    _data,
)
