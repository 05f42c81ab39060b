"""Azure IoT Hub: the head of a publish, its token, its properties, how it judges (PROTOCOLS.md 3).

The tokens are those of vectors.json, which Azure's own SDK made.
"""

from checks import check_cloud, raises, status
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.azure import CLOUD, Azure
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, REAUTH, REJECTED, RETRY
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import REQUEST, ScriptTransport

HUB = "myhub.azure-devices.net"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
EXPIRY = 1735736400  # of the tokens below
_2020 = 1577836800


class Clock:
    """onebuf.clock's contract; correct() sets the time to right, once, if that is another."""

    def __init__(self, now, right=0):
        self.time = now
        self.right = right

    def seconds(self):
        return self.time - _2020

    def now(self):
        return self.time

    def correct(self, result, reply):
        wrong = self.right and self.right != self.time
        self.time = self.right or self.time
        return bool(wrong)


def head(cloud, now=0, size=1024):
    request = Request(bytearray(size))
    cloud.refresh(request, now)
    return bytes(request.buf[: request.n])


def token(found):
    a = found.find(b"\r\nAuthorization: ") + 17
    return found[a : found.find(b"\r\n", a)]


def plain(device_id="dev-01", properties=None, system=None):
    return Azure(HUB, device_id, None, properties, system or {})


def answer(status, content=b""):
    fields = b"Retry-After: 7\r\n" if status == 429 else b""
    head = b"HTTP/1.1 %d Any\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, fields, len(content)) + content


def uplink(cloud, clock, *answers):
    """Each answer is a status or octets."""
    events = []
    for each in answers:
        events += [REQUEST, answer(each) if isinstance(each, int) else each]
    client = Client(ScriptTransport(events), bytearray(1024), cloud.host, cloud.port)
    return Uplink(client, cloud, Queue(500), Backoff(1000, 4000), lambda: 65535, clock)


def tokens(u):
    """Return the expiry of each token that the server was sent."""
    return [
        int(part[: part.find(b"\r\n")])
        for part in bytes(u.client.transport.sent).split(b"&se=")[1:]
    ]


# -- The head -------------------------------------------------------------------------------------


def test_the_contract_of_a_cloud_is_kept():
    check_cloud(Azure(HUB, "dev-01"))
    check_cloud(Azure(HUB, "dev:01@x=y", KEY, {"k": "v"}, {}, 60, 8443))
    assert CLOUD is Azure


