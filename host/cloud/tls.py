"""The TLS side of a listener, the same for every emulated cloud."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from host.certs import Pair

# Set in the task that hands a connection to asyncio; asyncio's callbacks inherit it.
CONNECTION: ContextVar[socket.socket] = ContextVar("CONNECTION")


def server_context(pair: Pair, client_ca: Path | None, need_sni: bool = True) -> ssl.SSLContext:
    """Return TLS 1.2 or later for `pair`.

    With `client_ca` (PEM) a client certificate of that authority is required in the handshake;
    with `need_sni` a handshake without a server name ends in the alert unrecognized_name.
    """
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pair.cert_pem, pair.key_pem)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    if need_sni:
        context.sni_callback = _require_name
    return context


def _require_name(
    connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
) -> int | None:
    return None if name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


class _Alerting(ssl.SSLObject):
    """Sends the alert of a failed handshake, which asyncio throws away (RFC 8446 section 6.2)."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            with suppress(OSError):
                CONNECTION.get().send(self.outgoing.read())
            raise


class _Context(ssl.SSLContext):
    sslobject_class = _Alerting

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
