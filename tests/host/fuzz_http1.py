"""Fuzz the response parser: python -m tests.host.fuzz_http1 --inputs 1000000 --seed 1

Inputs are made from a grammar, from the table of tests/device/http1_cases.py and, guided by
coverage, from inputs that reached a new step from line to line; most are mutated. Each is fed
whole, octet by octet and in random pieces to buffers of random size. Nothing may be raised, the
result may not depend on the pieces, and no octet in front of the response may change.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import os
import runpy
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from host.shim import Device

ROOT = Path(__file__).parents[2]
CASES = runpy.run_path(str(ROOT / "tests" / "device" / "http1_cases.py"))
ERRORS = (CASES["PROTO"], CASES["TOO_BIG"], CASES["CUT"], CASES["NOTHING"])
GUARD = b"\xa5\x5a\xa5"
CHUNK = 2000  # inputs for a process at a time
HANG_S = 300  # a chunk takes some seconds

VERSIONS = (b"HTTP/1.1",) * 40 + (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10")
STATUSES = (b"200",) * 20 + (b"204", b"205", b"304", b"404", b"503", b"999", b"101", b"99", b"20x")
REASONS = (b" OK",) * 20 + (b"", b" ", b" Not Found", b" caf\xc3\xa9", b" a\tb", b"OK", b" \x01")
OWS = (b" ",) * 9 + (b"", b"\t", b"  \t ", b"\r\n ", b" \r\n\t")
LENGTHS = (b"0%d", b"%d, %d", b"%d,%d", b"+%d", b"-%d", b"%d_0", b"0x%d", b"%d,", b"1%d", b"%d ")
HUGE = (b"67108862", b"67108863", b"2147483648", b"4294967301", b"18446744073709551621", b"9" * 30)
CODINGS = (b"chunked",) * 20 + (b"Chunked", b"gzip", b"gzip, chunked", b"chunked, chunked", b"")
NAMES = (b"A", b"Connection", b"X-Y", b"Retry-After", b"A B", b"", b"caf\xc3\xa9", b"Keep-Alive")
VALUES = (b"b", b"", b"close", b"keep-alive", b"a, close ,b", b"12", b"x" * 60, b"\xff", b"\x0b")
SIZES = (b"%x",) * 30 + (
    b"%X",
    b"000%x",
    b"0000000000000000000000%x",
    b"%x ",
    b"+%x",
    b"0x%x",
    b"",
)
EXTENSIONS = (b"",) * 20 + (b";a", b";a=b", b' ; a="b;c"', b";\x00", b"; \xe9", b" x")
TRAILERS = (b"",) * 12 + (b"X: v\r\n", b"X: v\r\nY:\r\n", b"X\r\n", b" \r\n", b"X: v\r\n w\r\n")
CONTENTS = (
    b"",
    b"x",
    b"hello",
    b"\r\n",
    b"0\r\n\r\n",
    b"\x00\xff\r\n",
    b"y" * 40,
    b"HTTP/1.1 200",
)
TAILS = (b"",) * 6 + (b"\r\n", b"X", b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n")
SEEDS = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\x7f",
    b"\x0b",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"5",
)


def made(random: Random) -> bytes:
    """Return a response made from the grammar of RFC 9112; some of its parts are bad."""
    head = b""
    while random.random() < 0.15:
        head += random.choice(VERSIONS[:41]) + b" 10%d \r\n" % random.choice((0, 0, 2, 3))
        head += _field(random) * random.randrange(2) + b"\r\n"
    head += random.choice(VERSIONS) + b" " + random.choice(STATUSES) + random.choice(REASONS)
    lines = [_field(random) for _ in range(random.choice((0, 0, 0, 1, 2)))]
    content = random.choice(CONTENTS)
    framing = random.random()
    if framing < 0.45:
        lines.append(_named(random, b"Content-Length", _length(random, len(content))))
    if 0.43 < framing < 0.9:
        lines.append(_named(random, b"Transfer-Encoding", random.choice(CODINGS)))
        content = _chunks(random)
    random.shuffle(lines)
    return head + b"\r\n" + b"".join(lines) + b"\r\n" + content + random.choice(TAILS)


def _named(random: Random, name: bytes, value: bytes) -> bytes:
    name = random.choice((name, name, name.lower(), name.upper()))
    line = name + b":" + random.choice(OWS) + value + random.choice((b"", b"", b"", b" ", b"\t"))
    return (line + b"\r\n") * random.choice((1,) * 20 + (2,))


def _field(random: Random) -> bytes:
    good = random.random() < 0.97
    name = random.choice(NAMES[:4] if good else NAMES)
    return _named(random, name, random.choice(VALUES[:-1] if good else VALUES))


def _length(random: Random, n: int) -> bytes:
    kind = random.random()
    if kind < 0.9:
        return b"%d" % n
    if kind < 0.92:
        return random.choice(HUGE)
    text = random.choice(LENGTHS)
    return text % ((n,) * text.count(b"%d"))


def _chunks(random: Random) -> bytes:
    whole = b""
    for _ in range(random.choice((0, 1, 1, 2, 3, 5))):
        content = random.choice(CONTENTS[1:])
        size = random.choice(SIZES)
        size = size % len(content) if size else b"fffffffb"
        whole += size + random.choice(EXTENSIONS) + b"\r\n" + content
        whole += b"\r\n" if random.random() < 0.98 else random.choice((b"", b"\n", b"\r", b"XX"))
    return whole + b"0" + random.choice(EXTENSIONS) + b"\r\n" + random.choice(TRAILERS) + b"\r\n"


def mutated(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Return data with one to four changes: octets replaced, inserted, dropped, swapped, cut."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        a = random.randrange(len(changed) + 1)
        e = min(len(changed), a + random.choice((0, 1, 1, 2, 5, 20)))
        kind = random.randrange(8)
        if kind < 3:
            changed[a:a] = random.choice(SEEDS)
        elif kind == 3:
            changed[a:e] = bytes(random.randrange(256) for _ in range(e - a))
        elif kind == 4:
            changed[a:e] = b""
        elif kind == 5:
            changed[a:a] = changed[a:e] * random.choice((1, 1, 3))
        elif kind == 6:
            del changed[a:]
        else:
            changed[a:] = other[random.randrange(len(other) + 1) :]
    return bytes(changed)


def cuts(random: Random, n: int) -> list[int]:
    """Return random places to cut n octets at, in order."""
    return sorted(random.randrange(n + 1) for _ in range(random.choice((1, 2, 3, 8))))


class Sink:
    """Keeps the content that a Response hands over."""

    def __init__(self) -> None:
        self.content = b""

    def take(self, buf: bytearray, off: int, n: int) -> None:
        """Add the content in buf[off:off+n]; an empty piece is a defect."""
        assert n > 0 and 0 <= off <= off + n <= len(buf), (off, n)
        self.content += buf[off : off + n]


class Reader:
    """Feeds one input in one way to a new Response and checks what must always hold."""

    def __init__(self) -> None:
        self._response = Device(ROOT / "firmware").load("onebuf.http1").Response

    def read(
        self,
        data: bytes,
        pieces: Any = (),
        size: int | None = None,
        no_content: bool = False,
        through_sink: bool = False,
    ) -> tuple[int, bytes, bool | None]:
        """Return (result, content, keep_alive or None where not all octets were taken)."""
        size = len(data) + 64 if size is None else size
        buf = bytearray(GUARD) + bytearray(size)
        response = self._response(buf)
        sink = Sink() if through_sink else None
        response.start(len(GUARD), no_content, sink.take if sink else None)
        result, keep_alive, delivered = CASES["deliver"](response, data, pieces)
        assert buf[: len(GUARD)] == GUARD and len(buf) == len(GUARD) + size, "written outside"
        assert result in ERRORS or 200 <= result <= 999, result
        self._check_fields(response)
        if result < 0:
            return result, b"", None
        content = sink.content if sink else bytes(buf[response.off : response.off + response.n])
        assert response.n == len(content), "content outside the buffer"
        assert response.status == result
        return result, content, keep_alive if delivered == len(data) else None

    def _check_fields(self, response: Any) -> None:
        for name in (b"a", b"content-length", b"connection", b"x", b""):
            at = response.field(name)
            assert at == -2 or len(GUARD) < at <= at + response.field_n <= response.off, at
            assert -1 <= response.number(name) < 1 << 26


class Coverage:
    """Knows every step from one line of the device's code to another that was ever made."""

    def __init__(self) -> None:
        self._folder = str(ROOT / "firmware")
        self._last = 0
        self._now: set[tuple[str, int, int]] = set()
        self.steps: set[tuple[str, int, int]] = set()

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(self._folder):
            return None
        self._now.add((code.co_filename, self._last, frame.f_lineno))
        self._last = frame.f_lineno
        return self._line

    def is_new(self, call: functools.partial[Any]) -> bool:
        """Run call; return whether it made a step that was never made before."""
        self._now.clear()
        before = sys.gettrace()
        sys.settrace(self._line)
        try:
            call()
        finally:
            sys.settrace(before)
        new = not self._now <= self.steps
        self.steps |= self._now
        return new


