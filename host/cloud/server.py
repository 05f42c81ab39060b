"""The life of an emulated cloud: a listener and its event loop, in a thread of its own.

Invariant: whatever the clients do, `stop` returns within a few seconds and leaves no thread,
no task and no socket behind.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import web

from host.cloud.faults import Fault, Faults, Moment
from host.cloud.http import Answer, Call, Emulator
from host.cloud.store import Message
from host.cloud.tls import CONNECTION
from host.cloud.wire import Wire, deliver, read_body, strike_connection

_LOG = logging.getLogger("onebuf.cloud")
_HANDSHAKE_S = 10.0
_LINGER_S = 2.0  # for reading away what was refused, so that the answer is not lost to a reset
_PATIENCE_S = 5.0
_REBIND_S = 0.01


def serve(
    cloud: Emulator,
    port: int = 0,
    host: str = "127.0.0.1",
    clock: Callable[[], float] = time.time,
) -> Running:
    """Start `cloud` on `host:port` (0: any free port); OSError if that cannot be had.

    `clock` gives the service's time in epoch seconds: one that is off is a fault of its own.
    """
    return Running(cloud, host, port, clock)


class Running:
    """A cloud that listens until `stop`; also a context manager."""

    def __init__(self, cloud: Emulator, host: str, port: int, clock: Callable[[], float]) -> None:
        self.cloud = cloud
        self._clock = clock
        self.handshake_errors: deque[str] = deque(maxlen=100)
        self.faults = Faults(self._faults_added)
        self._tls = cloud.tls()
        self._listener: socket.socket = _listen(host, port)
        self.host, self.port = self._listener.getsockname()[:2]
        self._handshakes: set[asyncio.Task[None]] = set()
        self._reopening: asyncio.Task[None] | None = None
        self._listening = False
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="onebuf-cloud", daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        self._ready.wait(_PATIENCE_S)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def messages(self, topic: str | None = None) -> list[Message]:
        """Return what the cloud accepted, in order of arrival."""
        return self.cloud.store.messages(topic)

    def stop(self) -> None:
        """Close the listener and every connection, and end the thread."""
        if self._thread.is_alive():
            with suppress(RuntimeError):  # the loop may have ended in between
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._listener.close()
            self._loop.close()

    async def _main(self) -> None:
        self._http = _Server(
            self.cloud,
            self._handle,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,  # a payload is opaque, whatever Content-Encoding says
            lingering_time=_LINGER_S,
            logger=_LOG,
        )
        self._open()
        self._ready.set()
        await self._stopping.wait()
        self._close()
        self._drop_connections()
        await self._http.shutdown(timeout=_REBIND_S)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drop_connections()
        await asyncio.sleep(_REBIND_S)  # the transports' turn to close their sockets

    def _open(self) -> None:
        self._listening = True
        self._loop.add_reader(self._listener, self._accept)

    def _close(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._listener)
            self._listener.close()

    def _drop_connections(self) -> None:
        for task in self._handshakes:
            task.cancel()
        for protocol in self._http.connections:
            if protocol.transport is not None:
                protocol.transport.abort()

    def _accept(self) -> None:
        with suppress(OSError):  # the peer may have gone already
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            task = self._loop.create_task(self._connect(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _connect(self, connection: socket.socket) -> None:
        fault = self.faults.take(Moment.CONNECTION)
        if fault is not None:
            await strike_connection(connection, fault)
            self._refuse_if_due()
            return
        twin = connection.dup()  # asyncio closes what it is given
        CONNECTION.set(connection)
        patience = None if self._tls is None else _HANDSHAKE_S
        try:
            await self._loop.connect_accepted_socket(
                self._http, connection, ssl=self._tls, ssl_handshake_timeout=patience
            )
        except (OSError, ssl.SSLError) as error:
            self.handshake_errors.append(str(error))
            connection.close()
            # What the client still sends must not turn the FIN into a reset: it would overtake
            # the TLS alert that says why.
            await strike_connection(twin, Fault("close", place="handshake"))
        except asyncio.CancelledError:
            with suppress(OSError):  # asyncio would wait for the peer's close_notify
                connection.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            twin.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = None
        keep_alive = False
        wire = Wire(request)
        try:
            body = await read_body(request, self.cloud.body_limit)
            fault = self.faults.take(Moment.REQUEST)
            answer = replace(self._answer(request, body, fault), date=self._clock())
            if request.method == "HEAD":  # RFC 9110 section 9.3.2
                answer = replace(answer, body=b"", chunked=False)
            keep_alive = await deliver(wire, answer, fault)
        except web.RequestPayloadError:
            wire.keep_alive = False
            await deliver(wire, self.cloud.error(400), None)
        except ConnectionError:
            pass  # nobody is left to answer
        finally:
            if fault is not None:
                self._refuse_if_due()
        return _Delivered(keep_alive)

    def _answer(self, request: web.BaseRequest, body: bytes, fault: Fault | None) -> Answer:
        call = Call(
            request.method,
            request.raw_path,
            request.headers,
            body,
            _client_chain(request),
            self._clock(),
            (request.version.major, request.version.minor),
            request.protocol.notes,  # type: ignore[attr-defined]  # it is our _Protocol
        )
        if fault is None or fault.name not in ("throttle", "error"):
            return self.cloud.answer(call)
        # A cloud of several services has an error form for each.
        error = getattr(self.cloud, "error_for", lambda call, status: self.cloud.error(status))
        if fault.name == "error":
            return error(call, fault.number)
        answer = error(call, 429)
        return replace(answer, fields=(*answer.fields, ("Retry-After", str(fault.number))))

    def _faults_added(self) -> None:
        if self._thread.is_alive():
            done = threading.Event()
            self._loop.call_soon_threadsafe(self._refuse_if_due)
            self._loop.call_soon_threadsafe(done.set)
            done.wait(_PATIENCE_S)

    def _refuse_if_due(self) -> None:
        """Stop listening for the time of the refuse fault that is next, if one is."""
        fault = self.faults.take(Moment.LISTENER) if self._listening else None
        if fault is None:
            return
        self._close()
        self._drop_connections()
        self._reopening = self._loop.create_task(self._listen_again(fault.number / 1000))

    async def _listen_again(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        while True:
            try:
                self._listener = _listen(self.host, self.port)
                break
            except OSError:  # somebody has the port for the moment
                await asyncio.sleep(_REBIND_S)
        self._open()
        self._refuse_if_due()


class _Delivered(web.StreamResponse):
    """Tells aiohttp that the answer is on its way, or hands it the whole of one."""

    def __init__(self, keep_alive: bool, whole: bytes = b"") -> None:
        super().__init__()
        self._keep_alive = keep_alive
        self._whole = whole

    async def prepare(self, request: web.BaseRequest) -> None:
        if self._whole:
            await Wire(request).write(self._whole)

    async def write_eof(self, data: object = b"") -> None:
        return None


class _Protocol(web.RequestHandler):
    """aiohttp's, but what it cannot parse is refused in the cloud's own words."""

    __slots__ = ("cloud", "notes")
    cloud: Emulator
    notes: dict[str, Any]

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:  # a mistake in the emulator
            _LOG.error("%s", exc, exc_info=exc)
        else:  # the text of aiohttp's exceptions has the client's fields in it
            _LOG.info("%s: refused with %d", type(exc).__name__, status)
        answer = self.cloud.error(status)
        return _Delivered(False, answer.head(False) + answer.body)


class _Server(web.Server):
    def __init__(self, cloud: Emulator, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cloud = cloud

    def __call__(self) -> web.RequestHandler:
        protocol = _Protocol(self, loop=self._loop, **self._kwargs)
        protocol.cloud = self._cloud
        protocol.notes = {"behind": protocol._messages}  # sent before the last one's answer
        return protocol


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=128)
    listener.setblocking(False)
    return listener


def _client_chain(request: web.BaseRequest) -> tuple[bytes, ...]:
    """The client's certificates, DER; only its own where TLS itself verifies the chain."""
    connection = request.get_extra_info("ssl_object")
    certificate = None if connection is None else connection.getpeercert(binary_form=True)
    chain = getattr(connection, "client_chain", ())
    return chain or ((certificate,) if certificate else ())
