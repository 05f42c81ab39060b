"""What the emulated clouds keep: messages, in SQLite, in memory or in a file.

Invariant: one connection behind one lock, so the threads of several servers and a test may all
use it; who holds the lock does several statements as one.
A file is created with mode 0600, because clouds keep their access keys in tables of their own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY,
    received REAL NOT NULL,
    device TEXT NOT NULL,
    topic TEXT NOT NULL,
    qos INTEGER NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    properties TEXT NOT NULL
)"""
_INSERT = (
    "INSERT INTO messages (received, device, topic, qos, payload, retain, properties)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_COLUMNS = "SELECT device, topic, payload, qos, retain, properties, received, id FROM messages"


@dataclass(frozen=True)
class Message:
    """One message that a cloud accepted."""

    device: str
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: dict[str, Any] = field(default_factory=dict)
    received: float = 0.0  # epoch seconds
    id: int = 0  # 0 until stored


class Store:
    """An SQLite database shared by the listeners of one run."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        if str(path) != ":memory:":
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self.lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        # A store that is merely forgotten is closed too, before SQLite would complain of it.
        weakref.finalize(self, self._database.close)
        self.execute(_SCHEMA)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, commit, and return its rows; clouds make their own tables with it."""
        with self.lock, self._database:
            return self._database.execute(sql, values).fetchall()

    def add(self, message: Message) -> None:
        """Keep `message`; its id is given by the store."""
        row = (message.received, message.device, message.topic, message.qos, message.payload)
        self.execute(_INSERT, (*row, message.retain, json.dumps(message.properties)))

    def messages(self, topic: str | None = None, after: int = 0) -> list[Message]:
        """Return the messages in order of arrival, all or those of exactly one topic.

        after: only those that came after the one of that id.
        """
        if topic is None:
            rows = self.execute(f"{_COLUMNS} WHERE id > ? ORDER BY id", (after,))
        else:
            where = "WHERE topic = ? AND id > ?"
            rows = self.execute(f"{_COLUMNS} {where} ORDER BY id", (topic, after))
        return [_message(row) for row in rows]

    def last(self) -> int:
        """Return the id of the newest message, 0 if there is none."""
        ((number,),) = self.execute("SELECT COALESCE(MAX(id), 0) FROM messages")
        return int(number)

    def retained(self, topic: str) -> Message | None:
        """Return the retained message of `topic`; an empty payload has deleted it."""
        query = f"{_COLUMNS} WHERE topic = ? AND retain ORDER BY id DESC LIMIT 1"
        rows = self.execute(query, (topic,))
        return _message(rows[0]) if rows and rows[0][2] else None

    def all_retained(self) -> list[Message]:
        """Return the retained messages of all topics, in the order of the topics."""
        topics = self.execute("SELECT DISTINCT topic FROM messages WHERE retain ORDER BY topic")
        found = (self.retained(topic) for (topic,) in topics)
        return [message for message in found if message is not None]

    def close(self) -> None:
        with self.lock:
            self._database.close()


def _message(row: tuple[Any, ...]) -> Message:
    device, topic, payload, qos, retain, properties, received, number = row
    return Message(
        device, topic, payload, qos, bool(retain), json.loads(properties), received, number
    )
