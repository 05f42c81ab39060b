"""Ranges of octets: every function at the edges of its range, its alphabet and its numbers."""

from onebuf import span

TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALL = bytes(range(256))


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
