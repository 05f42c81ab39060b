"""CircuitPython's `socketpool` and `select`, as on ESP32 (ports/espressif/common-hal/socketpool).

Every socket has a timeout: None waits for ever, 0 never. Calls raise where MicroPython's return
None. connect() cannot be taken up again: after its time-out nothing can be sent.
"""

from __future__ import annotations

import select
import socket as host
from types import ModuleType

from host.shim import polling, sockets
from host.shim.circuitpython.errnos import NEWLIB, board_error, board_errors, os_error
from host.shim.errnos import device_error
from host.shim.stream import POLLERR, POLLHUP, POLLIN, POLLOUT, Buffer, Stream

AF_INET, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 2, 1, 2, 3
IPPROTO_TCP, TCP_NODELAY = 6, 1
_SO_REUSEADDR, _SOL_SOCKET = 4, 0xFFF  # lwIP's numbers
_EAI_NONAME = -2
_POLL_S = 0.1  # connect() looks that often

Address = tuple[str, int]


class gaierror(OSError):
    """A name that cannot be resolved."""


class Socket:
    """A socket of the pool; there is no recv(), read(), write(), and no fileno()."""

    def __init__(self, kind: int, inner: sockets.Socket | None = None) -> None:
        self._inner = inner or sockets.Socket(AF_INET, kind)
        self._inner.setblocking(False)
        self._timeout: float | None = None
        self._connected = inner is not None
        self._closed = self._reset = False
        self.type = kind

    def __enter__(self) -> Socket:
        """Return the socket."""
        return self

    def __exit__(self, *_why: object) -> None:
        """Close it."""
        self.close()

    def settimeout(self, value: float | None) -> None:
        """Set how many seconds a call waits; None: for ever."""
        self._timeout = value

    def setblocking(self, flag: bool) -> None:
        """Wait for ever, or never."""
        self._timeout = None if flag else 0

    def setsockopt(self, level: int, optname: int, value: int | Buffer) -> None:
        """Set TCP_NODELAY or SO_REUSEADDR; EOPNOTSUPP: another."""
        if (level, optname) == (IPPROTO_TCP, TCP_NODELAY):
            self._inner.setsockopt(level, optname, value)
        elif (level, optname) == (_SOL_SOCKET, _SO_REUSEADDR):
            self._inner.setsockopt(1, 2, value)
        else:
            raise os_error("EOPNOTSUPP")

    def bind(self, address: Address) -> None:
        """Bind to (host, port)."""
        with board_errors():
            self._inner.bind(_packed(address, self.type))

    def listen(self, backlog: int) -> None:
        """Accept connections from now on."""
        self._inner.listen(backlog)

    def accept(self) -> tuple[Socket, Address]:
        """Return (socket, address); EAGAIN or ETIMEDOUT: nobody came."""
        self._wait(POLLIN)
        with board_errors():
            sock, address = self._inner.accept()
        return Socket(self.type, sock), sockets._unpacked(address)[:2]

    def connect(self, address: Address) -> None:
        """Connect within the timeout; ETIMEDOUT, and then the socket is of no use any more."""
        host, port = address
        packed = _packed((host, port), self.type)
        try:
            with board_errors():
                self._inner.connect(packed)
        except OSError as error:
            if error.errno != NEWLIB["EINPROGRESS"]:
                raise
            self._finish()
        self._connected = True

    def send(self, data: Buffer) -> int:
        """Return how many octets were taken; EAGAIN: none, whatever the timeout. EPIPE."""
        self._check_open()
        if not self._connected:
            raise BrokenPipeError(32, "EPIPE")
        with board_errors():
            sent = self._inner.transmit(memoryview(data))
        if sent is None:
            raise os_error("EAGAIN")
        return sent

    def sendall(self, data: Buffer) -> None:
        """Send it all."""
        view = memoryview(data)
        while view:
            self._wait(POLLOUT)
            view = view[self.send(view) :]

    def sendto(self, data: Buffer, address: Address) -> int:
        """Send a datagram; return its length."""
        with board_errors():
            return self._inner.sendto(data, _packed(address, self.type))

    def recv_into(self, buffer: bytearray | memoryview, bufsize: int = 0) -> int:
        """Return how many octets came. With timeout 0 the end of file is ENOTCONN, as on ESP32."""
        self._check_open()
        if bufsize > len(buffer):
            raise ValueError("buffer too small for requested bytes")
        n = bufsize or len(buffer)
        if not n:
            return 0
        data = self._received(n)
        if not data and self._timeout == 0:
            self._connected = False
            raise os_error("ENOTCONN")
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def recvfrom_into(self, buffer: bytearray | memoryview) -> tuple[int, Address]:
        """Return (length of a datagram, address of its sender)."""
        self._wait(POLLIN)
        with board_errors():
            data, address = self._inner.recvfrom(len(buffer))
        memoryview(buffer)[: len(data)] = data
        return len(data), sockets._unpacked(address)[:2]

    def close(self) -> None:
        """Give it back to the pool; it may be closed already."""
        self._closed = True
        self._connected = False
        self._inner.close()

    def poll_state(self, events: int) -> tuple[int, int, int]:
        """Return (ready now, descriptor or -1, events to ask for)."""
        return self._inner.poll_state(events)

    def poll_result(self, events: int, revents: int) -> int:
        """An error is reported as what was asked for: boards know no POLLERR."""
        return events & (POLLIN | POLLOUT) if revents & (POLLERR | POLLHUP) else revents & events

    def _received(self, n: int) -> bytes:
        """As lwIP does: a reset is "nothing yet" once, and then the end."""
        self._wait(POLLIN)
        try:
            data = b"" if self._reset else self._inner.receive(n)
        except OSError:
            self._reset = True
            data = None
        if data is None:
            raise os_error("EAGAIN")
        return data

    def _finish(self) -> None:
        left = float("inf") if self._timeout is None else self._timeout
        while left > 0:
            if self._ready(POLLOUT, _POLL_S):
                number = self._inner._sock.getsockopt(host.SOL_SOCKET, host.SO_ERROR)
                if number:
                    raise board_error(device_error(OSError(number, "connect")))
                return
            left -= _POLL_S
        raise os_error("ETIMEDOUT")

    def _wait(self, event: int) -> None:
        """Wait for the event as long as the timeout allows; EAGAIN, ETIMEDOUT."""
        if self._timeout == 0 or self._ready(event, self._timeout):
            return
        raise os_error("ETIMEDOUT")

    def _ready(self, event: int, seconds: float | None) -> bool:
        poller = select.poll()
        poller.register(self._inner.fileno(), event)
        return bool(poller.poll(None if seconds is None else seconds * 1000))

    def _check_open(self) -> None:
        if self._closed:
            raise os_error("EBADF")


