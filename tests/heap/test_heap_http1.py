"""Parsing a response takes no heap; parts of it arrive as they like."""

from fixed_transport import locked
from onebuf.http1 import Response

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FOLDED = b"HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nContent-Length: 2\r\n\r\nok"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nok"

_EPROTO = -71


def _parse(response, buf, octets, step):
    response.start(0)
    at = r = 0
    while r == 0 and at < len(octets):
        n = min(step, len(octets) - at)
        for i in range(n):
            buf[response.end + i] = octets[at + i]
        at += n
        r = response.feed(n)
    if r == 0:
        r = response.feed_eof()
    assert r == 200


def test_responses_are_parsed_without_heap():
    for octets in (CHUNKED, INTERIM, FOLDED, ENDLESS):
        for step in (1, 2, 30, 64, 1000):
            buf = bytearray(256)
            response = Response(buf)
            locked(lambda: _parse(response, buf, octets, step))


def _refuse(response, buf, octets):
    response.start(0)
    for i in range(len(octets)):
        buf[i] = octets[i]
    assert response.feed(len(octets)) == _EPROTO


def test_what_is_no_response_is_refused_without_heap():
    for octets in (b"HTTP/2.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA b\r\n\r\n"):
        buf = bytearray(256)
        response = Response(buf)
        locked(lambda: _refuse(response, buf, octets))
