"""The IoT hubs' interface for devices over HTTPS (PROTOCOLS 3.4, 3.5 and 3.7).

Invariant: what an answer tells of a device, it tells only to who has authenticated as it; that a
device does not exist is told to everyone who comes with credentials, as the real service does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from host.cloud import azure_telemetry, azure_x509, sas
from host.cloud.azure_c2d import LOCK_S, CloudToDevice, LockLost, Queued
from host.cloud.azure_registry import AUTHORITY, CERTIFICATE, KEY, Device, Registry
from host.cloud.azure_request import (
    ARGUMENT_INVALID,
    UNAUTHORIZED,
    Refused,
    check_version,
    decoded,
    new_id,
    parameters,
    utc,
)
from host.cloud.http import Answer, Call
from host.cloud.store import Message, Store

_VERSIONS = ("2016-11-14", "2019-10-01", "2020-03-13", "2020-09-30", "2021-04-12")
_PATH = re.compile(
    r"/devices/([^/]+)/messages/(?:(events)|devicebound(?:/([^/]+)(/abandon)?)?)", re.IGNORECASE
)
_DEVICE_ID = re.compile(r"[A-Za-z0-9.+%_#*?!(),:=@$'-]{1,128}")
_SECONDS = re.compile(r"[0-9]{1,3}")
_LOCK_S = range(5, 301)  # what IotHub-MessageLockTimeout may ask for; not settled
_NAMES: Mapping[int, str] = MappingProxyType(
    {
        400001: "InvalidProtocolVersion",
        400004: "ArgumentInvalid",
        400006: "IotHubFormatError",
        401002: "IotHubUnauthorizedAccess",
        403002: "IotHubQuotaExceeded",
        404000: "NotFound",
        404001: "DeviceNotFound",
        405000: "MethodNotAllowed",
        411000: "LengthRequired",
        412002: "DeviceMessageLockLost",
        413001: "MessageTooLarge",
        415000: "UnsupportedMediaType",
        429001: "ThrottlingException",
        500001: "ServerError",
        503001: "ServiceUnavailable",
        504101: "GatewayTimeout",
    }
)


class Hubs:
    """All hubs of one account."""

    def __init__(self, store: Store, registry: Registry, names: Iterable[str]) -> None:
        self._store = store
        self._registry = registry
        self._names = {name.lower(): name for name in names}
        self.queues = CloudToDevice(store)

    def name(self, host: str) -> str | None:
        """Return the hub's name as it was given, None if there is no such hub."""
        return self._names.get(host.lower())

    def remove(self, name: str) -> None:
        """The hub is not there any more; what it has received stays."""
        del self._names[name.lower()]

    def answer(self, call: Call, hub: str) -> Answer:
        """Check path, method, version, who calls and whether he may, then serve the call."""
        try:
            return self._served(call, hub)
        except Refused as refused:
            return self.error(refused.code, refused.message, call.now)

    def error(self, code: int, message: str, now: float) -> Answer:
        """Return the error answer of this number, whose first three digits are the status."""
        name = _NAMES[code]
        trace = f"Tracking ID:{new_id().replace('-', '')}-G:0-TimeStamp:{utc(now)}"
        body = {"Message": f"ErrorCode:{name};{message}", "ExceptionMessage": trace}
        fields = (
            ("Content-Type", "application/json; charset=utf-8"),
            ("iothub-errorcode", name),
        )
        return _answer(code // 1000, json.dumps(body, separators=(",", ":")).encode(), fields)

    def error_of(self, status: int, now: float) -> Answer:
        """Return the hub's usual error answer of an HTTP status."""
        usual = {400: ARGUMENT_INVALID, 404: 404001}  # of several, what a device meets most
        code = usual.get(status) or next((one for one in _NAMES if one // 1000 == status), 500001)
        return self.error(code, _NAMES[code], now)

    def _served(self, call: Call, hub: str) -> Answer:
        match = _PATH.fullmatch(call.path)
        if match is None:
            raise Refused(404000, "Not found")
        identity, events, token, abandon = match.groups()
        serve = self._by_method(call.method, events, token, abandon)
        if serve is None:
            raise Refused(405000, "Method not allowed")
        check_version(call, _VERSIONS, 400001)
        device_id = decoded(identity)
        if not _DEVICE_ID.fullmatch(device_id):
            raise Refused(ARGUMENT_INVALID, "Invalid device ID")
        device = self._device(call, hub, device_id)
        if call.method == "POST" and not _has_length(call):
            raise Refused(411000, "Length required")
        return serve(call, device, decoded(token or ""))

    def _by_method(
        self, method: str, events: str | None, token: str | None, abandon: str | None
    ) -> Callable[[Call, Device, str], Answer] | None:
        if events:
            return self._events if method == "POST" else None
        if token is None:
            return self._receive if method == "GET" else None
        if abandon:
            return self._abandon if method == "POST" else None
        return self._settle if method == "DELETE" else None

    # -- Who calls -------------------------------------------------------------------------------

    def _device(self, call: Call, hub: str, device_id: str) -> Device:
        """Return the device that `call` has authenticated as; Refused with 401 or 404."""
        authorization = call.fields.get("Authorization")
        if authorization is None and call.certificate is None:
            raise Refused(UNAUTHORIZED, "Unauthorized")
        device = self._registry.device(hub, device_id)
        if device is None:
            raise Refused(404001, "Device not found")
        if authorization is not None:
            good = self._is_signed(call, authorization, device)
        else:
            good = self._is_certified(call, device)
        if not good:
            raise Refused(UNAUTHORIZED, "Unauthorized")
        if not device.enabled:  # told as the documentation of 404001 has it
            raise Refused(404001, "Device not found")
        return device

    def _is_signed(self, call: Call, authorization: str, device: Device) -> bool:
        try:
            token = sas.parse(authorization)
            token.check_time(call.now)
        except sas.SasError:
            return False
        host, _, rest = token.resource.partition("/")
        if host.lower() != device.hub:
            return False
        own = f"devices/{device.device_id}"
        if token.key_name is None:
            return device.kind == KEY and rest == own and token.signed_by(device.material)
        key = self._registry.policy_key(device.hub, token.key_name)
        return key is not None and rest in ("", "devices", own) and token.signed_by(key)

    def _is_certified(self, call: Call, device: Device) -> bool:
        leaf = call.chain[0]
        try:
            if device.kind == AUTHORITY:
                azure_x509.check_client(leaf, device.device_id, call.now)
            else:
                azure_x509.check_use(leaf, call.now)
        except azure_x509.CertificateError:
            return False
        if device.kind == AUTHORITY:
            known = self._registry.authorities(device.hub)
            return azure_x509.leads(leaf, call.chain[1:], known, call.now)
        return device.kind == CERTIFICATE and device.material == leaf

    # -- The calls -------------------------------------------------------------------------------

    def _events(self, call: Call, device: Device, token: str) -> Answer:
        topic = f"devices/{device.device_id}/messages/events"
        for event in azure_telemetry.events(call, f"/{topic}"):
            properties = {
                "hub": self._names[device.hub],
                "application": event.application,
                "system": event.system,
            }
            message = Message(
                device.device_id,
                topic,
                event.payload,
                properties=properties,
                received=call.now,
            )
            self._store.add(message)
        return _answer(204)

    def _receive(self, call: Call, device: Device, token: str) -> Answer:
        asked = call.fields.get("IotHub-MessageLockTimeout", str(LOCK_S))
        if not _SECONDS.fullmatch(asked) or int(asked) not in _LOCK_S:
            raise Refused(ARGUMENT_INVALID, "Invalid IotHub-MessageLockTimeout")
        found = self.queues.receive(device.hub, device.device_id, call.now, int(asked))
        if found is None:
            return _answer(204)
        lock, message = found
        return _answer(200, message.payload, (("ETag", f'"{lock}"'), *_c2d_fields(message)))

    def _settle(self, call: Call, device: Device, token: str) -> Answer:
        given = parameters(call)
        if given.get("reject") is not None:
            raise Refused(ARGUMENT_INVALID, "reject has no value")
        settle = self.queues.reject if "reject" in given else self.queues.complete
        return self._done(settle, call, device, token)

    def _abandon(self, call: Call, device: Device, token: str) -> Answer:
        return self._done(self.queues.abandon, call, device, token)

    def _done(
        self,
        settle: Callable[[str, str, str, float], None],
        call: Call,
        device: Device,
        token: str,
    ) -> Answer:
        match = call.fields.get("If-Match", token)
        try:
            if match not in (token, f'"{token}"'):
                raise LockLost
            settle(device.hub, device.device_id, token, call.now)
        except LockLost:
            raise Refused(412002, "The lock was lost") from None
        return _answer(204)


def _has_length(call: Call) -> bool:
    return "Content-Length" in call.fields or "Transfer-Encoding" in call.fields


def _c2d_fields(message: Queued) -> list[tuple[str, str]]:
    """Return the properties; a time is written as everywhere else, which is not settled."""
    fields = {"iothub-sequencenumber": str(message.sequence), **message.fields}
    if message.expires is not None:
        fields["iothub-expiry"] = utc(message.expires)
    fields["iothub-deliverycount"] = str(message.deliveries)
    fields["iothub-enqueuedtime"] = utc(message.enqueued)
    return list(fields.items())


def _answer(status: int, body: bytes = b"", fields: Iterable[tuple[str, str]] = ()) -> Answer:
    always = (
        ("Vary", "Origin"),
        ("Server", "Microsoft-HTTPAPI/2.0"),
        ("x-ms-request-id", new_id()),
    )
    return Answer(status, body, (*fields, *always))
