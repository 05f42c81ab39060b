"""Who and what an emulated Watson IoT organisation knows: devices, keys, waiting commands.

Invariant: of a token only its SHA-256 is kept, as IBM's own tokens cannot be read back either.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import NamedTuple

from host.cloud.store import Store

_SESSION_S = 30 * 3600.0  # how long a command subscription outlives its last request
_TABLES = (
    "CREATE TABLE IF NOT EXISTS watson_devices (type TEXT NOT NULL, id TEXT NOT NULL,"
    " gateway INTEGER NOT NULL, token BLOB, enabled INTEGER NOT NULL, PRIMARY KEY (type, id))",
    "CREATE TABLE IF NOT EXISTS watson_keys (key TEXT PRIMARY KEY, token BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS watson_subscriptions (number INTEGER PRIMARY KEY,"
    " client TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, command TEXT NOT NULL,"
    " expires REAL NOT NULL, UNIQUE (client, type, id, command))",
    "CREATE TABLE IF NOT EXISTS watson_commands (number INTEGER PRIMARY KEY,"
    " subscription INTEGER NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,"
    " command TEXT NOT NULL, format TEXT NOT NULL, payload BLOB NOT NULL)",
)


@dataclass(frozen=True)
class Command:
    """One command on its way to a device."""

    type: str
    id: str
    command: str
    format: str  # json, xml, text or bin
    payload: bytes


class State(NamedTuple):
    """What a registered device is."""

    enabled: bool
    gateway: bool


class Registry:
    """The organisation's devices, gateways, API keys and command queues, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        for table in _TABLES:
            store.execute(table)

    def add_device(self, type_id: str, device_id: str, gateway: bool, token: str | None) -> None:
        """Register a device or gateway, or replace it; without a token it cannot log in."""
        row = (type_id, device_id, gateway, None if token is None else _digest(token))
        self._store.execute("INSERT OR REPLACE INTO watson_devices VALUES (?, ?, ?, ?, 1)", row)

    def remove_device(self, type_id: str, device_id: str) -> None:
        """Forget the device; its telemetry stays in the store."""
        self._store.execute(
            "DELETE FROM watson_devices WHERE type = ? AND id = ?", (type_id, device_id)
        )

    def enable_device(self, type_id: str, device_id: str, enabled: bool) -> None:
        """Accept or refuse the device from now on, whoever speaks for it."""
        self._store.execute(
            "UPDATE watson_devices SET enabled = ? WHERE type = ? AND id = ?",
            (enabled, type_id, device_id),
        )

    def add_key(self, key: str, token: str) -> None:
        """Register an application's API key, or replace its token."""
        self._store.execute(
            "INSERT OR REPLACE INTO watson_keys VALUES (?, ?)", (key, _digest(token))
        )

    def remove_key(self, key: str) -> None:
        """Forget the API key."""
        self._store.execute("DELETE FROM watson_keys WHERE key = ?", (key,))

    def state(self, type_id: str, device_id: str) -> State | None:
        """Return what is known of a device or gateway, None for an unknown one."""
        query = "SELECT enabled, gateway FROM watson_devices WHERE type = ? AND id = ?"
        rows = self._store.execute(query, (type_id, device_id))
        return State(*map(bool, rows[0])) if rows else None

    def device_may(self, type_id: str, device_id: str, gateway: bool, token: bytes) -> bool:
        """Say whether `token` is that of an enabled device or gateway of this name."""
        query = (
            "SELECT token FROM watson_devices"
            " WHERE type = ? AND id = ? AND gateway = ? AND enabled AND token IS NOT NULL"
        )
        return self._is_token(query, (type_id, device_id, gateway), token)

    def key_may(self, key: str, token: bytes) -> bool:
        """Say whether `token` is that of the API key."""
        query = "SELECT token FROM watson_keys WHERE key = ?"
        return self._is_token(query, (key,), token)

    def send(self, command: Command) -> int:
        """Queue `command` for every client that has asked for such; return how many have."""
        what = (command.type, command.id, command.command)
        rows = self._store.execute(
            "SELECT number FROM watson_subscriptions"
            " WHERE type IN ('+', ?) AND id IN ('+', ?) AND command IN ('+', ?)",
            what,
        )
        for (subscription,) in rows:
            values = (subscription, *what, command.format, command.payload)
            self._store.execute(
                "INSERT INTO watson_commands (subscription, type, id, command, format, payload)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        return len(rows)

    def take(
        self, client: str, type_id: str, device_id: str, command: str, now: float
    ) -> Command | None:
        """Return the oldest command that waits for `client` under these names, + for any.

        The first request makes the subscription: what was sent before it never arrives.
        """
        with self._store.lock:
            number = self._subscribe((client, type_id, device_id, command), now)
            rows = self._store.execute(
                "SELECT number, type, id, command, format, payload FROM watson_commands"
                " WHERE subscription = ? ORDER BY number LIMIT 1",
                (number,),
            )
            if not rows:
                return None
            self._store.execute("DELETE FROM watson_commands WHERE number = ?", rows[0][:1])
            return Command(*rows[0][1:])

    def _subscribe(self, names: tuple[str, str, str, str], now: float) -> int:
        """Make or renew the subscription; one that has expired has lost its commands."""
        expired = "SELECT number FROM watson_subscriptions WHERE expires <= ?"
        for table, column in (
            ("watson_commands", "subscription"),
            ("watson_subscriptions", "number"),
        ):
            self._store.execute(f"DELETE FROM {table} WHERE {column} IN ({expired})", (now,))
        self._store.execute(
            "INSERT INTO watson_subscriptions (client, type, id, command, expires)"
            " VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (client, type, id, command) DO UPDATE SET expires = excluded.expires",
            (*names, now + _SESSION_S),
        )
        query = (
            "SELECT number FROM watson_subscriptions"
            " WHERE client = ? AND type = ? AND id = ? AND command = ?"
        )
        return int(self._store.execute(query, names)[0][0])

    def _is_token(self, query: str, names: tuple[object, ...], token: bytes) -> bool:
        rows = self._store.execute(query, names)
        given = hashlib.sha256(token).digest()
        return bool(rows) and hmac.compare_digest(rows[0][0], given)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
