"""The emulated Alibaba Cloud IoT Platform, judged by curl, http.client and its documents."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.certs import Authority
from host.cloud.aliyun import HOST, PORT, AliyunCloud
from host.cloud.server import Running, serve
from host.cloud.store import Store

PK, DN, SECRET = "a1pk", "dev1", "mydevicesecret12345"
PUB = f"/topic/{PK}/{DN}/user/update"
JSON = {"Host": HOST, "Content-Type": "application/json"}
HASHES = {"hmacmd5": hashlib.md5, "hmacsha1": hashlib.sha1, "hmacsha256": hashlib.sha256}
SEED_SIGN = "4870141D4067227128CBB4377906C3731CAC221C"
SEED_LOGIN = {
    "version": "default",
    "clientId": "mylight1000002",
    "signmethod": "hmacsha1",
    "sign": SEED_SIGN,
    "productKey": "ZG1EvTEa7NN",
    "deviceName": "NlwaSPXsCpTQuh8FxBGH",
    "timestamp": "1501668289957",
}
SEED_NOW = 1501668290.5


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("aliyun") / "certs")


@pytest.fixture
def aliyun(authority: Authority) -> AliyunCloud:
    cloud = AliyunCloud(authority)
    cloud.add_device(PK, DN, SECRET)
    return cloud


@pytest.fixture
def cloud(aliyun: AliyunCloud) -> Iterator[Running]:
    with serve(aliyun) as running:
        yield running


class Reply:
    """What http.client read: status, reason, fields, body as bytes and as JSON."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.reason = response.status, response.reason
        self.headers = response.headers
        self.body = response.read()
        is_json = self.headers["Content-Type"] == "application/json"
        self.json = json.loads(self.body) if is_json else None

    @property
    def code(self) -> int:
        assert self.status == 200, self.body
        return self.json["code"]


def connect(cloud: Running) -> http.client.HTTPSConnection:
    tls = ssl.create_default_context(cafile=cloud.cloud.authority.ca_pem)
    return http.client.HTTPSConnection("localhost", cloud.port, context=tls, timeout=10)


def exchange(
    cloud: Running,
    target: str,
    body: bytes = b"",
    fields: Mapping[str, str] | None = None,
    method: str = "POST",
) -> Reply:
    connection = connect(cloud)
    try:
        connection.request(method, target, body, {"Host": HOST, **(fields or {})})
        return Reply(connection.getresponse())
    finally:
        connection.close()


def raw_exchange(cloud: Running, request: bytes) -> bytes:
    tls = ssl.create_default_context(cafile=cloud.cloud.authority.ca_pem)
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        tls.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def sign(parameters: Mapping[str, str], secret: str = SECRET) -> str:
    """Computed here from the document's words, without a line of the emulator's."""
    names = sorted(set(parameters) - {"version", "sign", "signmethod"})
    content = "".join(f"{name}{parameters[name]}" for name in names)
    digest = HASHES[parameters.get("signmethod", "hmacmd5")]
    return hmac.new(secret.encode(), content.encode(), digest).hexdigest()


def login(secret: str = SECRET, **changes: str | None) -> dict[str, str]:
    """A signed login of the device; None takes a parameter away before it is signed."""
    wanted = {"clientId": "c", "productKey": PK, "deviceName": DN, **changes}
    parameters = {name: value for name, value in wanted.items() if value is not None}
    return {"sign": sign(parameters, secret), **parameters}


def authenticate(cloud: Running, parameters: Mapping[str, object], target: str = "/auth") -> Reply:
    return exchange(cloud, target, json.dumps(parameters).encode(), JSON)


def token_of(cloud: Running, **changes: str | None) -> str:
    reply = authenticate(cloud, login(**changes))
    assert reply.code == 0
    return reply.json["info"]["token"]


def publish(
    cloud: Running, token: str | None, payload: bytes = b"21.5", target: str = PUB, **fields: str
) -> Reply:
    sent = {"Content-Type": "application/octet-stream", "password": token, **fields}
    kept = {name: value for name, value in sent.items() if value is not None}
    return exchange(cloud, target, payload, kept)


# -- The documents' own requests -----------------------------------------------------------------


