"""How content is cut out of the stream: its length and chunked (RFC 9112 sections 6 and 7).

The states of http1.Response that follow those of head. Each step takes the response m, moves
m._pos over what it has parsed and returns 1: go on; 0: more octets are needed; the status:
complete; or -errno.
"""

from micropython import const

from onebuf import span

_EPROTO = const(-71)
_EMSGSIZE = const(-90)
_ECANCELED = const(-125)  # the sink gave up

_LINE = const(256)  # octets of a chunk-size line with its extensions
_TRAILERS = const(1024)  # octets of the trailer section

_CHUNK_SIZE = const(3)
_CHUNK_DATA = const(4)
_CHUNK_END = const(5)
_TRAILER = const(6)


def field_colon(buf, a: int, e: int) -> int:
    """Where the colon of the field line a..e stands, or -EPROTO (RFC 9112 section 5.1)."""
    c = span.token_end(buf, a, e)
    return c if a < c < e and buf[c] == 58 and span.is_text(buf, c, e) else _EPROTO


def expect(m, n: int) -> int:
    """n octets of content come next: 1, or -EMSGSIZE where there is no room for them."""
    m._need = n
    if n >= span.HUGE or (not m._sink and m.off + m.n + n > m.size):
        return _EMSGSIZE
    return 1


def done(m) -> int:
    """The response is complete; what lies behind it was never asked for."""
    if m.end > m._pos:
        m.keep_alive = False
    return m.status


def _take(m, n):
    """n octets of content lie at pos: to the sink, or behind the content so far."""
    r = None
    if m.n + n >= span.HUGE:
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
    if m._state != _CHUNK_DATA:
        return done(m)
    m._state = _CHUNK_END
    return 1


def _until_close(m):
    n = m.end - m._pos
    r = _take(m, n) if n else 1
    return r if r != 1 else 0


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
    return expect(m, n)


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
    r = m._line(_TRAILERS - m._need)
    if r != 1:
        return r
    a, e = m._pos, m._eol
    m._pos = e + 2
    m._need += e + 2 - a
    if e == a:
        return done(m)
    return 1 if field_colon(m.buf, a, e) > 0 else _EPROTO


STEPS = (_data, _chunk_size, _data, _chunk_end, _trailer, _until_close)
