"""Transport for CircuitPython 10: sockets and TLS of the radio's socket pool, one deadline.

The contract is that of port.micropython, and so are the results: ints, negative ones -errno with
Linux's numbers. What differs:

    connect()      resolves the name and connects TCP in one call, which ends within the deadline
                   (give or take 100 ms) but feeds nothing meanwhile. TLS's handshake goes on in
                   steps, as everywhere; an empty record from us ends it.
    certificates   files and text in PEM. The firmware has the public CAs. One that is refused is
                   -EKEYREJECTED, whatever the reason; few boards compare dates.
    heap           0 octets for a publish as long as the one before, else at most 48; at most 112
                   for each second of waiting, and each time that ssl has but a part of a record.
                   tests/heap/test_heap_circuitpython.py measures it on MicroPython with 32-bit
                   words, because CircuitPython cannot lock its heap. To connect takes more.

It needs a pool whose sockets tell "nothing yet" from the end: those of wifi.radio and WIZNET5K,
not ESP32SPI's, for which there is port.adafruit_session.
"""

import errno
import select
from random import getrandbits
from time import sleep

from micropython import const
from supervisor import ticks_ms

_EIO = const(-5)
_ENXIO = const(-6)  # the host name has no address
_ENOMEM = const(-12)
_ECONNRESET = const(-104)
_ESHUTDOWN = const(-108)
_ETIMEDOUT = const(-110)

# The runtime's numbers, newlib's on most boards, and mbedTLS's, where the contract has others.
_NUMBERS = {
    errno.EAGAIN: 0,
    errno.ECONNABORTED: 104,
    errno.EHOSTUNREACH: 113,
    errno.EINPROGRESS: 110,  # what connect() says at the end of its time, the Pico W's
    errno.ENOTCONN: 104,
    errno.ETIMEDOUT: 110,
    0x2700: 129,  # MBEDTLS_ERR_X509_CERT_VERIFY_FAILED; ssl does not tell why
    0x7280: 104,  # MBEDTLS_ERR_SSL_CONN_EOF
    0x7780: 13,  # MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE: a client certificate is not accepted
    0x7F00: 12,  # MBEDTLS_ERR_SSL_ALLOC_FAILED
}
_ERRORS = (OSError, RuntimeError, MemoryError)  # RuntimeError: out of sockets

_MASK = const(0x1FFFFFFF)  # ticks wrap at 2**29
_LONGEST_MS = const(0x0FFFFFFF)  # three days
_FEED_MS = const(1000)  # so often feed() is called at least, and a silent socket looked after
_STEP_MS = const(100)  # of the handshake


def from_radio(radio, address: str = ""):
    """A Transport over the socket pool and the TLS context that adafruit_requests would use."""
    import adafruit_connection_manager as manager  # type: ignore[import-untyped]

    pool = manager.get_radio_socketpool(radio)
    return Transport(pool, manager.get_radio_ssl_context(radio), address)


def tls_context(ca=None, cert=None, key=None):
    """A TLS context that verifies the server's chain and name; build it once and keep it.

    ca: one certificate in PEM, str; None: the public CAs in the firmware. cert, key: names of PEM
    files, for the device's certificate, those that lead up from it, and its key. ValueError: no
    PEM; OSError: no such file. Connecting tells what else is wrong with them.
    """
    import ssl

    context = ssl.create_default_context()
    if ca is not None:
        if "-----BEGIN CERTIFICATE-----" not in ca:  # with "" CircuitPython would verify nothing
            raise ValueError("ca: a certificate in PEM")
        context.load_verify_locations(cadata=ca)
    if cert:
        context.load_cert_chain(cert, key)
    return context


def writable(path: str = "/"):
    """OSError, which says what to do, where the file system at path is read-only to code."""
    import storage

    if storage.getmount(path).readonly:
        raise OSError(
            30,  # EROFS
            "read-only to code: USB, or the editor, writes %s. Put this into boot.py: "
            'import storage; storage.remount("%s", readonly=False)' % (path, path),
        )


def random16() -> int:
    """Chance for backoff: 16 bits."""
    return getrandbits(16)


def ticks_add(ticks: int, ms: int) -> int:
    """The ticks of supervisor.ticks_ms() that much later."""
    return (ticks + ms) & _MASK


def ticks_diff(end: int, start: int) -> int:
    """How many ms end is after start, which are less than 2**28 ms, three days, apart."""
    return ((end - start + 0x10000000) & _MASK) - 0x10000000