def curl(cloud: Running, *arguments: str) -> bytes:
    words = (
        "curl --silent --show-error --include --request POST",
        f"--connect-to {HOST}:{PORT}:127.0.0.1:{cloud.port}",
        f"--cacert {shlex.quote(str(cloud.cloud.authority.ca_pem))}",
    )
    command = [*shlex.split(" ".join(words)), *arguments]
    done = subprocess.run(command, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_with_the_seeds_example_requests_gets_the_documented_answers(
    authority: Authority,
) -> None:
    service = AliyunCloud(authority)
    service.add_device(SEED_LOGIN["productKey"], SEED_LOGIN["deviceName"], "secret")
    signed = {**SEED_LOGIN, "sign": sign(SEED_LOGIN, "secret").upper()}
    with serve(service, clock=lambda: SEED_NOW) as cloud:
        kind = ("--header", "Content-Type: application/json")
        answer = curl(cloud, *kind, "--data", json.dumps(signed), f"https://{HOST}/auth")
        token = json.loads(answer.partition(b"\r\n\r\n")[2])["info"]["token"]
        topic = f"{SEED_LOGIN['productKey']}/{SEED_LOGIN['deviceName']}/pub"
        kind = ("--header", "Content-Type: application/octet-stream")
        fields = (*kind, "--header", f"password:{token}")
        answer = curl(cloud, *fields, "--data", "1", f"https://{HOST}/topic/{topic}")
        assert [message.topic for message in cloud.messages()] == [f"/{topic}"]
    assert re.fullmatch("[0-9a-f]{32}", token)  # the documents' sample has 32 hex digits
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200\r\n")
    # The seed's own sample, 892687627916247040, is of this very second.
    number = json.loads(body)["info"]["messageId"]
    assert abs(number - 892687627916247040) < 1000 << 22
    assert body == b'{"code":0,"info":{"messageId":%d},"message":"success"}' % number


def test_seeds_example_sign_when_the_secret_is_another_is_an_auth_check_error(
    authority: Authority,
) -> None:
    service = AliyunCloud(authority)
    service.add_device(SEED_LOGIN["productKey"], SEED_LOGIN["deviceName"], "secret")
    with serve(service, clock=lambda: SEED_NOW) as cloud:
        assert authenticate(cloud, SEED_LOGIN).code == 20000


@pytest.mark.parametrize(
    ("method", "digits"),
    [
        ("hmacmd5", "14b198324fe55e1d3c88f2e705e201ee"),
        ("hmacsha1", "fafd82a3d602b37fb0fa8b7892f24a477f851a14"),
        ("hmacsha256", "6074a46a91b1ebb2cc4ea42790ad0e80202c9843859fc292e57c4eb19fad9e57"),
    ],
)
def test_documented_signature_example_when_its_clock_is_right_is_accepted(
    authority: Authority, method: str, digits: str
) -> None:
    content = b"clientId12345deviceNamedeviceproductKeypktimestamp789"
    assert hmac.new(b"secret", content, HASHES[method]).hexdigest() == digits
    service = AliyunCloud(authority)
    service.add_device("pk", "device", "secret")
    example = {"clientId": "12345", "deviceName": "device", "productKey": "pk"}
    example |= {"timestamp": "789", "signmethod": method}
    with serve(service, clock=lambda: 1.0) as cloud:
        for given_sign in (digits, digits.upper()):
            assert authenticate(cloud, {**example, "sign": given_sign}).code == 0
        if method == "hmacmd5":  # the default
            del example["signmethod"]
            assert authenticate(cloud, {**example, "sign": digits}).code == 0


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(sorted(HASHES)),
    secret=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64),
    client=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64),
    extra=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
            lambda name: name not in SEED_LOGIN
        ),
        st.text(st.characters(codec="utf-8"), max_size=20),
        max_size=4,
    ),
    device=st.from_regex(r"[A-Za-z0-9_.:@-]{1,32}", fullmatch=True),
    upper=st.booleans(),
)
def test_any_parameters_when_signed_by_hashlib_authenticate_and_with_another_key_do_not(
    cloud: Running, method, secret, client, extra, device, upper
) -> None:
    cloud.cloud.add_device("b2", device, secret)
    body = {"productKey": "b2", "deviceName": device, "clientId": client, "signmethod": method}
    body |= extra
    digits = sign(body, secret)
    given_sign = digits.upper() if upper else digits
    assert authenticate(cloud, {**body, "sign": given_sign}).code == 0
    assert authenticate(cloud, {**body, "sign": sign(body, secret + "x")}).code == 20000
    assert authenticate(cloud, {**body, "sign": digits, "added": "1"}).code == 20000


