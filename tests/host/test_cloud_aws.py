"""The emulated AWS IoT endpoint, judged by clients that nobody here wrote, and rule by rule."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import sys
import time
import types
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import adafruit_connection_manager
import adafruit_requests
import boto3
import botocore.config
import botocore.exceptions
import pytest
from multidict import CIMultiDict

from host.certs import Authority
from host.cloud import sigv4
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.server import Running, serve
from host.cloud.sigv4 import Secret
from host.cloud.store import Message, Store
from host.cloud.topics import check_filter, matches

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("aws") / "certs")


@pytest.fixture
def aws(authority: Authority) -> AWSCloud:
    cloud = AWSCloud(authority)
    cloud.add_thing("sensor-1")
    return cloud


@pytest.fixture
def cloud(aws: AWSCloud) -> Iterator[Running]:
    with serve(aws) as running:
        yield running


@pytest.fixture
def signed(authority: Authority) -> Iterator[Running]:
    service = AWSCloud(authority, login="sigv4")
    service.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY))
    with serve(service) as running:
        yield running


def client_tls(authority: Authority, thing: str | None = "sensor-1") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca_pem)
    if thing is not None:
        pair = authority.device(thing)
        context.load_cert_chain(pair.cert_pem, pair.key_pem)
    return context


class Reply:
    """What http.client read: status, fields, body as bytes and as JSON."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.json = json.loads(self.body) if self.body else None


def exchange(
    cloud: Running,
    target: str,
    body: bytes = b"{}",
    method: str = "POST",
    fields: Mapping[str, str] | None = None,
    thing: str | None = "sensor-1",
) -> Reply:
    tls = client_tls(cloud.cloud.authority, thing)
    connection = http.client.HTTPSConnection("localhost", cloud.port, context=tls, timeout=10)
    try:
        connection.request(method, target, body, dict(fields or {}))
        return Reply(connection.getresponse())
    finally:
        connection.close()


def read_to_end(connection: ssl.SSLSocket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def raw_exchange(cloud: Running, request: bytes) -> bytes:
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        client_tls(cloud.cloud.authority).wrap_socket(plain, server_hostname=ENDPOINT) as tls,
    ):
        tls.sendall(request)
        return read_to_end(tls)


# -- Clients that nobody here wrote --------------------------------------------------------------


def iot_data(cloud: Running, secret_key: str = SECRET_KEY, token: str | None = None):
    return boto3.session.Session(
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        region_name="us-east-1",
    ).client(
        "iot-data",
        endpoint_url=f"https://localhost:{cloud.port}",
        verify=str(cloud.cloud.authority.ca_pem),
        config=botocore.config.Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def refusal(client: object, **publish: object) -> tuple[str, int, str]:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.publish(**publish)  # type: ignore[attr-defined]
    answer = caught.value.response
    error = answer["Error"]
    return error["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], error["Message"]


def test_boto3_when_its_key_is_known_publishes_with_every_parameter(signed: Running) -> None:
    answer = iot_data(signed).publish(
        topic="room 1/é",
        qos=1,
        retain=True,
        payload=b'{"t":21.5}',
        contentType="application/json",
        responseTopic="room 1/answer",
        messageExpiry=60,
        userProperties=[{"unit": "C"}, {"unit": "K"}],
        payloadFormatIndicator="UTF8_DATA",
        correlationData=base64.b64encode(b"77").decode(),
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    [message] = signed.messages("room 1/é")
    assert message.payload == b'{"t":21.5}' and message.retain and message.qos == 1
    assert message.properties == {
        "contentType": "application/json",
        "responseTopic": "room 1/answer",
        "messageExpiry": 60,
        "userProperties": [{"unit": "C"}, {"unit": "K"}],
        "payloadFormatIndicator": "UTF8_DATA",
        "correlationData": base64.b64encode(b"77").decode(),
    }


def test_boto3_with_a_session_token_when_it_is_the_right_one_publishes(signed: Running) -> None:
    signed.cloud.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY, "token=="))
    iot_data(signed, token="token==").publish(topic="a/b", qos=0, payload=b"1")
    assert [message.device for message in signed.messages()] == [ACCESS_KEY]
    assert refusal(iot_data(signed), topic="a/b")[:2] == ("ForbiddenException", 403)


def test_boto3_with_a_wrong_secret_is_refused(signed: Running) -> None:
    code, status, text = refusal(iot_data(signed, "wrong"), topic="a/b", payload=b"1")
    assert (code, status) == ("ForbiddenException", 403)
    assert "signature we calculated does not match" in text
    assert signed.messages() == []


@pytest.mark.parametrize(("minutes", "text"), [(20, "expired"), (-20, "not yet current")])
def test_boto3_when_the_clocks_differ_by_20_minutes_is_refused(
    authority: Authority, minutes: int, text: str
) -> None:
    service = AWSCloud(authority, login="sigv4")
    service.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY))
    with serve(service, clock=lambda: time.time() + 60 * minutes) as running:
        code, status, message = refusal(iot_data(running), topic="a/b", payload=b"1")
    assert (code, status) == ("ForbiddenException", 403)
    assert text in message


