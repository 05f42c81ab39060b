"""Who may do what on the emulated AWS IoT: certificates, access keys, policies.

A policy is a list of MQTT topic filters that its principal may publish to; no list, no right.
AWS has actions of their own for shadows over HTTP (iot:GetThingShadow and so on); here the MQTT
topic of the same operation stands for each, so one list says all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from host.cloud.sigv4 import Secret
from host.cloud.store import Store
from host.cloud.topics import check_filter, matches

# An MQTT # alone does not reach names that start with $.
EVERYTHING = ("#", "$aws/rules/#", "$aws/things/#")

_TABLES = (
    "CREATE TABLE IF NOT EXISTS aws_certificates"
    " (fingerprint TEXT PRIMARY KEY, thing TEXT NOT NULL, active INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS aws_keys"
    " (access_key TEXT PRIMARY KEY, secret_key TEXT NOT NULL, session_token TEXT)",
    "CREATE TABLE IF NOT EXISTS aws_policies"
    " (principal TEXT NOT NULL, topic_filter TEXT NOT NULL)",
)


@dataclass(frozen=True)
class Principal:
    """Who calls."""

    policy: str  # the key of its topic filters: a fingerprint, an access key, a token
    device: str  # its name in the messages
    thing: str | None = None  # a certificate's; no other thing's shadow is in its reach
    data: bool = True  # False: a custom authorizer's, which serves the Publish API only


class Registry:
    """The account's certificates, keys and policies, in tables of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        for table in _TABLES:
            store.execute(table)

    def add_certificate(self, fingerprint: str, thing: str, allow: Iterable[str]) -> None:
        """Register an active certificate, or replace its policy."""
        self._store.execute(
            "INSERT OR REPLACE INTO aws_certificates VALUES (?, ?, 1)", (fingerprint, thing)
        )
        self.set_policy(fingerprint, allow)

    def add_key(self, access_key: str, secret: Secret, allow: Iterable[str] = EVERYTHING) -> None:
        """Register an access key, or replace its secret and policy."""
        row = (access_key, secret.secret_key, secret.session_token)
        self._store.execute("INSERT OR REPLACE INTO aws_keys VALUES (?, ?, ?)", row)
        self.set_policy(access_key, allow)

    def deactivate(self, thing: str) -> None:
        """Make every certificate of `thing` inactive: TLS succeeds, requests get 403."""
        self._store.execute("UPDATE aws_certificates SET active = 0 WHERE thing = ?", (thing,))

    def thing(self, fingerprint: str) -> str | None:
        """Return the thing of an active certificate."""
        query = "SELECT thing FROM aws_certificates WHERE fingerprint = ? AND active"
        rows = self._store.execute(query, (fingerprint,))
        return rows[0][0] if rows else None

    def has_thing(self, thing: str) -> bool:
        """Say whether `thing` exists: it does once a certificate was registered for it."""
        query = "SELECT 1 FROM aws_certificates WHERE thing = ?"
        return bool(self._store.execute(query, (thing,)))

    def secret(self, access_key: str) -> Secret | None:
        """Return what belongs to `access_key`."""
        if not access_key.isascii():  # SQLite takes no octets that are not UTF-8
            return None
        query = "SELECT secret_key, session_token FROM aws_keys WHERE access_key = ?"
        rows = self._store.execute(query, (access_key,))
        return Secret(*rows[0]) if rows else None

    def allows(self, policy: str, topic: str) -> bool:
        """Say whether one of the principal's topic filters matches `topic`."""
        query = "SELECT topic_filter FROM aws_policies WHERE principal = ?"
        rows = self._store.execute(query, (policy,))
        return any(matches(topic_filter, topic) for (topic_filter,) in rows)

    def set_policy(self, principal: str, allow: Iterable[str]) -> None:
        """Replace the principal's topic filters; ValueError for what is none."""
        filters = list(allow)
        for topic_filter in filters:
            check_filter(topic_filter)
        with self._store.lock:
            self._store.execute("DELETE FROM aws_policies WHERE principal = ?", (principal,))
            for topic_filter in filters:
                values = (principal, topic_filter)
                self._store.execute("INSERT INTO aws_policies VALUES (?, ?)", values)
