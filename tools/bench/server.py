"""The server of the bench, a process of its own: one canned answer, and a count of the wire.

`python -m tools.bench.server CERT KEY DELAY_MS` says its two ports as JSON and then, for each line
on stdin, what it has counted. A thread per connection, TCP_NODELAY, nothing parsed but the length
of the request: a publish takes it less time than the client.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/json\r\n"
    b"content-length: 65\r\n"
    b"date: Sat, 21 Nov 2026 08:00:00 GMT\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000001\r\n"
    b"connection: keep-alive\r\n\r\n"
    b'{"message":"OK","traceId":"00000000-0000-4000-8000-000000000001"}'
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb" HTTP/1\.0\r\n|\r\nconnection: *close", re.IGNORECASE)
_APPLICATION_DATA = 23  # RFC 8446 section 5.1
_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 30


@dataclass
class Wire:
    """What has come and gone: TCP's octets, and how many records of application data came."""

    up: int = 0
    down: int = 0
    records: int = 0
    connections: int = 0
    after: list[tuple[int, int, int, int]] = field(default_factory=list)  # of each request, so far

    def answered(self) -> None:
        """A request has come whole; its answer is counted with it."""
        self.after.append((self.up, self.down, self.records, self.connections))


class _Records:
    """Counts TLS records in a stream of octets."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._data = b""

    def feed(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 5:
            end = 5 + int.from_bytes(self._data[3:5], "big")
            if len(self._data) < end:
                break
            self._wire.records += self._data[0] == _APPLICATION_DATA
            self._data = self._data[end:]


class _Plain:
    """A connection in the clear."""

    def __init__(self, sock: socket.socket, wire: Wire) -> None:
        self._sock = sock
        self._wire = wire

    def read(self) -> bytes:
        data = self._sock.recv(65536)
        self._wire.up += len(data)
        return data

    def write(self, data: bytes) -> None:
        self._wire.down += len(data)
        self._wire.answered()
        self._sock.sendall(data)


class _TLS:
    """A connection under TLS, whose records pass through our hands."""

    def __init__(self, sock: socket.socket, wire: Wire, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._wire = wire
        self._records = _Records(wire)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            with suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                break
            self._flush()
            self._fill()
        self._flush()

    def read(self) -> bytes:
        while True:
            with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return self._tls.read(65536)
            if not self._fill():
                return b""

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._wire.down += self._out.pending
        self._wire.answered()
        self._sock.sendall(self._out.read())

    def _fill(self) -> bool:
        data = self._sock.recv(65536)
        self._wire.up += len(data)
        self._records.feed(data)
        self._in.write(data)
        if not data:
            self._in.write_eof()
        return bool(data)

    def _flush(self) -> None:
        data = self._out.read()
        self._wire.down += len(data)
        if data:
            self._sock.sendall(data)


def _serve(
    sock: socket.socket, wire: Wire, context: ssl.SSLContext | None, delay_s: float
) -> None:
    with sock, suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.connections += 1
        stream = _TLS(sock, wire, context) if context else _Plain(sock, wire)
        data = b""
        while True:
            piece = stream.read()
            if not piece:
                break
            data += piece
            head = data.find(b"\r\n\r\n")
            length = _LENGTH.search(data) if head >= 0 else None
            if head < 0 or len(data) < head + 4 + (int(length[1]) if length else 0):
                continue
            time.sleep(delay_s)
            stream.write(ANSWER)
            if _CLOSES.search(data):
                break
            data = b""


def _listen(wire: Wire, context: ssl.SSLContext | None, delay_s: float) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            args = (sock, wire, context, delay_s)
            threading.Thread(target=_serve, args=args, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def main(cert: str, key: str, delay_ms: str) -> None:
    """Serve until stdin ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    wire = Wire()
    ports = [_listen(wire, tls, int(delay_ms) / 1000) for tls in (None, context)]
    print(json.dumps(ports), flush=True)
    for _ in sys.stdin:
        print(json.dumps([wire.after[0], wire.after[-1], len(wire.after)]), flush=True)


class Server:
    """The server's process, seen from the bench."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port, self.tls_port = json.loads(self._line())

    def per_publish(self) -> dict[str, float]:
        """What each publish but the first put on the wire, with handshakes where it made them."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        first, last, n = json.loads(self._line())
        names = ("bytes up", "bytes down", "TLS records", "connections")
        both = zip(names, first, last, strict=True)
        return {name: (b - a) / (n - 1) for name, a, b in both}

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


@contextmanager
def serving(cert: Path, key: Path, delay_ms: int = 0) -> Iterator[Server]:
    """The server, as long as the block runs. It waits delay_ms before each answer."""
    command = [sys.executable, "-m", "tools.bench.server", str(cert), str(key), str(delay_ms)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=_ROOT, stdin=pipe, stdout=pipe, text=True)
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate(timeout=_TIMEOUT_S)


if __name__ == "__main__":
    main(*sys.argv[1:4])
