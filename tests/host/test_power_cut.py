"""Nothing that push() has promised is lost, whenever the power goes: every position is tried.

On real LittleFS in real MicroPython: host/powercut.py and scripts/powercut.py.
"""

from __future__ import annotations

import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from devices import FIRMWARE, ROOT, SCRIPTS

from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import serve
from host.device_files import provision
from host.powercut import Laboratory

READINGS = 300  # as in scripts/powercut.py
# One of how many operations is cut where each reading is written at once: all take minutes.
EACH_WRITTEN = 1 if os.environ.get("ONEBUF_POWER_CUTS") else 5
# Readings in a batch, readings from one forwarding to the next, octets of a segment, and of how
# many operations one is cut.
WAYS = {
    "now and then": (10, 20, 4096, 1),
    "each reading durable": (1, 20, 4096, EACH_WRITTEN),
    "always online": (10, 3, 4096, 1),
    "away for long": (10, 150, 1024, 1),
}
WINDOW = 10  # readings that may come twice after a cut
RUNS = 200
SHARDS = 8
STEP, SOON = 10, 15  # of operations: which are cut first, and how many after the start then
THING, TOPIC = "sensor-1", "fleet/sensor-1/telemetry"
TLS_RUNS, TLS_CUTS, TLS_OPERATIONS = 8, 3, 200
DOCUMENT = " ".join((ROOT / "docs" / "flash-queue.md").read_text().split())
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


# -- While the queue is full ----------------------------------------------------------------------


@pytest.mark.parametrize("drop_oldest", (True, False), ids=("dropping", "refusing"))
@pytest.mark.parametrize("batch", (10, 1))
def test_cut_while_the_queue_is_full_takes_no_more_than_the_policy_does(
    batch: int, drop_oldest: bool, laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    one_of = EACH_WRITTEN if batch == 1 else 1
    full = replace(laboratory, program=SCRIPTS / "powercut_full.py")
    step = SHARDS * one_of
    jobs = [(n, step, batch, batch, drop_oldest) for n in range(0, step, one_of)]
    tallies = full.shards("full", jobs)
    tried = sum(tally["positions"] for tally in tallies)
    dropped, refused = tallies[0]["dropped"], tallies[0]["refused"]
    with capsys.disabled():
        print(
            f"\npower cuts: {tried} positions while full, {dropped} of {READINGS} readings "
            f"dropped, {refused} refused"
        )
    assert [fault for tally in tallies for fault in tally["faults"]] == []
    assert tried == 3 * len(range(0, tallies[0]["operations"], one_of)) > 0
    assert (dropped > 100, refused > 100) == (drop_oldest, not drop_oldest)
    assert any(tally["unreported"] for tally in tallies) is drop_oldest


# -- On FAT ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "readings"), [(10, 300), (1, 100)])
def test_cut_on_a_card_with_fat_loses_and_corrupts_nothing(
    batch: int, readings: int, laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    tried, befell = on_fat(laboratory, "card", batch, readings)
    with capsys.disabled():
        print(f"\npower cuts: {tried} positions with FAT on a card")
    assert set(befell.values()) == {0}
    assert f"{tried:,} positions on a card, {readings} readings" in DOCUMENT


def test_cut_on_flash_with_fat_may_take_the_queue_but_corrupts_no_reading(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    tried, befell = on_fat(laboratory, "flash", 10, 60)
    with capsys.disabled():
        print(f"\npower cuts: {tried} positions with FAT on bare flash: {befell}")
    assert befell["order"] == 0
    assert f"of {tried} positions {befell['unusable']} left" in DOCUMENT


def on_fat(
    laboratory: Laboratory, chip: str, batch: int, readings: int
) -> tuple[int, dict[str, int]]:
    """Cut at each operation: how many positions, and how often what befell the queue."""
    fat = replace(laboratory, program=SCRIPTS / "powercut_fat.py")
    jobs = [(n, SHARDS, chip, batch, readings, batch) for n in range(SHARDS)]
    tallies = fat.shards("fat", jobs)
    assert [fault for tally in tallies for fault in tally["faults"]] == []
    tried = sum(tally["positions"] for tally in tallies)
    assert tried == 3 * tallies[0]["operations"] > 100
    kinds = tallies[0]["kinds"]
    return tried, {kind: sum(tally["kinds"][kind] for tally in tallies) for kind in kinds}


# -- Over TLS -------------------------------------------------------------------------------------


def reading(i: int) -> bytes:
    """As in scripts/powercut.py."""
    return b"%d:" % i + bytes((i * 31 + k * 7) & 255 for k in range(16 + i * 37 % 70))


@dataclass
class TLSRun:
    """A device at the emulated AWS over mutual TLS: cut by chance, and at last left to finish.

    sessions: the readings that arrived, by start. spent: those that the cuts were allowed to take.
    """

    seed: int
    sessions: list[list[int]] = field(default_factory=list)
    spent: set[int] = field(default_factory=set)
    cuts: int = 0

    def run(self, folder: Path) -> None:
        chance = random.Random(self.seed)
        laboratory = Laboratory(SCRIPTS / "powercut.py", FIRMWARE, folder, 32 << self.seed % 2)
        laboratory.call("factory", "image")
        measured, ended = 0, False
        with serve(AWSCloud(Authority(folder / "certs"))) as cloud:
            thing = cloud.cloud.add_thing(THING)
            provision(folder, cloud.cloud, thing, TOPIC, cloud.port)
            while not ended:
                cut = chance.randrange(TLS_OPERATIONS) if self.cuts < TLS_CUTS else -1
                where = cut, chance.randrange(3)
                before = len(cloud.messages(TOPIC))
                said = laboratory.until_killed("live", "image", *where, measured, True)
                ended = said[-1] == ["end"]
                self.cuts += not ended
                arrived = [message.payload for message in cloud.messages(TOPIC)[before:]]
                self.sessions.append([int(payload.partition(b":")[0]) for payload in arrived])
                assert arrived == [reading(i) for i in self.sessions[-1]], self.seed
                measured = last(said, "measured", measured)
                self.spent |= set(range(last(said, "kept", 0), measured))

    def check(self) -> None:
        """Everything kept arrived, in order, and no more than WINDOW of it twice for each cut."""
        earlier: set[int] = set()
        for session in self.sessions:
            new = [i for i in session if i not in earlier]
            assert session == sorted(set(session)), self.seed
            assert not earlier or not new or new[0] > max(earlier), self.seed
            assert len(session) - len(new) <= WINDOW, self.seed
            earlier |= set(session)
        assert set(range(READINGS)) - earlier <= self.spent, self.seed


def last(events: list[list[int]], name: str, otherwise: int) -> int:
    return max((event[1] for event in events if event[0] == name), default=otherwise)


def test_device_that_is_cut_again_and_again_delivers_everything_kept_to_aws_over_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [TLSRun(seed) for seed in range(TLS_RUNS)]
    folders = [tmp_path / str(run.seed) for run in runs]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(TLSRun.run, runs, folders))
    cuts = sum(run.cuts for run in runs)
    with capsys.disabled():
        print(f"\npower cuts: {len(runs)} runs over TLS, {cuts} cuts")
    for run in runs:
        run.check()
    assert cuts > 2 * TLS_RUNS
