"""`onebuf certs chain`: root, intermediate and device, laid out as in Azure's tutorial."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from host import certs_files, x509_files
from host.certs import belongs
from host.secret_input import PassPhrase
from host.x509_files import Issuer

_ISSUER_DAYS = 365  # devices are added to a root and an intermediate for a while
_TEST_ONLY = "azure-iot-test-only"
_FULL_CHAIN = "-full-chain"


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


def make(options: argparse.Namespace) -> int:
    """Make the chain; the command's exit status. ValueError, OSError."""
    if options.cn.startswith(_TEST_ONLY) or options.cn.endswith(_FULL_CHAIN):
        raise ValueError(f"--cn {options.cn}: the files of a CA or of a chain have such names")
    files = _ChainFiles(options.out, options.cn)
    certs_files.refuse_existing(files.device, options.force)
    root, intermediate = _authorities(files, options)
    # Without a pass phrase, as in the tutorial: nobody is there to type it on a device.
    key = x509_files.generate(options.key_type)
    certificate = x509_files.device(options.cn, key, options.days, intermediate)
    cert_file, key_file, chain_file = files.device
    certs_files.write(key_file, x509_files.key_pem(key, None), 0o600)
    certs_files.write_certificates(cert_file, certificate)
    certs_files.write_certificates(chain_file, certificate, intermediate.certificate, root)
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
        (root,) = certs_files.load_certificates(files.root[0])[:1]  # its key may be kept elsewhere
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
    certs_files.write(key_file, x509_files.key_pem(key, protection), 0o600)
    certs_files.write_certificates(cert_file, certificate)
    return Issuer(certificate, key)


def _load_issuer(where: tuple[Path, Path], pass_phrase: PassPhrase) -> Issuer:
    certificate = certs_files.load_certificates(where[0])[0]
    key = certs_files.load_key(where[1], pass_phrase)
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
