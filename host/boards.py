"""The boards that onebuf knows: facts out of boards/<name>/board.json, checked by its schema."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BOARDS = Path(__file__).parents[1] / "boards"
MICROPYTHON, CIRCUITPYTHON = "micropython", "circuitpython"


class BoardError(Exception):
    """There is no such board, or its file is wrong; str() says which are known, or what is."""


@dataclass(frozen=True)
class Filesystem:
    """The partition that MicroPython mounts at `/`, in octets of the flash."""

    name: str
    offset: int
    size: int
    block_size: int


@dataclass(frozen=True)
class Runtime:
    """What one runtime calls the board, and where in the flash its firmware file begins.

    mpy_arch: what mpy-cross calls the instruction set, empty for CircuitPython.
    """

    name: str
    board_id: str
    firmware_offset: int
    mpy_arch: str = ""


@dataclass(frozen=True)
class Board:
    """A board; sizes in octets, chip and resets in esptool's words, chip_id as in its images."""

    name: str
    product: str
    chip: str
    chip_id: int
    flash_bytes: int
    filesystem: Filesystem
    serial_baud: int
    flash_baud: int
    reset_before: str
    reset_after: str
    heap_bytes: int
    buffer_bytes: int
    runtimes: tuple[Runtime, ...]
    led: str
    usb: str
    sources: tuple[str, ...]

    def runtime(self, name: str) -> Runtime:
        """Return what there is for `micropython` or `circuitpython`; BoardError if nothing."""
        for runtime in self.runtimes:
            if runtime.name == name:
                return runtime
        raise BoardError(f"{self.name}: {name} does not run on it")

    @property
    def firmware_offset(self) -> int:
        """Where MicroPython's firmware file begins in the flash."""
        return self.runtime(MICROPYTHON).firmware_offset

    @property
    def mpy_arch(self) -> str:
        """What mpy-cross calls the instruction set."""
        return self.runtime(MICROPYTHON).mpy_arch


def names(folder: Path = BOARDS) -> list[str]:
    """Return the names of all boards, in order."""
    return sorted(file.parent.name for file in folder.glob("*/board.json"))


def load(name: str, folder: Path = BOARDS) -> Board:
    """Return the board of that name; BoardError."""
    known = names(folder)
    if name not in known:
        close = difflib.get_close_matches(name.upper(), known, 1, 0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise BoardError(f"no board {name!r}{hint} (known: {', '.join(known)})")
    return _board(name, facts(name, folder))


def all_boards(folder: Path = BOARDS) -> list[Board]:
    """Return every board, by name; BoardError."""
    return [load(name, folder) for name in names(folder)]


def facts(name: str, folder: Path = BOARDS) -> dict[str, Any]:
    """Return what the file of a known board says, checked; BoardError."""
    import jsonschema  # type: ignore[import-untyped]  # here: it takes 0.1 s

    try:
        found = json.loads((folder / name / "board.json").read_text(encoding="utf-8"))
        jsonschema.validate(found, _schema())
        _check(name, found)
    except jsonschema.ValidationError as error:
        raise BoardError(f"boards/{name}/board.json: {error.json_path}: {error.message}") from None
    except ValueError as error:
        raise BoardError(f"boards/{name}/board.json: {error}") from None
    return found


@cache
def _schema() -> Any:
    return json.loads((BOARDS / "schema.json").read_text(encoding="utf-8"))


def _check(name: str, found: Mapping[str, Any]) -> None:
    """Raise ValueError for what a schema cannot tell."""
    place = found["filesystem"]
    if int(place["offset"], 16) + int(place["size"], 16) > found["flash_bytes"]:
        raise ValueError("filesystem: it ends after the flash")
    if name not in (runtime["board_id"] for runtime in found["runtimes"].values()):
        raise ValueError("the folder is named as no runtime names the board")


def _board(name: str, found: Mapping[str, Any]) -> Board:
    place = found["filesystem"]
    return Board(
        name=name,
        product=found["product"],
        chip=found["chip"],
        chip_id=found["chip_id"],
        flash_bytes=found["flash_bytes"],
        filesystem=Filesystem(
            place["name"], int(place["offset"], 16), int(place["size"], 16), place["block_size"]
        ),
        serial_baud=found["baud"]["serial"],
        flash_baud=found["baud"]["flash"],
        reset_before=found["reset"]["before"],
        reset_after=found["reset"]["after"],
        heap_bytes=found["heap_bytes"],
        buffer_bytes=found["buffer_bytes"],
        runtimes=tuple(_runtime(name, each) for name, each in found["runtimes"].items()),
        led=found["led"],
        usb=found["usb"],
        sources=tuple(found["sources"]),
    )


def _runtime(name: str, found: Mapping[str, Any]) -> Runtime:
    offset = int(found["firmware_offset"], 16)
    return Runtime(name, found["board_id"], offset, found.get("mpy_arch", ""))
