"""What a flash queue makes of damage: to its files, to LittleFS itself, and of a full file system.

On real LittleFS and FAT in real MicroPython: scripts/queue_damage.py.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from devices import FIRMWARE, SCRIPTS

from host.powercut import Laboratory

STORED = 120  # as in scripts/queue_damage.py
SENT = 30  # of them
SEGMENT_HOLDS = 4096 // 30  # readings
SHARDS = 8
BLOCK_BITS = 4096 * 8
METADATA_STEP = 1 if os.environ.get("ONEBUF_POWER_CUTS") else 13  # one of so many bits is flipped


@pytest.fixture
def damage(tmp_path: Path) -> Laboratory:
    return Laboratory(SCRIPTS / "queue_damage.py", FIRMWARE, tmp_path)


@pytest.mark.parametrize(
    ("kind", "step", "most"), [("bit_flips", 13, 1), ("truncations", 3, SEGMENT_HOLDS)]
)
def test_damaged_file_costs_no_more_than_was_damaged_and_the_queue_lives_on(
    kind: str, step: int, most: int, damage: Laboratory
) -> None:
    tallies = damage.shards(kind, [(n, SHARDS, step) for n in range(SHARDS)])
    assert [fault for tally in tallies for fault in tally["faults"]] == []
    assert sum(tally["tried"] for tally in tallies) > 1000
    assert max(tally["lost"] for tally in tallies) <= most


def test_flipped_bit_in_the_file_system_is_refused_or_gives_an_older_state_but_no_wrong_reading(
    damage: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    step = METADATA_STEP
    jobs = [(n * step, SHARDS * step) for n in range(SHARDS)]
    tallies = damage.shards("metadata_flips", jobs)
    tried, again, lost = (
        sum(tally[name] for tally in tallies) for name in ("tried", "again", "lost")
    )
    refused = {number for tally in tallies for number in tally["refused"]}
    with capsys.disabled():
        print(f"\nbit flips in LittleFS: {tried}, {again} brought back and {lost} took readings")
    assert [fault for tally in tallies for fault in tally["faults"]] == []
    assert tried >= 3 * BLOCK_BITS // step
    assert refused == {str(errno.EILSEQ)}
    assert again + lost < tried // 8


@pytest.mark.parametrize("system", ("LittleFS", "FAT"))
def test_full_file_system_refuses_new_readings_clearly_and_keeps_the_old_ones(
    system: str, damage: Laboratory
) -> None:
    [told] = damage.call("full", system)
    assert told["error"] == -errno.ENOSPC
    assert told["out"] == list(range(SENT, STORED + told["pushed"]))
    assert told["fault"] == ""


@pytest.mark.parametrize("mounted", (True, False), ids=("mounted so", "the chip refuses"))
@pytest.mark.parametrize("system", ("LittleFS", "FAT"))
def test_read_only_file_system_refuses_new_readings_clearly_and_gives_out_the_old_ones(
    system: str, mounted: bool, damage: Laboratory
) -> None:
    [told] = damage.call("read_only", system, mounted)
    assert told["error"] == -errno.EROFS
    assert told["out"] == list(range(SENT, STORED + told["pushed"]))
    assert told["fault"] == ""
