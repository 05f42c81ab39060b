"""What a flash queue costs: wear, RAM and time, on 32-bit MicroPython with LittleFS.

`python -m tools.flash_figures` prints the table of docs/flash-queue.md. Octets and erases are
counted, the same on every run; the pushes per second are this computer's.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import size

BATCHES = (1, 8, 32)
PAYLOAD = 88  # octets
READINGS = 1000
BLOCK, BLOCKS = 4096, 256  # a chip of 1 MB
CYCLES = 100_000  # of each block
READINGS_A_YEAR = 365 * 24 * 60
WORN = 20_000  # readings of the run that tells how evenly the blocks wear
_HEAP = 8 << 20
_TIMEOUT_S = 300

_PROBE = """
import gc, json, time, vfs
from onebuf.flash_queue import FlashQueue

RECORD = bytes(PAYLOAD)
ERASED = b"\\xff" * BLOCK


class Flash:
    def __init__(self):
        self.image = memoryview(bytearray(BLOCK * BLOCKS))
        self.programmed = 0
        self.erases = [0] * BLOCKS

    def readblocks(self, block, buf, off):
        at = block * BLOCK + off
        buf[:] = self.image[at : at + len(buf)]

    def writeblocks(self, block, buf, off):
        at = block * BLOCK + off
        self.image[at : at + len(buf)] = buf
        self.programmed += len(buf)

    def ioctl(self, op, arg):
        if op == 6:
            self.erases[arg] += 1
            self.image[arg * BLOCK : (arg + 1) * BLOCK] = ERASED
        return {4: BLOCKS, 5: BLOCK}.get(op, 0)

    def counts(self):
        return self.programmed, sum(self.erases)


def mounted():
    flash = Flash()
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(vfs.VfsLfs2(flash), "/f")
    return flash


def end(q):
    q.close()
    vfs.umount("/f")


def serve(q, window):
    while len(q):
        q.peek(window)
        q.pop()


def ram():
    mounted()
    gc.collect()
    before = gc.mem_alloc()
    q = FlashQueue("/f/q", batch=BATCH)
    for _ in range(2 * BATCH):
        q.push(RECORD)
    serve(q, bytearray(256))
    q.push(RECORD)
    q.sync()
    gc.collect()
    held = gc.mem_alloc() - before
    end(q)
    return held


def kept():
    flash = mounted()
    q = FlashQueue("/f/q", 256 * 1024, batch=BATCH)
    counts = [flash.counts()]
    start = time.ticks_us()
    for _ in range(READINGS):
        q.push(RECORD)
    q.sync()
    us = time.ticks_diff(time.ticks_us(), start)
    counts.append(flash.counts())
    serve(q, bytearray(256))
    q.sync()
    counts.append(flash.counts())
    end(q)
    return counts, us


def at_once():
    flash = mounted()
    q = FlashQueue("/f/q", batch=BATCH)
    before = flash.counts()
    window = bytearray(256)
    for _ in range(READINGS):
        q.push(RECORD)
        serve(q, window)
    after = flash.counts()
    end(q)
    return before, after


def worn():
    flash = mounted()
    q = FlashQueue("/f/q", batch=BATCH)
    for _ in range(WORN):
        q.push(RECORD)
    end(q)
    return flash.erases


