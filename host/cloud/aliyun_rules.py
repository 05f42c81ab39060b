"""The rules of Alibaba Cloud's `POST /auth` and `POST /topic/...` (seed 001; PROTOCOLS 2.2, 2.3).

Invariant: everything is decoded exactly once, and what the documents do not allow is refused.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from host.cloud.http import Call

AUTH = "/auth"
TOPIC = "/topic"
LIMIT = 131072  # bytes of a body; the documents say 128 KB

SUCCESS = 0
PARAM_ERROR = 10001
AUTH_CHECK_ERROR = 20000
TOKEN_EXPIRED = 20001
TOKEN_NULL = 20002
CHECK_TOKEN_ERROR = 20003
PUBLISH_ERROR = 30001
TOO_MANY = 40000
MESSAGES: Mapping[int, str] = MappingProxyType(
    {
        SUCCESS: "success",
        10000: "common error",
        PARAM_ERROR: "param error",
        AUTH_CHECK_ERROR: "auth check error",
        TOKEN_EXPIRED: "token is expired",
        TOKEN_NULL: "token is null",
        CHECK_TOKEN_ERROR: "check token error",
        20004: "update session error",
        PUBLISH_ERROR: "publish message error",
        TOO_MANY: "request too many",
    }
)
AUTH_CODES = (10000, PARAM_ERROR, AUTH_CHECK_ERROR, 20004, TOO_MANY)
TOPIC_CODES = (
    10000,
    PARAM_ERROR,
    TOKEN_EXPIRED,
    TOKEN_NULL,
    CHECK_TOKEN_ERROR,
    PUBLISH_ERROR,
    TOO_MANY,
)

# hmacsha256 is not in the seed; Alibaba's C SDK v4 uses nothing else.
METHODS = MappingProxyType({"hmacmd5": "md5", "hmacsha1": "sha1", "hmacsha256": "sha256"})
_UNSIGNED = ("version", "sign", "signmethod")
# clientId: the documents; the other two: the buffers of the C SDK v3.1.
_LONGEST = MappingProxyType({"productKey": 20, "deviceName": 32, "clientId": 64})
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
_WINDOW_S = 15 * 60
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Refused(Exception):
    """A business error: its code in the documents' tables."""

    def __init__(self, code: int) -> None:
        super().__init__(code, MESSAGES[code])
        self.code = code


@dataclass(frozen=True)
class Login:
    """A well-formed authentication request; nothing of it is verified yet."""

    product_key: str
    device_name: str
    timestamp_ms: int | None
    content: str
    sign: str = field(repr=False)
    method: str

    def is_signed_with(self, secret: str) -> bool:
        """Say whether `sign` is right; the hex digits may be of either case."""
        right = signature(self.content, secret, self.method)
        return hmac.compare_digest(self.sign.lower().encode(), right.encode())

    def is_timely(self, now: float) -> bool:
        """Say whether the timestamp, if there is one, is within 15 minutes of epoch second `now`.

        The documents count from its creation on; a clock that is ahead is refused as well.
        """
        return self.timestamp_ms is None or abs(now - self.timestamp_ms / 1000) <= _WINDOW_S


def content_of(parameters: Mapping[str, str]) -> str:
    """Return what is signed: every other parameter's name and value, sorted, not delimited."""
    signed = sorted(item for item in parameters.items() if item[0] not in _UNSIGNED)
    return "".join(name + value for name, value in signed)


def signature(content: str, secret: str, method: str) -> str:
    """Return the lower-case hex of `method` over `content`; the key is the secret's own text."""
    return hmac.new(secret.encode(), content.encode(), METHODS[method]).hexdigest()


def login(call: Call) -> Login:
    """Return what an authentication request says; Refused if it is malformed."""
    _check_type(call, "application/json")
    if "Content-Length" not in call.fields:  # the newer page: authentication fails without it
        raise Refused(AUTH_CHECK_ERROR)
    parameters = _parameters(call.body)
    for name, longest in _LONGEST.items():
        _check(0 < len(parameters.get(name, "")) <= longest)
    method = parameters.get("signmethod", "hmacmd5")
    timestamp = parameters.get("timestamp")
    _check(method in METHODS and "sign" in parameters)
    # The documents name one version, `default`, and allow it to be left blank.
    _check(parameters.get("version", "") in ("", "default"))
    _check(timestamp is None or _MILLISECONDS.fullmatch(timestamp) is not None)
    return Login(
        parameters["productKey"],
        parameters["deviceName"],
        None if timestamp is None else int(timestamp),
        content_of(parameters),
        parameters["sign"],
        method,
    )


def topic_of(call: Call) -> str:
    """Return the topic, with its leading slash, that a well-formed publish names; else Refused.

    No source has the answer to an empty payload: Alibaba's C SDKs refuse to send one, and so it
    is refused here. A body over the limit is one more wrong parameter, as no source has HTTP 413.
    """
    _check_type(call, "application/octet-stream")
    _check("Content-Length" in call.fields)
    _check(0 < len(call.body) <= LIMIT)
    _check("?" not in call.target)
    topic = _decoded(call.path[len(TOPIC) :])
    _check("" not in topic.split("/")[1:])  # one slash after /topic, and between levels
    _check(not set(topic) & set("+#\0"))
    return topic


def _check(kept: bool) -> None:
    if not kept:
        raise Refused(PARAM_ERROR)


def _check_type(call: Call, media_type: str) -> None:
    """Refuse another Content-Type; its parameters (charset) are tolerated."""
    given = call.fields.get("Content-Type", "").partition(";")[0]
    _check(given.strip().lower() == media_type)


def _parameters(body: bytes) -> dict[str, str]:
    """Return the members of a JSON object.

    Every documented value is a string. How a number would be spelled in the signed content, or
    which of two equal names counts, no source says: both are refused.
    """
    _check(len(body) <= LIMIT)
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=_Pairs)
        _check(isinstance(pairs, _Pairs))
        for name, value in pairs:
            (name + value).encode()  # neither another type nor half a surrogate pair
    except (ValueError, TypeError, RecursionError):
        raise Refused(PARAM_ERROR) from None
    parameters = dict(pairs)
    _check(len(parameters) == len(pairs))
    return parameters


class _Pairs(list[tuple[str, str]]):
    """Tells a JSON object from an array."""


def _decoded(text: str) -> str:
    """Return `text` percent-decoded once; + stays what it is."""
    _check(not _BAD_ESCAPE.search(text))
    try:
        return unquote_to_bytes(text.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError:
        raise Refused(PARAM_ERROR) from None
