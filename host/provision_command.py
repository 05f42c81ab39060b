"""`onebuf provision`: the identity of one device, onto the board and into the inventory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from host import (
    boards,
    deploy_command,
    emulation,
    inventory,
    provision,
    repl,
    secret_input,
    x509_files,
)
from host.certs import Authority
from host.cloud.store import Store
from host.inventory import Inventory
from host.provision_clouds import CLOUDS, Login
from host.secret_input import PassPhrase

_FIRST_PORT = 8443  # of `onebuf cloud`


def add_provision(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "give a board its keys and settings, register it, and record it"
    command = commands.add_parser("provision", help=text, description=text)
    command.add_argument("--board", required=True, help="its name: see `onebuf boards`")
    command.add_argument("--port", required=True, help="its serial port")
    command.add_argument("--cloud", required=True, choices=CLOUDS)
    command.add_argument("--name", required=True, help="of the device at the cloud")
    _add_target(command)
    _add_login(command)
    help = "SQLite file of the devices (%(default)s)"
    file = inventory.DEFAULT
    command.add_argument("--inventory", type=Path, default=file, metavar="FILE", help=help)
    help = "the device that has the name has gone, and this one takes its place"
    command.add_argument("--replace", action="store_true", help=help)
    command.set_defaults(command=_run)


def _add_target(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group(required=True)
    help = "the real cloud's root certificate, PEM or DER"
    where.add_argument("--ca", type=Path, metavar="FILE", help=help)
    help = "of `onebuf cloud`, which may be running: its store"
    where.add_argument("--store", type=Path, metavar="FILE", help=help)
    help = "of `onebuf cloud`: its certificates (%(default)s)"
    command.add_argument("--folder", type=Path, default=Path(".onebuf"), metavar="DIR", help=help)
    help = "of `onebuf cloud`, as the board reaches it (%(default)s)"
    command.add_argument("--address", default="127.0.0.1", help=help)
    help = "of `onebuf cloud` (what it takes if it is told none)"
    command.add_argument("--cloud-port", type=int, metavar="PORT", help=help)
    known = "; ".join(f"{name}: {', '.join(cloud.settings)}" for name, cloud in CLOUDS.items())
    help = f"a setting of the cloud. {known}"
    add = command.add_argument
    add("--set", action="append", type=setting, default=[], metavar="NAME=VALUE", help=help)
    help = "JSON file of what config.json says besides: Wi-Fi, period"
    add("--config", type=Path, metavar="FILE", help=help)


def _add_login(command: argparse.ArgumentParser) -> None:
    help = "certificate to use instead of a new one, PEM or DER"
    command.add_argument("--cert", type=Path, metavar="FILE", help=help)
    command.add_argument("--key", type=Path, metavar="FILE", help="its private key")
    secret_input.add_pass_phrase_file(command, "the key's pass phrase; -: standard input")
    what = "the secret that Alibaba Cloud or Watson gave the device"
    secret_input.add_source(command, "secret", what, required=False)
    help = "days that a new certificate is valid (%(default)s)"
    command.add_argument("--days", type=int, default=provision.DAYS, help=help)
    help = "folder for the certificates, which are no secrets (%(default)s)"
    command.add_argument("--certs", type=Path, default=Path("certs"), metavar="DIR", help=help)
    help = "keep the private key in this folder, too; else it is on the board alone"
    command.add_argument("--keep-keys", type=Path, metavar="DIR", help=help)


def setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _run(options: argparse.Namespace) -> int:
    failures = (boards.BoardError, provision.Refused, inventory.NameTaken, repl.Failed, ValueError)
    try:
        board = boards.load(options.board)
        request = _request(options)
        if (first := provision.register_first(request)) is not None:
            raise provision.Refused(
                f"{options.cloud} gives the device a secret: register it with\n\n{first}\n\n"
                "and give that with --secret-file, --secret-stdin or --secret-env"
            )
        with repl.opened(options.port, board.serial_baud) as device:
            deploy_command.check(device.facts(), board)
            known = Inventory(options.inventory)
            identity = provision.provision(
                device, request, known, options.certs, options.keep_keys
            )
            device.reset()
    except failures as error:
        raise SystemExit(f"onebuf: {error}") from error
    _tell(identity)
    return 0


def _tell(identity: provision.Identity) -> None:
    device = identity.device
    print(f"{device.identity} at {device.cloud}: board {device.serial}, {device.runtime}")
    if identity.certificate:
        print(f"certificate {device.fingerprint}\n  in {identity.certificate}")
    print("at the real cloud:\n")
    print("\n".join(identity.commands))


def _request(options: argparse.Namespace) -> provision.Request:
    return provision.Request(
        board=options.board,
        cloud=options.cloud,
        name=options.name,
        target=_target(options),
        settings=dict(options.set),
        config=read_config(options.config) if options.config else {},
        login=_login(options),
        days=options.days,
        replace=options.replace,
    )


def _target(options: argparse.Namespace) -> provision.Real | provision.Emulated:
    if options.ca:
        return provision.Real(read_certificate(options.ca))
    if not options.store.is_file():
        raise ValueError(f"{options.store}: no such store; `onebuf cloud --store` makes it")
    usual = _FIRST_PORT + [*emulation.SERVICES].index(options.cloud)
    return provision.Emulated(
        Authority(options.folder),
        Store(options.store),
        options.cloud_port or usual,
        options.address,
    )


def read_certificate(path: Path) -> bytes:
    try:
        (certificate,) = x509_files.read_certificates(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path}: one certificate is wanted, PEM or DER") from None
    return certificate.public_bytes(serialization.Encoding.DER)


def _login(options: argparse.Namespace) -> Login | None:
    if bool(options.cert) != bool(options.key):
        raise ValueError("--cert and --key belong together")
    if options.cert:
        phrase = PassPhrase(options)
        data = options.cert.read_bytes(), options.key.read_bytes()
        return provision.imported(*data, lambda: phrase.of(options.key))
    secret = secret_input.read(options, "secret")
    return None if secret is None else Login(secret=secret)


def read_config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: no JSON object")  # and no word of it: it may have secrets
    return found