def _packed(address: Address, kind: int) -> bytearray:
    """Return MicroPython's form of (host, port); gaierror."""
    if len(address) != 2 or not isinstance(address[0], str) or address[1] < 0:
        raise ValueError("address: (host, port)")
    try:
        return sockets.getaddrinfo(address[0] or "0.0.0.0", address[1], AF_INET, kind)[0][-1]
    except OSError:
        raise gaierror(_EAI_NONAME, "Name or service not known") from None


class SocketPool:
    """The sockets of a radio; ValueError: no radio."""

    AF_INET, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = AF_INET, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW
    AF_INET6, EAI_NONAME = 10, _EAI_NONAME
    SOL_SOCKET, SO_REUSEADDR = _SOL_SOCKET, _SO_REUSEADDR
    IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, TCP_NODELAY = 0, IPPROTO_TCP, 17, TCP_NODELAY
    gaierror = gaierror

    def __init__(self, radio: object) -> None:
        if type(radio).__name__ not in ("Radio", "HostNetwork"):
            raise ValueError("radio")

    def socket(self, family: int = AF_INET, type: int = SOCK_STREAM, proto: int = 0) -> Socket:
        """Return a new socket, which waits for ever."""
        if family != AF_INET:
            raise NotImplementedError("Unsupported socket type")
        return Socket(type)

    def getaddrinfo(
        self, host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[int, int, int, str, Address]]:
        """Return [(family, type, proto, "", (address, port))]; gaierror."""
        address = sockets._unpacked(_packed((host, port), type or SOCK_STREAM))
        return [(AF_INET, type or SOCK_STREAM, 0, "", (address[0], port))]


def make_socketpool() -> ModuleType:
    """Return a module `socketpool`."""
    module = ModuleType("socketpool")
    vars(module).update(SocketPool=SocketPool, Socket=Socket)
    return module


class Poll(polling.Poll):
    """A set of sockets, which are no streams here."""

    def register(self, stream: Stream, events: int = POLLIN | POLLOUT) -> None:
        """Add a socket of the pool, or a TLS socket over one; OSError: something else."""
        if not hasattr(stream, "poll_state"):
            raise OSError("stream operation not supported")
        self._events[id(stream)] = (stream, events)


def make_select() -> ModuleType:
    """Return a module `select`."""
    module = ModuleType("select")
    vars(module).update(poll=Poll, POLLIN=POLLIN, POLLOUT=POLLOUT, POLLERR=8, POLLHUP=16)
    return module