def test_boto3_when_the_policy_does_not_name_the_topic_is_refused(signed: Running) -> None:
    signed.cloud.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY), ["mine/#"])
    assert refusal(iot_data(signed), topic="yours/1")[:2] == ("ForbiddenException", 403)
    iot_data(signed).publish(topic="mine/1", payload=b"1")
    assert len(signed.messages()) == 1


def test_boto3_when_the_topic_breaks_a_rule_reads_the_error_name(signed: Running) -> None:
    assert refusal(iot_data(signed), topic="a/+")[:2] == ("InvalidRequestException", 400)


def test_boto3_when_throttled_reads_the_error_name(signed: Running) -> None:
    signed.faults.add("throttle(1)")
    assert refusal(iot_data(signed), topic="a")[:2] == ("ThrottlingException", 429)


def test_adafruit_requests_when_keeping_alive_publishes_twice_on_one_connection(
    cloud: Running,
) -> None:
    connects = []

    def make(*family_and_type: int) -> socket.socket:
        connects.append(family_and_type)
        return socket.socket(*family_and_type)

    pool = types.ModuleType("pool")
    pool.__dict__.update(vars(socket), socket=make)
    session = adafruit_requests.Session(pool, client_tls(cloud.cloud.authority))
    url = f"https://localhost:{cloud.port}/topics/sensor%2F1?qos=1"
    try:
        for number in range(2):
            with session.post(url, data=b"%d" % number, timeout=10) as response:
                assert response.status_code == 200
                assert response.json()["message"] == "OK"
    finally:
        adafruit_connection_manager.connection_manager_close_all(pool)
    assert len(connects) == 1
    assert [message.payload for message in cloud.messages("sensor/1")] == [b"0", b"1"]


# -- The answers, byte by byte -------------------------------------------------------------------


def test_accepted_publish_when_answered_has_the_captured_form(cloud: Running) -> None:
    reply = exchange(cloud, "/topics/a/b?qos=1", b"hello")
    trace = reply.headers["x-amzn-RequestId"]
    assert reply.status == 200
    assert reply.body == b'{"message":"OK","traceId":"%s"}' % trace.encode()
    assert len(reply.body) == 65 and str(uuid.UUID(trace)) == trace
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["connection"] == "keep-alive"
    assert "server" not in reply.headers and "x-amzn-ErrorType" not in reply.headers


def assert_refused(reply: Reply, status: int, name: str) -> None:
    assert (reply.status, reply.headers["x-amzn-ErrorType"]) == (status, f"{name}:")
    assert set(reply.json) == {"message", "traceId"}
    assert reply.json["traceId"] == reply.headers["x-amzn-RequestId"]
    assert reply.headers["content-type"] == "application/json"


LONG = "é" * 128
BASIC = "/topics/%24aws/rules/r_1/"


