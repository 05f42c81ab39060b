"""How a response is read (RFC 9112 sections 4 to 7): the steps of http1.Response, state by state.

A step of a line gets the line b[a:e], whose CRLF has come and is passed already; a step of content
gets all octets b[a:e] that have come. It returns 1: go on; 0: more octets are needed; the status:
complete; or -errno. A field counts once the next line shows that it is not folded.
"""

from micropython import const

from onebuf import span
from onebuf.scan import NAMES, field, lists, number, same, scan, status

_EPROTO = const(-71)
_EMSGSIZE = const(-90)
_ECANCELED = const(-125)  # the sink gave up

_INTERIM = const(8)  # 1xx responses before the final one (RFC 9110 section 15.2)
_TRAILERS = const(1024)  # octets of the trailer section
_HUGE = const(0x3FFFFFF)  # as in span: more content than is ever let pass

# The states, in the order of STEPS; head() is of the first and the third.
_CHUNK_SIZE = const(1)
_TRAILER = const(2)
_LENGTH = const(3)
_CHUNK_DATA = const(4)
_CHUNK_END = const(5)
_UNTIL_CLOSE = const(6)

# scan's states and events
_LINE = const(2)
_VALUE = const(4)
_FOLD = const(8)
_STATUS = const(11)
_FIELD = const(15)
_HEAD = const(16)
_MANY = const(17)
_CODING_NAME = const(-3)
_CONNECTION_NAME = const(-4)
_LENGTH_NAME = const(-5)


def head(m):
    """Read on in the head, or in the trailers, with what there is: see http1.Response._step()."""
    marks = m._marks
    r = 1
    while r == 1:
        e = m._pos = scan(m.buf, m._pos, m.end if m.end < m._limit else m._limit, marks)
        event = marks[0]
        if event < _FOLD:
            return 0 if e == m.end else _EMSGSIZE
        if event == _HEAD:
            return m.status if m._state else _head_end(m)
        marks[0] = _LINE
        if event == _STATUS:
            m._fields = e
            n = status(m.buf, m._at, e)
            m.keep_alive = m._minor = n < 1000  # of HTTP/1.0 no connection is kept
            m.status = n % 1000
            r = 1 if n >= 0 else _EPROTO
        elif event == _FIELD:
            r = 1 if m._state else _field(m, m.buf, marks, e - 2)
        elif event == _FOLD and not m._state and marks[3]:
            m.buf[e - 2] = m.buf[e - 1] = 32  # obs-fold (RFC 9112 section 5.2): as if spaces
            marks[0] = _VALUE
        else:
            r = _EMSGSIZE if event == _MANY else _EPROTO
    return r


def _field(m, b, marks, e):
    """Note what a field says about the framing or the connection (RFC 9112 sections 6 and 9)."""
    name = field(b, marks, e, NAMES)
    a = marks[1]
    e = a + marks[2]
    if name == _LENGTH_NAME:
        n = number(b, a, e, 10)
        if n < 0 or (m.content_length >= 0 and n != m.content_length):
            return _EPROTO  # a list of lengths too, which RFC 9110 section 8.6 lets us refuse
        m.content_length = n
    elif name == _CONNECTION_NAME:
        if lists(b, a, e, b"close"):
            m.keep_alive = False
    elif name == _CODING_NAME:
        if m._chunked or not m._minor or e - a != 7 or not same(b, a, e, b"chunked"):
            return _EPROTO  # RFC 9112 section 6.1; no other coding is known here
        m._chunked = True
    return 1


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
        m._scan = m._pos
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
    n = number(b, a, span.trim(b, a, c), 16)
    if n < 0 or not span.is_text(b, c, e):  # extensions are skipped (section 7.1.1)
        return _EPROTO
    m._state = _CHUNK_DATA
    if n == 0:
        m._state = _TRAILER
        m._limit = m._pos + _TRAILERS
        m._marks[0] = _LINE
        m._marks[4] = _HUGE  # they are limited by their octets
    return _expect(m, n)


STEPS = (_data, _chunk_size, _data, _data, _data, _chunk_end, _data)  # the first, third: head()
