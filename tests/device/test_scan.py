"""What is compiled for the board's processor where that is known: names, numbers, status lines."""

from onebuf import scan
from onebuf.http1 import Response

ALL = bytes(range(256))
MOST = 2**26 - 1  # stands for all numbers above


def _read(head, response=Response(bytearray(512))):
    response.start(0)
    response.buf[: len(head)] = head
    result = response.feed(len(head))
    return result, response


def _status(line):
    return _read(line + b"Content-Length: 0\r\n\r\n")[0]


def test_status_is_read_from_every_line_that_has_one_and_from_no_other():
    for n in range(1000):
        for form in (b"HTTP/1.1 %03d OK\r\n", b"HTTP/1.9 %03d\r\n", b"HTTP/1.1 %03d \r\n"):
            assert n in range(100, 200) or _status(form % n) == (n if n >= 200 else -71)
    line = b"HTTP/1.1 200 OK\r\n"
    for i in range(13):
        for c in range(256):
            other = bytearray(line)
            other[i] = c
            same = other == line
            digit = (48 <= c <= 57 and i in (7, 10, 11)) or (50 <= c <= 57 and i == 9)
            interim = i == 9 and c == 49
            assert interim or (_status(bytes(other)) > 0) == (same or digit), (i, c)
    for n in range(len(line) - 3):
        assert n == 12 or _status(line[:n] + b"\r\n") == -71 or n > 12, n


def test_field_is_found_by_its_name_in_letters_of_both_cases_and_by_nothing_else():
    head = b"HTTP/1.1 200 OK\r\n%s: 5 \t\r\nContent-Length: 0\r\n\r\n"
    for text in (b"keep-alive", b"KEEP-ALIVE", b"Keep-Alive"):
        _, response = _read(head % text)
        a = response.field(b"keep-alive")
        assert response.buf[a : a + response.field_n] == b"5"
    for text in (b"keep_alive", b"jeep-alive", b"keep-aliv", b"keep-alives", b"xkeep-alive"):
        assert _read(head % text)[1].field(b"keep-alive") == -2
    for c in b"!#$%&'*+-.^_`|~059AZaz":
        _, response = _read(head % bytes([c]))
        for d in b"!#$%&'*+-.^_`|~059az":
            assert (response.field(bytes([d])) > 0) == (d == (c | 32 if 64 < c < 91 else c))


def test_number_is_digits_and_nothing_else():
    for text, n in ((b"0", 0), (b"5", 5), (b"007", 7), (b"1234567", 1234567), (b"0" * 99, 0)):
        assert scan.number(text, 0, len(text)) == n
    for text in (
        b"",
        b" 5",
        b"5 ",
        b"+5",
        b"-5",
        b"0x5",
        b"0_5",
        b"5.",
        b"a",
        b"5/",
        b"5:",
        b"\x0b5",
        b"\xb2",
    ):
        assert scan.number(text, 0, len(text)) == -1
    for c in range(256):
        assert scan.number(ALL, c, c + 1) == (c - 48 if 48 <= c <= 57 else -1), c


def test_size_of_a_chunk_is_hexadecimal_digits_of_both_cases():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for c in range(256):
        n = b"0123456789abcdef".find(ALL[c : c + 1].lower())
        line = bytes([c]) + b"\r\n" + b"x" * n + b"\r\n" * (n > 0) + b"0\r\n" * (n != 0) + b"\r\n"
        result, response = _read(head + line)
        assert (result, response.n) == ((200, n) if n >= 0 else (-71, 0)), c


def test_number_is_read_only_in_its_range():
    assert scan.number(b"12345", 1, 4) == 234
    assert scan.number(b"x2x", 1, 2) == 2
    assert scan.number(b"12345", 2, 2) == -1


def test_number_above_its_bound_is_the_bound():
    for n in (2**26 - 3, 2**26 - 2, 2**26 - 1, 2**26, 2**30 - 1, 2**30, 2**31, 2**32, 2**64 + 5):
        text = bytes("00{}".format(n), "ascii")
        assert scan.number(text, 0, len(text)) == min(n, MOST), n
    assert scan.number(b"9" * 400, 0, 400) == MOST
    assert scan.number(b"9" * 400 + b"x", 0, 401) == -1
