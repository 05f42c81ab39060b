"""SigV4 on the device: what botocore signs, at any time; the head keeps its length."""

from checks import check_cloud, lcg, raises, status
from onebuf.cloud.aws_shadow import Shadow
from onebuf.cloud.aws_sigv4 import CLOUD, AWSSigV4, stamp
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, RETRY

HOST = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION = "IQoJb3JpZ2luX2VjEXAMPLETOKEN=="
NOW = 1736944496  # 2025-01-15T12:34:56Z
BODY = b'{"temperature":21.5}'


def cloud(topic="device/message", session="", qos=1):
    return AWSSigV4(HOST, topic, "AKIDEXAMPLE", SECRET, session, qos)


def publish(c, body=BODY, now=NOW):
    """Return the head of a signed publish."""
    head = Request(bytearray(1024))
    assert c.refresh(head, now) == 0
    c.sign(head, bytearray(body + b"what lies behind"), len(body), now)
    return bytes(head.buf[: head.n])


def signature(head):
    at = head.find(b"Signature=") + 10
    assert head[at + 64 : at + 66] == b"\r\n"
    return head[at : at + 64]


def test_the_contract_of_a_cloud_is_kept():
    assert CLOUD is AWSSigV4 and AWSSigV4.signs
    check_cloud(cloud())
    check_cloud(cloud(session=SESSION))


