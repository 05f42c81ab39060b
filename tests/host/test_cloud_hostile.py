"""What an emulated cloud does with requests that nobody should send: real ones, mutated.

Whatever comes, it is answered in the cloud's words or the connection is closed; no exception is
left to the server, nothing hangs, and the next honest client is served.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from multidict import CIMultiDict

from host.certs import Authority, Pair, common_name
from host.cloud import aliyun_rules, sigv4
from host.cloud.aliyun import HOST as ALIYUN_HOST
from host.cloud.aliyun import AliyunCloud
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.azure import HUB, ID_SCOPE, AzureCloud
from host.cloud.azure_dps import HOST as DPS_HOST
from host.cloud.http import Call, Emulator
from host.cloud.server import Running, serve
from host.cloud.sigv4 import Secret
from host.cloud.store import Store
from host.cloud.watson import HOST as WATSON_HOST
from host.cloud.watson import WatsonCloud

CALLS = 4000  # mutants of each cloud's requests that are handed to it
CONNECTIONS = 100  # that come over TLS
GLANCE_S = 0.2
PATIENCE_S = 20
LARGE = 64 << 20
JSON = {"Content-Type": "application/json"}
DEEP = "[" * 3000
PIECES = [
    *("\0", "\r\n", "\xff", "\udcff", "%", "%00", "%FF", "%2F", "+", "#", "/", "//", "..", "?"),
    *("&", "=", ":", ";", ",", '"', "{", "}", "null", "-1", "9" * 30, "1e999", r"\ud800", "日本"),
    *("Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "HTTP/1.0", "A" * 9000),
    *(DEEP, base64.b64encode(DEEP.encode()).decode()),
]


@dataclass(frozen=True)
class Honest:
    """A request that the cloud takes."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes = b""
    status: int = 200

    def octets(self) -> bytes:
        """What goes over the wire."""
        fields = {**self.fields, "Content-Length": str(len(self.body))}
        head = [f"{self.method} {self.target} HTTP/1.1", *(f"{n}: {fields[n]}" for n in fields)]
        return "\r\n".join([*head, "", ""]).encode() + self.body

    def call(self, chain: tuple[bytes, ...] = ()) -> Call:
        """What the server hands over of it, by this computer's clock."""
        fields = CIMultiDict({"Content-Length": str(len(self.body)), **self.fields})
        return Call(self.method, self.target, fields, self.body, chain, time.time())


@dataclass(frozen=True)
class Target:
    """A cloud, what it takes, and the certificate to come with."""

    cloud: Emulator
    name: str
    requests: list[Honest] = field(default_factory=list)
    pair: Pair | None = None
    above: tuple[bytes, ...] = ()

    @property
    def chain(self) -> tuple[bytes, ...]:
        return (self.pair.cert_der.read_bytes(), *self.above) if self.pair else ()


def aws(authority: Authority) -> Target:
    cloud = AWSCloud(authority)
    pair = cloud.add_thing("d")
    host = {"Host": ENDPOINT}
    properties = base64.b64encode(b'[{"a": "b"}]').decode()
    mqtt5 = {
        "x-amz-mqtt5-user-properties": properties,
        "x-amz-mqtt5-correlation-data": "YQ==",
        "x-amz-mqtt5-payload-format-indicator": "UTF8_DATA",
    }
    query = "qos=1&retain=true&messageExpiry=60&contentType=a%2Fb&responseTopic=r"
    state = b'{"state": {"desired": {"a": [1, {"b": 2.5}]}}, "clientToken": "t"}'
    requests = [
        Honest("POST", f"/topics/a%2Fb?{query}", {**host, **mqtt5}, b"hello"),
        Honest("POST", "/things/d/shadow?name=n", host, state),
        Honest("GET", "/things/d/shadow?name=n", host),
        Honest("GET", "/api/things/shadow/ListNamedShadowsForThing/d?pageSize=2", host),
        Honest("GET", "/retainedMessage?maxResults=1&nextToken=YQ==", host),
        Honest("GET", "/retainedMessage/a%2Fb", host),
    ]
    return Target(cloud, ENDPOINT, requests, pair)


def aws_keys(authority: Authority) -> Target:
    cloud = AWSCloud(authority, login="sigv4")
    cloud.registry.add_key("AKID", Secret("a secret"))
    cloud.authorizers.add("auth", "token")
    cloud.authorizers.accept("auth", "tok", "d")
    signed = AWSRequest("POST", f"https://{ENDPOINT}/topics/a?qos=1", data=b"hello")
    SigV4Auth(Credentials("AKID", "a secret"), "iotdata", "us-east-1").add_auth(signed)
    token = {"x-amz-customauthorizer-name": "auth", "token": "tok"}
    algorithm = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Date=20250101T000000Z"
    claim = "X-Amz-Credential=AKID%2F20250101%2Fus-east-1%2Fiotdata%2Faws4_request"
    query = f"{algorithm}&{claim}&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
    requests = [
        Honest("POST", "/topics/a?qos=1", {"Host": ENDPOINT, **dict(signed.headers)}, b"hello"),
        Honest("POST", "/topics/a", {"Host": ENDPOINT, **token}, b"hello"),
        Honest("POST", f"/topics/a?{query}", {"Host": ENDPOINT}, b"hello", 403),
    ]
    return Target(cloud, ENDPOINT, requests)


