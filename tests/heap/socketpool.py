"""CircuitPython's socket pool and ssl on MicroPython, for what the port itself takes of the heap.

Its sockets are streams that can be polled, as the board's are; they take no heap of their own but
for the exception that says "nothing yet".
"""

import errno
import io
import select
import socket

from micropython import const

_POLL = const(3)  # MP_STREAM_POLL


class SocketPool:
    SOCK_STREAM = 1
    IPPROTO_TCP = 6
    TCP_NODELAY = 1

    def getaddrinfo(self, host, port, family=0, kind=0):
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))]

    def socket(self, family, kind):
        return Socket()


class Socket(io.IOBase):
    def __init__(self, sock=None):
        self._sock = sock or socket.socket()
        self.setsockopt = getattr(self._sock, "setsockopt", None)
        self._in = _poller(self._sock, select.POLLIN)
        self._out = _poller(self._sock, select.POLLOUT)

    def settimeout(self, seconds):
        self._sock.setblocking(seconds > 0)

    def connect(self, address):
        self._sock.connect(socket.getaddrinfo(address[0], address[1])[0][-1])

    def send(self, data):
        return _some(self._sock.write(data))

    def recv_into(self, buf):
        return _some(self._sock.readinto(buf))

    def close(self):
        self._sock.close()

    def wrapped(self, context, host):
        """A TLS socket over this one."""
        return TLSSocket(
            context.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False)
        )

    def ioctl(self, request, flags):
        if request != _POLL:
            return -22  # EINVAL; above all it has no descriptor
        ready = 0
        for event in (self._in if flags & select.POLLIN else self._out).ipoll(0):
            ready = event[1]
        return flags if ready else 0


class TLSSocket(Socket):
    def send(self, data):
        if not data and not self._sock.getpeercert(True):  # MicroPython sends no empty record
            self._sock.readinto(bytearray(1))
            return _some(0 if self._sock.getpeercert(True) else None)
        return _some(self._sock.write(data))


class SSLContext:
    """Over a context of MicroPython's."""

    def __init__(self, context):
        self._context = context

    def load_verify_locations(self, cadata):
        self._context.load_verify_locations(cadata)

    def wrap_socket(self, sock, server_hostname=None):
        return sock.wrapped(self._context, server_hostname)


def _some(n):
    if n is None:
        raise OSError(errno.EAGAIN)
    return n


def _poller(sock, events):
    poller = select.poll()
    poller.register(sock, events)
    for _ in poller.ipoll(0):
        pass
    return poller
