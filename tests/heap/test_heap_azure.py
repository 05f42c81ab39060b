"""Azure: after connect() a publish takes no heap, with a certificate and with a key."""

from fixed_transport import FixedTransport, locked
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.clock import Clock
from onebuf.cloud.azure import Azure
from onebuf.port.micropython import random16
from onebuf.queue import Queue
from onebuf.uplink import Uplink

HUB = "myhub.azure-devices.net"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
RECORD = b'{"temperature":21.5}'
NOW = 1736944496
_ENOMEM = -12


def answer(status, fields=b"", content=b""):
    head = b"HTTP/1.1 %d Any\r\n%sServer: Microsoft-HTTPAPI/2.0\r\nContent-Length: %d\r\n\r\n"
    return head % (status, fields, len(content)) + content


def error(status, fields=b""):
    content = b'{"Message":"ErrorCode:Any;Any","ExceptionMessage":"Tracking ID:1"}'
    return answer(status, b"iothub-errorcode: Any\r\n" + fields, content)


def uplink(octets, key):
    clock = Clock()
    clock.set(NOW)
    cloud = Azure(HUB, "dev:01", key, {"zone": "a"})
    client = Client(FixedTransport(octets, 40), bytearray(1024), cloud.host, cloud.port)
    u = Uplink(client, cloud, Queue(300), Backoff(1000, 300000), random16, clock)
    assert u.connect() == 0
    return u


def _forward(u, times):
    for _ in range(times):
        u.queue.push(RECORD)
        u.queue.push(RECORD)
        u.forward()


def test_two_hundred_publishes_take_no_heap():
    for key in (None, KEY):
        u = uplink(answer(204), key)
        locked(lambda: _forward(u, 100))
        assert u.accepted == 200 and len(u.queue) == 0


def test_whatever_the_hub_answers_takes_no_heap():
    for status, rejected in ((400, 40), (413, 40), (403, 0), (404, 0), (429, 0), (500, 0)):
        for key in (None, KEY):
            u = uplink(error(status, b"Retry-After: 7\r\n"), key)
            locked(lambda: _forward(u, 20))
            assert u.rejected == rejected and u.accepted == 0
            assert u.cloud.gone == (status == 404)


def test_a_hub_that_is_not_there_any_more_takes_no_heap():
    for key in (None, KEY):
        u = uplink(answer(400, b"", b"<h2>Bad Request - Invalid Hostname</h2>"), key)
        locked(lambda: _forward(u, 5))
        assert u.cloud.gone and u.rejected == u.accepted == 0 and len(u.queue) > 0


def test_a_token_that_is_refused_takes_no_heap_until_connect_makes_another():
    u = uplink(error(401), KEY)
    locked(lambda: _forward(u, 1))
    assert (u.result, u.retries, len(u.queue)) == (_ENOMEM, 1, 2)
    u.client.transport.answer = answer(204)
    locked(lambda: _forward(u, 1))
    assert u.result == _ENOMEM and len(u.queue) == 4
    assert u.connect() == 0
    locked(lambda: _forward(u, 1))
    assert u.accepted == 6 and len(u.queue) == 0


def test_a_clock_that_is_off_is_corrected_and_connect_makes_another_token():
    u = uplink(error(401, b"Date: Wed, 15 Jan 2025 12:54:56 GMT\r\n"), KEY)  # 20 minutes on
    locked(lambda: _forward(u, 1))
    assert len(u.queue) == 2 and abs(u.clock.now() - NOW - 1200) < 60
    u.client.transport.answer = answer(204)
    assert u.connect() == 0
    locked(lambda: _forward(u, 1))
    assert u.accepted == 4 and len(u.queue) == 0


def test_a_certificate_that_is_refused_takes_no_heap():
    u = uplink(error(401), None)
    locked(lambda: _forward(u, 20))
    assert u.result == 401 and u.accepted == u.rejected == 0