@pytest.mark.parametrize(
    ("target", "topic"),
    [
        ("/topics/a", "a"),
        ("/topics/a/b?qos=0", "a/b"),
        ("/topics/a%2Fb?qos=1", "a/b"),
        ("/topics/a%2fb", "a/b"),
        ("/topics/a%252Fb", "a%2Fb"),
        ("/topics/a+b".replace("+", "%20"), "a b"),
        ("/topics//a/", "/a/"),
        ("/topics/caf%C3%A9", "café"),
        ("/topics/1/2/3/4/5/6/7/8", "1/2/3/4/5/6/7/8"),
        (BASIC + "1/2/3/4/5/6/7/8", "$aws/rules/r_1/1/2/3/4/5/6/7/8"),
        ("/topics/$aws/rules/r_1", "$aws/rules/r_1"),
        ("/topics/" + "%C3%A9" * 128, LONG),
        (BASIC + "%C3%A9" * 128, "$aws/rules/r_1/" + LONG),
        ("/topics/a?x-unknown=1", "a"),
    ],
)
def test_topic_when_it_keeps_the_rules_is_decoded_once_and_stored(
    cloud: Running, target: str, topic: str
) -> None:
    assert exchange(cloud, target).status == 200
    assert [message.topic for message in cloud.messages()] == [topic]


BAD_TARGETS = [
    "/topics/",
    "/topics/?qos=1",
    "/topics/a%2Fb%2F%23",
    "/topics/a/+/b",
    "/topics/a%00",
    "/topics/a%zz",
    "/topics/a%2",
    "/topics/%FF",
    "/topics/1/2/3/4/5/6/7/8/9",
    BASIC + "1/2/3/4/5/6/7/8/9",
    "/topics/$aws/things/x/shadow/update",
    "/topics/%24aws%2Frules%2F",
    "/topics/$SYS/x",
    "/topics/a" + "%C3%A9" * 128,
    BASIC + "a" + "%C3%A9" * 128,
    "/topics/a?qos=2",
    "/topics/a?qos=",
    "/topics/a?qos=01",
    "/topics/a?qos=%zz",
    "/topics/a?qos=1&qos=1",
    "/topics/a?retain=yes",
    "/topics/$aws/rules/r/a?retain=true",
    "/topics/a?messageExpiry=-1",
    "/topics/a?messageExpiry=soon",
    "/topics/a?responseTopic=b%2F%23",
]


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_publish_when_topic_or_query_break_a_rule_is_an_invalid_request(
    cloud: Running, target: str
) -> None:
    assert_refused(exchange(cloud, target), 400, "InvalidRequestException")
    assert cloud.messages() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payload-format-indicator", "TEXT"),
        ("correlation-data", "a"),
        ("correlation-data", "not base64!"),
        ("user-properties", base64.b64encode(b"{}").decode()),
        ("user-properties", base64.b64encode(b'[{"a":"1","b":"2"}]').decode()),
        ("user-properties", base64.b64encode(b'[{"a":1}]').decode()),
        ("user-properties", base64.b64encode(b"[").decode()),
    ],
)
def test_publish_when_an_mqtt5_field_is_malformed_is_an_invalid_request(
    cloud: Running, name: str, value: str
) -> None:
    reply = exchange(cloud, "/topics/a", fields={f"x-amz-mqtt5-{name}": value})
    assert_refused(reply, 400, "InvalidRequestException")


@pytest.mark.parametrize(("query", "qos"), [("", 0), ("?qos=0", 0), ("?qos=1", 1)])
def test_qos_when_left_out_is_0(cloud: Running, query: str, qos: int) -> None:
    exchange(cloud, f"/topics/a{query}")
    assert [message.qos for message in cloud.messages()] == [qos]


def test_payload_of_131072_bytes_is_accepted_and_one_more_is_not(cloud: Running) -> None:
    assert exchange(cloud, "/topics/a", b"x" * 131072).status == 200
    reply = exchange(cloud, "/topics/a", b"x" * 131073)
    assert_refused(reply, 413, "RequestEntityTooLargeException")
    reply = exchange(cloud, "/topics/a", b"x" * 2_000_000)
    assert_refused(reply, 413, "RequestEntityTooLargeException")
    assert [len(message.payload) for message in cloud.messages()] == [131072]


