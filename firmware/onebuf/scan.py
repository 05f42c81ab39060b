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
_LAST = const(6)
_AGAIN = const(7)
# The events, at which scan() stops: FOLD 8, BAD 9, STATUS 11, FIELD 15, HEAD 16, and too many.
_FOLD = const(8)
_BAD = const(9)
_FIELD = const(15)
_MANY = const(17)

NAMES = b"content-lengthtransfer-encodingconnection"  # what field() finds

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
            while a < e and ((b[a] > 31 and b[a] != 127) or b[a] == 9):
                a += 1
            if a == e:
                break
            s = s + 1 if b[a] == 13 else _BAD
        elif s == _NAME:  # a token until the colon
            if 93 < c < 123 or 64 < c < 91 or c == 45 or 47 < c < 58:
                a += 1
                continue
            if c == 58 and a != m[1]:
                m[2] = a - m[1]
                s = _VALUE
            elif (
                c < 33 or c > 126 or c == 34 or 39 < c < 42 or c == 44 or 46 < c < 124 or c == 125
            ):
                s = _BAD
        elif s == _LINE or s == _AGAIN:
            s = _FOLD if c == 32 or c == 9 else _FIELD if s == _AGAIN else _NAME
            if s == _NAME and c == 13:
                s = _LAST
                a += 1
            elif s == _NAME:
                m[1] = a
                m[3] = m[3] + 1
                s = _NAME if m[3] <= m[4] else _MANY
            continue
        elif s == 5 and c == 10:
            c = m[2]
            s = _AGAIN if c == 10 or c == 14 or c == 17 else _LINE
        else:
            s = s + 10 if c == 10 else _BAD
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


# viper: ptr8 ptr32 int ptr8 -> int
def field(b, m, e, names):
    """Which of NAMES, as names, the FIELD is: -5, -3, -4 in their order; -2: none of them.

    Its value, which ends before e, is from m[1] on and has m[2] octets then.
    """
    a = m[1]
    end = a + m[2]
    i = 0 if end == a + 14 else 14 if end == a + 17 else 31
    while a < end:
        c = b[a] | 32 if 64 < b[a] < 91 else b[a]
        if c != names[i]:
            return -2
        a += 1
        i += 1
    a += 1
    while a < e and (b[a] == 32 or b[a] == 9):
        a += 1
    while e > a and (b[e - 1] == 32 or b[e - 1] == 9):
        e -= 1
    m[1] = a
    m[2] = e - a
    return -4 if i == 41 else -3 if i == 31 else -5


# viper: ptr8 int int ptr8 -> int
def lists(b, a, e, word):
    """Whether the list in a..e (RFC 9110 section 5.6.1) has close, which is word: 1, else 0."""
    k = 0  # letters of it that have come; 6: it is another
    while a <= e:
        c = 44 if a == e else b[a]
        if c == 44:
            if k == 5:
                return 1
            k = 0
        elif c == 32 or c == 9:
            if 0 < k < 5:
                k = 6
        elif k < 5 and c | 32 == word[k]:
            k += 1
        else:
            k = 6
        a += 1
    return 0


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
