"""The devices and tokens of the emulated Alibaba Cloud IoT Platform, in tables of the store.

Invariant: a token itself is not kept, only its SHA-256, so that looking one up tells nothing
about the others.
"""

from __future__ import annotations

import hashlib
import secrets

from host.cloud.store import Store

_TABLES = (
    "CREATE TABLE IF NOT EXISTS aliyun_devices"
    " (product_key TEXT NOT NULL, device_name TEXT NOT NULL, device_secret TEXT NOT NULL,"
    " enabled INTEGER NOT NULL, PRIMARY KEY (product_key, device_name))",
    "CREATE TABLE IF NOT EXISTS aliyun_tokens"
    " (digest TEXT PRIMARY KEY, product_key TEXT NOT NULL, device_name TEXT NOT NULL,"
    " expires REAL NOT NULL)",
)
_DEVICE = "product_key = ? AND device_name = ?"


class Registry:
    """Who may authenticate, and whose a token is."""

    def __init__(self, store: Store) -> None:
        self._execute = store.execute
        for table in _TABLES:
            store.execute(table)

    def add_device(self, product_key: str, device_name: str, secret: str) -> None:
        """Register an enabled device, or replace its secret."""
        row = (product_key, device_name, secret)
        self._execute("INSERT OR REPLACE INTO aliyun_devices VALUES (?, ?, ?, 1)", row)

    def set_enabled(self, product_key: str, device_name: str, enabled: bool) -> None:
        statement = f"UPDATE aliyun_devices SET enabled = ? WHERE {_DEVICE}"
        self._execute(statement, (enabled, product_key, device_name))

    def remove_device(self, product_key: str, device_name: str) -> None:
        """Forget a device and its tokens."""
        for table in ("aliyun_devices", "aliyun_tokens"):
            self._execute(f"DELETE FROM {table} WHERE {_DEVICE}", (product_key, device_name))

    def secret(self, product_key: str, device_name: str) -> str | None:
        """Return the secret of an enabled device."""
        query = f"SELECT device_secret FROM aliyun_devices WHERE {_DEVICE} AND enabled"
        rows = self._execute(query, (product_key, device_name))
        return rows[0][0] if rows else None

    def new_token(self, product_key: str, device_name: str, expires: float) -> str:
        """Return a token that is good until epoch second `expires`.

        The earlier ones stay good: no source says that a new token ends them.
        """
        token = secrets.token_hex(16)  # 32 hex digits, as the documents' samples
        row = (_digest(token), product_key, device_name, expires)
        self._execute("INSERT INTO aliyun_tokens VALUES (?, ?, ?, ?)", row)
        return token

    def owner(self, token: str) -> tuple[str, str, float] | None:
        """Return product key, device name and expiry of an enabled device's token."""
        query = (
            "SELECT product_key, device_name, expires FROM aliyun_tokens"
            " JOIN aliyun_devices USING (product_key, device_name)"
            " WHERE digest = ? AND enabled"
        )
        rows = self._execute(query, (_digest(token),))
        return rows[0] if rows else None

    def expire_tokens(self) -> None:
        self._execute("UPDATE aliyun_tokens SET expires = 0")

    def forget_tokens(self) -> None:
        self._execute("DELETE FROM aliyun_tokens")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
