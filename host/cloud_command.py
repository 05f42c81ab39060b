"""`onebuf cloud`: the emulated clouds, each on a port of its own, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import errno
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from host import emulation
from host.certs import Authority
from host.cloud import faults
from host.cloud.server import Running, serve
from host.cloud.store import Message, Store
from host.curl import Curl

_POLL_S = 0.2


def add_cloud(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], port: Callable[[str], int]
) -> None:
    """Add the command; port is the type of a port option."""
    names = ", ".join(emulation.SERVICES)
    text = "run the emulated clouds until Ctrl-C, and print what they receive"
    notes = (faults.__doc__ or "").split("\n\n", 1)[1].split("\n\nInvariant")[0]
    command = commands.add_parser(
        "cloud",
        help=text,
        description=text,
        epilog=f"faults:\n\n{notes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--host", type=_host, default="127.0.0.1", help="listen there (127.0.0.1)"
    )
    help = "the first one's; the others take the next ones. 0: any free ones (8443)"
    command.add_argument("--port", type=port, default=8443, help=help)
    command.add_argument("--only", type=_services, help=f"some of {names}, with commas between")
    help = "certificates and the device's secrets (.onebuf)"
    command.add_argument("--folder", type=Path, default=Path(".onebuf"), help=help)
    help = "SQLite file that keeps messages and state for the next run (in memory)"
    command.add_argument("--store", default=":memory:", metavar="FILE", help=help)
    help = "the device that may publish (demo-thing)"
    command.add_argument("--thing", default="demo-thing", help=help)
    help = "what each of them does wrong: see below"
    command.add_argument("--fault", type=_fault, metavar="FAULTS", help=help)
    command.set_defaults(command=_run)


def _services(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in emulation.SERVICES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {[*emulation.SERVICES]}")
    return [*dict.fromkeys(names)]


def _host(text: str) -> str:
    if not text:  # for a socket that is every address
        raise argparse.ArgumentTypeError("an address is wanted; 0.0.0.0: all of this computer")
    return text


def _fault(spelling: str) -> str:
    try:
        faults.parse(spelling)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return spelling


def _run(options: argparse.Namespace) -> int:
    if options.port + len(emulation.SERVICES) > 65536:
        raise SystemExit(f"onebuf: --port {options.port}: the others take the ports behind it")
    store = _store(options.store)
    authority = Authority(options.folder.resolve())  # what is pasted is so in whatever folder
    with suppress(FileExistsError), open(authority.folder / ".gitignore", "x") as file:
        file.write("*\n")  # private keys are nothing to commit
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    seen = store.last()
    blocks = []
    with ExitStack() as running:
        for name in options.only or emulation.SERVICES:
            try:
                service = emulation.SERVICES[name](authority, store, options.thing)
            except ValueError as error:
                raise SystemExit(f"onebuf: {error}") from error
            port = options.port and options.port + [*emulation.SERVICES].index(name)
            cloud = running.enter_context(_served(service, port, options.host))
            if options.fault:
                cloud.faults.add(options.fault)
            blocks.append(_block(service, cloud, authority.ca_pem))
        print(*blocks, "Ctrl-C stops it.", sep="\n", flush=True)
        _follow(store, seen)


def _store(path: str) -> Store:
    try:
        return Store(path)
    except sqlite3.Error as error:
        raise SystemExit(f"onebuf: --store {path}: {error}") from error


def _served(service: emulation.Service, port: int, host: str) -> Running:
    try:
        return serve(service.cloud, port, host)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        text = f"{host}:{port} is in use, perhaps by another `onebuf cloud`: see --port"
        raise SystemExit(f"onebuf: {text}") from error


def _block(service: emulation.Service, cloud: Running, ca: Path) -> str:
    address = f"{cloud.host}:{cloud.port}"
    return f"{service.title} on {address}\n\n{service.commands(Curl(address, ca))}\n"


def _follow(store: Store, seen: int) -> NoReturn:
    """Print each message that comes in after the one of that id, for ever."""
    while True:
        for message in store.messages(after=seen):
            print(_line(message), flush=True)
            seen = message.id
        time.sleep(_POLL_S)


def _line(message: Message) -> str:
    """One line, whatever is in a payload: no escape code of it reaches the terminal."""
    text = message.payload.decode(errors="backslashreplace")
    line = f"{message.device} {message.topic} qos={message.qos} {text}"
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in line
    )
