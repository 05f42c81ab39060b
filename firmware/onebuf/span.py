"""Ranges of octets: `buf, a, e` stands for buf[a] to buf[e-1]. Nothing but quote() allocates.

What a writer of heads needs: tokens and text (RFC 9110 section 5), authorities, escapes.
"""

OCTETS = (bytes, bytearray, memoryview)  # what a payload may be

# One bit for each of the 128 ASCII characters that may stand in a token (RFC 9110 section 5.6.2).
_TCHAR = b"\x00\x00\x00\x00\xfa\x6c\xff\x03\xfe\xff\xff\xc7\xff\xff\xff\x57"


def is_text(buf, a: int, e: int) -> bool:
    """Whether no control character but HTAB stands in it (RFC 9110 section 5.5)."""
    for i in range(a, e):
        c = buf[i]
        if (c < 32 and c != 9) or c == 127:
            return False
    return True


def token_end(buf, a: int, e: int) -> int:
    """Where the token that begins at a ends; a itself where none begins."""
    while a < e:
        c = buf[a]
        if not 97 <= c <= 122 and (c > 127 or not _TCHAR[c >> 3] >> (c & 7) & 1):
            break
        a += 1
    return a


def authority(host: str, port: int, default: int = 443) -> bytes:
    """The value of Host (RFC 9110 section 7.2). ValueError: no host name, or no port."""
    name = host.encode()
    if not name or token_end(name, 0, len(name)) < len(name) or not 0 < port < 65536:
        raise ValueError("host or endpoint: a name, no scheme, no port; port: 1 to 65535")
    return name if port == default else b"%s:%d" % (name, port)


def quote(text: bytes) -> bytes:
    """text with every octet that is not unreserved as %XX (RFC 3986 section 2)."""
    out = b""
    for c in text:
        octet = bytes((c,))
        plain = octet.isalpha() or octet.isdigit() or octet in b"-._~"
        out += octet if plain else b"%%%02X" % c
    return out
