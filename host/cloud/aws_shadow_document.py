"""The documents of AWS IoT's device shadows (PROTOCOLS 1.5; AWS IoT developer guide, "Device
Shadow service documents" and "Device Shadow error messages").

Invariant: state and metadata have the same form; in the metadata every leaf is {"timestamp": s}.
What the guide leaves open is as AWS's own shadow service for gateways has it
(aws-greengrass-shadow-manager): how levels of nesting and the size are counted, when numbers are
equal, what an update with null answers.
"""

from __future__ import annotations

import json
from typing import Any

DOCUMENT_LIMIT = 8192  # bytes of desired and reported together, as compact JSON

_SECTIONS = ("desired", "reported")
_LEVELS = 6  # objects and arrays, the section itself counted
_TOKEN_LIMIT = 64  # bytes
_INVALID_NODE = "State contains an invalid node"

Document = dict[str, Any]


class Rejected(Exception):
    """The service's refusal: status, text, and the client token if the request had a good one."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.client_token: str | None = None


def request(body: bytes) -> Document:
    """Return the request state document; Rejected with 400 or 415."""
    try:
        request = json.loads(body.decode())
        _compact(request)  # NaN, 1e999 and half a surrogate pair are not JSON (RFC 8259)
    except UnicodeDecodeError:
        text = "Unsupported documented encoding; supported encoding is UTF-8"
        raise Rejected(415, text) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise Rejected(400, "Invalid JSON") from None
    if not isinstance(request, dict):
        raise Rejected(400, "Invalid JSON")
    return request


def client_token(request: Document) -> str | None:
    if "clientToken" not in request:
        return None
    token = request["clientToken"]
    if not isinstance(token, str) or len(token.encode()) > _TOKEN_LIMIT:
        raise Rejected(400, "Invalid clientToken")
    return token


def checked_state(request: Document) -> Document:
    """Return the state that the request asks for; Rejected with 400 if anything is not valid."""
    version = request.get("version", 0)
    if type(version) is not int or version < 0:
        raise Rejected(400, "Invalid version")
    if "state" not in request:
        raise Rejected(400, "Missing required node: state")
    state = request["state"]
    if not isinstance(state, dict):
        raise Rejected(400, "State node must be an object")
    # The guide names no other nodes. That they are refused, the answer's own "metadata" and
    # "delta" among them, is strict.
    if set(request) - {"state", "version", "clientToken"} or set(state) - set(_SECTIONS):
        raise Rejected(400, _INVALID_NODE)
    for section, value in state.items():
        if value is not None and not isinstance(value, dict):
            raise Rejected(400, f"{section.capitalize()} node must be an object")
        _check_nodes(value, 1, False)
    return state


def _check_nodes(value: object, level: int, in_array: bool) -> None:
    """Refuse what is nested too deep, and null in an array at whatever depth."""
    if value is None and in_array:
        raise Rejected(400, _INVALID_NODE)
    if not isinstance(value, (dict, list)):
        return
    if level > _LEVELS:
        raise _too_deep()
    for child in value.values() if isinstance(value, dict) else value:
        _check_nodes(child, level + 1, in_array or isinstance(value, list))


def _too_deep() -> Rejected:
    return Rejected(400, f"JSON contains too many levels of nesting; maximum is {_LEVELS}")


def updated(document: Document | None, state: Document, now: int) -> Document:
    """Return `document` (None: there is none yet) with `state` laid over it; Rejected with 413."""
    document = document or {"state": {}, "metadata": {}}
    _merge(document["state"], document["metadata"], state, now)
    for section in _SECTIONS:  # an empty one is no section
        if not document["state"].get(section):
            document["state"].pop(section, None)
            document["metadata"].pop(section, None)
    if sum(len(_compact(part)) for part in document["state"].values()) > DOCUMENT_LIMIT:
        raise Rejected(413, "The payload exceeds the maximum size allowed")
    return document


def _merge(state: Document, metadata: Document, patch: Document, now: int) -> None:
    """Lay `patch` over `state`: null deletes, objects merge, all else (arrays too) replaces."""
    for name, value in patch.items():
        gone = value is None
        if isinstance(value, dict):
            new = not isinstance(state.get(name), dict)
            if new:
                state[name], metadata[name] = {}, {}
            _merge(state[name], metadata[name], value, now)
            gone = new and bool(value) and not state[name]  # it was nothing but nulls
        else:
            state[name], metadata[name] = value, stamps(value, now)
        if gone:
            del state[name], metadata[name]


def stamps(value: Any, now: int) -> Any:
    """Return the metadata of `value`: every leaf, null too, with the time of its update."""
    if isinstance(value, dict):
        return {name: stamps(child, now) for name, child in value.items()}
    if isinstance(value, list):
        return [stamps(child, now) for child in value]
    return {"timestamp": now}


def with_delta(document: Document) -> Document:
    state = document["state"]
    delta = _delta(state.get("desired", {}), state.get("reported", {}))
    return {**document, "state": {**state, "delta": delta}} if delta else document


def _delta(desired: Document, reported: Document) -> Document:
    """Return what of `desired` differs from `reported` or is missing there, with its path."""
    found = {}
    for name, wanted in desired.items():
        have = reported.get(name)
        if isinstance(wanted, dict) and isinstance(have, dict):
            inner = _delta(wanted, have)
            if inner:
                found[name] = inner
        elif not _same(wanted, have):
            found[name] = wanted
    return found


def _same(wanted: object, have: object) -> bool:
    if type(wanted) in (int, float) and type(have) in (int, float):
        return wanted == have
    return json.dumps(wanted, sort_keys=True) == json.dumps(have, sort_keys=True)  # true is not 1


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
