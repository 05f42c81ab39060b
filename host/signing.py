"""What each cloud's scheme signs, and the result, step by step, for comparing with a device.

Each function returns the steps in the order in which they arise, name and text; none of them is
the secret or a key derived from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from host.cloud import aliyun_rules, sigv4
from host.cloud import sas as azure

Steps: TypeAlias = dict[str, str]

_TOKEN_FIELD = "x-amz-security-token"
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def sas(key: str, uri: str, expiry: int, policy: str = "", derive: str = "") -> Steps:
    """Return the steps of a shared access signature; ValueError for a key that is no base64.

    key: the device's, the policy's, or with `derive`, a registration ID, the enrolment group's.
    expiry: Unix time. (Azure IoT Hub, "Control access with shared access signatures"; DPS,
    "Symmetric key attestation".)
    """
    secret = azure.key_bytes(key)
    if not uri:
        raise ValueError("the URI is empty: such as HUB/devices/ID is wanted")
    if derive:
        secret = azure.derived_key(secret, derive)
    resource = quote(uri, safe="")
    text = f"{resource}\n{expiry}"
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())
    token = f"SharedAccessSignature sr={resource}&sig={quote(signature, safe='')}&se={expiry}"
    if policy:
        token += f"&skn={quote(policy, safe='')}"
    return {"string to sign": text, "signature": signature.decode(), "Authorization": token}


@dataclass(frozen=True)
class AWSRequest:
    """A request to AWS as it will be on the wire, and who signs it when."""

    method: str
    url: str
    body: bytes
    date: str  # YYYYMMDDTHHMMSSZ
    access_key: str
    region: str
    service: str = "iotdata"
    fields: Mapping[str, str] = field(default_factory=dict)  # more that are to be signed


def aws(
    request: AWSRequest, secret_key: str, session_token: str | None = None, reveal: bool = False
) -> Steps:
    """Return the steps of Signature Version 4; ValueError for a URL or time that is none.

    The session token is among what is signed: it is shown only with `reveal`.
    """
    host, target = _wire(request.url)
    _check_date(request.date)
    fields = {name.lower(): value for name, value in request.fields.items()}
    fields |= {"host": host, "x-amz-date": request.date}
    if session_token is not None:
        fields[_TOKEN_FIELD] = session_token
    signed = sorted(fields)
    received = sigv4.Request(request.method, target, fields, request.body)
    canonical = sigv4.canonical_request(received, signed)
    scope = f"{request.date[:8]}/{request.region}/{request.service}/aws4_request"
    text = sigv4.string_to_sign(canonical, request.date, scope)
    key = sigv4.signing_key(secret_key, *scope.split("/")[:3])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if session_token is not None and not reveal:
        masked = f"{_TOKEN_FIELD}:{mask(session_token)}"
        canonical = re.sub(rf"(?m)^{_TOKEN_FIELD}:.*$", lambda _: masked, canonical)
    credential = f"{sigv4.ALGORITHM} Credential={request.access_key}/{scope}"
    return {
        "canonical request": canonical,
        "string to sign": text,
        "signature": signature,
        "Authorization": f"{credential}, SignedHeaders={';'.join(signed)}, Signature={signature}",
    }


def aliyun(parameters: Mapping[str, str], method: str, device_secret: str) -> Steps:
    """Return the steps of Alibaba's /auth and its body; `method` one of aliyun_rules.METHODS.

    Every parameter is signed but version, sign and signmethod (Alibaba Cloud, "HTTPS connections
    and communication").
    """
    content = aliyun_rules.content_of(parameters)
    digest = aliyun_rules.signature(content, device_secret, method)
    body = {"version": "default", **parameters, "signmethod": method, "sign": digest}
    return {"content": content, "sign": digest, "body": json.dumps(body, ensure_ascii=False)}


def basic(user: str, token: str, reveal: bool = False) -> Steps:
    """Return the steps of HTTP Basic (RFC 7617), which Watson IoT takes; ValueError for a user.

    The result holds the token itself, readable: it is shown only with `reveal`.
    """
    if ":" in user or not user.isprintable():
        raise ValueError(f"user {user!r}: no colon and no control characters (RFC 7617)")
    credentials = base64.b64encode(f"{user}:{token}".encode()).decode()
    return {
        "credentials": f"{user}:{token if reveal else mask(token)}",
        "Authorization": f"Basic {credentials if reveal else mask(credentials)}",
    }


def mask(secret: str) -> str:
    """Return what stands in the place of a secret."""
    return f"({len(secret)} characters, --reveal shows them)"


def show(steps: Steps) -> str:
    """Return the steps for people; every line of a text is indented, and otherwise as it is."""
    return "\n".join(_indented(name, text.split("\n")) for name, text in steps.items())


def _indented(name: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{name}:", *(f"    {line}" for line in lines)])


def _check_date(date: str) -> None:
    try:
        if not _DATE.fullmatch(date):
            raise ValueError
        time.strptime(date, "%Y%m%dT%H%M%SZ")
    except ValueError:
        raise ValueError(f"time {date!r}: YYYYMMDDTHHMMSSZ is wanted") from None


def _wire(url: str) -> tuple[str, str]:
    """Return Host and request target; ValueError for a URL that would not go out as it stands."""
    if not re.fullmatch(r"https://[!-~]+", url):
        raise ValueError(f"URL {url!r}: https:// and printable ASCII, the rest %-escaped")
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None:
        raise ValueError(f"URL {url!r}: a host name is wanted, without a user")
    port = "" if parts.port in (None, 443) else f":{parts.port}"
    return parts.hostname + port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