def test_c_sdk_v3_dialect_when_spoken_publishes(cloud: Running) -> None:
    body = login(version="default", clientId=f"{PK}.{DN}", signmethod="hmacsha1")
    connection = {"Connection": "Keep-Alive"}
    reply = exchange(cloud, "/auth", json.dumps(body).encode(), JSON | connection)
    token = reply.json["info"]["token"]
    assert len(token) <= 192  # its buffer
    assert publish(cloud, token, **connection).code == 0


def test_c_sdk_v4_dialect_when_spoken_publishes_on_one_connection(cloud: Running) -> None:
    cloud.cloud.closes = False
    body = login(clientId=f"{PK}.{DN}", signmethod="hmacsha256")
    body["sign"] = body["sign"].upper()
    connection = connect(cloud)
    try:
        connection.request("POST", "/auth?_v=sdk-c-4.1.0&x=1", json.dumps(body).encode(), JSON)
        token = Reply(connection.getresponse()).json["info"]["token"]
        local = connection.sock.getsockname()
        fields = {"Content-Type": "application/octet-stream", "Password": token, "Host": HOST}
        connection.request("POST", PUB, b"1", fields)
        assert Reply(connection.getresponse()).code == 0
        assert connection.sock.getsockname() == local
    finally:
        connection.close()
    assert [message.payload for message in cloud.messages()] == [b"1"]


# -- The form of the answers ---------------------------------------------------------------------


def test_answer_when_read_byte_by_byte_has_the_captured_form(cloud: Running) -> None:
    request = f"POST {PUB} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\npassword:1234\r\n"
    request += "Content-Type: application/octet-stream\r\n\r\n1"
    head, _, body = raw_exchange(cloud, request.encode()).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200"  # neither a reason phrase nor a space
    assert {b"Server: Tengine", b"Connection: close", b"Content-Type: application/json"} <= set(
        lines
    )
    assert re.fullmatch(
        rb'{"code":20003,"info":{"messageId":[0-9]{19}},"message":"check token error"}', body
    )


def test_answer_to_an_authentication_has_nothing_but_the_token(cloud: Running) -> None:
    reply = authenticate(cloud, login())
    token = reply.json["info"]["token"]
    assert reply.json == {"code": 0, "message": "success", "info": {"token": token}}
    assert (reply.status, reply.reason) == (200, "")
    assert reply.headers["Connection"] == "close"


def test_message_ids_when_read_are_beyond_2_to_the_53_and_increase(cloud: Running) -> None:
    token = token_of(cloud)
    numbers = [publish(cloud, token).json["info"]["messageId"] for _ in range(3)]
    assert numbers == sorted(set(numbers)) and numbers[0] > 2**53 and numbers[-1] < 2**63
    kept = [message.properties["messageId"] for message in cloud.messages()]
    assert kept == numbers


def test_message_ids_when_the_clock_is_wrong_are_still_large_and_increase(
    aliyun: AliyunCloud,
) -> None:
    clock = [0.0]
    numbers = []
    with serve(aliyun, clock=lambda: clock[0]) as cloud:
        for clock[0] in (0.0, 2e9, 1e9):
            reply = publish(cloud, token_of(cloud))
            numbers.append(reply.json["info"]["messageId"])
    assert numbers == sorted(set(numbers)) and numbers[0] > 2**53


# -- /auth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"productKey": None},
        {"productKey": ""},
        {"productKey": "p" * 21},
        {"deviceName": None},
        {"deviceName": "d" * 33},
        {"clientId": None},
        {"clientId": ""},
        {"clientId": "c" * 65},
        {"version": "v9"},
        {"timestamp": ""},
        {"timestamp": "now"},
        {"timestamp": "-1"},
        {"timestamp": "1" * 5000},
    ],
)
def test_login_when_a_parameter_is_missing_or_malformed_is_a_param_error(
    cloud: Running, changes: dict
) -> None:
    reply = authenticate(cloud, login(**changes))
    assert (reply.code, reply.json["message"]) == (10001, "param error")
    assert reply.json["info"] == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"signmethod": "hmacsha512"},
        {"signmethod": "HmacSHA1"},
        {"signmethod": ""},
        {"sign": None},
        {"sign": 5},
        {"clientId": 5},
        {"timestamp": 1501668289957},
        {"extra": {"a": "b"}},
        {"extra": "\ud800"},
    ],
)
def test_login_when_a_member_is_not_as_documented_is_a_param_error(
    cloud: Running, changes: dict
) -> None:
    body = {name: value for name, value in {**login(), **changes}.items() if value is not None}
    assert authenticate(cloud, body).code == 10001


