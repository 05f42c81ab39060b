"""The bench counts what it says, and its check fails on whatever is worse than stored."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import callgrind, size
from tools.bench import __main__ as bench
from tools.bench import check, measure, report, soak
from tools.bench.build import CLIENTS, Flash, build
from tools.bench.measure import Cell

STORED = json.loads((bench.DOCS / "bench.json").read_text())


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Flash:
    return build(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_publish_is_one_write_and_one_record_and_takes_no_heap(
    flash: Flash, bits: int, tls: bool
) -> None:
    figures = measure.counts(flash, Cell("onebuf", bits, tls))
    assert figures["heap bytes/publish"] == 0
    assert figures["write calls/publish"] in (1, None)
    assert figures["TLS records up/publish"] == (1 if tls else None)
    assert figures["connections/publish"] == 0


@pytest.mark.parametrize(
    ("client", "records", "connections"), [("requests", 19, 1), ("adafruit", 22, 0)]
)
def test_peers_are_measured_as_their_users_use_them(
    flash: Flash, client: str, records: int, connections: int
) -> None:
    figures = measure.counts(flash, Cell(client, 32, True))
    heap = figures["heap bytes/publish"]
    assert heap is not None and heap > 4000
    assert figures["TLS records up/publish"] == records
    assert figures["connections/publish"] == connections


def test_server_counts_the_octets_of_the_floor(flash: Flash) -> None:
    figures = measure.counts(flash, Cell("floor", 32, False))
    assert figures["bytes down/publish"] == 253
    figures = measure.counts(flash, Cell("floor", 32, True))
    assert figures["bytes down/publish"] == 253 + 29  # a record: 5, its nonce 8, its tag 16


def test_figures_of_the_aws_path_are_not_worse_than_the_stored_ones(flash: Flash) -> None:
    cell = Cell("onebuf", 32, True)
    figures = {**measure.counts(flash, cell), **measure.smallest_heap(flash, cell)}
    now = {
        "versions": bench.versions(flash),
        "modules": bench.modules(flash),
        "ram": {"onebuf, 32-bit": measure.ram(flash, "onebuf", 32)},
        "cells": {str(cell): figures},
    }
    assert check.complaints(STORED, now) == []


def test_heap_one_step_below_the_smallest_does_not_suffice(flash: Flash) -> None:
    cell = Cell("floor", 32, False)
    heap = measure.smallest_heap(flash, cell)["smallest heap"]
    assert heap is not None
    assert measure.completes(flash, cell, int(heap))
    assert not measure.completes(flash, cell, int(heap) - 256)


def test_soak_with_reconnects_leaves_heap_and_descriptors_as_they_were(flash: Flash) -> None:
    done = soak.soak(flash, 32, 4000)
    assert done.complaints() == []
    assert done.accepted >= 4000 and done.connects >= 4 and len(done.samples) == 5


def test_soak_complains_about_whatever_changes() -> None:
    first = soak.Sample(1000, 5000, 5)
    samples = [first, first, first._replace(heap=1016, descriptors=6)]
    complaints = soak.Soak(32, 2, 2, samples).complaints()
    assert complaints == [
        "heap: 1000 at first, then from 1000 to 1016",
        "descriptors: 5 at first, then from 5 to 6",
    ]


def test_instructions_of_the_floor_are_counted_the_same_each_time(flash: Flash) -> None:
    cell = Cell("floor", 32, False)
    first = measure.instructions(flash, cell)["instructions/publish"]
    assert first is not None and 1000 < first < 20_000
    assert measure.instructions(flash, cell)["instructions/publish"] == first


def test_instructions_are_not_measured_where_there_is_no_callgrind(
    flash: Flash, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(bits: int) -> callgrind.Callgrind:
        raise callgrind.Missing("none")

    monkeypatch.setattr(callgrind, "find", missing)
    assert measure.instructions(flash, Cell("floor", 32, False)) == {"instructions/publish": None}


@pytest.fixture
def now() -> Iterator[dict[str, Any]]:
    """What make bench has stored, as if it were measured again, to be changed."""
    yield copy.deepcopy(STORED)


CELL = "onebuf, 32-bit, TLS"


@pytest.mark.parametrize(
    ("figure", "by"),
    [
        ("heap bytes/publish", 16),
        ("write calls/publish", 1),
        ("TLS records up/publish", 1),
        ("bytes up/publish", 1),
        ("smallest heap", 256),
        ("largest free block lost", 16),
    ],
)
def test_check_fails_on_one_more_of_what_is_counted(
    now: dict[str, Any], figure: str, by: int
) -> None:
    assert check.complaints(STORED, now) == []
    was = now["cells"][CELL][figure]
    now["cells"][CELL][figure] = was + by
    told = f"{CELL}: {figure} is {report.number(was + by)}, {report.number(was)} is stored"
    assert check.complaints(STORED, now) == [told]
    now["cells"][CELL][figure] = was - by
    assert check.complaints(STORED, now) == []


@pytest.mark.parametrize(("percent", "complaints"), [(1, 0), (3, 1)])
def test_check_gives_instructions_two_percent(
    now: dict[str, Any], percent: int, complaints: int
) -> None:
    stored = copy.deepcopy(STORED)
    stored["cells"][CELL]["instructions/publish"] = 100_000
    now["cells"][CELL]["instructions/publish"] = 100_000 + percent * 1000
    assert len(check.complaints(stored, now)) == complaints


def test_check_fails_on_more_ram_and_on_larger_modules(now: dict[str, Any]) -> None:
    now["ram"]["onebuf, 32-bit"]["RAM after import, mpy"] += 16
    now["modules"]["onebuf.client"] += 1
    assert len(check.complaints(STORED, now)) == 2


def test_check_never_fails_on_a_time(now: dict[str, Any]) -> None:
    now["cells"][CELL].update({"publishes/s": 1, "CPU us/publish": 1e6})
    assert check.complaints(STORED, now) == []


def test_check_leaves_the_working_set_to_the_figures_that_it_follows_from(
    now: dict[str, Any],
) -> None:
    now["ram"]["onebuf, 32-bit"]["RAM after import, mpy"] -= 112
    now["cells"][CELL]["working set"] += 112
    assert check.complaints(STORED, now) == []


def test_check_with_another_runtime_compares_only_what_does_not_depend_on_it(
    now: dict[str, Any],
) -> None:
    now["versions"]["MicroPython"] = "9.9.9"
    now["cells"][CELL].update({"instructions/publish": 10**9, "smallest heap": 10**6})
    assert check.complaints(STORED, now) == []
    assert "9.9.9 here" in check.unmeasured(STORED, now)[0]
    now["cells"][CELL]["heap bytes/publish"] = 16
    assert len(check.complaints(STORED, now)) == 1


def test_check_says_what_it_could_not_measure(now: dict[str, Any]) -> None:
    now["cells"][CELL]["write calls/publish"] = None
    assert check.complaints(STORED, now) == []
    assert check.unmeasured(STORED, now) == [f"{CELL}: write calls/publish not measured here"]


def test_stored_table_is_that_of_the_stored_figures() -> None:
    assert (bench.DOCS / "bench.md").read_text() == report.markdown(STORED)
    for client in CLIENTS:
        assert f"{client}, 64-bit, plain" in STORED["cells"]
    assert (bench.DOCS / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_callgrind_says_why_when_it_has_counted_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("valgrind: cannot continue, symbols of the loader are missing\n")
    with pytest.raises(callgrind.Missing, match="symbols of the loader"):
        callgrind.counted(log)


def test_run_that_takes_too_long_has_failed(flash: Flash) -> None:
    with pytest.raises(size.RunFailed, match="not finished"):
        size.run("while True:\n    pass\n", flash.mpy[32], timeout_s=1)


def test_server_ends_with_the_bench(flash: Flash) -> None:
    with measure.serving(flash.server.cert_pem, flash.server.key_pem) as server:
        process = server._process
        assert process.poll() is None
    assert isinstance(process, subprocess.Popen) and process.poll() is not None
