"""The main job, end to end: the real application on real MicroPython publishes to the cloud here.

What the device logged and what the cloud received are two accounts of the same publishes, made by
code that shares nothing; the demo succeeds if they agree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import Running, serve
from host.device_files import provision
from tools.micropython import find

FIRMWARE = Path(__file__).parents[1] / "firmware"
ROOT = FIRMWARE.parent
BOARD = ROOT / "boards" / "ESP32_GENERIC" / "board.json"
_TIMEOUT_S = 120.0


class DemoFailed(Exception):
    """The two accounts differ, or the device did not come to its end; str() says which."""


@dataclass(frozen=True)
class Row:
    """One runtime's line of the table."""

    runtime: str
    publishes: int
    heap_bytes_per_publish: float | None
    median_ms: float


def run(readings: int, say: Callable[[str], None]) -> list[Row]:
    """Publish `readings` readings from each runtime and compare; DemoFailed, RuntimeMissing."""
    micropython = find(32)
    heap = json.loads(BOARD.read_text())["heap_bytes"]
    runtimes = {
        f"micropython {micropython.version} 32-bit": (
            [*micropython.argv, "-X", f"heapsize={heap}"],
            {"MICROPYPATH": f"{FIRMWARE}:.frozen"},
        ),
        f"cpython {sys.version.split()[0]} (shim)": (
            [sys.executable, "-m", "host.shim"],
            {"PYTHONPATH": str(ROOT)},
        ),
    }
    with tempfile.TemporaryDirectory(prefix="onebuf-demo-") as folder:
        authority = Authority(Path(folder) / "certificates")
        aws = AWSCloud(authority)
        with serve(aws) as cloud:
            return [
                _row(cloud, aws, name, argv, environment, readings, say)
                for name, (argv, environment) in runtimes.items()
            ]


def _row(
    cloud: Running,
    aws: AWSCloud,
    name: str,
    argv: list[str],
    environment: dict[str, str],
    readings: int,
    say: Callable[[str], None],
) -> Row:
    thing = f"demo-{name.split()[0]}"
    topic = f"fleet/{thing}/telemetry"
    say(f"\n{name} publishes to {aws.endpoint}, topic {topic}")
    with tempfile.TemporaryDirectory(prefix="onebuf-device-") as folder:
        device, settings = Path(folder), {"readings": readings, "period_ms": 50, "heap_lock": True}
        provision(device, aws, aws.add_thing(thing), topic, cloud.port, **settings)
        lines = _run_device([*argv, str(FIRMWARE / "main.py")], environment, device, say)
    logged = [line.split(" -> ")[0] for line in lines if " -> 200 " in line]
    received = [message.payload.decode() for message in cloud.messages(topic)]
    for payload in received:
        say(f"  cloud   {payload}")
    if logged != received or len(received) != readings:
        raise DemoFailed(
            f"{name}: {readings} readings, {len(logged)} logged as accepted, "
            f"{len(received)} received by the cloud"
        )
    summary = json.loads(lines[-1].removeprefix("summary "))
    heap = None if "shim" in name else summary["heap_bytes_per_publish"]
    return Row(name, len(received), heap, summary["median_us"] / 1000)


def _run_device(
    argv: list[str], environment: dict[str, str], folder: Path, say: Callable[[str], None]
) -> list[str]:
    """Run the application to its end: its log, line by line."""
    lines: list[str] = []
    with _process(argv, environment, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            say(f"  device  {lines[-1]}")
        status = process.wait(_TIMEOUT_S)
    if status or not lines or not lines[-1].startswith("summary "):
        raise DemoFailed(f"the device stopped with exit status {status}")
    return lines


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
    cells = [("runtime", "publishes", "heap bytes/publish", "median ms")]
    for row in rows:
        heap = "-" if row.heap_bytes_per_publish is None else f"{row.heap_bytes_per_publish:g}"
        cells.append((row.runtime, str(row.publishes), heap, f"{row.median_ms:.2f}"))
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    return "\n".join(
        f"{line[0]:<{widths[0]}}  " + "  ".join(f"{line[i]:>{widths[i]}}" for i in (1, 2, 3))
        for line in cells
    )


def as_json(rows: list[Row]) -> str:
    """The rows for a program."""
    return json.dumps({"ok": True, "rows": [asdict(row) for row in rows]}, indent=2)
