"""Transport for MicroPython: one non-blocking TCP or TLS socket, and one deadline for all it does.

The contract, which tests/device/checks.py checks. Results are ints, negative ones -errno:

    start(timeout_ms)     set the deadline for all that follows, not behind that of within()
    within(ms)            a bound for all deadlines from now on; negative: none any more
    within()              what is left until that bound, 0 when it has passed
    connect(host, port)   1: connected; 0: not yet, call again
    write(buf, off, n)    octets written; 0: would block
    readinto(buf)        octets read; 0: would block; -ESHUTDOWN: end of file
    wait_readable()       0: readinto() may go on now
    wait_writable()       0: write(), or connect() if that is not done, may go on now
    sleep_ms(ms)
    close()               TCP's FIN; MicroPython's TLS sends no close_notify
    feed                  None; or it is called, say a watchdog's, by start() and readinto(), and
                          at least once a second while something is waited for; not in DNS and
                          TLS's arithmetic

Waiting may end before something is ready. Past the deadline they return -ETIMEDOUT. After
connect() none of them allocates.
"""

import errno
import select
import socket
import time
from random import getrandbits

import tls
from micropython import const

_EIO = const(-5)
_ENXIO = const(-6)  # the host name has no address
_ENOMEM = const(-12)
_EACCES = const(-13)  # the server broke off the handshake: no client certificate that it accepts
_EPROTO = const(-71)
_ECONNRESET = const(-104)
_ESHUTDOWN = const(-108)
_ETIMEDOUT = const(-110)
_EHOSTUNREACH = const(-113)
# the server's certificate is not valid now: it expired, or our clock lies
_EKEYEXPIRED = const(-127)
_EKEYREJECTED = const(-129)  # it is not this host's, or not signed by our CA

_FATAL_ALERT = const(0x7780)  # MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE
_CONN_EOF = const(0x7280)  # MBEDTLS_ERR_SSL_CONN_EOF: FIN without close_notify

_ERRORS = (OSError, ValueError, MemoryError)
_LONGEST_MS = const(0x0FFFFFFF)  # three days: ticks are compared within half their period
_BROKEN = const(24)  # POLLERR | POLLHUP, the same on every port
_SLICE_MS = const(100)  # in a handshake mbedTLS may want to write where we wait for octets to read
_FEED_MS = const(1000)  # so often feed() is called at least


def tls_context(ca, cert=None, key=None, insecure_accept_any_server: bool = False, alpn=None):
    """A TLS context that verifies the server's chain and name; build it once and keep it.

    ca, cert, key: bytes, DER (or PEM where the runtime can read it); cert may be a list: the
    device's certificate, then those that lead up from it. alpn: the protocol to offer (RFC 7301),
    str. ValueError: no CA, data that mbedTLS cannot read, or a runtime without ALPN.
    """
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    if insecure_accept_any_server:
        print("onebuf: WARNING: TLS accepts any server")
        context.verify_mode = tls.CERT_NONE
    else:
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(ca or b"")  # refuses what is no certificate
    for each in cert if isinstance(cert, list) else (cert,):
        if each:
            context.load_cert_chain(each, key)
    if alpn:
        if not hasattr(context, "set_alpn_protocols"):
            raise ValueError("this runtime has no ALPN; port 8443 needs none")
        context.set_alpn_protocols([alpn])
    return context


def random16() -> int:
    """Chance for backoff: 16 bits."""
    return getrandbits(16)


