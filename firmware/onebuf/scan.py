"""The head of a response, octet by octet (RFC 9112 sections 4 and 5): steps of http1.Response.

This is where a publish spends its time, so it is written in what MicroPython's viper takes: the
build compiles it so where it knows the board's processor (tools/native.py), and as it stands it
is the same anywhere.

A step takes the buffer, the marks m, which http1.Response describes, and WORDS. It returns the
number of the next step, 0: more octets are needed, or -errno.
"""

from micropython import const

# The names and values that matter; and one bit for each of the 128 ASCII characters that may
# stand in a token (RFC 9110 section 5.6.2).
WORDS = (
    b"content-lengthtransfer-encodingconnectionclosechunked"
    b"\x00\x00\x00\x00\xfa\x6c\xff\x03\xfe\xff\xff\xc7\xff\xff\xff\x57"
)
_TOKEN = const(53)  # where those bits begin

# The states of scan(): in the status line, before its LF, a line begins, in a name, in a value,
# before its LF, before the LF of the empty line, a line begins behind a field that matters.
_STATUS = const(0)
_STATUS_LF = const(1)
_LINE = const(2)
_NAME = const(3)
_VALUE = const(4)
_VALUE_LF = const(5)
_LAST = const(6)
_AGAIN = const(7)

_OLD = const(4)  # flags: of HTTP/1.0, chunked, in the trailers
_CHUNKED = const(2)
_TRAILER = const(32)
_HUGE = const(0x3FFFFFF)  # 64 MiB - 1: more than any response that a device asks for
_ENOENT = const(-2)
_EPROTO = const(-71)
_EMSGSIZE = const(-90)


# viper: ptr8 ptr32 ptr8 -> int
def _scan(b, m, w):  # noqa: C901, one loop for every octet
    """Go on to the end of the status line, of a field that may matter, or of the head.

    A field may that is as long as Connection, Content-Length or Transfer-Encoding. It counts once
    the next line shows that it is not folded on.
    """
    a = m[1]
    e = m[2] if m[2] < m[3] else m[3]
    s = m[0]
    r = 0
    while a < e and r == 0:
        if s == _VALUE or s == _STATUS:  # text until CR
            while a < e and (b[a] + 1) & 127 > 32:  # not only controls end it: see below
                a += 1
        elif s == _NAME:  # a token until the colon
            while a < e and 96 < b[a] | 32 < 123:
                a += 1
        if a == e:
            break
        c = b[a]
        a += 1
        if s == _VALUE or s == _STATUS:
            s += 1 if c == 13 else 0
            r = _EPROTO if c == 127 or (c < 32 and c != 9 and c != 13) else 0
        elif s == _NAME:
            m[5] = a - m[4] - 1
            s = _VALUE if c == 58 and m[5] else _NAME
            if s == _NAME and (c > 127 or not w[_TOKEN + (c >> 3)] >> (c & 7) & 1):
                r = _EPROTO
        elif s == _LINE and c == 13:
            s = _LAST
        elif s == _LINE or s == _AGAIN:
            a -= 1
            r = 4 if c == 32 or c == 9 else 3 if s == _AGAIN else 0  # fold, field
            if r == 0:
                m[4] = a
                m[6] = m[6] + 1
                s = _NAME
        else:
            r = _EPROTO if c != 10 else 2 if s == _STATUS_LF else 8 if s == _LAST else 0
            s = _AGAIN if m[5] == 10 or m[5] == 14 or m[5] == 17 else _LINE
    m[0] = s
    m[1] = a
    return r if r or a == m[2] else _EMSGSIZE


# viper: ptr8 ptr32 ptr8 -> int
def _status(b, m, w):
    """Read the status line, whose reason, even the space before it, may be missing."""
    a = m[14]
    n = m[1] - a
    if n < 14 or b[a + 5] != 49 or b[a + 6] != 46 or b[a + 8] != 32 or b[a + 9] < 49:
        return _EPROTO
    if b[a] != 72 or b[a + 1] != 84 or b[a + 2] != 84 or b[a + 3] != 80 or b[a + 4] != 47:
        return _EPROTO
    if not 47 < b[a + 7] < 58 or (n > 14 and b[a + 12] != 32):
        return _EPROTO
    if b[a + 7] == 48:  # of HTTP/1.0 no connection is kept, and it has no chunks
        m[8] = m[8] & -2 | _OLD
    n = 0
    i = 9
    while i < 12:
        if not 47 < b[a + i] < 58:
            return _EPROTO
        n = n * 10 + b[a + i] - 48
        i += 1
    m[7] = n
    m[15] = m[1]
    m[0] = _LINE
    return 1