def test_the_head_with_a_certificate_is_exactly_this_and_has_no_authorization():
    assert head(Azure("MyExampleHub.azure-devices.net", "my-x509-device")) == (
        b"POST /devices/my-x509-device/messages/events?api-version=2020-03-13 HTTP/1.1\r\n"
        b"Host: MyExampleHub.azure-devices.net\r\n"
        b"iothub-contenttype: application/json\r\n"
        b"iothub-contentencoding: utf-8\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_the_head_with_a_key_is_exactly_this():
    cloud = Azure(HUB, "dev-01", KEY, {"alarm": "on"}, {}, 3600, 8443)
    assert head(cloud, EXPIRY - 3600) == (
        b"POST /devices/dev-01/messages/events?api-version=2020-03-13 HTTP/1.1\r\n"
        b"Host: myhub.azure-devices.net:8443\r\n"
        b"Authorization: SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev-01"
        b"&sig=ZZtxco4pmcodfL9W7uWe%2BTiSnlPrQHGCczEfp2e80zI%3D&se=1735736400\r\n"
        b"iothub-app-alarm: on\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_the_token_is_the_one_that_the_sdk_makes_whatever_the_id():
    for hub, device_id, key, expiry, expected in (
        (
            HUB,
            "dev:01@x=y",
            KEY,
            EXPIRY,
            b"SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdev%3A01%40x%3Dy"
            b"&sig=QclPfBsf4Nk7PsoLfGdYFoQqWuseEYvmBJYRUQabtNQ%3D&se=1735736400",
        ),
        (
            "MyExampleHub.azure-devices.net",
            "my-symkey-device",
            "18RQk/hOPJR9EbsJlk2j8WA6vWaj/yi+oaYg7zmxfQNdOyMSu+SJ8O7TSlZhDJCYmn4rzEiVKIzNiVAWjLxrGA==",
            1663119026,
            b"SharedAccessSignature sr=MyExampleHub.azure-devices.net%2Fdevices%2Fmy-symkey-device"
            b"&sig=f%2BwW8XOKeJOtiPc9Iwjc4OpExvPM7NlhM9qxN2a1aAM%3D&se=1663119026",
        ),
    ):
        for life_s in (60, 3600, 86400):
            cloud = Azure(hub, device_id, key, life_s=life_s)
            assert token(head(cloud, expiry - life_s)) == expected


def test_refresh_tells_how_long_the_head_is_good_for():
    for cloud, seconds in ((Azure(HUB, "d"), 0), (Azure(HUB, "d", KEY, life_s=77), 77)):
        assert cloud.refresh(Request(bytearray(1024)), EXPIRY) == seconds


def test_a_buffer_that_just_holds_the_head_is_enough():
    for key in (None, KEY):
        cloud = Azure(HUB, "dev-01", key)
        n = len(head(cloud, EXPIRY))
        assert len(head(cloud, EXPIRY, n)) == n
        raises(ValueError, cloud.refresh, Request(bytearray(n - 1)), EXPIRY)


# -- Device IDs and keys --------------------------------------------------------------------------


def test_device_ids_keep_their_case_and_are_percent_encoded_in_the_path():
    for device_id, path in (
        ("Dev-01", b"Dev-01"),
        ("dev-01", b"dev-01"),
        ("A-z.0_", b"A-z.0_"),
        ("a+b%c#d*e?f!", b"a%2Bb%25c%23d%2Ae%3Ff%21"),
        ("(g),:=@$'", b"%28g%29%2C%3A%3D%40%24%27"),
        ("x" * 128, b"x" * 128),
    ):
        assert head(plain(device_id)).startswith(b"POST /devices/" + path + b"/messages/events?")


def test_a_device_id_that_no_hub_can_have_is_refused():
    for device_id in ("", "x" * 129, "\u00e9", "a b", "a\r\n", "a\0", "a\x7f", "a/b", 'a"', "a&b"):
        raises(ValueError, plain, device_id)
    for c in ";<>[\\]^`{|}~":
        raises(ValueError, plain, "a" + c)


def test_a_token_that_would_be_dead_when_it_is_made_is_refused():
    for life_s in (0, -1):
        raises(ValueError, Azure, HUB, "d", KEY, None, {}, life_s)
    assert Azure(HUB, "d", KEY, life_s=1).refresh(Request(bytearray(1024)), EXPIRY) == 1


def test_what_is_no_key_is_refused_before_anything_is_sent_and_not_shown():
    for key in ("", "AAAA", "A", "AAECAwQFBgcICQoLDA0O", "QUFB" * 22, "*" * 40 + "a"):
        text = str(raises(ValueError, Azure, HUB, "d", key))
        assert not key or key not in text
    Azure(HUB, "d", "AAECAwQFBgcICQoLDA0ODw==")  # 16 octets
    Azure(HUB, "d", "QUFB" * 21 + "QQ==")  # 64


def test_a_hub_that_is_no_host_name_is_refused():
    for hub in ("", "https://" + HUB, HUB + ":443", HUB + "/", "h\r\nX: y", "h x", "h\0"):
        raises(ValueError, Azure, hub, "d")
    for port in (0, 65536):
        raises(ValueError, Azure, HUB, "d", None, None, {}, 3600, port)


# -- Properties -----------------------------------------------------------------------------------


def test_properties_are_fields_of_the_head():
    found = head(plain("d", {"Zone": "a1!#$%&'*+-.^_`|~"}, {"iothub-messageid": "m:1"}))
    assert b"\r\niothub-app-Zone: a1!#$%&'*+-.^_`|~\r\n" in found
    assert b"\r\niothub-messageid: m:1\r\n" in found
    assert b"contenttype" not in found
    found = head(plain("d", {"empty": ""}, {"dt-subject": "room/one"}))
    assert b"\r\niothub-app-empty: \r\n" in found and b"\r\ndt-subject: room/one\r\n" in found


def test_a_property_that_https_cannot_carry_is_refused():
    for name, value in (
        ("", "v"),
        ("a b", "v"),
        ("a:b", "v"),
        ("a/b", "v"),
        ("\u00e9", "v"),
        ("k", "a b"),
        ("k", "a/b"),
        ("k", "a:b"),
        ("k", "\u00e9"),
        ("k", "a\r\nX: y"),
    ):
        raises(ValueError, plain, "d", {name: value})
    for name, value in (("", "v"), ("iothub ack", "v"), ("a:", "v"), ("iothub-ack", "a\r\nX: y")):
        raises(ValueError, plain, "d", None, {name: value})


def test_the_payload_is_bounded_by_256_kib_less_what_the_properties_take():
    for properties, system, octets in (
        (None, None, 0),
        ({"name": "value"}, None, 9),
        (None, {"iothub-messageid": "12345"}, 5),
        ({"a": "", "b": "c"}, {"iothub-ack": "full"}, 7),
    ):
        assert plain("d", properties, system).max_payload == 262144 - octets
    assert Azure(HUB, "d").max_payload == 262144 - len("application/json" + "utf-8")


# -- What becomes of a record ---------------------------------------------------------------------


def test_every_status_of_the_hub_is_judged():
    for number, with_certificate, with_key in (
        (200, ACCEPTED, ACCEPTED),
        (204, ACCEPTED, ACCEPTED),
        (400, REJECTED, REJECTED),  # ArgumentInvalid, IotHubFormatError
        (401, RETRY, REAUTH),  # IotHubUnauthorizedAccess
        (403, RETRY, RETRY),  # IotHubQuotaExceeded, until the next day
        (404, RETRY, RETRY),  # DeviceNotFound: the record is kept for another hub
        (405, REJECTED, REJECTED),
        (412, REJECTED, REJECTED),
        (413, REJECTED, REJECTED),  # MessageTooLarge
        (415, REJECTED, REJECTED),
        (429, RETRY, RETRY),  # ThrottlingException
        (500, RETRY, RETRY),
        (503, RETRY, RETRY),
        (504, RETRY, RETRY),
    ):
        answer = status(number, b"iothub-errorcode: Any\r\n")
        for key, outcome in ((None, with_certificate), (KEY, with_key)):
            cloud = Azure(HUB, "d", key)
            assert cloud.outcome(answer) == outcome, number
            assert cloud.gone == (number == 404)


def test_a_device_that_the_hub_does_not_know_is_gone_and_its_records_stay():
    cloud = Azure(HUB, "d")
    u = uplink(cloud, None, 404, 204)
    u.queue.push(b"x")
    assert u.forward() == 0 and cloud.gone
    assert len(u.queue) == 1 and u.rejected == 0 and u.wait_ms == 1000
    assert u.forward() == 1 and not cloud.gone


def test_a_hub_that_is_not_there_any_more_is_gone_and_the_records_stay():
    for text in (
        b"<HTML><BODY><h2>Bad Request - Invalid Hostname</h2></BODY></HTML>",
        b'{"Message":"ErrorCode:ArgumentInvalid;Requested Host is not supported"}',
    ):
        cloud = Azure(HUB, "d")
        u = uplink(cloud, None, answer(400, text))
        u.queue.push(b"x")
        assert u.forward() == 0 and cloud.gone and len(u.queue) == 1 and u.rejected == 0


def test_a_hub_that_is_not_there_is_gone_also_where_its_page_is_longer_than_the_buffer():
    cloud = Azure(HUB, "d")
    page = b"<HTML><BODY><h2>Bad Request - Invalid Hostname</h2>" + b" " * 1000
    u = uplink(cloud, None, answer(400, page))
    u.queue.push(b"x")
    assert u.forward() == 0 and cloud.gone and len(u.queue) == 1 and u.rejected == 0


def test_a_request_that_is_refused_is_not_kept_because_the_record_names_a_host():
    cloud = Azure(HUB, "d")
    u = uplink(cloud, None, 400)
    u.queue.push(b'{"Host":"this lies in the buffer behind the answer"}' * 6)
    assert u.forward() == 0 and not cloud.gone and len(u.queue) == 0 and u.rejected == 1


def test_a_token_is_renewed_at_80_percent_of_its_life():
    clock = Clock(EXPIRY)
    u = uplink(Azure(HUB, "d", KEY, life_s=100), clock, *[204] * 5)
    for seconds in (0, 79, 80, 159, 160):
        clock.time = EXPIRY + seconds
        u.queue.push(b"x")
        assert u.forward() == 1
    assert tokens(u) == [EXPIRY + s for s in (100, 100, 180, 180, 260)]


def test_a_token_that_is_refused_is_renewed_once_and_the_record_sent_again():
    clock = Clock(EXPIRY)
    u = uplink(Azure(HUB, "d", KEY), clock, 204, 401, 204)
    u.queue.push(b"x")
    u.forward()
    clock.time += 10
    u.queue.push(b"y")
    assert u.forward() == 1 and len(u.queue) == 0
    assert tokens(u) == [EXPIRY + 3600, EXPIRY + 3600, EXPIRY + 3610]


def test_a_key_that_is_wrong_is_refused_twice_and_the_record_stays():
    u = uplink(Azure(HUB, "d", KEY), Clock(EXPIRY), 401, 401)
    u.queue.push(b"x")
    assert u.forward() == 0
    assert (u.result, len(u.queue), u.rejected, u.retries) == (401, 1, 0, 1)
    assert len(tokens(u)) == 2 and u.wait_ms == 1000


def test_a_certificate_that_is_refused_is_not_tried_twice_and_the_record_stays():
    u = uplink(Azure(HUB, "d"), None, 401)
    u.queue.push(b"x")
    assert u.forward() == 0 and u.result == 401 and len(u.queue) == 1


def test_a_clock_that_is_off_is_corrected_and_the_token_made_anew():
    u = uplink(Azure(HUB, "d", KEY), Clock(EXPIRY - 1200, right=EXPIRY), 401, 204)
    u.queue.push(b"x")
    assert u.forward() == 1
    assert tokens(u) == [EXPIRY + 2400, EXPIRY + 3600]


def test_throttling_is_obeyed_and_the_record_stays():
    u = uplink(Azure(HUB, "d"), None, 429, 204)
    u.queue.push(b"x")
    assert u.forward() == 0 and u.wait_ms == 7000 and len(u.queue) == 1
    assert u.forward() == 1