def test_payload_when_binary_or_empty_or_of_any_type_is_stored_as_it_came(
    cloud: Running,
) -> None:
    payloads = [bytes(range(256)), b"", b"not gzip"]
    fields = {"Content-Type": "x/y", "Content-Encoding": "gzip"}
    for payload in payloads:
        assert exchange(cloud, "/topics/a", payload, fields=fields).status == 200
    assert [message.payload for message in cloud.messages()] == payloads


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_method_when_not_post_is_not_allowed(cloud: Running, method: str) -> None:
    reply = exchange(cloud, "/topics/a", method=method)
    assert_refused(reply, 405, "MethodNotAllowedException")


@pytest.mark.parametrize("path", ["/", "/topics", "/topic/a", "/Topics/a", "/things/x/shadows"])
def test_path_when_unknown_is_not_found(cloud: Running, path: str) -> None:
    assert_refused(exchange(cloud, path), 404, "ResourceNotFoundException")


def test_retained_message_when_published_is_kept_until_an_empty_one_comes(
    cloud: Running,
) -> None:
    store = cloud.cloud.store
    exchange(cloud, "/topics/a?retain=true", b"1")
    exchange(cloud, "/topics/a?retain=false", b"2")
    assert store.retained("a").payload == b"1"
    exchange(cloud, "/topics/a?retain=true", b"")
    assert store.retained("a") is None


def test_boto3_reads_back_what_was_retained_until_an_empty_message_deletes_it(
    signed: Running,
) -> None:
    client = iot_data(signed)
    before = time.time()
    user = [{"unit": "°C"}]
    client.publish(topic="room 1/é", qos=1, retain=True, payload=b"\0\xff", userProperties=user)
    client.publish(topic="room 1/é", qos=0, payload=b"passes by")
    answer = client.get_retained_message(topic="room 1/é")
    assert (answer["topic"], answer["payload"], answer["qos"]) == ("room 1/é", b"\0\xff", 1)
    assert json.loads(answer["userProperties"]) == user
    assert before - 1 < answer["lastModifiedTime"] / 1000 < time.time() + 1
    client.publish(topic="room 1/é", qos=1, retain=True, payload=b"")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_retained_message(topic="room 1/é")


def test_boto3_pages_through_the_retained_messages_that_its_policy_names(
    signed: Running,
) -> None:
    client = iot_data(signed)
    for number in range(5):
        client.publish(topic=f"mine/{number}", retain=True, payload=b"x" * number)
    client.publish(topic="yours", retain=True, payload=b"x")
    signed.cloud.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY), ["mine/#"])
    pages = list(client.get_paginator("list_retained_messages").paginate(maxResults=2))
    topics = [[topic["topic"] for topic in page["retainedTopics"]] for page in pages]
    assert topics == [["mine/1", "mine/2"], ["mine/3", "mine/4"]]
    assert pages[1]["retainedTopics"][1]["payloadSize"] == 4
    with pytest.raises(botocore.exceptions.ClientError, match="ForbiddenException"):
        client.get_retained_message(topic="yours")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/retainedMessage?maxResults=200", 200),
        ("GET", "/retainedMessage?maxResults=201", 400),
        ("GET", "/retainedMessage?maxResults=0", 400),
        ("GET", "/retainedMessage?nextToken=%FF", 400),
        ("GET", "/retainedMessage/%FF", 400),
        ("GET", "/retainedMessage/none", 404),
        ("GET", "/retainedMessages", 404),
        ("DELETE", "/retainedMessage/none", 405),
    ],
)
def test_retained_messages_when_asked_for_wrongly_are_refused(
    cloud: Running, method: str, target: str, status: int
) -> None:
    assert exchange(cloud, target, b"", method).status == status


# -- Who may --------------------------------------------------------------------------------------


def test_certificate_when_not_registered_gets_403_and_a_null_message(cloud: Running) -> None:
    reply = exchange(cloud, "/topics/a", thing="stranger")
    assert_refused(reply, 403, "ForbiddenException")
    assert reply.json["message"] is None


def test_certificate_when_deactivated_gets_403(cloud: Running) -> None:
    assert exchange(cloud, "/topics/a").status == 200
    cloud.cloud.registry.deactivate("sensor-1")
    assert_refused(exchange(cloud, "/topics/a"), 403, "ForbiddenException")


