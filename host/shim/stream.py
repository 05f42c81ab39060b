"""What MicroPython's py/stream.c makes of a socket: read, readinto, readline and write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

Buffer = bytes | bytearray | memoryview

POLLIN, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 1, 4, 8, 16, 32


class Stream(ABC):
    """A byte stream. A blocking one moves all that is asked; a non-blocking one what it can."""

    @abstractmethod
    def receive(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes; None would block, b"" is end of file."""

    @abstractmethod
    def transmit(self, data: memoryview) -> int | None:
        """Return the number of bytes taken; None would block."""

    @abstractmethod
    def poll_state(self, events: int) -> tuple[int, int, int]:
        """Return (events ready now, file descriptor or -1, events to ask the system for)."""

    def poll_result(self, events: int, revents: int) -> int:
        """Return what poll() reports, given what the system answered for `poll_state`."""
        return revents

    def _gather(self, limit: int, full: Callable[[bytearray], bool]) -> bytes | None:
        data = bytearray()
        while len(data) < limit and not full(data):
            chunk = self.receive(1 if full is _line else limit - len(data))
            if chunk is None:
                return bytes(data) if data else None
            if not chunk:
                break
            data += chunk
        return bytes(data)

    def read(self, n: int = -1) -> bytes | None:
        """Return `n` bytes, or all up to end of file; None if nothing could be read now."""
        return self._gather(1 << 30 if n == -1 else n, _never)

    def readline(self, n: int = -1) -> bytes | None:
        """Return up to and with the next line feed; None if nothing could be read now."""
        return self._gather(1 << 30 if n == -1 else n, _line)

    def readinto(self, buf: bytearray | memoryview, n: int | None = None) -> int | None:
        """Fill `buf`, or its first `n` bytes; return the number read, 0 at end of file."""
        view = memoryview(buf)
        if view.readonly:
            raise TypeError("object with buffer protocol required")
        data = self._gather(len(view) if n is None else min(n, len(view)), _never)
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

    def write(self, buf: Buffer | str, *span: int) -> int | None:
        """Send all of `buf`, or with (n) its first n bytes, or with (off, n) n from `off`."""
        if len(span) > 2:
            raise TypeError("function expected at most 4 arguments")
        view = memoryview(buf.encode() if isinstance(buf, str) else buf)
        off, n = (0, *span)[-2:] if span else (0, len(view))
        view = view[min(off, len(view)) :][:n]
        done = 0
        while done < len(view):
            moved = self.transmit(view[done:])
            if moved is None:
                return done or None
            done += moved
        return done


def _never(data: bytearray) -> bool:
    return False


def _line(data: bytearray) -> bool:
    return data.endswith(b"\n")
