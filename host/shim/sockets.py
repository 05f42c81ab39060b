"""MicroPython's `socket` as on its unix port: addresses are opaque, streams do not raise EAGAIN.

The reference is ports/unix/modsocket.c of MicroPython 1.26; host numbers become Linux's.
"""

from __future__ import annotations

import contextlib
import socket as host
import struct
from types import ModuleType
from typing import Any, TypeVar

from host.shim.errnos import device_errors, os_error
from host.shim.stream import POLLNVAL, Buffer, Stream

T = TypeVar("T")

_AF_INET, _AF_INET6 = 2, 10
_FAMILY = {_AF_INET: host.AF_INET, _AF_INET6: host.AF_INET6}
_SOL_SOCKET, _IPPROTO_TCP = 1, 6
_OPTIONS = {
    (_SOL_SOCKET, 2): (host.SOL_SOCKET, host.SO_REUSEADDR),
    (_SOL_SOCKET, 6): (host.SOL_SOCKET, host.SO_BROADCAST),
    (_SOL_SOCKET, 9): (host.SOL_SOCKET, host.SO_KEEPALIVE),
    (_SOL_SOCKET, 13): (host.SOL_SOCKET, host.SO_LINGER),
    (_IPPROTO_TCP, 1): (host.IPPROTO_TCP, host.TCP_NODELAY),
}
_INET, _INET6 = struct.Struct("=H2s4s8x"), struct.Struct("=H2s4s16sI")
_LISTEN_BACKLOG = 2


def _packed(family: int, address: tuple[Any, ...]) -> bytearray:
    port = struct.pack(">H", address[1])
    if family == host.AF_INET:
        return bytearray(_INET.pack(_AF_INET, port, host.inet_aton(address[0])))
    raw = host.inet_pton(host.AF_INET6, address[0].partition("%")[0])
    return bytearray(_INET6.pack(_AF_INET6, port, b"\0\0\0\0", raw, address[3]))


def _unpacked(address: Buffer) -> tuple[Any, ...]:
    """Return CPython's form of an address that `getaddrinfo` of the device made."""
    if not isinstance(address, (bytes, bytearray, memoryview)):
        raise TypeError("object with buffer protocol required")
    if len(address) == _INET.size:
        _, port, raw = _INET.unpack(address)
        return host.inet_ntoa(raw), struct.unpack(">H", port)[0]
    _, port, _, raw, scope = _INET6.unpack(address)
    return host.inet_ntop(host.AF_INET6, raw), struct.unpack(">H", port)[0], 0, scope


class Socket(Stream):
    """A TCP or UDP socket; raises OSError with MicroPython's (Linux's) numbers."""

    def __init__(
        self,
        family: int = _AF_INET,
        kind: int = 1,
        proto: int = 0,
        *,
        accepted: host.socket | None = None,
    ) -> None:
        self._sock = accepted or host.socket(_FAMILY[family], kind, proto)
        self._sock.setblocking(True)
        self._fd = self._sock.fileno()

    def __repr__(self) -> str:
        return f"<_socket {self._fd}>"

    def fileno(self) -> int:
        """Return the file descriptor, after close() too, as the unix port does."""
        return self._fd

    def setblocking(self, flag: object) -> None:
        """Make every call wait (true) or none (false)."""
        self._sock.setblocking(bool(flag))

    def settimeout(self, seconds: float | None) -> None:
        """Let a call wait so long, then raise ETIMEDOUT; 0 is non-blocking, None for ever."""
        self._sock.settimeout(seconds)

    def setsockopt(self, level: int, option: int, value: int | Buffer) -> None:
        """Set an option by Linux's numbers."""
        if (level, option) not in _OPTIONS:
            raise os_error("EINVAL")
        with device_errors():
            self._sock.setsockopt(*_OPTIONS[level, option], value)

    def connect(self, address: Buffer) -> None:
        """Connect to an address of getaddrinfo(); EINPROGRESS if non-blocking."""
        target = _unpacked(address)
        with device_errors():
            self._sock.connect(target)

    def bind(self, address: Buffer) -> None:
        """Bind to an address of getaddrinfo()."""
        target = _unpacked(address)
        with device_errors():
            self._sock.bind(target)

    def listen(self, backlog: int = _LISTEN_BACKLOG) -> None:
        """Accept connections from now on."""
        self._sock.listen(backlog)

    def accept(self) -> tuple[Socket, bytearray]:
        """Return (socket, address of the peer)."""
        with device_errors():
            sock, address = self._sock.accept()
        return Socket(accepted=sock), _packed(sock.family, address)

    def receive(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes; None would block, b"" is end of file."""
        with device_errors(), contextlib.suppress(BlockingIOError):
            return self._sock.recv(min(limit, 1 << 16))
        return None

    def transmit(self, data: memoryview) -> int | None:
        """Return the number of bytes taken; None would block."""
        with device_errors(), contextlib.suppress(BlockingIOError):
            return self._sock.send(data)
        return None

    def recv(self, limit: int) -> bytes:
        """Return at most `limit` bytes; raises EAGAIN where read() returns None."""
        return _or_again(self.receive(limit))

    def send(self, data: Buffer) -> int:
        """Return the number of bytes taken; raises EAGAIN where write() returns None."""
        return _or_again(self.transmit(memoryview(data)))

    def recvfrom(self, limit: int) -> tuple[bytes, bytearray]:
        """Return (one datagram, address of its sender)."""
        with device_errors():
            data, address = self._sock.recvfrom(limit)
        return data, _packed(self._sock.family, address)

    def sendto(self, data: Buffer, address: Buffer) -> int:
        """Send one datagram; return its length."""
        target = _unpacked(address)
        with device_errors():
            return self._sock.sendto(data, target)

    def makefile(self, *_mode: object) -> Socket:
        """Return the socket itself: it already is a stream."""
        return self

    def close(self) -> None:
        """Release the descriptor; every later call raises EBADF."""
        self._sock.close()

    def poll_state(self, events: int) -> tuple[int, int, int]:
        """Return (ready now, descriptor or -1, events to ask for)."""
        if self._sock.fileno() < 0:
            return POLLNVAL, -1, 0
        return 0, self._fd, events


def _or_again(result: T | None) -> T:
    if result is None:
        raise os_error("EAGAIN")
    return result


def getaddrinfo(
    name: str, port: int, af: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
) -> list[tuple[int, int, int, None, bytearray]]:
    """Return [(family, type, proto, None, address)]; raises OSError if the name is unknown."""
    family = _FAMILY.get(af, host.AF_UNSPEC)
    try:
        found = host.getaddrinfo(name, port, family, kind, proto, flags)
    except (host.gaierror, UnicodeError) as error:  # the latter: no name that IDNA can spell
        number = getattr(error, "errno", host.EAI_NONAME)
        raise OSError(f"[addrinfo error {number}]") from None
    numbers = {there: here for here, there in _FAMILY.items()}
    return [
        (numbers[entry[0]], int(entry[1]), entry[2], None, _packed(entry[0], entry[4]))
        for entry in found
        if entry[0] in numbers
    ]


def make_socket() -> ModuleType:
    """Return a module `socket` with the names of the unix port."""
    module = ModuleType("socket")
    vars(module).update(
        socket=Socket, getaddrinfo=getaddrinfo, AF_INET=_AF_INET, AF_INET6=_AF_INET6
    )
    vars(module).update(SOCK_STREAM=1, SOCK_DGRAM=2, SOL_SOCKET=_SOL_SOCKET)
    vars(module).update(SO_REUSEADDR=2, SO_BROADCAST=6, SO_KEEPALIVE=9, SO_LINGER=13)
    return module
