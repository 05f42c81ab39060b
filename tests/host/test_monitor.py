"""`onebuf monitor` on a pty: time stamps, octets that are no text, unplugging, Ctrl-C."""

from __future__ import annotations

import functools
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """\
import sys
sys.path.insert(0, "tests/host")
from commands import run
from host.monitor_command import add_monitor
sys.exit(run(add_monitor, "monitor", *sys.argv[1:]))
"""
STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (.*)")
PATIENCE_S = 10.0


class Cable:
    """A serial port by one name, which comes and goes."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.ends: tuple[int, ...] = ()

    def plug(self) -> None:
        self.ends = pty.openpty()
        self.name.symlink_to(os.ttyname(self.ends[1]))

    def unplug(self) -> None:
        if self.ends:
            self.name.unlink()
            for end in self.ends:
                os.close(end)
        self.ends = ()

    def send(self, octets: bytes) -> None:
        os.write(self.ends[0], octets)


class Monitor:
    """The command in a process of its own, its lines without their stamps."""

    def __init__(self, *arguments: object) -> None:
        argv = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
        self.process = subprocess.Popen(
            argv,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A program started in the background of a shell has it ignored, and so this one.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.lines: list[str] = []
        self.stamps: list[datetime] = []
        self._rest = b""

    def wait_for(self, text: str) -> None:
        """Wait until a line is text."""
        until = time.monotonic() + PATIENCE_S
        while text not in self.lines:
            assert time.monotonic() < until, self.lines
            assert self.process.stdout is not None
            octets = self.process.stdout.read() or b""
            *lines, self._rest = (self._rest + octets).split(b"\n")
            for line in lines:
                found = STAMP.fullmatch(line.decode())
                assert found, line
                self.stamps.append(datetime.fromisoformat(found[1]))
                self.lines.append(found[2])
            time.sleep(0.02)

    def end(self) -> tuple[int, bytes]:
        """Its exit status and what it said on stderr."""
        _, stderr = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, stderr

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path / "port")
    made.plug()
    yield made
    made.unplug()


@pytest.fixture
def monitor(cable: Cable) -> Iterator[Monitor]:
    made = Monitor("--port", cable.name)
    try:
        made.wait_for(f"-- {cable.name} is open")
        yield made
    finally:
        made.kill()


def test_lines_are_shown_with_the_time_at_which_they_began(cable: Cable, monitor: Monitor) -> None:
    began = datetime.now()
    cable.send(b"connect -> 0\r\nhalf of")
    monitor.wait_for("connect -> 0")
    cable.send(" a line, Grüße\n".encode())
    monitor.wait_for("half of a line, Grüße")
    shown = monitor.stamps[-1]
    assert -0.002 < (shown - began).total_seconds() < PATIENCE_S
    assert monitor.stamps == sorted(monitor.stamps)


def test_a_prompt_without_end_of_line_is_shown_after_a_moment(
    cable: Cable, monitor: Monitor
) -> None:
    cable.send(b">>> ")
    monitor.wait_for(">>> ")


def test_octets_that_are_no_text_or_control_the_terminal_are_escaped(
    cable: Cable, monitor: Monitor
) -> None:
    cable.send(b"\xff\xfe garbage \x1b[2J\ttab\x00\n")
    monitor.wait_for("\\xff\\xfe garbage \\x1b[2J\ttab\\x00")


def test_an_unplugged_board_is_waited_for_and_shown_again(cable: Cable, monitor: Monitor) -> None:
    cable.send(b"before\nbroken of")
    monitor.wait_for("before")
    cable.unplug()
    monitor.wait_for(f"-- {cable.name} is gone")
    assert "broken of" in monitor.lines
    cable.plug()
    monitor.lines.clear()
    monitor.wait_for(f"-- {cable.name} is open")
    cable.send(b"after\n")
    monitor.wait_for("after")


def test_ctrl_c_ends_it_without_a_traceback(cable: Cable, monitor: Monitor) -> None:
    monitor.process.send_signal(signal.SIGINT)
    assert monitor.end() == (0, b"")


def test_it_ends_after_the_seconds_asked_for_also_without_a_port_and_keeps_a_log(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    log.write_text("kept\n")
    missing = tmp_path / "missing"
    began = time.monotonic()
    monitor = Monitor("--port", missing, "--seconds", "0.3", "--log", log)
    try:
        assert monitor.end() == (0, b"")
    finally:
        monitor.kill()
    assert time.monotonic() - began < PATIENCE_S
    kept, line = log.read_text().splitlines()
    assert kept == "kept"
    assert re.search(r"-- no such port.*waiting for ", line)
