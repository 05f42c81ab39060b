"""`onebuf cloud`: the emulated clouds, each on a port of its own, until Ctrl-C."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from host import emulation
from host.certs import Authority
from host.cloud import faults
from host.cloud.server import Running, serve
from host.cloud.store import Message, Store

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
    command.add_argument("--host", default="127.0.0.1", help="listen there (127.0.0.1)")
    help = "the first one's; the others take the next ones. 0: any free ones (8443)"
    command.add_argument("--port", type=port, default=8443, help=help)
    command.add_argument("--only", type=_services, help=f"some of {names}, with commas between")
    command.add_argument("--folder", type=Path, default=Path(".onebuf"), help="certificates")
    command.add_argument("--store", default=":memory:", help="SQLite file for the messages")
    command.add_argument("--thing", default="demo-thing", help="the device that may publish")
    command.add_argument("--fault", type=_fault, help="what each does wrong: see below")
    command.set_defaults(command=_run)


def _services(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in emulation.SERVICES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {[*emulation.SERVICES]}")
    return names


def _fault(spelling: str) -> str:
    try:
        faults.parse(spelling)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return spelling


def _run(options: argparse.Namespace) -> int:
    if options.port + len(emulation.SERVICES) > 65536:
        raise SystemExit(f"onebuf: --port {options.port}: the others take the ports behind it")
    authority = Authority(options.folder)
    store = Store(options.store)
    (options.folder / ".gitignore").write_text("*\n")  # private keys are nothing to commit
    names = [*emulation.SERVICES]
    with ExitStack() as running:
        for name in options.only or names:
            try:
                service = emulation.SERVICES[name](authority, store, options.thing)
            except ValueError as error:
                raise SystemExit(f"onebuf: {error}") from error
            port = options.port and options.port + names.index(name)
            cloud = running.enter_context(serve(service.cloud, port, options.host))
            if options.fault:
                cloud.faults.add(options.fault)
            print(_block(service, cloud), flush=True)
        print("Ctrl-C stops it.", flush=True)
        _follow(store)


def _block(service: emulation.Service, cloud: Running) -> str:
    commands = service.curl(cloud.port, cloud.host)
    return f"{service.title} on {cloud.host}:{cloud.port}\n\n{commands}\n"


def _follow(store: Store) -> NoReturn:
    """Print each message that comes in, for ever."""
    seen = len(store.messages())
    while True:
        messages = store.messages()
        for message in messages[seen:]:
            print(_line(message), flush=True)
        seen = len(messages)
        time.sleep(_POLL_S)


def _line(message: Message) -> str:
    text = message.payload.decode(errors="replace")
    return f"{message.device} {message.topic} qos={message.qos} {text}"
