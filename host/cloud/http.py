"""What passes between the server and an emulated cloud: one call in, one answer out.

Invariant: a cloud is a plain function of a `Call`; sockets, TLS and faults are the server's.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import responses
from typing import Protocol

from host.cloud.store import Store


@dataclass(frozen=True)
class Call:
    """One HTTP request as it was on the wire: nothing decoded, nothing normalised."""

    method: str
    target: str
    fields: Mapping[str, str]  # names compare without regard to case
    body: bytes  # at most one byte more than the cloud's body_limit
    certificate: bytes | None  # the client's, DER
    now: float  # epoch seconds

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

    def head(self, keep_alive: bool = True, framing: Sequence[str] | None = None) -> bytes:
        """Return the response head as bytes; `framing` are field lines, None for the length.

        The Connection field is written in both cases, as the captured answers have it.
        """
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, '')}"]
        lines.append(f"Date: {formatdate(usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in self.fields]
        lines += [f"Content-Length: {len(self.body)}"] if framing is None else framing
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


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
