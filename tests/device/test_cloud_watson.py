"""Watson IoT: the head of an event for each kind of client, and how it judges (PROTOCOLS.md 4)."""

from binascii import a2b_base64

from checks import check_cloud, raises, status
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.watson import Watson, check_ids
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, REJECTED, RETRY
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import EOF, REQUEST, ScriptTransport

HOST = "myorg1.messaging.internetofthings.ibmcloud.com"


def device(token="passw0rd", **settings):
    return Watson("myorg1", "TestDevices", "TestPublishEvent", "TestMessage", token, **settings)


def head(cloud, size=512):
    request = Request(bytearray(size))
    assert cloud.refresh(request, 0) == 0
    return bytes(request.buf[: request.n])


def field(cloud, name):
    octets = head(cloud)
    a = octets.find(b"\r\n" + name + b": ")
    return None if a < 0 else octets[a + len(name) + 4 : octets.find(b"\r\n", a + 2)]


def test_the_contract_of_a_cloud_is_kept():
    check_cloud(device())
    check_cloud(Watson("quickstart", "t", "d", "e"))


def test_the_head_of_a_device_is_exactly_this():
    assert head(device()) == (
        b"POST /api/v0002/device/types/TestDevices/devices/TestPublishEvent/events/TestMessage"
        b" HTTP/1.1\r\n"
        b"Host: myorg1.messaging.internetofthings.ibmcloud.com\r\n"
        b"Authorization: Basic dXNlLXRva2VuLWF1dGg6cGFzc3cwcmQ=\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_a_gateway_speaks_for_itself_and_for_a_child():
    for user, login in (
        ("g/myorg1/gwtype/gw01", b"Basic Zy9teW9yZzEvZ3d0eXBlL2d3MDE6Z3d0b2tlbg=="),
        ("g-myorg1-gwtype-gw01", b"Basic Zy1teW9yZzEtZ3d0eXBlLWd3MDE6Z3d0b2tlbg=="),
    ):
        for type_id, device_id in (("gwtype", "gw01"), ("child", "c1")):
            cloud = Watson("myorg1", type_id, device_id, "status", "gwtoken", user)
            path = "POST /api/v0002/device/types/%s/devices/%s/events/status HTTP/1.1\r\n"
            assert head(cloud).startswith((path % (type_id, device_id)).encode())
            assert field(cloud, b"Authorization") == login


def test_an_application_speaks_with_its_api_key_on_a_path_of_its_own():
    cloud = Watson("myorg1", "t", "d", "e", "MP$08VKz!8rXwnR-Q*", "a-myorg1-a84ps90Ajs")
    path = b"POST /api/v0002/application/types/t/devices/d/events/e HTTP/1.1\r\n"
    assert head(cloud).startswith(path)
    login = b"Basic YS1teW9yZzEtYTg0cHM5MEFqczpNUCQwOFZLeiE4clh3blItUSo="
    assert field(cloud, b"Authorization") == login


def test_quickstart_wants_no_login():
    cloud = Watson("quickstart", "t", "d", "e")
    assert cloud.host == "quickstart.messaging.internetofthings.ibmcloud.com"
    assert field(cloud, b"Authorization") is None
    raises(ValueError, Watson, "quickstart", "t", "d", "e", "token")


def test_any_other_organisation_wants_a_token():
    raises(ValueError, Watson, "myorg1", "t", "d", "e")
    raises(ValueError, Watson, "myorg1", "t", "d", "e", "")


def test_a_token_may_hold_anything_and_a_user_no_colon():
    for token in ("a:b:c", "MP$08VKz!8rXwnR-Q*", "\u00e9\r\n", "x" * 100):
        text = a2b_base64(field(device(token), b"Authorization")[6:])
        assert text == b"use-token-auth:" + token.encode()
    error = raises(ValueError, Watson, "myorg1", "t", "d", "e", "mysecret", "use:token")
    assert "mysecret" not in str(error)


def test_each_format_has_its_media_type():
    for fmt, media_type in (
        ("json", b"application/json"),
        ("xml", b"application/xml"),
        ("text", b"text/plain"),
        ("bin", b"application/octet-stream"),
    ):
        assert field(device(fmt=fmt), b"Content-Type") == media_type
    for fmt in ("", "JSON", "csv", None):
        raises(ValueError, Watson, "myorg1", "t", "d", "e", "token", "use-token-auth", fmt)


def test_port_443_is_the_default_and_8883_is_named():
    assert device().port == 443
    cloud = device(port=8883)
    assert cloud.port == 8883 and cloud.tls
    assert field(cloud, b"Host") == HOST.encode() + b":8883"


def test_port_1883_goes_only_in_so_many_words_and_with_a_warning():
    where = ("use-token-auth", "json", None)
    raises(ValueError, Watson, "myorg1", "t", "d", "e", "token", *where, 1883)
    for port in (443, 8883):  # where the platform speaks TLS only
        raises(ValueError, Watson, "myorg1", "t", "d", "e", "token", *where, port, True)
    printed = []
    module = Watson.__init__.__globals__
    module["print"] = printed.append
    try:
        cloud = device(port=1883, insecure_plain_text=True)
        device(port=8883)
    finally:
        del module["print"]
    assert len(printed) == 1 and "WARNING" in printed[0] and "passw0rd" not in printed[0]
    assert cloud.port == 1883 and cloud.tls is False
    assert field(cloud, b"Host") == HOST.encode() + b":1883"


def test_another_host_is_taken_as_it_is():
    host = "myorg1.internetofthings.ibmcloud.com"
    assert device(host=host).host == host
    assert field(device(host=host), b"Host") == host.encode()
    for host in ("https://h", "h/x", "h:443", "h\r\n"):
        raises(
            ValueError, Watson, "myorg1", "t", "d", "e", "token", "use-token-auth", "json", host
        )


def test_identifiers_have_1_to_36_characters_of_a_few_kinds():
    for text in ("a", "A-z_0.9", "x" * 36, "-", "."):
        check_ids("myorg1", text)
        Watson("myorg1", text, text, text, "token")
    for text in ("", "x" * 37, "a b", "a/b", "a+b", "+", "#", "a~b", "\u00e9", "a\r\nb", "a%20"):
        raises(ValueError, check_ids, "myorg1", text)
        raises(ValueError, Watson, "myorg1", text, "d", "e", "token")
        raises(ValueError, Watson, "myorg1", "t", text, "e", "token")
        raises(ValueError, Watson, "myorg1", "t", "d", text, "token")
        raises(ValueError, Watson, text, "t", "d", "e", "token")


def test_an_organisation_has_six_characters_or_is_quickstart():
    for org in ("myorg1", "abc123"):
        Watson(org, "t", "d", "e", "token")
    for org in ("", "myorg", "myorg12", "a/b123", "my org", "quickstar", "QUICKSTART"):
        raises(ValueError, Watson, org, "t", "d", "e", "token")


def test_every_status_of_the_platform_is_judged():
    for number, outcome in (
        (200, ACCEPTED),
        (400, REJECTED),
        (401, RETRY),  # these two speak of the device, not of the record
        (403, RETRY),
        (404, REJECTED),
        (405, REJECTED),
        (413, REJECTED),
        (415, REJECTED),
        (429, RETRY),
        (500, RETRY),
        (503, RETRY),
    ):
        assert device().outcome(status(number)) == outcome


def test_the_payload_is_bounded_by_the_limit_of_the_platform():
    assert Watson.max_payload == 131072


def test_a_refusal_that_closes_keeps_the_record_and_the_next_call_connects_anew():
    refused = b"HTTP/1.1 403 Not allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    good = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
    cloud = device()
    transport = ScriptTransport([REQUEST, refused, EOF], [REQUEST, good])
    client = Client(transport, bytearray(512), cloud.host, cloud.port)
    u = Uplink(client, cloud, Queue(100), Backoff(1000, 4000), lambda: 65535)
    u.queue.push(b"a")
    assert u.forward() == 0
    assert (u.result, len(u.queue), u.wait_ms, transport.closes) == (403, 1, 1000, 1)
    assert u.forward() == 1
    assert (len(u.queue), client.connects, u.rejected) == (0, 2, 0)
