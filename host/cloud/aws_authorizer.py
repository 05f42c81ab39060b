"""Custom authorizers of AWS IoT over HTTPS on port 443 (PROTOCOLS 1.4; AWS IoT developer guide,
"Connecting to AWS IoT Core by using custom authentication").

Invariant: every refusal is the same 403 "Forbidden", whatever was wrong, and nothing that is kept
here gives a token away. The 'Lambda' behind an authorizer is the list of tokens that it accepts;
it is asked with every request, as the service does without caching.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from host.cloud.aws_publish import Refused
from host.cloud.aws_registry import EVERYTHING, Principal, Registry
from host.cloud.http import Call
from host.cloud.store import Store

TOKEN_LIMIT = 6144  # characters
SIGNATURE_LIMIT = 2560  # characters

_NAME_FIELD = "x-amz-customauthorizer-name"
_SIGNATURE_FIELD = "x-amz-customauthorizer-signature"
_NAME = re.compile(r"[\w=,@-]{1,128}", re.ASCII)
_TOKEN_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TABLES = (
    "CREATE TABLE IF NOT EXISTS aws_authorizers"
    " (name TEXT PRIMARY KEY, token_key_name TEXT NOT NULL, public_key BLOB)",
    "CREATE TABLE IF NOT EXISTS aws_tokens (authorizer TEXT NOT NULL, digest TEXT NOT NULL,"
    " principal TEXT NOT NULL, PRIMARY KEY (authorizer, digest))",
)


class Authorizers:
    """The account's custom authorizers; they answer to `hosts` only."""

    def __init__(self, store: Store, registry: Registry, hosts: Iterable[str]) -> None:
        self._store = store
        self._registry = registry
        self._hosts = frozenset(hosts)
        for table in _TABLES:
            store.execute(table)

    def add(self, name: str, token_key_name: str, public_key: bytes | None = None) -> None:
        """Register an authorizer; `public_key` is PEM, None disables signing.

        ValueError for a name that AWS does not allow or a key that is not RSA.
        """
        if not _NAME.fullmatch(name) or not _TOKEN_KEY_NAME.fullmatch(token_key_name):
            raise ValueError(f"authorizer {name!r} or token key name {token_key_name!r}")
        if public_key is not None:
            _rsa_key(public_key)
        row = (name, token_key_name, public_key)
        self._store.execute("INSERT OR REPLACE INTO aws_authorizers VALUES (?, ?, ?)", row)

    def accept(
        self, name: str, token: str, principal: str, allow: Iterable[str] = EVERYTHING
    ) -> None:
        """Have the authorizer take `token` for `principal`, which may publish to `allow`."""
        if not 1 <= len(token) <= TOKEN_LIMIT:
            raise ValueError(f"a token has 1 to {TOKEN_LIMIT} characters")
        row = (name, _digest(token), principal)
        self._store.execute("INSERT OR REPLACE INTO aws_tokens VALUES (?, ?, ?)", row)
        self._registry.set_policy(_policy(name, token), allow)

    def principal(self, call: Call) -> Principal | None:
        """Return who calls, None if `call` names no authorizer; Refused with 403."""
        given = _given(call)
        name = given(_NAME_FIELD)
        if name is None:
            return None
        if call.fields.get("host", "").partition(":")[0].lower() not in self._hosts:
            raise _forbidden()
        token = self._verified_token(name, given)
        query = "SELECT principal FROM aws_tokens WHERE authorizer = ? AND digest = ?"
        rows = self._store.execute(query, (name, _digest(token)))
        if not rows:
            raise _forbidden()
        return Principal(_policy(name, token), rows[0][0], data=False)

    def _verified_token(self, name: str, given: Callable[[str], str | None]) -> str:
        """Return the token, of which nothing is known but that its signature is good."""
        query = "SELECT token_key_name, public_key FROM aws_authorizers WHERE name = ?"
        rows = self._store.execute(query, (name,)) if _NAME.fullmatch(name) else []
        if not rows:
            raise _forbidden()
        token_key_name, public_key = rows[0]
        token = given(token_key_name) or ""  # none, or one too long, is never accepted
        if public_key is not None:
            _check_signature(public_key, token, given(_SIGNATURE_FIELD) or "")
        return token


def _given(call: Call) -> Callable[[str], str | None]:
    """Return what looks up a credential: in the fields if the name is there, else in the query.

    The guide gives either form and no mixture, so none is taken. In the query a bare + is a space,
    as in a form: a signature in base64 must be URL-encoded.
    """
    if _NAME_FIELD in call.fields:
        return call.fields.get
    return dict(parse_qsl(call.query, keep_blank_values=True)).get


def _check_signature(public_key: bytes, token: str, signature: str) -> None:
    try:
        if len(signature) > SIGNATURE_LIMIT:
            raise ValueError
        raw = base64.b64decode(signature, validate=True)
        _rsa_key(public_key).verify(raw, _octets(token), padding.PKCS1v15(), hashes.SHA256())
    except (binascii.Error, ValueError, InvalidSignature):
        raise _forbidden() from None


def _rsa_key(public_key: bytes) -> rsa.RSAPublicKey:
    key = load_pem_public_key(public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the public key of an authorizer is RSA")
    return key


def _octets(token: str) -> bytes:
    return token.encode(errors="surrogateescape")  # aiohttp's way to keep what is not UTF-8


def _digest(token: str) -> str:
    return hashlib.sha256(_octets(token)).hexdigest()


def _policy(name: str, token: str) -> str:
    return f"{name}/{_digest(token)}"


def _forbidden() -> Refused:
    return Refused(403, "Forbidden")
