"""Device shadows: what is sent, and how the calls share a connection with the publishes."""

from checks import raises
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.cloud.aws_authorizer import AWSAuthorizer
from onebuf.cloud.aws_shadow import Shadow
from onebuf.cloud.aws_sigv4 import AWSSigV4
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import REQUEST, ScriptTransport

HOST = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"
NOW = 1736944496
DOCUMENT = b'{"state":{"reported":{"t":21}},"version":3,"timestamp":1}'
_EMSGSIZE = -90
_ECONNREFUSED = -111


def answer(status, body=b"{}"):
    return b"HTTP/1.1 %d Any\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


class Clock:
    """A clock that stands; correct() sets it right if it is not yet."""

    def __init__(self, now, right):
        self.time = now
        self.right = right
        self.asked = []

    def seconds(self):
        return self.time - 1577836800

    def now(self):
        return self.time

    def correct(self, result, reply):
        self.asked.append(result)
        wrong = self.time != self.right
        self.time = self.right
        return wrong


def uplink(cloud, *answers, clock=None, size=700):
    """An uplink whose peer gives these answers, one for each request."""
    events = []
    for octets in answers:
        events += [REQUEST, octets]
    transport = ScriptTransport(*([events] if events else []))
    client = Client(transport, bytearray(size), cloud.host, cloud.port)
    return Uplink(client, cloud, Queue(200), Backoff(1000, 1000), lambda: 1, clock)


def x509(*answers, **options):
    return uplink(AWS(HOST, "t"), *answers, **options)


def body(u):
    r = u.client.response
    return bytes(r.buf[r.off : r.off + r.n])


def sent(u):
    return bytes(u.client.transport.sent)


def test_get_asks_for_the_whole_document():
    u = x509(answer(200, DOCUMENT))
    assert Shadow(u, "sensor-1").get() == 200
    assert sent(u) == (
        b"GET /things/sensor-1/shadow HTTP/1.1\r\n"
        b"Host: a3qjexampleffp-ats.iot.us-west-2.amazonaws.com:8443\r\n"
        b"\r\n"
    )
    assert body(u) == DOCUMENT


def test_update_sends_the_document():
    u = x509(answer(200, DOCUMENT))
    document = b'{"state":{"reported":{"t":21}}}'
    assert Shadow(u, "sensor-1").update(document) == 200
    assert sent(u) == (
        b"POST /things/sensor-1/shadow HTTP/1.1\r\n"
        b"Host: a3qjexampleffp-ats.iot.us-west-2.amazonaws.com:8443\r\n"
        b"Content-Length:      31\r\n"
        b"\r\n" + document
    )


def test_delete_removes_it():
    u = x509(answer(200))
    assert Shadow(u, "sensor-1").delete() == 200
    assert sent(u).startswith(b"DELETE /things/sensor-1/shadow HTTP/1.1\r\n")
    assert b"Content-Length" not in sent(u)


def test_a_named_shadow_is_asked_for_by_its_name():
    u = x509(answer(200), answer(200))
    Shadow(u, "a:b_c-9", "config").get()
    Shadow(u, "a", "$x:y_z-9").get()
    assert b"GET /things/a%3Ab_c-9/shadow?name=config HTTP/1.1" in sent(u)
    assert b"GET /things/a/shadow?name=%24x%3Ay_z-9 HTTP/1.1" in sent(u)


def test_names_that_aws_refuses_are_refused_before_anything_is_sent():
    u = x509()
    for thing in ("", "a" * 129, "a/b", "a b", "a$b", "a.b", "\u00e9", "a?name=b", "a\r\nb"):
        raises(ValueError, Shadow, u, thing)
    for name in ("a" * 65, "a/b", "a b", "a.b", "\u00e9", "a&b", "a\r\nb"):
        raises(ValueError, Shadow, u, "thing", name)
    Shadow(u, "a" * 128, "b" * 64)
    assert u.client.transport.dials == 0


def test_the_refusals_of_the_service_are_the_result():
    for status in (400, 403, 404, 409, 413, 429, 500):
        u = x509(answer(status, b'{"code":0,"message":"no"}'))
        assert Shadow(u, "thing").update(b"{}") == status
        assert body(u) == b'{"code":0,"message":"no"}'


def test_no_connection_and_a_document_too_long_are_negative_results():
    assert Shadow(x509(), "thing").get() == _ECONNREFUSED
    assert Shadow(x509(answer(200, bytes(700))), "thing").get() == _EMSGSIZE


