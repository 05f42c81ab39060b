"""Asking an SNTP server (RFC 4330) for the time; Clock.sync() imports it when it is asked to."""

import os
import select

from micropython import const

_ENXIO = const(-6)  # the server's name has no address
_ENOMEM = const(-12)
_ETIMEDOUT = const(-110)
_ECONNREFUSED = const(-111)
_EHOSTUNREACH = const(-113)

_SOCK_DGRAM = const(2)  # these two are so on every port
_POLLIN = const(1)
_SLICE_MS = const(1000)

_UNIX_2020 = const(1577836800)
_NTP_2020 = const(508141696)  # 2**32 less the seconds from 1900 to 2020


def sync(clock, net=None) -> int:
    """Set clock by the first of its servers that answers: 0, or the last one's -errno.

    -ECONNREFUSED is a kiss-o'-death. timeout_ms begins when a name is resolved, which the
    runtime does, and cannot bound. net: a socket pool, where the runtime has no module socket.
    """
    if net is None:
        import socket as net
    r = _ENXIO
    for server in clock.servers:
        r = _ENXIO
        s = None
        try:
            address = net.getaddrinfo(server, clock.port, 0, _SOCK_DGRAM)[0]
            r = _EHOSTUNREACH
            s = net.socket(address[0], _SOCK_DGRAM)
            s.setblocking(False)
            s.connect(address[-1])  # from here on the system drops what others send
            r = _ask(clock, s)
        except OSError:
            pass
        except MemoryError:
            r = _ENOMEM
        if s:
            s.close()
        if not r:
            break
    return r


def _ask(clock, s):
    """Send a request, and set the clock by the reply to it: 0, or -errno."""
    query = bytearray(48)
    query[0] = 0x23  # version 4, mode 3: client
    chance = query[40:] = os.urandom(8)  # transmit timestamp, which the reply must repeat
    s.send(query)
    poller = select.poll()
    poller.register(s, _POLLIN)
    time = clock.time
    sent = time.ticks_ms()
    ms = 0
    while ms < clock.timeout_ms:
        if clock.feed:
            clock.feed()
        b = _receive(s) if poller.poll(min(clock.timeout_ms - ms, _SLICE_MS)) else b""
        ms = time.ticks_diff(time.ticks_ms(), sent)
        # version 3 or 4 and mode 4, server: the lower bits are 28 or 36
        if len(b) < 48 or (b[0] - 28) & 55 or b[24:32] != chance:
            continue
        if not b[1]:
            return _ECONNREFUSED
        n = int.from_bytes(b[40:44], "big") + _NTP_2020
        # leap indicator 3: not synchronized. A time is one of 2020 to 2053, whatever its era.
        if b[0] < 192 and b[1] < 16 and not n >> 30 & 3:
            clock.set((n & 0x3FFFFFFF) + _UNIX_2020, ms // 2 + b[44] * 4)
            return 0
    return _ETIMEDOUT


def _receive(s):
    if hasattr(s, "recv"):
        return s.recv(48)
    b = bytearray(48)  # CircuitPython's
    return b[: s.recv_into(b)]
