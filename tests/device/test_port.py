"""port.micropython over real loopback sockets; TLS itself is played by a fake context.

The server is in the same program: what it does stands between the steps of the transport.
"""

import errno
import time

import onebuf.port.micropython as port
import tls
from checks import check_transport, connected, raises, read
from loopback import Peer, listener
from onebuf.client import Client
from onebuf.port.micropython import Transport, random16, tls_context

_EIO = -5
_ENXIO = -6
_ENOMEM = -12
_EACCES = -13
_EPIPE = -32
_EPROTO = -71
_ECONNRESET = -104
_ESHUTDOWN = -108
_ETIMEDOUT = -110
_ECONNREFUSED = -111
_EKEYEXPIRED = -127
_BAD = -129  # EKEYREJECTED
_SLACK_MS = 200


class FakeTLS:
    """A context whose handshake takes a few rounds, or ends in what fails says."""

    def __init__(self, rounds=2, fails=None, result=None):
        self.rounds = rounds
        self.fails = fails
        self.result = result  # of the first read
        self.names = []
        self.closes = 0

    def wrap_socket(self, sock, server_hostname=None, do_handshake_on_connect=True):
        assert not do_handshake_on_connect
        self.names.append(server_hostname)
        if isinstance(self.fails, MemoryError):
            raise self.fails
        return FakeTLSSocket(self, sock)


class FakeTLSSocket:
    def __init__(self, context, sock):
        self.context = context
        self.sock = sock
        self.rounds = context.rounds

    def readinto(self, buf):
        if self.context.fails:
            raise self.context.fails
        if self.rounds:
            self.rounds -= 1
            return self.context.result
        return self.sock.readinto(buf)

    def write(self, buf, off, n):
        if self.context.fails:
            raise self.context.fails
        return self.sock.write(buf, off, n)

    def getpeercert(self, binary_form):
        return None if self.rounds else b"certificate"

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
    return time.ticks_diff(time.ticks_ms(), ticks)


def window(n):
    return memoryview(bytearray(n))


def test_the_contract_is_kept_over_tcp():
    check_transport(Peer)


def test_the_contract_is_kept_over_tls():
    check_transport(lambda: Peer(FakeTLS()))


def test_a_client_gets_its_answer_over_real_sockets():
    peer = Peer()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"POST", b"localhost", b"/")
    c.head.end()
    assert c.connect(1000) == 0
    peer.accept()
    for _ in range(3):
        c.start(b"hello", 0, 5, 1000)
        assert c.poll() == 0
        assert peer.received(c.head.n + 5).endswith(b"hello")
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert c.wait() == 0
        assert c.poll() == 204
    assert c.connects == 1
    c.close()
    assert peer.received(1) == b""
    peer.close()


def test_a_connection_that_the_server_closed_while_idle_is_reopened():
    peer = opened()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"GET", b"localhost", b"/")
    c.head.end()
    peer.transport.close()
    assert c.connect(1000) == 0
    peer.accept()
    peer.end()
    time.sleep_ms(20)
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


def test_an_address_that_cannot_be_reached_is_an_error_at_once():
    t = Transport(None, "255.255.255.255")
    t.start(1000)
    before = time.ticks_ms()
    assert connected(t, 9) < 0
    assert since(before) < _SLACK_MS
    t.close()


def test_a_name_without_an_address_is_enxio():
    for host in ("", "no-such-host.invalid"):
        t = Transport(None)
        t.start(1000)
        assert t.connect(host, 80) == _ENXIO
        t.close()


def test_the_host_is_resolved_where_no_address_is_given():
    peer = Peer()
    peer.transport = Transport(None)
    peer.transport.start(1000)
    assert connected(peer.transport, peer.port, "127.0.0.1") == 1
    peer.close()


def test_silence_is_a_time_out_within_the_deadline():
    peer = opened()
    for timeout_ms in (0, 60, 150):
        peer.transport.start(timeout_ms)
        before = time.ticks_ms()
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
    before = time.ticks_ms()
    r = drops = 0
    while r >= 0 and drops < 100:
        peer.send(b".")
        drops += 1
        r = peer.transport.wait_readable()
        if r == 0:
            r = peer.transport.readinto(window(10))
        time.sleep_ms(10)
    assert r == _ETIMEDOUT and drops > 2
    assert 150 <= since(before) + 1 and since(before) < 150 + _SLACK_MS
    peer.close()


