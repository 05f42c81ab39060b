"""The TLS side of a listener, the same for every emulated cloud."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast

from OpenSSL import SSL, crypto

from host.certs import Pair

# Set in the task that hands a connection to asyncio; asyncio's callbacks inherit it.
CONNECTION: ContextVar[socket.socket] = ContextVar("CONNECTION")

_T = TypeVar("_T")
# A fatal unrecognized_name (112) in a record of its own, RFC 8446 sections 5.1 and 6.
_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
_RECORD = 16384  # bytes


def server_context(
    pair: Pair, client_ca: Path | None, need_sni: bool = True, alpn: str | None = None
) -> ssl.SSLContext:
    """Return TLS 1.2 or later for `pair`.

    With `client_ca` (PEM) a client certificate of that authority is required in the handshake;
    with `need_sni` a handshake without a server name ends in the alert unrecognized_name; with
    `alpn` (RFC 7301) all that holds for clients that offer that protocol, others need no
    certificate, and one that they send counts for nothing.
    """
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pair.cert_pem, pair.key_pem)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL if alpn else ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    if need_sni:
        context.sni_callback = _require_name
    if alpn is not None:
        context.alpn = alpn
        context.set_alpn_protocols([alpn])
    return context


def optional_client_context(pair: Pair) -> ssl.SSLContext:
    """Return TLS 1.2 or later for `pair`; SNI is required, a client certificate welcome.

    Whatever chain the client sends is let through, to be judged by the service in HTTP. That the
    client has the private key of its certificate is checked here, as in every handshake.
    """
    return _Welcoming(pair)


def _require_name(
    connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
) -> int | None:
    return None if name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


class _Alerting(ssl.SSLObject):
    """Sends the alert of a failed handshake, which asyncio throws away (RFC 8446 section 6.2)."""

    outgoing: ssl.MemoryBIO

    def getpeercert(self, binary_form: bool = False) -> Any:
        alpn = cast(_Context, self.context).alpn
        hidden = alpn is not None and self.selected_alpn_protocol() != alpn
        return None if hidden else super().getpeercert(binary_form)

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
            if self.selected_alpn_protocol() and self.getpeercert(True) is None:
                raise ssl.SSLError("peer did not return a certificate")  # OpenSSL let it pass
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            with suppress(OSError):
                CONNECTION.get().send(self.outgoing.read())
            raise


class _Context(ssl.SSLContext):
    sslobject_class = _Alerting
    alpn: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, _Alerting)
        made.outgoing = outgoing
        return made


class _Welcoming(ssl.SSLContext):
    """A context for asyncio over pyOpenSSL: CPython's ssl always verifies what a client sends."""

    _pyopenssl: SSL.Context

    def __new__(cls, pair: Pair) -> _Welcoming:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate_chain_file(str(pair.cert_pem))
        context.use_privatekey_file(str(pair.key_pem))
        context.set_verify(SSL.VERIFY_PEER, lambda *verdict: True)
        # A resumed session knows the client's own certificate, but not its chain.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)
        made._pyopenssl = context
        return made

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        connection = SSL.Connection(self._pyopenssl, None)
        connection.set_accept_state()
        return cast(ssl.SSLObject, _Bridge(connection, incoming, outgoing))


class _Bridge:
    """What asyncio uses of an SSLObject, over a pyOpenSSL connection, with ssl's exceptions."""

    def __init__(
        self, connection: SSL.Connection, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self.client_chain: tuple[bytes, ...] = ()  # DER, all that the client sent, its own first

    def do_handshake(self) -> None:
        """Take the next step; SSLError after the alert is sent, if it is the last one."""
        try:
            self._run(self._connection.do_handshake, handshake=True)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            with suppress(OSError):
                CONNECTION.get().send(self._outgoing.read())
            raise
        self.client_chain = self._received()

    def read(self, size: int = 1024, buffer: Any = None) -> bytes | int:
        """Return up to `size` bytes, b"" after close_notify; their number if into `buffer`."""
        try:
            data = self._run(lambda: self._connection.recv(size))
        except SSL.ZeroReturnError:
            data = b""
        if buffer is None:
            return data
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: bytes) -> int:
        return self._run(lambda: self._connection.send(data))

    def unwrap(self) -> None:
        """Send close_notify; SSLWantReadError until the peer's has come too."""
        if not self._run(self._connection.shutdown):
            raise _want_read()

    def pending(self) -> int:
        return self._connection.pending()

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        return self.client_chain[0] if binary_form and self.client_chain else None

    def cipher(self) -> tuple[str, str, int] | None:
        name = self._connection.get_cipher_name()
        version = self._connection.get_cipher_version()
        bits = self._connection.get_cipher_bits()
        return None if not (name and version and bits) else (name, version, bits)

    def compression(self) -> None:
        return None

    def selected_alpn_protocol(self) -> None:
        return None

    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    def _received(self) -> tuple[bytes, ...]:
        own = self._connection.get_peer_certificate()
        chain = [own, *(self._connection.get_peer_cert_chain() or ())] if own else []
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain)

    def _run(self, step: Callable[[], _T], handshake: bool = False) -> _T:
        """Do `step` between what has come and what goes out; its errors become ssl's."""
        data = self._incoming.read()
        if data:
            self._connection.bio_write(data)
        try:
            result = step()
        except (SSL.WantReadError, SSL.ZeroReturnError) as state:
            self._send(handshake)
            raise _want_read() if isinstance(state, SSL.WantReadError) else state from None
        except SSL.Error as error:
            self._send()
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, str(error)) from None
        self._send(handshake)
        return result

    def _send(self, handshake: bool = False) -> None:
        data = b"".join(iter(self._produced, b""))
        if handshake and data and self._connection.get_servername() is None:
            # The server's first flight is dropped: pyOpenSSL's callback for SNI cannot refuse.
            self._outgoing.write(_UNRECOGNIZED_NAME)
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the client sent no server name")
        self._outgoing.write(data)

    def _produced(self) -> bytes:
        try:
            return self._connection.bio_read(_RECORD)
        except SSL.WantReadError:
            return b""


def _want_read() -> ssl.SSLWantReadError:
    return ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wants more of the peer's bytes")
