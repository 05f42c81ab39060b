"""The main job, end to end: the real application on real MicroPython publishes to the cloud here.

What the device logged and what the cloud received are two accounts of the same publishes, made by
code that shares nothing; the demo succeeds if they agree.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from host import sntp
from host.certs import Authority
from host.cloud.server import serve
from host.demo_devices import WAYS
from host.device_files import lay
from tools.micropython import find

FIRMWARE = Path(__file__).parents[1] / "firmware"
ROOT = FIRMWARE.parent
BOARD = ROOT / "boards" / "ESP32_GENERIC" / "board.json"
_SILENCE_S = 60.0  # a device says each reading; DPS lets it wait for a second
_ACCEPTED = re.compile(r"(\{.*\}) -> 20[04] in ")  # a line of the device's log
_SHOWN = 2  # readings of each device that are printed


class DemoFailed(Exception):
    """The two accounts differ, or the device did not come to its end; str() says which."""


@dataclass(frozen=True)
class Row:
    """One device's line of the table."""

    way: str
    runtime: str
    publishes: int
    heap_bytes_per_publish: float | None
    median_ms: float


@dataclass(frozen=True)
class _Runtime:
    name: str
    argv: list[str]
    environment: dict[str, str]


def run(readings: int, say: Callable[[str], None]) -> list[Row]:
    """Publish `readings` readings in every way and compare; DemoFailed, RuntimeMissing."""
    micropython, shim = _runtimes()
    first, *others = WAYS
    rows = [_row(way, micropython, readings, say) for way in (first, *others)]
    return [*rows, _row(first, shim, readings, say)]


def _runtimes() -> tuple[_Runtime, _Runtime]:
    """MicroPython with the heap that a board leaves to it, and this interpreter."""
    micropython = find(32)
    heap = json.loads(BOARD.read_text())["heap_bytes"]
    argv = [*micropython.argv, "-X", f"heapsize={heap}"]
    name = f"micropython {micropython.version} 32-bit"
    path = {"MICROPYPATH": f"{FIRMWARE}:.frozen"}
    shim = f"cpython {sys.version.split()[0]} (shim)"
    python = [sys.executable, "-m", "host.shim"]
    return _Runtime(name, argv, path), _Runtime(shim, python, {"PYTHONPATH": str(ROOT)})


def _row(way: str, runtime: _Runtime, readings: int, say: Callable[[str], None]) -> Row:
    say(f"\n{way}: {runtime.name}")
    with tempfile.TemporaryDirectory(prefix="onebuf-demo-") as name, ExitStack() as servers:
        folder = Path(name)
        authority = Authority(folder / "certificates")
        setup = WAYS[way](authority, "demo-thing")
        cloud = servers.enter_context(serve(setup.cloud))
        config = {"readings": readings, "period_ms": 20, "heap_lock": True, **setup.config}
        config["settings"] = {**config["settings"], "port": cloud.port}
        if "dps" in config:
            config["dps"] = {**config["dps"], "port": cloud.port}
        if "clock" in config:
            time = servers.enter_context(sntp.serve())
            config["clock"] = {"servers": [time.host], "port": time.port}
        lay(folder / "device", authority, config, setup.pair, setup.above)
        lines = _run_device(runtime, folder / "device", say)
        received = [message.payload.decode() for message in cloud.messages()]
    return _compare(way, runtime, readings, lines, received, say)


def _compare(
    way: str,
    runtime: _Runtime,
    readings: int,
    lines: list[str],
    received: list[str],
    say: Callable[[str], None],
) -> Row:
    for payload in received[:_SHOWN]:
        say(f"  cloud   {payload}")
    logged = [match[1] for match in map(_ACCEPTED.match, lines) if match]
    if logged != received or len(received) != readings:
        raise DemoFailed(
            f"{way}: {runtime.name}: {readings} readings, {len(logged)} logged as accepted, "
            f"{len(received)} received by the cloud{_first_difference(logged, received)}"
        )
    say(f"  all {readings} readings that the device logged are those that the cloud received")
    summary = json.loads(lines[-1].removeprefix("summary "))
    heap = None if "shim" in runtime.name else summary["heap_bytes_per_publish"]
    return Row(way, runtime.name, len(received), heap, summary["median_us"] / 1000)


def _first_difference(logged: list[str], received: list[str]) -> str:
    for number, (device, cloud) in enumerate(zip(logged, received, strict=False)):
        if device != cloud:
            return f"; number {number}: the device has {device}, the cloud {cloud}"
    return ""


def _run_device(runtime: _Runtime, folder: Path, say: Callable[[str], None]) -> list[str]:
    """Run the application to its end: its log, line by line."""
    lines: list[str] = []
    argv = [*runtime.argv, str(FIRMWARE / "main.py")]
    readings = 0
    with _process(argv, runtime.environment, folder) as process:
        for line in _said(process):
            lines.append(line.rstrip("\n"))
            readings += _ACCEPTED.match(line) is not None
            if readings <= _SHOWN or not _ACCEPTED.match(line):
                say(f"  device  {lines[-1]}")
        status = process.wait()
    if status or not lines or not lines[-1].startswith("summary "):
        raise DemoFailed(f"the device stopped with exit status {status}")
    return lines


def _said(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield each line up to the end of the process; DemoFailed if it is silent for too long."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        process.wait()  # it may close its output and stay
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        yield from iter(lambda: lines.get(timeout=_SILENCE_S), None)
    except queue.Empty:
        raise DemoFailed(f"the device has said nothing for {_SILENCE_S:g} s") from None


@contextmanager
def _process(
    argv: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """A child that does not outlive this block."""
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def table(rows: list[Row]) -> str:
    """The rows as text for a terminal."""
    cells = [("cloud and login", "runtime", "publishes", "heap bytes/publish", "median ms")]
    for row in rows:
        heap = "-" if row.heap_bytes_per_publish is None else f"{row.heap_bytes_per_publish:g}"
        figures = (str(row.publishes), heap, f"{row.median_ms:.2f}")
        cells.append((row.way, row.runtime, *figures))
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    return "\n".join(
        f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  "
        + "  ".join(f"{line[i]:>{widths[i]}}" for i in (2, 3, 4))
        for line in cells
    )


def as_json(rows: list[Row]) -> str:
    """The rows for a program."""
    return json.dumps({"ok": True, "rows": [asdict(row) for row in rows]}, indent=2)
