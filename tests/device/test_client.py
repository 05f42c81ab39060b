"""The client over the scripted transport: what goes out, what comes in, when it reconnects."""

from checks import ScriptedPeer, check_transport, lcg, raises
from onebuf.backoff import Backoff
from onebuf.client import Client
from script_transport import EOF, REQUEST, SILENCE, ScriptTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nall of it"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
)
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
HEAD = b"POST /t HTTP/1.1\r\nHost: h\r\nContent-Length:%8d\r\n\r\n"

_EPIPE = -32
_ENODATA = -61
_EPROTO = -71
_EMSGSIZE = -90
_ECONNRESET = -104
_ENOTCONN = -107
_ETIMEDOUT = -110
_ECONNREFUSED = -111
_ECANCELED = -125
_IDLE = 1


def client(*connections, size=256, method=b"POST"):
    c = Client(ScriptTransport(*connections), bytearray(size), "h", 8443)
    c.head.start(method, b"h", b"/t")
    c.head.end()
    return c


def content(c):
    m = c.response
    return bytes(c.buf[m.off : m.off + m.n])


def sent(c):
    return bytes(c.transport.sent)


def closed(c):
    """Close the client; nothing may be left open."""
    c.close()
    assert c.transport.closes == c.transport.dials


def test_the_scripted_transport_keeps_the_contract_of_transports():
    check_transport(ScriptedPeer)


def test_head_and_body_go_out_in_one_write_and_the_response_is_read_in_place():
    c = client([REQUEST, OK])
    assert c.request(b"reading") == 200
    assert sent(c) == HEAD % 7 + b"reading"
    assert c.transport.writes == [c.head.n + 7]
    assert content(c) == b"hello" and c.response.off > c.head.n
    assert c.transport.addresses == [("h", 8443)]
    closed(c)


def test_a_body_is_a_range_of_whatever_holds_it():
    for body in (b"xxreadingx", bytearray(b"xxreadingx"), memoryview(b"xxreadingx")):
        c = client([REQUEST, OK])
        assert c.request(body, 2, 7) == 200
        assert sent(c) == HEAD % 7 + b"reading" and len(c.transport.writes) == 1


def test_a_body_without_length_goes_to_its_end():
    c = client([REQUEST, OK])
    assert c.request(b"xxreading", 2) == 200
    assert sent(c) == HEAD % 7 + b"reading"


def test_a_body_laid_in_the_window_goes_out_with_the_head():
    c = client([REQUEST, OK])
    c.window()[:7] = b"reading"
    assert c.request(None, 0, 7) == 200
    assert sent(c) == HEAD % 7 + b"reading" and len(c.transport.writes) == 1


def test_no_body_is_a_length_of_0():
    for arguments in ((), (None,), (b"",), (b"", 0, 0), (b"abc", 3), (b"abc", 0, 0)):
        c = client([REQUEST, OK])
        assert c.request(*arguments) == 200
        assert sent(c) == HEAD % 0


def test_the_window_is_made_once_for_each_length_of_head():
    c = client()
    window = c.window()
    assert c.window() is window and len(window) == 256 - c.head.n
    c.head.start(b"POST", b"host.example", b"/t")
    c.head.end()
    assert len(c.window()) == 256 - c.head.n


def test_a_body_that_just_fits_goes_with_the_head_and_one_octet_more_from_where_it_lies():
    n = len(client().window())
    for length, writes in ((n - 1, 1), (n, 1), (n + 1, 2), (5000, 2)):
        body = bytes([i & 255 for i in range(length)])
        for off, whole in ((0, body), (3, b"xxx" + body + b"xxxx")):
            c = client([REQUEST, OK])
            assert c.request(whole, off, length) == 200
            assert sent(c).endswith(body) and len(sent(c)) == c.head.n + length
            assert len(c.transport.writes) == writes
            assert content(c) == b"hello"


def test_short_writes_are_gone_on_with():
    for n in (7, 400):
        body = bytes([i & 255 for i in range(n)])
        c = client([REQUEST, OK])
        c.transport.accepting = [1, 0, 2, 0, 0, 50, 3] + [0, 1] * 20
        assert c.request(body) == 200
        assert sent(c).endswith(body) and len(sent(c)) == c.head.n + n


