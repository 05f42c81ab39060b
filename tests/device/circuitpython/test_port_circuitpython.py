"""port.circuitpython over a socket pool; TLS itself is played by a fake context.

The server is in the same program: what it does stands between the steps of the transport.
"""

import errno
import ssl
import time

import onebuf.port.circuitpython as port
import storage
import wifi
from checks import check_transport, connected, raises, read
from loopback import POOL, Peer, Transport, listener
from onebuf.client import Client
from onebuf.port.circuitpython import random16, ticks_add, ticks_diff, tls_context
from supervisor import ticks_ms

_EIO = -5
_ENXIO = -6
_ENOMEM = -12
_EACCES = -13
_EPIPE = -32
_ECONNRESET = -104
_ESHUTDOWN = -108
_ETIMEDOUT = -110
_ECONNREFUSED = -111
_EHOSTUNREACH = -113
_EKEYREJECTED = -129
_SLACK_MS = 250  # connect() looks every 100 ms


class FakeTLS:
    """A context whose handshake takes a few rounds, or ends in what fails says."""

    def __init__(self, rounds=2, fails=None):
        self.rounds = rounds
        self.fails = fails
        self.names = []
        self.closes = 0

    def load_verify_locations(self, cadata):
        raise NotImplementedError

    def wrap_socket(self, sock, server_hostname=None):
        self.names.append(server_hostname)
        return FakeTLSSocket(self, sock)


class FakeTLSSocket:
    """It cannot be polled: the transport has to look for itself."""

    def __init__(self, context, sock):
        self.context = context
        self.sock = sock
        self.rounds = context.rounds

    def send(self, data):
        if self.context.fails:
            raise self.context.fails
        if self.rounds:
            self.rounds -= 1
            raise OSError(errno.EAGAIN)
        return self.sock.send(data) if data else 0

    def recv_into(self, buf):
        if self.context.fails:
            raise self.context.fails
        return self.sock.recv_into(buf)

    def close(self):
        self.context.closes += 1
        self.sock.close()
        raise OSError(9)


def opened(context=None):
    """Return a peer whose transport is connected to it, with two seconds left."""
    peer = Peer(context)
    peer.transport.start(2000)
    assert connected(peer.transport, peer.port) == 1
    peer.accept()
    return peer


def since(ticks):
    return ticks_diff(ticks_ms(), ticks)


def window(n):
    return memoryview(bytearray(n))


def test_the_contract_is_kept_over_tcp():
    check_transport(Peer)


def test_the_contract_is_kept_over_tls_on_sockets_that_cannot_be_polled():
    check_transport(lambda: Peer(FakeTLS()))


def test_ticks_go_round_at_2_to_the_29():
    for start in (0, 5, 2**28, 2**29 - 1):
        for ms in (0, 1, 1000, 2**28 - 1, -1, -5000, -(2**28)):
            end = ticks_add(start, ms)
            assert 0 <= end < 2**29 and ticks_diff(end, start) == ms


def test_a_client_gets_its_answer_over_real_sockets():
    peer = Peer()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"POST", b"localhost", b"/")
    c.head.end()
    assert c.connect(1000) == 0
    peer.accept()
    for body in (b"hello", b"hello", b"you", b"hello"):
        c.start(body, timeout_ms=1000)
        assert c.poll() == 0
        assert peer.received(c.head.n + len(body)).endswith(body)
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert c.wait() == 0
        assert c.poll() == 204
    assert c.connects == 1
    c.close()
    assert peer.received(1) == b""
    peer.close()


def test_a_connection_that_the_server_closed_while_idle_is_reopened():
    peer = Peer()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"GET", b"localhost", b"/")
    c.head.end()
    assert c.connect(1000) == 0
    peer.accept()
    peer.end()
    time.sleep(0.02)
    c.start(None, 0, 0, 1000)
    assert c.poll() == 0
    peer.accept()
    peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert c.wait() == 0 and c.poll() == 204
    assert (c.connects, c.resends) == (2, 0)
    c.close()
    peer.close()


