"""Runs device scripts on the three runtimes, each in a process and a folder of its own."""

from __future__ import annotations

import functools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tools.micropython import find

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "firmware"
SCRIPTS = Path(__file__).parent / "scripts"
RUNTIMES = ("micropython-64", "micropython-32", "cpython-shim")
MICROPYTHONS = RUNTIMES[:2]
PATIENCE_S = 30.0

_HEAP = {"32": "128k", "64": "256k"}  # what an ESP32 leaves to MicroPython; words twice as long


def command(runtime: str, script: Path) -> tuple[list[str], dict[str, str]]:
    """The command that runs `script` on `runtime` and its environment; RuntimeMissing."""
    if runtime == "cpython-shim":
        python = [sys.executable, "-u", "-m", "host.shim", str(script)]
        return python, {**os.environ, "PYTHONPATH": str(ROOT)}
    bits = runtime[-2:]
    argv = [*find(int(bits)).argv, "-X", f"heapsize={_HEAP[bits]}", str(script)]
    return argv, {**os.environ, "MICROPYPATH": f"{FIRMWARE}:.frozen"}


class Process:
    """A child in a process group of its own; its stdout is read line by line."""

    def __init__(
        self, argv: Sequence[str], folder: Path, environment: Mapping[str, str], stderr: Any
    ) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
            # What runs in the background of a shell script was started without Ctrl-C.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def line(self, timeout_s: float = PATIENCE_S) -> str:
        """The next line; EOFError at the end of the process, TimeoutError for silence."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no line for {timeout_s} s") from None
        if line is None:
            self._lines.put(None)
            raise EOFError(f"the process has ended with status {self.wait()}")
        return line

    def rest(self) -> list[str]:
        """All lines up to the end of stdout."""
        lines = []
        with suppress(EOFError):
            while True:
                lines.append(self.line())
        return lines

    def wait(self) -> int:
        """The exit status."""
        return self._process.wait(PATIENCE_S)

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C, as a terminal sends it: to the process and its children; or another signal."""
        os.killpg(self._process.pid, number)

    def left_children(self) -> bool:
        """Whether a process of its group is left after it has ended."""
        self.wait()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """End the process and its children, whatever they do."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()
        self._reader.join(PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not yet sent
                    pipe.close()

    def write(self, line: str) -> None:
        """Send a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


class Script(Process):
    """A device script that runs."""

    def __init__(self, runtime: str, script: Path, folder: Path) -> None:
        argv, environment = command(runtime, script)
        super().__init__(argv, folder, environment, subprocess.STDOUT)

    def lines(self) -> list[str]:
        """All lines up to the end of the script, which must be a good one."""
        lines = self.rest()
        assert self.wait() == 0, "\n".join(lines)
        return lines

    def json(self) -> dict[str, Any]:
        """The next line as JSON; what else the script says, a traceback mostly, is an error."""
        line = self.line()
        try:
            return json.loads(line)
        except ValueError:
            raise AssertionError("\n".join([line, *self.rest()])) from None

    def say(self, *words: object) -> None:
        """Send one line of JSON to the script."""
        self.write(json.dumps(words))

    def call(self, *words: object) -> dict[str, Any]:
        """Send a command to driver.py: its reply."""
        self.say(*words)
        return self.json()


@contextmanager
def running(runtime: str, script: str, folder: Path) -> Iterator[Script]:
    """Run tests/host/scripts/`script` in `folder`, which holds what is on the device's flash."""
    device = Script(runtime, SCRIPTS / script, folder)
    try:
        yield device
    finally:
        device.close()
