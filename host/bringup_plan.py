"""What the boards of one bring-up are to become, and what they share: files, image, memory."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from host import firmware_file, image, partitions, provision
from host.boards import Board
from host.inventory import Inventory

NAME = "onebuf-{mac}"
_TIMEOUT_S = 30.0  # several boards at once write to it
_SCHEMA = """
CREATE TABLE IF NOT EXISTS flashed (
    mac TEXT PRIMARY KEY,
    firmware TEXT NOT NULL,
    finished TEXT NOT NULL
)"""


@dataclass(frozen=True)
class Plan:
    """What every board becomes.

    firmware: None where MicroPython is on them already. name: of a device; {mac} is its own, and
    stands at the end where it is not named. folder: for the flash of emulated boards. march: what
    the flashed package is compiled for instead of the board's processor. patience_s: for the
    telemetry, from the reset on.
    """

    board: Board
    cloud: str
    target: provision.Real | provision.Emulated
    inventory: Inventory
    name: str = NAME
    firmware: bytes | None = field(default=None, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    certificates: Path = Path("certs")
    keys: Path | None = None
    folder: Path = Path(".onebuf")
    march: str = ""
    fresh: bool = False
    patience_s: float = 60.0

    def request(self, mac: str) -> provision.Request:
        """What the board with that MAC address is to become at the cloud."""
        template = self.name if "{mac}" in self.name else f"{self.name}-{{mac}}"
        name = template.replace("{mac}", mac.replace(":", ""))
        settings, config = self.settings, self.config
        return provision.Request(
            self.board.name, self.cloud, name, self.target, settings, config, replace=self.fresh
        )


class Shared:
    """What is made once for all boards of a plan; from any thread."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.flashed = Flashed(plan.inventory.path)
        self._lock = Lock()
        self._packages: dict[str, dict[str, bytes]] = {}

    def prepare(self) -> None:
        """Make what takes long; FirmwareError, ImageError, TableError."""
        if self.firmware:
            assert self.filesystem

    @cached_property
    def firmware(self) -> firmware_file.Firmware | None:
        """The firmware, checked; FirmwareError."""
        if self.plan.firmware is None:
            return None
        found = firmware_file.read(self.plan.firmware)
        found.check(self.plan.board)
        return found

    @cached_property
    def filesystem(self) -> bytes:
        """The image of the file system behind that firmware; ImageError, TableError."""
        assert self.firmware
        table = self.firmware.data[partitions.OFFSET - self.firmware.offset :]
        plan = self.plan
        made = image.build(plan.board, cloud=plan.cloud, march=plan.march, table=table)
        self._packages[plan.march or plan.board.mpy_arch] = _on_board(made.files)
        return made.data

    def files(self, march: str) -> dict[str, bytes]:
        """Package and application by path on the board, compiled for that instruction set."""
        with self._lock:
            if march not in self._packages:
                found = image.package(self.plan.cloud, march) | image.application()
                self._packages[march] = _on_board(found)
            return self._packages[march]


def _on_board(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"/{name}": data for name, data in files.items()}


class Flashed:
    """Which boards have which firmware, and a file system behind it; in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, mac: str, firmware: bytes) -> bool:
        """Whether that was written to the board as a whole."""
        with self._database() as database:
            row = database.execute("SELECT firmware FROM flashed WHERE mac = ?", (mac,)).fetchone()
        return row == (_digest(firmware),)

    def record(self, mac: str, firmware: bytes) -> None:
        """It is written."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self._database() as database:
            row = (mac, _digest(firmware), now)
            database.execute("INSERT OR REPLACE INTO flashed VALUES (?, ?, ?)", row)

    def forget(self, mac: str) -> None:
        """It is about to be written."""
        with self._database() as database:
            database.execute("DELETE FROM flashed WHERE mac = ?", (mac,))

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=_TIMEOUT_S)
        try:
            with database:
                database.execute(_SCHEMA)
                yield database
        finally:
            database.close()


def _digest(firmware: bytes) -> str:
    return hashlib.sha256(firmware).hexdigest()
