"""The command `onebuf`: boards from bare to publishing, the emulated clouds, and the demo."""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from host import (
    boards_command,
    bringup_command,
    certs_command,
    cloud_command,
    demo,
    deploy_command,
    flash_command,
    image_command,
    inventory_command,
    monitor_command,
    provision_command,
    publish,
    queue_command,
    sign_command,
)
from tools.micropython import RuntimeMissing


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


class _Parser(argparse.ArgumentParser):
    """Repeats no value that no option takes: it may be a secret, as after --pass-phrase."""

    def error(self, message: str) -> NoReturn:
        kind, _, words = message.partition(": ")
        if kind == "unrecognized arguments":
            names = [word.split("=")[0] for word in words.split() if word.startswith("--")]
            message = f"{kind}: {' '.join(names) or 'a value that no option takes'}"
        message = re.sub(r"(?s)(ignored explicit argument) .*", r"\1", message)
        super().error(re.sub(r"(?s)(ambiguous option: [^ =]*)=.*( could match)", r"\1\2", message))


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(prog="onebuf", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_demo(commands)
    cloud_command.add_cloud(commands, _port)
    _add_publish(commands)
    certs_command.add_certs(commands)
    sign_command.add_sign(commands)
    queue_command.add_queue(commands)
    boards_command.add_boards(commands)
    image_command.add_image(commands)
    flash_command.add_flash(commands)
    deploy_command.add_deploy(commands)
    provision_command.add_provision(commands)
    inventory_command.add_inventory(commands)
    monitor_command.add_monitor(commands)
    bringup_command.add_bringup(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "publish from real MicroPython to every emulated cloud, and compare with what they have"
    command = commands.add_parser("demo", help=text, description=text)
    command.add_argument("--readings", type=_count, default=20, help="publishes for each row (20)")
    command.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    command.set_defaults(command=_demo)


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
    command.add_argument("--alpn", help=f"protocol to offer ({publish.ALPN} on port 443)")
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


def _publish(options: argparse.Namespace) -> int:
    status, body = publish.publish(options)
    print("Response status:", status)
    print("Response body:", body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