SIGNED = json.dumps(login())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'["ab"]',
        b'"abc"',
        b"[" * 100_000,
        b"\xff" + SIGNED.encode(),
        SIGNED.encode("utf-16"),
        SIGNED.replace("{", '{"clientId": "c", ').encode(),
        json.dumps([[name, value] for name, value in login().items()]).encode(),
        SIGNED.encode() + b" " * 131072,
        b"productKey=a1pk",
    ],
    ids=range(13),
)
def test_login_when_it_is_not_one_json_object_is_a_param_error(
    cloud: Running, body: bytes
) -> None:
    assert exchange(cloud, "/auth", body, JSON).code == 10001


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("application/json", 0),
        ("Application/JSON; charset=utf-8", 0),
        ("text/json", 10001),
        ("application/x-www-form-urlencoded", 10001),
        (None, 10001),
    ],
)
def test_login_is_accepted_as_json_only(cloud: Running, kind: str | None, code: int) -> None:
    fields = {} if kind is None else {"Content-Type": kind}
    assert exchange(cloud, "/auth", json.dumps(login()).encode(), fields).code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": ""}, 0),
        ({"version": "default"}, 0),
        ({"clientId": "é" * 64}, 0),
        ({"ABC": "z", "abc": "1"}, 0),
        ({"secret": "wrong"}, 20000),
        ({"secret": SECRET.upper()}, 20000),
        ({"productKey": "other"}, 20000),
        ({"deviceName": "other"}, 20000),
    ],
)
def test_login_when_well_formed_is_judged_by_its_signature(
    cloud: Running, changes: dict, code: int
) -> None:
    reply = authenticate(cloud, login(**changes))
    assert reply.code == code
    assert reply.json["message"] == {0: "success", 20000: "auth check error"}[code]


@pytest.mark.parametrize("given_sign", ["", "0" * 32, "Ⅷ", "x"])
def test_login_when_the_sign_is_wrong_is_an_auth_check_error(
    cloud: Running, given_sign: str
) -> None:
    assert authenticate(cloud, {**login(), "sign": given_sign}).code == 20000


@pytest.mark.parametrize(
    ("off_s", "code"), [(0, 0), (-890, 0), (890, 0), (-1200, 20000), (1200, 20000)]
)
def test_timestamp_when_more_than_15_minutes_off_is_an_auth_check_error(
    cloud: Running, off_s: int, code: int
) -> None:
    stamp = str(int((time.time() + off_s) * 1000))
    assert authenticate(cloud, login(timestamp=stamp)).code == code


def test_timestamp_is_good_for_15_minutes_to_the_millisecond(aliyun: AliyunCloud) -> None:
    now = 1736944496.0
    with serve(aliyun, clock=lambda: now) as cloud:
        for off_ms, code in ((0, 0), (-900_000, 0), (-900_001, 20000), (900_001, 20000)):
            stamp = str(int(now) * 1000 + off_ms)
            assert authenticate(cloud, login(timestamp=stamp)).code == code


def test_timestamp_when_the_services_clock_is_20_minutes_ahead_is_an_auth_check_error(
    aliyun: AliyunCloud,
) -> None:
    with serve(aliyun, clock=lambda: time.time() + 1200) as cloud:
        assert authenticate(cloud, login(timestamp=str(int(time.time() * 1000)))).code == 20000
        assert authenticate(cloud, login()).code == 0


def test_login_without_a_content_length_fails(cloud: Running) -> None:
    body = json.dumps(login()).encode()
    head = (
        b"POST /auth HTTP/1.1\r\nHost: "
        + HOST.encode()
        + b"\r\nContent-Type: application/json\r\n"
    )
    chunk = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert b'"code":20000' in raw_exchange(cloud, head + chunk)


