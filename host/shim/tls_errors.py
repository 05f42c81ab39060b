"""OpenSSL's refusals in mbedTLS's numbers and words (mbedtls/ssl.h, x509_crt.c of 3.6).

The numbers and texts were read off MicroPython 1.26.1 on its unix port; tests/host/test_shim.py
holds this table against the real one.
"""

from __future__ import annotations

import ssl

NO_CA = (-0x7680, "SSL - No CA Chain is set, but required to operate")
EOF = (-0x7280, "SSL - The connection indicated an EOF")
CLOSED = (-0x7100, "SSL - Bad input parameters to function")
_RECORD = (-0x7200, "SSL - An invalid SSL record was received")
_ALERT = (-0x7780, "SSL - A fatal alert message was received from our peer")
_MAC = (-0x7180, "SSL - Verification of the message MAC failed")
_HANDSHAKE = (-0x6E00, "SSL - The handshake negotiation failed")
CERT_REFUSED = (-0x2700, "X509 - Certificate verification failed")

_SIGNER = "The certificate is not correctly signed by the trusted CA"
_NAME = "The certificate Common Name (CN) does not match with the expected CN"
# X509_V_ERR_* of OpenSSL's x509_vfy.h; every other one means that no trusted chain was found.
_REFUSALS = {
    9: "The certificate validity starts in the future",
    10: "The certificate validity has expired",
    23: "The certificate has been revoked (is on a CRL)",
    62: _NAME,
    64: _NAME,
}


def refusal(error: ssl.SSLCertVerificationError) -> str:
    """Return mbedTLS's text for a certificate that was refused."""
    return "\n" + _REFUSALS.get(error.verify_code, _SIGNER) + "\n"


def number(error: ssl.SSLError, handshaking: bool) -> tuple[int, str]:
    """Return (mbedTLS's negative number, its text) for an error that is not a refusal."""
    reason = error.reason or ""
    if "ALERT" in reason:
        return _ALERT
    if isinstance(error, ssl.SSLEOFError) or "UNEXPECTED_EOF" in reason:
        return EOF
    if "BAD_RECORD_MAC" in reason or "DECRYPTION_FAILED" in reason:
        return _MAC
    if "VERSION_NUMBER" in reason or "HTTP" in reason or not handshaking:
        return _RECORD
    return _HANDSHAKE
