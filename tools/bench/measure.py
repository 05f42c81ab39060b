"""The figures of one client on one runtime: a cell is a client, a word size and plain or TLS."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from tools import callgrind, size
from tools.bench import programs
from tools.bench.build import IMPORTS, Flash
from tools.bench.server import Server, serving

Figure = float | None  # None: not measured here
Figures = dict[str, Figure]

PUBLISHES = 100
FRAGMENTING = 10_000
_HANDSHAKES = 500  # instead, for a client that shakes hands for every publish
_COUNTED = 20
_STEP = 256  # octets, of the bisection
_DELAY_MS = 20  # so that the client waits for each answer, on any machine
_HANDSHAKE = "mbedtls_ssl_handshake"  # its length varies with chance, by half a million
_STRETCH_US = 700_000
_TIMEOUT_S = 900
_FREE = re.compile(r"GC: total: \d+, used: (\d+).*?max free sz: (\d+)", re.DOTALL)


class Cell(NamedTuple):
    """Where a figure belongs; str() is its name in docs/bench.json."""

    client: str
    bits: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.client}, {self.bits}-bit, {'TLS' if self.tls else 'plain'}"

    @property
    def shakes_hands(self) -> bool:
        """Whether each publish has a TLS handshake of its own."""
        return self.tls and self.client == "requests"


def counts(flash: Flash, cell: Cell) -> Figures:
    """Per publish: octets of heap, read() and write() calls, and what goes over the wire."""
    heap_size = 4 << 20  # with the collector off, all of it must fit
    with _serving(flash) as server:
        printed = _run(flash, cell, server, programs.COUNTS, heap_size, None, publishes=_COUNTED)
        wire = server.per_publish()
    heap, reads, writes = json.loads(printed)
    return {
        "heap bytes/publish": round(heap / _COUNTED, 1),
        "write calls/publish": None if writes is None else writes / _COUNTED,
        "read calls/publish": None if reads is None else reads / _COUNTED,
        "TLS records up/publish": round(wire["TLS records"], 1) if cell.tls else None,
        "bytes up/publish": round(wire["bytes up"], 1),
        "bytes down/publish": round(wire["bytes down"], 1),
        "connections/publish": wire["connections"],
    }


def instructions(flash: Flash, cell: Cell) -> Figures:
    """Instructions per publish: the difference of two runs under callgrind, over its publishes."""
    try:
        counter = callgrind.find(cell.bits)
    except callgrind.Missing:
        return {"instructions/publish": None}
    more = 5 if cell.shakes_hands else PUBLISHES
    without = "" if cell.shakes_hands else _HANDSHAKE
    totals = []
    for publishes in (5, 5 + more):
        with tempfile.TemporaryDirectory(prefix="onebuf-callgrind-") as name:
            log = Path(name) / "log"
            argv, heap = counter.argv(log, without), 8192 * cell.bits
            with _serving(flash, _DELAY_MS) as server:
                _run(flash, cell, server, programs.PUBLISHES, heap, argv, publishes=publishes)
            totals.append(callgrind.counted(log))
    return {"instructions/publish": round((totals[1] - totals[0]) / more)}


def smallest_heap(flash: Flash, cell: Cell) -> Figures:
    """The smallest heap, to 256 octets, that completes a hundred publishes; that less the code.

    The code is what importing the client and all that it imports holds, from .mpy.
    """
    low, high = 1024, 2048 * cell.bits
    while high - low > _STEP:
        middle = (low + high) // (2 * _STEP) * _STEP
        if completes(flash, cell, middle):
            high = middle
        else:
            low = middle
    code, _ = size.held_after_import(flash.mpy[cell.bits], (f"client_{cell.client}",), cell.bits)
    return {"smallest heap": high, "working set": high - code}


def completes(flash: Flash, cell: Cell, heap: int) -> bool:
    """Whether a heap of so many octets suffices for a hundred publishes."""
    try:
        run(flash, cell, programs.PUBLISHES, heap, publishes=PUBLISHES)
    except size.RunFailed:
        return False
    return True


def fragments(flash: Flash, cell: Cell) -> Figures:
    """The heap's largest free block before and after ten thousand publishes, in octets."""
    publishes = _HANDSHAKES if cell.shakes_hands else FRAGMENTING
    printed = run(flash, cell, programs.FRAGMENTS, 2048 * cell.bits, publishes=publishes)
    (_, before), (_, after) = reports(printed, cell.bits)
    return {
        "largest free block before": before,
        "largest free block after": after,
        "largest free block lost": max(0, before - after),
    }


def times(flash: Flash, cell: Cell) -> Figures:
    """Publishes per second and microseconds of processor time for each: the best of three."""
    stretches = json.loads(run(flash, cell, programs.TIMES, 8192 * cell.bits, us=_STRETCH_US))
    return {
        "publishes/s": round(max(n * 1e6 / us for n, us, _ in stretches)),
        "CPU us/publish": round(min(cpu * 1e6 / n for n, _, cpu in stretches), 1),
    }


def ram(flash: Flash, client: str, bits: int) -> Figures:
    """Octets of RAM that importing the client's library holds, from .mpy and from .py."""
    if not IMPORTS[client]:
        return {}
    return {
        f"RAM after import, {kind}": size.held_after_import(folder, IMPORTS[client], bits)[0]
        for kind, folder in (("mpy", flash.mpy[bits]), ("py", flash.py))
    }


def versions(flash: Flash, bits: int) -> list[str]:
    """The runtime's version and that of its mbedTLS."""
    told: list[str] = json.loads(size.run(programs.VERSION, flash.mpy[bits], bits=bits))
    return told


def reports(printed: str, bits: int) -> list[tuple[int, int]]:
    """What the collector has reported: octets in use, and of the largest free block."""
    block = bits // 2  # four words
    return [(int(used), int(free) * block) for used, free in _FREE.findall(printed)]


COUNTED: tuple[Callable[[Flash, Cell], Figures], ...] = (
    counts,
    instructions,
    smallest_heap,
    fragments,
)


def run(flash: Flash, cell: Cell, text: str, heap: int, **fill: int) -> str:
    """Run a program of tools.bench.programs in a heap of so many octets: what it prints."""
    with _serving(flash) as server:
        return _run(flash, cell, server, text, heap, None, **fill)


def _serving(flash: Flash, delay_ms: int = 0) -> AbstractContextManager[Server]:
    return serving(flash.server.cert_pem, flash.server.key_pem, delay_ms)


def _run(
    flash: Flash,
    cell: Cell,
    server: Server,
    text: str,
    heap: int,
    argv: Sequence[str] | None,
    **fill: int,
) -> str:
    port = server.tls_port if cell.tls else server.port
    code = text.format(client=cell.client, port=port, secure=cell.tls, **fill)
    return size.run(code, flash.mpy[cell.bits], flash.device, heap, cell.bits, argv, _TIMEOUT_S)