def test_a_response_octet_by_octet_gives_what_the_whole_one_gives():
    for octets in (OK, EMPTY, CLOSE, CHUNKED):
        whole = client([REQUEST, octets])
        status = whole.request(b"x")
        events = [REQUEST]
        for i in range(len(octets)):
            events += [0, octets[i : i + 1]]
        c = client(events)
        assert c.request(b"x") == status
        assert content(c) == content(whole)


def test_a_response_in_two_pieces_gives_what_the_whole_one_gives_wherever_it_is_cut():
    for octets in (OK, CLOSE, CHUNKED):
        for wait in ([], [0]):
            for cut in range(1, len(octets)):
                c = client([REQUEST, octets[:cut]] + wait + [octets[cut:]])
                assert c.request(b"x") == 200
                assert content(c) in (b"hello", b"ok")


def test_a_response_is_taken_in_a_buffer_that_just_holds_it_and_not_in_one_octet_less():
    n = client().head.n
    for octets in (OK, CLOSE):
        for size in range(n + 1, n + len(octets) + 3):
            for cut in (1, 20, len(octets) - 1):
                c = client([REQUEST, octets[:cut], 0, octets[cut:]], size=size)
                result = c.request(b"x")
                if size < n + len(octets):
                    assert result == _EMSGSIZE
                else:
                    assert result == 200 and content(c) in (b"hello", b"ok")
                closed(c)


def test_a_response_that_ends_with_the_connection_is_whole():
    c = client([REQUEST, UNTIL_CLOSE[:20], 0, UNTIL_CLOSE[20:], EOF])
    assert c.request(b"x") == 200
    assert content(c) == b"all of it"
    assert c.poll() == _ENOTCONN
    closed(c)


def test_a_connection_closed_within_the_response_is_reported():
    for cut in range(1, len(OK)):
        c = client([REQUEST, OK[:cut], EOF], [REQUEST, OK])
        assert c.request(b"x") == _ENODATA
        assert c.connects == 1 and c.resends == 0
        closed(c)


class Collector:
    """A sink that keeps what it is given, up to a limit."""

    def __init__(self, limit=1 << 20):
        self.content = bytearray()
        self.limit = limit

    def take(self, buf, off, n):
        self.content.extend(bytes(memoryview(buf)[off : off + n]))
        return -1 if len(self.content) > self.limit else None


def test_a_download_many_times_the_buffer_streams_through_a_sink():
    block = bytes([i * 7 & 255 for i in range(1000)])
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 20000\r\n\r\n"
    for piece in (1000, 333, 77):
        events = [REQUEST, head]
        for _ in range(20):
            for a in range(0, 1000, piece):
                events += [block[a : a + piece]]
        c = client(events + [REQUEST, OK], method=b"GET")
        c.head.start(b"GET", b"h", b"/image")
        c.head.range(0, 19999)
        c.head.end()
        sink = Collector()
        assert c.request(sink=sink.take) == 206
        assert b"\r\nRange: bytes=0-19999\r\n" in sent(c)
        assert sink.content == block * 20 and c.response.n == 20000
        assert c.request() == 200 and c.connects == 1


def test_a_chunked_download_streams_through_a_sink_whatever_the_pieces():
    octets = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = b""
    for n in (1, 200, 17, 300, 64):
        data = bytes([n & 255]) * n
        octets += b"%x\r\n" % n + data + b"\r\n"
        whole += data
    octets += b"0\r\nTrailer: x\r\n\r\n"
    chance = lcg(7)
    for size in (130, 200, 256):
        for _ in range(10):
            events, a = [REQUEST], 0
            while a < len(octets):
                b = a + 1 + next(chance) % 90
                events += [octets[a:b], 0]
                a = b
            c = client(events, size=size)
            sink = Collector()
            assert c.request(b"x", sink=sink.take) == 200
            assert sink.content == whole