def test_a_port_where_nothing_listens_refuses():
    server, number = listener()
    server.close()
    t = Transport(None, "127.0.0.1")
    t.start(1000)
    assert connected(t, number) == _ECONNREFUSED
    t.close()


def test_a_name_without_an_address_is_enxio():
    t = Transport(None)
    t.start(1000)
    assert t.connect("no-such-host.invalid", 80) == _ENXIO
    t.close()


def test_the_host_is_resolved_where_no_address_is_given():
    peer = Peer()
    peer.transport = Transport(None)
    peer.transport.start(1000)
    assert connected(peer.transport, peer.port, "127.0.0.1") == 1
    peer.close()


def test_a_server_that_accepts_nobody_is_a_time_out():
    server, number = listener(0)
    waiting = [Transport(None, "127.0.0.1") for _ in range(6)]
    for t in waiting:
        t.start(150)
        before = ticks_ms()
        r = connected(t, number)
    assert r == _ETIMEDOUT
    assert 150 <= since(before) + 1 and since(before) < 150 + _SLACK_MS
    for t in waiting:
        t.close()
    server.close()


def test_silence_while_shaking_hands_is_a_time_out():
    context = FakeTLS(1000)
    peer = Peer(context)
    peer.transport.start(150)
    before = ticks_ms()
    assert connected(peer.transport, peer.port) == _ETIMEDOUT
    assert 150 <= since(before) + 1 and since(before) < 150 + _SLACK_MS
    peer.close()
    assert context.closes == 1


def test_nothing_begins_when_the_time_is_up():
    t = Transport(None, "127.0.0.1")
    t.start(0)
    assert t.connect("h", 80) == _ETIMEDOUT
    t.close()


def test_waiting_before_the_first_step_does_not_wait():
    t = Transport(None, "127.0.0.1")
    t.start(1000)
    before = ticks_ms()
    assert t.wait_writable() == 0 and since(before) < 50


def test_silence_is_a_time_out_within_the_deadline():
    peer = opened()
    for timeout_ms in (0, 60, 150):
        peer.transport.start(timeout_ms)
        before = ticks_ms()
        assert read(peer.transport, 1) == (_ETIMEDOUT, b"")
        assert timeout_ms <= since(before) + 1 and since(before) < timeout_ms + _SLACK_MS
    peer.close()


def test_a_time_out_of_weeks_is_one_of_days():
    peer = opened()
    for timeout_ms in (2**29 - 1, 2**29, 2**30 - 1):
        peer.transport.start(timeout_ms)
        assert peer.transport.readinto(window(4)) == 0
    peer.close()


def test_a_drip_does_not_put_off_the_deadline():
    peer = opened()
    peer.transport.start(150)
    before = ticks_ms()
    r = drops = 0
    while r >= 0 and drops < 100:
        peer.send(b".")
        drops += 1
        r = peer.transport.wait_readable()
        if r == 0:
            r = peer.transport.readinto(window(10))
        time.sleep(0.01)
    assert r == _ETIMEDOUT and drops > 2
    assert 150 <= since(before) + 1 and since(before) < 150 + _SLACK_MS
    peer.close()


def test_writing_to_a_peer_that_does_not_read_is_short_and_then_blocks():
    peer = opened()
    t = peer.transport
    block = bytes(65536)
    done = 0
    r = 1
    while r > 0 and done < 50_000_000:
        r = t.write(block, 1, 65535)
        done += r
    assert r == 0 and done > 0
    t.start(80)
    before = ticks_ms()
    while r == 0:
        r = t.wait_writable()
    assert r == _ETIMEDOUT and 80 <= since(before) + 1 and since(before) < 80 + _SLACK_MS
    peer.close()


