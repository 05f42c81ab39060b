"""MicroPython's `tls` (extmod/modtls_mbedtls.c): contexts; the sockets are in tls_socket.

Certificates and keys are data, PEM or DER, never file names: that is what the real module takes.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from types import ModuleType

from cryptography.hazmat.primitives import serialization
from OpenSSL import crypto

from host.shim.sockets import Socket
from host.shim.tls_socket import TLSSocket

CLIENT, SERVER = 0, 1
CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = 0, 1, 2


class SSLContext:
    """Settings for connections: a client verifies chain and host name unless told otherwise."""

    def __init__(self, protocol: int) -> None:
        self._server = bool(protocol & SERVER)
        kind = ssl.PROTOCOL_TLS_SERVER if self._server else ssl.PROTOCOL_TLS_CLIENT
        self._context = ssl.SSLContext(kind)
        # mbedTLS trusts every certificate it was handed, an intermediate one too.
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._has_ca = False
        self._chain = b""
        self._verify_mode = CERT_NONE
        self.verify_mode = CERT_NONE if self._server else CERT_REQUIRED

    @property
    def verify_mode(self) -> int:
        """CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED."""
        return self._verify_mode

    @verify_mode.setter
    def verify_mode(self, mode: int) -> None:
        self._verify_mode = mode
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        if mode == CERT_REQUIRED:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.check_hostname = not self._server
        elif mode == CERT_OPTIONAL and self._server:
            self._context.verify_mode = ssl.CERT_OPTIONAL

    def load_verify_locations(self, cadata: bytes | str) -> None:
        """Trust the certificates in `cadata`; raises ValueError("invalid cert")."""
        data = cadata.encode() if isinstance(cadata, str) else bytes(cadata)
        try:
            self._context.load_verify_locations(
                cadata=data.decode() if b"-----BEGIN " in data else data
            )
        except (ssl.SSLError, ValueError):
            raise ValueError("invalid cert") from None
        self._has_ca = True

    def load_cert_chain(self, cert: bytes | str, key: bytes | str) -> None:
        """Present this certificate, behind those of earlier calls, as mbedTLS does.

        Of several certificates in DER it takes the first, in PEM all. Raises
        ValueError("invalid key") or ("invalid cert").
        """
        key_pem, cert_pem = _key_pem(_bytes(key)), self._chain + _cert_pem(_bytes(cert))
        # OpenSSL reads files only: a folder of ours (mode 0700) for as long as it takes.
        with tempfile.TemporaryDirectory(prefix="onebuf-") as folder:
            path = Path(folder) / "chain.pem"
            path.touch(mode=0o600)
            path.write_bytes(key_pem + cert_pem)
            try:
                self._context.load_cert_chain(path)
            except ssl.SSLError:
                raise ValueError("invalid cert") from None
        self._chain = cert_pem

    def set_alpn_protocols(self, protocols: list[str]) -> None:
        """Offer these (RFC 7301). CPython's name: the real module has nothing of the kind yet."""
        self._context.set_alpn_protocols(protocols)

    def wrap_socket(
        self,
        sock: Socket,
        *,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        server_hostname: str | None = None,
    ) -> TLSSocket:
        """Return the TLS socket over `sock`; raises what a refused handshake raises."""
        required = self._verify_mode == CERT_REQUIRED
        if server_hostname is None and required and not server_side:
            raise ValueError("CERT_REQUIRED requires server_hostname")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, self._server, server_hostname)
        no_ca = required and not self._has_ca
        wrapped = TLSSocket(sock, tls, (incoming, outgoing), no_ca=no_ca)
        if do_handshake_on_connect:
            wrapped.handshake()
        return wrapped


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _key_pem(key: bytes) -> bytes:
    """Return the private key `key` (PEM or DER; PKCS #8, PKCS #1 or SEC 1) as PEM."""
    try:
        if b"-----BEGIN " in key:
            loaded = serialization.load_pem_private_key(key, None)
        else:
            loaded = serialization.load_der_private_key(key, None)
    except (ValueError, TypeError):
        raise ValueError("invalid key") from None
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _cert_pem(cert: bytes) -> bytes:
    """Return all of PEM, or the first certificate in DER, as PEM."""
    if b"-----BEGIN " in cert:
        return cert
    try:
        loaded = crypto.load_certificate(crypto.FILETYPE_ASN1, cert)
    except crypto.Error:
        raise ValueError("invalid cert") from None
    return crypto.dump_certificate(crypto.FILETYPE_PEM, loaded)


def make_tls() -> ModuleType:
    """Return a module `tls`."""
    module = ModuleType("tls")
    vars(module).update(SSLContext=SSLContext, MBEDTLS_VERSION="OpenSSL, not mbedTLS")
    vars(module).update(PROTOCOL_TLS_CLIENT=CLIENT, PROTOCOL_TLS_SERVER=SERVER)
    vars(module).update(
        CERT_NONE=CERT_NONE, CERT_OPTIONAL=CERT_OPTIONAL, CERT_REQUIRED=CERT_REQUIRED
    )
    return module