def test_a_sink_that_gives_up_ends_the_exchange():
    c = client([REQUEST, OK], [REQUEST, OK])
    assert c.request(b"x", sink=Collector(2).take) == _ECANCELED
    assert c.request(b"x") == 200 and c.connects == 2
    closed(c)


def test_the_connection_is_kept():
    c = client([REQUEST, OK, REQUEST, EMPTY, REQUEST, CHUNKED, REQUEST, OK])
    for status in (200, 204, 200, 200):
        assert c.request(b"x") == status
    assert (c.requests, c.connects, c.resends) == (4, 1, 0)
    assert c.transport.closes == 0
    assert sent(c) == (HEAD % 1 + b"x") * 4
    closed(c)


def test_connection_close_is_obeyed():
    c = client([REQUEST, CLOSE], [REQUEST, OK])
    assert c.request(b"x") == 200 and content(c) == b"ok"
    assert c.transport.closes == 1 and c.poll() == _ENOTCONN
    assert c.request(b"x") == 200
    assert (c.connects, c.resends) == (2, 0)
    closed(c)


def test_a_connection_that_was_closed_while_idle_is_seen_before_anything_is_sent():
    for event in (EOF, _ECONNRESET, -0x7280):
        c = client([REQUEST, OK, event], [REQUEST, OK])
        assert c.request(b"x") == 200
        assert c.request(b"y") == 200
        assert sent(c) == HEAD % 1 + b"x" + HEAD % 1 + b"y"
        assert c.connects == 2
        closed(c)


def test_a_connection_that_turns_out_to_be_closed_is_reopened_once_and_silently():
    for events in ([0, EOF], [0, 0, EOF], [0, _ECONNRESET], [0, 0, _EPIPE]):
        c = client([REQUEST, OK] + events, [REQUEST, OK])
        assert c.request(b"x") == 200
        assert c.request(b"again") == 200
        assert (c.connects, c.resends, c.requests) == (2, 1, 2)
        assert sent(c) == HEAD % 1 + b"x" + 2 * (HEAD % 5 + b"again")
        closed(c)


def test_a_write_that_fails_on_a_kept_connection_is_repeated_on_a_new_one():
    for error in (_EPIPE, _ECONNRESET):
        for done in ([], [10]):
            c = client([REQUEST, OK, 0, EOF], [REQUEST, OK])
            assert c.request(b"x") == 200
            c.transport.accepting = done + [error]
            assert c.request(b"again") == 200
            assert (c.connects, c.resends) == (2, 1)
            assert sent(c).endswith(HEAD % 5 + b"again")


def test_a_body_elsewhere_is_sent_again_from_its_beginning():
    body = bytes([i & 255 for i in range(600)])
    c = client([REQUEST, OK, 0, EOF], [REQUEST, OK])
    assert c.request(b"x") == 200
    c.transport.accepting = [1000, 300, _EPIPE]
    assert c.request(body) == 200
    assert sent(c).endswith(HEAD % 600 + body)
    assert len(c.transport.writes) == 5


def test_a_second_stale_connection_in_a_row_is_reported():
    c = client([REQUEST, OK, 0, EOF], [REQUEST, EOF], [REQUEST, OK])
    assert c.request(b"x") == 200
    assert c.request(b"x") == _ECONNRESET
    assert (c.connects, c.resends) == (2, 1)
    assert c.request(b"x") == 200
    closed(c)


def test_a_new_connection_that_is_closed_without_a_response_is_reported():
    for event in (EOF, _ECONNRESET):
        c = client([REQUEST, event], [REQUEST, OK])
        assert c.request(b"x") == _ECONNRESET
        assert (c.connects, c.resends) == (1, 0)
        closed(c)


def test_nothing_is_sent_again_once_an_octet_of_a_response_was_seen():
    for cut in (1, 17, len(OK) - 1):
        for event in (EOF, _ECONNRESET, _EPIPE):
            c = client([REQUEST, OK, REQUEST, OK[:cut], 0, event], [REQUEST, OK])
            assert c.request(b"x") == 200
            assert c.request(b"x") == (_ENODATA if event == EOF else event)
            assert (c.connects, c.resends) == (1, 0)
            closed(c)


