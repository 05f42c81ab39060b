"""CircuitPython's `ssl` (shared-module/ssl): PEM only, parsed by wrap_socket(), OSError for all.

connect() shakes hands and waits; but sending and receiving go on with a handshake, too, where the
socket below was connected before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, cast

from host.shim import tls_context, tls_errors
from host.shim.circuitpython.errnos import NEWLIB, board_error, os_error
from host.shim.circuitpython.sockets import SOCK_STREAM, Address, Socket
from host.shim.stream import POLLERR, POLLHUP, POLLIN, POLLOUT, Buffer
from host.shim.tls_socket import TLSSocket

_BAD_CERTIFICATE = (-0x2180, "X509 - The CRT/CRL/CSR format is invalid")
_BAD_KEY = (-0x3D00, "PK - Invalid key tag or value")
_AGAIN = NEWLIB["EAGAIN"]


class _Below:
    """The socket below as host.shim's TLS wants it: None instead of EAGAIN."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self.poll_state = sock.poll_state
        self.close = sock.close

    def receive(self, limit: int) -> bytes | None:
        """Return what recv_into() gives; ENOTCONN is the end of file where it does not block."""
        data = bytearray(limit)
        n = _or_none(lambda: self._sock.recv_into(data))
        return None if n is None else bytes(data[:n])

    def transmit(self, data: memoryview) -> int | None:
        """Return what send() gives."""
        return _or_none(lambda: self._sock.send(data))


def _or_none(call: Callable[[], int]) -> int | None:
    try:
        return call()
    except OSError as error:
        if error.errno == _AGAIN:
            return None
        raise


@contextlib.contextmanager
def _board_errors() -> Iterator[None]:
    """Numbers of newlib and mbedTLS; a refused certificate is one of them."""
    try:
        yield
    except ValueError:
        number, text = tls_errors.CERT_REFUSED
        raise OSError(number, text) from None
    except OSError as error:
        raise board_error(error) from None


class SSLSocket:
    """TLS over a socket of the pool."""

    def __init__(self, sock: Socket, tls: TLSSocket) -> None:
        self._sock = sock
        self._tls = tls
        self._closed = False
        self.settimeout = sock.settimeout
        self.setblocking = sock.setblocking
        self.setsockopt = sock.setsockopt

    def __enter__(self) -> SSLSocket:
        """Return the socket."""
        return self

    def __exit__(self, *_why: object) -> None:
        """Close it."""
        self.close()

    def connect(self, address: Address) -> None:
        """Connect the socket below and shake hands."""
        self._sock.connect(address)
        with _board_errors():
            self._tls.handshake()

    def recv_into(self, buffer: bytearray | memoryview, bufsize: int = 0) -> int:
        """Return how many octets came; 0: close_notify. EAGAIN: none yet."""
        self._check_open()
        if bufsize > len(buffer):
            raise ValueError("buffer too small for requested bytes")
        with _board_errors():
            data = self._tls.receive(bufsize or len(buffer))
        if data is None:
            raise os_error("EAGAIN")
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def send(self, data: Buffer) -> int:
        """Return how many octets were taken: one record; EAGAIN: call again with the same."""
        self._check_open()
        with _board_errors():
            sent = self._tls.transmit(memoryview(data))
        if sent is None:
            raise os_error("EAGAIN")
        return sent

    def close(self) -> None:
        """Close the socket below, without close_notify; it may be closed already."""
        if not self._closed:
            self._closed = True
            self._tls.close()

    def poll_state(self, events: int) -> tuple[int, int, int]:
        """Return (ready now, descriptor or -1, events to ask for)."""
        return self._tls.poll_state(events)

    def poll_result(self, events: int, revents: int) -> int:
        """Report what was asked for when what the protocol needs has come, or an error."""
        if revents & (POLLERR | POLLHUP):
            return events & (POLLIN | POLLOUT)
        return self._tls.poll_result(events, revents) & events

    def _check_open(self) -> None:
        if self._closed:
            raise os_error("EBADF")


class SSLContext:
    """Settings for TLS sockets; at first it trusts the public CAs. `read` reads a board's file."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._ca: str | None = None
        self._chain: tuple[bytes, bytes] | None = None
        self.check_hostname = False

    def load_verify_locations(
        self, cafile: str | None = None, capath: str | None = None, cadata: str | None = None
    ) -> None:
        """Trust one certificate in PEM and no other. "": verify nothing, as on the board."""
        if cafile is not None or capath is not None:
            raise NotImplementedError("cafile" if cafile is not None else "capath")
        if not isinstance(cadata, str):
            raise TypeError("can't convert to str")
        self._ca = cadata

    def set_default_verify_paths(self) -> None:
        """Trust the public CAs again."""
        self._ca = None

    def load_cert_chain(self, certfile: str, keyfile: str | None = None) -> None:
        """Read certificate and key from PEM files; OSError: there is no such file."""
        self._chain = self._read(certfile), self._read(keyfile or certfile)

    def wrap_socket(
        self, sock: Socket, *, server_side: bool = False, server_hostname: str | None = None
    ) -> SSLSocket:
        """Return TLS over sock; OSError, with mbedTLS's number: a bad certificate or key."""
        if sock.type != SOCK_STREAM:
            raise RuntimeError("Invalid socket for TLS")
        if server_side and server_hostname is not None:
            raise ValueError("Server side context cannot have hostname")
        context = self._context(server_side)
        wrapped = context.wrap_socket(
            cast(Any, _Below(sock)),
            server_side=server_side,
            do_handshake_on_connect=False,
            server_hostname=server_hostname,
        )
        return SSLSocket(sock, wrapped)

    def _context(self, server_side: bool) -> tls_context.SSLContext:
        kind = tls_context.SERVER if server_side else tls_context.CLIENT
        context = tls_context.SSLContext(kind)
        try:
            if self._ca:
                context.load_verify_locations(_pem(self._ca.encode()))
            elif self._ca is None:
                context._context.load_default_certs()
                context._has_ca = True
            else:
                context.verify_mode = tls_context.CERT_NONE
            if self._chain:
                context.load_cert_chain(*(_pem(data) for data in self._chain))
        except ValueError as error:
            raise OSError(*(_BAD_KEY if "key" in str(error) else _BAD_CERTIFICATE)) from None
        return context


def _pem(data: bytes) -> bytes:
    if b"-----BEGIN " not in data:
        raise ValueError("invalid cert")
    return data


def make_ssl(read: Callable[[str], bytes]) -> ModuleType:
    """Return a module `ssl`."""
    module = ModuleType("ssl")
    vars(module).update(
        SSLContext=lambda: SSLContext(read),
        SSLSocket=SSLSocket,
        create_default_context=lambda: SSLContext(read),
    )
    return module
