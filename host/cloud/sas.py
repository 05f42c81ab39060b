"""Shared access signatures as Azure's services verify them (PROTOCOLS 3.3).

Invariant: the escaped resource that came is what was signed, so it is verified as it came and
only then compared, decoded: two spellings of one resource have two signatures, both good.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

_SCHEME = "SharedAccessSignature "
_NAMES = ("sr", "sig", "se", "skn")
_SECONDS = re.compile(r"[0-9]{1,12}")
_KEY_BYTES = range(16, 65)
# No source names a longest life. A year is strict, and shows a device that counts from 2000.
_LONGEST_S = 366 * 86400


class SasError(Exception):
    """The token is not good; its text is the reason, without any part of the token."""


@dataclass(frozen=True)
class Token:
    """One parsed token; nothing of it is believed before `signed_by` says so."""

    resource: str  # decoded once
    expiry: int  # epoch seconds
    key_name: str | None
    text: bytes = field(repr=False)  # what is signed
    signature: bytes = field(repr=False)

    def signed_by(self, key: bytes) -> bool:
        """Say whether the signature was made with `key`."""
        return hmac.compare_digest(
            hmac.new(key, self.text, hashlib.sha256).digest(), self.signature
        )

    def check_time(self, now: float) -> None:
        """SasError unless the token is good at `now`, in epoch seconds, and not for too long."""
        if self.expiry <= now:
            raise SasError("the token has expired")
        if self.expiry > now + _LONGEST_S:
            raise SasError("the token expires too far in the future")


def parse(authorization: str) -> Token:
    """Return the token of an Authorization field's value; SasError if it has another form."""
    if not authorization.isascii() or not authorization.startswith(_SCHEME):
        raise SasError("not a SharedAccessSignature")
    pairs = [part.partition("=")[::2] for part in authorization[len(_SCHEME) :].split("&")]
    parts = dict(pairs)
    known = len(parts) == len(pairs) and set(parts) <= set(_NAMES)
    if not known or not set(_NAMES[:3]) <= set(parts):
        raise SasError("want sr, sig, se and at most skn, each once")
    if not _SECONDS.fullmatch(parts["se"]):
        raise SasError("se is no number of seconds")
    text = f"{parts['sr']}\n{parts['se']}".encode()
    key_name = unquote(parts["skn"]) if "skn" in parts else None
    # In a query a + is a space: a signature whose + is not escaped is refused, as by Azure.
    signature = _from_base64(unquote_plus(parts["sig"]), "sig is not base64")
    return Token(unquote(parts["sr"]), int(parts["se"]), key_name, text, signature)


def key_bytes(key: str) -> bytes:
    """Return the bytes of a base64 key; ValueError, without the key, if Azure has no such."""
    try:
        made = _from_base64(key, "the key is not base64")
    except SasError as error:
        raise ValueError(str(error)) from None
    if len(made) not in _KEY_BYTES:
        raise ValueError("a key has 16 to 64 bytes")
    return made


def derived_key(group_key: bytes, registration_id: str) -> bytes:
    """Return a device's key of an enrolment group; the id's case counts."""
    return hmac.new(group_key, registration_id.encode(), hashlib.sha256).digest()


def _from_base64(text: str, reason: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SasError(reason) from None
