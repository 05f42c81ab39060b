"""The rules of AWS IoT's `POST /topics/{topic}` (PROTOCOLS 1.2; botocore's iot-data model).

Invariant: everything is decoded exactly once, and what does not decode is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from host.cloud.http import Call
from host.cloud.store import Message

PAYLOAD_LIMIT = 131072  # bytes

# Of both limits Basic Ingest's prefix is excepted ("Designing MQTT topics for AWS IoT Core").
_TOPIC_LIMIT = 256  # bytes of UTF-8
_SLASH_LIMIT = 7
_BASIC_INGEST = re.compile(r"\$aws/rules/[A-Za-z0-9_]+(/|$)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PREFIX = "/topics/"
_TEXTS = ("contentType", "responseTopic")
_NUMBER = re.compile(r"[0-9]{1,18}")
_INDICATORS = ("UNSPECIFIED_BYTES", "UTF8_DATA")
_FIELD = "x-amz-mqtt5-"


class Refused(Exception):
    """The endpoint's refusal: its status and the answer's message, None for JSON null."""

    def __init__(self, status: int, message: str | None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


def message(call: Call, device: str) -> Message:
    """Return the message that `call` publishes; Refused with 400, 404 or 405 if it does not."""
    if not call.path.startswith(_PREFIX):
        raise Refused(404, "Not Found")
    if call.method != "POST":
        raise Refused(405, "Method Not Allowed")
    topic = _topic(decoded(call.path[len(_PREFIX) :]))
    query = _query(call.query)
    retain = _choice(query, "retain", ("false", "true")) == 1
    if retain and topic.startswith("$"):
        raise Refused(400, "Reserved topics cannot be retained")
    qos = _choice(query, "qos", ("0", "1"))
    properties = _query_properties(query) | _field_properties(call)
    return Message(device, topic, call.body, qos, retain, properties, call.now)


def decoded(text: str) -> str:
    """Return `text` percent-decoded once; + stays what it is."""
    if _BAD_ESCAPE.search(text):
        raise Refused(400, "Invalid percent-encoding")
    try:
        return unquote_to_bytes(text.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError:
        raise Refused(400, "Not UTF-8") from None


def _topic(topic: str) -> str:
    ingest = _BASIC_INGEST.match(topic)
    counted = topic[ingest.end() if ingest else 0 :]
    rules = (
        (topic != "", "Topic is empty"),
        (len(counted.encode()) <= _TOPIC_LIMIT, "Topic is longer than 256 bytes"),
        (not set(topic) & set("+#\0"), "Topic contains a wildcard or U+0000"),
        (not topic.startswith("$") or ingest is not None, "Topic is reserved"),
        (counted.count("/") <= _SLASH_LIMIT, "Topic has more than 7 forward slashes"),
    )
    for kept, reason in rules:
        if not kept:
            raise Refused(400, reason)
    return topic


def _query(query: str) -> dict[str, str]:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    parameters = {decoded(name): decoded(value) for name, value in pairs}
    if len(parameters) != len(pairs):
        raise Refused(400, "A query parameter is given twice")
    return parameters


def _choice(query: dict[str, str], name: str, values: tuple[str, str]) -> int:
    value = query.get(name, values[0])
    if value not in values:
        raise Refused(400, f"{name} must be {values[0]} or {values[1]}")
    return values.index(value)


def _query_properties(query: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: query[name] for name in _TEXTS if name in query}
    if "responseTopic" in found and set(found["responseTopic"]) & set("+#\0"):
        raise Refused(400, "responseTopic contains a wildcard or U+0000")
    expiry = query.get("messageExpiry")
    if expiry is not None:
        if not _NUMBER.fullmatch(expiry):
            raise Refused(400, "messageExpiry must be a number of seconds")
        found["messageExpiry"] = int(expiry)
    return found


def _field_properties(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {}
    indicator = call.fields.get(f"{_FIELD}payload-format-indicator")
    if indicator is not None:
        if indicator not in _INDICATORS:
            raise Refused(400, "Invalid payload format indicator")
        found["payloadFormatIndicator"] = indicator
    correlation = call.fields.get(f"{_FIELD}correlation-data")
    if correlation is not None:
        _from_base64(correlation)
        found["correlationData"] = correlation
    user = call.fields.get(f"{_FIELD}user-properties")
    if user is not None:
        found["userProperties"] = _user_properties(_from_base64(user))
    return found


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "Invalid base64") from None


def _user_properties(data: bytes) -> list[dict[str, str]]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "User properties are not JSON") from None
    if not isinstance(value, list) or not all(_one_text(item) for item in value):
        raise Refused(400, "User properties must be an array of objects of one key")
    return value


def _one_text(item: object) -> bool:
    if not isinstance(item, dict) or len(item) != 1:
        return False
    return all(isinstance(text, str) for text in item.values())
