"""The head of a response, octet by octet (RFC 9112 sections 4 and 5): steps of http1.Response.

This is where a publish spends its time, so it is written in what MicroPython's viper takes: the
build compiles it so where it knows the board's processor (tools/native.py), and as it stands it
is the same anywhere.

A step takes the buffer, the marks m, which http1.Response describes, and WORDS. It returns the
number of the next step, 0: more octets are needed, or -errno. Marks, flags and steps are named by
constants, which cost a device nothing: a name has one number in scan, message and http1.
"""

from micropython import const

# The names and values that matter; and one bit for each of the 128 ASCII characters that may
# stand in a token (RFC 9110 section 5.6.2).
WORDS = (
    b"content-lengthtransfer-encodingconnectionclosechunked"
    b"\x00\x00\x00\x00\xfa\x6c\xff\x03\xfe\xff\xff\xc7\xff\xff\xff\x57"
)
_CODING = const(14)  # where these words begin, then the bits; content-length begins at 0
_CONNECTION = const(31)
_CLOSE = const(41)
_CHUNKED_WORD = const(46)
_TOKEN = const(53)

# The states of scan().
_REASON = const(0)  # in the status line
_REASON_LF = const(1)
_LINE = const(2)  # a line begins
_NAME = const(3)
_VALUE = const(4)
_VALUE_LF = const(5)
_LAST_LF = const(6)  # that of the empty line
_BEHIND = const(7)  # a line begins, behind a field that matters

# Marks: m[_POS].
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
_OFF = const(11)
_AT = const(14)
_FIELDS = const(15)

_KEEP = const(1)  # flags
_CHUNKED = const(2)
_OLD = const(4)  # HTTP/1.0
_TRAILER = const(32)

_TO_SCAN = const(1)  # steps
_TO_STATUS = const(2)
_TO_FIELD = const(3)
_TO_FOLD = const(4)
_TO_LENGTH = const(5)
_TO_CODING = const(6)
_TO_CONNECTION = const(7)
_TO_FRAME = const(8)

_HUGE = const(0x3FFFFFF)  # 64 MiB - 1: more than any response that a device asks for
_EPROTO = const(-71)
_EMSGSIZE = const(-90)


# viper: ptr8 ptr32 ptr8 -> int
def _scan(b, m, w):  # noqa: C901, one loop for every octet
    """Go on to the end of the status line, of a field that may matter, or of the head.

    A field may that is as long as Connection, Content-Length or Transfer-Encoding. It counts once
    the next line shows that it is not folded on.
    """
    a = m[_POS]
    e = m[_END] if m[_END] < m[_LIMIT] else m[_LIMIT]
    s = m[_STATE]
    r = 0
    while a < e and r == 0:
        if s == _VALUE or s == _REASON:  # text until CR
            while a < e and (b[a] + 1) & 127 > 32:  # not only controls end it: see below
                a += 1
        elif s == _NAME:  # a token until the colon
            while a < e and 96 < b[a] | 32 < 123:
                a += 1
        if a == e:
            break
        c = b[a]
        a += 1
        if s == _VALUE or s == _REASON:
            s += 1 if c == 13 else 0
            r = _EPROTO if c == 127 or (c < 32 and c != 9 and c != 13) else 0
        elif s == _NAME:
            m[_PART_N] = a - m[_PART] - 1
            s = _VALUE if c == 58 and m[_PART_N] else _NAME
            r = 0 if s == _VALUE or (c < 128 and w[_TOKEN + (c >> 3)] >> (c & 7) & 1) else _EPROTO
        elif s == _LINE and c == 13:
            s = _LAST_LF
        elif s == _LINE or s == _BEHIND:
            a -= 1
            r = _TO_FOLD if c == 32 or c == 9 else _TO_FIELD if s == _BEHIND else 0
            if r == 0:
                m[_PART] = a
                m[_COUNT] = m[_COUNT] + 1
                s = _NAME
        else:
            r = _TO_STATUS if s == _REASON_LF else _TO_FRAME if s == _LAST_LF else 0
            r = r if c == 10 else _EPROTO
            s = _BEHIND if m[_PART_N] == 10 or m[_PART_N] == 14 or m[_PART_N] == 17 else _LINE
    m[_STATE] = s
    m[_POS] = a
    return r if r or a == m[_END] else _EMSGSIZE


