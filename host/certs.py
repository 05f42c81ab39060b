"""Certificates for the emulated clouds, made on first use and kept in one folder.

Invariant: a private key exists on disk only with mode 0600, from its first byte on, and a folder
made here has mode 0700. A set of files that does not fit together (key of another certificate,
other certificate authority, other host names, expired) is made again, never used.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_HOSTS = ("localhost", "127.0.0.1")

_DAY = timedelta(days=1)
_CA_DAYS = 3650
_LEAF_DAYS = 825
_THING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")  # a CN has at most 64 (RFC 5280 A.1)
_TAKEN = ("ca", "server")


@dataclass(frozen=True)
class Pair:
    """Where a certificate and its private key lie, as PEM and as DER (key: SEC 1, RFC 5915)."""

    cert_pem: Path
    key_pem: Path
    cert_der: Path
    key_der: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate's DER in lower-case hex, as AWS IoT's certificate id."""
        certificate = x509.load_der_x509_certificate(self.cert_der.read_bytes())
        return certificate.fingerprint(hashes.SHA256()).hex()


class Authority:
    """A certificate authority in a folder; the same folder gives the same certificates again."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.ca_pem = self.folder / "ca.pem"
        self.ca_der = self.folder / "ca.der"
        self._certificate, self._key = self._load_ca() or self._make_ca()

    def server(
        self,
        hosts: Sequence[str] = LOCAL_HOSTS,
        name: str = "server",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Pair:
        """Return a certificate for exactly these hosts; its PEM is the chain down to the CA."""
        files = self._files(name, key_pem=f"{name}.key")
        alternative = x509.SubjectAlternativeName([_general_name(host) for host in hosts])

        def fits(certificate: x509.Certificate) -> bool:
            have = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            return have.value == alternative

        if not self._usable(files, fits):
            leaf = _Leaf(hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, not_before, not_after)
            self._issue(files, leaf, alternative, chain=True)
        return files

    def device(
        self,
        thing: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Pair:
        """Return the client certificate whose CN is `thing`; ValueError for an unusable name."""
        files = self._files(check_name(thing), key_pem=f"{thing}.key.pem")
        if not self._usable(files, lambda certificate: True):
            leaf = _Leaf(thing, ExtendedKeyUsageOID.CLIENT_AUTH, not_before, not_after)
            self._issue(files, leaf, None, chain=False)
        return files

    def _files(self, name: str, key_pem: str) -> Pair:
        folder = self.folder
        return Pair(
            folder / f"{name}.pem",
            folder / key_pem,
            folder / f"{name}.der",
            folder / f"{name}.key.der",
        )

    def _load_ca(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
        try:
            certificate = x509.load_der_x509_certificate(self.ca_der.read_bytes())
            key = _read_key((self.folder / "ca.key").read_bytes(), pem=True)
            pem = x509.load_pem_x509_certificate(self.ca_pem.read_bytes())
        except (OSError, ValueError):
            return None
        whole = pem == certificate and belongs(key, certificate) and _in_date(certificate)
        return (certificate, key) if whole else None

    def _make_ca(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        # A new CA under an old name would make verifiers confuse the two: the name is unique.
        name = common_name(f"onebuf test CA {x509.random_serial_number() & 0xFFFFFFFF:08x}")
        begin = _now() - _DAY
        builder = _builder(name, name, key.public_key(), begin, begin + _CA_DAYS * _DAY)
        builder = _extend(builder, key.public_key(), key.public_key(), ca=True)
        certificate = builder.sign(key, hashes.SHA256())
        write_file(self.folder / "ca.key", _key_bytes(key, serialization.Encoding.PEM), 0o600)
        write_file(self.ca_der, certificate.public_bytes(serialization.Encoding.DER), 0o644)
        write_file(self.ca_pem, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return certificate, key

    def _usable(self, files: Pair, fits: Callable[[x509.Certificate], bool]) -> bool:
        try:
            certificate = x509.load_der_x509_certificate(files.cert_der.read_bytes())
            pem = x509.load_pem_x509_certificates(files.cert_pem.read_bytes())
            keys = (
                _read_key(files.key_der.read_bytes(), pem=False),
                _read_key(files.key_pem.read_bytes(), pem=True),
            )
            certificate.verify_directly_issued_by(self._certificate)
            fit = fits(certificate)
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        owned = pem[0] == certificate and all(belongs(key, certificate) for key in keys)
        return owned and fit and _in_date(certificate)

    def _issue(
        self,
        files: Pair,
        leaf: _Leaf,
        alternative: x509.SubjectAlternativeName | None,
        chain: bool,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        begin = leaf.not_before or _now() - _DAY
        end = leaf.not_after or begin + _LEAF_DAYS * _DAY
        name = common_name(leaf.common_name)
        builder = _builder(name, self._certificate.subject, key.public_key(), begin, end)
        builder = _extend(builder, key.public_key(), self._key.public_key(), ca=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([leaf.usage]), critical=False)
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_file(files.key_pem, _key_bytes(key, serialization.Encoding.PEM), 0o600)
        write_file(files.key_der, _key_bytes(key, serialization.Encoding.DER), 0o600)
        write_file(files.cert_der, certificate.public_bytes(serialization.Encoding.DER), 0o644)
        write_file(files.cert_pem, pem + self.ca_pem.read_bytes() if chain else pem, 0o644)


@dataclass(frozen=True)
class _Leaf:
    common_name: str
    usage: x509.ObjectIdentifier
    not_before: datetime | None
    not_after: datetime | None


def _now() -> datetime:
    return datetime.now(timezone.utc)


def check_name(thing: str) -> str:
    """Return the name of a thing; ValueError if no files can be named after it."""
    if not _THING.fullmatch(thing) or thing in _TAKEN or thing.endswith(".key"):
        raise ValueError(f"thing name {thing!r}: 1 to 64 of A-Z a-z 0-9 . _ : -, not reserved")
    return thing


def common_name(text: str) -> x509.Name:
    """Return the name that consists of this CN alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, public)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(end)


def _extend(
    builder: x509.CertificateBuilder,
    public: ec.EllipticCurvePublicKey,
    issuer: ec.EllipticCurvePublicKey,
    ca: bool,
) -> x509.CertificateBuilder:
    """Return `builder` with the extensions that strict verifiers ask for (RFC 5280 4.2.1)."""
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    here = x509.SubjectKeyIdentifier.from_public_key(public)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    basic = x509.BasicConstraints(ca, 0 if ca else None)
    builder = builder.add_extension(basic, critical=True).add_extension(usage, critical=True)
    return builder.add_extension(here, critical=False).add_extension(above, critical=False)


def _key_bytes(key: ec.EllipticCurvePrivateKey, encoding: serialization.Encoding) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _read_key(data: bytes, pem: bool) -> ec.EllipticCurvePrivateKey:
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    key = load(data, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")
    return key


def belongs(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, certificate: x509.Certificate
) -> bool:
    """Return whether `certificate` certifies the public half of `key`."""
    return key.public_key() == certificate.public_key()


def _in_date(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_before_utc <= _now() < certificate.not_valid_after_utc


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Put `data` at `path` whole or not at all; the file has `mode` before it has content."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
