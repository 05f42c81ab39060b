"""How a bring-up is told: while it goes on, as a table at its end, and as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

from host.bringup import Outcome, Step
from host.bringup_plan import Plan
from host.bringup_steps import DONE, FAILED, KEPT, LEFT, PASSED, STEPS
from tools import packages

if TYPE_CHECKING:
    from rich.progress import TaskID

SCHEMA = 1  # of the JSON; it changes with the meaning of a key, or with one that goes
_MARKS = {DONE: "done", KEPT: "kept", PASSED: "ok", FAILED: "FAIL", LEFT: "-"}


class Lines:
    """A line for each step that ends, with the port before it: for a log."""

    def __init__(self, out: TextIO, ports: Sequence[str]) -> None:
        self._out, self._lock = out, Lock()
        self._width = max(map(len, ports), default=0)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def says(self, port: str, step: str, text: str) -> None:
        """Nothing: what goes on is for a terminal."""

    def ended(self, port: str, step: Step) -> None:
        """Print it."""
        with self._lock:
            print(f"{port:<{self._width}}  {_line(step)}", file=self._out, flush=True)


class Bars:
    """A bar for each board on a terminal, and above them a line for each step that failed."""

    def __init__(self, out: TextIO, ports: Sequence[str]) -> None:
        from rich.console import Console  # here: they take 0.1 s
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.fields[port]}"), BarColumn(20), TimeElapsedColumn())
        what = TextColumn("{task.description}", markup=False)
        self._shown = Progress(*columns, what, console=Console(file=out))
        self._tasks: dict[str, TaskID] = {
            port: self._shown.add_task("waits", start=False, total=len(STEPS), port=port)
            for port in ports
        }

    def __enter__(self) -> Bars:
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.stop()

    def says(self, port: str, step: str, text: str) -> None:
        """Show it behind the bar."""
        task = self._tasks[port]
        self._shown.start_task(task)
        self._shown.update(task, description=f"{step}  {text}")

    def ended(self, port: str, step: Step) -> None:
        """Move the bar."""
        task, last = self._tasks[port], step.name == STEPS[-1]
        self._shown.update(task, advance=1, description=f"{step.name}  {_MARKS[step.status]}")
        if step.status == FAILED:
            self._shown.console.print(f"{port}  {_line(step)}", markup=False, highlight=False)
        if last or step.status == FAILED:
            self._shown.stop_task(task)


def _line(step: Step) -> str:
    return f"{step.name:<10} {_MARKS[step.status]:<5} {step.seconds:5.1f} s  {step.text}"


def table(outcomes: Sequence[Outcome]) -> str:
    """The boards as lines of columns, and below what failed, why, and what to do."""
    rows = [("port", "serial", *STEPS, "s")]
    for each in outcomes:
        marks = (_MARKS[step.status] for step in each.steps)
        serial = each.serial or each.mac.replace(":", "") or "?"
        rows.append((each.port, serial, *marks, f"{each.seconds:.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *_below(outcomes)])


def _below(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for each in outcomes:
        for step in each.steps:
            if step.status == FAILED:
                lines += ["", f"{each.port}: {step.name}: {step.text}"]
                lines += [f"    {step.advice}"] if step.advice else []
        if each.commands and not each.ok:
            lines += ["    at the real cloud:", *(f"    {line}" for line in each.commands)]
    good = sum(each.ok for each in outcomes)
    return [*lines, "", f"{good} of {len(outcomes)} boards publish"]


def document(plan: Plan, outcomes: Sequence[Outcome], began: datetime, seconds: float) -> str:
    """What became of the boards as JSON; docs/bringup.md has its keys."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "onebuf": packages.version(),
            "board": plan.board.name,
            "cloud": plan.cloud,
            "began": began.isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "ok": all(each.ok for each in outcomes),
            "boards": [_board(each) for each in outcomes],
        },
        indent=2,
    )


def _board(outcome: Outcome) -> dict[str, Any]:
    failed = outcome.failed
    return {
        "port": outcome.port,
        "ok": outcome.ok,
        "serial": outcome.serial,
        "mac": outcome.mac,
        "chip": outcome.chip,
        "runtime": outcome.runtime,
        "identity": outcome.identity,
        "fingerprint": outcome.fingerprint,
        "seconds": round(outcome.seconds, 3),
        "failed": failed.name if failed else None,
        "reason": failed.text if failed else None,
        "advice": failed.advice if failed else None,
        "commands": list(outcome.commands),
        "steps": [_step(step) for step in outcome.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.name,
        "status": step.status,
        "seconds": round(step.seconds, 3),
        "text": step.text,
        "figures": dict(step.figures),
    }
