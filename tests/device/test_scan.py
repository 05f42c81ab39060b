"""What is compiled for the board's processor where that is known: names, numbers, status lines."""

from onebuf import scan

ALL = bytes(range(256))
MOST = 2**26 - 1  # stands for all numbers above


def test_status_is_read_from_every_line_that_has_one_and_from_no_other():
    for n in range(1000):
        for form in (b"HTTP/1.1 %03d OK\r\n", b"HTTP/1.9 %03d\r\n", b"HTTP/1.1 %03d \r\n"):
            line = form % n
            assert scan.status(line, 0, len(line)) == (n if n >= 100 else -1)
    assert scan.status(b"xHTTP/1.0 204 No Content\r\n", 1, 26) == 1204
    line = b"HTTP/1.1 200 OK\r\n"
    for i in range(13):
        for c in range(256):
            other = bytearray(line)
            other[i] = c
            same = other == line
            digit = (48 <= c <= 57 and i in (7, 10, 11)) or (49 <= c <= 57 and i == 9)
            assert (scan.status(other, 0, len(other)) >= 0) == (same or digit), (i, c)
    for n in range(len(line)):
        assert n == 14 or scan.status(line[:n], 0, n) == -1 or n > 14


def test_same_compares_letters_without_case_and_nothing_else():
    for text in (b"keep-alive", b"KEEP-ALIVE", b"Keep-Alive"):
        assert scan.same(b"<" + text + b">", 1, 11, b"keep-alive")
    for text in (b"keep_alive", b"keep\ralive", b"jeep-alive"):
        assert not scan.same(text, 0, len(text), b"keep-alive")
    assert scan.same(b"", 0, 0, b"") and scan.same(b"x", 1, 1, b"")
    for c in range(256):
        word = bytes([c + 32 if 65 <= c <= 90 else c])
        assert scan.same(ALL, c, c + 1, word)
        other = word[0] ^ 32
        if not 65 <= other <= 90:  # a word is given in lower case
            assert not scan.same(ALL, c, c + 1, bytes([other])), c


def test_number_is_digits_and_nothing_else():
    for text, n in ((b"0", 0), (b"5", 5), (b"007", 7), (b"1234567", 1234567), (b"0" * 99, 0)):
        assert scan.number(text, 0, len(text), 10) == n
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
        assert scan.number(text, 0, len(text), 10) == -1
    for c in range(256):
        assert scan.number(ALL, c, c + 1, 10) == (c - 48 if 48 <= c <= 57 else -1), c


def test_number_of_base_16_has_letters_of_both_cases():
    for text, n in (
        (b"0", 0),
        (b"aF", 175),
        (b"0000000000000000001F", 31),
        (b"3fffffe", 67108862),
    ):
        assert scan.number(text, 0, len(text), 16) == n
    for text in (b"", b"g", b"0x5", b"-5", b"5 ", b"@", b"G", b"`"):
        assert scan.number(text, 0, len(text), 16) == -1
    digits = b"0123456789abcdef"
    for c in range(256):
        assert scan.number(ALL, c, c + 1, 16) == digits.find(ALL[c : c + 1].lower()), c


def test_number_is_read_only_in_its_range():
    assert scan.number(b"12345", 1, 4, 10) == 234
    assert scan.number(b"x2x", 1, 2, 10) == 2
    assert scan.number(b"12345", 2, 2, 10) == -1


def test_number_above_its_bound_is_the_bound():
    for n in (2**26 - 3, 2**26 - 2, 2**26 - 1, 2**26, 2**30 - 1, 2**30, 2**31, 2**32, 2**64 + 5):
        for base, text in ((10, "{}".format(n)), (16, "{:x}".format(n)), (16, "{:X}".format(n))):
            text = bytes("00" + text, "ascii")
            assert scan.number(text, 0, len(text), base) == min(n, MOST), n
    assert scan.number(b"9" * 400, 0, 400, 10) == MOST
    assert scan.number(b"f" * 400, 0, 400, 16) == MOST
    assert scan.number(b"9" * 400 + b"x", 0, 401, 10) == -1
