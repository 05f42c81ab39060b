"""The inventory of provisioned devices, in real SQLite: records, history, several at once."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run

from host.inventory import Device, Inventory, NameTaken
from host.inventory_command import add_inventory

DEVICE = Device(
    serial="246f28010203",
    mac="24:6f:28:01:02:03",
    board="ESP32_GENERIC_S3",
    chip="esp32s3",
    cloud="aws",
    identity="sensor-1",
    fingerprint="ab" * 32,
    runtime="micropython 1.27.0",
    firmware="0.9.0",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inventory.db"


def test_a_device_that_is_recorded_is_listed_with_the_date(file: Path) -> None:
    recorded = Inventory(file).record(DEVICE)
    assert Inventory(file).devices() == [recorded]
    assert recorded.provisioned.endswith("+00:00")
    assert replace(recorded, provisioned="") == DEVICE


def test_a_device_provisioned_again_replaces_its_record_and_keeps_the_history(file: Path) -> None:
    inventory = Inventory(file)
    inventory.record(DEVICE)
    second = inventory.record(replace(DEVICE, fingerprint="cd" * 32))
    assert inventory.devices() == [second]
    assert inventory.current(DEVICE.serial) == second
    old, new = inventory.devices(history=True)
    assert (old.fingerprint, bool(old.replaced), new) == (DEVICE.fingerprint, True, second)


def test_a_name_that_another_device_has_is_refused_unless_that_one_has_gone(file: Path) -> None:
    inventory = Inventory(file)
    inventory.record(DEVICE)
    other = replace(DEVICE, serial="30aea4000000")
    with pytest.raises(NameTaken, match=f"sensor-1 at aws is the name of device {DEVICE.serial}"):
        inventory.record(other)
    assert [each.serial for each in inventory.devices()] == [DEVICE.serial]
    inventory.record(other, replace=True)
    assert [each.serial for each in inventory.devices()] == [other.serial]
    inventory.record(replace(DEVICE, cloud="azure"))  # a name is one cloud's
    assert len(inventory.devices()) == 2


def test_twenty_boards_at_once_are_all_recorded_and_one_name_is_given_once(file: Path) -> None:
    def provision(n: int) -> bool:
        serial = f"{n:012x}"
        Inventory(file).record(replace(DEVICE, serial=serial, identity=f"sensor-{n}"))
        try:
            Inventory(file).record(replace(DEVICE, serial=serial, identity="wanted-by-all"))
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        won = list(pool.map(provision, range(20)))
    assert won.count(True) == 1
    assert len(Inventory(file).devices()) == 20


def test_the_command_lists_devices_as_a_table_and_as_json(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Inventory(file).record(DEVICE)
    assert run(add_inventory, "inventory", "--inventory", file) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "serial"
    assert row.split()[:5] == [DEVICE.serial, DEVICE.mac, DEVICE.board, "aws", "sensor-1"]
    assert run(add_inventory, "inventory", "--inventory", file, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["fingerprint"] == DEVICE.fingerprint


def test_the_history_is_listed_when_asked_for(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Inventory(file).record(DEVICE)
    Inventory(file).record(replace(DEVICE, identity="sensor-2"))
    run(add_inventory, "inventory", "--inventory", file, "--history")
    out = capsys.readouterr().out
    assert "sensor-1" in out and "replaced" in out and "sensor-2" in out


def test_a_missing_or_foreign_file_is_said_and_not_made(file: Path) -> None:
    with pytest.raises(SystemExit, match="no such inventory"):
        run(add_inventory, "inventory", "--inventory", file)
    assert not file.exists()
    file.write_text("no database, but long enough to be read as one" * 40)
    with pytest.raises(sqlite3.DatabaseError):  # which the command line tells
        run(add_inventory, "inventory", "--inventory", file)
