"""The devices that were provisioned, in SQLite: which board has which identity, since when.

A device provisioned again gets a new record; the one before stays as history with the time at
which it ended, because its certificate may still be known to a cloud. No secret is in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path

DEFAULT = Path("onebuf-inventory.db")
_TIMEOUT_S = 30.0  # several boards at once write to it
_SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (
    id INTEGER PRIMARY KEY,
    serial TEXT NOT NULL,
    mac TEXT NOT NULL,
    board TEXT NOT NULL,
    chip TEXT NOT NULL,
    cloud TEXT NOT NULL,
    identity TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    runtime TEXT NOT NULL,
    firmware TEXT NOT NULL,
    provisioned TEXT NOT NULL,
    replaced TEXT NOT NULL
)"""


class NameTaken(Exception):
    """Another device has that identity; str() says which."""


@dataclass(frozen=True)
class Device:
    """One device as it was provisioned; "" where a field does not apply."""

    serial: str  # the chip's unique ID, hex
    mac: str
    board: str  # the folder's name below boards/
    chip: str
    cloud: str
    identity: str  # its name at the cloud
    fingerprint: str  # SHA-256 of its certificate, hex
    runtime: str  # "micropython 1.27.0"
    firmware: str  # the version of onebuf on it
    provisioned: str = ""  # UTC, ISO 8601; given by the inventory
    replaced: str = ""  # when this record ended, the same way


_COLUMNS = tuple(column.name for column in fields(Device))


class Inventory:
    """The devices in an SQLite file, which is made on first use; from any thread and process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, device: Device, replace: bool = False) -> Device:
        """Add the record and end the one before of this device; the record, dated.

        Raises NameTaken if another device is current under its identity; with replace that one
        has gone, and its record ends.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        values = {**asdict(device), "provisioned": now, "replaced": ""}
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            if not replace:
                self._check(database, device)
            database.execute(
                "UPDATE devices SET replaced = ? WHERE replaced = ''"
                " AND (serial = ? OR (cloud = ? AND identity = ?))",
                (now, device.serial, device.cloud, device.identity),
            )
            database.execute(
                f"INSERT INTO devices ({', '.join(_COLUMNS)}) VALUES ({marks})", values
            )
        return Device(**values)

    def check(self, device: Device) -> None:
        """Raise NameTaken as record() would."""
        with self._database() as database:
            self._check(database, device)

    def devices(self, history: bool = False) -> list[Device]:
        """Return the current records, with history all, in the order of their making."""
        where = "" if history else " WHERE replaced = ''"
        with self._database() as database:
            found = database.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM devices{where} ORDER BY id"
            )
            return [Device(*row) for row in found]

    def current(self, serial: str) -> Device | None:
        """Return the current record of the device with this serial number."""
        return next((each for each in self.devices() if each.serial == serial), None)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=_TIMEOUT_S, isolation_level=None)
        try:
            database.execute(_SCHEMA)
            yield database
            if database.in_transaction:
                database.execute("COMMIT")
        finally:
            database.close()  # which undoes what is not committed

    def _check(self, database: sqlite3.Connection, device: Device) -> None:
        rows = database.execute(
            "SELECT serial FROM devices WHERE replaced = ''"
            " AND cloud = ? AND identity = ? AND serial <> ?",
            (device.cloud, device.identity, device.serial),
        ).fetchall()
        if rows:
            raise NameTaken(
                f"{device.identity} at {device.cloud} is the name of device {rows[0][0]}"
            )
