"""HMAC (RFC 2104) over the runtime's hashlib; hex, base64 (RFC 4648) and Azure's SAS.

MicroPython's hash objects and digests take heap: a signature costs 384 bytes of it where a word
has 32 bits, so clouds sign rarely and keep the result in the head. Keys never leave this module in
an exception.
"""

import hashlib
from binascii import a2b_base64, b2a_base64, hexlify

from micropython import const

from onebuf import span

_BLOCK = const(64)  # octets that md5, sha1 and sha256 take at a time


class HMAC:
    """A key made ready, once: 160 octets of RAM; each digest() is two hashes, no more."""

    def __init__(self, name: str, key):
        """name: md5, sha1 or sha256, as the runtime's hashlib has it. ValueError: it has not."""
        self._begin = h = hasher(name)
        if len(key) > _BLOCK:
            key = h(key).digest()
        self._inner = inner = bytearray(_BLOCK)
        self._outer = outer = bytearray(_BLOCK)
        _pad(inner, outer, key, len(key))

    def digest(self, data) -> bytes:
        """The HMAC of data, octets."""
        h = self._begin(self._inner)
        h.update(data)
        inner = h.digest()
        h = self._begin(self._outer)
        h.update(inner)
        return h.digest()


# viper: ptr8 ptr8 ptr8 int -> int
def _pad(inner, outer, key, n):
    """Lay key, n octets, into both blocks, filled up with zeros and masked (RFC 2104 section 2).

    Compiled for the board's processor where the build knows it (see scan).
    """
    i = 0
    while i < _BLOCK:
        c = key[i] if i < n else 0
        inner[i] = c ^ 0x36
        outer[i] = c ^ 0x5C
        i += 1
    return 0


def hasher(name: str):
    """What begins a hash with some octets. ValueError: none that HMAC takes, or not here."""
    if name in ("md5", "sha1", "sha256"):
        begin = getattr(hashlib, name, None)
        if begin:
            return begin
        if hasattr(hashlib, "new"):  # CircuitPython's, which has no md5
            hashlib.new(name)
            return lambda data: hashlib.new(name, data)
    raise ValueError("hash: md5, sha1 or sha256")


def put(data, buf, off: int, base64: bool = False) -> int:
    """Lay data as text at buf[off:], lower-case hex or padded base64: where it ends.

    ValueError: no room.
    """
    text = b2a_base64(data, newline=False) if base64 else hexlify(data)
    e = off + len(text)
    if not 0 <= off <= e <= len(buf):
        raise ValueError("no room")
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