"""


@dataclass(frozen=True)
class Wear:
    """What READINGS took: octets programmed, and blocks erased."""

    programmed: int
    erases: int

    @property
    def octets_each(self) -> int:
        """Octets programmed for each reading."""
        return round(self.programmed / READINGS)

    @property
    def erases_per_1000(self) -> int:
        """Blocks erased for 1,000 readings."""
        return round(self.erases * 1000 / READINGS)

    @property
    def years(self) -> str:
        """Until all blocks have had their cycles, at one reading a minute."""
        years = BLOCKS * CYCLES / (self.erases / READINGS * READINGS_A_YEAR)
        return f"{years:.0f}" if years < 1000 else "> 1,000"


@dataclass(frozen=True)
class Figures:
    """Of a queue with one size of batch.

    waiting: readings pushed; forwarded: the same, and then sent; at_once: each sent when pushed.
    """

    batch: int
    ram: int  # octets, with its files open
    waiting: Wear
    forwarded: Wear
    at_once: Wear
    pushes_a_second: int

    @property
    def amplification(self) -> float:
        """Octets programmed for each octet of the readings that wait."""
        return self.waiting.programmed / READINGS / PAYLOAD


@dataclass(frozen=True)
class Spread:
    """Erases of the blocks after WORN readings, each written at once: their mean, and the most."""

    mean: int
    most: int


def measure(folder: Path, batch: int) -> Figures:
    """Run the queue, compiled in folder, on 32-bit MicroPython."""
    ram, kept, at_once = _probe(folder, batch, "[ram(), kept(), at_once()]")
    (start, pushed, sent), us = kept
    return Figures(
        batch,
        ram,
        _wear(start, pushed),
        _wear(start, sent),
        _wear(*at_once),
        READINGS * 1_000_000 // us,
    )


def spread(folder: Path) -> Spread:
    """How evenly the blocks wear in a long run."""
    erases = _probe(folder, 1, "worn()")
    return Spread(round(sum(erases) / BLOCKS), max(erases))


def code_ram(folder: Path) -> int:
    """RAM in octets that the queue's code takes beyond what the rest of the package shares."""
    shared, _ = size.held_after_import(folder, ("onebuf.span",))
    held, _ = size.held_after_import(folder, ("onebuf.span", "onebuf.flash_queue"))
    return held - shared


def table(figures: Sequence[Figures], code: int) -> list[str]:
    """The figures in Markdown, a column for each size of batch."""
    rows: dict[str, Sequence[int | str]] = {
        "records in a batch": [each.batch for each in figures],
        "octets programmed for a reading that waits": [
            each.waiting.octets_each for each in figures
        ],
        "octets programmed for one of the reading's": [
            f"{each.amplification:.1f}" for each in figures
        ],
        "erases for 1,000 readings that wait": [each.waiting.erases_per_1000 for each in figures],
        "the same with forwarding them": [each.forwarded.erases_per_1000 for each in figures],
        "years, if every reading waits": [each.forwarded.years for each in figures],
        "octets programmed for a reading sent at once": [
            each.at_once.octets_each for each in figures
        ],
        "RAM of the queue, octets": [each.ram for each in figures],
        "pushes in a second, on a PC": [each.pushes_a_second for each in figures],
    }
    lines = [f"| {label} | {' | '.join(map(_figure, row))} |" for label, row in rows.items()]
    lines.insert(1, "|---" * (len(figures) + 1) + "|")
    return [*lines, f"RAM of the code: {_figure(code)} octets"]


def _figure(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _wear(before: Sequence[int], after: Sequence[int]) -> Wear:
    return Wear(after[0] - before[0], after[1] - before[1])


def _probe(folder: Path, batch: int, expression: str) -> Any:
    values = {"BATCH": batch, "PAYLOAD": PAYLOAD, "READINGS": READINGS, "WORN": WORN}
    values |= {"BLOCK": BLOCK, "BLOCKS": BLOCKS}
    constants = "".join(f"{name} = {value}\n" for name, value in values.items())
    code = f"{constants}{_PROBE}print(json.dumps({expression}))\n"
    return json.loads(size.run(code, folder, heap=_HEAP, timeout_s=_TIMEOUT_S))


def main() -> None:
    """Print the table, and how evenly the blocks wear."""
    with tempfile.TemporaryDirectory(prefix="onebuf-mpy-") as name:
        folder = Path(name)
        size.compile_package(folder)
        print("\n".join(table([measure(folder, batch) for batch in BATCHES], code_ram(folder))))
        worn = spread(folder)
        print(
            f"erases of a block after {WORN:,} readings: {worn.mean} in the mean, {worn.most} most"
        )


if __name__ == "__main__":
    main()
