"""Nothing that push() has promised is lost, whenever the power goes: every position is tried.

On real LittleFS in real MicroPython: host/powercut.py and scripts/powercut.py.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from devices import FIRMWARE, SCRIPTS

from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import serve
from host.device_files import provision
from host.powercut import Laboratory

READINGS = 300  # as in scripts/powercut.py
# Readings in a batch, readings from one forwarding to the next, octets of a segment, and of how
# many operations one is cut: all of them take two minutes where each reading is written at once.
WAYS = {
    "now and then": (10, 20, 4096, 1),
    "each reading durable": (1, 20, 4096, 1 if os.environ.get("ONEBUF_POWER_CUTS") else 5),
    "always online": (10, 3, 4096, 1),
    "away for long": (10, 150, 1024, 1),
}
WINDOW = 10  # readings that may come twice after a cut
RUNS = 200
SHARDS = 8
STEP, SOON = 10, 15  # of operations: which are cut first, and how many after the start then
THING, TOPIC = "sensor-1", "fleet/sensor-1/telemetry"
STORED = 120  # as in scripts/queue_damage.py
SENT = 30  # of them
SEGMENT_HOLDS = 4096 // 30  # readings
KILLS = (0, 1, 7, 50, 111, 222, 333)


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return Laboratory(SCRIPTS / "powercut.py", FIRMWARE, tmp_path)


@pytest.mark.parametrize(("batch", "every", "segment", "one_of"), WAYS.values(), ids=WAYS)
def test_cut_at_every_operation_and_half_way_loses_and_corrupts_nothing(
    batch: int,
    every: int,
    segment: int,
    one_of: int,
    laboratory: Laboratory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = SHARDS * one_of
    jobs = [(n, step, batch, batch, every, segment) for n in range(0, step, one_of)]
    tallies = laboratory.shards("positions", jobs)
    operations = tallies[0]["operations"]
    tried = sum(tally["positions"] for tally in tallies)
    with capsys.disabled():
        print(
            f"\npower cuts: {tried} positions of {operations} operations "
            f"({tallies[0]['erases']} erases), {READINGS} readings, "
            f"at most {max(tally['twice'] for tally in tallies)} twice"
        )
    assert [fault for tally in tallies for fault in tally["faults"]] == []
    assert tried == 3 * len(range(0, operations, one_of)) > 0


def test_second_cut_soon_after_the_first_loses_and_corrupts_nothing(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [(shard, SHARDS, WINDOW, STEP, SOON) for shard in range(SHARDS)]
    tallies = laboratory.shards("positions_after_a_cut", jobs)
    tried = sum(tally["positions"] for tally in tallies)
    with capsys.disabled():
        print(f"\npower cuts: {tried} positions of a second cut")
    assert [fault for tally in tallies for fault in tally["faults"]] == []
    assert tried > 100


def test_promise_that_is_not_kept_is_found(laboratory: Laboratory) -> None:
    [tally] = laboratory.call("boasted", 50, WINDOW)
    assert any("lost" in fault for _, fault in tally["faults"])
    [tally] = laboratory.call("positions", 0, 10, 1)
    assert any("window" in fault for _, fault in tally["faults"])


def test_cuts_by_chance_and_a_cloud_with_faults_lose_and_corrupt_nothing(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    step = RUNS // SHARDS
    jobs = [(first, first + step, WINDOW) for first in range(0, RUNS, step)]
    runs = laboratory.shards("random_runs", jobs)
    with capsys.disabled():
        cuts, faults = (sum(run[name] for run in runs) for name in ("cuts", "faults"))
        print(f"\npower cuts: {len(runs)} runs, {cuts} cuts, {faults} faults of the cloud")
    assert [run for run in runs if run["fault"]] == []
    assert sorted(run["seed"] for run in runs) == list(range(RUNS))


@pytest.mark.parametrize("bits", (32, 64))
@pytest.mark.parametrize("how", (0, 1, 2), ids=("before", "half-way", "after"))
def test_killed_process_leaves_what_the_exception_leaves(
    bits: int, how: int, tmp_path: Path
) -> None:
    laboratory = Laboratory(SCRIPTS / "powercut.py", FIRMWARE, tmp_path, bits)
    for cut in KILLS:
        name = "image"
        laboratory.call("factory", name)
        killed = laboratory.until_killed("live", name, cut, how, 0)
        assert killed[-1] == ["cut"]
        left = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        first = max((event[1] for event in killed if event[0] == "measured"), default=0)
        after = laboratory.until_killed("live", name, -1, 0, first)
        assert after[-1] == ["end"]
        assert laboratory.call("rehearsed", "rehearsed", cut, how) == killed + after
        assert hashlib.sha256((tmp_path / "rehearsed").read_bytes()).hexdigest() == left


def reading(i: int) -> bytes:
    """As in scripts/powercut.py."""
    return b"%d:" % i + bytes((i * 31 + k * 7) & 255 for k in range(16 + i * 37 % 70))


def last(events: list[list[int]], name: str) -> int:
    return max((event[1] for event in events if event[0] == name), default=0)


@pytest.mark.parametrize("cut", (40, 160, 270))
@pytest.mark.parametrize("bits", (32, 64))
def test_device_killed_and_started_again_delivers_everything_kept_to_aws_over_tls(
    bits: int, cut: int, tmp_path: Path
) -> None:
    laboratory = Laboratory(SCRIPTS / "powercut.py", FIRMWARE, tmp_path, bits)
    laboratory.call("factory", "image")
    with serve(AWSCloud(Authority(tmp_path / "certs"))) as cloud:
        provision(tmp_path, cloud.cloud, cloud.cloud.add_thing(THING), TOPIC, cloud.port)
        killed = laboratory.until_killed("live", "image", cut, 1, 0, True)
        before = len(cloud.messages(TOPIC))
        measured = last(killed, "measured")
        after = laboratory.until_killed("live", "image", -1, 0, measured, True)
        arrived = [message.payload for message in cloud.messages(TOPIC)]
    assert (killed[-1], after[-1]) == (["cut"], ["end"])
    numbers = [int(payload.partition(b":")[0]) for payload in arrived]
    assert arrived == [reading(i) for i in numbers]
    assert numbers[:before] == list(range(before))
    assert numbers[before:] == sorted(set(numbers[before:]))
    assert len(set(numbers[:before]) & set(numbers[before:])) <= WINDOW
    taken = set(range(READINGS)) - set(numbers)
    assert taken <= set(range(last(killed, "kept"), measured))


# -- Damage ---------------------------------------------------------------------------------------


@pytest.fixture
def damage(tmp_path: Path) -> Laboratory:
    return Laboratory(SCRIPTS / "queue_damage.py", FIRMWARE, tmp_path)


@pytest.mark.parametrize(
    ("kind", "step", "most"), [("bit_flips", 13, 1), ("truncations", 3, SEGMENT_HOLDS)]
)
def test_damaged_file_costs_no_more_than_was_damaged_and_the_queue_lives_on(
    kind: str, step: int, most: int, damage: Laboratory
) -> None:
    [tally] = damage.call(kind, step)
    assert tally["faults"] == []
    assert tally["tried"] > 100
    assert tally["lost"] <= most


def test_full_file_system_refuses_new_readings_clearly_and_keeps_the_old_ones(
    damage: Laboratory,
) -> None:
    [told] = damage.call("full")
    assert told["error"] == -errno.ENOSPC
    assert told["out"][: STORED - SENT] == list(range(SENT, STORED))
    assert told["fault"] == ""


def test_read_only_flash_refuses_new_readings_clearly_and_gives_out_the_old_ones(
    damage: Laboratory,
) -> None:
    [told] = damage.call("read_only")
    assert told["error"] == -errno.EROFS
    assert told["out"][: STORED - SENT] == list(range(SENT, STORED))
    assert told["fault"] == ""
