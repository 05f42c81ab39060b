"""AWS IoT's device shadows over HTTPS (PROTOCOLS 1.5; AWS IoT developer guide, "Device Shadow REST
API" and "Interacting with shadows").

Invariant: a request changes the whole shadow or nothing of it.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import parse_qsl, unquote

from host.cloud import aws_shadow_document as documents
from host.cloud.aws_registry import Principal, Registry
from host.cloud.aws_shadow_document import Document, Rejected
from host.cloud.http import Call
from host.cloud.store import Store

_REMEMBERED_S = 48 * 3600  # how long the version of a deleted shadow is kept
_PAGE = 25  # names, if the request does not say
_SHADOW_PATH = re.compile(r"/things/([^/]+)/shadow")
_LIST_PATH = re.compile(r"/api/things/shadow/ListNamedShadowsForThing/([^/]+)")
_THING = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_SHADOW = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")
_PAGE_SIZE = re.compile(r"[1-9][0-9]?|100")
_OPERATIONS = {"GET": "get", "POST": "update", "DELETE": "delete"}
_TABLE = (
    "CREATE TABLE IF NOT EXISTS aws_shadows (thing TEXT NOT NULL, name TEXT NOT NULL,"
    " version INTEGER NOT NULL, document TEXT, changed REAL NOT NULL, PRIMARY KEY (thing, name))"
)


def is_shadow_path(path: str) -> bool:
    """Say whether `path` (percent-encoded) is one of the shadow service's."""
    return bool(_SHADOW_PATH.fullmatch(path) or _LIST_PATH.fullmatch(path))


class Shadows:
    """The classic and the named shadows of the account's things, in a table of the store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        store.execute(_TABLE)

    def answer(self, call: Call, caller: Principal) -> tuple[int, Document]:
        """Process one call for which is_shadow_path; return status and response document."""
        now = int(call.now)
        try:
            return 200, self._document(call, caller) | {"timestamp": now}
        except Rejected as rejected:
            document = {"code": rejected.status, "message": rejected.message, "timestamp": now}
            if rejected.client_token is not None:
                document["clientToken"] = rejected.client_token
            return rejected.status, document

    def _document(self, call: Call, caller: Principal) -> Document:
        """Check method, names and policy, in this order, and do what is asked."""
        query = dict(parse_qsl(call.query, keep_blank_values=True))
        listing = _LIST_PATH.fullmatch(call.path)
        if listing:
            thing = _thing(listing[1])
            if call.method != "GET":
                raise Rejected(405, "Method Not Allowed")
            # MQTT has no such operation: who may see what lies under this topic may list it.
            self._check_policy(caller, thing, f"$aws/things/{thing}/shadow/name")
            return self._names(thing, query)
        match = _SHADOW_PATH.fullmatch(call.path)
        assert match is not None
        return self._one(call, caller, _thing(match[1]), query)

    def _one(self, call: Call, caller: Principal, thing: str, query: dict[str, str]) -> Document:
        operation = _OPERATIONS.get(call.method)
        if operation is None:
            raise Rejected(405, "Method Not Allowed")
        name = query.get("name", "")  # "": the classic shadow
        if "name" in query and not _SHADOW.fullmatch(name):
            raise Rejected(400, "Invalid shadowName")
        named = f"/name/{name}" if name else ""
        self._check_policy(caller, thing, f"$aws/things/{thing}/shadow{named}/{operation}")
        # The service's list of errors has it; that a shadow needs a registered thing is strict.
        if not self._registry.has_thing(thing):
            raise Rejected(404, "Thing not found")
        if operation == "update":
            return self._update(call, thing, name)
        with self._store.lock:
            version, document = self._load(thing, name, call.now)
            if document is None:
                raise Rejected(404, f"No shadow exists with name: '{name or thing}'")
            if operation == "get":
                return {**documents.with_delta(document), "version": version}
            self._save(thing, name, version, None, call.now)
            return {"version": version}

    def _check_policy(self, caller: Principal, thing: str, topic: str) -> None:
        # AWS's usual policy names ${iot:Connection.Thing.ThingName}: a certificate's own thing.
        own = caller.thing in (None, thing)
        if not (caller.data and own and self._registry.allows(caller.policy, topic)):
            raise Rejected(403, "Forbidden")

    def _update(self, call: Call, thing: str, name: str) -> Document:
        request = documents.request(call.body)
        token = documents.client_token(request)
        try:
            answer = self._apply(request, thing, name, call.now)
        except Rejected as rejected:
            rejected.client_token = token
            raise
        return answer if token is None else {**answer, "clientToken": token}

    def _apply(self, request: Document, thing: str, name: str, now: float) -> Document:
        state = documents.checked_state(request)
        with self._store.lock:
            version, document = self._load(thing, name, now)
            if request.get("version", version) != version:
                raise Rejected(409, "Version conflict")
            document = documents.updated(document, state, int(now))
            self._save(thing, name, version + 1, document, now)
        metadata = documents.stamps(state, int(now))
        return {"state": state, "metadata": metadata, "version": version + 1}

    def _names(self, thing: str, query: dict[str, str]) -> Document:
        size = query.get("pageSize", str(_PAGE))
        if not _PAGE_SIZE.fullmatch(size):
            raise Rejected(400, "pageSize must be 1 to 100")
        sql = (
            "SELECT name FROM aws_shadows WHERE thing = ? AND name > ? AND document IS NOT NULL"
            " ORDER BY name LIMIT ?"
        )
        rows = self._store.execute(sql, (thing, _last(query), int(size) + 1))
        names = [name for (name,) in rows[: int(size)]]
        if len(rows) == len(names):
            return {"results": names}
        token = base64.urlsafe_b64encode(names[-1].encode()).decode()
        return {"results": names, "nextToken": token}

    def _load(self, thing: str, name: str, now: float) -> tuple[int, Document | None]:
        """Return version and document; 0 and None for a shadow that nobody remembers."""
        sql = "SELECT version, document, changed FROM aws_shadows WHERE thing = ? AND name = ?"
        for version, document, changed in self._store.execute(sql, (thing, name)):
            if document is not None:
                return version, json.loads(document)
            if now - changed <= _REMEMBERED_S:
                return version, None
        return 0, None

    def _save(
        self, thing: str, name: str, version: int, document: Document | None, now: float
    ) -> None:
        text = None if document is None else json.dumps(document)
        row = (thing, name, version, text, now)
        self._store.execute("INSERT OR REPLACE INTO aws_shadows VALUES (?, ?, ?, ?, ?)", row)


def _thing(escaped: str) -> str:
    thing = unquote(escaped)
    if not _THING.fullmatch(thing):
        raise Rejected(400, "Invalid thingName")
    return thing


def _last(query: dict[str, str]) -> str:
    """Return the last name of the page before, "" if this is the first one."""
    try:
        name = base64.urlsafe_b64decode(query.get("nextToken", "")).decode()
    except ValueError:
        name = "/"
    if name and not _SHADOW.fullmatch(name):
        raise Rejected(400, "Invalid nextToken")
    return name