def test_the_head_is_exactly_this():
    assert publish(cloud()) == (
        b"POST /topics/device%2Fmessage?qos=1 HTTP/1.1\r\n"
        b"Host: a3qjexampleffp-ats.iot.us-west-2.amazonaws.com\r\n"
        b"X-Amz-Date: 20250115T123456Z\r\n"
        b"Authorization: AWS4-HMAC-SHA256 "
        b"Credential=AKIDEXAMPLE/20250115/us-west-2/iotdata/aws4_request, "
        b"SignedHeaders=host;x-amz-date, "
        b"Signature=c30d0ebe9ed88ddc76b318fedf3c6ed2eb9245216049e2ab376f43317b418ea0\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_a_session_token_is_sent_and_signed():
    head = publish(cloud(session=SESSION))
    assert b"\r\nX-Amz-Security-Token: IQoJb3JpZ2luX2VjEXAMPLETOKEN==\r\n" in head
    assert b"SignedHeaders=host;x-amz-date;x-amz-security-token, " in head
    assert signature(head) == b"ee1922758e5fa6a9273f74e7609bd8cb4e4d7ee01af8dfd42ca149e671395759"


def test_a_topic_is_signed_escaped_once_more_than_it_is_sent():
    head = publish(cloud("$aws/rules/my_rule/room 1/temp\u00e9"))
    assert head.startswith(b"POST /topics/%24aws%2Frules%2Fmy_rule%2Froom%201%2Ftemp%C3%A9?qos=1 ")
    assert signature(head) == b"60aa39b6b81bb5987d4db8a33c8b076e3b96fd0205e4a482f5bc6ccfc0cec001"


class Client:
    """As far as Shadow needs one: it keeps the head and the body instead of sending them."""

    def __init__(self):
        self.buf = bytearray(1024)
        self.head = Request(self.buf)

    def request(self, body, off, n, timeout_ms):
        self.head.length(n)
        self.sent = bytes(self.buf[: self.head.n])
        return 200


class Uplink:
    class clock:
        now = staticmethod(lambda: NOW)

    def __init__(self):
        self.client = Client()
        self.cloud = cloud()


def test_every_request_for_a_shadow_is_signed():
    u = Uplink()
    classic = Shadow(u, "thing-1")
    for call, line, expected in (
        (
            classic.get,
            b"GET /things/thing-1/shadow HTTP/1.1",
            b"eebdaa75f342a2816cd59178023c21067f167450f90aef75fe8468a8ff532c6c",
        ),
        (
            Shadow(u, "thing-1", "config").get,
            b"GET /things/thing-1/shadow?name=config HTTP/1.1",
            b"bb299c4e487674a27d7a59c7c2492b5f17707efa71b0c58a887bce80be649add",
        ),
        (
            lambda: classic.update(b'{"state":{"reported":{"t":1}}}'),
            b"POST /things/thing-1/shadow HTTP/1.1",
            b"317cecfec48364f8f3f1c2bb5d30a64a3e8e0071e837e07a9517902d3d51c77d",
        ),
        (
            classic.delete,
            b"DELETE /things/thing-1/shadow HTTP/1.1",
            b"8acf18f4c2b679d11031248aa58694d10498839e12eb4d15e6d6f629295d86f4",
        ),
    ):
        assert call() == 200
        assert u.client.sent.startswith(line + b"\r\n")
        assert signature(u.client.sent) == expected


def test_signing_changes_octets_of_the_head_but_not_its_length():
    c = cloud(session=SESSION)
    head = Request(bytearray(1024))
    c.refresh(head, NOW)
    before = bytes(head.buf[: head.n])
    for n, now in ((0, NOW), (1, 0), (20, 4102444799), (20, NOW + 86400)):
        c.sign(head, BODY, n, now)
        after = bytes(head.buf[: head.n])
        assert len(after) == len(before) and not any(head.buf[head.n :])
        assert signature(after) != signature(before)
        for part in (b"HTTP/1.1\r\nHost: ", b"\r\nContent-Length:       0\r\n\r\n"):
            assert after.find(part) == before.find(part) > 0


def test_signing_again_replaces_the_signature_also_on_another_day():
    c = cloud()
    first = publish(c)
    for now in (NOW + 1, NOW + 86400, NOW - 86400 * 365):
        later = publish(c, now=now)
        assert later == publish(cloud(), now=now) != first
    assert publish(c) == first
    assert signature(publish(c, b"other")) != signature(first)


def test_the_credentials_may_look_like_parts_of_the_head():
    odd = AWSSigV4(
        HOST, "Signature=", "Signature=Credential=", SECRET, "Signature=Authorization: "
    )
    head = publish(odd)
    assert b" Credential=Signature=Credential=/20250115/us-west-2/iotdata/aws4_request, " in head
    at = head.rfind(b"Signature=") + 10
    assert head[at - 12 : at - 10] == b", " and head[at : at + 64] != b"0" * 64
    assert head[at + 64 :] == b"\r\nContent-Length:       0\r\n\r\n"


def test_the_region_is_the_endpoints_unless_it_is_given():
    for endpoint, given, region in (
        (HOST, "", b"us-west-2"),
        (HOST, "eu-west-1", b"eu-west-1"),
        ("a1.ats.iot.cn-north-1.amazonaws.com.cn", "", b"cn-north-1"),
        ("iot.example.com", "eu-central-1", b"eu-central-1"),
    ):
        head = publish(AWSSigV4(endpoint, "t", "AK", SECRET, region=given))
        assert b"Credential=AK/20250115/%s/iotdata/aws4_request, " % region in head


def test_an_endpoint_without_a_region_or_no_access_key_is_refused_without_telling_the_secret():
    for endpoint, key in (("iot.example.com", "AK"), ("x.iot.", "AK"), ("h", "AK"), (HOST, "")):
        error = raises(ValueError, AWSSigV4, endpoint, "t", key, SECRET)
        assert SECRET not in str(error)


def test_what_aws_refuses_is_refused_here_too():
    raises(ValueError, cloud, "a/#")
    raises(ValueError, cloud, "t", "", 2)


def test_credentials_that_would_split_the_head_are_refused_before_anything_is_sent():
    head = Request(bytearray(1024))
    for c in (
        AWSSigV4(HOST, "t", "AK\r\nX: y", SECRET),
        AWSSigV4(HOST, "t", "AK", SECRET, "token\n"),
        AWSSigV4(HOST, "t", "AK", SECRET, region="us\r\n"),
    ):
        raises(ValueError, c.refresh, head, NOW)
        assert head.n == 0


def test_a_refusal_for_the_signature_or_the_clock_keeps_the_record():
    assert cloud().outcome(status(403)) == RETRY
    assert cloud().outcome(status(200)) == ACCEPTED


def test_times_are_stamped_as_the_calendar_has_them():
    for now, text in (
        (0, b"19700101T000000Z"),
        (951782399, b"20000228T235959Z"),
        (951782400, b"20000229T000000Z"),
        (951868800, b"20000301T000000Z"),
        (978307199, b"20001231T235959Z"),
        (1073741823, b"20040110T133703Z"),
        (1736944496, b"20250115T123456Z"),
        (1709164800, b"20240229T000000Z"),
        (1740787199, b"20250228T235959Z"),
        (1740787200, b"20250301T000000Z"),
        (2147483648, b"20380119T031408Z"),
        (4102444799, b"20991231T235959Z"),
        (4107542400, b"21000301T000000Z"),
        (4107542399, b"21000228T235959Z"),
        (4133980799, b"21001231T235959Z"),
    ):
        assert stamp(now) == text, now


def _leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def test_every_day_from_1970_to_2100_follows_the_one_before():
    chance = lcg(7)
    day = 0
    for year in range(1970, 2101):
        for month in range(1, 13):
            days = 28 + _leap(year) if month == 2 else 30 if month in (4, 6, 9, 11) else 31
            for first, n in ((1, 0), (days, days - 1)):
                s = next(chance) % 86400
                text = b"%04d%02d%02dT%02d%02d%02dZ" % (
                    year,
                    month,
                    first,
                    s // 3600,
                    s // 60 % 60,
                    s % 60,
                )
                assert stamp((day + n) * 86400 + s) == text
            day += days
