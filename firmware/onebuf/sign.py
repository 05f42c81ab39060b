"""HMAC (RFC 2104) over the runtime's hashlib; hex, base64 (RFC 4648) and Azure's SAS.

MicroPython's hash objects and digests take heap: a signature costs 384 bytes of it, so clouds sign
rarely and keep the result in the head. Keys never leave this module in an exception.
"""

import hashlib
from binascii import a2b_base64, b2a_base64, hexlify

from micropython import const

from onebuf import span

_BLOCK = const(64)  # octets that md5, sha1 and sha256 take at a time


class HMAC:
    """A key made ready, once: 160 octets of RAM; each digest() is two hashes, no more."""

    def __init__(self, name: str, key):
        """name: md5, sha1 or sha256, as the runtime's hashlib has it. ValueError: it has not.

        CircuitPython has no md5.
        """
        try:
            if name not in ("md5", "sha1", "sha256"):
                raise ValueError
            begin(name, b"")
        except (AttributeError, ValueError):
            raise ValueError("hash: md5, sha1 or sha256, if the runtime has it")
        self._name = name
        if len(key) > _BLOCK:
            key = begin(name, key).digest()
        self._inner = inner = bytearray(_BLOCK)
        self._outer = outer = bytearray(_BLOCK)
        for i in range(_BLOCK):
            c = key[i] if i < len(key) else 0
            inner[i] = c ^ 0x36
            outer[i] = c ^ 0x5C

    def digest(self, data) -> bytes:
        """The HMAC of data, octets."""
        h = begin(self._name, self._inner)
        h.update(data)
        inner = h.digest()
        h = begin(self._name, self._outer)
        h.update(inner)
        return h.digest()


def begin(name, data):
    """A hash that has taken data: of MicroPython's hashlib, or of CircuitPython's."""
    return getattr(hashlib, name)(data) if hasattr(hashlib, name) else hashlib.new(name, data)


def put_hex(data, buf, off: int) -> int:
    """Lay data in lower-case hex at buf[off:]: where it ends. ValueError: no room."""
    text = hexlify(data)
    e = off + len(text)
    if not 0 <= off <= e <= len(buf):
        raise ValueError("no room for %d octets" % len(text))
    buf[off:e] = text
    return e


def sas(key, uri: str, expiry: int, policy: str = "") -> bytes:
    """A SharedAccessSignature for uri ("Control access to IoT Hub with SAS"), as one field value.

    key: base64; expiry: Unix time in seconds; policy: its name, for DPS "registration". What is
    signed is the escaped uri as it stands in the token. ValueError: no key of 16 to 64 octets.
    """
    secret = a2b_base64(key)
    if not 16 <= len(secret) <= 64:
        raise ValueError("key: 16 to 64 octets in base64")
    escaped = span.quote(uri.encode())
    mac = HMAC("sha256", secret).digest(b"%s\n%d" % (escaped, expiry))
    text = b"SharedAccessSignature sr=%s&sig=%s&se=%d" % (
        escaped,
        span.quote(b2a_base64(mac, newline=False)),
        expiry,
    )
    return text + b"&skn=" + policy.encode() if policy else text
