"""The power-cut laboratory: a device on real MicroPython, whose LittleFS loses power as we choose.

A program for the device imports Flash from `powercut_flash`, which is laid beside it, makes
`vfs.VfsLfs2(Flash(...))` of it and is started here: many times in one interpreter, or once on an
image file until its power goes and the process is killed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.micropython import find

_FLASH = Path(__file__).with_name("powercut_flash.py")
_HEAP = "32M"  # an image, a journal of a whole run, and the copies of each cut
_CUT, _END = ["cut"], ["end"]


class Failed(Exception):
    """The program went wrong, or took too long; str() has what it said."""


@dataclass(frozen=True)
class Laboratory:
    """Runs `program` on MicroPython of `bits`, with `path` to import from, in `folder`."""

    program: Path
    path: Path
    folder: Path
    bits: int = 64
    timeout_s: float = 300.0

    def call(self, name: str, *arguments: object) -> list[Any]:
        """Run one command of the program to its end: its lines, parsed. Failed."""
        argv, environment = self._command(name, arguments)
        try:
            done = subprocess.run(
                argv,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{name}: no end within {self.timeout_s} s") from error
        if done.returncode:
            raise Failed(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return [_parsed(line) for line in done.stdout.splitlines()]

    def shards(self, name: str, jobs: Sequence[tuple[object, ...]]) -> list[Any]:
        """Run a command once for each of jobs, as many at a time as there are processors."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(lambda arguments: self.call(name, *arguments), jobs)
            return [line for lines in done for line in lines]

    def until_killed(self, name: str, *arguments: object) -> list[Any]:
        """Run a command until it says that its power has gone, and kill it; or to its end.

        Returns what it said before; the last item is ["cut"] or ["end"]. Failed: neither came.
        """
        argv, environment = self._command(name, arguments)
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said: list[Any] = []
        try:
            for line in _lines(process, self.timeout_s):
                said.append(_parsed(line))
                if said[-1] in (_CUT, _END):
                    return said
        finally:
            process.kill()  # SIGKILL: nothing is flushed, no destructor runs
            process.communicate()
        raise Failed(f"{name}: ended without a word of it: {said[-5:]}")

    def _command(self, name: str, arguments: Sequence[object]) -> tuple[list[str], dict[str, str]]:
        beside = self.folder / "lib"
        beside.mkdir(exist_ok=True)
        if not (beside / _FLASH.name).exists():
            shutil.copy(_FLASH, beside)
        argv = [*find(self.bits).argv, "-X", f"heapsize={_HEAP}", str(self.program.resolve())]
        environment = {**os.environ, "MICROPYPATH": f"{beside}:{self.path}:.frozen"}
        return [*argv, json.dumps([name, *arguments])], environment


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def _lines(process: subprocess.Popen[bytes], timeout_s: float) -> Iterator[str]:
    """The lines of its stdout, as they come; Failed when none comes for too long."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    until = time.monotonic() + timeout_s
    rest = b""
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise Failed(f"no end within {timeout_s} s")
        octets = os.read(descriptor, 65536)
        if not octets:
            return
        *lines, rest = (rest + octets).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
