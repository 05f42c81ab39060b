"""The steps of a bring-up, for one board: what each does, what it finds, and what it may skip.

What changes the board is not repeated where it is right already: the firmware by its MD5 in the
flash, the files by their SHA-256, the identity by certificate, settings and inventory. What
measures it, is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from host import bringup_flash, deploy, deploy_command, flash, monitor_command, provision, repl
from host.bringup_plan import Shared
from host.cloud.store import Store
from host.flash import Flashed
from host.inventory import Device
from host.self_test import TESTS, SelfTest

STEPS = ("flash", "deploy", "provision", *TESTS, "telemetry")
DONE, KEPT, PASSED, FAILED, LEFT = "done", "kept", "passed", "failed", "left"

_RETURN_S = 15.0  # native USB goes and comes with a reset
_LOOK_S = 0.05
_LOGGED = re.compile(r"(\{.*\}) -> 20[04] in ")  # by firmware/main.py


class Failure(Exception):
    """A step came to no good end: str() is why, advice what to do; no secret in either."""

    def __init__(
        self, reason: str, advice: str = "", figures: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(reason)
        self.advice, self.figures = advice, figures or {}


@dataclass(frozen=True)
class Done:
    """A step that came to a good end. text: for a person; figures: for a program."""

    status: str
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Steps:
    """The steps of the board at a serial port.

    stopped: whether to wait no longer. say: is given what goes on, a few words a time. What is
    found on the way stays: mac, chip, facts, device, and the commands for the real cloud.
    """

    def __init__(self, shared: Shared, port: str, stopped: Callable[[], bool]) -> None:
        self.shared, self.plan, self.port, self._stopped = shared, shared.plan, port, stopped
        self.say: Callable[[str], None] = lambda text: None
        self._session = ExitStack()
        self._opened: tuple[repl.Board, repl.Facts] | None = None
        self._tests: SelfTest | None = None
        self.mac = self.chip = ""
        self.facts: repl.Facts | None = None
        self.device: Device | None = None
        self.commands: tuple[str, ...] = ()
        self._returns = False  # it has just been reset
        self._after = 0  # messages up to this one are from before

    def do(self, name: str) -> Done:
        """Do one of STEPS. Raises Failure, or what the parts of the program raise."""
        if name in TESTS:
            return self.test(name)
        done: Done = getattr(self, name)()
        return done

    def flash(self) -> Done:
        """Firmware and file system; flash.FlashFailed, repl.Failed."""
        firmware, octets = self.shared.firmware, self.plan.firmware
        if firmware is None or octets is None:
            return self._flashed_before()
        found = bringup_flash.examine(self.plan.board, self.port, firmware)
        self.mac, self.chip = found.mac, found.chip
        self._returns = True
        known = self.shared.flashed
        if found.same and known.has(self.mac, octets) and not self.plan.fresh:
            return Done(KEPT, f"{self._version()} is on it", self._figures(found))
        known.forget(self.mac)
        made = flash.flash(
            self.plan.board,
            self.port,
            octets,
            self.shared.filesystem,
            erase=True,
            progress=self._bar,
        )
        known.record(self.mac, octets)
        text = f"{self._version()}, {made.written:,} octets written and verified"
        return Done(DONE, text, self._figures(made))

    def deploy(self) -> Done:
        """Package and application; repl.Failed."""
        device, facts = self._open()
        files = self.shared.files(facts.mpy_arch)
        report = deploy.update(device, files, deploy.OWNED, self.say)
        figures = {
            "copied": len(report.copied),
            "octets": report.octets,
            "unchanged": report.unchanged,
            "removed": len(report.removed),
        }
        return Done(DONE if report.copied or report.removed else KEPT, str(report), figures)

    def provision(self) -> Done:
        """The identity at the cloud; provision.Refused, NameTaken, repl.Failed."""
        device, _ = self._open()
        device.enter()  # a heap without what deploying left in it
        plan = self.plan
        request = plan.request(self.mac)
        held = None
        if not plan.fresh:
            held = provision.held(device, request, plan.inventory, plan.certificates)
        if held is None and provision.register_first(request) is not None:
            raise Failure(
                f"{plan.cloud} gives each device a secret of its own",
                f"use `onebuf provision --name {request.name} --secret-file ...`, then this again",
            )
        found = held or provision.provision(
            device, request, plan.inventory, plan.certificates, plan.keys
        )
        self.device = found.device
        self.commands = () if self._store else found.commands
        text = f"{found.device.identity} at {plan.cloud}"
        if found.device.fingerprint:
            text += f", certificate {found.device.fingerprint[:16]}"
        return Done(KEPT if held else DONE, text)

    def test(self, name: str) -> Done:
        """A part of the self-test; Failure, repl.Failed."""
        if not self._tests:
            self._mark()
            self._tests = SelfTest(
                self._open()[0], self.plan.board, self._seen if self._store else None
            )
            self._tests.start()
        found = self._tests.run(name)
        if not found.passed:
            raise Failure(found.text, found.advice, found.figures)
        return Done(PASSED, found.text, found.figures)

    def telemetry(self) -> Done:
        """What the board's own program publishes after a reset; Failure, repl.Failed."""
        self._mark()
        began = time.monotonic()
        self.restart()
        for payload in self._in_store() if self._store else self._in_log():
            seconds = time.monotonic() - began
            if payload:
                figures = {"payload": payload, "seconds": round(seconds, 3)}
                return Done(PASSED, f"{payload} after {seconds:.1f} s", figures)
            if self._stopped() or seconds > self.plan.patience_s:
                break
        advice = "look at its log: `onebuf monitor`"
        raise Failure(f"no telemetry within {self.plan.patience_s:.0f} s", advice)

    def restart(self) -> None:
        """Let go of the port, and have the board run its own program; repl.Failed."""
        with self._session:
            opened, self._opened = self._opened, None
            if opened:
                opened[0].reset()

    def _open(self) -> tuple[repl.Board, repl.Facts]:
        """The board, its program stopped, and what it is; repl.Failed."""
        if not self._opened:
            end = time.monotonic() + (_RETURN_S if self._returns else 0)
            while not os.path.exists(self.port) and time.monotonic() < end:
                time.sleep(_LOOK_S)
            opened = repl.opened(self.port, self.plan.board.serial_baud)
            device = self._session.enter_context(opened)
            self.facts = device.facts()
            self.mac = self.mac or self.facts.mac
            deploy_command.check(self.facts, self.plan.board)
            self._opened = device, self.facts
        return self._opened

    def _flashed_before(self) -> Done:
        try:
            _, facts = self._open()
        except repl.Failed as error:
            raise Failure(str(error), "to write MicroPython to it, give --firmware") from None
        return Done(KEPT, f"{facts.runtime} is on it")

    def _version(self) -> str:
        found = self.shared.firmware
        return f"{found.runtime} {found.version}" if found and found.runtime else "the firmware"

    def _figures(self, found: bringup_flash.Found | Flashed) -> dict[str, Any]:
        written = getattr(found, "written", 0)
        return {"flash_bytes": found.flash_bytes, "written": written}

    def _bar(self, what: str, done: int, total: int) -> None:
        self.say(f"{what}, {100 * done // max(total, 1)} %")

    @property
    def _store(self) -> Store | None:
        target = self.plan.target
        return target.store if isinstance(target, provision.Emulated) else None

    def _seen(self, payload: bytes) -> bool:
        return payload in self._messages()

    def _mark(self) -> None:
        if self._store:
            self._after = self._store.execute("SELECT coalesce(max(id), 0) FROM messages")[0][0]

    def _messages(self) -> list[bytes]:
        """What the emulated cloud has from this device since _mark()."""
        assert self._store and self.device
        name, query = self.device.identity, "SELECT device, payload FROM messages WHERE id > ?"
        rows = self._store.execute(query, (self._after,))
        return [bytes(payload) for device, payload in rows if device.rpartition("/")[2] == name]

    def _in_store(self) -> Iterator[str]:
        """What arrives there, "" while nothing does, for ever."""
        while True:
            for payload in self._messages():
                if not payload.startswith(b'{"self_test"'):
                    yield payload.decode(errors="replace")
            yield ""
            time.sleep(_LOOK_S)

    def _in_log(self) -> Iterator[str]:
        """What the board says that the cloud has accepted."""
        until = time.monotonic() + self.plan.patience_s
        for line in monitor_command.lines(self.port, self.plan.board.serial_baud, until):
            found = _LOGGED.search(line)
            yield found[1] if found else ""