def azure(authority: Authority) -> Target:
    cloud = AzureCloud(authority)
    cloud.dps.poll_limit = 10**9
    pair = cloud.add_thing("d")
    base = f"/{ID_SCOPE}/registrations/d"
    version = "api-version=2021-06-01"
    hub = "api-version=2020-03-13"
    properties = {
        "iothub-app-a": "b",
        "iothub-messageid": "1",
        "iothub-expiry": "2030-01-01T00:00",
    }
    batch = json.dumps([{"body": "YQ==", "properties": {"iothub-app-a": "b"}}]).encode()
    kind = {"Host": HUB, "Content-Type": "application/vnd.microsoft.iothub.json"}
    events = f"/devices/d/messages/events?{hub}"
    inbox = "/devices/d/messages/devicebound"
    body = b'{"registrationId": "d"}'
    signed = {"Authorization": "SharedAccessSignature sr=a%2Fb&sig=YQ%3D%3D&se=2000000000&skn=p"}
    requests = [
        Honest("PUT", f"{base}/register?{version}", {"Host": DPS_HOST, **JSON}, body, 202),
        Honest("POST", f"{base}?{version}", {"Host": DPS_HOST, **JSON}, body),
        Honest("GET", f"{base}/operations/5.a?{version}", {"Host": DPS_HOST}, b"", 404),
        Honest(
            "PUT", f"{base}/register?{version}", {"Host": DPS_HOST, **JSON, **signed}, body, 401
        ),
        Honest("POST", events, {"Host": HUB, **properties}, b"hello", 204),
        Honest("POST", events, kind, batch, 204),
        Honest("POST", events, {"Host": HUB, **signed}, b"hello", 401),
        Honest(
            "GET", f"{inbox}?{hub}", {"Host": HUB, "IotHub-MessageLockTimeout": "60"}, b"", 204
        ),
        Honest("DELETE", f"{inbox}/x?{hub}&reject", {"Host": HUB, "If-Match": '"x"'}, b"", 412),
    ]
    return Target(cloud, HUB, requests, pair, (authority.ca_der.read_bytes(),))


def aliyun(authority: Authority) -> Target:
    cloud = AliyunCloud(authority)
    secret = cloud.add_device("pk", "d")
    cloud.closes = False
    login = {"version": "default", "clientId": "c", "signmethod": "hmacsha1"}
    login |= {"productKey": "pk", "deviceName": "d"}
    content = aliyun_rules.content_of(login)
    login["sign"] = aliyun_rules.signature(content, secret, "hmacsha1")
    host = {"Host": ALIYUN_HOST}
    body = json.dumps(login).encode()
    auth = Honest("POST", "/auth", {**host, **JSON}, body)
    token = json.loads(cloud.answer(auth.call()).body)["info"]["token"]
    fields = {**host, "Content-Type": "application/octet-stream", "password": token}
    return Target(cloud, ALIYUN_HOST, [auth, Honest("POST", "/topic/pk/d/a", fields, b"hello")])


def watson(authority: Authority) -> Target:
    cloud = WatsonCloud(authority)
    token = cloud.add_device("t", "d")
    key, key_token = cloud.add_api_key()
    host = {"Host": WATSON_HOST, **JSON}
    device = {**host, "Authorization": basic(f"use-token-auth:{token}")}
    application = {**host, "Authorization": basic(f"{key}:{key_token}")}
    base = "types/t/devices/d"
    requests = [
        Honest("POST", f"/api/v0002/device/{base}/events/e", device, b"{}"),
        Honest("POST", f"/api/v0002/device/{base}/commands/+/request", device, b"", 204),
        Honest("POST", f"/api/v0002/application/{base}/commands/c", application, b"{}"),
    ]
    return Target(cloud, WATSON_HOST, requests)


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


CLOUDS: list[Callable[[Authority], Target]] = [aws, aws_keys, azure, aliyun, watson]


@pytest.fixture(params=CLOUDS, ids=lambda make: make.__name__)
def target(request: pytest.FixtureRequest, authority: Authority) -> Target:
    made: Target = request.param(authority)
    return made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hostile") / "certificates")


