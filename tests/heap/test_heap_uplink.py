"""Forwarding what is queued takes no heap, whatever the cloud says."""

from fixed_transport import FixedTransport, locked
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.micropython import random16
from onebuf.queue import Queue
from onebuf.uplink import Uplink

RECORD = b'{"seq":1,"uptime_ms":123456}'
_ETIMEDOUT = -110


def answer(status, fields=b""):
    return b"HTTP/1.1 %d Any\r\n%sContent-Length: 2\r\n\r\n{}" % (status, fields)


def uplink(octets, now=None):
    cloud = AWS("a3qjexampleffp-ats.iot.us-west-2.amazonaws.com", "device/message")
    client = Client(FixedTransport(octets, 40), bytearray(512), cloud.host, cloud.port)
    u = Uplink(client, cloud, Queue(300), Backoff(1000, 300000), random16, now)
    assert u.connect() == 0
    return u


def _forward(u, times):
    for _ in range(times):
        u.queue.push(RECORD)
        u.queue.push(RECORD)
        u.forward()


def test_two_hundred_publishes_take_no_heap():
    u = uplink(answer(200))
    locked(lambda: _forward(u, 100))
    assert u.accepted == 200 and len(u.queue) == 0


def test_rejected_records_take_no_heap():
    u = uplink(answer(400))
    locked(lambda: _forward(u, 20))
    assert u.rejected == 40


def test_retries_take_no_heap_with_a_full_queue_that_drops():
    for fields in (b"", b"Retry-After: 86400000000\r\n", b"Retry-After: soon\r\n"):
        u = uplink(answer(503, fields))
        locked(lambda: _forward(u, 30))
        assert u.accepted == 0 and u.retries == 30 and u.queue.dropped > 0


def test_no_answer_takes_no_heap():
    u = uplink(answer(200))
    u.client.transport.error = _ETIMEDOUT
    u.client.transport.errors = 1000
    locked(lambda: _forward(u, 30))
    assert u.result == _ETIMEDOUT and u.retries == 30


def test_a_record_too_long_for_the_buffer_takes_no_heap():
    u = uplink(answer(200))
    u.queue = Queue(1000)
    u.queue.push(bytes(500))
    locked(lambda: _forward(u, 5))
    assert u.rejected == 1 and u.accepted == 10
