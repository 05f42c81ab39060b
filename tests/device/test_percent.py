"""Percent-encoding of RFC 3986."""

from onebuf.span import quote

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def test_exactly_the_unreserved_octets_stay():
    for c in range(256):
        octet = bytes([c])
        assert quote(octet) == (octet if octet in UNRESERVED else b"%%%02X" % c)


def test_nothing_is_nothing():
    assert quote(b"") == b""


def test_octets_are_encoded_one_by_one():
    assert quote("device/é +$#%".encode()) == b"device%2F%C3%A9%20%2B%24%23%25"
    assert type(quote(b"a")) is bytes
