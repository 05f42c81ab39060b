"""The command `onebuf`: the emulated cloud, the demo, and a publish from this computer."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from host import demo, publish
from host.certs import Authority
from host.cloud import faults
from host.cloud.aws import AWSCloud
from host.cloud.server import serve
from host.cloud.store import Store
from tools.micropython import RuntimeMissing

_POLL_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: its exit status. 130 after Ctrl-C, 1 after a failure told on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        return 130
    except (demo.DemoFailed, RuntimeMissing, publish.Failed, OSError, sqlite3.Error) as error:
        print(f"onebuf: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onebuf", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_demo(commands)
    _add_cloud(commands)
    _add_publish(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "publish from real MicroPython and from CPython to an emulated cloud, and compare"
    command = commands.add_parser("demo", help=text, description=text)
    command.add_argument("--readings", type=_count, default=20, help="publishes for each runtime")
    command.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    command.set_defaults(command=_demo)


def _add_cloud(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "run the emulated AWS IoT endpoint until Ctrl-C"
    notes = (faults.__doc__ or "").split("\n\n", 1)[1].split("\n\nInvariant")[0]
    command = commands.add_parser(
        "cloud",
        help=text,
        description=text,
        epilog=f"faults:\n\n{notes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--host", default="127.0.0.1", help="listen there (127.0.0.1)")
    command.add_argument("--port", type=_port, default=8443, help="0: any free port (8443)")
    command.add_argument("--folder", type=Path, default=Path(".onebuf"), help="certificates")
    command.add_argument("--store", default=":memory:", help="SQLite file for the messages")
    command.add_argument("--thing", default="demo-thing", help="the device that may publish")
    command.add_argument("--fault", type=_fault, help="what it does wrong: see below")
    command.set_defaults(command=_cloud)


def _fault(spelling: str) -> str:
    try:
        faults.parse(spelling)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return spelling


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 to 100000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of up to 86400 s")
    return seconds


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _add_publish(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "publish one message to AWS IoT through the device package"
    command = commands.add_parser("publish", help=text, description=text)
    command.add_argument("--endpoint", required=True, help="host name, without scheme and port")
    command.add_argument("--cert", required=True, type=Path, help="client certificate, PEM or DER")
    command.add_argument("--key", required=True, type=Path, help="its private key, PEM or DER")
    command.add_argument("--cacert", type=Path, help="CA, PEM or DER (those of this computer)")
    command.add_argument("--topic", default="test/topic")
    command.add_argument("--message", default="Hello World!", help="empty: an empty payload")
    command.add_argument("--port", type=_port, default=8443)
    command.add_argument("--qos", type=int, choices=(0, 1), default=1)
    command.add_argument("--address", default="", help="connect there instead of to the endpoint")
    command.add_argument("--timeout", type=_seconds, default=30.0, help="seconds for all of it")
    command.set_defaults(command=_publish)


def _demo(options: argparse.Namespace) -> int:
    def say(line: str) -> None:
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)

    try:
        rows = demo.run(options.readings, say)
    except demo.DemoFailed as error:
        if options.json:
            print(json.dumps({"ok": False, "error": str(error)}))
        raise
    print(demo.as_json(rows) if options.json else f"\n{demo.table(rows)}")
    return 0


def _cloud(options: argparse.Namespace) -> int:
    aws = AWSCloud(Authority(options.folder), Store(options.store))
    (options.folder / ".gitignore").write_text("*\n")  # private keys are nothing to commit
    try:
        aws.add_thing(options.thing)
    except ValueError as error:
        raise SystemExit(f"onebuf: {error}") from error
    with serve(aws, options.port, options.host) as cloud:
        if options.fault:
            cloud.faults.add(options.fault)
        print(f"AWS IoT, emulated: {aws.endpoint} on {cloud.host}:{cloud.port}, Ctrl-C stops it")
        print(f"\n{aws.curl_line(cloud.port, options.thing, cloud.host)}\n", flush=True)
        seen = len(cloud.messages())
        while True:
            messages = cloud.messages()
            for message in messages[seen:]:
                text = message.payload.decode(errors="replace")
                print(f"{message.device} {message.topic} qos={message.qos} {text}", flush=True)
            seen = len(messages)
            time.sleep(_POLL_S)


def _publish(options: argparse.Namespace) -> int:
    status, body = publish.publish(options)
    print("Response status:", status)
    print("Response body:", body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
