"""Publishing takes no heap once connect() has been called, whatever the cloud answers."""

from fixed_transport import FixedTransport, locked
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aliyun import Aliyun
from onebuf.cloud.watson import Watson
from onebuf.port.micropython import random16
from onebuf.queue import Queue
from onebuf.uplink import Uplink

RECORD = b'{"seq":1,"uptime_ms":123456}'
_ENOMEM = -12


def answer(status, content=b"", fields=b""):
    head = b"HTTP/1.1 %d\r\n%sContent-Length: %d\r\n\r\n" % (status, fields, len(content))
    return head + content


def connected(cloud, first):
    """An uplink whose connect() was answered with first."""
    client = Client(FixedTransport(first, 40), bytearray(512), cloud.host, cloud.port)
    u = Uplink(client, cloud, Queue(300), Backoff(1000, 300000), random16)
    assert u.connect() == 0
    return u


def _forward(u, times):
    for _ in range(times):
        u.queue.push(RECORD)
        u.forward()


def forward(u, content, times=20):
    u.client.transport.answer = content
    locked(lambda: _forward(u, times))
    return u.accepted, u.rejected, u.retries


# -- Alibaba Cloud --------------------------------------------------------------------------------

GIVEN = answer(200, b'{"code":0,"info":{"token":"6944e5bfb92e4d4ea3918d1eda3942f6"}}')


def aliyun():
    return connected(Aliyun("pk", "dn", "secret", "/pk/dn/user/update"), GIVEN)


def said(code):
    text = b'{"code":%d,"info":{"messageId":1207967842654323713},"message":"success"}'
    return answer(200, text % code, b"Server: Tengine\r\n")


def test_aliyun_takes_no_heap_whatever_the_code():
    for code, counts in (
        (0, (20, 0, 0)),
        (10000, (0, 0, 20)),
        (10001, (0, 20, 0)),
        (30001, (0, 0, 20)),
        (40000, (0, 0, 20)),
        (9223372036854775807, (0, 0, 20)),
    ):
        assert forward(aliyun(), said(code)) == counts, code


def test_aliyun_takes_no_heap_for_content_that_is_none_of_its_own():
    for content in (b"", b"<html>502</html>", b'{"code":', b'{"a":{"code":0}}', b"\xff" * 100):
        for status, counts in ((200, (0, 0, 20)), (404, (0, 0, 20)), (413, (0, 20, 0))):
            assert forward(aliyun(), answer(status, content)) == counts


def test_aliyun_keeps_the_record_where_a_login_would_take_heap_and_connect_logs_in():
    u = aliyun()
    assert forward(u, said(20001), 3) == (0, 0, 3)
    assert u.result == _ENOMEM and len(u.queue) == 3
    u.client.transport.answer = GIVEN
    assert u.connect() == 0
    assert forward(u, said(0), 1) == (4, 0, 3)


# -- Watson IoT -----------------------------------------------------------------------------------


def test_watson_takes_no_heap_whatever_the_status():
    for status, counts in (
        (200, (20, 0, 0)),
        (400, (0, 20, 0)),
        (401, (0, 0, 20)),
        (403, (0, 0, 20)),
        (413, (0, 20, 0)),
        (503, (0, 0, 20)),
    ):
        for fields in (b"", b"Connection: close\r\n"):
            whole = answer(status, b"", fields)
            u = connected(Watson("myorg1", "type", "device", "event", "token"), whole)
            assert forward(u, whole) == counts, status
