"""What Azure asks of a client's certificates, which TLS let through unseen.

Certificates go about as DER; times are epoch seconds of the service.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

# What cryptography says of a certificate that is none, or not what it is held for.
_BAD = (
    *(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm),
    *(x509.ExtensionNotFound, x509.DuplicateExtension),
    *(x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)


class CertificateError(Exception):
    """The certificate will not do; its text is the reason."""


def der(data: bytes) -> bytes:
    """Return the first certificate of PEM or DER `data` as DER; ValueError if there is none."""
    if data.startswith(b"-----") or b"\n-----BEGIN" in data:
        certificate = x509.load_pem_x509_certificates(data)[0]
    else:
        certificate = x509.load_der_x509_certificate(data)
    return certificate.public_bytes(serialization.Encoding.DER)


def check_authority(certificate: bytes) -> None:
    """ValueError unless `certificate` is a CA's (RFC 5280 section 4.2.1.9)."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except _BAD:
        authority = False
    if not authority:
        raise ValueError("not the certificate of a CA")


def check_client(leaf: bytes, name: str, now: float) -> None:
    """CertificateError unless `leaf` is for clients, in date, and its CN is `name` exactly."""
    if common_name(leaf) != name:
        raise CertificateError("the common name is not that of the path")
    check_use(leaf, now)


def check_use(leaf: bytes, now: float) -> None:
    """CertificateError unless `leaf` is for clients (RFC 5280 section 4.2.1.12) and in date."""
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except _BAD:
        raise CertificateError("no extended key usage") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise CertificateError("not for client authentication")
    begin = certificate.not_valid_before_utc.timestamp()
    if not begin <= now <= certificate.not_valid_after_utc.timestamp():
        raise CertificateError("out of date")


def common_name(leaf: bytes) -> str:
    """Return the subject's only CN; CertificateError if there is none or more."""
    try:
        subject = x509.load_der_x509_certificate(leaf).subject
    except _BAD:
        raise CertificateError("not a certificate") from None
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise CertificateError("want one common name")
    return str(names[0].value)


def is_self_signed(leaf: bytes) -> bool:
    """Say whether `leaf` is its own issuer, by name and by signature."""
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        certificate.verify_directly_issued_by(certificate)
    except _BAD:
        return False
    return True


def leads(leaf: bytes, between: Iterable[bytes], anchors: Iterable[bytes], now: float) -> bool:
    """Say whether `leaf` has a path to one of `anchors` at `now` (RFC 5280 section 6).

    An anchor need not be a root; `between` are the issuing certificates that may be used.
    """
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(datetime.fromtimestamp(now, timezone.utc))
    try:
        for anchor in anchors:
            store.add_cert(_loaded(anchor))
        chain = [_loaded(certificate) for certificate in between]
        crypto.X509StoreContext(store, _loaded(leaf), chain).verify_certificate()
    except (crypto.Error, crypto.X509StoreContextError):
        return False
    return True


def _loaded(certificate: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)