def test_nothing_is_sent_again_once_an_interim_response_was_seen():
    c = client([REQUEST, OK, REQUEST, b"HTTP/1.1 100 Continue\r\n\r\n", 0, EOF], [REQUEST, OK])
    assert c.request(b"x") == 200
    assert c.request(b"x") == _ENODATA
    assert c.resends == 0


def test_nothing_is_sent_again_after_a_time_out():
    for first in ([REQUEST, OK], None):
        for late in ([], [OK[:9]]):
            c = client((first or []) + [REQUEST] + late, [REQUEST, OK])
            assert not first or c.request(b"x") == 200
            before = len(sent(c))
            assert c.request(b"POST me once", timeout_ms=50) == _ETIMEDOUT
            assert sent(c)[before:] == HEAD % 12 + b"POST me once"
            assert (c.connects, c.resends) == (1, 0)
            assert c.poll() == _ENOTCONN
            assert c.request(b"x") == 200
            closed(c)


def test_silence_while_writing_is_a_time_out():
    c = client([REQUEST, OK], [REQUEST, OK])
    c.transport.accepting = [5, 0, SILENCE]
    assert c.request(b"x") == _ETIMEDOUT
    c.transport.accepting = []
    assert c.request(b"x") == 200
    closed(c)


def test_silence_while_connecting_is_a_time_out():
    c = client([REQUEST, OK])
    c.transport.dialling = [0, 0, SILENCE]
    assert c.request(b"x") == _ETIMEDOUT
    assert c.connects == 0
    c.transport.dialling = [0, 0]
    assert c.request(b"x") == 200
    closed(c)


def test_each_exchange_has_the_time_that_it_was_given():
    c = client([REQUEST, OK, REQUEST, OK])
    c.request(b"x", timeout_ms=1234)
    c.request(b"x")
    c.connect(77)
    assert c.transport.timeouts == [1234, 30000, 77]


def test_unasked_octets_on_an_idle_connection_never_answer_the_next_request():
    other = b"HTTP/1.1 500 Other\r\nContent-Length: 0\r\n\r\n"
    for events in ([OK + other], [OK, other], [OK, other[:1]], [OK, b"\n"]):
        c = client([REQUEST] + events, [REQUEST, OK])
        assert c.request(b"x") == 200
        assert c.request(b"x") == 200
        assert (c.connects, c.resends) == (2, 0)
        assert len(c.transport.writes) == 2
        closed(c)


def test_an_unasked_octet_does_not_change_a_body_that_fills_the_window():
    c = client([REQUEST, OK, b"!"], [REQUEST, OK])
    assert c.request(b"x") == 200
    n = len(c.window())
    c.window()[:] = b"a" * n
    assert c.request(None, 0, n) == 200
    assert sent(c).endswith(b"\r\n\r\n" + b"a" * n)


def test_an_answer_before_the_request_is_sent_is_given_and_the_connection_closed():
    body = bytes(2000)
    for error in (_EPIPE, _ECONNRESET):
        for events in ([TOO_LARGE], [TOO_LARGE[:10], 0, TOO_LARGE[10:], error]):
            c = client([REQUEST] + events, [REQUEST, OK])
            c.transport.accepting = [1000, 500, 0, error]
            assert c.request(body) == 413
            assert c.transport.closes == 1 and c.resends == 0
            assert c.request(b"x") == 200
            assert (c.connects, c.requests) == (2, 2)
            closed(c)


def test_an_early_answer_on_a_kept_connection_is_not_asked_for_again():
    c = client([REQUEST, OK, REQUEST, TOO_LARGE], [REQUEST, OK])
    assert c.request(b"x") == 200
    c.transport.accepting = [1000, 500, _EPIPE]
    assert c.request(bytes(2000)) == 413
    assert (c.connects, c.resends) == (1, 0)


def test_start_abandons_an_exchange_that_is_under_way():
    for polls in range(4):
        c = client([REQUEST, 0, OK[:9], 0, OK[9:], REQUEST, OK], [REQUEST, OK])
        c.transport.dialling = [0]
        c.start(b"first")
        for _ in range(polls):
            assert c.poll() == 0
            assert c.wait() == 0
        assert c.request(b"second") == 200
        assert sent(c).endswith(HEAD % 6 + b"second")
        assert c.requests == 1
        closed(c)


