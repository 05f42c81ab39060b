"""Octets one by one: heads (RFC 9112 sections 4 and 5, RFC 9110 section 5), names, numbers.

This is where a publish spends its time, so it is written in what MicroPython's viper takes: the
build compiles it so where it knows the board's processor (tools/native.py), and as it stands it
is the same anywhere.
"""

from micropython import const

# The states: in the status line, before its LF, a line begins, in a name, in a value, before its
# LF, before the LF of the empty line, a line begins behind a field that matters.
_STATUS = const(0)
_LINE = const(2)
_NAME = const(3)
_VALUE = const(4)
_END = const(6)
_AGAIN = const(7)
# The events, at which scan() stops: FOLD 8, BAD 9, STATUS 11, FIELD 15, HEAD 16, and too many.
_FOLD = const(8)
_BAD = const(9)
_FIELD = const(15)
_MANY = const(17)

_HUGE = const(0x3FFFFFF)  # 64 MiB - 1: more than any response that a device asks for


# viper: ptr8 int int ptr32 -> int
def scan(b, a, e, m):  # noqa: C901, one loop for every octet
    """Go on from a in state m[0] until e or an event: where it stopped, and m[0] is new.

    m[1] is where the last name begins, m[2] its length, m[3] the number of fields, of which m[4]
    are allowed. A FIELD is one as long as Connection, Content-Length or Transfer-Encoding, and not
    folded on.
    """
    s = m[0]
    while a < e and s < _FOLD:
        c = b[a]
        if s == _VALUE or s == _STATUS:  # text until CR
            if (c > 31 and c != 127) or c == 9:
                a += 1
                while a < e and b[a] > 31 and b[a] != 127:
                    a += 1
                continue
            s = s + 1 if c == 13 else _BAD
        elif s == _NAME:  # a token until the colon
            if 93 < c < 123 or 64 < c < 91 or c == 45 or 47 < c < 58:
                a += 1
                continue
            if c == 58 and a != m[1]:
                m[2] = a - m[1]
                s = _VALUE
            elif not 32 < c < 127 or c == 34 or c == 40 or c == 41 or c == 44 or 46 < c < 124:
                s = _BAD
            elif c == 125:
                s = _BAD
        elif s == _LINE or s == _AGAIN:
            if c == 32 or c == 9:
                s = _FOLD
            elif s == _AGAIN:
                s = _FIELD
            elif c == 13:
                s = _END
                a += 1
            else:
                m[1] = a
                m[3] = m[3] + 1
                s = _NAME if m[3] <= m[4] else _MANY
            continue
        elif c != 10:
            s = _BAD
        elif s == 5:
            c = m[2]
            s = _AGAIN if c == 10 or c == 14 or c == 17 else _LINE
        else:
            s += 10
        a += 1
    m[0] = s
    return a


# viper: ptr8 int int -> int
def status(b, a, e):
    """The status of the status line in a..e, CRLF included, plus 1000 for HTTP/1.0; -1: none.

    The reason, even the space before it, may be missing (RFC 9112 section 4).
    """
    if e - a < 14 or b[a + 5] != 49 or b[a + 6] != 46 or b[a + 8] != 32:
        return -1
    if b[a] != 72 or b[a + 1] != 84 or b[a + 2] != 84 or b[a + 3] != 80 or b[a + 4] != 47:
        return -1
    if e - a > 14 and b[a + 12] != 32:
        return -1
    n = 0 if b[a + 7] > 48 else 1
    if not 47 < b[a + 7] < 58:
        return -1
    i = 9
    while i < 12:
        if not 47 < b[a + i] < 58:
            return -1
        n = n * 10 + b[a + i] - 48
        i += 1
    return n if b[a + 9] > 48 else -1


# viper: ptr8 int int ptr8 -> bool
def same(b, a, e, word):
    """Whether a..e is word, letters compared without case; word is in lower case and as long."""
    i = 0
    while a < e:
        c = b[a]
        if 64 < c < 91:
            c += 32
        if c != word[i]:
            return False
        a += 1
        i += 1
    return True


# viper: ptr8 int int int -> int
def number(b, a, e, base):
    """The number that a..e spells, 1*DIGIT or (base 16) 1*HEXDIG; -1 if it spells none.

    0x3FFFFFF stands for itself and all above, so that 31-bit arithmetic stays exact.
    """
    n = 0 if a < e else -1
    while a < e:
        c = b[a] - 48
        if base == 16 and c > 16:
            c = (c | 32) - 39
            if c < 10:
                c = 16
        elif c > 9:
            c = 16
        if c < 0 or c >= base:
            return -1
        n = n * base + c
        if n > _HUGE:
            n = _HUGE
        a += 1
    return n
