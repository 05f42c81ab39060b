"""Is a counted figure worse than the stored one?

Octets, records and calls are compared exactly, instructions with a little room, times never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.bench.report import number

SLACK = {"instructions/publish": 0.02}  # the libc has its own ways on each processor
# They depend on the runtime's build, so with another version nothing can be said.
OF_THE_RUNTIME = (
    "instructions/publish",
    "RAM after import, mpy",
    "RAM after import, py",
    "smallest heap",
)
NEVER = (  # times, what depends on them, what follows from others, and what is not a cost
    "publishes/s",
    "CPU us/publish",
    "working set",  # grows when code shrinks by less than the step in which heaps are tried
    "read calls/publish",
    "largest free block before",
    "largest free block after",
)
_SAME = ("MicroPython", "mbedTLS", "mpy-cross")

Table = Mapping[str, Mapping[str, float | None]]


def complaints(stored: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """What measured has that is worse than in stored, a line each; both are as docs/bench.json.

    Only what measured names is compared.
    """
    skipped = OF_THE_RUNTIME if differing(stored, measured) else ()
    found = []
    for part in ("cells", "ram"):
        for name, figures in measured[part].items():
            was = stored[part].get(name, {})
            found += [
                f"{name}: {line}"
                for figure, value in figures.items()
                if figure not in skipped and (line := _worse(figure, was.get(figure), value))
            ]
    if "mpy-cross" not in differing(stored, measured):
        total = sum(measured["modules"].values()) - sum(stored["modules"].values())
        if total > 0:
            found.append(f".mpy of the AWS path: {total:,} bytes more than stored")
    return found


def unmeasured(stored: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """What is stored but could not be measured here, or not compared, a line each."""
    notes = [
        f"{name}: {stored['versions'].get(name)} stored, {measured['versions'].get(name)} here: "
        f"not compared: {', '.join(OF_THE_RUNTIME)}"
        for name in differing(stored, measured)
    ]
    for part in ("cells", "ram"):
        for name, figures in measured[part].items():
            was = stored[part].get(name, {})
            notes += [
                f"{name}: {figure} not measured here"
                for figure, value in figures.items()
                if value is None and was.get(figure) is not None
            ]
    return notes


def differing(stored: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """The names of the parts whose versions differ and on which figures depend."""
    was, now = stored["versions"], measured["versions"]
    return [name for name in _SAME if was.get(name) != now.get(name)]


def _worse(figure: str, was: float | None, value: float | None) -> str:
    """What is worse, or nothing; a figure that has not been stored is none to compare with."""
    if figure in NEVER or was is None or value is None:
        return ""
    if value <= was * (1 + SLACK.get(figure, 0)):
        return ""
    return f"{figure} is {number(value)}, {number(was)} is stored"