class Fuzzer:
    """Makes inputs, keeps the interesting ones, and checks each in several ways."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.coverage = Coverage()
        self.corpus = [case[1] for group in CASES["GROUPS"] for case in group]

    def inputs(self, random: Random, n: int) -> Iterator[bytes]:
        """Yield n inputs."""
        for _ in range(n):
            kind = random.random()
            if kind < 0.05:
                yield random.randbytes(random.randrange(80))
                continue
            data = made(random) if kind < 0.5 else random.choice(self.corpus)
            if kind > 0.3:
                data = mutated(random, data, random.choice(self.corpus))
            yield data

    def check(self, random: Random, data: bytes) -> int:
        """Feed data in several ways; return the result; AssertionError shows how to repeat it."""
        small = random.random() < 0.3
        size = random.randrange(len(data) + 2) if small else len(data) + 64
        options: dict[str, Any] = {
            "size": size,
            "no_content": random.random() < 0.1,
            "through_sink": random.random() < 0.2,
        }
        pieces = cuts(random, len(data))
        read: Any = functools.partial(self.reader.read, data, **options)
        try:
            if self.coverage.is_new(functools.partial(read, pieces)) and len(data) < 2000:
                self.corpus.append(data)
            whole = read()
            for way in (pieces, range(len(data))):
                got = read(way)
                assert got[:2] == whole[:2], (got, whole)
                assert got[2] == whole[2] or None in (got[2], whole[2]), (got, whole)
        except Exception as error:
            raise AssertionError(f"read({data!r}, {pieces}, **{options}): {error!r}") from error
        return whole[0]


@functools.cache
def fuzzer() -> Fuzzer:
    """Return the fuzzer of this process: its corpus grows from chunk to chunk."""
    return Fuzzer()


def run_chunk(seed: int, n: int) -> tuple[Counter[int], int, int]:
    """Check n inputs; return how often each result came, the corpus' size and the steps seen."""
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        random, own = Random(seed), fuzzer()
        counts = Counter(own.check(random, data) for data in own.inputs(random, n))
    finally:
        faulthandler.cancel_dump_traceback_later()
    return counts, len(own.corpus), len(own.coverage.steps)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Fuzz the HTTP/1.1 response parser.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    start = time.monotonic()
    sizes = [min(CHUNK, options.inputs - i) for i in range(0, options.inputs, CHUNK)]
    seeds = [options.seed * 1_000_003 + i for i in range(len(sizes))]
    counts: Counter[int] = Counter()
    corpus = steps = 0
    with ProcessPoolExecutor(options.processes) as pool:
        for some, n, seen in pool.map(run_chunk, seeds, sizes):
            counts += some
            corpus, steps = max(corpus, n), max(steps, seen)
            if sys.stderr.isatty():
                print(f"\r{counts.total()} inputs ", end="", file=sys.stderr, flush=True)
    for result, count in sorted(counts.items()):
        print(f"{result:5d} {count:9d}")
    print(f"{counts.total()} inputs in {time.monotonic() - start:.0f} s")
    print(f"up to {corpus} inputs kept in a process, {steps} steps from line to line")
    print("no exception, no hang, no result that depends on the pieces")
    return 0


if __name__ == "__main__":
    sys.exit(main())
