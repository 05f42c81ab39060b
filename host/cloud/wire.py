"""How an answer reaches the client: as it should, or with one fault.

Invariant: an answer is bytes made beforehand; a fault decides only how they go out and how the
connection ends. `deliver` returns True if the connection may carry another request.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from aiohttp import web

from host.cloud.faults import Fault
from host.cloud.http import Answer

_SETTLE_S = 0.02  # lets the peer read what precedes a reset, which would overtake it
_LOOK_S = 0.02  # how often an answer that waits looks for a better one
_GOODBYE_S = 1.0  # the peer's share of the TLS closing; then the connection is dropped
_BLOCK = b"x" * 16384
_HUGE_LENGTH = 1 << 30
_PADDING = tuple(f"X-Padding-{at:03}: {'p' * 494}" for at in range(128))  # 512 bytes each, 64 KiB


def linger_zero(connection: socket.socket) -> None:
    """Make the coming close of `connection` a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Wire:
    """The bytes side of one aiohttp request's connection."""

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the peer has gone")
        self._transport = transport
        self._writer = request.writer
        self.keep_alive = request.keep_alive

    async def write(self, data: bytes) -> None:
        """Send `data`; ConnectionResetError once the peer has gone."""
        if self._transport.is_closing():
            raise ConnectionResetError("the peer has gone")
        self._transport.write(data)
        await asyncio.sleep(0)  # or a loop of writes would never learn that the peer has gone
        await self._writer.drain()

    def close(self) -> None:
        """End in order: close_notify under TLS, then FIN, without waiting for the peer's."""
        self._transport.close()
        with suppress(OSError):  # asyncio alone sends the FIN only after the peer's close_notify
            self._transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        asyncio.get_running_loop().call_later(_GOODBYE_S, self._transport.abort)

    def cut(self) -> None:
        """End with a FIN and, under TLS, without close_notify."""
        self._transport.abort()

    async def reset(self) -> None:
        """End with a TCP reset."""
        await asyncio.sleep(_SETTLE_S)
        linger_zero(self._transport.get_extra_info("socket"))
        self._transport.abort()


async def deliver(wire: Wire, answer: Answer, fault: Fault | None) -> bool:
    """Send `answer` as `fault` has it; True if the connection may carry another request."""
    if fault is not None and fault.name in _ENDINGS:
        await _deliver_part(wire, answer, fault)
        return False
    if fault is not None and fault.name in _FORMS:
        return await _FORMS[fault.name](wire, answer, fault)
    if answer.wait_s:
        answer = await _waited(answer)
    wire.keep_alive = wire.keep_alive and not (answer.closes or answer.silent)
    if not answer.silent:
        await wire.write(answer.whole(wire.keep_alive))
    if not wire.keep_alive:
        wire.close()
    return wire.keep_alive


async def _waited(answer: Answer) -> Answer:
    """Return the better answer, or `answer` itself once its time is up."""
    clock = asyncio.get_running_loop().time
    until = clock() + answer.wait_s
    while clock() < until:
        better = answer.better()
        if better is not None:
            return replace(better, date=answer.date)
        await asyncio.sleep(_LOOK_S)
    return answer


async def _deliver_part(wire: Wire, answer: Answer, fault: Fault) -> None:
    head = answer.head(wire.keep_alive)
    sent = {"before": 0, "head": len(head) // 2, "body": len(head)}
    part = answer.whole(wire.keep_alive)[: sent.get(fault.place)]
    if part:
        await wire.write(part)
    await _ENDINGS[fault.name](wire)


async def _close(wire: Wire) -> None:
    wire.close()


async def _cut(wire: Wire) -> None:
    wire.cut()


async def _stall(wire: Wire) -> None:
    await asyncio.Event().wait()  # aiohttp cancels the handler when the peer goes


async def _truncate(wire: Wire, answer: Answer, fault: Fault) -> bool:
    head = answer.head(wire.keep_alive)
    await wire.write(head + answer.body[: len(answer.body) // 2])
    wire.close()
    return False


async def _delay(wire: Wire, answer: Answer, fault: Fault) -> bool:
    await asyncio.sleep(fault.number / 1000)
    return await deliver(wire, answer, None)


async def _drip(wire: Wire, answer: Answer, fault: Fault) -> bool:
    for byte in answer.whole(wire.keep_alive):
        await wire.write(bytes((byte,)))
        await asyncio.sleep(fault.number / 1000)
    return wire.keep_alive


async def _garbage(wire: Wire, answer: Answer, fault: Fault) -> bool:
    await wire.write(bytes(range(256)) * 4)
    wire.close()
    return False


async def _huge_head(wire: Wire, answer: Answer, fault: Fault) -> bool:
    framing = [*_PADDING, f"Content-Length: {len(answer.body)}"]
    await wire.write(answer.head(wire.keep_alive, framing) + answer.body)
    return wire.keep_alive


async def _huge_length(wire: Wire, answer: Answer, fault: Fault) -> bool:
    await wire.write(answer.head(wire.keep_alive, [f"Content-Length: {_HUGE_LENGTH}"]))
    for _ in range(_HUGE_LENGTH // len(_BLOCK)):
        await wire.write(_BLOCK)
    return wire.keep_alive


async def _extra(wire: Wire, answer: Answer, fault: Fault) -> bool:
    await wire.write(2 * answer.whole(wire.keep_alive))
    return wire.keep_alive


async def _connection_close(wire: Wire, answer: Answer, fault: Fault) -> bool:
    wire.keep_alive = False
    return await deliver(wire, answer, None)


async def _continue(wire: Wire, answer: Answer, fault: Fault) -> bool:
    await wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await deliver(wire, answer, None)


async def _chunked(wire: Wire, answer: Answer, fault: Fault) -> bool:
    return await deliver(wire, replace(answer, chunked=True), None)


async def _until_close(wire: Wire, answer: Answer, fault: Fault) -> bool:
    await wire.write(answer.head(False, []) + answer.body)
    wire.close()
    return False


_ENDINGS: Mapping[str, Callable[[Wire], Awaitable[None]]] = MappingProxyType(
    {"reset": Wire.reset, "close": _close, "cut": _cut, "stall": _stall}
)
_FORMS: Mapping[str, Callable[[Wire, Answer, Fault], Awaitable[bool]]] = MappingProxyType(
    {
        "truncate": _truncate,
        "delay": _delay,
        "drip": _drip,
        "garbage": _garbage,
        "huge-head": _huge_head,
        "huge-length": _huge_length,
        "extra": _extra,
        "connection-close": _connection_close,
        "continue": _continue,
        "chunked": _chunked,
        "until-close": _until_close,
    }
)


async def strike_connection(connection: socket.socket, fault: Fault) -> None:
    """Treat a connection as `fault` has it, before any TLS, and close it."""
    with connection, suppress(OSError, asyncio.TimeoutError):
        if fault.name == "reset":
            linger_zero(connection)
        elif fault.name == "stall":
            await _read_away(connection)
        else:  # what stays unread would turn the FIN into a reset
            connection.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(_read_away(connection), _GOODBYE_S)


async def _read_away(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, 4096):
        pass


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Return the body, cut to `limit` + 1 bytes."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await Wire(request).write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    while len(body) <= limit:
        part = await request.content.read(limit + 1 - len(body))
        if not part:
            break
        body += part
    return bytes(body)
