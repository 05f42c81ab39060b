"""`onebuf deploy`: the package and the application onto a board that runs already."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from host import boards, deploy, deploy_drive, image, repl
from host.boards import Board
from tools import circuitpython_bundle, packages


def add_deploy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "copy what has changed of package and application to a board, and start it"
    command = commands.add_parser("deploy", help=text, description=text)
    command.add_argument("--board", required=True, help="its name: see `onebuf boards`")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial port of a board with MicroPython")
    where.add_argument("--drive", type=Path, help="CIRCUITPY of a board with CircuitPython")
    help = "one cloud's modules only (all)"
    command.add_argument("--cloud", choices=packages.CLOUDS, default="package", help=help)
    command.add_argument(
        "--config", type=Path, help="file that becomes config.json; with --drive settings.toml"
    )
    help = "copy .py files, which takes the board more RAM, instead of .mpy"
    command.add_argument("--source", action="store_true", help=help)
    command.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        board = boards.load(options.board)
        action: Callable[..., deploy.Report] = _to_drive if options.drive else _to_port
        report = action(options, board)
    except (
        boards.BoardError,
        circuitpython_bundle.BundleError,
        deploy_drive.Failed,
        repl.Failed,
    ) as error:
        raise SystemExit(f"onebuf: {error}") from error
    print(report)
    if report.clock_set:
        print("clock set")
    return 0


def _to_port(options: argparse.Namespace, board: Board) -> deploy.Report:
    board.runtime(boards.MICROPYTHON)
    with repl.opened(options.port, board.serial_baud) as device:
        facts = device.facts()
        check(facts, board)
        files = _files(options, "" if options.source else facts.mpy_arch)
        return deploy.install(device, {f"/{path}": files[path] for path in files}, say=_say)


def check(facts: repl.Facts, board: Board) -> None:
    """Raise repl.Failed for a board that says that it is another."""
    if facts.chip and facts.chip != board.chip:
        raise repl.Failed(f"the board is {facts.machine!r}, and {board.name} has {board.chip}")


def _to_drive(options: argparse.Namespace, board: Board) -> deploy.Report:
    board.runtime(boards.CIRCUITPYTHON)
    # As sources: CircuitPython's .mpy files are of another kind than our mpy-cross makes.
    cloud = "" if options.cloud == "package" else options.cloud
    settings = options.config.read_bytes() if options.config else None
    files = circuitpython_bundle.drive(cloud, settings)
    there = options.drive / "settings.toml"  # CircuitPython makes an empty one
    if settings is None and there.is_file() and there.read_bytes().strip():
        del files["settings.toml"]  # it is the user's
    old = options.drive / "code.py"
    if old.is_file() and old.read_bytes() != files["code.py"]:
        files["code.py.old"] = old.read_bytes()
        _say("code.py was another: it is code.py.old now")
    return deploy_drive.deploy(options.drive, files, say=_say)


def _files(options: argparse.Namespace, march: str) -> dict[str, bytes]:
    files = image.package(options.cloud, march)
    files |= image.application()
    if options.config:
        files[image.CONFIG] = options.config.read_bytes()
    return files


def _say(line: str) -> None:
    print(line, flush=True)
