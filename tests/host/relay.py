"""A TCP relay that sees what a device puts on the wire: connections, writes, TLS records."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

APPLICATION_DATA = 23  # RFC 8446 section 5.1
_HEADER = 5


class Relay:
    """Listens on a free port and passes everything on to `target`, a port of this machine.

    `sent` are the octets of the device, as they came: one item is at least one write.
    """

    def __init__(self, target: int) -> None:
        self.connections = 0
        self.sent: list[bytes] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Close everything and end the threads."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(5)
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                device, _ = self._listener.accept()
                self.connections += 1
                cloud = socket.create_connection(("127.0.0.1", self._target), 5)
                cloud.settimeout(None)
                self._open += [device, cloud]
                self._pump(device, cloud, self.sent)
                self._pump(cloud, device, None)

    def _pump(
        self, source: socket.socket, sink: socket.socket, record: list[bytes] | None
    ) -> None:
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def run() -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    if record is not None:
                        record.append(data)
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    """A Relay for as long as the block runs."""
    made = Relay(target)
    try:
        yield made
    finally:
        made.stop()


def records(writes: Sequence[bytes]) -> list[int]:
    """The content types of the TLS records in what was written; they must be whole."""
    data, at, types = b"".join(writes), 0, []
    while at < len(data):
        types.append(data[at])
        at += _HEADER + int.from_bytes(data[at + 3 : at + 5], "big")
    assert at == len(data), "the last record is cut"
    return types
