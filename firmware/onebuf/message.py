"""How the content of a response is framed (RFC 9112 sections 6 and 7): steps of http1.Response.

As in scan, each is written in what viper takes, and returns the next step, 0, or -errno.
"""

from micropython import const

from onebuf import scan

_EPROTO = const(-71)
_EMSGSIZE = const(-90)

_MOST_FIELDS = const(100)  # in a head
_TRAILERS = const(1024)  # octets of the trailer section
_CHUNK_LINE = const(256)  # octets of a chunk-size line with its extensions
_LINE = const(2)  # a state of scan's
_HUGE = const(0x3FFFFFF)  # as in scan: more content than is ever let pass

# Marks, flags and steps, as in scan.
_STATE = const(0)
_POS = const(1)
_END = const(2)
_LIMIT = const(3)
_PART = const(4)
_PART_N = const(5)
_COUNT = const(6)
_STATUS = const(7)
_FLAGS = const(8)
_LENGTH = const(9)
_LEFT = const(10)
_OFF = const(11)
_N = const(12)
_INTERIMS = const(13)
_AT = const(14)
_FIELDS = const(15)
_STEP = const(16)
_SIZE = const(17)

_KEEP = const(1)  # the connection
_CHUNKED = const(2)
_NO_CONTENT = const(8)
_SINK = const(16)  # takes the content
_TRAILER = const(32)

_DONE = const(0)  # as the next step: the response is complete
_TO_SCAN = const(1)
_TO_INTERIM = const(9)
_TO_START = const(10)
_TO_CONTENT = const(11)
_TO_CHUNK_END = const(12)
_TO_CHUNK = const(13)
_TO_CHUNK_SIZE = const(14)
_TO_SINK = const(15)  # Response calls it


# viper: ptr8 ptr32 ptr8 -> int
def start(b, m, w):
    """A head begins at m[_AT]."""
    a = m[_AT]
    m[_STATE] = m[_STATUS] = m[_LENGTH] = m[_LEFT] = m[_N] = 0
    m[_POS] = a
    m[_LIMIT] = m[_SIZE]
    m[_COUNT] = 0
    m[_FLAGS] = m[_FLAGS] & (_NO_CONTENT | _SINK) | _KEEP
    m[_OFF] = a
    m[_FIELDS] = a
    m[_STEP] = _TO_SCAN
    return _TO_SCAN


# viper: ptr8 ptr32 ptr8 -> int
def _frame(b, m, w):
    """The empty line: how the content ends follows from the head (RFC 9112 section 6.3)."""
    s = m[_STATUS]
    f = m[_FLAGS]
    if m[_COUNT] > _MOST_FIELDS and not f & _TRAILER:  # those are limited by their octets
        return _EMSGSIZE
    if s < 200:
        return _TO_INTERIM
    if not f & _TRAILER:
        m[_OFF] = m[_POS]
    if f & (_NO_CONTENT | _TRAILER) or s == 204 or s == 304:
        m[_STEP] = _DONE
        return 0
    n = m[_LENGTH]
    if f & _CHUNKED:
        m[_STEP] = _TO_CHUNK
        m[_STATE] = 0
        m[_PART_N] = 0
        return _TO_CHUNK if n == 0 else _EPROTO
    m[_STEP] = _TO_CONTENT
    m[_LEFT] = n - 1 if n else _HUGE
    if n == 0:
        m[_FLAGS] = f & ~_KEEP
    elif n > _HUGE or (not f & _SINK and m[_OFF] + n - 1 > m[_SIZE]):
        return _EMSGSIZE
    return _TO_CONTENT


def _interim(b, m, w):
    """A 1xx response is skipped; 101 was never asked for (RFC 9110 section 15.2)."""
    if m[_STATUS] == 101 or m[_INTERIMS] == 0:
        return _EPROTO
    m[_INTERIMS] = m[_INTERIMS] - 1
    a = m[_POS]
    to = m[_AT]
    while a < m[_END]:
        b[to] = b[a]
        a += 1
        to += 1
    m[_END] = to
    return _TO_START


