"""A hundred thousand publishes over TLS with a reconnect every thousand: what must stay, stays."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tools.bench import measure, programs
from tools.bench.build import Flash
from tools.bench.measure import Cell

PUBLISHES = 100_000
BETWEEN = 1000  # publishes from one reconnect, and sample, to the next
_SAMPLE = re.compile(r"^sample (\d+) (\d+)$", re.MULTILINE)
_TOTALS = re.compile(r"^connects (\d+) accepted (\d+)$", re.MULTILINE)


class Sample(NamedTuple):
    """What must not change: octets of heap in use and of the largest free block, descriptors."""

    heap: int
    block: int
    descriptors: int


class Soak(NamedTuple):
    """What a soak has shown."""

    bits: int
    accepted: int
    connects: int
    samples: list[Sample]

    def complaints(self) -> list[str]:
        """What changed between samples though it must not; none is good."""
        found = []
        first = self.samples[0]
        for name in Sample._fields:
            values = {getattr(sample, name) for sample in self.samples}
            if len(values) > 1:
                was = getattr(first, name)
                found.append(f"{name}: {was} at first, then from {min(values)} to {max(values)}")
        return found

    def figures(self) -> dict[str, Any]:
        """The same for docs/bench.json."""
        first = self.samples[0]._asdict()
        kept = {"accepted": self.accepted, "connects": self.connects, "first sample": first}
        return {**kept, "samples": len(self.samples), "complaints": self.complaints()}


def soak(flash: Flash, bits: int, publishes: int = PUBLISHES) -> Soak:
    """Publish on a heap of 64 KiB (128 KiB with 64-bit words) with the heap locked."""
    cell = Cell("onebuf", bits, True)
    between = min(BETWEEN, publishes)
    printed = measure.run(
        flash, cell, programs.SOAK, 2048 * bits, samples=publishes // between, publishes=between
    )
    blocks = [block for _, block in measure.reports(printed, bits)]
    said = [(int(found[1]), int(found[2])) for found in _SAMPLE.finditer(printed)]
    samples = [
        Sample(heap, block, descriptors)
        for (descriptors, heap), block in zip(said, blocks, strict=True)
    ]
    totals = _TOTALS.search(printed)
    assert totals and samples, printed[-500:]
    return Soak(bits, int(totals[2]), int(totals[1]), samples)
