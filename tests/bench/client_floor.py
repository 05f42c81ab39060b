"""The floor: prebuilt octets written whole, the reply read into a fixed buffer, nothing parsed."""

import select
import socket

import tls
from load import BODY, HOST, TOPIC, ca
from micropython import const

_REPLY = const(253)  # octets, known beforehand
io = poller = request = None
reply = bytearray(512)


def wire(port, secure):
    global io, poller, request
    io = socket.socket()
    io.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    io.setsockopt(6, 1, 1)  # TCP_NODELAY
    poller = select.poll()
    poller.register(io, select.POLLIN)
    for _ in poller.ipoll(0):
        pass
    if secure:
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(ca())
        io = context.wrap_socket(io, server_hostname=HOST)
    io.setblocking(False)
    request = b"POST /topics/%s?qos=1 HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %d\r\n\r\n%s" % (
        TOPIC,
        HOST,
        port,
        len(BODY),
        BODY,
    )


def publish():
    io.write(request)
    n = 0
    while n < _REPLY:
        r = io.readinto(reply)
        if r is None:
            for _ in poller.ipoll():
                pass
        elif r == 0:
            return -1
        else:
            n += r
    return 200
