"""Who is enrolled with the emulated DPS and who is registered with its hubs, in the store.

Registration IDs and names of enrolments and hubs compare without regard to case and are kept in
lower case; device IDs keep theirs (PROTOCOLS 3.2, 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from host.cloud.store import Store

CERTIFICATE = "certificate"  # attested by this very certificate; of a group, by one it issued
KEY = "key"  # attested by signatures with this key; of a group, by keys derived from it
AUTHORITY = "authority"  # hub only: any certificate of a verified CA with the device ID as CN
DPS = "dps"  # where a verified CA is known: here, or a hub's name

_TABLES = (
    "CREATE TABLE IF NOT EXISTS azure_enrollments (name TEXT PRIMARY KEY, kind TEXT NOT NULL,"
    " material BLOB NOT NULL, hub TEXT NOT NULL, grouped INTEGER NOT NULL,"
    " device_id TEXT NOT NULL, enabled INTEGER NOT NULL, error_code INTEGER NOT NULL,"
    " error_message TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS azure_authorities"
    " (place TEXT NOT NULL, certificate BLOB NOT NULL, PRIMARY KEY (place, certificate))",
    "CREATE TABLE IF NOT EXISTS azure_devices (hub TEXT NOT NULL, device_id TEXT NOT NULL,"
    " kind TEXT NOT NULL, material BLOB NOT NULL, enabled INTEGER NOT NULL,"
    " PRIMARY KEY (hub, device_id))",
    "CREATE TABLE IF NOT EXISTS azure_policies"
    " (hub TEXT NOT NULL, name TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (hub, name))",
)
_ENROLLMENTS = (
    "SELECT name, kind, material, hub, grouped, device_id, enabled, error_code, error_message"
    " FROM azure_enrollments"
)


@dataclass(frozen=True)
class Enrollment:
    """An individual enrolment, named by its registration ID, or an enrolment group."""

    name: str
    kind: str  # CERTIFICATE or KEY
    material: bytes = field(repr=False)  # a certificate's DER, or a key's bytes
    hub: str
    grouped: bool = False
    device_id: str = ""  # empty: the registration ID
    enabled: bool = True
    error_code: int = 0  # not 0: every assignment fails with it
    error_message: str = ""


@dataclass(frozen=True)
class Device:
    """A device's identity at a hub."""

    hub: str
    device_id: str
    kind: str  # CERTIFICATE, KEY or AUTHORITY
    material: bytes = field(repr=False)
    enabled: bool = True


class Registry:
    """Enrolments, verified authorities, devices and hub policies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        for table in _TABLES:
            store.execute(table)

    def enroll(self, enrollment: Enrollment) -> None:
        """Add an enrolment, or replace the one of this name."""
        one = replace(enrollment, name=enrollment.name.lower())
        self._store.execute(
            "INSERT OR REPLACE INTO azure_enrollments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            tuple(getattr(one, column.name) for column in fields(one)),
        )

    def enrollment(self, name: str) -> Enrollment | None:
        rows = self._store.execute(f"{_ENROLLMENTS} WHERE name = ?", (name.lower(),))
        return _enrollment(rows[0]) if rows else None

    def groups(self) -> list[Enrollment]:
        rows = self._store.execute(f"{_ENROLLMENTS} WHERE grouped ORDER BY name")
        return [_enrollment(row) for row in rows]

    def add_authority(self, certificate: bytes, place: str) -> None:
        """Make a CA certificate, DER, a verified one of DPS or of a hub."""
        values = (place.lower(), certificate)
        self._store.execute("INSERT OR REPLACE INTO azure_authorities VALUES (?, ?)", values)

    def authorities(self, place: str) -> list[bytes]:
        query = "SELECT certificate FROM azure_authorities WHERE place = ?"
        return [row[0] for row in self._store.execute(query, (place.lower(),))]

    def put_device(self, device: Device) -> None:
        """Add a device, or replace the one of this ID at the hub."""
        one = device
        self._store.execute(
            "INSERT OR REPLACE INTO azure_devices VALUES (?, ?, ?, ?, ?)",
            (one.hub.lower(), one.device_id, one.kind, one.material, one.enabled),
        )

    def device(self, hub: str, device_id: str) -> Device | None:
        query = (
            "SELECT hub, device_id, kind, material, enabled FROM azure_devices"
            " WHERE hub = ? AND device_id = ?"
        )
        rows = self._store.execute(query, (hub.lower(), device_id))
        if not rows:
            return None
        name, identity, kind, material, enabled = rows[0]
        return Device(name, identity, kind, material, bool(enabled))

    def remove_device(self, hub: str, device_id: str) -> None:
        self._store.execute(
            "DELETE FROM azure_devices WHERE hub = ? AND device_id = ?", (hub.lower(), device_id)
        )

    def add_policy(self, hub: str, name: str, key: bytes) -> None:
        """Add a shared access policy with the right DeviceConnect."""
        values = (hub.lower(), name, key)
        self._store.execute("INSERT OR REPLACE INTO azure_policies VALUES (?, ?, ?)", values)

    def policy_key(self, hub: str, name: str) -> bytes | None:
        query = "SELECT key FROM azure_policies WHERE hub = ? AND name = ?"
        rows = self._store.execute(query, (hub.lower(), name))
        return rows[0][0] if rows else None


def _enrollment(row: tuple[Any, ...]) -> Enrollment:
    name, kind, material, hub, grouped, device_id, enabled, code, message = row
    return Enrollment(
        name, kind, material, hub, bool(grouped), device_id, bool(enabled), code, message
    )