# viper: ptr8 ptr32 ptr8 -> int
def _field(b, m, w):
    """Which field it is; its value is from m[4] on and has m[5] octets then."""
    a = m[4]
    end = a + m[5]
    e = m[1] - 2
    m[0] = _LINE
    if m[8] & _TRAILER:
        return 1
    i = 0 if end == a + 14 else 14 if end == a + 17 else 31
    while a < end:
        c = b[a] | 32 if 64 < b[a] < 91 else b[a]
        if c != w[i]:
            return 1
        a += 1
        i += 1
    a += 1
    while a < e and (b[a] == 32 or b[a] == 9):
        a += 1
    while e > a and (b[e - 1] == 32 or b[e - 1] == 9):
        e -= 1
    m[4] = a
    m[5] = e - a
    return 5 if i == 14 else 6 if i == 31 else 7  # length, coding, connection


def _fold(b, m, w):
    """A line is folded on (obs-fold, RFC 9112 section 5.2): as if that were spaces."""
    a = m[1]
    if m[8] & _TRAILER or m[6] == 0:
        return _EPROTO
    b[a - 2] = 32
    b[a - 1] = 32
    m[0] = _VALUE
    return 1


# viper: ptr8 ptr32 ptr8 -> int
def _length(b, m, w):
    """Content-Length: one number; a list is refused, as RFC 9110 section 8.6 allows."""
    a = m[4]
    e = a + m[5]
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
    if n < 0 or (m[9] and m[9] != n):
        return _EPROTO
    m[9] = n
    return 1


def _coding(b, m, w):
    """Transfer-Encoding: chunked, once, and not in HTTP/1.0 (RFC 9112 section 6.1)."""
    a = m[4]
    i = 46
    if m[5] != 7 or m[8] & (_OLD | _CHUNKED):
        return _EPROTO
    while i < 53:
        c = b[a] | 32 if 64 < b[a] < 91 else b[a]
        if c != w[i]:
            return _EPROTO
        a += 1
        i += 1
    m[8] = m[8] | _CHUNKED
    return 1


# viper: ptr8 ptr32 ptr8 -> int
def _connection(b, m, w):
    """Connection: whether its list (RFC 9110 section 5.6.1) has close."""
    a = m[4]
    e = a + m[5]
    k = 0  # letters of it that have come; 6: it is another
    while a <= e:
        c = 44 if a == e else b[a]
        if c == 44:
            if k == 5:
                m[8] = m[8] & -2
            k = 0
        elif c == 32 or c == 9:
            if 0 < k < 5:
                k = 6
        elif k < 5 and c | 32 == w[41 + k]:
            k += 1
        else:
            k = 6
        a += 1
    return 1


# In the order of their numbers, which begin with 1.
STEPS = (_scan, _scan, _status, _field, _fold, _length, _coding, _connection)


def find(b, m, name, n):
    """Where the value of the first field of that name begins, m[18] octets of it; or -2.

    name, of n octets, is in lower case. The head is complete, or there is none yet.
    """
    a = m[15]
    while a + n < m[11]:
        i = 0
        while i < n and name[i] == (b[a] | 32 if 64 < b[a] < 91 else b[a]):
            a += 1
            i += 1
        found = i == n and b[a] == 58
        e = a + 1
        while e < m[11] and b[e] != 10:
            e += 1
        if found:
            a += 1
            e -= 1
            while a < e and (b[a] == 32 or b[a] == 9):
                a += 1
            while e > a and (b[e - 1] == 32 or b[e - 1] == 9):
                e -= 1
            m[18] = e - a
            return a
        a = e + 1
    return _ENOENT


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
