"""How the content of a response is framed (RFC 9112 sections 6 and 7): steps of http1.Response.

As in scan, each is written in what viper takes, and returns the next step, 0, or -errno.
"""

from micropython import const

from onebuf import scan

_EPROTO = const(-71)
_EMSGSIZE = const(-90)

_FIELDS = const(100)  # in a head
_TRAILERS = const(1024)  # octets of the trailer section
_LINE = const(256)  # octets of a chunk-size line with its extensions
_HUGE = const(0x3FFFFFF)  # as in scan: more content than is ever let pass

_DONE = const(0)  # instead of the next step: the response is complete; the sink takes n octets
_POUR = const(15)

_KEEP = const(1)  # flags: keep the connection, chunked, none or a sink for the content, trailers
_CHUNKED = const(2)
_NO_CONTENT = const(8)
_SINK = const(16)
_TRAILER = const(32)


# viper: ptr8 ptr32 ptr8 -> int
def start(b, m, w):
    """A head begins at m[14]."""
    a = m[14]
    m[0] = m[7] = m[9] = m[10] = m[12] = 0
    m[1] = a
    m[3] = m[17]
    m[6] = 0
    m[8] = m[8] & (_NO_CONTENT | _SINK) | _KEEP
    m[11] = a
    m[15] = a
    m[16] = 1
    return 1


# viper: ptr8 ptr32 ptr8 -> int
def _frame(b, m, w):
    """The empty line: how the content ends follows from the head (RFC 9112 section 6.3)."""
    s = m[7]
    f = m[8]
    if m[6] > _FIELDS and not f & _TRAILER:  # those are limited by their octets
        return _EMSGSIZE
    if s < 200:
        return 9  # interim
    if not f & _TRAILER:
        m[11] = m[1]
    if f & (_NO_CONTENT | _TRAILER) or s == 204 or s == 304:
        m[16] = _DONE
        return 0
    n = m[9]
    if f & _CHUNKED:
        m[16] = 13  # chunk
        m[0] = 0
        m[5] = 0
        return 13 if n == 0 else _EPROTO
    m[16] = 11  # content
    m[10] = n - 1 if n else _HUGE
    if n == 0:
        m[8] = f & -2
    elif n > _HUGE or (not f & _SINK and m[11] + n - 1 > m[17]):
        return _EMSGSIZE
    return 11


def _interim(b, m, w):
    """A 1xx response is skipped; 101 was never asked for (RFC 9110 section 15.2)."""
    if m[7] == 101 or m[13] == 0:
        return _EPROTO
    m[13] = m[13] - 1
    a = m[1]
    to = m[14]
    while a < m[2]:
        b[to] = b[a]
        a += 1
        to += 1
    m[2] = to
    return 10  # start


# viper: ptr8 ptr32 ptr8 -> int
def _content(b, m, w):
    """Content, for the sink or behind the content so far."""
    a = m[1]
    n = m[2] - a
    if n > m[10]:
        n = m[10]
    to = m[11] + m[12]
    e = a + n
    m[1] = e
    m[10] = m[10] - n
    m[12] = m[12] + n
    m[5] = n
    if m[12] >= _HUGE:
        return _EMSGSIZE
    if m[8] & _SINK and n:
        m[16] = _POUR
        return 0
    while a < e and a != to:
        b[to] = b[a]
        a += 1
        to += 1
    if m[10]:
        return 0
    m[16] = 12 if m[8] & _CHUNKED else _DONE  # chunk_end
    return m[16]


def _chunk_end(b, m, w):
    """The CRLF behind a chunk."""
    a = m[1]
    while a < m[2]:
        if b[a] != (10 if m[0] else 13):
            return _EPROTO
        a += 1
        m[1] = a
        m[0] = m[0] + 1
        if m[0] == 2:
            m[0] = 0
            m[5] = 0
            m[16] = 13  # chunk
            return 13
    return 0


def _with_digit(n, c):
    """The number with one hexadecimal digit more."""
    c = c - 48 if c < 58 else (c | 32) - 87 if c | 32 != 96 else -1
    if c < 0 or c > 15:
        return _EPROTO
    return n * 16 + c if n * 16 + c < _HUGE else _HUGE


def _chunk(b, m, w):
    """The line of a chunk (RFC 9112 section 7.1); extensions are skipped (section 7.1.1).

    m[0] is 0: before the first digit, 1: behind one, 2: behind a space, 3: in the extensions, 4:
    before LF; m[5] counts octets, m[10] is the size so far.
    """
    a = m[1]
    s = m[0]
    while a < m[2]:
        c = b[a]
        a += 1
        m[5] = m[5] + 1
        if s == 4 or m[5] > _LINE:
            m[1] = a
            return _EMSGSIZE if s < 4 else 14 if c == 10 else _EPROTO  # chunk_size
        if s and (c == 13 or c == 59):
            s = 4 if c == 13 else 3
        elif s and s < 3 and (c == 32 or c == 9):
            s = 2
        elif s < 2:
            n = _with_digit(m[10], c)
            if n < 0:
                return n
            m[10] = n
            s = 1
        elif s == 2 or (c < 32 and c != 9) or c == 127:
            return _EPROTO
    m[0] = s
    m[1] = a
    return 0


def _chunk_size(b, m, w):
    """The size of a chunk is in m[10]; 0: the trailers follow."""
    n = m[10]
    if n == 0:
        m[0] = 2  # scan's _LINE
        m[3] = m[1] + _TRAILERS
        m[8] = m[8] | _TRAILER
        m[16] = 1
        return 1
    if n >= _HUGE or (not m[8] & _SINK and m[11] + m[12] + n > m[17]):
        return _EMSGSIZE
    m[0] = 0
    m[16] = 11
    return 11


def close(m):
    """All that came is parsed: what comes next goes behind the content so far, or to its place."""
    to = m[11] if m[8] & _SINK else m[11] + m[12]
    gap = m[1] - to
    m[1] = to
    m[2] = to
    m[3] = m[3] - gap
    m[4] = m[4] - gap


# In the order of their numbers, behind those of scan.
STEPS = scan.STEPS + (_frame, _interim, start, _content, _chunk_end, _chunk, _chunk_size)