# viper: ptr8 ptr32 ptr8 -> int
def _status(b, m, w):
    """Read the status line, whose reason, even the space before it, may be missing."""
    a = m[_AT]
    n = m[_POS] - a
    if n < 14 or b[a + 5] != 49 or b[a + 6] != 46 or b[a + 8] != 32 or b[a + 9] < 49:
        return _EPROTO
    if b[a] != 72 or b[a + 1] != 84 or b[a + 2] != 84 or b[a + 3] != 80 or b[a + 4] != 47:
        return _EPROTO
    if not 47 < b[a + 7] < 58 or (n > 14 and b[a + 12] != 32):
        return _EPROTO
    if b[a + 7] == 48:  # of HTTP/1.0 no connection is kept, and it has no chunks
        m[_FLAGS] = m[_FLAGS] & ~_KEEP | _OLD
    n = 0
    i = 9
    while i < 12:
        if not 47 < b[a + i] < 58:
            return _EPROTO
        n = n * 10 + b[a + i] - 48
        i += 1
    m[_STATUS] = n
    m[_FIELDS] = m[_POS]
    m[_STATE] = _LINE
    return _TO_SCAN


# viper: ptr8 ptr32 ptr8 -> int
def _field(b, m, w):
    """Which field it is; its value is from m[_PART] on and has m[_PART_N] octets then."""
    a = m[_PART]
    end = a + m[_PART_N]
    e = m[_POS] - 2
    m[_STATE] = _LINE
    if m[_FLAGS] & _TRAILER:
        return _TO_SCAN
    i = 0 if end == a + 14 else _CODING if end == a + 17 else _CONNECTION
    while a < end:
        c = b[a] | 32 if 64 < b[a] < 91 else b[a]
        if c != w[i]:
            return _TO_SCAN
        a += 1
        i += 1
    a += 1
    while a < e and (b[a] == 32 or b[a] == 9):
        a += 1
    while e > a and (b[e - 1] == 32 or b[e - 1] == 9):
        e -= 1
    m[_PART] = a
    m[_PART_N] = e - a
    return _TO_LENGTH if i == 14 else _TO_CODING if i == _CONNECTION else _TO_CONNECTION


def _fold(b, m, w):
    """A line is folded on (obs-fold, RFC 9112 section 5.2): as if that were spaces."""
    a = m[_POS]
    if m[_FLAGS] & _TRAILER or m[_COUNT] == 0:
        return _EPROTO
    b[a - 2] = 32
    b[a - 1] = 32
    m[_STATE] = _VALUE
    return _TO_SCAN


# viper: ptr8 ptr32 ptr8 -> int
def _length(b, m, w):
    """Content-Length: one number; a list is refused, as RFC 9110 section 8.6 allows."""
    a = m[_PART]
    e = a + m[_PART_N]
    n = 0 if a < e else -2
    while a < e:
        c = b[a] - 48
        n = n * 10 + c
        if c < 0 or c > 9:
            return _EPROTO
        if n > _HUGE:
            n = _HUGE
        a += 1
    n += 1
    if n < 0 or (m[_LENGTH] and m[_LENGTH] != n):
        return _EPROTO
    m[_LENGTH] = n
    return _TO_SCAN


def _coding(b, m, w):
    """Transfer-Encoding: chunked, once, and not in HTTP/1.0 (RFC 9112 section 6.1)."""
    a = m[_PART]
    i = _CHUNKED_WORD
    if m[_PART_N] != 7 or m[_FLAGS] & (_OLD | _CHUNKED):
        return _EPROTO
    while i < _TOKEN:
        c = b[a] | 32 if 64 < b[a] < 91 else b[a]
        if c != w[i]:
            return _EPROTO
        a += 1
        i += 1
    m[_FLAGS] = m[_FLAGS] | _CHUNKED
    return _TO_SCAN


# viper: ptr8 ptr32 ptr8 -> int
def _connection(b, m, w):
    """Connection: whether its list (RFC 9110 section 5.6.1) has close."""
    a = m[_PART]
    e = a + m[_PART_N]
    k = 0  # letters of it that have come; 6: it is another
    while a <= e:
        c = 44 if a == e else b[a]
        if c == 44:
            if k == 5:
                m[_FLAGS] = m[_FLAGS] & ~_KEEP
            k = 0
        elif c == 32 or c == 9:
            if 0 < k < 5:
                k = 6
        elif k < 5 and c | 32 == w[_CLOSE + k]:
            k += 1
        else:
            k = 6
        a += 1
    return _TO_SCAN


# In the order of their numbers, which begin with 1.
STEPS = (_scan, _scan, _status, _field, _fold, _length, _coding, _connection)


def number(b, a, e):
    """The number that a..e spells, 1*DIGIT; -1 if it spells none.

    0x3FFFFFF stands for itself and all above, so that 31-bit arithmetic stays exact.
    """
    n = 0 if a < e else -1
    while a < e:
        c = b[a] - 48
        if c < 0 or c > 9:
            return -1
        n = n * 10 + c
        if n > _HUGE:
            n = _HUGE
        a += 1
    return n
