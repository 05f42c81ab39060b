"""What a signature costs on 32-bit MicroPython, as compiled for a board: instructions and heap."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import callgrind, size

INSTRUCTIONS = 30_000  # of one HMAC-SHA256 of a short text with a key that is ready
KEY_INSTRUCTIONS = 25_000  # and of making it ready
HEAP = 512  # bytes, of one HMAC-SHA256
TIMES = 20
TIMEOUT_S = 120
PREPARED = """\
import gc
from onebuf.sign import HMAC
key = bytes(range(32))
text = b"GET\\n/things/sensor-1/shadow\\n20250115T123456Z"
hmac = HMAC("sha256", key)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpy")
    size.compile_package(folder)
    return folder


def instructions(package: Path, log: Path, statement: str) -> float:
    """How many instructions statement takes, those of a loop around it not counted."""
    valgrind = callgrind.find(32)
    counts = []
    for body in ("pass", statement):
        code = f"{PREPARED}for _ in range({TIMES}):\n    {body}\n"
        size.run(code, package, argv=valgrind.argv(log), timeout_s=TIMEOUT_S)
        counts.append(callgrind.counted(log))
    return (counts[1] - counts[0]) / TIMES


@pytest.mark.parametrize(
    ("statement", "most"),
    [("hmac.digest(text)", INSTRUCTIONS), ('HMAC("sha256", key)', KEY_INSTRUCTIONS)],
)
def test_hmac_sha256_takes_no_more_instructions_than_its_budget(
    package: Path, tmp_path: Path, statement: str, most: int
) -> None:
    assert 1000 < instructions(package, tmp_path / "log", statement) <= most


def test_hmac_sha256_takes_no_more_heap_than_its_budget(package: Path) -> None:
    code = (
        f"{PREPARED}def measure():\n    before = gc.mem_alloc()\n    hmac.digest(text)\n"
        "    return gc.mem_alloc() - before\nmeasure()\ngc.collect()\nprint(measure())\n"
    )
    assert 0 < int(size.run(code, package)) <= HEAP
