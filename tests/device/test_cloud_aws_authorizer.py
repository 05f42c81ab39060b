"""A custom authorizer's fields, in the head of every request (PROTOCOLS.md 1.4)."""

from checks import check_cloud, raises, status
from onebuf.cloud.aws_authorizer import CLOUD, AWSAuthorizer
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, RETRY

HOST = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"


def cloud(authorizer="My_Authorizer", token_key="X-Token", token="abc/+=", signature="c2ln"):
    return AWSAuthorizer(HOST, "a/b", authorizer, token_key, token, signature)


def head(c):
    request = Request(bytearray(10000))
    assert c.refresh(request, 0) == 0
    return bytes(request.buf[: request.n])


def test_the_contract_of_a_cloud_is_kept():
    assert CLOUD is AWSAuthorizer and not AWSAuthorizer.signs
    check_cloud(cloud())


def test_the_head_is_exactly_this():
    assert head(cloud()) == (
        b"POST /topics/a%2Fb?qos=1 HTTP/1.1\r\n"
        b"Host: a3qjexampleffp-ats.iot.us-west-2.amazonaws.com\r\n"
        b"x-amz-customauthorizer-name: My_Authorizer\r\n"
        b"x-amz-customauthorizer-signature: c2ln\r\n"
        b"X-Token: abc/+=\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_an_authorizer_without_signing_gets_no_signature():
    found = head(AWSAuthorizer(HOST, "a/b", "n", "X-Token", "t", qos=0, port=8443))
    assert found.startswith(b"POST /topics/a%2Fb?qos=0 HTTP/1.1\r\n")
    assert b".com:8443\r\n" in found and b"signature" not in found
    assert b"\r\nX-Token: t\r\n" in found


def test_a_token_of_any_text_is_sent_as_it_is():
    assert b"\r\nX-Token: device-7 token/+=&%\xc3\xa9\r\n" in head(
        cloud(token="device-7 token/+=&%\u00e9")
    )


def test_names_and_tokens_beyond_what_aws_takes_are_refused_without_telling_the_token():
    cloud("a" * 128, "k", "t" * 6144, "s" * 2560)
    cloud("az_AZ=09,@-", "k", "t", "")
    for name, key, token in (
        ("", "k", "secret"),
        ("a" * 129, "k", "secret"),
        ("a", "", "secret"),
        ("a", "k", ""),
        ("a", "k", "secret" * 1024 + "t"),
    ):
        error = raises(ValueError, cloud, name, key, token)
        assert "secret" not in str(error)
    for name in ("a b", "a.b", "a/b", "a:", "a+", "[", "`", "\u00e9", "a\n"):
        raises(ValueError, cloud, name)
    raises(ValueError, cloud, "a", "k", "t", "s" * 2561)
    raises(ValueError, AWSAuthorizer, HOST, "a/#", "a", "k", "t")


def test_octets_that_would_split_the_head_are_refused_before_anything_is_sent():
    for c in (
        cloud(token_key="X-Token: y\r\nX"),
        cloud(token_key="Host"),
        cloud(token="secret\r\nX: y"),
        cloud(token="secret\0"),
        cloud(signature="c2ln\n"),
    ):
        request = Request(bytearray(1000))
        error = raises(ValueError, c.refresh, request, 0)
        assert request.n == 0 and "secret" not in str(error)


def test_a_refusal_of_the_token_keeps_the_record():
    assert cloud().outcome(status(403)) == RETRY
    assert cloud().outcome(status(200)) == ACCEPTED
