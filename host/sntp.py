"""An emulated SNTP server (RFC 4330) in a thread of its own, made to lie or be silent at will.

`with serve(offset_s=0.0, fault=None) as server:` answers at UDP `server.port` until the end of
the block. `offset_s` is how far its clock is ahead of this computer's.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

REQUEST_OCTETS = 48
LATE_S = 0.6  # how long a "late" reply takes
_UNIX_EPOCH = 2_208_988_800  # seconds from 1900, where NTP counts from, to 1970
_PATIENCE_S = 5.0
_FRACTION = 1 << 32
_CLIENT = 3
_RATE = struct.unpack(">I", b"RATE")[0]  # a kiss code (RFC 4330 section 8)


@dataclass(frozen=True)
class Reply:
    """The fields of a reply that a fault changes (RFC 4330 section 4)."""

    origin: bytes  # the client's transmit timestamp
    leap: int = 0
    version: int = 4
    mode: int = 4
    stratum: int = 2
    reference_id: int = 0x7F000001
    length: int = REQUEST_OCTETS  # octets that are sent of it; beyond 48 stand extension fields
    timeless: bool = False  # all times are zero

    def octets(self, now: float) -> bytes:
        """Return the message as a server sends it at `now`, in Unix seconds."""
        time_ = 0 if self.timeless else _timestamp(now)
        head = (self.leap << 6 | self.version << 3 | self.mode, self.stratum, 6, -20)
        root = (0x0100, 0x0200, self.reference_id)  # delay and dispersion in 2**-16 s
        packed = struct.pack(">BBbbIIIQ8sQQ", *head, *root, time_, self.origin, time_, time_)
        return packed.ljust(self.length, b"\0")[: self.length]


# What each fault makes of a good reply.
_CHANGES: dict[str, Callable[[Reply], Reply]] = {
    "v3": lambda reply: replace(reply, version=3),
    "long": lambda reply: replace(reply, length=68),  # with a message authentication code
    "short": lambda reply: replace(reply, length=47),
    "empty": lambda reply: replace(reply, length=0),
    "origin": lambda reply: replace(reply, origin=bytes(8)),
    "mode": lambda reply: replace(reply, mode=_CLIENT),
    "broadcast": lambda reply: replace(reply, mode=5),
    "version": lambda reply: replace(reply, version=2),
    "kiss": lambda reply: replace(reply, leap=3, stratum=0, reference_id=_RATE, timeless=True),
    "spoofed kiss": lambda reply: replace(reply, stratum=0, origin=bytes(8)),
    "alarm": lambda reply: replace(reply, leap=3),
    "stratum": lambda reply: replace(reply, stratum=16),
}
# Those that are more than another reply: no reply; octets that mean nothing; a good reply after
# LATE_S; a good one from another port; an unusable one of each kind, and then a good one.
_DELIVERIES = ("silent", "garbage", "late", "stranger", "noise")
FAULTS = (*_CHANGES, *_DELIVERIES)
_NOISE = ("short", "empty", "origin", "mode", "version", "spoofed kiss", "alarm", "stratum")


def _timestamp(now: float) -> int:
    """Unix seconds as an NTP timestamp, whose seconds wrap in 2036 (RFC 4330 section 3)."""
    return round((now + _UNIX_EPOCH) * _FRACTION) % (1 << 64)


def serve(
    offset_s: float = 0.0, fault: str | None = None, host: str = "127.0.0.1", port: int = 0
) -> Server:
    """Start a server at `host:port` (0: any free port).

    Raises ValueError for a fault that is none of FAULTS, OSError if the port cannot be had.
    """
    if fault is not None and fault not in FAULTS:
        raise ValueError(f"fault is one of {', '.join(FAULTS)}")
    return Server(offset_s, fault, host, port)


class Server:
    """Answers until stop(); also a context manager.

    `fault`, one of FAULTS or None, and `offset_s` may be changed at any time. `faults`, if it is
    not empty, is used up first, one for each request. `requests` counts all that arrived,
    `refused` those that are no request of a client.
    """

    def __init__(self, offset_s: float, fault: str | None, host: str, port: int) -> None:
        self.offset_s = offset_s
        self.fault = fault
        self.faults: list[str | None] = []
        self.requests = self.refused = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.host, self.port = self._socket.getsockname()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onebuf-sntp", daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread and free the port."""
        if self._thread.is_alive():
            self._stopping.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", (self.host, self.port))
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        with self._socket:
            while True:
                request, client = self._socket.recvfrom(1024)
                if self._stopping.is_set():
                    return
                self.requests += 1
                if _asks(request):
                    fault = self.faults.pop(0) if self.faults else self.fault
                    self._answer(request[40:48], client, fault)
                else:
                    self.refused += 1

    def _answer(self, origin: bytes, client: tuple[str, int], fault: str | None) -> None:
        if fault == "silent":
            return
        if fault == "late" and self._stopping.wait(LATE_S):
            return
        for octets in self._replies(Reply(origin), fault):
            if fault == "stranger":
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                    stranger.bind((self.host, 0))
                    stranger.sendto(octets, client)
            else:
                self._socket.sendto(octets, client)

    def _replies(self, good: Reply, fault: str | None) -> Sequence[bytes]:
        now = time.time() + self.offset_s
        if fault == "garbage":
            return (bytes(range(256)),)
        if fault == "noise":
            bad = [_CHANGES[name](good).octets(now + 1000) for name in _NOISE]
            return (*bad, good.octets(now))
        return ((_CHANGES[fault](good) if fault in _CHANGES else good).octets(now),)


def _asks(request: bytes) -> bool:
    """Whether it is a client's request that a server answers (RFC 4330 sections 4 and 5)."""
    if len(request) < REQUEST_OCTETS:
        return False
    version, mode = request[0] >> 3 & 7, request[0] & 7
    return mode == _CLIENT and version in (3, 4) and any(request[40:48])
