"""CircuitPython's transport over real sockets, and the other side of it, in one program."""

import random

import socketpool
import wifi
from onebuf.port import circuitpython

POOL = socketpool.SocketPool(wifi.radio)
_BOUND = 500


class Transport(circuitpython.Transport):
    """With the arguments of the others."""

    def __init__(self, context, address=""):
        super().__init__(POOL, context, address)


def listener(backlog=4):
    """Return (listening socket, port): a free one, as a board cannot ask which it got."""
    for _ in range(_BOUND):
        port = 20000 + random.getrandbits(15)
        server = POOL.socket(POOL.AF_INET, POOL.SOCK_STREAM)
        try:
            server.bind(("127.0.0.1", port))
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
        self.sock.sendall(data)

    def received(self, n):
        """n octets, or less at the end of file."""
        data = bytearray()
        while len(data) < n:
            part = bytearray(n - len(data))
            got = self.sock.recv_into(part)
            if not got:
                break
            data.extend(part[:got])
        return bytes(data)

    def end(self):
        self.sock.close()

    def close(self):
        self.transport.close()
        if self.sock:
            self.sock.close()
        self.server.close()


def highest_descriptor():
    return 0  # sockets of a pool do not tell