def test_what_cannot_be_sent_is_a_value_error_before_anything_happens():
    c = client([REQUEST, OK])
    n = len(c.window())
    for arguments in (
        (None, 0, n + 1),
        (b"abc", 0, 4),
        (b"abc", 1, 3),
        (b"abc", 4),
        (b"abc", 4, 1),
        (b"abc", -1, 1),
        (bytes(300), 0, 301),
        (bytes(300), 1, 300),
        (b"", 0, 1),
    ):
        raises(ValueError, c.start, *arguments)
        assert c.transport.calls == 0 and not sent(c)
    raises(ValueError, c.start, None, 0, 10_000_000)
    assert c.request(b"x") == 200, "a mistake must not spoil the next request"


def test_a_request_without_content_length_has_no_body():
    c = client([REQUEST, OK], method=b"GET")
    raises(ValueError, c.request, b"x")
    assert c.transport.calls == 0
    assert c.request() == 200
    assert sent(c) == b"GET /t HTTP/1.1\r\nHost: h\r\n\r\n"


def test_a_request_without_content_length_has_no_body_after_one_with_a_body_of_that_length():
    c = client([REQUEST, OK, REQUEST, OK])
    assert c.request(b"x") == 200
    c.head.start(b"GET", b"h", b"/t")
    c.head.end()
    raises(ValueError, c.request, b"x")
    assert c.request() == 200
    assert sent(c).endswith(b"GET /t HTTP/1.1\r\nHost: h\r\n\r\n")


def test_a_head_that_leaves_no_room_for_a_response_is_a_value_error():
    n = client().head.n
    raises(ValueError, client(size=n).start)
    client(size=n + 1).start()


def test_a_head_that_is_not_finished_is_a_value_error():
    c = client([REQUEST, OK])
    c.head.start(b"POST", b"h", b"/t")
    raises(ValueError, c.start)
    c.head.end()
    assert c.request() == 200
    raises(ValueError, c.head.start, b"POST", b"h", b"no path")
    raises(ValueError, c.start)


def test_a_request_without_a_head_is_a_value_error():
    c = Client(ScriptTransport([]), bytearray(64), "h", 80)
    raises(ValueError, c.start)
    assert c.transport.calls == 0


def test_a_mistake_leaves_an_exchange_that_is_under_way_alone():
    c = client([REQUEST, OK])
    c.start(b"x")
    assert c.poll() == 0
    raises(ValueError, c.start, None, 0, 1000)
    assert c.wait() == 0 and c.poll() == 200


def test_connect_opens_the_connection_that_the_next_request_uses():
    c = client([REQUEST, OK])
    assert c.connect() == 0
    assert c.poll() == _IDLE and not sent(c)
    assert c.request(b"x") == 200
    assert (c.connects, c.resends, c.requests) == (1, 0, 1)
    closed(c)


def test_connect_without_backoff_is_one_attempt():
    c = client()
    assert c.connect() == _ECONNREFUSED
    assert c.transport.dials == 1 and c.transport.sleeps == []
    closed(c)


def test_connect_with_backoff_tries_until_it_succeeds():
    c = client([REQUEST, OK])
    c.transport.dialling = [_ECONNREFUSED, 0, _ECONNRESET, -0x7780]
    backoff = Backoff(1000, 3000, 5)
    assert c.connect(500, backoff, lambda: 65535) == 0
    assert c.transport.sleeps == [1000, 2000, 3000]
    assert c.transport.timeouts == [500] * 4
    assert c.request(b"x") == 200 and c.connects == 1
    closed(c)


def test_connect_gives_up_with_the_last_error_once_the_backoff_is_exhausted():
    for attempts in range(4):
        c = client()
        c.transport.dialling = [-5] * attempts + [_ECONNREFUSED]
        assert c.connect(500, Backoff(100, 100, attempts), lambda: 0) == _ECONNREFUSED
        assert c.transport.dials == attempts + 1
        assert c.transport.sleeps == [0] * attempts
        assert c.poll() == _ENOTCONN
        closed(c)