# -- /topic --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "topic"),
    [
        (PUB, f"/{PK}/{DN}/user/update"),
        (
            f"/topic/sys/{PK}/{DN}/thing/event/property/post",
            f"/sys/{PK}/{DN}/thing/event/property/post",
        ),
        (f"/topic/{PK}/{DN}/a%20b", f"/{PK}/{DN}/a b"),
        (f"/topic/{PK}/{DN}/caf%C3%A9", f"/{PK}/{DN}/café"),
        (f"/topic/{PK}/{DN}/a%252Fb", f"/{PK}/{DN}/a%2Fb"),
    ],
)
def test_publish_when_the_topic_is_the_devices_is_kept(
    cloud: Running, target: str, topic: str
) -> None:
    payload = bytes(range(256))
    assert publish(cloud, token_of(cloud), payload, target).code == 0
    [message] = cloud.messages()
    assert (message.device, message.topic, message.payload) == (f"{PK}/{DN}", topic, payload)
    assert abs(message.received - time.time()) < 60


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"/topic/{PK}/dev2/user/update", 30001),
        (f"/topic/{PK}/{DN}", 30001),
        (f"/topic/{PK}/{DN}x/user/update", 30001),
        (f"/topic/sys/{PK}/dev2/thing/event/property/post", 30001),
        (f"/topic/ext/{PK}/{DN}/x", 30001),
        ("/topic/error/path", 30001),
        (f"{PUB}?qos=1", 10001),
        (f"{PUB}?", 10001),
        (f"/topic//{PK}/{DN}/user/update", 10001),
        (f"{PUB}/", 10001),
        ("/topic/", 10001),
        (f"/topic/{PK}/{DN}/+", 10001),
        (f"/topic/{PK}/{DN}/%23", 10001),
        (f"/topic/{PK}/{DN}/%zz", 10001),
        (f"/topic/{PK}/{DN}/%FF", 10001),
        (f"/topic/{PK}/{DN}/%00", 10001),
    ],
)
def test_publish_when_the_topic_is_wrong_is_refused_with_its_code(
    cloud: Running, target: str, code: int
) -> None:
    reply = publish(cloud, token_of(cloud), target=target)
    assert reply.code == code
    assert reply.json["message"] == {30001: "publish message error", 10001: "param error"}[code]
    assert cloud.messages() == []


@pytest.mark.parametrize(
    ("size", "code"), [(0, 10001), (1, 0), (131072, 0), (131073, 10001), (300_000, 10001)]
)
def test_payload_of_1_to_131072_bytes_is_accepted(cloud: Running, size: int, code: int) -> None:
    assert publish(cloud, token_of(cloud), b"x" * size).code == code
    assert [len(message.payload) for message in cloud.messages()] == [size] * (code == 0)


def test_publish_of_another_content_type_is_a_param_error(cloud: Running) -> None:
    token = token_of(cloud)
    for kind in ("application/json", "text/plain", ""):
        assert publish(cloud, token, **{"Content-Type": kind}).code == 10001
    assert exchange(cloud, PUB, b"1", {"password": token}).code == 10001


def test_publish_without_a_content_length_is_a_param_error(cloud: Running) -> None:
    fields = (
        f"Host: {HOST}\r\npassword: {token_of(cloud)}\r\nContent-Type: application/octet-stream"
    )
    head = f"POST {PUB} HTTP/1.1\r\n{fields}\r\n"
    chunked = "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"
    for request in (head + chunked, head + "\r\n", head.replace("1.1\r", "1.0\r") + "\r\n"):
        assert b'"code":10001' in raw_exchange(cloud, request.encode())
    assert cloud.messages() == []


def test_password_field_when_its_name_is_of_any_case_is_read(cloud: Running) -> None:
    token = token_of(cloud)
    for name in ("password", "Password", "PASSWORD"):
        fields = {"Content-Type": "application/octet-stream", name: token}
        assert exchange(cloud, PUB, b"1", fields).code == 0


# -- Tokens and devices --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "code", "message"),
    [
        (None, 20002, "token is null"),
        ("", 20002, "token is null"),
        ("1234", 20003, "check token error"),
        ("é", 20003, "check token error"),
    ],
)
def test_token_when_absent_or_unknown_is_refused_with_its_code(
    cloud: Running, token: str | None, code: int, message: str
) -> None:
    token_of(cloud)
    reply = publish(cloud, token)
    assert (reply.code, reply.json["message"]) == (code, message)
    assert reply.json["info"]["messageId"] > 2**53  # as captured
    assert cloud.messages() == []


