"""Azure as a device sees it over HTTPS: its provisioning service and its IoT hubs (PROTOCOLS 3).

Invariant: what the real services refuse is refused here with their status, number and body form.
Where no source settles a point, the choice is strict and stands beside the code.

One listener has all of it, as one address may have many names: the Host field decides. TLS asks
for a client certificate and takes any or none; the services answer 401 to a wrong one.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from host.certs import LOCAL_HOSTS, Authority, Pair, write_file
from host.cloud import azure_c2d, azure_x509, sas
from host.cloud.azure_dps import HOST as DPS_HOST
from host.cloud.azure_dps import ID_SCOPE, Provisioning, check_name
from host.cloud.azure_hub import Hubs
from host.cloud.azure_registry import (
    AUTHORITY,
    CERTIFICATE,
    DPS,
    KEY,
    Device,
    Enrollment,
    Registry,
)
from host.cloud.azure_request import new_id
from host.cloud.azure_telemetry import APPLICATION, LIMIT, is_property
from host.cloud.http import Answer, Call
from host.cloud.store import Store
from host.cloud.tls import optional_client_context

HUB = "MyExampleHub.azure-devices.net"

__all__ = ("HUB", "ID_SCOPE", "AzureCloud")

_HUBS = ".azure-devices.net"


class AzureCloud:
    """One account: a DPS instance (`dps`), its linked hubs (`hubs`), and who may use them."""

    body_limit = LIMIT

    def __init__(
        self,
        authority: Authority,
        store: Store | None = None,
        id_scope: str = ID_SCOPE,
        hubs: Sequence[str] = (HUB,),
        server: Pair | None = None,
    ) -> None:
        """Make the services; ValueError for hubs that Azure could not have.

        `server` takes the place of the right server certificate, to present a wrong one.
        """
        if not hubs or not all(hub.lower().endswith(_HUBS) for hub in hubs):
            raise ValueError(f"hubs {hubs!r}: want names that end in {_HUBS}")
        self.authority = authority
        self.store = store or Store()
        self.registry = Registry(self.store)
        self.dps = Provisioning(self.store, self.registry, id_scope)
        self.hubs = Hubs(self.store, self.registry, hubs)
        self._first_hub = hubs[0]
        names = (*LOCAL_HOSTS, DPS_HOST, f"*{_HUBS}")
        # The name is one that no device can have.
        self._server = server or authority.server(names, name="_azure")

    # -- What the server asks of a cloud ---------------------------------------------------------

    def tls(self) -> ssl.SSLContext:
        return optional_client_context(self._server)

    def answer(self, call: Call) -> Answer:
        """Hand `call` to the service that its Host field names."""
        host = _host(call)
        if host == DPS_HOST:
            return self.dps.answer(call)
        hub = self.hubs.name(host)
        if hub is None:  # as http.sys answers for a name that it does not serve
            text = b"<HTML><BODY><h2>Bad Request - Invalid Hostname</h2></BODY></HTML>\r\n"
            return Answer(400, text, (("Content-Type", "text/html; charset=us-ascii"),))
        return self.hubs.answer(call, hub)

    def error(self, status: int) -> Answer:
        """Return a hub's error answer, also for a request that could not be read."""
        return self.hubs.error_of(status, time.time())

    def error_for(self, call: Call, status: int) -> Answer:
        """Return the error answer of the service that `call` is meant for."""
        if _host(call) == DPS_HOST:
            return self.dps.error_of(status, call.now)
        return self.hubs.error_of(status, call.now)

    # -- Provisioning ----------------------------------------------------------------------------

    def enroll(
        self,
        registration_id: str,
        certificate: bytes | Path | None = None,
        key: str | None = None,
        device_id: str = "",
        hub: str = "",
    ) -> None:
        """Add an individual enrolment: by the device's certificate (PEM or DER) or base64 key.

        `device_id` is empty for the registration ID, `hub` for the first; ValueError.
        """
        name = check_name(registration_id)
        kind, material = _attested_by(certificate, key)
        hub = self._hub(hub)
        self.registry.enroll(Enrollment(name, kind, material, hub, device_id=device_id))

    def enroll_group(
        self,
        name: str,
        certificate: bytes | Path | None = None,
        key: str | None = None,
        hub: str = "",
    ) -> None:
        """Add an enrolment group: by the CA that issues, or the key that derives; ValueError."""
        name = check_name(name)
        kind, material = _attested_by(certificate, key)
        if kind == CERTIFICATE:
            azure_x509.check_authority(material)
        self.registry.enroll(Enrollment(name, kind, material, self._hub(hub), grouped=True))

    def verify_authority(self, certificate: bytes | Path, hub: str = "") -> None:
        """Upload a CA certificate as a verified one, to DPS or to `hub`; ValueError."""
        made = _der(certificate)
        azure_x509.check_authority(made)
        self.registry.add_authority(made, self._hub(hub) if hub else DPS)

    def disable_enrollment(self, name: str, disabled: bool = True) -> None:
        self.registry.enroll(replace(self._enrollment(name), enabled=not disabled))

    def fail_enrollment(self, name: str, error_code: int, message: str) -> None:
        """Make every later assignment fail, as with 400207 to 400209; 0 makes it good again."""
        found = self._enrollment(name)
        self.registry.enroll(replace(found, error_code=error_code, error_message=message))

    def move_enrollment(self, name: str, hub: str) -> None:
        """Choose another hub; a device stays where it is until it registers again."""
        self.registry.enroll(replace(self._enrollment(name), hub=self._hub(hub)))

    # -- Hubs ------------------------------------------------------------------------------------

    def add_device(
        self,
        hub: str,
        device_id: str,
        certificate: bytes | Path | None = None,
        key: str | None = None,
    ) -> None:
        """Register a device at `hub`; with neither, any certificate of a verified CA will do."""
        kind, material = AUTHORITY, b""
        if certificate is not None or key is not None:
            kind, material = _attested_by(certificate, key)
        self.registry.put_device(Device(self._hub(hub), device_id, kind, material))

    def add_policy(self, hub: str, name: str, key: str) -> None:
        """Add a shared access policy that may act for every device of `hub`."""
        self.registry.add_policy(self._hub(hub), name, sas.key_bytes(key))

    def remove_hub(self, hub: str) -> None:
        """Delete a hub; its name is then answered as any other that is not one of Azure's."""
        self.hubs.remove(self._hub(hub))

    def remove_device(self, hub: str, device_id: str) -> None:
        """Remove the device and the messages that wait for it."""
        self.registry.remove_device(hub, device_id)

    def disable_device(self, hub: str, device_id: str, disabled: bool = True) -> None:
        self.registry.put_device(replace(self._device(hub, device_id), enabled=not disabled))

    def send(
        self,
        hub: str,
        device_id: str,
        payload: bytes,
        properties: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        expires: float | None = None,
    ) -> str:
        """Queue a message for a device and return its ID; azure_c2d.QueueFull, ValueError.

        `properties` are the application's, `fields` the answer's as `iothub-ack` or
        `ContentType`, `expires` is in epoch seconds.
        """
        self._device(hub, device_id)
        made = {"iothub-messageid": new_id(), "iothub-to": _c2d_topic(device_id), **(fields or {})}
        for name, value in (properties or {}).items():
            if not is_property(name, value):
                raise ValueError(f"property {name!r} cannot go over HTTPS")
            made[APPLICATION + name] = value
        if any(set(value) & set("\r\n\0") for value in made.values()):
            raise ValueError("a field has CR, LF or NUL")
        target = (hub, device_id)
        self.hubs.queues.send(target, payload, made, time.time(), expires)
        return made["iothub-messageid"]

    def waiting(self, hub: str, device_id: str) -> list[azure_c2d.Queued]:
        """Return the messages that a device has not settled."""
        return self.hubs.queues.waiting(hub, device_id)

    def dead_letters(self, hub: str, device_id: str) -> list[azure_c2d.Queued]:
        """Return the messages that a device rejected, or that expired or came back too often."""
        return self.hubs.queues.dead(hub, device_id)

    # -- A device ready for use ------------------------------------------------------------------

    def add_thing(self, thing: str) -> Pair:
        """Enrol `thing` by its certificate of our authority, a verified one; return its files.

        The certificate's PEM is the full chain, which the device has to send.
        """
        pair = self.authority.device(thing)
        self.verify_authority(self.authority.ca_der)
        self.enroll(thing, pair.cert_der)
        chain = self.authority.folder / f"{thing}-full-chain.pem"
        write_file(chain, pair.cert_pem.read_bytes() + self.authority.ca_pem.read_bytes(), 0o644)
        return replace(pair, cert_pem=chain)

    def _hub(self, name: str) -> str:
        hub = self.hubs.name(name or self._first_hub)
        if hub is None:
            raise ValueError(f"hub {name!r} is not one of this account")
        return hub

    def _enrollment(self, name: str) -> Enrollment:
        found = self.registry.enrollment(name)
        if found is None:
            raise ValueError(f"enrolment {name!r} is not known")
        return found

    def _device(self, hub: str, device_id: str) -> Device:
        found = self.registry.device(self._hub(hub), device_id)
        if found is None:
            raise ValueError(f"device {device_id!r} is not known at {hub}")
        return found


def _c2d_topic(device_id: str) -> str:
    return f"/devices/{device_id}/messages/deviceBound"


def _host(call: Call) -> str:
    name, _, port = call.fields.get("Host", "").lower().partition(":")
    return name if port == "" or port.isdecimal() else ""


def _der(certificate: bytes | Path) -> bytes:
    data = certificate.read_bytes() if isinstance(certificate, Path) else certificate
    return azure_x509.der(data)


def _attested_by(certificate: bytes | Path | None, key: str | None) -> tuple[str, bytes]:
    if (certificate is None) == (key is None):
        raise ValueError("want a certificate or a key, and not both")
    if key is not None:
        return KEY, sas.key_bytes(key)
    assert certificate is not None
    return CERTIFICATE, _der(certificate)