def mutated(text: str, dice: random.Random) -> str:
    """The text with one to three changes: octets or a whole word put in, taken out or doubled."""
    for _ in range(dice.randint(1, 3)):
        words = [match.span() for match in re.finditer(r"[^ ,;&=/?:%\"{}]+", text)]
        start = dice.randint(0, len(text))
        ends = (start, min(len(text), start + dice.randint(0, 8)))
        a, e = dice.choice([ends, dice.choice(words or [ends])])
        piece = dice.choice([dice.choice(PIECES), text[a:e] * 2, ""])
        text = text[:a] + piece + text[e:]
    return text


def mutant(request: Honest, dice: random.Random) -> Honest:
    """One part of the request changed."""
    part = dice.choice(["method", "target", "target", "body", *request.fields])
    method, target, body, fields = request.method, request.target, request.body, request.fields
    if part == "method":
        method = dice.choice(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "X"])
    elif part == "target":
        target = mutated(target, dice)
    elif part == "body":
        body = mutated(body.decode(), dice).encode(errors="surrogatepass")
    else:
        fields = {**fields, part: mutated(fields[part], dice)}
    return Honest(method, target, fields, body)


def test_mutant_of_an_honest_request_is_answered_and_never_an_exception(target: Target) -> None:
    dice = random.Random(3)
    for request in target.requests:
        assert target.cloud.answer(request.call(target.chain)).status == request.status
    for _ in range(CALLS):
        hostile = mutant(dice.choice(target.requests), dice)
        answer = target.cloud.answer(hostile.call(target.chain))
        assert answer.status < 500 and answer.whole()