class Transport:
    """One connection at a time, over a socket pool.

    ssl_context: as for adafruit_requests, or from tls_context(); None for TCP in the clear.
    address: connect there instead of to host; the certificate must still be host's. ValueError: a
    radio that does TLS itself.
    """

    def __init__(self, pool, ssl_context=None, address: str = ""):
        if ssl_context and not hasattr(ssl_context, "load_verify_locations"):
            raise ValueError("this radio does TLS itself: take onebuf.port.adafruit_session")
        self._pool = pool
        self._context = ssl_context
        self._address = address
        self._sock = self._io = self._in = self._out = self.feed = None
        self._open = self._bounded = self._ready = False
        self._deadline = self._bound = self._off = self._n = 0
        self._buf = self._part = None  # what was written last, and as a memoryview

    def start(self, timeout_ms: int):
        if self.feed:
            self.feed()
        ms = min(timeout_ms, self.within() if self._bounded else _LONGEST_MS)
        self._deadline = ticks_add(ticks_ms(), ms)

    def within(self, ms=None):
        if ms is None:
            ms = ticks_diff(self._bound, ticks_ms())
            return max(ms, 0) if self._bounded else _LONGEST_MS
        self._bounded = ms >= 0
        self._bound = ticks_add(ticks_ms(), min(ms, _LONGEST_MS))

    def connect(self, host: str, port: int) -> int:
        if self._left() <= 0:
            return _ETIMEDOUT
        try:
            if self._io is None:
                self._dial(host, port)
            if self._context:
                self._io.send(b"")  # goes on with the handshake; EAGAIN until that is over
        except _ERRORS as e:
            return _number(e)
        self._open = True
        return 1

    def write(self, buf, off: int, n: int) -> int:
        if self._left() <= 0:
            return _ETIMEDOUT
        if buf is not self._buf or off != self._off or n != self._n:
            self._part = memoryview(buf)[off : off + n]
            self._buf = buf
            self._off = off
            self._n = n
        try:
            return self._io.send(self._part)
        except _ERRORS as e:
            return _number(e)

    def readinto(self, buf) -> int:
        ready = self._ready
        self._ready = False
        if not ready:
            if self._left() <= 0:
                return _ETIMEDOUT
            if self.feed:  # a peer that does not stop is never waited for
                self.feed()
            ready = not self._in
            if self._in:  # an exception that says "nothing yet" would take heap
                for _ in self._in.ipoll(0):
                    ready = True
        try:
            return self._io.recv_into(buf) or _ESHUTDOWN if ready else 0
        except _ERRORS as e:
            r = _number(e)
            # So the ESP32 tells the end of file, to a socket that does not wait.
            over = r == _ECONNRESET and getattr(e, "errno", 0) == errno.ENOTCONN
            return _ESHUTDOWN if over else r

    def wait_readable(self) -> int:
        return self._wait(self._in, _FEED_MS)

    def wait_writable(self) -> int:
        r = self._wait(self._out, _FEED_MS if self._open else _STEP_MS)
        self._ready = False
        return r

    def sleep_ms(self, ms: int):
        while self.feed and ms > 0:
            self.feed()
            sleep(min(ms, _FEED_MS) / 1000)
            ms -= _FEED_MS
        sleep(max(ms, 0) / 1000)

    def close(self):
        _close(self._io)
        _close(self._sock)
        self._sock = self._io = self._in = self._out = None
        self._open = False

    def _left(self):
        return ticks_diff(self._deadline, ticks_ms())

    def _wait(self, poller, most_ms):
        self._ready = False
        ms = self._left()
        if ms <= 0:
            return _ETIMEDOUT
        if self._io is None:  # nothing to wait for before connect()
            return 0
        if self.feed:
            self.feed()
        if poller:
            for _ in poller.ipoll(min(ms, most_ms)):
                pass
        else:
            sleep(0.01)
        self._ready = True  # also when nothing came: the Pico W's poll does not tell a reset
        return 0

    def _dial(self, host, port):
        """Resolve the name, which the runtime cannot bound; connect TCP, and lay TLS over it."""
        pool = self._pool
        try:
            found = pool.getaddrinfo(self._address or host, port, 0, pool.SOCK_STREAM)[0]
        except OSError:
            raise OSError(-_ENXIO)
        self._sock = s = pool.socket(found[0], found[1])
        if hasattr(pool, "TCP_NODELAY"):  # else a request waits for the ACK before it
            s.setsockopt(pool.IPPROTO_TCP, pool.TCP_NODELAY, 1)
        s.settimeout(max(self._left(), 1) / 1000)
        s.connect((found[-1][0], port))
        s.settimeout(0)
        if self._context:
            s = self._context.wrap_socket(s, server_hostname=host)
        self._io = s
        self._in = _poller(s, select.POLLIN)
        self._out = _poller(s, select.POLLOUT)


def _close(sock):
    try:
        if sock is not None:
            sock.close()
    except _ERRORS:
        pass


def _poller(sock, events):
    """A poll object; None: this pool is written in Python, and its sockets cannot be polled."""
    poller = select.poll()
    try:
        poller.register(sock, events)
        for _ in poller.ipoll(0):  # the first call allocates what the later ones use
            pass
    except OSError:
        return None
    return poller


def _number(e):
    """What an exception says, as -errno with Linux's number; 0: it would block."""
    if isinstance(e, MemoryError):
        return _ENOMEM
    n = abs(getattr(e, "errno", None) or _EIO)
    return -_NUMBERS.get(n, n)