def test_publishes_go_on_over_the_same_connection_with_their_own_head():
    u = x509(answer(200), answer(200), answer(200), answer(200))
    shadow = Shadow(u, "thing")
    for n in range(2):
        u.queue.push(b"reading")
        assert u.connect() == 0 and u.forward() == 1
        assert shadow.update(b'{"state":{}}') == 200
    assert u.client.connects == 1
    assert sent(u).count(b"POST /topics/t?qos=1 HTTP/1.1") == 2
    assert sent(u).count(b"POST /things/thing/shadow HTTP/1.1") == 2


def test_a_record_that_connect_signed_is_signed_anew_after_a_call():
    clock = Clock(NOW, NOW)
    u = uplink(AWSSigV4(HOST, "t", "AK", "secret"), answer(200), answer(200), clock=clock)
    u.queue.push(b"reading")
    assert u.connect() == 0
    signed = bytes(u.client.buf[: u.client.head.n])
    assert Shadow(u, "thing").get() == 200
    assert u.forward() == 1
    head = sent(u)[sent(u).find(b"POST") :]
    assert head.replace(b"     7\r\n", b"     0\r\n").startswith(signed) and head != signed


def test_a_custom_authorizer_sends_its_fields_with_them_too():
    u = uplink(AWSAuthorizer(HOST, "t", "name", "X-Token", "token"), answer(403))
    assert Shadow(u, "thing").get() == 403
    assert b"\r\nX-Token: token\r\n" in sent(u)


def test_a_call_refused_for_the_clock_is_sent_once_more_with_the_right_time():
    clock = Clock(NOW - 1200, NOW)
    u = uplink(AWSSigV4(HOST, "t", "AK", "secret"), answer(403), answer(200), clock=clock)
    assert Shadow(u, "thing").get() == 200
    assert b"X-Amz-Date: 20250115T121456Z" in sent(u)
    assert b"X-Amz-Date: 20250115T123456Z" in sent(u)


def test_the_clock_is_asked_too_where_there_is_no_answer():
    clock = Clock(NOW, NOW)
    u = uplink(AWSSigV4(HOST, "t", "AK", "secret"), clock=clock)
    assert Shadow(u, "thing").get() == _ECONNREFUSED
    assert clock.asked == [_ECONNREFUSED]


class Restless(Clock):
    """A clock that is found wrong each time."""

    def correct(self, result, reply):
        self.right += 1200
        return super().correct(result, reply)


def test_a_call_is_sent_no_third_time():
    for clock in (Clock(NOW - 1200, NOW), Restless(NOW, NOW)):
        u = uplink(AWSSigV4(HOST, "t", "AK", "secret"), answer(403), answer(403), clock=clock)
        assert Shadow(u, "thing").get() == 403
        assert sent(u).count(b"GET ") == 2 and clock.asked == [403, 403]


def test_a_refusal_that_no_clock_explains_is_sent_no_second_time():
    for status in (400, 404, 409, 429, 500, 503):
        u = uplink(AWSSigV4(HOST, "t", "AK", "secret"), answer(status), clock=Clock(0, NOW))
        assert Shadow(u, "thing").update(b"{}") == status
        assert sent(u).count(b"POST ") == 1


def test_an_update_whose_answer_is_longer_than_the_buffer_tells_what_became_of_it():
    for status in (200, 409):
        u = x509(answer(status, bytes(700)))
        assert Shadow(u, "thing").update(b"{}") == _EMSGSIZE
        assert u.client.response.status == status


def test_a_document_longer_than_the_buffer_is_sent_from_where_it_lies():
    document = b'{"state":{"reported":"' + b"x" * 2000 + b'"}}'
    for cloud in (AWS(HOST, "t"), AWSSigV4(HOST, "t", "AK", "secret")):
        u = uplink(cloud, answer(200), clock=Clock(NOW, NOW))
        assert Shadow(u, "thing").update(document) == 200
        assert sent(u).endswith(b"\r\n\r\n" + document)


def test_a_call_that_went_well_leaves_the_clock_alone():
    clock = Clock(NOW - 1200, NOW)
    u = uplink(AWSSigV4(HOST, "t", "AK", "secret"), answer(200), clock=clock)
    assert Shadow(u, "thing").get() == 200
    assert clock.asked == [] and sent(u).count(b"GET ") == 1
