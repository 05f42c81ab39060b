"""MicroPython's `select`: poll objects that keep whole streams, plain and TLS."""

from __future__ import annotations

import select as host
from collections.abc import Iterator
from types import ModuleType

from host.shim.errnos import os_error
from host.shim.stream import POLLERR, POLLHUP, POLLIN, POLLOUT, Stream

_ONESHOT = 1


class Poll:
    """A set of streams and the events that each is polled for."""

    def __init__(self) -> None:
        self._events: dict[int, tuple[Stream, int]] = {}

    def register(self, stream: Stream, events: int = POLLIN | POLLOUT) -> None:
        """Add a stream, or change the events of one that is there."""
        if not isinstance(stream, Stream):
            raise OSError("stream operation not supported")
        self._events[id(stream)] = (stream, events)

    def unregister(self, stream: Stream) -> None:
        """Forget a stream; silent if it is unknown."""
        self._events.pop(id(stream), None)

    def modify(self, stream: Stream, events: int) -> None:
        """Change the events of a stream; raises ENOENT if it is unknown."""
        if id(stream) not in self._events:
            raise os_error("ENOENT")
        self._events[id(stream)] = (stream, events)

    def poll(self, timeout: int = -1, flags: int = 0) -> list[tuple[Stream, int]]:
        """Wait at most `timeout` ms (-1: for ever); return [(stream, events)]."""
        poller = host.poll()
        watched: dict[int, tuple[Stream, int]] = {}
        ready: list[tuple[Stream, int]] = []
        for stream, events in self._events.values():
            now, fd, asked = stream.poll_state(events)
            if now:
                ready.append((stream, now))
            elif fd >= 0:
                poller.register(fd, asked)
                watched[fd] = (stream, events)
        for fd, revents in poller.poll(0 if ready else timeout):
            stream, events = watched[fd]
            ready.append((stream, stream.poll_result(events, revents)))
        if flags & _ONESHOT:
            for stream, _ in ready:
                self.modify(stream, 0)
        return ready

    def ipoll(self, timeout: int = -1, flags: int = 0) -> Iterator[tuple[Stream, int]]:
        """Like poll(), as an iterator."""
        return iter(self.poll(timeout, flags))


def make_select() -> ModuleType:
    """Return a module `select`."""
    module = ModuleType("select")
    vars(module).update(
        poll=Poll, POLLIN=POLLIN, POLLOUT=POLLOUT, POLLERR=POLLERR, POLLHUP=POLLHUP
    )
    return module
