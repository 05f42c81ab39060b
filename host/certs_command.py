"""`onebuf certs`: device certificates without openssl, looked at, and as DER for the device."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from host import x509_files, x509_report
from host.certs import belongs, write_file
from host.secret_input import PassPhrase, add_pass_phrase, add_pass_phrase_file
from host.x509_files import Issuer, PrivateKey

_ISSUER_DAYS = 365  # devices are added to a root and an intermediate for a while
_LONGEST_DAYS = 36500
_TEST_ONLY = "azure-iot-test-only"
_FULL_CHAIN = "-full-chain"


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
    for name, action in (("self-signed", _self_signed), ("chain", _chain)):
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
    _refuse_existing((cert, key_file), options.force)
    pass_phrase = PassPhrase(options).new()
    key = x509_files.generate(options.key_type)
    certificate = x509_files.self_signed(options.cn, key, options.days)
    options.out.mkdir(parents=True, exist_ok=True)
    _write(key_file, x509_files.key_pem(key, pass_phrase), 0o600)
    _write_certificates(cert, certificate)
    return 0


@dataclass(frozen=True)
class _ChainFiles:
    """The names that Azure's tutorial gives; the CA keys' are those of its openssl commands."""

    folder: Path
    registration_id: str

    def cert(self, name: str) -> Path:
        return self.folder / "certs" / f"{name}.cert.pem"

    def key(self, name: str) -> Path:
        return self.folder / "private" / f"{name}.key.pem"

    @property
    def root(self) -> tuple[Path, Path]:
        return self.cert(f"{_TEST_ONLY}.root.ca"), self.key(f"{_TEST_ONLY}.root.ca")

    @property
    def intermediate(self) -> tuple[Path, Path]:
        return self.cert(f"{_TEST_ONLY}.intermediate"), self.key(f"{_TEST_ONLY}.intermediate")

    @property
    def device(self) -> tuple[Path, Path, Path]:
        name = self.registration_id
        return self.cert(name), self.key(name), self.cert(f"{name}{_FULL_CHAIN}")


def _chain(options: argparse.Namespace) -> int:
    if options.cn.startswith(_TEST_ONLY) or options.cn.endswith(_FULL_CHAIN):
        raise ValueError(f"--cn {options.cn}: the files of a CA or of a chain have such names")
    files = _ChainFiles(options.out, options.cn)
    _refuse_existing(files.device, options.force)
    root, intermediate = _authorities(files, options)
    # Without a pass phrase, as in the tutorial: nobody is there to type it on a device.
    key = x509_files.generate(options.key_type)
    certificate = x509_files.device(options.cn, key, options.days, intermediate)
    cert_file, key_file, chain_file = files.device
    _write(key_file, x509_files.key_pem(key, None), 0o600)
    _write_certificates(cert_file, certificate)
    _write_certificates(chain_file, certificate, intermediate.certificate, root)
    return 0


def _authorities(
    files: _ChainFiles, options: argparse.Namespace
) -> tuple[x509.Certificate, Issuer]:
    """Return the root's certificate and the intermediate, made where DIR has none; ValueError."""
    pass_phrase = PassPhrase(options)
    days = max(_ISSUER_DAYS, options.days)
    for cert_file, key_file in (files.root, files.intermediate):
        if key_file.exists() and not cert_file.exists():
            raise ValueError(f"{key_file} exists, its certificate {cert_file} does not")
    if files.intermediate[0].exists():
        (root,) = _load_certificates(files.root[0])[:1]  # its key may be kept elsewhere
        intermediate = _load_issuer(files.intermediate, pass_phrase)
        _check_date(files.root[0], root)
        _check_issued(files.intermediate[0], intermediate.certificate, root)
        return root, intermediate
    if files.root[0].exists():
        issuer = _load_issuer(files.root, pass_phrase)
    else:
        issuer = _new_authority(files.root, "root CA", options, pass_phrase, days)
    made = _new_authority(files.intermediate, "intermediate", options, pass_phrase, days, issuer)
    return issuer.certificate, made


def _new_authority(
    where: tuple[Path, Path],
    role: str,
    options: argparse.Namespace,
    pass_phrase: PassPhrase,
    days: int,
    issuer: Issuer | None = None,
) -> Issuer:
    cert_file, key_file = where
    protection = pass_phrase.new()
    key = x509_files.generate(options.key_type)
    # A new CA under an old name would make verifiers confuse the two: the name is unique.
    name = f"{_TEST_ONLY} {role} {secrets.token_hex(4)}"
    certificate = x509_files.authority(name, key, days, issuer)
    cert_file.parent.mkdir(parents=True, exist_ok=True)
    key_file.parent.mkdir(mode=0o700, exist_ok=True)
    _write(key_file, x509_files.key_pem(key, protection), 0o600)
    _write_certificates(cert_file, certificate)
    return Issuer(certificate, key)


def _load_issuer(where: tuple[Path, Path], pass_phrase: PassPhrase) -> Issuer:
    certificate = _load_certificates(where[0])[0]
    key = _load_key(where[1], pass_phrase)
    if not belongs(key, certificate):
        raise ValueError(f"{where[1]} is not the key of {where[0]}")
    _check_date(where[0], certificate)
    return Issuer(certificate, key)


def _check_date(path: Path, certificate: x509.Certificate) -> None:
    if certificate.not_valid_after_utc <= datetime.now(timezone.utc):
        raise ValueError(f"{path} has expired: start again in another folder")


def _check_issued(path: Path, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise ValueError(f"{path} is not issued by the root beside it") from None


def _inspect(options: argparse.Namespace) -> int:
    key = _load_key(options.key, PassPhrase(options)) if options.key else None
    reports = []
    for path in options.files:
        certificates = _load_certificates(path)
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
    _refuse_existing(made, options.force)
    for target, content in made.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            _write(target, content, 0o644)
        else:
            _write(target, x509_files.key_der(content), 0o600)
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
    certificates = _load_certificates(path) if b"-----BEGIN CERTIFICATE-----" in data else []
    for number, certificate in enumerate(certificates, 1):
        name = f"{path.stem}-{number}.der" if number > 1 else f"{path.stem}.der"
        yield folder / name, certificate.public_bytes(serialization.Encoding.DER)
    if x509_files.has_key(data):
        name = f"{path.stem}.key.der" if certificates else f"{path.stem}.der"
        yield folder / name, _load_key(path, pass_phrase)
    elif not certificates:
        raise ValueError(f"{path}: neither a certificate nor a private key")


def _load_certificates(path: Path) -> Sequence[x509.Certificate]:
    try:
        found = x509_files.read_certificates(path.read_bytes())
    except x509_files.BROKEN:
        found = []
    if not found:
        raise ValueError(f"{path}: no certificate, PEM or DER")
    return found


def _load_key(path: Path, pass_phrase: PassPhrase) -> PrivateKey:
    data = path.read_bytes()
    try:
        return x509_files.read_key(data, lambda: pass_phrase.of(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _refuse_existing(paths: Iterable[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise ValueError(f"{path} exists: not overwritten without --force")


def _write_certificates(path: Path, *certificates: x509.Certificate) -> None:
    _write(path, x509_files.certificate_pem(*certificates), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    write_file(path, data, mode)
    print(path)