def test_connect_opens_another_connection_if_one_is_open():
    c = client([REQUEST, OK], [REQUEST, EMPTY])
    assert c.request(b"x") == 200
    assert c.connect() == 0
    assert c.request(b"x") == 204
    assert (c.connects, c.resends) == (2, 0)
    closed(c)


def test_connect_is_one_attempt_even_if_the_request_before_it_got_no_answer():
    c = client([REQUEST, OK, REQUEST])
    assert c.request(b"x") == 200
    assert c.request(b"x") == _ETIMEDOUT
    c.transport.dialling = [_ECONNRESET]
    assert c.connect() == _ECONNRESET
    assert (c.transport.dials, c.resends) == (2, 0)


def test_requests_are_counted():
    c = client([REQUEST, OK, REQUEST, CHUNKED, 0, EOF], [REQUEST, b"HT", EOF])
    c.request(b"x")
    c.request(b"yy")
    c.request(b"zzz")
    assert (c.requests, c.connects, c.resends) == (2, 2, 1)


def test_responses_without_content_end_at_once():
    length = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n"
    for method, status in ((b"HEAD", 200), (b"POST", 204), (b"POST", 304)):
        c = client([REQUEST, length % status, REQUEST, OK], method=method)
        assert c.request() == status
        assert c.response.n == 0
        c.head.start(b"POST", b"h", b"/t")
        c.head.end()
        assert c.request(b"x") == 200
        assert c.connects == 1


def test_what_is_not_http_ends_the_exchange_and_the_connection():
    for octets in (b"SSH-2.0-x\r\n", b"HTTP/1.1 2x0 OK\r\n", OK[:17] + b" a\r\n\r\n"):
        c = client([REQUEST, octets], [REQUEST, OK])
        assert c.request(b"x") == _EPROTO
        assert c.request(b"x") == 200 and c.connects == 2
        closed(c)


def test_fields_of_the_response_can_be_read_after_the_exchange():
    c = client([REQUEST, b"HTTP/1.1 429 No\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n"])
    assert c.request(b"x") == 429
    assert c.response.number(b"retry-after") == 17
    c.close()
    assert c.response.number(b"retry-after") == 17


def test_poll_on_an_idle_client_says_whether_it_is_connected():
    c = client([REQUEST, OK])
    assert c.poll() == _ENOTCONN
    assert c.request(b"x") == 200
    assert c.poll() == _IDLE
    c.close()
    c.close()
    assert c.poll() == _ENOTCONN


def test_start_poll_and_wait_by_hand_give_what_request_gives():
    for octets in (OK, CHUNKED, OK[:30]):
        events = [REQUEST]
        for i in range(0, len(octets), 10):
            events += [0, octets[i : i + 10]]
        one = client(list(events))
        one.transport.dialling = [0, 0]
        one.transport.accepting = [0, 10, 0]
        two = client(list(events))
        two.transport.dialling = [0, 0]
        two.transport.accepting = [0, 10, 0]
        two.start(b"reading")
        result = steps = 0
        while result == 0:
            result = two.poll()
            steps += 1
            if result == 0:
                result = two.wait()
        assert one.request(b"reading") == result
        assert steps > 4
        assert sent(one) == sent(two) and content(one) == content(two)
        assert one.transport.calls == two.transport.calls


def test_poll_never_waits():
    c = client([REQUEST, 0, OK])
    c.transport.dialling = [0]
    c.transport.accepting = [0]
    c.start(b"x")
    assert [c.poll() for _ in range(5)] == [0, 0, 0, 0, 200]


def test_the_smallest_buffers_work():
    n = client().head.n
    for room in range(1, 40):
        c = client([REQUEST, b"HTTP/1.0 200\r\n\r\n", EOF], size=n + room)
        assert c.request() == (200 if room > 16 else _EMSGSIZE)
    raises(ValueError, Client(ScriptTransport(), bytearray(0), "h", 80).start)
