"""`onebuf bringup`: from a bare board, or twenty, to telemetry at the cloud."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from host import board as emulated
from host import (
    boards,
    bringup,
    bringup_report,
    emulation,
    firmware_file,
    image,
    inventory,
    partitions,
    provision,
    provision_command,
    secret_input,
)
from host.board.firmware import stand_in
from host.boards import Board
from host.bringup_plan import NAME, Plan
from host.certs import Authority, write_file
from host.cloud.server import serve
from host.cloud.store import Store
from host.inventory import Inventory
from host.provision_clouds import CLOUDS

_FIRST_PORT = 8443  # of `onebuf cloud`
_LOCAL = "127.0.0.1"
_LAB = {"ssid": "onebuf-lab"}  # the open network that emulated boards find
_REFUSED = (
    *(boards.BoardError, firmware_file.FirmwareError, image.ImageError, partitions.TableError),
    *(provision.Refused, ValueError),
)


def add_bringup(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "flash, deploy, provision and test boards, until their telemetry is at the cloud"
    command = commands.add_parser("bringup", help=text, description=text)
    add = command.add_argument
    add("--board", required=True, metavar="NAME", help="see `onebuf boards`")
    help = "serial port, may be repeated; `emulated`: a board that is kept below --folder"
    add("--port", required=True, action="append", help=help)
    add("--count", type=_count, default=1, help="of emulated boards (1)")
    add(
        "--jobs", type=_count, default=0, help="boards at a time (all; emulated: a processor each)"
    )
    help = "MicroPython's .bin for the board; without it MicroPython is to be on it already"
    add("--firmware", type=Path, metavar="FILE", help=help)
    add("--fresh", action="store_true", help="erase all, a new identity, too")
    add("--json", metavar="FILE", help="the result for a program; -: on stdout")
    _add_identity(command)
    _add_cloud(command)
    _add_settings(command)
    command.set_defaults(command=_run)


def _add_identity(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    help = "of the devices: a beginning, or a text with {mac} (%(default)s)"
    add("--name", default=NAME, help=help)
    help = "SQLite file of the devices (%(default)s)"
    add("--inventory", type=Path, default=inventory.DEFAULT, metavar="FILE", help=help)
    help = "folder for their certificates, which are no secrets (%(default)s)"
    add("--certs", type=Path, default=Path("certs"), metavar="DIR", help=help)
    help = "keep the private keys in this folder, too; else they are on the boards alone"
    add("--keep-keys", type=Path, metavar="DIR", help=help)


def _add_cloud(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--cloud", choices=CLOUDS, default="aws", help="(%(default)s)")
    where = command.add_mutually_exclusive_group()
    help = "the real cloud's root certificate, PEM or DER (without it an emulated cloud)"
    where.add_argument("--ca", type=Path, metavar="FILE", help=help)
    help = "of an `onebuf cloud` that runs (without it one runs here meanwhile)"
    where.add_argument("--store", type=Path, metavar="FILE", help=help)
    help = "of the emulated cloud: certificates; emulated boards, too (%(default)s)"
    add("--folder", type=Path, default=Path(".onebuf"), metavar="DIR", help=help)
    help = "of the emulated cloud, as the boards reach it (%(default)s)"
    add("--cloud-address", default=_LOCAL, metavar="ADDRESS", help=help)
    add("--cloud-port", type=_count, metavar="PORT", help="of the emulated cloud (as usual)")
    settings = provision_command.setting
    help = "a setting of the cloud: see `onebuf provision`"
    add("--set", action="append", type=settings, default=[], metavar="NAME=VALUE", help=help)


def _add_settings(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    help = "JSON file of what config.json says besides: period, queue"
    add("--config", type=Path, metavar="FILE", help=help)
    add("--wifi-ssid", metavar="NAME", help="the network; its key is asked for")
    secret_input.add_source(command, "wifi-key", "the key of the network", required=False)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 to 65535")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    began, start = datetime.now(timezone.utc), time.monotonic()
    try:
        if options.json and not Path(options.json).parent.is_dir():
            raise ValueError(f"--json: there is no folder {Path(options.json).parent}")
        board = boards.load(options.board)
        ports = _ports(options)
        out = sys.stderr if options.json == "-" else sys.stdout
        with _target(options) as target:
            plan = _plan(options, board, target, emulated.is_emulated(ports[0]))
            with _watch(out, ports) as watch:
                outcomes = bringup.run(plan, ports, options.jobs or _jobs(ports), watch)
    except _REFUSED as error:
        raise SystemExit(f"onebuf: {error}") from None
    print(f"\n{bringup_report.table(outcomes)}", file=out)
    if options.json:
        seconds = time.monotonic() - start
        _write(options.json, bringup_report.document(plan, outcomes, began, seconds))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _ports(options: argparse.Namespace) -> list[str]:
    """The ports, each once; ValueError for some that do not go together."""
    ports = list(dict.fromkeys(options.port))
    kinds = {emulated.is_emulated(port) for port in ports}
    if len(kinds) > 1:
        raise ValueError("emulated boards and real ones have different firmware: one at a time")
    if options.count > 1 and ports != ["emulated"]:
        raise ValueError("--count is for --port emulated")
    far = [port for port in ports if _is_real(port)]
    if far and not options.ca and options.cloud_address == _LOCAL:
        how = "--cloud-address, this computer's in its network; or --ca, for the real cloud"
        raise ValueError(f"the board at {far[0]} cannot reach {_LOCAL}: give {how}")
    return ports + [f"emulated:{n}" for n in range(1, options.count)]


def _is_real(port: str) -> bool:
    """Whether there is a cable; an emulated board that runs elsewhere has a pseudo-terminal."""
    return not emulated.is_emulated(port) and not port.startswith("/dev/pts/")


def _jobs(ports: list[str]) -> int:
    """All at once, but emulated boards take a processor each."""
    return min(len(ports), os.cpu_count() or 1 if emulated.is_emulated(ports[0]) else len(ports))


def _watch(out: TextIO, ports: list[str]) -> bringup_report.Lines | bringup_report.Bars:
    return (bringup_report.Bars if out.isatty() else bringup_report.Lines)(out, ports)


def _plan(
    options: argparse.Namespace,
    board: Board,
    target: provision.Real | provision.Emulated,
    emulation: bool,
) -> Plan:
    firmware = options.firmware.read_bytes() if options.firmware else None
    if emulation and firmware is None:
        firmware = stand_in(board)
    return Plan(
        board=board,
        cloud=options.cloud,
        target=target,
        inventory=Inventory(options.inventory),
        name=options.name,
        firmware=firmware,
        settings=dict(options.set),
        config=_config(options, emulation),
        certificates=options.certs,
        keys=options.keep_keys,
        folder=options.folder,
        march=emulated.MPY_ARCH if emulation else "",
        fresh=options.fresh,
    )


def _config(options: argparse.Namespace, emulation: bool) -> dict[str, Any]:
    """What config.json says besides. An emulated board has its time from the bring-up alone."""
    config = provision_command.read_config(options.config) if options.config else {}
    if emulation:
        config = {"wifi": _LAB, "clock": {"servers": []}, **config}
    if options.wifi_ssid:
        key = _wifi_key(options)
        config["wifi"] = {"ssid": options.wifi_ssid, **({"key": key} if key else {})}
    return config


def _wifi_key(options: argparse.Namespace) -> str:
    key = secret_input.read(options, "wifi-key")
    if key is None and sys.stdin.isatty():
        key = getpass.getpass(f"Key of the network {options.wifi_ssid} (none: it is open): ")
    return key or ""


@contextmanager
def _target(options: argparse.Namespace) -> Iterator[provision.Real | provision.Emulated]:
    """The cloud that is meant; an emulated one runs here meanwhile unless it runs elsewhere."""
    if options.ca:
        yield provision.Real(provision_command.read_certificate(options.ca))
        return
    usual = _FIRST_PORT + [*emulation.SERVICES].index(options.cloud)
    address = options.cloud_address
    if options.store:
        if not options.store.is_file():
            raise ValueError(f"{options.store}: no such store; `onebuf cloud --store` makes it")
        authority, store = Authority(options.folder), Store(options.store)
        yield provision.Emulated(authority, store, options.cloud_port or usual, address)
        return
    authority = Authority(options.folder)
    (options.folder / ".gitignore").write_text("*\n")  # private keys are nothing to commit
    store = Store(options.folder / "bringup.db")
    service = emulation.SERVICES[options.cloud](authority, store, "demo-thing")
    try:
        running = serve(service.cloud, options.cloud_port or usual, address)
    except OSError:
        if options.cloud_port:
            raise
        running = serve(service.cloud, 0, address)  # somebody has the usual port
    with running:
        yield provision.Emulated(authority, store, running.port, address)


def _write(path: str, text: str) -> None:
    if path == "-":
        print(text)
    else:
        write_file(Path(path), f"{text}\n".encode(), 0o644)
