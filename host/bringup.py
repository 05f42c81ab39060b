"""From a bare board to telemetry: every step for every board, several boards at once.

A board that fails stops there, with a reason and what to do, and the others go on. The same
command again begins with the first step that is not done.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, Protocol

from host import board as emulated
from host import flash, image, provision, repl
from host.bringup_plan import Plan, Shared
from host.bringup_steps import FAILED, LEFT, PASSED, STEPS, Failure, Steps
from host.inventory import NameTaken
from host.partitions import TableError
from host.self_test import TESTS
from tools.micropython import RuntimeMissing

_LOG = logging.getLogger("onebuf.bringup")
_NEEDS = {"publish": "tls", "telemetry": "publish"}
_MISTAKES = (
    *(repl.Failed, flash.FlashFailed, provision.Refused, NameTaken, image.ImageError, TableError),
    *(RuntimeMissing, OSError, sqlite3.Error),
)


@dataclass(frozen=True)
class Step:
    """One step of one board: status is done, kept, passed, failed or left (not begun)."""

    name: str
    status: str = LEFT
    text: str = ""
    seconds: float = 0.0
    figures: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


@dataclass
class Outcome:
    """What became of one board; "" for what nobody came to know. steps: all, in their order."""

    port: str
    steps: list[Step]
    seconds: float = 0.0
    serial: str = ""
    mac: str = ""
    chip: str = ""
    runtime: str = ""
    identity: str = ""
    fingerprint: str = ""
    commands: tuple[str, ...] = ()  # that register it with the real cloud

    @property
    def failed(self) -> Step | None:
        """The first step that failed."""
        return next((step for step in self.steps if step.status == FAILED), None)

    @property
    def ok(self) -> bool:
        """Whether every step came to a good end."""
        return not any(step.status in (FAILED, LEFT) for step in self.steps)


class Watch(Protocol):
    """Who shows what goes on; called from many threads."""

    def says(self, port: str, step: str, text: str) -> None:
        """A step goes on; text is empty when it begins."""

    def ended(self, port: str, step: Step) -> None:
        """A step has ended."""


def run(plan: Plan, ports: Sequence[str], jobs: int, watch: Watch) -> list[Outcome]:
    """Bring up the boards at these ports, `jobs` at a time; what became of each, in their order.

    Ports: serial ones, and `emulated`, `emulated:1` and so on. Raises FirmwareError, ImageError,
    TableError before any board is touched.
    """
    shared = Shared(plan)
    shared.prepare()
    stop = Event()
    with ThreadPoolExecutor(jobs, "onebuf-bringup") as pool:
        try:
            runs = [pool.submit(_BringUp(shared, port, watch, stop).run) for port in ports]
            return [each.result() for each in runs]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _BringUp:
    """One board on its way."""

    def __init__(self, shared: Shared, port: str, watch: Watch, stop: Event) -> None:
        self._shared, self._port, self._watch, self._stop = shared, port, watch, stop
        self._ended: dict[str, Step] = {}

    def run(self) -> Outcome:
        """Take it through the steps; what became of it."""
        began = time.monotonic()
        outcome = Outcome(self._port, [])
        plan = self._shared.plan
        try:
            with emulated.at(self._port, plan.board, plan.folder) as port:
                self._all(Steps(self._shared, port, self._stop.is_set), outcome)
        except _MISTAKES as error:  # there is no emulated board
            self._end(Step(STEPS[0], FAILED, str(error)))
        outcome.steps = [self._ended.get(name, Step(name)) for name in STEPS]
        outcome.seconds = time.monotonic() - began
        return outcome

    def _all(self, steps: Steps, outcome: Outcome) -> None:
        try:
            for name in STEPS:
                if name in _NEEDS and self._ended[_NEEDS[name]].status != PASSED:
                    self._ended[name] = Step(name)
                elif self._stop.is_set() or not self._goes_on(steps, name):
                    break
        finally:
            with suppress(*_MISTAKES):
                steps.restart()
            _note(outcome, steps)

    def _goes_on(self, steps: Steps, name: str) -> bool:
        """Do a step; whether the board is there for the next one."""
        began = time.monotonic()
        self._watch.says(self._port, name, "")
        steps.say = lambda text: self._watch.says(self._port, name, text)
        try:
            done = steps.do(name)
            step = Step(name, done.status, done.text, figures=done.figures)
        except Failure as error:
            step = Step(name, FAILED, str(error), figures=error.figures, advice=error.advice)
        except _MISTAKES as error:
            step = Step(name, FAILED, str(error), advice=_again(steps))
        except Exception as error:  # a mistake here, which must not stop the other boards
            _LOG.exception("%s: %s", self._port, name)
            step = Step(name, FAILED, f"onebuf itself failed: {type(error).__name__}")
        self._end(replace(step, seconds=time.monotonic() - began))
        return step.status != FAILED or (name in TESTS and os.path.exists(steps.port))

    def _end(self, step: Step) -> None:
        self._ended[step.name] = step
        self._watch.ended(self._port, step)


def _again(steps: Steps) -> str:
    """What to do when a board has gone, or will not."""
    plug = "" if os.path.exists(steps.port) else "plug it in, and "
    return f"{plug}run the same command again: it goes on from there"


def _note(outcome: Outcome, steps: Steps) -> None:
    """Keep what the steps came to know of the board."""
    outcome.mac, outcome.chip = steps.mac, steps.chip
    outcome.commands = steps.commands
    if steps.facts:
        outcome.serial, outcome.runtime = steps.facts.serial, steps.facts.runtime
        outcome.chip = steps.facts.chip or steps.chip
    if steps.device:
        outcome.identity = steps.device.identity
        outcome.fingerprint = steps.device.fingerprint