def test_what_is_written_is_what_was_asked_whatever_was_written_before():
    peer = opened()
    t = peer.transport
    first, other = bytearray(b"0123456789"), b"abcdefghij"
    for buf, off, n in (
        (first, 0, 10),
        (first, 0, 10),
        (first, 2, 3),
        (first, 3, 3),
        (first, 3, 4),
        (other, 3, 4),
    ):
        assert t.write(buf, off, n) == n
        assert peer.received(n) == buf[off : off + n]
    first[3:7] = b"XXXX"
    assert t.write(first, 3, 4) == 4 and peer.received(4) == b"XXXX"
    peer.close()


def test_a_reset_is_reported_by_reading_and_by_writing():
    for write in (False, True):
        peer = opened()
        t = peer.transport
        assert t.write(b"unread", 0, 6) == 6
        time.sleep(0.02)
        peer.end()
        time.sleep(0.02)
        if write:
            assert t.write(b"x", 0, 1) in (_ECONNRESET, _EPIPE)
        else:  # to the ESP32 it is the end of the file, at the second look
            assert read(t, 4) == (_ESHUTDOWN, b"")
        peer.close()


def test_the_server_is_asked_for_the_host_and_reached_at_the_address():
    context = FakeTLS()
    peer = Peer(context)
    peer.transport.start(1000)
    assert connected(peer.transport, peer.port, "name.example") == 1
    assert context.names == ["name.example"]
    peer.close()


def handshake(error):
    """What connect() says."""
    peer = Peer(FakeTLS(fails=error))
    peer.transport.start(1000)
    r = connected(peer.transport, peer.port)
    peer.close()
    return r


def test_errors_of_the_handshake_are_told_by_number():
    for error, result in (
        (OSError(-0x2700, "X509 - Certificate verification failed"), _EKEYREJECTED),
        (OSError(-0x7780, "alert"), _EACCES),
        (OSError(-0x7280, "end of file"), _ECONNRESET),
        (OSError(-0x7200, "record"), -0x7200),
        (OSError(-0x7F00, "memory"), _ENOMEM),
        (OSError(errno.ENOTCONN), _ECONNRESET),
        (OSError(errno.EHOSTUNREACH), _EHOSTUNREACH),
        (OSError(errno.ECONNABORTED), _ECONNRESET),
        (OSError(errno.ETIMEDOUT), _ETIMEDOUT),
        (OSError(errno.EINPROGRESS), _ETIMEDOUT),
        (OSError(), _EIO),
        (RuntimeError("Out of sockets"), _EIO),
        (MemoryError(), _ENOMEM),
    ):
        assert handshake(error) == result


def test_errors_after_the_handshake_are_told_by_number():
    for error, result in (
        (OSError(104), _ECONNRESET),
        (OSError(32), _EPIPE),
        (OSError(-0x7180, "MAC"), -0x7180),
        (OSError(), _EIO),
        (RuntimeError(), _EIO),
        (MemoryError(), _ENOMEM),
    ):
        context = FakeTLS()
        peer = opened(context)
        context.fails = error
        assert peer.transport.write(b"x", 0, 1) == result
        assert peer.transport.readinto(window(1)) == result
        peer.close()


def test_a_mistake_in_a_certificate_of_ours_is_a_value_error():
    peer = Peer(FakeTLS(fails=ValueError("invalid key")))
    peer.transport.start(1000)
    raises(ValueError, connected, peer.transport, peer.port)
    peer.close()


def test_sleep_takes_its_time():
    before = ticks_ms()
    Transport(None).sleep_ms(30)
    assert 25 <= since(before) < 30 + _SLACK_MS


def test_a_bound_holds_for_every_deadline_set_within_it_and_not_afterwards():
    peer = opened()
    t = peer.transport
    assert t.within() > 1 << 20
    t.within(120)
    before = ticks_ms()
    t.start(10000)
    assert 100 <= t.within() <= 120
    while t.wait_readable() == 0:
        pass
    assert 115 <= since(before) < 120 + _SLACK_MS
    assert t.within() == 0
    t.start(10000)
    assert t.readinto(window(1)) == _ETIMEDOUT
    t.within(-1)
    t.start(10000)
    assert t.readinto(window(1)) == 0 and t.within() > 1 << 20
    peer.close()


