"""A transport over real sockets, and the other side of it, in one program."""

import random
import socket

from onebuf.port.micropython import Transport

_BOUND = 500


def listener(backlog=4):
    """Return (listening socket, port): a free one, as MicroPython cannot ask which it got."""
    for _ in range(_BOUND):
        port = 20000 + random.getrandbits(15)
        server = socket.socket()
        try:
            server.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        except OSError:
            server.close()
            continue
        server.listen(backlog)
        server.settimeout(2)
        return server, port
    raise AssertionError("no free port")


class Peer:
    """A Transport and the other side of it."""

    def __init__(self, context=None):
        self.server, self.port = listener()
        self.transport = Transport(context, "127.0.0.1")
        self.sock = None

    def accept(self):
        if self.sock:
            self.sock.close()
        self.sock = self.server.accept()[0]
        self.sock.settimeout(2)

    def send(self, data):
        self.sock.write(data)

    def received(self, n):
        return self.sock.read(n)

    def end(self):
        self.sock.close()

    def close(self):
        self.transport.close()
        if self.sock:
            self.sock.close()
        self.server.close()


def highest_descriptor():
    """The highest of the next 16 descriptors, which those that are lost push up."""
    sockets = [socket.socket() for _ in range(16)]
    highest = max([s.fileno() for s in sockets])
    for s in sockets:
        s.close()
    return highest
