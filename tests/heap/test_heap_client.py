"""A request takes no heap, whatever comes back."""

from fixed_transport import FixedTransport, locked
from onebuf.backoff import Backoff
from onebuf.client import Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nT: x\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
GARBAGE = b"SSH-2.0-OpenSSH\r\n"
BODY = b'{"temperature":21.5}'
LARGE = bytes(700)

_ECONNRESET = -104
_ESHUTDOWN = -108
_ETIMEDOUT = -110
_EPROTO = -71
_ENOENT = -2


def client(transport):
    c = Client(transport, bytearray(512), "h", 8443)
    c.head.start(b"POST", b"h", b"/t")
    c.head.end()
    c.window()
    assert c.connect() == 0
    return c


def publish(c, times, body, off, n, expected):
    for _ in range(times):
        assert c.request(body, off, n) == expected


def test_two_hundred_requests_in_a_row_take_no_heap():
    view = memoryview(bytearray(BODY))
    for body in (BODY, bytearray(BODY), view):
        t = FixedTransport(OK)
        c = client(t)
        locked(lambda: publish(c, 200, body, 0, len(BODY), 200))
        locked(lambda: publish(c, 200, body, 3, 7, 200))
        assert c.requests == 400 and c.connects == 1 and t.waits > 400


def test_a_body_in_the_window_takes_no_heap():
    c = client(FixedTransport(OK))
    c.window()[: len(BODY)] = BODY
    locked(lambda: publish(c, 50, None, 0, len(BODY), 200))


def test_a_body_that_does_not_fit_into_the_buffer_takes_no_heap():
    c = client(FixedTransport(OK, 1000, 150))
    locked(lambda: publish(c, 50, LARGE, 0, len(LARGE), 200))


def test_answers_of_every_framing_in_pieces_of_any_length_take_no_heap():
    for answer in (OK, CHUNKED, INTERIM):
        for piece in (1, 2, 7, 50, 1000):
            c = client(FixedTransport(answer, piece))
            locked(lambda: publish(c, 20, BODY, 0, 5, 200))
            assert bytes(c.buf[c.response.off : c.response.off + c.response.n]) == b"hello"


def test_opening_the_connection_again_takes_no_heap_of_the_client():
    c = client(FixedTransport(CLOSE))
    locked(lambda: publish(c, 50, BODY, 0, 5, 200))
    assert c.connects == 50


def test_a_stale_connection_is_reopened_without_heap():
    for error in (_ECONNRESET, _ESHUTDOWN):
        t = FixedTransport(OK)
        c = client(t)
        publish(c, 1, BODY, 0, 5, 200)
        t.error = error
        t.errors = 1
        locked(lambda: publish(c, 1, BODY, 0, 5, 200))
        assert c.resends == 1 and c.connects == 2


def test_errors_are_ints_and_take_no_heap():
    for error in (_ECONNRESET, _ETIMEDOUT, -0x7780):
        t = FixedTransport(OK)
        c = client(t)
        t.error = error
        t.errors = 1000
        c.close()
        locked(lambda: publish(c, 20, BODY, 0, 5, error))
    c = client(FixedTransport(GARBAGE))
    locked(lambda: publish(c, 20, BODY, 0, 5, _EPROTO))


def _fields(c):
    assert c.response.field(b"content-length") > 0
    assert c.response.number(b"content-length") == 5
    assert c.response.field(b"retry-after") == _ENOENT


def test_reading_fields_takes_no_heap():
    c = client(FixedTransport(OK))
    publish(c, 1, BODY, 0, 5, 200)
    locked(lambda: _fields(c))


class Sink:
    def __init__(self):
        self.n = 0

    def take(self, buf, off, n):
        self.n += n


def _download(c, take):
    for _ in range(10):
        assert c.request(sink=take) == 200


def test_streaming_through_a_sink_takes_no_heap():
    for answer in (OK, CHUNKED, b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + bytes(3000)):
        for piece in (7, 200, 1000):
            c = client(FixedTransport(answer, piece))
            sink = Sink()
            take = sink.take
            locked(lambda: _download(c, take))
            assert sink.n == 10 * c.response.n


def _by_hand(c):
    for _ in range(20):
        c.start(BODY, 0, 5)
        r = 0
        while r == 0:
            r = c.poll()
            if r == 0:
                c.wait()
        assert r == 200


def test_polling_by_hand_takes_no_heap():
    c = client(FixedTransport(OK, 5))
    locked(lambda: _by_hand(c))


def _random():
    return 65535


def _connect(c, backoff):
    for _ in range(10):
        backoff.reset()
        assert c.connect(1000, backoff, _random) == 0


def test_connecting_with_backoff_takes_no_heap_of_the_client():
    c = client(FixedTransport(OK))
    backoff = Backoff(1000, 300000)
    locked(lambda: _connect(c, backoff))
