"""CircuitPython's sockets, as far as adafruit_requests goes, thinly over MicroPython's.

Kind to the peer: it takes no heap but what recv() must return, and its small writes do not wait
for the ACKs of those before.
"""

import select
import socket

import tls


class SocketPool:
    SOCK_STREAM = socket.SOCK_STREAM

    def getaddrinfo(self, host, port, family=0, kind=0):
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    def socket(self, family, kind):
        return Socket()


class Verifying:
    """An SSL context that verifies the server's chain and name."""

    def __init__(self, ca):
        self.context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        self.context.verify_mode = tls.CERT_REQUIRED
        self.context.load_verify_locations(ca)

    def wrap_socket(self, sock, server_hostname):
        sock.context = self.context
        sock.host = server_hostname
        return sock


class Socket:
    def __init__(self):
        self.io = socket.socket()
        self.context = self.host = None
        self.poller = select.poll()

    def settimeout(self, seconds):
        pass

    def connect(self, address):
        sock = self.io
        sock.connect(socket.getaddrinfo("127.0.0.1", address[1])[0][-1])
        sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        self.poller.register(sock, select.POLLIN)
        if self.context:
            self.io = self.context.wrap_socket(sock, server_hostname=self.host)
        self.io.setblocking(False)

    def send(self, data):
        return self.io.write(data)

    def recv_into(self, buf, size=0):
        while True:
            n = self.io.readinto(buf, size) if size else self.io.readinto(buf)
            if n is not None:
                return n
            for _ in self.poller.ipoll():
                pass

    def recv(self, size):
        buf = bytearray(size)
        return bytes(buf[: self.recv_into(buf)])

    def close(self):
        self.io.close()
