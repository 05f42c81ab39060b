"""What a request to Watson IoT's HTTP messaging says (PROTOCOLS 4.2 and 4.3, rows 1 to 13).

Invariant: the checks stand in the server's order, so of two mistakes the same one is told.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from host.cloud.http import Call

BODY_LIMIT = 131072  # bytes
QUICKSTART = "quickstart"
DOMAINS = ("messaging.internetofthings.ibmcloud.com", "internetofthings.ibmcloud.com")
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "json": "application/json",
        "text": "text/plain;charset=utf-8",
        "bin": "application/octet-stream",
        "xml": "application/xml",
    }
)
IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,36}")

_METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS")
# The server checks only type and id; but an event's name becomes a level of an MQTT topic, which
# has room for neither wildcards nor control characters (MQTT 3.1.1 section 4.7.1).
_NAME = re.compile(r"[^+#\0-\x1f\x7f-\x9f]+")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORMATS = (
    (re.compile(r"application/json"), "json"),
    (re.compile(r"application/xml"), "xml"),
    (re.compile(r"text/."), "text"),
    (re.compile(r"application/octet-stream"), "bin"),
)
# Exactly {} or one member: what more there is in JSON, the server refuses (a second member, 2.1).
_WAIT = re.compile(
    rb"""\s* \{ \s* (?: "waitTimeSecs" \s* : \s* (0|[1-9][0-9]{0,3}) \s* )? \} \s*""", re.VERBOSE
)
_WAIT_LIMIT_S = 3600
_BASIC = re.compile(r"(?i:basic) +([^ ]+)")  # the scheme's case is free, RFC 9110 section 11.1


class Refused(Exception):
    """The service's refusal: its status; 0 for a connection closed without an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Credentials:
    """What the Authorization field says."""

    user: str
    password: bytes = field(repr=False)

    @property
    def is_gateway(self) -> bool:
        """What makes a gateway on a /device/ path: the first letter, nothing else."""
        return self.user.startswith("g")


@dataclass(frozen=True)
class Path:
    """The names in a path of this API; + stands for any in a command request."""

    application: bool  # else it is under /device/
    type: str
    id: str
    action: str  # events, commands, or request for the receiving of commands
    name: str  # of the event or command


def check_line(call: Call) -> None:
    """Refuse a method or version that the HTTP listener does not have (rows 1 and 2)."""
    if call.method not in _METHODS:
        raise Refused(405)
    if call.version != (1, 1):
        raise Refused(400)


def organisation(call: Call) -> str | None:
    """Return the organisation that Host names, None for a host of nobody's (row 3).

    The server itself looks only at what precedes the first dot. Strict: the rest must be one of
    the service's two domains, which in reality DNS and the certificate see to.
    """
    host = call.fields.get("Host")
    if host is None:
        raise Refused(400)
    org, dot, domain = host.lower().partition(":")[0].partition(".")
    if not dot or not org:
        raise Refused(0)
    return org if domain in DOMAINS else None


def credentials(call: Call) -> Credentials | None:
    """Return user and password, None without the field (row 4: malformed)."""
    value = call.fields.get("Authorization")
    if value is None:
        return None
    basic = _BASIC.fullmatch(value)
    if basic is None:
        raise Refused(400)
    try:
        # At the first colon: a token may hold colons, a user name cannot (RFC 7617 section 2).
        user, colon, password = base64.b64decode(basic[1], validate=True).partition(b":")
        name = user.decode()
    except (binascii.Error, ValueError):
        raise Refused(400) from None
    if not colon:
        raise Refused(400)
    return Credentials(name, password)


def path(call: Call, gateway: bool) -> Path:
    """Return the names in the path (rows 8 to 10); `gateway` may use + for type and id."""
    if call.method != "POST":
        raise Refused(405)
    if len(call.body) > BODY_LIMIT:
        raise Refused(413)
    found = _split(_segments(call.path))
    request = found.action == "request"
    wild = request and gateway
    for text, rule, free in (
        (found.type, IDENTIFIER, wild),
        (found.id, IDENTIFIER, wild),
        (found.name, _NAME, request),
    ):
        if not rule.fullmatch(text) and not (free and text == "+"):
            raise Refused(404)
    return found


def _segments(text: str) -> list[str]:
    """Return the path's segments, decoded; repeated slashes are one, but not the first two."""
    if not text.startswith("/") or text.startswith("//") or _BAD_ESCAPE.search(text):
        raise Refused(404)
    try:
        whole = unquote_to_bytes(text.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError:
        raise Refused(404) from None
    return [part for part in whole.split("/") if part]  # decoded before: %2F separates, too


def _split(parts: list[str]) -> Path:
    fixed = [*parts[:2], *parts[3:6:2], *parts[9:]]
    known = (["api", "v0002", "types", "devices"], ["api", "v0002", "types", "devices", "request"])
    if len(parts) not in (9, 10) or fixed not in known:
        raise Refused(404)
    side, action = parts[2], parts[7]
    receives = len(parts) == 10
    if side not in ("device", "application") or action not in ("events", "commands"):
        raise Refused(404)
    if receives and (side, action) != ("device", "commands"):
        raise Refused(404)
    word = "request" if receives else action
    return Path(side == "application", parts[4], parts[6], word, parts[8])


def content_format(call: Call) -> str:
    """Return the format of an event's or command's payload (rows 11 and 12).

    The payload itself is opaque: JSON that is none is accepted as well.
    """
    if not call.body:
        raise Refused(400)
    kind = call.fields.get("Content-Type", "").lower()
    for pattern, name in _FORMATS:
        if pattern.match(kind):
            return name
    raise Refused(415)


def wait_seconds(call: Call) -> int:
    """Return how long a command request is willing to wait (row 13)."""
    if not call.body:
        return 0
    body = _WAIT.fullmatch(call.body)
    seconds = int(body[1] or 0) if body else _WAIT_LIMIT_S + 1
    if seconds > _WAIT_LIMIT_S:
        raise Refused(400)
    return seconds