def test_what_is_to_be_fed_is_fed_while_waiting_and_by_every_start():
    peer = opened()
    t = peer.transport
    fed = []
    t.feed = lambda: fed.append(ticks_ms())
    before = ticks_ms()
    t.start(1300)
    while t.wait_readable() == 0:
        pass
    t.sleep_ms(1200)
    fed.append(ticks_ms())
    assert since(before) >= 2400
    for i in range(1, len(fed)):
        assert ticks_diff(fed[i], fed[i - 1]) < 1000 + _SLACK_MS
    peer.close()


def test_what_is_to_be_fed_is_fed_also_by_a_peer_that_never_pauses():
    peer = opened()
    fed = []
    peer.transport.feed = lambda: fed.append(1)
    peer.send(b"x" * 20)
    assert peer.transport.wait_readable() == 0
    for _ in range(20):
        assert peer.transport.readinto(window(1)) == 1
    assert len(fed) >= 20
    peer.close()


def test_chance_is_16_bits():
    found = [random16() for _ in range(200)]
    assert 0 <= min(found) and max(found) < 65536 and len(set(found)) > 100


class PythonPool:
    """A pool written in Python, which knows no TCP_NODELAY and whose sockets cannot be polled."""

    SOCK_STREAM = 1

    def __init__(self):
        self.getaddrinfo = POOL.getaddrinfo

    def socket(self, family, kind):
        return PythonSocket(POOL.socket(family, kind))


class PythonSocket:
    def __init__(self, sock):
        for name in ("settimeout", "connect", "send", "recv_into", "close"):
            setattr(self, name, getattr(sock, name))


def test_the_contract_is_kept_over_a_pool_written_in_python():
    def make():
        peer = Peer()
        peer.transport = port.Transport(PythonPool(), None, "127.0.0.1")
        return peer

    check_transport(make)


def test_a_radio_that_does_tls_itself_is_refused_and_told_where_to_go():
    class FakeContext:
        def wrap_socket(self, sock, server_hostname=None):
            raise NotImplementedError

    error = raises(ValueError, port.Transport, POOL, FakeContext())
    assert "adafruit_session" in str(error)


def test_a_context_needs_a_certificate_in_pem_or_none_at_all():
    for ca in ("", "no certificate", "ca.pem"):
        error = raises(ValueError, tls_context, ca)
        assert "PEM" in str(error)
    assert isinstance(tls_context(), ssl.SSLContext().__class__)
    assert tls_context("-----BEGIN CERTIFICATE-----") is not None


def test_a_certificate_that_is_not_there_is_an_error_at_once():
    assert raises(OSError, tls_context, None, "cert.pem", "key.pem").errno == 2


def test_a_drive_that_usb_owns_is_an_error_that_says_what_to_do():
    port.writable()
    storage.remount("/", readonly=True)
    try:
        error = raises(OSError, port.writable)
    finally:
        storage.remount("/", readonly=False)
    assert error.errno == 30
    assert "boot.py" in str(error) and 'storage.remount("/", readonly=False)' in str(error)


def test_a_radio_gives_the_pool_and_the_context_of_adafruit_requests():
    class Manager:
        def get_radio_socketpool(self, radio):
            assert radio is wifi.radio
            return POOL

        def get_radio_ssl_context(self, radio):
            return ssl.create_default_context()

    import sys

    sys.modules["adafruit_connection_manager"] = Manager()
    try:
        t = port.from_radio(wifi.radio, "127.0.0.1")
    finally:
        del sys.modules["adafruit_connection_manager"]
    server, number = listener()
    t.start(1000)
    assert t.connect("name.example", number) == 0, "TCP is connected, TLS is not"
    t.close()
    server.close()
