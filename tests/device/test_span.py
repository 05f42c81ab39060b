"""Ranges of octets: every function at the edges of its range, its alphabet and its numbers."""

from onebuf import span

TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALL = bytes(range(256))
MOST = 2**26 - 1  # stands for all numbers above


def test_copy_moves_octets_left_in_one_buffer():
    buf = bytearray(b"0123456789")
    span.copy(buf, 2, buf, 5, 3)
    assert buf == b"0156756789"


def test_copy_to_the_left_keeps_octets_that_overlap():
    for step in range(1, 8):
        buf = bytearray(b"0123456789")
        span.copy(buf, 0, buf, step, 10 - step)
        assert buf == b"0123456789"[step:] + b"0123456789"[10 - step :]


def test_copy_between_buffers_leaves_the_source():
    source, buf = bytearray(b"abcdef"), bytearray(b"0123456789")
    span.copy(buf, 7, source, 3, 3)
    assert (buf, source) == (b"0123456def", b"abcdef")


def test_copy_of_nothing_changes_nothing():
    buf = bytearray(b"0123456789")
    span.copy(buf, 0, buf, 5, 0)
    span.copy(buf, 10, buf, 10, 0)
    span.copy(buf, 5, buf, 5, 5)
    assert buf == b"0123456789"


def test_text_is_all_but_controls_and_htab_is_text():
    for c in range(256):
        text = (c >= 32 and c != 127) or c == 9
        assert span.is_text(ALL, c, c + 1) == text, c
        assert span.is_text(b"a" + ALL[c : c + 1] + b"b", 0, 3) == text, c


def test_text_is_judged_only_in_its_range():
    assert span.is_text(b"\x00a\x00", 1, 2)
    assert not span.is_text(b"\x00a\x00", 0, 2)
    assert not span.is_text(b"\x00a\x00", 1, 3)
    assert span.is_text(b"\x00", 0, 0) and span.is_text(b"", 0, 0)


def test_token_has_the_characters_of_rfc_9110_and_no_other():
    for c in range(256):
        end = span.token_end(ALL, c, c + 1)
        assert end == c + (c in TCHAR), c


def test_token_ends_at_its_range_or_at_another_character():
    assert span.token_end(b"Host: h", 0, 7) == 4
    assert span.token_end(b"Host: h", 0, 4) == 4
    assert span.token_end(b"Host: h", 0, 2) == 2
    assert span.token_end(b"Host: h", 4, 7) == 4
    assert span.token_end(b"Host: h", 6, 7) == 7
    assert span.token_end(b"Host", 2, 2) == 2
    assert span.token_end(b"", 0, 0) == 0
    assert span.token_end(TCHAR, 0, len(TCHAR)) == len(TCHAR)


def test_skip_passes_sp_and_htab_only():
    assert span.skip(b" \t \tx", 0, 5) == 4
    assert span.skip(b"x  ", 0, 3) == 0
    assert span.skip(b"   ", 0, 3) == 3
    assert span.skip(b"   ", 0, 2) == 2
    assert span.skip(b"", 0, 0) == 0
    for c in range(256):
        assert span.skip(ALL, c, c + 1) == c + (c in (9, 32)), c


def test_trim_takes_sp_and_htab_from_the_end_only():
    assert span.trim(b"x \t \t", 0, 5) == 1
    assert span.trim(b"  x", 0, 3) == 3
    assert span.trim(b"   ", 0, 3) == 0
    assert span.trim(b"   ", 1, 3) == 1
    assert span.trim(b"", 0, 0) == 0
    for c in range(256):
        assert span.trim(ALL, c, c + 1) == c + (c not in (9, 32)), c