def test_nothing_begins_when_the_time_is_up():
    t = Transport(None, "127.0.0.1")
    t.start(0)
    assert t.connect("h", 80) == _ETIMEDOUT
    t.close()


class Late(Transport):
    """TCP that is found connected only at the second look."""

    looks = 0
    meanwhile = None

    def _dialled(self, host):
        self.looks += 1
        if self.meanwhile:
            self.meanwhile()
        return 0 if self.looks == 1 else super()._dialled(host)


def test_waiting_for_tcp_ends_as_soon_as_it_is_connected():
    server, number = listener()
    for context in (None, FakeTLS()):
        t = Late(context, "127.0.0.1")
        t.start(1000)
        assert t.connect("h", number) == 0
        before = time.ticks_ms()
        assert t.wait_writable() == 0
        assert since(before) < 50
        t.close()
    server.close()


def test_silence_while_connecting_is_a_time_out():
    context = FakeTLS(1000)
    peer = Peer(context)
    peer.transport.start(150)
    before = time.ticks_ms()
    assert connected(peer.transport, peer.port) == _ETIMEDOUT
    assert 150 <= since(before) + 1 and since(before) < 150 + _SLACK_MS
    peer.close()
    assert context.closes == 1


def test_a_server_that_accepts_nobody_is_a_time_out():
    server, number = listener(0)
    waiting = [Transport(None, "127.0.0.1") for _ in range(6)]
    for t in waiting:
        t.start(150)
        before = time.ticks_ms()
        r = connected(t, number)
    assert r == _ETIMEDOUT
    assert 150 <= since(before) + 1 and since(before) < 150 + _SLACK_MS
    for t in waiting:
        t.close()
    server.close()


def test_a_connection_that_breaks_while_it_is_made_is_a_reset():
    for data in (b"", b"octets"):
        peer = Peer()
        peer.transport = Late(None, "127.0.0.1")

        def meanwhile():
            if peer.transport.looks == 2:
                peer.accept()
                peer.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: reset
                peer.send(data)
                peer.end()
                time.sleep_ms(20)

        peer.transport.meanwhile = meanwhile
        peer.transport.start(1000)
        assert connected(peer.transport, peer.port) == _ECONNRESET
        peer.close()


def test_an_answer_is_read_although_a_reset_follows_it():
    peer = Peer()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"POST", b"localhost", b"/")
    c.head.end()
    assert c.connect(1000) == 0
    peer.accept()
    c.start(b"unread", 0, 6, 500)
    assert c.poll() == 0
    time.sleep_ms(20)
    peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    peer.end()
    time.sleep_ms(20)
    assert c.wait() == 0
    assert c.poll() == 413
    assert (c.connects, c.resends) == (1, 0)
    c.close()
    peer.close()


def test_a_reset_is_reported_by_reading_and_by_writing():
    for write in (False, True):
        peer = opened()
        t = peer.transport
        assert t.write(b"unread", 0, 6) == 6
        time.sleep_ms(20)
        peer.end()
        time.sleep_ms(20)
        if write:
            assert t.write(b"x", 0, 1) in (_ECONNRESET, _EPIPE)
        else:
            view = window(4)
            assert t.readinto(view) == _ECONNRESET
            assert t.readinto(view) == _ESHUTDOWN
            assert bytes(view) == bytes(4), "nothing came, so nothing is laid there"
        peer.close()


def test_the_end_of_file_comes_after_the_last_octet():
    peer = opened()
    peer.send(b"last")
    peer.end()
    assert read(peer.transport, 4) == (4, b"last")
    assert read(peer.transport, 4) == (_ESHUTDOWN, b"")
    peer.close()