def test_token_when_expired_or_forgotten_in_mid_flight_is_replaced_by_a_new_login(
    cloud: Running,
) -> None:
    token = token_of(cloud)
    assert publish(cloud, token).code == 0
    cloud.cloud.expire_tokens()
    reply = publish(cloud, token)
    assert (reply.code, reply.json["message"]) == (20001, "token is expired")
    second = token_of(cloud)
    assert publish(cloud, second).code == 0
    cloud.cloud.forget_tokens()
    assert publish(cloud, second).code == 20003
    assert publish(cloud, token_of(cloud)).code == 0
    assert len(cloud.messages()) == 3


def test_token_when_its_life_is_over_by_the_services_clock_has_expired(
    authority: Authority,
) -> None:
    service = AliyunCloud(authority, token_life_s=60)
    service.add_device(PK, DN, SECRET)
    now = 2e9
    with serve(service, clock=lambda: now) as cloud:
        token = token_of(cloud)
        now += 59
        assert publish(cloud, token).code == 0
        now += 1
        assert publish(cloud, token).code == 20001


def test_token_lives_7_days_unless_told_otherwise(aliyun: AliyunCloud) -> None:
    now = 2e9
    with serve(aliyun, clock=lambda: now) as cloud:
        token = token_of(cloud)
        now += 7 * 86400 - 1
        assert publish(cloud, token).code == 0
        now += 1
        assert publish(cloud, token).code == 20001


def test_token_when_of_another_device_does_not_reach_this_ones_topics(cloud: Running) -> None:
    cloud.cloud.add_device(PK, "dev2", "other")
    token = token_of(cloud, secret="other", deviceName="dev2")
    assert publish(cloud, token).code == 30001
    assert publish(cloud, token, target=f"/topic/{PK}/dev2/user/update").code == 0


def test_device_when_disabled_can_neither_authenticate_nor_publish(cloud: Running) -> None:
    token = token_of(cloud)
    cloud.cloud.disable_device(PK, DN)
    assert authenticate(cloud, login()).code == 20000
    assert publish(cloud, token).code == 20003
    cloud.cloud.enable_device(PK, DN)
    assert publish(cloud, token).code == 0


def test_device_when_removed_and_added_again_needs_a_new_token(cloud: Running) -> None:
    token = token_of(cloud)
    cloud.cloud.remove_device(PK, DN)
    assert authenticate(cloud, login()).code == 20000
    cloud.cloud.add_device(PK, DN, SECRET)
    assert publish(cloud, token).code == 20003
    assert publish(cloud, token_of(cloud)).code == 0


def test_device_when_added_without_a_secret_gets_one_of_its_own(aliyun: AliyunCloud) -> None:
    given = [aliyun.add_device(PK, f"d{number}") for number in range(2)]
    assert len(set(given)) == 2 and all(re.fullmatch("[0-9a-f]{32}", one) for one in given)


@pytest.mark.parametrize("names", [("", "d"), ("p" * 21, "d"), ("p/k", "d"), ("p", "d/e")])
def test_device_when_its_name_cannot_be_says_so_without_its_secret(
    aliyun: AliyunCloud, names: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="device") as caught:
        aliyun.add_device(*names, secret=SECRET)
    assert SECRET not in str(caught.value)


