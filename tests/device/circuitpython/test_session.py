"""port.adafruit_session: what it asks of a Session, and what it makes of the answer."""

import errno

from checks import raises
from onebuf.backoff import Backoff
from onebuf.cloud.aws import AWS
from onebuf.outcome import ACCEPTED
from onebuf.port.adafruit_session import Client
from onebuf.publish import NotNow, Publisher, Refused
from onebuf.queue import Queue
from onebuf.uplink import Uplink

_EIO = -5
_EMSGSIZE = -90
_ETIMEDOUT = -110
BODY = b'{"temperature":21.5}'


class Reply:
    def __init__(self, status_code=200, content=b'{"message":"OK"}', headers=None):
        self.status_code = status_code
        self.content = content
        self.headers = {"content-type": "application/json"} if headers is None else headers
        self.closed = False

    def close(self):
        self.closed = True


class Session:
    """Answers each request with the next reply, or raises it."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.calls = []

    def request(self, method, url, **options):
        self.calls.append((method, url, options))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def client(*replies, size=1024):
    session = Session(*replies)
    aws = AWS("endpoint.example", "fleet/dev/telemetry")
    return session, aws, Client(session, bytearray(size), aws.host, aws.port)


def test_a_publish_is_the_request_of_the_cloud_and_its_answer_is_judged_by_it():
    session, aws, c = client(Reply())
    publisher = Publisher(c, aws)
    publisher.publish(BODY, timeout_ms=5000)
    method, url, options = session.calls[0]
    assert method == "POST"
    assert url == "https://endpoint.example:8443/topics/fleet%2Fdev%2Ftelemetry?qos=1"
    assert options["data"] == BODY and options["timeout"] == 5
    assert options["allow_redirects"] is False
    names = [name.lower() for name in options["headers"]]
    assert "host" not in names and "content-length" not in names, "the Session writes these"
    assert publisher.result == 200 and publisher.accepted == 1
    r = c.response
    assert bytes(r.buf[r.off : r.off + r.n]) == b'{"message":"OK"}'
    assert r.field(b"content-type") > 0


def test_fields_of_the_head_are_handed_over_and_those_of_the_framing_are_made_anew():
    headers = {"content-length": "2", "connection": "close", "x-any": "text"}
    session, _, c = client(Reply(200, b"ok", headers))
    c.head.start(b"POST", b"endpoint.example", b"/")
    c.head.field(b"Authorization", b"token: of colons")
    c.head.end()
    assert c.request(BODY) == 200
    assert session.calls[0][2]["headers"] == {"Authorization": "token: of colons"}
    r = c.response
    assert r.field(b"x-any") > 0 and bytes(r.buf[r.off : r.off + r.n]) == b"ok"


def test_every_reply_is_closed_also_one_that_cannot_be_read():
    class Broken(Reply):
        headers = content = property(lambda self: 1 / 0, lambda self, value: None)

    for reply in (Reply(), Reply(403), Broken()):
        _, aws, c = client(reply)
        try:
            Publisher(c, aws).publish(BODY)
        except NotNow:
            pass
        assert reply.closed


def test_what_the_cloud_does_not_take_is_raised_or_kept():
    _, aws, c = client(Reply(400))
    assert raises(Refused, Publisher(c, aws).publish, BODY).status == 400
    _, aws, c = client(Reply(503, headers={"retry-after": "7"}))
    queue = Queue(200)
    queue.push(BODY)
    u = Uplink(c, aws, queue, Backoff(1000, 60_000), None)
    assert u.connect() == 0
    assert u.forward(1000) == 0
    assert len(queue) == 1 and u.wait_ms == 7000


def test_what_waits_goes_out_oldest_first():
    session, aws, c = client(Reply(), Reply(), Reply())
    queue = Queue(200)
    for body in (b"one", b"two", b"three"):
        queue.push(body)
    u = Uplink(c, aws, queue, Backoff(1000, 60_000), None)
    assert u.connect() == 0 and u.forward() == 3
    assert [options["data"] for _, _, options in session.calls] == [b"one", b"two", b"three"]
    c.close()


def test_errors_are_ints():
    class OutOfRetries(Exception):
        """As adafruit_requests', of no other kind."""

    for error, result in (
        (OutOfRetries("Repeated socket failures"), _EIO),
        (OSError(errno.ETIMEDOUT), _ETIMEDOUT),
        (OSError(104), -104),
        (OSError(-0x2700, "certificate"), -0x2700),
        (RuntimeError("no data from socket"), _EIO),
    ):
        _, aws, c = client(error)
        aws.refresh(c.head, 0)
        assert c.request(BODY, 1, 5) == result


def test_a_part_of_a_body_and_a_body_in_the_window_are_sent():
    session, aws, c = client(Reply(), Reply(), Reply())
    aws.refresh(c.head, 0)
    assert c.request(BODY, 2, 5) == 200
    c.window()[:3] = b"abc"
    assert c.request(None, 0, 3) == 200
    assert c.request() == 200
    assert [options["data"] for _, _, options in session.calls] == [BODY[2:7], b"abc", b""]
    assert c.poll() == 1 and c.transport is c


def test_an_answer_that_does_not_fit_has_its_status_all_the_same():
    for content in (bytes(1000), bytes(5000)):
        _, aws, c = client(Reply(200, content), size=512)
        publisher = Publisher(c, aws)
        assert publisher.exchange(BODY, 1000) == ACCEPTED
        assert publisher.result == _EMSGSIZE and c.response.status == 200


def test_content_goes_to_a_sink_where_there_is_one():
    parts = []
    _, aws, c = client(Reply(200, b"0123456789"))
    aws.refresh(c.head, 0)
    assert c.request(BODY, sink=lambda buf, off, n: parts.append(bytes(buf[off : off + n]))) == 200
    assert b"".join(parts) == b"0123456789"
