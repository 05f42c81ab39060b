"""Device certificates as Azure's documents make them with openssl, and reading those of others.

Azure: "How to use X.509 certificates over HTTPS without an SDK" (self-signed certificate) and
"Provision multiple X.509 devices using enrollment groups" (certificate chain).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from host.certs import Pair, common_name, write_file

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_SKEW = timedelta(minutes=5)  # a server whose clock is a little behind takes a new certificate
# PROTOCOLS 3.2: the CN is the registration ID, and a CN has at most 64 (RFC 5280 A.1).
_REGISTRATION_ID = re.compile(r"[A-Za-z0-9._:-]{0,63}[A-Za-z0-9-]")
_GENERATORS: dict[str, Callable[[], PrivateKey]] = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
}
# What cryptography says of a certificate that somebody else has made badly.
BROKEN = (
    *(ValueError, UnsupportedAlgorithm, x509.DuplicateExtension),
    *(x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)
KEY_TYPES = tuple(_GENERATORS)  # the first is what a microcontroller signs fastest with


@dataclass(frozen=True, repr=False)
class Issuer:
    """A certificate that signs others, and its private key."""

    certificate: x509.Certificate
    key: PrivateKey


def generate(key_type: str) -> PrivateKey:
    """Return a new private key, `key_type` one of KEY_TYPES."""
    return _GENERATORS[key_type]()


def is_registration_id(text: str) -> bool:
    """Return whether DPS takes `text` as registration ID and X.509 as CN."""
    return _REGISTRATION_ID.fullmatch(text) is not None


def self_signed(registration_id: str, key: PrivateKey, days: int) -> x509.Certificate:
    """Return a client certificate signed by its own key, as `openssl req -x509` makes it."""
    name = common_name(registration_id)
    builder = _begin(name, name, key, days)
    # No key usage: without keyCertSign, OpenSSL would not count it as self-signed.
    return _leaf(builder, key).sign(key, hashes.SHA256())


def authority(name: str, key: PrivateKey, days: int, issuer: Issuer | None) -> x509.Certificate:
    """Return the certificate of a root CA, or of the one below it that signs devices."""
    subject = common_name(name)
    above = issuer.certificate.subject if issuer else subject
    builder = _begin(subject, above, key, days, issuer)
    # RFC 5280 4.2.1.9: how many more CAs may stand below this one.
    builder = builder.add_extension(x509.BasicConstraints(True, 0 if issuer else 1), critical=True)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def device(registration_id: str, key: PrivateKey, days: int, issuer: Issuer) -> x509.Certificate:
    """Return a client certificate; ValueError if it would outlive its issuer."""
    left = (issuer.certificate.not_valid_after_utc - _now()).days
    if days > left + 1:
        raise ValueError(f"the intermediate certificate has {left} days left, not {days}")
    name = common_name(registration_id)
    builder = _leaf(_begin(name, issuer.certificate.subject, key, days, issuer), key)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer.key, hashes.SHA256())


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """Return the certificates in PEM, which may have none, or the one in DER; ValueError."""
    if b"-----BEGIN" not in data:
        return [x509.load_der_x509_certificate(data)]
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return []
    return x509.load_pem_x509_certificates(data)


def read_key(data: bytes, pass_phrase: Callable[[], bytes]) -> PrivateKey:
    """Return the private key in PEM or DER; ValueError. pass_phrase() is asked if need be."""
    try:
        key = _load_key(data, None)
    except TypeError:  # that is how cryptography says that it is encrypted
        key = _load_key(data, pass_phrase())
    if not isinstance(key, PrivateKey):
        raise ValueError("neither an EC nor an RSA key: MicroPython's TLS takes no other")
    return key


def _load_key(data: bytes, pass_phrase: bytes | None) -> object:
    pem = b"-----BEGIN" in data
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        return load(data, pass_phrase)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("no private key, or not its pass phrase") from None


def has_key(data: bytes) -> bool:
    """Return whether a PEM file has a private key."""
    return re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", data) is not None


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """Return the certificates one after the other, as `cat` would."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def key_pem(key: PrivateKey, pass_phrase: bytes | None) -> bytes:
    """Return PKCS #8, encrypted if there is a pass phrase."""
    encryption = (
        serialization.BestAvailableEncryption(pass_phrase)
        if pass_phrase
        else serialization.NoEncryption()
    )
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def key_der(key: PrivateKey) -> bytes:
    """Return SEC 1 (RFC 5915) for EC, PKCS #1 (RFC 8017) for RSA: what every mbedTLS reads."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


def write_pair(folder: Path, name: str, key: PrivateKey, certificate: x509.Certificate) -> Pair:
    """Write both to `folder`, as PEM and as DER, and return where they lie."""
    ends = ("pem", "key.pem", "der", "key.der")
    pair = Pair(*(folder / f"{name}.{end}" for end in ends))
    write_file(pair.key_pem, key_pem(key, None), 0o600)
    write_file(pair.key_der, key_der(key), 0o600)
    write_file(pair.cert_pem, certificate_pem(certificate), 0o644)
    write_file(pair.cert_der, certificate.public_bytes(serialization.Encoding.DER), 0o644)
    return pair


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _begin(
    subject: x509.Name,
    issuer_name: x509.Name,
    key: PrivateKey,
    days: int,
    issuer: Issuer | None = None,
) -> x509.CertificateBuilder:
    """Return what every certificate here has; it ends no later than its issuer's."""
    end = _now() + timedelta(days=days)
    if issuer is not None:
        end = min(end, issuer.certificate.not_valid_after_utc)
    public = key.public_key()
    builder = x509.CertificateBuilder(issuer_name, subject, public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_now() - _SKEW).not_valid_after(end)
    above = (issuer.key if issuer else key).public_key()
    here_id = x509.SubjectKeyIdentifier.from_public_key(public)
    above_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(above)
    return builder.add_extension(here_id, False).add_extension(above_id, False)


def _leaf(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.CertificateBuilder:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=False)
    return builder.add_extension(usage, critical=False)