def test_writing_to_a_peer_that_does_not_read_is_short_and_then_blocks():
    peer = opened()
    t = peer.transport
    block = bytes([i & 255 for i in range(65536)])
    done = short = 0
    r = 1
    while r > 0 and done < 50_000_000:
        r = t.write(block, done & 65535, 65536 - (done & 65535))
        done += r
        short += 0 < r < 65536
    assert r == 0 and done > 0
    t.start(80)
    before = time.ticks_ms()
    while r == 0:
        r = t.wait_writable()
    assert r == _ETIMEDOUT and 80 <= since(before) + 1 and since(before) < 80 + _SLACK_MS
    t.start(2000)
    taken = 0
    while taken < done:
        data = peer.received(min(65536 - (taken & 65535), done - taken))
        assert data == block[taken & 65535 : (taken & 65535) + len(data)]
        taken += len(data)
    assert t.wait_writable() == 0 and t.write(b"x", 0, 1) == 1
    peer.close()


def test_the_server_is_asked_for_the_host_and_reached_at_the_address():
    context = FakeTLS()
    peer = Peer(context)
    peer.transport.start(1000)
    assert connected(peer.transport, peer.port, "name.example") == 1
    assert context.names == ["name.example"]
    peer.close()


def handshake(context):
    """What connect() says."""
    peer = Peer(context)
    peer.transport.start(1000)
    r = connected(peer.transport, peer.port)
    peer.close()
    return r


class FakeTLSOfFewWords(FakeTLS):
    """Its sockets do not tell when the handshake is over."""

    def wrap_socket(self, sock, server_hostname=None, do_handshake_on_connect=True):
        return Socket(sock)


class Socket:
    def __init__(self, sock):
        self.readinto = sock.readinto
        self.write = sock.write
        self.close = sock.close


def test_a_runtime_that_does_not_tell_the_end_of_the_handshake_connects():
    assert handshake(FakeTLSOfFewWords()) == 1


def test_waiting_before_the_first_step_does_not_wait():
    peer = Peer()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"GET", b"localhost", b"/")
    c.head.end()
    c.start(timeout_ms=1000)
    assert c.wait() == 0
    assert c.poll() == 0
    c.close()
    peer.close()


def test_a_certificate_that_is_refused_tells_why():
    for text, result in (
        ("\nThe certificate Common Name (CN) does not match with the expected CN\n", _BAD),
        ("\nThe certificate is not correctly signed by the trusted CA\n", _BAD),
        ("\nThe certificate validity has expired\n", _EKEYEXPIRED),
        ("\nThe certificate validity starts in the future\n", _EKEYEXPIRED),
        (
            "\nThe certificate validity has expired\nThe certificate is not correctly signed\n",
            -129,
        ),
        ("\nThe certificate has been revoked (is on a CRL)\n", _BAD),
        ("", _BAD),
    ):
        assert handshake(FakeTLS(fails=ValueError(text))) == result


def test_errors_of_the_handshake_are_told_by_number():
    for error, result in (
        (OSError(-0x7780, "alert"), _EACCES),
        (OSError(-0x7280, "end of file"), _ECONNRESET),
        (OSError(104), _ECONNRESET),
        (OSError(-104), _ECONNRESET),
        (OSError(-0x7200, "record"), -0x7200),
        (OSError(), _EIO),
        (MemoryError(), _ENOMEM),
    ):
        assert handshake(FakeTLS(fails=error)) == result


def test_a_server_that_speaks_first_is_no_http_server():
    assert handshake(FakeTLS(1, result=1)) == _EPROTO


def test_a_server_that_closes_in_the_handshake_is_a_reset():
    assert handshake(FakeTLS(1, result=0)) == _ECONNRESET


def test_errors_after_the_handshake_are_told_by_number():
    for error, result in (
        (OSError(104), _ECONNRESET),
        (OSError(-104), _ECONNRESET),
        (OSError(32), _EPIPE),
        (OSError(errno.ENOTCONN), _ECONNRESET),
        (OSError(errno.ECONNABORTED), _ECONNRESET),
        (OSError(errno.ETIMEDOUT), -110),
        (OSError(errno.EHOSTUNREACH), -113),
        (OSError(-0x7180, "MAC"), -0x7180),
        (OSError(), _EIO),
        (MemoryError(), _ENOMEM),
    ):
        context = FakeTLS()
        peer = opened(context)
        context.fails = error
        assert peer.transport.write(b"x", 0, 1) == result
        assert peer.transport.readinto(window(1)) == result
        peer.close()


