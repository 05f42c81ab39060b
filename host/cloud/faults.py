"""Faults on request: which one strikes next, and how it is spelled.

A spelling is a list, separated by commas, of `name`, `name(argument)`, each with an optional
`xN` for N times: `throttle(2)x3,drip(100),reset(head)`. They strike in this order, one each.

    refuse(ms=1000)      nobody listens for so long, and the open connections are closed
    reset(place=before)  the connection ends with a TCP reset
    close(place=before)  it ends in order: TLS close_notify, then FIN
    cut(place=before)    it ends with a FIN and no close_notify
    stall(place=before)  nothing more is sent, the connection stays open
    truncate             whole head, half of the body, then as close
    delay(ms=1000)       the right answer, so much later
    drip(ms=100)         the right answer, one byte per so many milliseconds
    garbage              bytes that are not HTTP, then as close
    huge-head            64 KiB of fields before the right ones
    huge-length          Content-Length 1073741824 and a body until the peer closes
    throttle(s=1)        the cloud's own error of status 429 with Retry-After
    error(status=500)    the cloud's own error of that status
    extra                the right answer and a second one, unasked, right behind it
    connection-close     the right answer with Connection: close, then as close
    continue             100 Continue, then the right answer
    chunked              the right answer in chunks
    until-close          the right answer without a length, its end is the connection's

place: `handshake` (before TLS), `before` (the answer), `head` (in the middle of the head), `body`
(after the head), `after` (the whole answer, unannounced; not for stall).

Invariant: only the front of the queue may strike. refuse and the handshake places wait for a
connection, all others for a request. What replaces the answer (throttle, error) leaves no
message behind; every other fault strikes after the request was processed, as when a real
service's answer gets lost.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

PLACES = ("handshake", "before", "head", "body", "after")

_SPELLING = re.compile(r"([a-z-]+)(?:\(([a-z0-9]+)\))?(?:x([1-9][0-9]{0,5}))?")
_ARGUMENT: Mapping[str, str | int | None] = MappingProxyType(
    {
        "refuse": 1000,
        "reset": "before",
        "close": "before",
        "cut": "before",
        "stall": "before",
        "truncate": None,
        "delay": 1000,
        "drip": 100,
        "garbage": None,
        "huge-head": None,
        "huge-length": None,
        "throttle": 1,
        "error": 500,
        "extra": None,
        "connection-close": None,
        "continue": None,
        "chunked": None,
        "until-close": None,
    }
)
_LONGEST = 3_600_000  # an hour in ms: a longer one is a slip of the keyboard


class Moment(Enum):
    """What a fault waits for."""

    LISTENER = "listener"
    CONNECTION = "connection"
    REQUEST = "request"


@dataclass(frozen=True)
class Fault:
    """One fault that strikes once; `place` and `number` where its name has such an argument."""

    name: str
    place: str = "before"
    number: int = 0

    @property
    def moment(self) -> Moment:
        if self.name == "refuse":
            return Moment.LISTENER
        return Moment.CONNECTION if self.place == "handshake" else Moment.REQUEST


def parse(spelling: str) -> list[Fault]:
    """Return the faults of `spelling` in order; ValueError says which word is wrong and why."""
    return [fault for word in spelling.split(",") for fault in _parse_word(word.strip())]


def _parse_word(word: str) -> list[Fault]:
    match = _SPELLING.fullmatch(word)
    if match is None:
        raise ValueError(f"fault {word!r}: want name, name(argument) or name(argument)xN")
    name, argument, times = match.groups()
    if name not in _ARGUMENT:
        raise ValueError(f"fault {word!r}: unknown, want one of {', '.join(_ARGUMENT)}")
    return [_make(word, name, argument)] * int(times or 1)


def _make(word: str, name: str, argument: str | None) -> Fault:
    default = _ARGUMENT[name]
    if default is None:
        if argument is not None:
            raise ValueError(f"fault {word!r}: {name} takes no argument")
        return Fault(name)
    if isinstance(default, str):
        return _make_placed(word, name, argument or default)
    number = default if argument is None else int(argument) if argument.isdecimal() else -1
    low, high = (400, 599) if name == "error" else (0, _LONGEST)
    if not low <= number <= high:
        raise ValueError(f"fault {word!r}: the argument is a number of {low} to {high}")
    return Fault(name, number=number)


def _make_placed(word: str, name: str, place: str) -> Fault:
    places = PLACES[:-1] if name == "stall" else PLACES
    if place not in places:
        raise ValueError(f"fault {word!r}: the place is one of {', '.join(places)}")
    return Fault(name, place=place)


class Faults:
    """The queue of faults of one listener; any thread may add, the server takes."""

    def __init__(self, on_add: Callable[[], None] = lambda: None) -> None:
        self._queue: deque[Fault] = deque()
        self._lock = threading.Lock()
        self._on_add = on_add

    def add(self, spelling: str) -> None:
        """Append the faults of `spelling`; when this returns, a leading refuse is in force."""
        faults = parse(spelling)
        with self._lock:
            self._queue.extend(faults)
        self._on_add()

    def take(self, moment: Moment) -> Fault | None:
        """Remove and return the fault at the front if it waits for `moment`."""
        with self._lock:
            if self._queue and self._queue[0].moment is moment:
                return self._queue.popleft()
        return None

    def clear(self) -> None:
        """Forget the faults that did not strike yet."""
        with self._lock:
            self._queue.clear()

    def __len__(self) -> int:
        return len(self._queue)
