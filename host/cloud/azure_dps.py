"""The Device Provisioning Service's interface for devices (PROTOCOLS 3.1 to 3.3).

Invariant: nothing is told of an enrolment before its device has attested itself. Registration IDs
are lower-cased once, so that a derived key has one spelling, and come back in lower case.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from http.client import responses
from types import MappingProxyType
from typing import Any

from host.cloud.azure_attestation import Attestation
from host.cloud.azure_registry import KEY, Device, Enrollment, Registry
from host.cloud.azure_request import (
    ARGUMENT_INVALID,
    UNAUTHORIZED,
    Refused,
    check_version,
    decoded,
    media_type,
    new_id,
    utc,
)
from host.cloud.http import Answer, Call
from host.cloud.store import Store

HOST = "global.azure-devices-provisioning.net"
ID_SCOPE = "0ne00111111"

_VERSIONS = ("2019-03-31", "2021-06-01", "2021-10-01")
_PATH = re.compile(r"/([^/]+)/registrations/([^/]+)(/register|/operations/([^/]+))?")
_REGISTRATION_ID = re.compile(r"[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]")
_BODY_LIMIT = 96 * 1024  # bytes; 413 is not among the documented statuses, so 400
_POLL_WINDOW_S = 10
_NO_SCOPE, _NO_OPERATION, _THROTTLED = 404002, 404202, 429001
_USUAL: Mapping[int, int] = MappingProxyType(
    {400: ARGUMENT_INVALID, 401: UNAUTHORIZED, 404: 404201}
)
_TABLES = (
    "CREATE TABLE IF NOT EXISTS azure_registrations"
    " (registration_id TEXT PRIMARY KEY, operation_id TEXT NOT NULL, state TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS azure_operations (operation_id TEXT PRIMARY KEY,"
    " registration_id TEXT NOT NULL, polls INTEGER NOT NULL, state TEXT NOT NULL)",
)


class Provisioning:
    """One DPS instance; an assignment is made at once and reported after some polls."""

    def __init__(self, store: Store, registry: Registry, id_scope: str = ID_SCOPE) -> None:
        self._store = store
        self._registry = registry
        self.id_scope = id_scope
        self._attestation = Attestation(registry, id_scope)
        self.assigning_polls = 0  # so many polls of a registration are answered "assigning"
        self.retry_after_s = 3  # as in the document
        self.poll_limit = 5  # for each device in ten seconds
        self._polls: dict[str, deque[float]] = {}
        self._reserved: dict[str, str] = {}
        for table in _TABLES:
            store.execute(table)

    def reserve_operation(self, registration_id: str) -> str:
        """Return the operation ID that the next registration of this ID will get."""
        return self._reserved.setdefault(registration_id.lower(), _operation_id())

    def answer(self, call: Call) -> Answer:
        """Check path, method, version, content, scope and attestation, then serve the call."""
        try:
            return self._served(call)
        except Refused as refused:
            answer = self.error(refused.code, refused.message, call.now)
            if refused.code != _THROTTLED:
                return answer
            return replace(answer, fields=(*answer.fields, self._retry_after()))

    def error(self, code: int, message: str, now: float) -> Answer:
        """Return the error answer of this number, whose first three digits are the status."""
        trace = new_id()
        body = {"errorCode": code, "trackingId": trace, "message": message}
        body["timestampUtc"] = utc(now)
        return _answer(code // 1000, body, trace, ("x-ms-error-code", str(code)))

    def error_of(self, status: int, now: float) -> Answer:
        """Return the usual error answer of an HTTP status."""
        message = responses.get(status, "Error")
        return self.error(_USUAL.get(status, status * 1000 + 1), message, now)

    def _served(self, call: Call) -> Answer:
        match = _PATH.fullmatch(call.path)
        if match is None:
            raise Refused(404000, "Not found")
        scope, registration, action, operation = match.groups()
        method = "POST" if action is None else "GET" if operation else "PUT"
        if call.method != method:
            raise Refused(405000, "Method not allowed")
        check_version(call, _VERSIONS)
        registration_id = _registration_id(decoded(registration))
        if not operation:
            _check_content(call, registration_id)
        if decoded(scope) != self.id_scope:
            raise Refused(_NO_SCOPE, "ID scope not found")
        enrollment, credential = self._attestation.check(call, registration_id)
        if not enrollment.enabled:
            return _disabled(registration_id)
        if operation:
            return self._poll(call, registration_id, decoded(operation))
        if action is None:
            return self._record(registration_id)
        return self._register(call, registration_id, enrollment, credential)

    def _register(
        self, call: Call, registration_id: str, enrollment: Enrollment, credential: bytes
    ) -> Answer:
        state = self._assigned(registration_id, enrollment, credential, call.now)
        operation = self._reserved.pop(registration_id, None) or _operation_id()
        text = json.dumps(state)
        self._store.execute(
            "INSERT INTO azure_operations VALUES (?, ?, ?, ?)",
            (operation, registration_id, self.assigning_polls, text),
        )
        self._store.execute(
            "INSERT OR REPLACE INTO azure_registrations VALUES (?, ?, ?)",
            (registration_id, operation, text),
        )
        location = f"https://{HOST}{call.path}"
        return self._assigning(operation, ("Location", location))

    def _assigned(
        self, registration_id: str, enrollment: Enrollment, credential: bytes, now: float
    ) -> dict[str, Any]:
        """Bring the device to its hub; the registration record, failed or assigned."""
        group = {"enrollmentGroupId": enrollment.name} if enrollment.grouped else {}
        before = self._state(registration_id) or {}
        state: dict[str, Any] = {"symmetricKey" if enrollment.kind == KEY else "x509": group}
        state["registrationId"] = registration_id
        state["createdDateTimeUtc"] = before.get("createdDateTimeUtc", utc(now))
        if enrollment.error_code:
            state |= {"status": "failed", "errorCode": enrollment.error_code}
            state["errorMessage"] = enrollment.error_message
        else:
            device_id = enrollment.device_id or registration_id
            state |= {"assignedHub": enrollment.hub, "deviceId": device_id, "status": "assigned"}
            state["substatus"] = self._placed(before, state, enrollment.kind, credential)
        return state | {"lastUpdatedDateTimeUtc": utc(now), "etag": _etag()}

    def _placed(
        self, before: dict[str, Any], state: dict[str, Any], kind: str, credential: bytes
    ) -> str:
        """Register the device at its hub, take it from the one before; the substatus."""
        hub, device_id = state["assignedHub"], state["deviceId"]
        there = self._registry.device(hub, device_id)
        enabled = there is None or there.enabled
        self._registry.put_device(Device(hub, device_id, kind, credential, enabled))
        if "assignedHub" not in before:
            return "initialAssignment"
        if (before["assignedHub"], before["deviceId"]) != (hub, device_id):
            self._registry.remove_device(before["assignedHub"], before["deviceId"])
            return "deviceDataMigrated"
        return before["substatus"] if there else "reprovisionedToInitialAssignment"

    def _poll(self, call: Call, registration_id: str, operation: str) -> Answer:
        self._check_rate(registration_id, call.now)
        polls, state = self._operation(registration_id, operation)
        if polls > 0:
            self._store.execute(
                "UPDATE azure_operations SET polls = polls - 1 WHERE operation_id = ?",
                (operation,),
            )
            return self._assigning(operation)
        body = {"operationId": operation, "status": state["status"], "registrationState": state}
        return _answer(200, body, new_id())

    def _record(self, registration_id: str) -> Answer:
        query = "SELECT operation_id FROM azure_registrations WHERE registration_id = ?"
        rows = self._store.execute(query, (registration_id,))
        if not rows:  # enrolled, but never registered
            state = {"registrationId": registration_id, "status": "unassigned"}
            return _answer(200, state, new_id())
        polls, state = self._operation(registration_id, rows[0][0])
        if polls > 0:
            state = {"registrationId": registration_id, "status": "assigning"}
        return _answer(200, state, new_id())

    def _check_rate(self, registration_id: str, now: float) -> None:
        polls = self._polls.setdefault(registration_id, deque())
        while polls and polls[0] <= now - _POLL_WINDOW_S:
            polls.popleft()
        if len(polls) >= self.poll_limit:
            raise Refused(_THROTTLED, "Too many requests")
        polls.append(now)

    def _operation(self, registration_id: str, operation: str) -> tuple[int, dict[str, Any]]:
        query = (
            "SELECT polls, state FROM azure_operations"
            " WHERE operation_id = ? AND registration_id = ?"
        )
        rows = self._store.execute(query, (operation, registration_id))
        if not rows:
            raise Refused(_NO_OPERATION, "Operation not found")
        return rows[0][0], json.loads(rows[0][1])

    def _state(self, registration_id: str) -> dict[str, Any] | None:
        query = "SELECT state FROM azure_registrations WHERE registration_id = ?"
        rows = self._store.execute(query, (registration_id,))
        return json.loads(rows[0][0]) if rows else None

    def _assigning(self, operation: str, *fields: tuple[str, str]) -> Answer:
        body = {"operationId": operation, "status": "assigning"}
        return _answer(202, body, new_id(), *fields, self._retry_after())

    def _retry_after(self) -> tuple[str, str]:
        return "Retry-After", str(self.retry_after_s)


def check_name(text: str) -> str:
    """Return a registration ID or the name of an enrolment; ValueError if it can be none."""
    if not _REGISTRATION_ID.fullmatch(text):
        raise ValueError(f"{text!r}: 1 to 128 of A-Z a-z 0-9 - . _ :, the last no . _ :")
    return text


def _check_content(call: Call, registration_id: str) -> None:
    if media_type(call) != "application/json":
        raise Refused(415000, "The Content-Type must be application/json")
    if len(call.body) > _BODY_LIMIT:
        raise Refused(ARGUMENT_INVALID, "The body is too long")
    try:
        body = json.loads(call.body)
    except (ValueError, RecursionError):
        raise Refused(ARGUMENT_INVALID, "The body is not JSON") from None
    named = body.get("registrationId") if isinstance(body, dict) else None
    if not isinstance(named, str) or named.lower() != registration_id:
        raise Refused(ARGUMENT_INVALID, "registrationId is not that of the path")


def _registration_id(text: str) -> str:
    try:
        return check_name(text).lower()
    except ValueError:
        raise Refused(ARGUMENT_INVALID, "Invalid registration ID") from None


def _disabled(registration_id: str) -> Answer:
    state = {"registrationId": registration_id, "status": "disabled"}
    body = {"operationId": "", "status": "disabled", "registrationState": state}
    return _answer(200, body, new_id())


def _answer(status: int, body: dict[str, Any], trace: str, *fields: tuple[str, str]) -> Answer:
    lines = (
        ("Content-Type", "application/json; charset=utf-8"),
        *fields,
        ("x-ms-request-id", trace),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    )
    text = json.dumps(body, separators=(",", ":")).encode()
    return Answer(status, text, lines, chunked=True)


def _operation_id() -> str:
    return f"5.{secrets.token_hex(8)}.{uuid.uuid4()}"


def _etag() -> str:
    return base64.b64encode(f'"{uuid.uuid4()}"'.encode()).decode()
