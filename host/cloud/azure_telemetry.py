"""What a device may send to its hub: messages, their properties, batches (PROTOCOLS 3.4)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from host.cloud.azure_request import ARGUMENT_INVALID, Refused, media_type
from host.cloud.http import Call

LIMIT = 256 * 1024  # bytes: the body and the properties, of a batch all of them
APPLICATION = "iothub-app-"

_FORMAT_ERROR, _TOO_LARGE, _UNSUPPORTED = 400006, 413001, 415000
_BATCH = "application/vnd.microsoft.iothub.json"
_BATCH_KEYS = {"body", "base64Encoded", "properties"}
_TEXT = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]*")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}")
_ACKS = ("none", "positive", "negative", "full")
_SYSTEM = (
    "iothub-messageid",
    "iothub-correlationid",
    "iothub-userid",
    "iothub-contenttype",
    "iothub-contentencoding",
    "iothub-creationtimeutc",
    "iothub-expiry",
    "iothub-ack",
    "iothub-messageschema",
    "iothub-interface-id",
    "iothub-to",
    "dt-subject",
)
_TIMES = ("iothub-creationtimeutc", "iothub-expiry")


@dataclass
class Event:
    """One message from a device, not yet with its device and time."""

    payload: bytes
    system: dict[str, str] = field(default_factory=dict)  # without "iothub-"
    application: dict[str, str] = field(default_factory=dict)

    def size(self) -> int:
        """Return the bytes that count against the limit."""
        names = [*self.system.values(), *self.application, *self.application.values()]
        return len(self.payload) + sum(len(text.encode()) for text in names)


def events(call: Call, to: str) -> list[Event]:
    """Return what `call` posts, one or a batch, to the topic `to`; Refused with 400, 413, 415."""
    kind = media_type(call)
    if len(call.body) > LIMIT:
        raise Refused(_TOO_LARGE, "The message is too large")
    if kind.startswith("application/vnd.microsoft.iothub.") and kind != _BATCH:
        raise Refused(_UNSUPPORTED, "The Content-Type is not that of a batch")
    made = _batch(call.body, to) if kind == _BATCH else [_event(call.body, _fields(call), to)]
    if sum(event.size() for event in made) > LIMIT:
        raise Refused(_TOO_LARGE, "The message is too large")
    return made


def is_property(name: str, value: str) -> bool:
    """Say whether both keep to the characters that HTTPS may carry."""
    return name != "" and all(_TEXT.fullmatch(text) for text in (name, value))


def _fields(call: Call) -> list[tuple[str, str]]:
    return [(name, value.strip(" \t")) for name, value in call.fields.items()]


def _event(payload: bytes, fields: Iterable[tuple[str, str]], to: str) -> Event:
    """Return the message; fields that are no properties say nothing to the hub."""
    event = Event(payload)
    for name, value in fields:
        lower = name.lower()
        if lower.startswith(APPLICATION):
            name = name[len(APPLICATION) :]
            if not is_property(name, value):
                raise Refused(ARGUMENT_INVALID, "A property that HTTPS cannot carry")
            _put(event.application, name, value)
        elif lower in _SYSTEM:
            _check_system(lower, value, to)
            _put(event.system, lower.removeprefix("iothub-"), value)
    return event


def _put(properties: dict[str, str], name: str, value: str) -> None:
    if name in properties:  # what the hub makes of it is not settled: strict
        raise Refused(ARGUMENT_INVALID, "A property is given twice")
    properties[name] = value


def _check_system(name: str, value: str, to: str) -> None:
    good = value.isascii()
    if name == "iothub-messageid":
        good = _MESSAGE_ID.fullmatch(value) is not None
    elif name == "iothub-ack":
        good = value in _ACKS
    elif name == "iothub-to":
        good = value.lower() == to.lower()
    elif name in _TIMES:
        good = _is_time(value)
    if not good:
        raise Refused(ARGUMENT_INVALID, f"Invalid {name}")


def _is_time(text: str) -> bool:
    """Say whether `text` is ISO 8601; Python 3.10 takes no Z and no 7 fractional digits."""
    try:
        datetime.fromisoformat(re.sub(r"(\.[0-9]{1,7})?Z?$", "", text))
    except ValueError:
        return False
    return "T" in text


def _batch(body: bytes, to: str) -> list[Event]:
    try:
        items = json.loads(body)
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(items, list) or not items:
        raise _malformed()
    return [_item(item, to) for item in items]


def _item(item: Any, to: str) -> Event:
    if not isinstance(item, dict) or not set(item) <= _BATCH_KEYS:
        raise _malformed()
    body, encoded = item.get("body"), item.get("base64Encoded", True)
    properties = item.get("properties", {})
    if not isinstance(body, str) or not isinstance(encoded, bool):
        raise _malformed()
    if not isinstance(properties, dict) or not all(
        _is_known(*pair) for pair in properties.items()
    ):
        raise _malformed()
    try:
        payload = base64.b64decode(body, validate=True) if encoded else body.encode()
    except (binascii.Error, ValueError):
        raise _malformed() from None
    return _event(payload, properties.items(), to)


def _is_known(name: str, value: Any) -> bool:
    lower = name.lower()
    return isinstance(value, str) and (lower.startswith(APPLICATION) or lower in _SYSTEM)


def _malformed() -> Refused:
    return Refused(_FORMAT_ERROR, "The batch is not of the documented form")