def test_certificate_when_it_has_no_policy_gets_403(cloud: Running) -> None:
    cloud.cloud.add_thing("sensor-2", allow=())
    assert_refused(exchange(cloud, "/topics/a", thing="sensor-2"), 403, "ForbiddenException")


def test_policy_when_it_names_other_topics_gets_403(cloud: Running) -> None:
    cloud.cloud.add_thing("sensor-2", allow=["dt/sensor-2/+"])
    assert exchange(cloud, "/topics/dt/sensor-2/t", thing="sensor-2").status == 200
    for topic in ("dt/sensor-1/t", "dt/sensor-2", "dt/sensor-2/t/x"):
        reply = exchange(cloud, f"/topics/{topic}", thing="sensor-2")
        assert_refused(reply, 403, "ForbiddenException")


@pytest.mark.parametrize(
    ("topic_filter", "topic", "match"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("+/+", "/b", True),
        ("+", "/b", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "$aws/rules/r", False),
        ("+/rules/r", "$aws/rules/r", False),
        ("$aws/#", "$aws/rules/r", True),
    ],
)
def test_topic_filter_when_matched_follows_mqtt(topic_filter, topic, match) -> None:
    assert matches(topic_filter, topic) is match


@pytest.mark.parametrize("topic_filter", ["", "a+", "a/#/b", "a/b#", "##", "a/+b"])
def test_topic_filter_when_malformed_is_refused(topic_filter: str) -> None:
    with pytest.raises(ValueError, match="topic filter"):
        check_filter(topic_filter)


# -- TLS and HTTP ---------------------------------------------------------------------------------


def test_handshake_without_a_client_certificate_fails_and_is_noted(cloud: Running) -> None:
    with pytest.raises(OSError):
        exchange(cloud, "/topics/a", thing=None)
    deadline = time.monotonic() + 5
    while not cloud.handshake_errors and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "did not return a certificate" in cloud.handshake_errors[0]


def test_handshake_that_fails_tells_the_client_why_in_an_alert(cloud: Running) -> None:
    context = client_tls(cloud.cloud.authority, None)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)alert"),
    ):
        context.wrap_socket(plain, server_hostname=ENDPOINT)


