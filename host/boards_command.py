"""`onebuf boards`: the boards that are known, and all that is known of one."""

from __future__ import annotations

import argparse
import json

from host import boards
from host.boards import Board, BoardError

_HEAD = ("board", "chip", "flash", "files", "heap", "runtimes")


def add_boards(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "list the boards that are known, or show all that is known of one"
    command = commands.add_parser("boards", help=text, description=text)
    command.add_argument("name", nargs="?", help="one of them")
    command.add_argument("--json", action="store_true", help="as JSON on stdout")
    command.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        wanted = [boards.load(options.name)] if options.name else boards.all_boards()
        if options.json:
            print(json.dumps({board.name: boards.facts(board.name) for board in wanted}, indent=2))
        else:
            print(_sheet(wanted[0]) if options.name else _table(wanted))
    except BoardError as error:
        raise SystemExit(f"onebuf: {error}") from None
    return 0


def _table(known: list[Board]) -> str:
    rows = [_HEAD, *(_row(board) for board in known)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _row(board: Board) -> tuple[str, ...]:
    return (
        board.name,
        board.chip,
        _size(board.flash_bytes),
        _size(board.filesystem.size),
        _size(board.heap_bytes),
        ", ".join(runtime.name for runtime in board.runtimes),
    )


def _size(octets: int) -> str:
    return f"{octets >> 20} MiB" if octets % (1 << 20) == 0 else f"{octets >> 10} KiB"


def _sheet(board: Board) -> str:
    place = board.filesystem
    pairs = [
        ("board", f"{board.name}: {board.product}"),
        ("chip", f"{board.chip}, ID {board.chip_id} in firmware files"),
        ("flash", _size(board.flash_bytes)),
        ("file system", f"{place.name}, {_size(place.size)} at {place.offset:#x}"),
        ("baud", f"{board.serial_baud}, {board.flash_baud} for flashing"),
        ("reset", f"{board.reset_before} before esptool, {board.reset_after} after it"),
        ("heap", f"{_size(board.heap_bytes)}, of it {board.buffer_bytes} octets of buffer"),
        *((run.name, _run_line(run)) for run in board.runtimes),
        ("LED", board.led),
        ("USB", board.usb),
        *(("source", source) for source in board.sources),
    ]
    return "\n".join(f"{name:<14}{text}" for name, text in pairs)


def _run_line(runtime: boards.Runtime) -> str:
    arch = f", .mpy for {runtime.mpy_arch}" if runtime.mpy_arch else ""
    return f"{runtime.board_id}, firmware at {runtime.firmware_offset:#x}{arch}"
