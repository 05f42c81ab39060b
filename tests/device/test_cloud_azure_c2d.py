"""Azure IoT Hub: messages to the device, received and settled (PROTOCOLS.md 3.5)."""

from checks import raises
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.azure import Azure
from onebuf.cloud.azure_c2d import CloudToDevice
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import REQUEST, ScriptTransport
from test_cloud_azure import EXPIRY, HUB, KEY, Clock, tokens

LOCK = b"8e4d4cfc-4ec9-4e4f-9a10-3c8a1a7b8f1a"
MESSAGE = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Length: 5\r\n"
    b'ETag: "' + LOCK + b'"\r\n'
    b"iothub-messageid: m1\r\n"
    b"iothub-app-colour: red\r\n"
    b"\r\n"
    b"hello"
)
_EMSGSIZE = -90
_ETIMEDOUT = -110


def answer(status):
    return b"HTTP/1.1 %d Any\r\nContent-Length: 0\r\n\r\n" % status


def receiver(*answers, key=None, clock=None, size=1024):
    """Return (CloudToDevice, its uplink); each answer is a status or octets."""
    events = []
    for each in answers:
        events += [REQUEST, answer(each) if isinstance(each, int) else each]
    cloud = Azure(HUB, "dev:01", key, None, {})
    client = Client(ScriptTransport(events), bytearray(size), cloud.host, cloud.port)
    u = Uplink(client, cloud, Queue(500), Backoff(1000, 4000), lambda: 0, clock)
    return CloudToDevice(u), u


def requests(u):
    """Return the request lines that the server was sent, without version."""
    lines = bytes(u.client.transport.sent).split(b"\r\n")
    return [line[:-9].decode() for line in lines if line.endswith(b" HTTP/1.1")]


BASE = "/devices/dev%3A01/messages/deviceBound"
API = "?api-version=2020-03-13"
GET = "GET " + BASE + API


def test_the_request_is_exactly_this():
    c2d, u = receiver(204)
    assert c2d.receive() == 204
    assert bytes(u.client.transport.sent) == (
        b"GET /devices/dev%3A01/messages/deviceBound?api-version=2020-03-13 HTTP/1.1\r\n"
        b"Host: myhub.azure-devices.net\r\n"
        b"\r\n"
    )


def test_a_message_is_in_the_response_with_its_properties():
    c2d, u = receiver(MESSAGE)
    assert c2d.receive() == 200
    r = u.client.response
    assert bytes(r.buf[r.off : r.off + r.n]) == b"hello"
    for name, value in ((b"iothub-messageid", b"m1"), (b"iothub-app-colour", b"red")):
        a = r.field(name)
        assert bytes(r.buf[a : a + r.field_n]) == value


def test_each_way_to_settle_has_its_request_with_the_lock_unquoted():
    for way, request in (
        ("complete", "DELETE " + BASE + "/" + LOCK.decode() + API),
        ("reject", "DELETE " + BASE + "/" + LOCK.decode() + API + "&reject"),
        ("abandon", "POST " + BASE + "/" + LOCK.decode() + "/abandon" + API),
    ):
        c2d, u = receiver(MESSAGE, 204)
        assert c2d.receive() == 200
        assert getattr(c2d, way)() == 204
        assert requests(u) == [GET, request]
        posted = b"\r\nContent-Length:       0\r\n" in bytes(u.client.transport.sent)
        assert posted == (way == "abandon")
        raises(ValueError, getattr(c2d, way))  # it is settled


def test_without_a_message_there_is_nothing_to_settle():
    for answers in ((), (204,), (401,), (MESSAGE.replace(b"ETag", b"Etug"),)):
        c2d, u = receiver(*answers)
        if answers:
            c2d.receive()
        for settle in (c2d.complete, c2d.reject, c2d.abandon):
            raises(ValueError, settle)
        assert len(requests(u)) == len(answers)


