"""The self-test of a board that has its software and its identity: six tests, each with a figure.

They run on the board (board_side/self_test.py) over the raw REPL, and go its application's own way
to the cloud: its main.py, its config.json, its certificates.
"""

from __future__ import annotations

import ast
import calendar
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from host import repl, x509_files
from host.boards import Board

_PROGRAM = Path(__file__).with_name("board_side") / "self_test.py"
_CHUNKS = 32  # of 256 octets: two blocks of the flash
_JOIN_MS = 20_000
_OFF_S = 2  # the board's clock has whole seconds
_SEEN_S = 10.0  # until the emulated cloud's store has what it has accepted
_POLL_S = 0.05
_SILENCE_S = 60.0  # of a test: Azure's provisioning service takes its time

_NETWORK = "is the board on a network, see --wifi-ssid, and has that DNS?"
# What the board's transport says (firmware/onebuf/errno.py), and what to do about it.
_WHY: Mapping[int, tuple[str, str]] = {
    -6: ("the cloud's host name has no address", _NETWORK),
    -13: (
        "the cloud refuses certificate or login",
        "register it: see the commands of provisioning",
    ),
    -104: ("the cloud closes the connection", "register the device; is the port right?"),
    -110: ("no answer in time", "is the cloud's address reachable from the board's network?"),
    -111: ("nobody listens there", "is the cloud running, and the port right?"),
    -113: ("no way to the cloud", _NETWORK),
    -127: ("the server's certificate is not valid now", "is this computer's clock right?"),
    -129: ("the server is not who it should be", "is that the cloud's CA, see --ca?"),
}


@dataclass(frozen=True)
class Finding:
    """What a test found. text: for a person; figures: for a program; advice: if it failed."""

    passed: bool
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


@dataclass(frozen=True)
class SelfTest:
    """The tests of one board whose raw REPL listens.

    seen: whether the cloud's store has a payload from it; None where nobody here can know.
    """

    board: repl.Board
    kind: Board
    seen: Callable[[bytes], bool] | None

    def start(self) -> None:
        """Begin with an empty heap and the right time; repl.Failed."""
        self.board.enter()
        self.board.set_clock()
        self.board.run(_PROGRAM.read_text(encoding="utf-8"))

    def run(self, test: str) -> Finding:
        """Run one of TESTS. Raises repl.Failed if the board goes away meanwhile."""
        try:
            return TESTS[test](self)
        except _Raised as error:
            return Finding(False, str(error), advice="see the log of its start: `onebuf monitor`")

    def call(self, test: str, *arguments: object) -> Any:
        """What a function of the program found; _Raised, repl.Failed."""
        given = "".join(f", {each!r}" for each in arguments)
        lines = self.board.run(f"call({test}{given})", _SILENCE_S).splitlines() or [""]
        try:
            ended, found = ast.literal_eval(lines[-1])
        except (ValueError, SyntaxError, TypeError):
            raise repl.Failed(f"{self.board.port}: the answer is garbled; a bad line?") from None
        if not ended:
            raise _Raised(f"on the board: {found}")
        return found


class _Raised(Exception):
    """What a test raised on the board."""


def _memory(test: SelfTest) -> Finding:
    free, used = test.call("memory")
    budget = test.kind.heap_bytes
    return Finding(
        free + used >= budget,
        f"{free >> 10} KiB free of {(free + used) >> 10}, {budget >> 10} wanted",
        {"heap_free_bytes": free, "heap_bytes": free + used, "budget_bytes": budget},
        "is that the firmware for this board? A variant without SPIRAM has less",
    )


def _files(test: SelfTest) -> Finding:
    system, free, ms, held = test.call("files", _CHUNKS)
    octets = _CHUNKS * 256
    figures = {"file_system": system, "free_bytes": free, "octets": octets, "ms": ms}
    if not held:
        advice = "the flash may be worn out or badly soldered: try --fresh, then another board"
        return Finding(False, f"{octets} octets do not read back the same", figures, advice)
    if system != "VfsLfs2":
        advice = "a power cut can destroy FAT: --fresh makes LittleFS"
        return Finding(False, f"the file system is {system}, not LittleFS", figures, advice)
    text = f"LittleFS, {free >> 10} KiB free; {octets >> 10} KiB written, read, erased in {ms} ms"
    return Finding(True, text, figures)


def _wifi(test: SelfTest) -> Finding:
    networks, best, ssid, joined = test.call("wifi", _JOIN_MS)
    figures = {"networks": networks, "best_rssi_dbm": best, "ssid": ssid, "joined": joined}
    if not networks:
        advice = "is the antenna connected, and an access point near?"
        return Finding(False, "no network found", figures, advice)
    if ssid and not joined:
        advice = "are --wifi-ssid and its key right, and is it on 2.4 GHz?"
        return Finding(False, f"cannot join {ssid!r}", figures, advice)
    text = f"{networks} networks, the strongest at {best} dBm"
    return Finding(True, f"{text}; joined {ssid}" if ssid else text, figures)


def _clock(test: SelfTest) -> Finding:
    before = time.time()
    fields = test.call("clock")
    off = calendar.timegm((*fields, 0, 0, 0)) - (before + time.time()) / 2
    off = round(off + 0.5, 1)  # it counts whole seconds, and so is behind by half of one
    advice = "does its clock run? A board without RTC needs another main.py"
    return Finding(abs(off) <= _OFF_S, f"{off:+.1f} s off", {"seconds_off": off}, advice)


def _tls(test: SelfTest) -> Finding:
    result, ms, trusting = test.call("tls", _stranger())
    figures = {"ms": ms, "verified": not trusting, "result": result}
    if result < 0:
        return _unreached(result, figures)
    if trusting:
        advice = "the board accepts any server: deploy the package again"
        return Finding(False, "the server's chain is not verified", figures, advice)
    return Finding(True, f"connected in {ms} ms, chain verified", figures)


def _stranger() -> bytes:
    """The certificate of an authority that has signed nothing, DER."""
    made = x509_files.authority("stranger", x509_files.generate("ec"), 1, None)
    return made.public_bytes(serialization.Encoding.DER)


def _publish(test: SelfTest) -> Finding:
    payload = json.dumps({"self_test": secrets.token_hex(8)}).encode()
    status, accepted, ms = test.call("publish", payload)
    figures = {"status": status, "ms": ms, "seen": None if test.seen is None else False}
    if status < 0:
        return _unreached(status, figures)
    if not accepted:
        advice = "is the device registered, and may it publish there?"
        return Finding(False, f"the cloud answers {status}", figures, advice)
    if test.seen is None:
        return Finding(True, f"answered {status} in {ms} ms", figures)
    if not _soon(test.seen, payload):
        advice = "is --store that of the cloud at this address?"
        return Finding(False, f"answered {status}, but it is not in the store", figures, advice)
    return Finding(True, f"answered {status} in {ms} ms, seen", {**figures, "seen": True})


def _soon(seen: Callable[[bytes], bool], payload: bytes) -> bool:
    end = time.monotonic() + _SEEN_S
    while not seen(payload):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


def _unreached(result: int, figures: Mapping[str, Any]) -> Finding:
    reason, advice = _WHY.get(result, ("the connection fails", "see `onebuf monitor`"))
    return Finding(False, f"{reason} ({result})", figures, advice)


# In this order; the last two belong together.
TESTS: Mapping[str, Callable[[SelfTest], Finding]] = {
    "memory": _memory,
    "files": _files,
    "wifi": _wifi,
    "clock": _clock,
    "tls": _tls,
    "publish": _publish,
}