def test_same_compares_letters_without_case_and_nothing_else():
    for text in (b"keep-alive", b"KEEP-ALIVE", b"Keep-Alive"):
        assert span.same(b"<" + text + b">", 1, 11, b"keep-alive")
    for text in (b"keep-aliv", b"keep-alivee", b"keep_alive", b"keep\ralive", b"jeep-alive", b""):
        assert not span.same(text, 0, len(text), b"keep-alive")
    assert span.same(b"", 0, 0, b"") and span.same(b"x", 1, 1, b"")
    assert not span.same(b"x", 0, 1, b"")
    for c in range(256):
        word = bytes([c + 32 if 65 <= c <= 90 else c])
        assert span.same(ALL, c, c + 1, word)
        other = word[0] ^ 32
        if not 65 <= other <= 90:  # a word is given in lower case
            assert not span.same(ALL, c, c + 1, bytes([other])), c


def test_number_is_digits_and_nothing_else():
    for text, n in ((b"0", 0), (b"5", 5), (b"007", 7), (b"1234567", 1234567), (b"0" * 99, 0)):
        assert span.number(text, 0, len(text)) == n
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
        assert span.number(text, 0, len(text)) == -1
    for c in range(256):
        assert span.number(ALL, c, c + 1) == (c - 48 if 48 <= c <= 57 else -1), c


def test_number_of_base_16_has_letters_of_both_cases():
    for text, n in (
        (b"0", 0),
        (b"aF", 175),
        (b"0000000000000000001F", 31),
        (b"3fffffe", 67108862),
    ):
        assert span.number(text, 0, len(text), 16) == n
    for text in (b"", b"g", b"0x5", b"-5", b"5 ", b"@", b"G", b"`"):
        assert span.number(text, 0, len(text), 16) == -1
    digits = b"0123456789abcdef"
    for c in range(256):
        assert span.number(ALL, c, c + 1, 16) == digits.find(ALL[c : c + 1].lower()), c


def test_number_is_read_only_in_its_range():
    assert span.number(b"12345", 1, 4) == 234
    assert span.number(b"x2x", 1, 2) == 2
    assert span.number(b"12345", 2, 2) == -1


def test_number_above_its_bound_is_the_bound():
    for n in (2**26 - 3, 2**26 - 2, 2**26 - 1, 2**26, 2**30 - 1, 2**30, 2**31, 2**32, 2**64 + 5):
        for base, text in ((10, "{}".format(n)), (16, "{:x}".format(n)), (16, "{:X}".format(n))):
            text = bytes("00" + text, "ascii")
            assert span.number(text, 0, len(text), base) == min(n, MOST), n
    assert span.number(b"9" * 400, 0, 400) == MOST
    assert span.number(b"f" * 400, 0, 400, 16) == MOST
    assert span.number(b"9" * 400 + b"x", 0, 401) == -1


def test_quote_leaves_the_unreserved_characters_of_rfc_3986():
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
    assert span.quote(plain) == plain
    assert span.quote(b"") == b""


def test_quote_writes_every_other_octet_in_upper_case_hexadecimal():
    assert span.quote(b"a/b $+#%") == b"a%2Fb%20%24%2B%23%25"
    assert span.quote("é".encode()) == b"%C3%A9"
    for c in range(256):
        quoted = span.quote(bytes([c]))
        assert len(quoted) in (1, 3) and (len(quoted) == 1) == (c in b"-._~" or _is_ascii_word(c))
        if len(quoted) == 3:
            assert quoted[0] == 37 and int(quoted[1:], 16) == c and quoted == quoted.upper()


def _is_ascii_word(c):
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122


UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def test_quote_leaves_exactly_the_unreserved_octets():
    for c in range(256):
        octet = bytes([c])
        assert span.quote(octet) == (octet if octet in UNRESERVED else b"%%%02X" % c)


def test_quote_of_nothing_is_nothing():
    assert span.quote(b"") == b""


def test_quote_encodes_octets_one_by_one():
    assert span.quote("device/é +$#%".encode()) == b"device%2F%C3%A9%20%2B%24%23%25"
    assert type(span.quote(b"a")) is bytes
