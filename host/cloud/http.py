"""What passes between the server and an emulated cloud: one call in, one answer out.

Invariant: a cloud is a plain function of a `Call`; sockets, TLS and faults are the server's.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import responses
from typing import Any, Protocol

from host.cloud.store import Store


@dataclass(frozen=True, repr=False)
class Call:
    """One HTTP request as it was on the wire: nothing decoded, nothing normalised.

    It has no repr: credentials may be in its fields, its body and its query.
    """

    method: str
    target: str
    fields: Mapping[str, str]  # names compare without regard to case
    body: bytes  # at most one byte more than the cloud's body_limit
    chain: tuple[bytes, ...]  # the client's certificates, DER, its own first
    now: float  # epoch seconds
    version: tuple[int, int] = (1, 1)  # of HTTP
    connection: dict[str, Any] = field(
        default_factory=dict
    )  # the cloud's notes, one per connection

    @property
    def certificate(self) -> bytes | None:
        return self.chain[0] if self.chain else None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    """A response before it has a connection: `fields` without framing, `body` whole."""

    status: int
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = field(default=())
    reason: str | None = None  # None: RFC 9110's; "": none, and no space before it
    chunked: bool = False  # else it has a Content-Length
    closes: bool = False  # the connection, whatever the client asked for
    silent: bool = False  # no answer: the connection is closed at once
    date: float | None = None  # epoch seconds; None: this computer's clock
    wait_s: float = 0  # for so long something better is asked for before this one goes out
    better: Callable[[], Answer | None] = lambda: None

    def head(self, keep_alive: bool = True, framing: Sequence[str] | None = None) -> bytes:
        """Return the response head as bytes; `framing` are field lines, None for its own.

        The Connection field is written in both cases, as the captured answers have it.
        """
        reason = responses.get(self.status, "") if self.reason is None else self.reason
        spaced = "" if self.reason == "" else f" {reason}"
        lines = [f"HTTP/1.1 {self.status}{spaced}"]
        lines.append(f"Date: {formatdate(self.date, usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in self.fields]
        own = "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(self.body)}"
        lines += [own] if framing is None else framing
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def whole(self, keep_alive: bool = True) -> bytes:
        """Return head and body as bytes."""
        body = in_chunks(self.body) if self.chunked else self.body
        return self.head(keep_alive) + body


def in_chunks(body: bytes) -> bytes:
    """Return `body` in two chunks, as far as it has two bytes (RFC 9112 section 7.1)."""
    middle = len(body) // 2
    chunks = [part for part in (body[:middle], body[middle:]) if part]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks) + b"0\r\n\r\n"


class Emulator(Protocol):
    """What the server asks of every emulated cloud."""

    body_limit: int  # bytes; a longer body is handed over cut to one byte more
    store: Store

    def tls(self) -> ssl.SSLContext | None:
        """Return the listener's TLS, None for plain HTTP."""

    def answer(self, call: Call) -> Answer:
        """Process one call and return this service's answer, errors included."""

    def error(self, status: int) -> Answer:
        """Return the error answer that this service gives with `status`."""