class Transport:
    """One connection at a time.

    context: from tls_context(), or None for TCP in the clear. address: connect there instead of to
    host; the certificate must still be host's.
    """

    def __init__(self, context, address: str = ""):
        self._context = context
        self._address = address
        self._sock = self._io = self._in = self._out = None
        self.feed = None
        self._open = self._bounded = False
        self._one = bytearray(1)
        self._deadline = self._bound = 0
        self._events = 0  # what the last wait saw, until readinto() has acted on it

    def start(self, timeout_ms: int):
        if self.feed:
            self.feed()
        ms = min(timeout_ms, self.within() if self._bounded else _LONGEST_MS)
        self._deadline = time.ticks_add(time.ticks_ms(), ms)

    def within(self, ms=None):
        if ms is None:
            ms = time.ticks_diff(self._bound, time.ticks_ms())
            return max(ms, 0) if self._bounded else _LONGEST_MS
        self._bounded = ms >= 0
        self._bound = time.ticks_add(time.ticks_ms(), min(ms, _LONGEST_MS))

    def connect(self, host: str, port: int) -> int:
        if time.ticks_diff(self._deadline, time.ticks_ms()) <= 0:
            return _ETIMEDOUT
        try:
            if self._sock is None:
                self._dial(host, port)
            if self._io is None and not self._dialled(host):
                return 0
            return self._shake()
        except _ERRORS as e:
            return _number(e)

    def write(self, buf, off: int, n: int) -> int:
        if time.ticks_diff(self._deadline, time.ticks_ms()) <= 0:
            return _ETIMEDOUT
        try:
            return self._io.write(buf, off, n) or 0
        except _ERRORS as e:
            return _number(e)

    def readinto(self, buf) -> int:
        events = self._events
        self._events = 0
        try:
            # A reset may wait behind the octets: then only single ones can be had, because a read
            # of several that meets it raises, and the number of those before it is lost.
            if not events:
                if time.ticks_diff(self._deadline, time.ticks_ms()) <= 0:
                    return _ETIMEDOUT
                if self.feed:  # a peer that does not stop is never waited for
                    self.feed()
                for event in self._in.ipoll(0):
                    events = event[1]
            if events & _BROKEN:
                n = self._io.readinto(self._one)
                if n:
                    buf[0] = self._one[0]
            else:
                n = self._io.readinto(buf)
        except _ERRORS as e:
            return _number(e)
        return 0 if n is None else n or _ESHUTDOWN

    def wait_readable(self) -> int:
        return self._wait(self._in, _LONGEST_MS)

    def wait_writable(self) -> int:
        shakes = self._io is not None and not self._open  # TLS's handshake is under way
        r = self._wait(self._in, _SLICE_MS) if shakes else self._wait(self._out, _LONGEST_MS)
        self._events = 0  # readinto() looks for itself
        return r

    def sleep_ms(self, ms: int):
        while self.feed and ms > 0:
            self.feed()
            time.sleep_ms(min(ms, _FEED_MS))
            ms -= _FEED_MS
        time.sleep_ms(max(ms, 0))

    def close(self):
        _close(self._io)
        _close(self._sock)
        self._sock = self._io = self._in = self._out = None
        self._open = False

    def _wait(self, poller, most_ms):
        self._events = 0
        ms = time.ticks_diff(self._deadline, time.ticks_ms())
        if ms <= 0:
            return _ETIMEDOUT
        if poller is None:  # nothing to wait for before connect()
            return 0
        if self.feed:
            self.feed()
            most_ms = min(most_ms, _FEED_MS)
        for event in poller.ipoll(ms if ms < most_ms else most_ms):
            self._events = event[1]
        return 0

    def _dial(self, host, port):
        """Resolve the name, which the runtime cannot bound, and begin to connect."""
        try:
            address = socket.getaddrinfo(self._address or host, port, 0, socket.SOCK_STREAM)[0]
        except OSError:
            raise OSError(-_ENXIO)
        self._sock = s = socket.socket(address[0], address[1])
        s.setblocking(False)
        s.setsockopt(6, 1, 1)  # TCP_NODELAY, else a request waits for the ACK of what came before
        self._in = _poller(s, select.POLLIN)
        self._out = _poller(s, select.POLLOUT)
        try:
            s.connect(address[-1])
        except OSError as e:
            if e.errno != errno.EINPROGRESS:
                raise

    def _dialled(self, host):
        """Whether TCP is connected; then TLS is laid over it."""
        events = 0
        for event in self._out.ipoll(0):
            events = event[1]
        if events & _BROKEN:
            self._sock.readinto(self._one)  # raises what went wrong
            raise OSError(-_ECONNRESET)
        if events:
            self._io = self._sock
            if self._context:
                self._io = self._context.wrap_socket(
                    self._sock, server_hostname=host, do_handshake_on_connect=False
                )
        return events

    def _shake(self):
        """Go on with the handshake: reading drives it, and then there is a peer certificate."""
        if self._context:
            n = self._io.readinto(self._one)
            if n is not None:
                return _EPROTO if n else _ECONNRESET  # a server does not speak first
            certificate = getattr(self._io, "getpeercert", None)
            if certificate and certificate(True) is None:
                return 0  # a runtime that cannot tell goes on with the handshake in write()
        self._open = True
        return 1


def _close(stream):
    try:
        if stream is not None:
            stream.close()
    except _ERRORS:
        pass


def _poller(sock, events):
    poller = select.poll()
    poller.register(sock, events)
    for _ in poller.ipoll(0):  # the first call allocates what the later ones use
        pass
    return poller


def _number(e):
    """What an exception says, as -errno with Linux's number, whatever the runtime's is."""
    if isinstance(e, MemoryError):
        return _ENOMEM
    if isinstance(e, ValueError):  # mbedTLS tells in words why it refuses a certificate
        text = str(e)
        late = "future" in text or "has expired" in text
        other = "Common Name" in text or "signed" in text
        return _EKEYEXPIRED if late and not other else _EKEYREJECTED
    n = abs(e.errno or _EIO)  # under heap_lock() MicroPython raises it without its number
    if n == _CONN_EOF or n == errno.ENOTCONN or n == errno.ECONNABORTED:
        return _ECONNRESET
    if n == _FATAL_ALERT:
        return _EACCES
    if n == errno.ETIMEDOUT:
        return _ETIMEDOUT
    return _EHOSTUNREACH if n == errno.EHOSTUNREACH else -n