def test_a_message_of_before_cannot_be_settled_once_another_look_found_none():
    c2d = receiver(MESSAGE, 204)[0]
    c2d.receive()
    c2d.receive()
    raises(ValueError, c2d.complete)


def test_a_lock_that_was_lost_is_told_and_forgotten():
    c2d = receiver(MESSAGE, 412)[0]
    c2d.receive()
    assert c2d.complete() == 412
    raises(ValueError, c2d.complete)


def test_a_message_is_still_to_be_settled_after_a_failure():
    c2d = receiver(MESSAGE, 503, 204)[0]
    c2d.receive()
    assert c2d.complete() == 503
    assert c2d.complete() == 204
    c2d = receiver()[0]
    assert c2d.receive() == _ETIMEDOUT


def test_a_message_too_long_for_the_buffer_can_be_rejected():
    long = MESSAGE.replace(b"Content-Length: 5", b"Content-Length: 2000")
    c2d, u = receiver(long)
    assert c2d.receive() == _EMSGSIZE
    u.client.transport._connections.append([REQUEST, answer(204)])
    assert c2d.reject() == 204
    assert requests(u)[1] == "DELETE " + BASE + "/" + LOCK.decode() + API + "&reject"


def test_a_head_too_long_for_the_buffer_leaves_nothing_to_settle():
    c2d = receiver(MESSAGE, size=200)[0]
    assert c2d.receive() == _EMSGSIZE
    raises(ValueError, c2d.complete)


def test_a_lock_with_an_endless_name_is_none():
    c2d = receiver(MESSAGE.replace(LOCK, b"x" * 126), 204)[0]
    assert c2d.receive() == 200 and c2d.complete() == 204
    c2d = receiver(MESSAGE.replace(LOCK, b"x" * 127))[0]
    assert c2d.receive() == 200
    raises(ValueError, c2d.complete)


def test_a_lock_with_characters_that_a_path_has_not_is_encoded():
    c2d, u = receiver(MESSAGE.replace(LOCK, b"a b/\xff"), 204)
    c2d.receive()
    assert c2d.complete() == 204
    assert requests(u)[1] == "DELETE " + BASE + "/a%20b%2F%FF" + API


def test_with_a_key_each_request_has_a_fresh_token():
    clock = Clock(EXPIRY)
    c2d, u = receiver(MESSAGE, 204, key=KEY, clock=clock)
    c2d.receive()
    clock.time += 5
    c2d.complete()
    assert tokens(u) == [EXPIRY + 3600, EXPIRY + 3605]


def test_a_clock_that_is_off_is_corrected_and_the_request_repeated_once():
    clock = Clock(EXPIRY, right=EXPIRY + 1200)
    c2d, u = receiver(401, MESSAGE, 401, key=KEY, clock=clock)
    assert c2d.receive() == 200
    assert tokens(u) == [EXPIRY + 3600, EXPIRY + 4800]
    assert c2d.complete() == 401, "the clock is right: no second try"


def test_an_answer_that_moves_the_clock_each_time_is_not_asked_for_ever():
    clock = Clock(EXPIRY, right=EXPIRY + 1200)
    clock.correct = lambda result, reply: True
    c2d, u = receiver(401, 401, key=KEY, clock=clock)
    assert c2d.receive() == 401 and len(requests(u)) == 2


def test_a_publish_afterwards_has_its_own_head_again():
    c2d, u = receiver(204, MESSAGE, 204, 204)
    u.queue.push(b"one")
    assert u.connect() == 0 and u.forward() == 1
    c2d.receive()
    c2d.complete()
    u.queue.push(b"two")
    assert u.forward() == 1 and u.client.connects == 1
    event = "POST /devices/dev%3A01/messages/events" + API
    assert [line for line in requests(u) if line.startswith("POST")] == [event, event]
    assert bytes(u.client.transport.sent).endswith(b"\r\nContent-Length:       3\r\n\r\ntwo")