def odd_certificate(*extensions: tuple[str, str], version: int = 3) -> bytes:
    """A certificate as no tool makes it; its signature fits to none of these changes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, begin = common_name("d"), datetime(2020, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, begin, datetime(2040, 1, 1))
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(client, critical=False)
    for number, (oid, value) in enumerate(extensions):
        identifier = x509.ObjectIdentifier(oid if oid else f"1.2.3.{number}")
        odd = x509.UnrecognizedExtension(identifier, bytes.fromhex(value))
        builder = builder.add_extension(odd, critical=False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    der = der.replace(bytes.fromhex("06032a0301"), bytes.fromhex("06032a0300"))
    return der.replace(
        bytes.fromhex("a003020102"), bytes((*bytes.fromhex("a0030201"), version - 1))
    )


ODD_CERTIFICATES = {
    "version 2": odd_certificate(version=2),
    "version 10": odd_certificate(version=10),
    "an extension twice": odd_certificate(("", "0500"), ("", "0500")),
    "an X.400 address": odd_certificate(("2.5.29.17", "3004a3023000")),
    "basic constraints that are none": odd_certificate(("2.5.29.19", "0102")),
    "no certificate": b"\x30\x03\x02\x01\x00",
}


@pytest.mark.parametrize("certificate", ODD_CERTIFICATES.values(), ids=ODD_CERTIFICATES)
def test_odd_certificate_is_refused_by_azure(authority: Authority, certificate: bytes) -> None:
    target = azure(authority)
    cloud = target.cloud
    assert isinstance(cloud, AzureCloud)
    cloud.add_device(HUB, "e")
    for request in (target.requests[0], target.requests[4]):
        assert cloud.answer(request.call((certificate,))).status in (401, 404)
    request = replace(target.requests[4], target=target.requests[4].target.replace("/d/", "/e/"))
    assert cloud.answer(request.call((certificate,))).status == 401


def test_access_key_that_is_no_utf8_is_unknown(authority: Authority) -> None:
    target = aws_keys(authority)
    signed, _, presigned = target.requests
    claim = signed.fields["Authorization"].replace("AKID", "\udcff")
    in_field = replace(signed, fields={**signed.fields, "Authorization": claim})
    in_query = replace(presigned, target=presigned.target.replace("AKID", "\udcff"))
    for hostile in (in_field, in_query):
        answer = target.cloud.answer(hostile.call())
        assert answer.status == 403 and b"security token included in the request" in answer.body


def test_user_properties_that_are_nested_without_end_are_refused(authority: Authority) -> None:
    target = aws(authority)
    deep = {"x-amz-mqtt5-user-properties": base64.b64encode(DEEP.encode()).decode()}
    hostile = replace(target.requests[0], fields={**target.requests[0].fields, **deep})
    assert target.cloud.answer(hostile.call(target.chain)).status == 400


def test_command_with_a_name_beyond_latin_1_is_delivered(authority: Authority) -> None:
    target = watson(authority)
    _, receive, send = target.requests
    assert target.cloud.answer(receive.call()).status == 204
    named = replace(send, target=send.target.removesuffix("c") + "%E6%97%A5")
    assert target.cloud.answer(named.call()).status == 200
    head = target.cloud.answer(receive.call()).head()
    assert "X-commandId: 日\r\n".encode() in head


# -- Over the wire --------------------------------------------------------------------------------


@contextmanager
def connected(running: Running, target: Target) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(running.cloud.authority.ca_pem))
    if target.pair:
        context.load_cert_chain(target.pair.cert_pem, target.pair.key_pem)
    plain = socket.create_connection((running.host, running.port), PATIENCE_S)
    with plain, context.wrap_socket(plain, server_hostname=target.name) as connection:
        yield connection


def spoilt(octets: bytes, dice: random.Random) -> bytes:
    """The request with up to three pieces of it changed, or cut, or followed by others."""
    text = mutated(octets.decode(), dice)
    return (text * dice.choice([1, 1, 1, 40])).encode(errors="surrogateescape")


def test_spoilt_octets_end_in_an_answer_or_the_end_and_harm_nobody_else(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(4)
    octets = [spoilt(dice.choice(target.requests).octets(), dice) for _ in range(CONNECTIONS)]
    with serve(target.cloud) as running, caplog.at_level(logging.ERROR):

        def send(hostile: bytes) -> bytes:
            with connected(running, target) as connection, suppress(OSError):
                connection.sendall(hostile)
                connection.settimeout(GLANCE_S)  # a request that is cut waits for its rest
                return connection.recv(65536)
            return b""

        with ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(send, octets)]
        assert sum(answer.startswith(b"HTTP/1.1 ") for answer in answers) > CONNECTIONS / 4
        assert not any(re.match(rb"HTTP/1.1 5", answer) for answer in answers)
        with connected(running, target) as connection:
            connection.sendall(target.requests[0].octets())
            status = f"HTTP/1.1 {target.requests[0].status}".encode()
            assert connection.recv(65536).startswith(status)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("endless", [b"A", b"A: b\r\n", b"POST / HTTP/1.1\r\n"])
def test_head_without_an_end_is_refused_before_it_fills_the_memory(
    authority: Authority, endless: bytes
) -> None:
    target = watson(authority)
    with serve(target.cloud) as running, connected(running, target) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        with suppress(OSError):
            for _ in range(LARGE // 65536):
                connection.sendall(endless * (65536 // len(endless)))
            pytest.fail(f"the cloud has taken {LARGE} octets of a head")


# -- Secrets --------------------------------------------------------------------------------------


def test_credentials_are_in_no_repr(authority: Authority) -> None:
    for make in CLOUDS:
        for request in make(authority).requests:
            signed = sigv4.Request(request.method, request.target, request.fields, request.body)
            for shown in (repr(request.call()), repr(signed)):
                parts = (*request.fields.values(), request.target)
                assert not any(part in shown for part in parts if len(part) > 8)


def test_request_that_cannot_be_read_is_logged_without_its_credentials(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    target = watson(authority)
    broken = target.requests[0].octets().replace(b"Basic ", b"Basic \0hunter2 ")
    caplog.set_level(logging.DEBUG)
    with serve(target.cloud) as running, connected(running, target) as connection:
        connection.sendall(broken)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert "hunter2" not in caplog.text and "BadHttp" in caplog.text


# -- Two listeners on one store -------------------------------------------------------------------


def everything(take: Callable[[], int | None]) -> list[int]:
    """What several threads together take until nothing is left, in order."""

    def take_all(_: int) -> list[int]:
        return [number for number in iter(take, None) if number is not None]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            return sorted(chain.from_iterable(pool.map(take_all, range(4))))
    finally:
        sys.setswitchinterval(interval)


def test_command_goes_to_one_of_several_connections_only(authority: Authority) -> None:
    store = Store()
    ports = [WatsonCloud(authority, store, plain=plain) for plain in (False, True)]
    token = ports[0].add_device("t", "d")
    fields = {"Host": WATSON_HOST, "Authorization": basic(f"use-token-auth:{token}")}
    path = "/api/v0002/device/types/t/devices/d/commands/c/request"
    receive = Honest("POST", path, fields)
    assert ports[0].answer(receive.call()).status == 204
    for number in range(100):
        ports[0].send_command("t", "d", "c", "text", b"%d" % number)

    def take() -> int | None:
        answer = random.choice(ports).answer(receive.call())
        return int(answer.body) if answer.status == 200 else None

    assert everything(take) == [*range(100)]


def test_message_is_locked_for_one_of_several_receivers_only(authority: Authority) -> None:
    store = Store()
    hubs = [AzureCloud(authority, store) for _ in range(2)]
    hubs[0].add_device(HUB, "d", key=base64.b64encode(bytes(32)).decode())
    for number in range(50):
        hubs[0].send(HUB, "d", b"%d" % number)

    def take() -> int | None:
        found = random.choice(hubs).hubs.queues.receive(HUB, "d", time.time())
        return int(found[1].payload) if found else None

    assert everything(take) == [*range(50)]
