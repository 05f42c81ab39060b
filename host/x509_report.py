"""What a certificate says, for people, and what the clouds would not like about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from host.certs import belongs
from host.x509_files import PrivateKey, is_registration_id

Report: TypeAlias = dict[str, Any]  # what `onebuf certs inspect --json` prints

_USAGES = {
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
}
_KEY_USAGES = {  # RFC 5280 4.2.1.3; the two that belong to keyAgreement are left out
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_BROKEN_HASHES = ("md5", "sha1")
_SMALLEST_RSA = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_LABELS = {
    "subject": "subject",
    "issuer": "issuer",
    "serial": "serial",
    "validity": "valid",
    "key": "key",
    "signature": "signature",
    "ca": "CA",
    "key_usage": "key usage",
    "extended_key_usage": "usage",
    "subject_alternative_names": "SAN",
    "subject_key_id": "key id",
    "authority_key_id": "issuer key id",
    "certificate_id": "AWS certificate id",
    "sha1_thumbprint": "Azure SHA-1",
    "sha256_thumbprint": "Azure SHA-256",
}


def report(
    name: str, certificates: Sequence[x509.Certificate], key: PrivateKey | None = None
) -> Report:
    """Return what the file `name` holds, as JSON has it; ValueError for a broken extension."""
    now = datetime.now(timezone.utc)
    described = [describe(certificate, now) for certificate in certificates]
    breaks = _breaks(certificates)
    return {
        "file": name,
        "certificates": described,
        "chain": breaks or ["links"] if len(certificates) > 1 else [],
        "key_belongs": None if key is None else belongs(key, certificates[0]),
        "warnings": _warnings(certificates, now) + [f"chain: {text}" for text in breaks],
    }


def describe(certificate: x509.Certificate, now: datetime) -> Report:
    """Return the fields of one certificate; fingerprints in the spelling of each cloud."""
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    names = _extension(certificate, x509.SubjectAlternativeName)
    here = _extension(certificate, x509.SubjectKeyIdentifier)
    above = _extension(certificate, x509.AuthorityKeyIdentifier)
    sha256 = certificate.fingerprint(hashes.SHA256())
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": _colons(_octets(certificate.serial_number)),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "validity": _validity(certificate, now),
        "days_left": (certificate.not_valid_after_utc - now).days,
        "key": _key_text(certificate),
        "signature": _signature_text(certificate),
        "ca": basic is not None and basic.ca,
        "path_length": basic.path_length if basic else None,
        "key_usage": [_KEY_USAGES[each] for each in _key_usage(certificate)],
        "extended_key_usage": [_USAGES.get(oid, oid.dotted_string) for oid in usage or ()],
        "subject_alternative_names": [str(each.value) for each in names or ()],
        "subject_key_id": _colons(here.digest if here else None),
        "authority_key_id": _colons(above.key_identifier if above else None),
        "certificate_id": sha256.hex(),
        "sha1_thumbprint": certificate.fingerprint(hashes.SHA1()).hex().upper(),
        "sha256_thumbprint": sha256.hex().upper(),
    }


def text(found: Report) -> str:
    """Return `found` for people."""
    lines = [found["file"]]
    for number, certificate in enumerate(found["certificates"], 1):
        lines.append(f"  certificate {number}")
        lines += [f"    {label:19}{_said(certificate, k)}" for k, label in _LABELS.items()]
    if found["chain"]:
        lines.append(f"  chain: {'; '.join(found['chain'])}")
    if found["key_belongs"] is not None:
        lines.append(f"  key: {'belongs' if found['key_belongs'] else 'DOES NOT belong'} to it")
    lines += [f"  warning: {each}" for each in found["warnings"]]
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    # A certificate of somebody else may not move the cursor of a terminal.
    return "".join(each if each.isprintable() else "?" for each in line)


def _said(certificate: Report, key: str) -> str:
    value = certificate[key]
    if key == "ca" and value and certificate["path_length"] is not None:
        return f"yes, path length {certificate['path_length']}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) if isinstance(value, list) else value) or "-"


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _key_usage(certificate: x509.Certificate) -> list[str]:
    """Return what the key may be used for, as cryptography names it; [] without the extension."""
    usage = _extension(certificate, x509.KeyUsage)
    return [name for name in _KEY_USAGES if usage is not None and getattr(usage, name)]


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")


def _colons(octets: bytes | None) -> str:
    return (octets or b"").hex(":").upper()


def _validity(certificate: x509.Certificate, now: datetime) -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    state = f"{(end - now).days} days left"
    if now < begin:
        state = "not yet"
    elif now >= end:
        state = "EXPIRED"
    return f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC, {state}"


def _key_text(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return certificate.public_key_algorithm_oid.dotted_string


def _hash(certificate: x509.Certificate) -> str:
    algorithm = certificate.signature_hash_algorithm
    return algorithm.name if algorithm else ""


def _signature_text(certificate: x509.Certificate) -> str:
    return _hash(certificate) or certificate.signature_algorithm_oid.dotted_string


def _breaks(certificates: Sequence[x509.Certificate]) -> list[str]:
    """Return where the chain does not link: each certificate by the next, and the CAs allowed."""
    found = []
    for number, (below, issuer) in enumerate(pairwise(certificates), 1):
        try:
            below.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            found.append(f"certificate {number} is not issued by certificate {number + 1}")
        basic = _extension(issuer, x509.BasicConstraints)
        if basic is None or not basic.ca:
            found.append(f"certificate {number + 1} is no CA")
        elif basic.path_length is not None and basic.path_length < number - 1:
            found.append(f"certificate {number + 1} allows {basic.path_length} CAs below it")
        usage = _key_usage(issuer)
        if usage and "key_cert_sign" not in usage:
            found.append(f"certificate {number + 1} may not sign certificates")
    return found


def _warnings(certificates: Sequence[x509.Certificate], now: datetime) -> list[str]:
    found = []
    for number, certificate in enumerate(certificates, 1):
        faults = _faults(certificate, now)
        found += [f"certificate {number}: {fault}" for fault in faults]
    return found


def _faults(certificate: x509.Certificate, now: datetime) -> list[str]:
    """Return what the clouds refuse in any certificate, and in one that is no CA's."""
    found = []
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        found.append("expired" if now >= certificate.not_valid_after_utc else "not yet valid")
    if _hash(certificate) in _BROKEN_HASHES:
        found.append(f"signed with {_hash(certificate)}")
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        found.append(f"RSA key of less than {_SMALLEST_RSA} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
        found.append(f"curve {key.curve.name}, not P-256, P-384 or P-521")
    basic = _extension(certificate, x509.BasicConstraints)
    return found if basic is not None and basic.ca else found + _device_faults(certificate)


def _device_faults(certificate: x509.Certificate) -> list[str]:
    found = []
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        found.append("extended key usage has no clientAuth")
    signing = _key_usage(certificate)
    if signing and "digital_signature" not in signing:
        found.append("key usage has no digitalSignature")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not is_registration_id(str(names[0].value)):
        found.append("the CN is no registration ID of DPS")
    return found
