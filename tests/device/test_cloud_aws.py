"""AWS IoT: the head of a publish, which topics it takes, how it judges (PROTOCOLS.md 1)."""

from checks import check_cloud, raises, status
from onebuf.cloud.aws import AWS
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, REJECTED, RETRY

ENDPOINT = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"


def head(cloud, size=512):
    request = Request(bytearray(size))
    assert cloud.refresh(request, 0) == 0
    return bytes(request.buf[: request.n])


def test_the_contract_of_a_cloud_is_kept():
    check_cloud(AWS(ENDPOINT, "device/message"))
    check_cloud(AWS(ENDPOINT, "é", 0, 443))


def test_the_head_is_exactly_this():
    assert head(AWS(ENDPOINT, "device/message")) == (
        b"POST /topics/device%2Fmessage?qos=1 HTTP/1.1\r\n"
        b"Host: a3qjexampleffp-ats.iot.us-west-2.amazonaws.com:8443\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_the_host_has_no_port_where_it_is_the_default():
    found = head(AWS("h.example", "t", 0, 443))
    assert found.startswith(b"POST /topics/t?qos=0 HTTP/1.1\r\nHost: h.example\r\n")


def test_topics_are_encoded_as_the_sdk_does():
    for topic, path in (
        ("device/message", b"device%2Fmessage"),
        ("$aws/rules/my_rule/a/b", b"%24aws%2Frules%2Fmy_rule%2Fa%2Fb"),
        ("a b", b"a%20b"),
        ("caf\u00e9/\u20ac", b"caf%C3%A9%2F%E2%82%AC"),
        ("A-z_0.9~", b"A-z_0.9~"),
        ("50%?qos=2&x", b"50%25%3Fqos%3D2%26x"),
    ):
        assert head(AWS(ENDPOINT, topic)).startswith(b"POST /topics/" + path + b"?qos=1 HTTP/1.1")


def test_topics_that_the_service_takes_are_taken():
    for topic in (
        "a",
        "/",
        "a" * 256,
        "\u00e9" * 128,
        "1/2/3/4/5/6/7/8",
        "$aws/rules/r/1/2/3/4/5/6/7/8",
        "$aws/rules/r/a",
        "$aws/rules/r/" + "\u00e9" * 128,
        "aws/$x",
        "...",
        "./a",
    ):
        AWS(ENDPOINT, topic)


def test_topics_that_the_service_refuses_are_refused_before_anything_is_sent():
    for topic in (
        "",
        "a" * 257,
        "\u00e9" * 128 + "a",
        "a/+/b",
        "a/#",
        "+",
        "a\rb",
        "a\nb",
        "a\0b",
        "a\x1fb",
        "a\x7f",
        "1/2/3/4/5/6/7/8/9",
        "$aws/rules/r/1/2/3/4/5/6/7/8/9",
        "$aws/rules/r/" + "\u00e9" * 128 + "a",
        "$aws/rules/r",
        "$aws/things/t/shadow/update",
        "$other",
        "$aws",
        "$AWS/rules/r/a",
        ".",  # no name in a path: whoever is between would make /topics/ of it
        "..",
    ):
        raises(ValueError, AWS, ENDPOINT, topic)


def test_another_qos_than_0_or_1_is_refused():
    for qos in (2, -1, "1", None):
        raises(ValueError, AWS, ENDPOINT, "t", qos)


def test_an_endpoint_that_is_no_host_name_is_refused():
    for endpoint in ("", "https://h.example", "h.example:8443", "h.example/x", "h\r\n", "h x"):
        raises(ValueError, AWS, endpoint, "t")


def test_a_port_that_is_none_is_refused():
    for number in (-1, 0, 65536):
        raises(ValueError, AWS, "h.example", "t", 1, number)


def test_basic_ingest_without_a_rule_is_refused():
    for topic in ("$aws/rules//x", "$aws/rules/", "$aws/rules/r", "$aws/rule/r/x"):
        raises(ValueError, AWS, "h.example", topic)


def test_octets_that_would_split_the_head_are_refused_before_anything_is_sent():
    for endpoint in ("h\r\nX: y", "h\n", "h\0", "h x", "\u00e9"):
        request = Request(bytearray(512))
        try:
            AWS(endpoint, "t").refresh(request, 0)
        except ValueError:
            assert request.n == 0
            continue
        raise AssertionError(endpoint)


def test_a_buffer_that_just_holds_the_head_is_enough():
    cloud = AWS(ENDPOINT, "device/message")
    n = len(head(cloud))
    assert len(head(cloud, n)) == n
    raises(ValueError, cloud.refresh, Request(bytearray(n - 1)), 0)


def test_every_status_of_the_service_is_judged():
    cloud = AWS(ENDPOINT, "t")
    for number, outcome in (
        (200, ACCEPTED),
        (400, REJECTED),  # InvalidRequestException
        (401, RETRY),  # UnauthorizedException: the device's rights, not the record
        (403, RETRY),  # ForbiddenException
        (404, REJECTED),
        (405, REJECTED),
        (409, REJECTED),
        (413, REJECTED),  # RequestEntityTooLargeException
        (415, REJECTED),
        (429, RETRY),  # ThrottlingException
        (500, RETRY),  # InternalFailureException
        (503, RETRY),
        (504, RETRY),
    ):
        fields = b"content-type: application/json\r\nx-amzn-ErrorType: ForbiddenException:\r\n"
        assert cloud.outcome(status(number, fields)) == outcome


def test_the_payload_is_bounded_by_the_quota_of_the_service():
    assert AWS.max_payload == 128 * 1024
