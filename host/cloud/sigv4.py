"""Verification of AWS Signature Version 4, in the Authorization field or in the query.

Invariant: the signature is computed from what was received, never from anything decoded; only
the path is escaped once more (PROTOCOLS 1.3; AWS General Reference, "Signature Version 4").
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
_CLOCK_S = 300
_LONGEST_EXPIRY_S = 604800
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^ ,]+), *SignedHeaders=([^ ,]+), *Signature=([0-9a-f]{{64}})"
)
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_BYTES = {"errors": "surrogateescape"}  # aiohttp's way to keep bytes that are not UTF-8


class SignatureError(Exception):
    """The request is not signed as it must be; the text is what the service answers."""


@dataclass(frozen=True)
class Secret:
    """What the service knows of an access key."""

    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True, repr=False)
class Request:
    """The signed parts of a request as received; `fields` compare without regard to case."""

    method: str
    target: str
    fields: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, repr=False)
class _Claim:
    """What the client says about its signature."""

    access_key: str
    scope: str
    signed: tuple[str, ...]
    signature: str
    date: str
    token: str | None
    expires_s: int | None = None  # None: the Authorization form


def verify(
    request: Request,
    secret_of: Callable[[str], Secret | None],
    now: float,
    region: str,
    services: Iterable[str],
) -> str:
    """Return the access key that signed `request`; SignatureError with the service's text."""
    claim = _query_claim(request) or _field_claim(request)
    secret = secret_of(claim.access_key)
    if secret is None or secret.session_token != claim.token:
        raise SignatureError("The security token included in the request is invalid")
    _check_scope(claim, region, services)
    _check_signed_fields(request, claim)
    _check_clock(claim, now)
    text = string_to_sign(canonical_request(request, claim.signed), claim.date, claim.scope)
    key = signing_key(secret.secret_key, *claim.scope.split("/")[:3])
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode(**_BYTES)):
        raise SignatureError(
            "The request signature we calculated does not match the signature you provided"
        )
    return claim.access_key


def canonical_request(request: Request, signed: Iterable[str]) -> str:
    """Return the canonical request; `signed` are the lower-case field names in order."""
    path, _, query = request.target.partition("?")
    names = tuple(signed)
    lines = [f"{name}:{' '.join(request.fields[name].split())}" for name in names]
    digest = hashlib.sha256(request.body).hexdigest()
    parts = [request.method, canonical_path(path), canonical_query(query), *lines, ""]
    return "\n".join([*parts, ";".join(names), digest])


def canonical_path(path: str) -> str:
    """Return `path` without dot segments and doubled slashes, escaped once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    trailing = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + trailing, safe="/~", errors="surrogateescape")


def canonical_query(query: str) -> str:
    """Return the parameters sorted as they are on the wire, without the signature itself."""
    parameters = sorted(part.partition("=")[::2] for part in query.split("&") if part)
    kept = [f"{name}={value}" for name, value in parameters if name != "X-Amz-Signature"]
    return "&".join(kept)


def string_to_sign(canonical: str, date: str, scope: str) -> str:
    """Return the text that the signature covers; `date` is YYYYMMDDTHHMMSSZ."""
    return "\n".join(
        [ALGORITHM, date, scope, hashlib.sha256(canonical.encode(**_BYTES)).hexdigest()]
    )


def signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """Return the key of one day, region and service."""
    key = b"AWS4" + secret_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _field_claim(request: Request) -> _Claim:
    given = request.fields.get("authorization")
    if given is None:
        raise SignatureError("Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(given)
    if match is None:
        raise SignatureError("Authorization header is malformed")
    access_key, _, scope = match[1].partition("/")
    date = request.fields.get("x-amz-date", "")
    token = request.fields.get("x-amz-security-token")
    return _Claim(access_key, scope, tuple(match[2].split(";")), match[3], date, token)


def _query_claim(request: Request) -> _Claim | None:
    pairs = (part.partition("=")[::2] for part in request.target.partition("?")[2].split("&"))
    given = {name: unquote(value) for name, value in pairs}
    if given.get("X-Amz-Algorithm") != ALGORITHM:
        return None
    access_key, _, scope = given.get("X-Amz-Credential", "").partition("/")
    expires = given.get("X-Amz-Expires", "")
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 1 <= int(expires) <= _LONGEST_EXPIRY_S:
        raise SignatureError("X-Amz-Expires must be between 1 and 604800 seconds")
    return _Claim(
        access_key,
        scope,
        tuple(given.get("X-Amz-SignedHeaders", "").split(";")),
        given.get("X-Amz-Signature", ""),
        given.get("X-Amz-Date", ""),
        given.get("X-Amz-Security-Token"),
        int(expires),
    )


def _check_scope(claim: _Claim, region: str, services: Iterable[str]) -> None:
    if not _DATE.fullmatch(claim.date):
        raise SignatureError("X-Amz-Date must be in ISO8601 basic format")
    if claim.scope not in [f"{claim.date[:8]}/{region}/{s}/aws4_request" for s in services]:
        raise SignatureError(f"Credential should be scoped to a valid region: {region}")


def _check_signed_fields(request: Request, claim: _Claim) -> None:
    present = {name.lower() for name in request.fields}
    required = {"host"} | {name for name in present if name.startswith("x-amz-")}
    if not required <= set(claim.signed) <= present or list(claim.signed) != sorted(claim.signed):
        raise SignatureError("'Host' and every 'x-amz-' header must be signed, in order")


def _check_clock(claim: _Claim, now: float) -> None:
    try:
        signed = datetime.strptime(claim.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise SignatureError("X-Amz-Date must be in ISO8601 basic format") from None
    age_s = now - signed.timestamp()
    if age_s > (_CLOCK_S if claim.expires_s is None else claim.expires_s):
        raise SignatureError(f"Signature expired: {claim.date} is too old")
    if age_s < -_CLOCK_S:
        raise SignatureError(f"Signature not yet current: {claim.date} is in the future")
