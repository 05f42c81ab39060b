"""publish() for those who write three lines: it returns, or raises one of two exceptions."""

from checks import raises
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.publish import NotNow, Publisher, PublishError, Refused
from script_transport import REQUEST, ScriptTransport

_E2BIG = 7
_ETIMEDOUT = 110
_ECONNREFUSED = 111


def answer(status):
    return b"HTTP/1.1 %d Any\r\nContent-Length: 0\r\n\r\n" % status


def publisher(*statuses):
    events = []
    for status in statuses:
        events += [REQUEST, answer(status)]
    cloud = AWS("h", "t")
    client = Client(
        ScriptTransport(events) if events else ScriptTransport(), bytearray(256), "h", 1
    )
    return Publisher(client, cloud)


def test_publish_returns_when_the_cloud_has_it():
    for payload in (b"reading", bytearray(b"reading"), memoryview(b"reading"), b"", bytes(1000)):
        p = publisher(200)
        p.publish(payload)
        assert bytes(p.client.transport.sent).endswith(b"\r\n\r\n" + bytes(payload))
        assert p.accepted == 1


def test_the_connection_is_kept_between_publishes():
    p = publisher(200, 200, 200)
    for _ in range(3):
        p.publish(b"x")
    assert p.accepted == 3 and p.client.connects == 1


def test_what_may_work_later_raises_not_now_with_the_status():
    for status in (401, 403, 429, 500, 503):
        error = raises(NotNow, publisher(status).publish, b"x")
        assert error.status == status and error.errno == 0
        assert str(status) in str(error)


def test_what_will_never_work_raises_refused_with_the_status():
    for status in (400, 404, 413):
        error = raises(Refused, publisher(status).publish, b"x")
        assert error.status == status and error.errno == 0


def test_no_answer_raises_not_now_with_the_number():
    error = raises(NotNow, publisher().publish, b"x")
    assert error.errno == _ECONNREFUSED and error.status == 0
    p = publisher()
    p.client.transport = ScriptTransport([REQUEST])
    assert raises(NotNow, p.publish, b"x", 50).errno == _ETIMEDOUT
    assert p.client.transport.timeouts == [50]


def test_a_payload_beyond_the_limit_of_the_cloud_raises_refused_unsent():
    p = publisher(200)
    error = raises(Refused, p.publish, bytes(AWS.max_payload + 1))
    assert error.errno == _E2BIG and error.status == 0
    assert p.client.transport.calls == 0 and p.accepted == 0


def test_both_are_publish_errors_and_those_are_os_errors():
    for kind in (NotNow, Refused):
        assert issubclass(kind, PublishError)
    assert issubclass(PublishError, OSError)


def test_a_publisher_goes_on_after_an_error():
    p = publisher(503, 200)
    raises(PublishError, p.publish, b"x")
    p.publish(b"x")
    assert p.accepted == 1


def test_text_is_refused_because_its_length_is_not_its_number_of_octets():
    for text in ("abc", "\u00e9\u00e9"):
        p = publisher(200)
        raises((TypeError, ValueError), p.publish, text)
        assert p.client.transport.calls == 0


def test_connect_that_fails_is_a_negative_number():
    assert publisher().connect() == -_ECONNREFUSED
