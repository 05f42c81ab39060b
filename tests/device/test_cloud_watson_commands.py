"""Watson IoT: asking for commands over the uplink's connection."""

from checks import raises
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.watson import Watson
from onebuf.cloud.watson_commands import Commands
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import REQUEST, ScriptTransport

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NONE = b"HTTP/1.1 204 No content\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"
REBOOT = (
    b"HTTP/1.1 200 OK\r\nX-deviceId: c1\r\nX-commandId: reboot\r\n"
    b"Content-Type: application/json\r\nContent-Length: 8\r\n\r\n"
    b'{"in":5}'
)
_ETIMEDOUT = -110


def uplink(*answers):
    events = []
    for answer in answers:
        events += [REQUEST, answer]
    cloud = Watson("myorg1", "t", "d", "e", "passw0rd")
    client = Client(ScriptTransport(events), bytearray(512), cloud.host, cloud.port)
    return Uplink(client, cloud, Queue(100), Backoff(1000, 4000), lambda: 65535)


def sent(u):
    return bytes(u.client.transport.sent)


def test_a_request_for_a_command_is_exactly_this():
    u = uplink(NONE)
    assert Commands(u, "t", "d").request() == 204
    assert sent(u) == (
        b"POST /api/v0002/device/types/t/devices/d/commands/+/request HTTP/1.1\r\n"
        b"Host: myorg1.messaging.internetofthings.ibmcloud.com\r\n"
        b"Authorization: Basic dXNlLXRva2VuLWF1dGg6cGFzc3cwcmQ=\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length:      18\r\n"
        b"\r\n"
        b'{"waitTimeSecs":0}'
    )


def test_a_command_has_its_name_in_a_field_and_its_content_in_the_buffer():
    u = uplink(REBOOT)
    assert Commands(u, "t", "d").request() == 200
    r = u.client.response
    assert bytes(r.buf[r.off : r.off + r.n]) == b'{"in":5}'
    for name, value in ((b"x-commandid", b"reboot"), (b"x-deviceid", b"c1")):
        a = r.field(name)
        assert bytes(r.buf[a : a + r.field_n]) == value


def test_one_command_may_be_asked_for_and_waited_for():
    u = uplink(REBOOT, NONE)
    assert Commands(u, "t", "d").request("reboot", 5) == 200
    assert sent(u).find(b"/commands/reboot/request HTTP/1.1\r\n") > 0
    assert sent(u).endswith(b'\r\n\r\n{"waitTimeSecs":5}')
    assert Commands(u, "t", "d").request("reboot", 3600, 3600001) == 204
    assert u.client.transport.timeouts[-1] == 3600001


def test_a_gateway_asks_for_any_device():
    u = uplink(NONE)
    assert Commands(u, "+", "+").request() == 204
    assert sent(u).startswith(b"POST /api/v0002/device/types/+/devices/+/commands/+/request HTTP")


def test_publishing_goes_on_over_the_same_connection():
    u = uplink(GOOD, REBOOT, GOOD)
    u.queue.push(b"one")
    assert u.forward() == 1
    assert Commands(u, "t", "d").request() == 200
    u.queue.push(b"two")
    assert u.forward() == 1
    events = sent(u).split(b"POST /api/v0002/device/types/t/devices/d/")
    assert [part.split(b" ")[0] for part in events[1:]] == [
        b"events/e",
        b"commands/+/request",
        b"events/e",
    ]
    assert events[1].endswith(b"\r\n\r\none") and events[3].endswith(b"\r\n\r\ntwo")
    assert u.client.connects == 1


def test_silence_is_an_errno():
    assert Commands(uplink(), "t", "d").request() == _ETIMEDOUT


def test_names_and_waits_that_the_platform_refuses_are_not_sent():
    u = uplink(NONE)
    for name in ("", "a/b", "++", "a+", "#", "x" * 37, "a\r\nb"):
        raises(ValueError, Commands, u, name, "d")
        raises(ValueError, Commands, u, "t", name)
        raises(ValueError, Commands(u, "t", "d").request, name)
    for wait_s, timeout_ms in ((-1, 30000), (3601, 9999999), (30, 30000), (0, 0)):
        raises(ValueError, Commands(u, "t", "d").request, "+", wait_s, timeout_ms)
    assert sent(u) == b""
