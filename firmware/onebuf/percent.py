"""Percent-encoding (RFC 3986 section 2)."""

_HEX = b"0123456789ABCDEF"


def quote(text: bytes) -> bytes:
    """text with every octet that is not unreserved as %XX, in upper case. Allocates."""
    out = bytearray()
    for c in text:
        if 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or c in b"-._~":
            out.append(c)
        else:
            out.extend(b"%")
            out.append(_HEX[c >> 4])
            out.append(_HEX[c & 15])
    return bytes(out)
