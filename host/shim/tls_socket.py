"""A TLS socket that behaves as MicroPython's over mbedTLS, with OpenSSL inside.

Reads and writes drive the handshake; exactly one record at a time is taken from the socket below,
so that polling that socket tells what polling MicroPython's tells.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import NoReturn, TypeVar

from host.shim import tls_errors
from host.shim.polling import Poll
from host.shim.sockets import Socket
from host.shim.stream import POLLIN, POLLNVAL, POLLOUT, Stream

T = TypeVar("T")

_HEADER = 5  # type, version, length of a record (RFC 8446 section 5.1)
_RECORD_TYPES = range(20, 25)
_OUT_CONTENT = 16384


class _Blocked(Exception):
    """The socket below would block; `direction` is the event to wait for."""

    def __init__(self, direction: int) -> None:
        super().__init__(direction)
        self.direction = direction


class TLSSocket(Stream):
    """MicroPython's SSLSocket. After a failure every call raises the same number again."""

    def __init__(
        self,
        sock: Socket,
        tls: ssl.SSLObject,
        bios: tuple[ssl.MemoryBIO, ssl.MemoryBIO],
        *,
        no_ca: bool,
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._incoming, self._outgoing = bios
        self._no_ca = no_ca
        self._record = bytearray()  # a part of one incoming record
        self._unsent = b""  # a part of outgoing records
        self._owed = 0  # bytes in a record that is not wholly sent
        self._established = False
        self._want = 0  # the event that the protocol needs next, whatever the caller wants
        self._error = 0
        self._notified = False  # close_notify came
        self._open = True

    def __repr__(self) -> str:
        return "<SSLSocket>"

    def handshake(self) -> None:
        """Shake hands to the end, polling in between; raises what refuses the connection."""
        poll = Poll()
        while not self._established:
            try:
                self._check()
                self._guarded(self._shake)
            except _Blocked as blocked:
                poll.register(self._sock, blocked.direction)
                poll.poll(1000)

    def receive(self, limit: int) -> bytes | None:
        """Return decrypted bytes; None would block, b"" is close_notify (once) or end of file."""
        self._check()
        self._want = 0
        try:
            return self._guarded(lambda: self._read(limit))
        except _Blocked as blocked:
            self._want = blocked.direction & POLLOUT
            return None

    def transmit(self, data: memoryview) -> int | None:
        """Send at most one record; None would block: call again with the same bytes."""
        self._check()
        self._want = 0
        try:
            return self._guarded(lambda: self._write(data))
        except _Blocked as blocked:
            self._want = blocked.direction & POLLIN
            return None

    def setblocking(self, flag: object) -> None:
        """Make the socket below wait (true) or not."""
        self._sock.setblocking(flag)

    def cipher(self) -> tuple[str, str]:
        """Return (suite, protocol version); only after the handshake: before, boards crash."""
        if not self._established:
            raise SystemError("cipher() before the end of the handshake crashes MicroPython")
        suite = self._tls.cipher()
        assert suite is not None
        return suite[0], suite[1]

    def getpeercert(self, binary_form: bool) -> bytes | None:
        """Return the peer's certificate as DER; None until the handshake is over."""
        if not binary_form:
            raise NotImplementedError
        return self._tls.getpeercert(True) if self._established else None

    def close(self) -> None:
        """Close the socket below; like MicroPython's, it sends no close_notify."""
        self._open = False
        self._sock.close()

    def poll_state(self, events: int) -> tuple[int, int, int]:
        """Return (ready now, descriptor or -1, events to ask for); decrypted bytes are ready."""
        if not self._open or self._error:
            return POLLNVAL, -1, 0
        asked = self._want if self._want and events & (POLLIN | POLLOUT) else events
        if asked & POLLIN and self._established and self._tls.pending():
            return POLLIN, -1, 0
        return self._sock.poll_state(asked)

    def poll_result(self, events: int, revents: int) -> int:
        """Report the caller's own events when what the protocol needs has come."""
        return revents | events & (POLLIN | POLLOUT) if revents & self._want else revents

    def _check(self) -> None:
        if not self._open:
            raise OSError(*tls_errors.CLOSED)
        if self._error:
            raise OSError(self._error, "the connection has failed before")

    def _read(self, limit: int) -> bytes:
        if self._notified:
            return self._after_notice()
        if not self._established:
            self._shake()
        data = self._step(lambda: self._tls.read(limit))
        self._notified = not data
        return data

    def _after_notice(self) -> bytes:
        """Wait for the end of TCP: mbedTLS tells of close_notify only once."""
        while (data := self._sock.receive(1024)) is not None:
            if not data:
                return data
        raise _Blocked(POLLIN)

    def _write(self, data: memoryview) -> int:
        if not self._established:
            self._shake()
        if not self._owed:
            self._owed = self._step(lambda: self._tls.write(data[:_OUT_CONTENT]))
        self._flush()
        done, self._owed = self._owed, 0
        return done

    def _shake(self) -> None:
        self._step(self._tls.do_handshake)
        self._flush()
        self._established = True

    def _step(self, action: Callable[[], T]) -> T:
        """Repeat `action`, moving records, until it is done; raises _Blocked."""
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            sent = self._sock.transmit(memoryview(self._unsent))
            if sent is None:
                raise _Blocked(POLLOUT)
            self._unsent = self._unsent[sent:]

    def _fill(self) -> None:
        """Hand one record to OpenSSL, or the end of the stream."""
        while (missing := _missing(self._record)) > 0:
            data = self._sock.receive(missing)
            if data is None:
                raise _Blocked(POLLIN)
            if not data:
                self._incoming.write_eof()
                return
            self._record += data
        self._incoming.write(self._record)
        self._record.clear()

    def _guarded(self, action: Callable[[], T]) -> T:
        """Run `action` with OpenSSL's errors turned into those of MicroPython."""
        try:
            return action()
        except ssl.SSLCertVerificationError as error:
            self._refuse(error)
        except ssl.SSLError as error:
            failure = tls_errors.number(error, not self._established)
            if failure == tls_errors.EOF and self._established:
                return b""  # type: ignore[return-value]
            self._fail(*failure)
        except OSError as error:
            # MicroPython forgets to turn the number positive once the handshake is over.
            known = error.errno or 0
            self._error = -known
            raise OSError(-known if self._established else known, error.strerror) from None

    def _refuse(self, error: ssl.SSLCertVerificationError) -> NoReturn:
        if self._no_ca:
            self._fail(*tls_errors.NO_CA)
        self._error = tls_errors.CERT_REFUSED[0]
        self._send_alert()
        raise ValueError(tls_errors.refusal(error)) from None

    def _fail(self, code: int, text: str) -> NoReturn:
        self._error = code
        self._send_alert()
        raise OSError(code, text) from None

    def _send_alert(self) -> None:
        with contextlib.suppress(OSError, _Blocked):  # the peer is told if it still listens
            self._flush()


def _missing(record: bytearray) -> int:
    """Return how many bytes a record lacks; 0 at once for what is not TLS."""
    if len(record) < _HEADER:
        return _HEADER - len(record)
    if record[0] not in _RECORD_TYPES or record[1] != 3:
        return 0
    return _HEADER + int.from_bytes(record[3:5], "big") - len(record)