def test_handshake_with_a_certificate_of_another_authority_fails(
    cloud: Running, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other").device("sensor-1")
    context = client_tls(cloud.cloud.authority, None)
    context.load_cert_chain(stranger.cert_pem, stranger.key_pem)
    connection = http.client.HTTPSConnection("localhost", cloud.port, context=context, timeout=10)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        connection.request("POST", "/topics/a", b"{}")
        connection.getresponse()
    connection.close()
    assert cloud.messages() == []


@pytest.mark.parametrize("login", ["x509", "sigv4"])
def test_handshake_without_a_server_name_fails(authority: Authority, login: str) -> None:
    context = client_tls(authority)
    context.check_hostname = False
    with (
        serve(AWSCloud(authority, login=login)) as cloud,
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        context.wrap_socket(plain)


def test_handshake_with_tls_1_1_fails(cloud: Running) -> None:
    context = client_tls(cloud.cloud.authority)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname=ENDPOINT)


@pytest.mark.parametrize("field", [b"", b"Expect: 100-continue\r\n"])  # which 1.0 has not
def test_http_1_0_when_used_is_accepted_and_closed(cloud: Running, field: bytes) -> None:
    line = b"POST /topics/a HTTP/1.0\r\n"
    body = raw_exchange(cloud, line + field + b"Content-Length: 1\r\n\r\n1")
    assert body.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nConnection: close\r\n" in body
    assert [message.payload for message in cloud.messages()] == [b"1"]


def test_http_1_1_without_a_host_is_an_invalid_request(cloud: Running) -> None:
    request = b"POST /topics/a HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"
    assert b"InvalidRequestException:" in raw_exchange(cloud, request)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /topics/a HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
        b"POST /topics/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /topics/a HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"POST /topics/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_request_that_is_not_http_is_an_invalid_request(
    cloud: Running, request_bytes: bytes
) -> None:
    answer = raw_exchange(cloud, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nx-amzn-ErrorType: InvalidRequestException:\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer


def test_chunked_request_with_expect_continue_is_accepted(cloud: Running) -> None:
    answer = raw_exchange(
        cloud,
        b"POST /topics/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert [message.payload for message in cloud.messages()] == [b"abcde"]


def test_head_request_is_answered_without_a_body(cloud: Running) -> None:
    request = b"HEAD /topics/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw_exchange(cloud, request)
    assert answer.startswith(b"HTTP/1.1 405 ") and answer.endswith(b"\r\n\r\n")


def test_two_requests_in_one_write_are_answered_in_order(cloud: Running) -> None:
    first = b"POST /topics/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
    second = b"POST /topics/a+ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = raw_exchange(cloud, first + second)
    assert [answer[:3] for answer in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


# -- SigV4 against the reference signatures -------------------------------------------------------

HOST = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"
NOON = 1736944496.0  # 20250115T123456Z
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN=="
BODY = b'{"temperature":21.5}'
REFERENCE = [
    (
        "/topics/device%2Fmessage?qos=1",
        "iotdata",
        {},
        "c30d0ebe9ed88ddc76b318fedf3c6ed2eb9245216049e2ab376f43317b418ea0",
    ),
    (
        "/topics/device/message?qos=1",
        "iotdata",
        {},
        "bfc714d6c55e56091647bba56f0c52e6d6cfc8aeaf3b271c5de6973ac832e65f",
    ),
    (
        "/topics/device%2Fmessage?qos=1",
        "iotdevicegateway",
        {},
        "4d25f227c090530e5f5d90cecb44089cdeedf7bedae550fb1b69a1244a911d4a",
    ),
    (
        "/topics/device%2Fmessage?qos=1",
        "iotdata",
        {"x-amz-security-token": TOKEN},
        "ee1922758e5fa6a9273f74e7609bd8cb4e4d7ee01af8dfd42ca149e671395759",
    ),
    (
        "/topics/device%2Fmessage?qos=1",
        "iotdata",
        {"content-type": "application/json"},
        "7750df19a77d925d090fca88bfce5e7682d572538ab8962e83207b31e1623db5",
    ),
    (
        "/topics/state?retain=true&qos=1",
        "iotdata",
        {},
        "5063bb72d286ba31b159306016f15f61127bafe36cd1ca292b765352eee645a0",
    ),
    (
        "/topics/%24aws%2Frules%2Fmy_rule%2Froom%201%2Ftemp%C3%A9?qos=1",
        "iotdata",
        {},
        "60aa39b6b81bb5987d4db8a33c8b076e3b96fd0205e4a482f5bc6ccfc0cec001",
    ),
]


def signed_request(target: str, service: str, extra: dict, signature: str) -> sigv4.Request:
    fields = {"host": HOST, "x-amz-date": "20250115T123456Z", **extra}
    fields["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20250115/us-west-2/{service}/aws4_request, "
        f"SignedHeaders={';'.join(sorted(fields))}, Signature={signature}"
    )
    return sigv4.Request("POST", target, CIMultiDict(fields), BODY)


def verified(request: sigv4.Request, now: float = NOON, region: str = "us-west-2") -> str:
    token = request.fields.get("x-amz-security-token")
    secret = Secret(SECRET_KEY, token)
    services = ("iotdata", "iotdevicegateway")
    return sigv4.verify(request, {ACCESS_KEY: secret}.get, now, region, services)


@pytest.mark.parametrize(("target", "service", "extra", "signature"), REFERENCE)
def test_reference_signature_when_verified_holds(target, service, extra, signature) -> None:
    assert verified(signed_request(target, service, extra, signature)) == ACCESS_KEY


@pytest.mark.parametrize(("target", "service", "extra", "signature"), REFERENCE)
def test_reference_signature_when_anything_differs_fails(
    target, service, extra, signature
) -> None:
    wrong = ("0" if signature[0] != "0" else "1") + signature[1:]
    with pytest.raises(sigv4.SignatureError, match="does not match"):
        verified(signed_request(target, service, extra, wrong))
    with pytest.raises(sigv4.SignatureError, match="does not match"):
        verified(signed_request(target + "0", service, extra, signature))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"authorization": None}, "Missing"),
        ({"authorization": "Basic abc"}, "malformed"),
        ({"x-amz-date": None}, "X-Amz-Date"),
        ({"x-amz-date": "20250116T123456Z"}, "scoped"),
        ({"x-amz-mqtt5-correlation-data": "YQ=="}, "must be signed"),
        ({"x-amz-date": "20250115T123457Z"}, "does not match"),
    ],
)
def test_signed_request_when_a_field_is_changed_is_refused(change: dict, text: str) -> None:
    request = signed_request(*REFERENCE[0])
    fields = CIMultiDict(request.fields)
    for name, value in change.items():
        fields.pop(name, None)
        if value is not None:
            fields[name] = value
    with pytest.raises(sigv4.SignatureError, match=text):
        verified(sigv4.Request("POST", request.target, fields, request.body))