# viper: ptr8 ptr32 ptr8 -> int
def _content(b, m, w):
    """Content, for the sink or behind the content so far."""
    a = m[_POS]
    n = m[_END] - a
    if n > m[_LEFT]:
        n = m[_LEFT]
    to = m[_OFF] + m[_N]
    e = a + n
    m[_POS] = e
    m[_LEFT] = m[_LEFT] - n
    m[_N] = m[_N] + n
    m[_PART_N] = n
    if m[_N] >= _HUGE:
        return _EMSGSIZE
    if m[_FLAGS] & _SINK and n:
        m[_STEP] = _TO_SINK
        return 0
    while a < e and a != to:
        b[to] = b[a]
        a += 1
        to += 1
    if m[_LEFT]:
        return 0
    m[_STEP] = _TO_CHUNK_END if m[_FLAGS] & _CHUNKED else _DONE
    return m[_STEP]


def _chunk_end(b, m, w):
    """The CRLF behind a chunk."""
    a = m[_POS]
    while a < m[_END]:
        if b[a] != (10 if m[_STATE] else 13):
            return _EPROTO
        a += 1
        m[_POS] = a
        m[_STATE] = m[_STATE] + 1
        if m[_STATE] == 2:
            m[_STATE] = 0
            m[_PART_N] = 0
            m[_STEP] = _TO_CHUNK
            return _TO_CHUNK
    return 0


def _with_digit(n, c):
    """The number with one hexadecimal digit more."""
    c = c - 48 if c < 58 else (c | 32) - 87 if c | 32 != 96 else -1
    if c < 0 or c > 15:
        return _EPROTO
    return n * 16 + c if n * 16 + c < _HUGE else _HUGE


def _chunk(b, m, w):
    """The line of a chunk (RFC 9112 section 7.1); extensions are skipped (section 7.1.1).

    m[_STATE] is 0: before the first digit, 1: behind one, 2: behind a space, 3: in the extensions,
    4: before LF; m[_PART_N] counts octets, m[_LEFT] is the size so far.
    """
    a = m[_POS]
    s = m[_STATE]
    while a < m[_END]:
        c = b[a]
        a += 1
        m[_PART_N] = m[_PART_N] + 1
        if s == 4 or m[_PART_N] > _CHUNK_LINE:
            m[_POS] = a
            return _EMSGSIZE if s < 4 else _TO_CHUNK_SIZE if c == 10 else _EPROTO
        if s and (c == 13 or c == 59):
            s = 4 if c == 13 else 3
        elif s and s < 3 and (c == 32 or c == 9):
            s = 2
        elif s < 2:
            n = _with_digit(m[_LEFT], c)
            if n < 0:
                return n
            m[_LEFT] = n
            s = 1
        elif s == 2 or (c < 32 and c != 9) or c == 127:
            return _EPROTO
    m[_STATE] = s
    m[_POS] = a
    return 0


def _chunk_size(b, m, w):
    """The size of a chunk is in m[_LEFT]; 0: the trailers follow."""
    n = m[_LEFT]
    if n == 0:
        m[_STATE] = _LINE
        m[_LIMIT] = m[_POS] + _TRAILERS
        m[_FLAGS] = m[_FLAGS] | _TRAILER
        m[_STEP] = _TO_SCAN
        return _TO_SCAN
    if n >= _HUGE or (not m[_FLAGS] & _SINK and m[_OFF] + m[_N] + n > m[_SIZE]):
        return _EMSGSIZE
    m[_STATE] = 0
    m[_STEP] = _TO_CONTENT
    return _TO_CONTENT


def close(m):
    """All that came is parsed: what comes next goes behind the content so far, or to its place."""
    to = m[_OFF] if m[_FLAGS] & _SINK else m[_OFF] + m[_N]
    gap = m[_POS] - to
    m[_POS] = to
    m[_END] = to
    m[_LIMIT] = m[_LIMIT] - gap
    m[_PART] = m[_PART] - gap


# In the order of their numbers, behind those of scan.
STEPS = scan.STEPS + (_frame, _interim, start, _content, _chunk_end, _chunk, _chunk_size)
