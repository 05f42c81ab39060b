"""`onebuf certs`: device certificates without openssl, looked at, and as DER for the device."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from host import certs_chain, certs_files, x509_files, x509_report
from host.secret_input import PassPhrase, add_pass_phrase, add_pass_phrase_file
from host.x509_files import PrivateKey

_LONGEST_DAYS = 36500


def add_certs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `onebuf`."""
    text = "make, inspect and convert X.509 device certificates"
    parser = commands.add_parser("certs", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="action")
    text = (
        "a self-signed certificate, for an individual enrolment: device-cert.pem, device-key.pem"
    )
    _add_making(actions.add_parser("self-signed", help=text, description=text), "the key's")
    text = "root, intermediate and device, for an enrolment group; DIR's own are used again"
    _add_making(actions.add_parser("chain", help=text, description=text), "the CA keys'")
    text = "what certificates say, whether they link, and what a cloud would refuse"
    inspect = actions.add_parser("inspect", help=text, description=text)
    inspect.add_argument("--key", type=Path, help="private key: does it belong to the first?")
    inspect.add_argument("--json", action="store_true", help="as JSON")
    text = "PEM certificates and keys as DER, beside them; each certificate of a chain by itself"
    der = actions.add_parser("der", help=text, description=text)
    der.add_argument("--out", type=Path, metavar="DIR", help="there instead")
    der.add_argument("--force", action="store_true", help="overwrite")
    for command in (inspect, der):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE")
        add_pass_phrase_file(command, "the key's pass phrase; -: standard input (asked for)")
    for name, action in (("self-signed", _self_signed), ("chain", certs_chain.make)):
        actions.choices[name].set_defaults(command=_run, action=action)
    inspect.set_defaults(command=_run, action=_inspect)
    der.set_defaults(command=_run, action=_der)


def _add_making(command: argparse.ArgumentParser, whose: str) -> None:
    command.add_argument("--cn", required=True, type=_registration_id, help="registration ID")
    command.add_argument("--days", type=_days, default=30, help="how long it is valid (30)")
    help = "ec is P-256, fastest on a device (ec); Azure's guide has rsa4096"
    command.add_argument("--key-type", choices=x509_files.KEY_TYPES, default="ec", help=help)
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="write them there")
    command.add_argument("--force", action="store_true", help="overwrite the device's files")
    add_pass_phrase(command, f"{whose} pass phrase")


def _registration_id(text: str) -> str:
    if not x509_files.is_registration_id(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: 1 to 64 of A-Z a-z 0-9 - . _ :, the last a letter, a digit or -"
        )
    return text


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _LONGEST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 to {_LONGEST_DAYS}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    try:
        status: int = options.action(options)
    except ValueError as error:
        raise SystemExit(f"onebuf: {error}") from error
    return status


def _self_signed(options: argparse.Namespace) -> int:
    cert, key_file = (options.out / name for name in ("device-cert.pem", "device-key.pem"))
    certs_files.refuse_existing((cert, key_file), options.force)
    pass_phrase = PassPhrase(options).new()
    key = x509_files.generate(options.key_type)
    certificate = x509_files.self_signed(options.cn, key, options.days)
    options.out.mkdir(parents=True, exist_ok=True)
    certs_files.write(key_file, x509_files.key_pem(key, pass_phrase), 0o600)
    certs_files.write_certificates(cert, certificate)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    key = certs_files.load_key(options.key, PassPhrase(options)) if options.key else None
    reports = []
    for path in options.files:
        certificates = certs_files.load_certificates(path)
        try:
            reports.append(x509_report.report(str(path), certificates, key))
        except x509_files.BROKEN as error:
            raise ValueError(f"{path}: {error}") from None
    if options.json:
        print(json.dumps(reports, indent=2))
    else:
        print("\n".join(x509_report.text(each) for each in reports))
    return 1 if any(each["key_belongs"] is False for each in reports) else 0


def _der(options: argparse.Namespace) -> int:
    pass_phrase = PassPhrase(options)
    made: dict[Path, bytes | PrivateKey] = {}
    for path in options.files:
        for target, content in _as_der(path, pass_phrase, options.out or path.parent):
            if target in made:
                raise ValueError(f"two files would become {target}")
            made[target] = content
    certs_files.refuse_existing(made, options.force)
    for target, content in made.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            certs_files.write(target, content, 0o644)
        else:
            certs_files.write(target, x509_files.key_der(content), 0o600)
    return 0


def _as_der(
    path: Path, pass_phrase: PassPhrase, folder: Path
) -> Iterable[tuple[Path, bytes | PrivateKey]]:
    """Yield file and content: the key, and every certificate by itself.

    MicroPython 1.26 takes a file of several DER certificates and presents the first alone. A
    chain is loaded by one load_cert_chain(certificate, key) for each, the device's first.
    """
    data = path.read_bytes()
    if b"-----BEGIN" not in data:
        raise ValueError(f"{path}: no PEM")
    certificates = (
        certs_files.load_certificates(path) if b"-----BEGIN CERTIFICATE-----" in data else []
    )
    for number, certificate in enumerate(certificates, 1):
        name = f"{path.stem}-{number}.der" if number > 1 else f"{path.stem}.der"
        yield folder / name, certificate.public_bytes(serialization.Encoding.DER)
    if x509_files.has_key(data):
        name = f"{path.stem}.key.der" if certificates else f"{path.stem}.der"
        yield folder / name, certs_files.load_key(path, pass_phrase)
    elif not certificates:
        raise ValueError(f"{path}: neither a certificate nor a private key")