def test_close_closes_tls_and_is_silent_about_errors():
    context = FakeTLS()
    peer = opened(context)
    peer.transport.close()
    assert peer.received(1) == b""
    peer.transport.close()
    assert context.closes == 1
    peer.close()


def test_sleep_takes_its_time():
    before = time.ticks_ms()
    Transport(None).sleep_ms(30)
    assert 25 <= since(before) < 30 + _SLACK_MS


def test_a_bound_holds_for_every_deadline_set_within_it_and_not_afterwards():
    peer = opened()
    t = peer.transport
    assert t.within() > 1 << 20
    t.within(120)
    before = time.ticks_ms()
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
    t.within(5000)
    t.start(0)
    assert t.readinto(window(1)) == _ETIMEDOUT, "a bound puts no deadline off"
    peer.close()


def test_what_is_to_be_fed_is_fed_while_waiting_and_by_every_start():
    peer = opened()
    t = peer.transport
    fed = []
    t.feed = lambda: fed.append(time.ticks_ms())
    before = time.ticks_ms()
    t.start(2300)
    while t.wait_readable() == 0:
        pass
    t.sleep_ms(1200)
    fed.append(time.ticks_ms())
    assert since(before) >= 3400
    for i in range(1, len(fed)):
        assert time.ticks_diff(fed[i], fed[i - 1]) < 1000 + _SLACK_MS
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


def _printed(function, *arguments):
    lines = []
    port.print = lambda *words: lines.append(" ".join(words))
    try:
        return function(*arguments), lines
    finally:
        del port.print


def test_a_context_verifies_the_server_unless_told_otherwise():
    raises(ValueError, tls_context, b"")
    raises(ValueError, tls_context, None)
    raises(ValueError, tls_context, b"no certificate")


def test_a_context_that_accepts_any_server_says_so_loudly():
    for ca in (b"", None, b"ignored"):
        context, lines = _printed(lambda: tls_context(ca, insecure_accept_any_server=True))
        assert context.verify_mode == tls.CERT_NONE
        assert len(lines) == 1 and "WARNING" in lines[0]


def test_a_client_certificate_that_cannot_be_read_is_a_value_error():
    def wanted():
        tls_context(b"", b"no certificate", b"no key", True)

    raises(ValueError, _printed, wanted)


class _FakeModule:
    """tls as far as tls_context() needs it, to see what it asks for."""

    PROTOCOL_TLS_CLIENT = 0
    CERT_NONE = 0
    CERT_REQUIRED = 2

    class SSLContext:
        def __init__(self, protocol):
            self.protocol = protocol
            self.verify_mode = self.ca = self.chain = None

        def load_verify_locations(self, ca):
            self.ca = ca

        def load_cert_chain(self, cert, key):
            self.chain = cert, key


def test_a_context_gets_the_ca_the_certificate_and_the_key():
    port.tls = _FakeModule
    try:
        context, lines = _printed(tls_context, b"ca", b"cert", b"key")
        plain = tls_context(b"ca")
    finally:
        port.tls = tls
    assert (context.ca, context.chain) == (b"ca", (b"cert", b"key")) and lines == []
    assert context.protocol == 0 and context.verify_mode == 2
    assert plain.verify_mode == 2 and plain.chain is None


class _WithALPN(_FakeModule):
    """tls of a runtime that can offer protocols."""

    class SSLContext(_FakeModule.SSLContext):
        alpn = None

        def set_alpn_protocols(self, protocols):
            self.alpn = protocols


def test_alpn_is_offered_where_the_runtime_can():
    port.tls = _WithALPN
    try:
        assert tls_context(b"ca", alpn="x-amzn-http-ca").alpn == ["x-amzn-http-ca"]
        assert tls_context(b"ca").alpn is None
    finally:
        port.tls = tls


def test_alpn_on_a_runtime_without_it_is_an_error_that_names_the_port_that_does_without():
    port.tls = _FakeModule
    try:
        error = raises(ValueError, lambda: tls_context(b"ca", alpn="x-amzn-http-ca"))
    finally:
        port.tls = tls
    assert "no ALPN" in str(error) and "8443" in str(error)
