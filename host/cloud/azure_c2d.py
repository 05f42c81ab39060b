"""The queue of messages from the cloud to each device of a hub (PROTOCOLS 3.5).

Invariant: a message is locked for at most one receiver at a time, by the service's clock, and
leaves its queue only completed, rejected, expired or delivered too often. The latter three become
dead letters. A device that is removed takes its queue with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from host.cloud.azure_request import new_id
from host.cloud.store import Store

QUEUE_LIMIT = 50  # messages for each device
DELIVERY_LIMIT = 10
LOCK_S = 60

_TABLES = (
    "CREATE TABLE IF NOT EXISTS azure_c2d (sequence INTEGER PRIMARY KEY AUTOINCREMENT,"
    " hub TEXT NOT NULL, device_id TEXT NOT NULL, payload BLOB NOT NULL, fields TEXT NOT NULL,"
    " enqueued REAL NOT NULL, expires REAL, deliveries INTEGER NOT NULL DEFAULT 0,"
    " lock TEXT, locked_until REAL NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0)",
    "CREATE TRIGGER IF NOT EXISTS azure_c2d_removed AFTER DELETE ON azure_devices BEGIN"
    " DELETE FROM azure_c2d WHERE hub = OLD.hub AND device_id = OLD.device_id; END",
)
_COLUMNS = (
    "SELECT sequence, payload, fields, enqueued, expires, deliveries FROM azure_c2d"
    " WHERE hub = ? AND device_id = ?"
)


class LockLost(Exception):
    """No message is locked with this token, or no longer."""


class QueueFull(Exception):
    """The device's queue has its 50 messages."""


@dataclass(frozen=True)
class Queued:
    """One message to a device; `fields` are the response's, application properties included."""

    sequence: int
    payload: bytes
    fields: dict[str, str] = field(default_factory=dict)
    enqueued: float = 0.0  # epoch seconds, as the next
    expires: float | None = None
    deliveries: int = 0  # that ended in being abandoned


class CloudToDevice:
    """All the queues of one account, in a table of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        for statement in _TABLES:
            store.execute(statement)

    def send(
        self,
        device: tuple[str, str],
        payload: bytes,
        fields: dict[str, str],
        now: float,
        expires: float | None = None,
    ) -> None:
        """Append a message for `device`, (hub, device ID); QueueFull if it has its limit."""
        with self._store.lock:
            if len(self.waiting(*device)) >= QUEUE_LIMIT:
                raise QueueFull(device[1])
            self._store.execute(
                "INSERT INTO azure_c2d (hub, device_id, payload, fields, enqueued, expires)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (device[0].lower(), device[1], payload, json.dumps(fields), now, expires),
            )

    def waiting(self, hub: str, device_id: str) -> list[Queued]:
        """Return what is in the device's queue, locked or not, in order."""
        return self._select(hub, device_id, "NOT dead ORDER BY sequence")

    def dead(self, hub: str, device_id: str) -> list[Queued]:
        """Return what was rejected, has expired or was abandoned too often."""
        return self._select(hub, device_id, "dead ORDER BY sequence")

    def receive(
        self, hub: str, device_id: str, now: float, lock_s: float = LOCK_S
    ) -> tuple[str, Queued] | None:
        """Lock the first message that is free and return it with its lock's token."""
        with self._store.lock:
            self._store.execute(
                "UPDATE azure_c2d SET dead = 1, lock = NULL"
                " WHERE NOT dead AND expires <= ? AND locked_until <= ?",
                (now, now),
            )
            free = f"NOT dead AND locked_until <= {now!r} ORDER BY sequence LIMIT 1"
            found = self._select(hub, device_id, free)
            if not found:
                return None
            token = new_id()
            self._store.execute(
                "UPDATE azure_c2d SET lock = ?, locked_until = ? WHERE sequence = ?",
                (token, now + lock_s, found[0].sequence),
            )
            return token, found[0]

    def complete(self, hub: str, device_id: str, token: str, now: float) -> None:
        """Take the locked message from the queue; LockLost if it is not locked with `token`."""
        sequence = self._locked(hub, device_id, token, now)
        self._store.execute("DELETE FROM azure_c2d WHERE sequence = ?", (sequence,))

    def reject(self, hub: str, device_id: str, token: str, now: float) -> None:
        """Make the locked message a dead letter; LockLost."""
        sequence = self._locked(hub, device_id, token, now)
        self._store.execute(
            "UPDATE azure_c2d SET dead = 1, lock = NULL WHERE sequence = ?", (sequence,)
        )

    def abandon(self, hub: str, device_id: str, token: str, now: float) -> None:
        """Free the locked message, a dead letter after ten deliveries; LockLost."""
        sequence = self._locked(hub, device_id, token, now)
        self._store.execute(
            "UPDATE azure_c2d SET lock = NULL, locked_until = 0, deliveries = deliveries + 1,"
            " dead = deliveries + 1 >= ? WHERE sequence = ?",
            (DELIVERY_LIMIT, sequence),
        )

    def _locked(self, hub: str, device_id: str, token: str, now: float) -> int:
        rows = self._store.execute(
            "SELECT sequence FROM azure_c2d WHERE hub = ? AND device_id = ? AND lock = ?"
            " AND locked_until > ?",
            (hub.lower(), device_id, token, now),
        )
        if not rows:
            raise LockLost
        return rows[0][0]

    def _select(self, hub: str, device_id: str, condition: str) -> list[Queued]:
        rows = self._store.execute(f"{_COLUMNS} AND {condition}", (hub.lower(), device_id))
        return [
            Queued(sequence, payload, json.loads(fields), *rest)
            for sequence, payload, fields, *rest in rows
        ]