@pytest.mark.parametrize(
    ("off_s", "good"), [(299, True), (-299, True), (301, False), (-301, False)]
)
def test_signature_when_minutes_old_is_good_for_five(off_s: int, good: bool) -> None:
    request = signed_request(*REFERENCE[0])
    if good:
        assert verified(request, NOON + off_s) == ACCESS_KEY
    else:
        with pytest.raises(sigv4.SignatureError, match=r"Signature (expired|not yet)"):
            verified(request, NOON + off_s)


def test_signature_when_for_another_region_is_refused() -> None:
    with pytest.raises(sigv4.SignatureError, match="scoped"):
        verified(signed_request(*REFERENCE[0]), region="eu-west-1")


def test_presigned_request_when_in_time_holds_and_later_does_not() -> None:
    target = (
        "/things/thing-1/shadow?name=cfg&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
        f"{ACCESS_KEY}%2F20250115%2Fus-west-2%2Fiotdata%2Faws4_request"
        "&X-Amz-Date=20250115T123456Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=b92226d89e21f6339ecb6f6e952bda28311af450dcaefbf1fac2f940b09a9bd2"
    )
    request = sigv4.Request("GET", target, CIMultiDict(Host=HOST), b"")
    assert verified(request, NOON + 299) == ACCESS_KEY
    with pytest.raises(sigv4.SignatureError, match="expired"):
        verified(request, NOON + 301)


def test_unsigned_request_on_the_signature_port_gets_403(signed: Running) -> None:
    reply = exchange(signed, "/topics/a", thing=None)
    assert_refused(reply, 403, "ForbiddenException")


def test_secret_when_printed_is_not_shown() -> None:
    assert SECRET_KEY not in repr(Secret(SECRET_KEY, "token"))


# -- The store ------------------------------------------------------------------------------------


def test_two_listeners_when_on_one_store_are_one_account(authority: Authority) -> None:
    store = Store()
    x509, keys = AWSCloud(authority, store), AWSCloud(authority, store, login="sigv4")
    x509.add_thing("sensor-1")
    keys.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY))
    with serve(x509) as first, serve(keys) as second:
        exchange(first, "/topics/a", b"1")
        iot_data(second).publish(topic="a", payload=b"2")
        assert first.messages() == second.messages()
    assert [message.payload for message in store.messages("a")] == [b"1", b"2"]


def test_store_in_a_file_when_opened_again_has_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    first = Store(path)
    first.add(Message("d", "a/b", b"\0\xff", 1, True, {"k": [{"a": "b"}]}, 12.5))
    first.close()
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0
    again = Store(path)
    assert again.messages() == [
        Message("d", "a/b", b"\0\xff", 1, True, {"k": [{"a": "b"}]}, 12.5, 1)
    ]
    again.close()


@pytest.mark.parametrize("wrong", [{"login": "basic"}, {"endpoint": "example.com"}])
def test_cloud_when_given_what_aws_does_not_have_says_so(authority: Authority, wrong) -> None:
    with pytest.raises(ValueError, match="login"):
        AWSCloud(authority, **wrong)
