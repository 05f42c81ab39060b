"""How a response is read (RFC 9112 sections 4 to 7): the steps of http1.Response, state by state.

A step of a line gets the line b[a:e], whose CRLF has come and is passed already; a step of content
gets all octets b[a:e] that have come. It returns 1: go on; 0: more octets are needed; the status:
complete; or -errno. A field counts once the next line shows that it is not folded.
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

# The states, in the order of STEPS; those before _LENGTH are of lines.
_FIELD_LINE = const(1)
_CHUNK_SIZE = const(2)
_TRAILER = const(3)
_LENGTH = const(4)
_CHUNK_DATA = const(5)
_CHUNK_END = const(6)
_UNTIL_CLOSE = const(7)


def _status_line(m, b, a, e):
    if b.find(b"HTTP/1.", a, a + 7) != a or not 48 <= b[a + 7] <= 57:
        return _EPROTO
    status = span.number(b, a + 9, a + 12)
    if status < 100 or b[a + 8] != 32 or (e > a + 12 and b[a + 12] != 32):
        return _EPROTO  # the reason, even the space before it, may be missing
    if not span.is_text(b, a + 12, e):
        return _EPROTO
    m.status = status
    m.keep_alive = m._minor = b[a + 7] > 48  # of HTTP/1.0 no connection is kept
    m._fields = e + 2
    m._state = _FIELD_LINE
    return 1


def _field_line(m, b, a, e):
    if e > a and (b[a] == 32 or b[a] == 9):  # obs-fold (RFC 9112 section 5.2): as if spaces
        b[a - 2] = b[a - 1] = 32
        return 1 if m._name and span.is_text(b, a, e) else _EPROTO
    r = _meaning(m, b, a - 2) if m._name else 1
    if r != 1:
        return r
    if e == a:
        return _head_end(m)
    m._name = a
    m._need += 1
    return _check(b, a, e) if m._need <= _FIELDS else _EMSGSIZE


def _check(b, a, e):
    """A field line: token, colon, text (RFC 9112 section 5.1)."""
    c = span.token_end(b, a, e)
    return 1 if a < c < e and b[c] == 58 and span.is_text(b, c, e) else _EPROTO


def _meaning(m, b, e):
    """Note what the last field, which ends at e, says about the framing or the connection."""
    a = m._name
    c = b.find(b":", a, e)
    n = c - a
    if n != 10 and n != 14 and n != 17:
        return 1
    v = span.skip(b, c + 1, e)
    e = span.trim(b, v, e)
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
        _connection(m, b, v, e)
    return 1


def _connection(m, b, v, e):
    """Connection is a list (RFC 9110 section 7.6.1); close is all that matters in it."""
    while v < e:
        c = b.find(b",", v, e)
        if c < 0:
            c = e
        if span.same(b, v, span.trim(b, v, c), b"close"):
            m.keep_alive = False
        v = span.skip(b, c + 1, e)


def _head_end(m):
    """The empty line: how the content ends follows from the head (RFC 9112 section 6.3)."""
    s = m.status
    if s < 200:
        return _interim(m)
    m.off = m._pos
    if m._no_content or s == 204 or s == 304:
        return s
    if m._chunked:
        m._state = _CHUNK_SIZE
        m._limit = _LINE
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


def _expect(m, n):
    """n octets of content come next: 1, or -EMSGSIZE where there is no room for them."""
    m._need = n
    if n >= _HUGE or (not m._sink and m.off + m.n + n > m.size):
        return _EMSGSIZE
    return 1


def _data(m, b, a, e):
    """Content, to the sink or behind the content so far."""
    n = min(e - a, m._need)
    to = m.off + m.n
    m._pos += n
    m._need -= n
    m.n += n
    if m.n >= _HUGE:
        return _EMSGSIZE
    if not m._sink:
        if a != to:
            span.copy(b, to, b, a, n)
    elif n and (m._sink(b, a, n) or 0) < 0:
        return _ECANCELED
    if m._need:
        return 0
    if m._state == _LENGTH:
        return m.status
    m._state = _CHUNK_END
    return 1


def _chunk_end(m, b, a, e):
    if (a < e and b[a] != 13) or (a + 1 < e and b[a + 1] != 10):
        return _EPROTO
    if a + 2 > e:
        return 0
    m._pos = m._scan = a + 2
    m._state = _CHUNK_SIZE
    return 1


def _chunk_size(m, b, a, e):
    c = b.find(b";", a, e)
    if c < 0:
        c = e
    n = span.number(b, a, span.trim(b, a, c), 16)
    if n < 0 or not span.is_text(b, c, e):  # extensions are skipped (section 7.1.1)
        return _EPROTO
    m._state = _CHUNK_DATA
    if n == 0:
        m._state = _TRAILER
        m._limit = _TRAILERS - 1
    return _expect(m, n)


def _trailer(m, b, a, e):
    """Trailers are checked and skipped."""
    m._limit -= e + 2 - a
    return _check(b, a, e) if e > a else m.status


STEPS = (
    _status_line,
    _field_line,
    _chunk_size,
    _trailer,
    _data,
    _data,
    _chunk_end,
    _data,
)