def test_devices_and_tokens_when_the_store_is_a_file_outlive_the_service(
    authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "cloud.db"
    service = AliyunCloud(authority, Store(path))
    service.add_device(PK, DN, SECRET)
    with serve(service) as cloud:
        token = token_of(cloud)
    service.store.close()
    again = Store(path)
    with serve(AliyunCloud(authority, again)) as cloud:
        assert publish(cloud, token).code == 0
    again.close()
    assert token.encode() not in path.read_bytes()


# -- Failures on request -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (10000, "common error"),
        (10001, "param error"),
        (20000, "auth check error"),
        (20004, "update session error"),
        (40000, "request too many"),
    ],
)
def test_login_when_told_to_fail_answers_each_code_of_its_table_once(
    cloud: Running, code: int, message: str
) -> None:
    cloud.cloud.fail_next(code)
    reply = authenticate(cloud, login())
    assert reply.json == {"code": code, "message": message, "info": {}}
    assert authenticate(cloud, login()).code == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (10000, "common error"),
        (10001, "param error"),
        (20001, "token is expired"),
        (20002, "token is null"),
        (20003, "check token error"),
        (30001, "publish message error"),
        (40000, "request too many"),
    ],
)
def test_publish_when_told_to_fail_answers_each_code_of_its_table_and_keeps_nothing(
    cloud: Running, code: int, message: str
) -> None:
    token = token_of(cloud)
    cloud.cloud.fail_next(code, times=2)
    for _ in range(2):
        reply = publish(cloud, token)
        assert (reply.code, reply.json["message"]) == (code, message)
    assert cloud.messages() == []
    assert publish(cloud, token).code == 0


def test_failure_that_only_a_publish_can_have_waits_for_one(cloud: Running) -> None:
    cloud.cloud.fail_next(30001)
    token = token_of(cloud)
    assert publish(cloud, token).code == 30001


@pytest.mark.parametrize("code", [0, 200, 20005])
def test_failure_that_is_in_no_table_says_so(aliyun: AliyunCloud, code: int) -> None:
    with pytest.raises(ValueError, match="not an error code"):
        aliyun.fail_next(code)


@pytest.mark.parametrize("fault", ["throttle(7)", "error(429)"])
def test_throttling_is_code_40000_in_http_200(cloud: Running, fault: str) -> None:
    token = token_of(cloud)
    cloud.faults.add(fault)
    reply = publish(cloud, token)
    assert (reply.code, reply.reason, reply.json["message"]) == (40000, "", "request too many")
    assert reply.headers["Retry-After"] == ("7" if fault == "throttle(7)" else None)
    assert cloud.messages() == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "Internal Server Error"), (502, "Bad Gateway"), (503, "Service Unavailable")],
)
def test_infrastructure_failure_has_its_http_status_and_no_code(
    cloud: Running, status: int, reason: str
) -> None:
    cloud.faults.add(f"error({status})")
    reply = publish(cloud, "1234")
    assert (reply.status, reply.reason, reply.json) == (status, reason, None)
    assert (reply.headers["Server"], reply.headers["Connection"]) == ("Tengine", "close")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        (f"{HOST}:443", 200),
        (HOST.upper(), 200),
        ("iot-as-http.cn-beijing.aliyuncs.com", 404),
        ("localhost", 404),
        ("", 400),
    ],
)
def test_host_is_the_endpoint(cloud: Running, host: str, status: int) -> None:
    fields = {**JSON, "Host": host}
    assert exchange(cloud, "/auth", json.dumps(login()).encode(), fields).status == status


def test_plain_http_is_not_answered(cloud: Running) -> None:
    body = json.dumps(login()).encode()
    head = f"POST /auth HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with socket.create_connection((cloud.host, cloud.port), 10) as connection:
        connection.sendall(request)
        with suppress(ConnectionResetError):
            assert b"HTTP/" not in connection.recv(65536)


# -- TLS and HTTP --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/topic", "/auth/", "/Auth", "/topics/a", "/auth/x"])
def test_path_when_unknown_is_not_found(cloud: Running, path: str) -> None:
    assert exchange(cloud, path, b"1").status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/auth", PUB])
def test_method_when_not_post_is_not_allowed(cloud: Running, method: str, path: str) -> None:
    reply = exchange(cloud, path, method=method)
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def test_request_that_is_not_http_is_refused_by_the_front_server(cloud: Running) -> None:
    answer = raw_exchange(cloud, b"hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nServer: Tengine\r\n" in answer


def test_handshake_needs_a_server_name_and_no_client_certificate(cloud: Running) -> None:
    tls = ssl.create_default_context(cafile=cloud.cloud.authority.ca_pem)
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        tls.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
    tls.check_hostname = False
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        tls.wrap_socket(plain)


def test_certificate_when_another_is_given_is_refused_by_the_client(
    authority: Authority,
) -> None:
    wrong = authority.server(("example.com",), name="wrong")
    with serve(AliyunCloud(authority, server=wrong)) as cloud:
        connection = connect(cloud)
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("POST", "/auth", b"{}", JSON)
        connection.close()
