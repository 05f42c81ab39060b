"""Reading AWS IoT's retained messages back (PROTOCOLS 1.2; botocore's iot-data model).

Invariant: a retained message is the last one that was published to its topic with retain=true,
unless that one was empty.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qsl

from host.cloud.aws_publish import Refused, decoded
from host.cloud.aws_registry import Principal, Registry
from host.cloud.http import Call
from host.cloud.store import Message, Store

_PATH = "/retainedMessage"
_PAGE = 50  # topics, if the request does not say; no source has the service's own
_PAGE_SIZE = re.compile(r"[1-9][0-9]?|1[0-9][0-9]|200")


def is_retained_path(path: str) -> bool:
    """Say whether `path` (percent-encoded) is one of these two operations'."""
    return path == _PATH or path.startswith(f"{_PATH}/")


def document(call: Call, caller: Principal, store: Store, registry: Registry) -> dict[str, Any]:
    """Return what a call for which is_retained_path asks for; Refused with 400 to 405."""
    if call.method != "GET":
        raise Refused(405, "Method Not Allowed")
    if not caller.data:
        raise Refused(403, "Forbidden")
    if call.path == _PATH:
        # AWS lets a principal see all topics or none; here it sees those that it may publish to.
        seen = (m for m in store.all_retained() if registry.allows(caller.policy, m.topic))
        return _page(list(seen), dict(parse_qsl(call.query, keep_blank_values=True)))
    topic = decoded(call.path[len(_PATH) + 1 :])
    if not registry.allows(caller.policy, topic):
        raise Refused(403, None)
    message = store.retained(topic)
    if message is None:
        raise Refused(404, "Not Found")
    found = {**_summary(message), "payload": _base64(message.payload)}
    del found["payloadSize"]
    if "userProperties" in message.properties:
        text = json.dumps(message.properties["userProperties"], separators=(",", ":"))
        found["userProperties"] = _base64(text.encode())
    return found


def _page(messages: list[Message], query: dict[str, str]) -> dict[str, Any]:
    """Return one page of the list, which is in the order of the topics."""
    size = query.get("maxResults", str(_PAGE))
    if not _PAGE_SIZE.fullmatch(size):
        raise Refused(400, "maxResults must be 1 to 200")
    try:
        last = base64.b64decode(query.get("nextToken", ""), b"-_", validate=True).decode()
    except ValueError:
        raise Refused(400, "Invalid nextToken") from None
    rest = [message for message in messages if message.topic > last]
    page = rest[: int(size)]
    found: dict[str, Any] = {"retainedTopics": [_summary(message) for message in page]}
    if len(rest) > len(page):
        found["nextToken"] = base64.urlsafe_b64encode(page[-1].topic.encode()).decode()
    return found


def _summary(message: Message) -> dict[str, Any]:
    return {
        "topic": message.topic,
        "payloadSize": len(message.payload),
        "qos": message.qos,
        "lastModifiedTime": int(message.received * 1000),
    }


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
