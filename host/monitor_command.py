"""`onebuf monitor`: what a board prints, each line with the time of its first octet."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path

import serial  # type: ignore[import-untyped]

from host import boards, repl

_POLL_S = 0.1
_IDLE_S = 0.5  # a prompt, which no end of line follows, is shown after so long
_LONGEST = 4096  # octets of a line; a board that sends noise has no ends of lines
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LOST = (OSError, *repl.TERMIOS)  # SerialException is an OSError


def add_monitor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "show what a board prints, with time stamps, until Ctrl-C"
    command = commands.add_parser("monitor", help=text, description=text)
    command.add_argument("--port", required=True, help="its serial port")
    command.add_argument("--board", help="its name, for the baud rate (115200)")
    command.add_argument("--seconds", type=_seconds, default=math.inf, help="end after so many")
    help = "append the lines to this file, too"
    command.add_argument("--log", type=Path, metavar="FILE", help=help)
    command.set_defaults(command=_run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _run(options: argparse.Namespace) -> int:
    try:
        baud = boards.load(options.board).serial_baud if options.board else repl.BAUD
    except boards.BoardError as error:
        raise SystemExit(f"onebuf: {error}") from error
    with ExitStack() as open_files:
        log = None
        if options.log:
            log = open_files.enter_context(options.log.open("a", encoding="utf-8"))
        with suppress(KeyboardInterrupt):
            for line in lines(options.port, baud, time.monotonic() + options.seconds):
                print(line, flush=True)
                if log:
                    print(line, file=log, flush=True)
    return 0


def lines(port: str, baud: int, until: float) -> Iterator[str]:
    """Yield what comes, a line at a time, until time.monotonic() is `until`.

    A port that is not there, or goes, is waited for. The board is not reset.
    """
    waiting = False
    while time.monotonic() < until:
        try:
            line = serial.Serial(port, baud, timeout=_POLL_S, exclusive=True)
        except _LOST as error:
            if not waiting:
                yield _stamped(f"-- {repl.advice(error)}; waiting for {port}")
            waiting = True
            time.sleep(_POLL_S)
            continue
        waiting = False
        yield _stamped(f"-- {port} is open")
        try:
            yield from _read(line, until)
        finally:
            _close(line)


def _read(line: serial.Serial, until: float) -> Iterator[str]:
    """Yield the lines of an open port until it goes, or time is up."""
    held, since, last = b"", datetime.now(), time.monotonic()
    there = True
    while there and time.monotonic() < until:
        try:
            octets = line.read(max(1, line.in_waiting))
        except _LOST:
            there, octets = False, b""
        if octets:
            since, last = since if held else datetime.now(), time.monotonic()
        *whole, held = (held + octets).split(b"\n")
        for each in whole:
            yield _stamped(_text(each), since)
            since = datetime.now()
        if held and (time.monotonic() > last + _IDLE_S or len(held) > _LONGEST or not there):
            yield _stamped(_text(held), since)
            held = b""
    if held:
        yield _stamped(_text(held), since)
    if not there:
        yield _stamped(f"-- {line.port} is gone")


def _text(octets: bytes) -> str:
    """The line; what is no UTF-8, or would control the terminal, as \\x and its number."""
    text = octets.removesuffix(b"\r").decode(errors="backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _stamped(text: str, when: datetime | None = None) -> str:
    return f"{(when or datetime.now()).isoformat(' ', 'milliseconds')} {text}"


def _close(line: serial.Serial) -> None:
    for name in ("rts", "dtr"):  # in this order no board takes it for a reset
        with suppress(*_LOST):
            setattr(line, name, False)
    with suppress(*_LOST):
        line.close()
