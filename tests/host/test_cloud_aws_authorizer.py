"""The emulated port 443: custom authorizers, judged by curl and openssl, and ALPN."""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from host.certs import Authority
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.server import Running, serve

NAME = "x-amz-customauthorizer-name"
SIGNATURE = "x-amz-customauthorizer-signature"
TOKEN = "device-7 token/+=&%é"
ALPN = "x-amzn-http-ca"  # PROTOCOLS 1.1


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authorizer") / "certs")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signature(key: rsa.RSAPrivateKey, token: str) -> str:
    raw = key.sign(token.encode(), padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(raw).decode()


@pytest.fixture
def cloud(authority: Authority, key: rsa.RSAPrivateKey) -> Iterator[Running]:
    service = AWSCloud(authority, login="sigv4")
    service.add_thing("lamp-1")
    service.authorizers.add("Signed_1", "X-Token", public(key))
    service.authorizers.accept("Signed_1", TOKEN, "device-7", ["dt/device-7/#"])
    service.authorizers.add("open@a=b,c-d", "X-Token")
    service.authorizers.accept("open@a=b,c-d", "plain", "device-8")
    with serve(service) as running:
        yield running


@dataclass(frozen=True)
class Reply:
    """What http.client read."""

    status: int
    error: str | None
    json: dict


def exchange(
    cloud: Running,
    target: str,
    fields: Mapping[str, str] | None = None,
    method: str = "POST",
    context: ssl.SSLContext | None = None,
) -> Reply:
    tls = context or ssl.create_default_context(cafile=cloud.cloud.authority.ca_pem)
    connection = http.client.HTTPSConnection("localhost", cloud.port, context=tls, timeout=10)
    try:
        octets = {name: value.encode() for name, value in (fields or {}).items()}
        connection.request(method, target, b"{}", octets)
        response = connection.getresponse()
        error = response.headers["x-amzn-ErrorType"]
        return Reply(response.status, error, json.loads(response.read()))
    finally:
        connection.close()


def assert_forbidden(reply: Reply) -> None:
    assert (reply.status, reply.error) == (403, "ForbiddenException:")
    assert set(reply.json) == {"message", "traceId"} and reply.json["message"] == "Forbidden"


def good(key: rsa.RSAPrivateKey) -> dict[str, str]:
    return {NAME: "Signed_1", SIGNATURE: signature(key, TOKEN), "X-Token": TOKEN}


# -- Custom authorizers --------------------------------------------------------------------------


def test_curl_with_a_token_signed_by_openssl_publishes(
    authority: Authority, cloud: Running, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    pem = tmp_path / "authorizer key.pem"
    form = serialization.PrivateFormat.PKCS8
    pem.write_bytes(key.private_bytes(Encoding.PEM, form, serialization.NoEncryption()))
    head = (
        f"curl --silent --connect-to {ENDPOINT}:443:127.0.0.1:{cloud.port}"
        f" --cacert {shlex.quote(str(authority.ca_pem))} --request POST --data hello"
    )
    lines = (
        f"TOKEN={shlex.quote(TOKEN)}\n"
        f'SIGNATURE="$(printf %s "$TOKEN" | openssl dgst -sha256 -sign {shlex.quote(str(pem))}'
        ' | openssl base64 -A)"\n'
        f'{head} --header "x-amz-customauthorizer-name: Signed_1"'
        ' --header "x-amz-customauthorizer-signature: $SIGNATURE" --header "X-Token: $TOKEN"'
        f' "https://{ENDPOINT}/topics/dt/device-7/t?qos=1"\n'
    )
    done = subprocess.run(lines, shell=True, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["message"] == "OK"
    [message] = cloud.messages("dt/device-7/t")
    assert (message.device, message.payload, message.qos) == ("device-7", b"hello", 1)


def test_token_in_the_query_when_url_encoded_publishes(
    cloud: Running, key: rsa.RSAPrivateKey
) -> None:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in good(key).items())
    assert exchange(cloud, f"/topics/dt/device-7/t?qos=1&{query}").status == 200
    assert [message.device for message in cloud.messages()] == ["device-7"]


def test_signature_in_the_query_when_not_url_encoded_is_forbidden(
    cloud: Running, key: rsa.RSAPrivateKey
) -> None:
    numbered = (f"t{number}" for number in range(1000))
    token = next(token for token in numbered if "+" in signature(key, token))
    cloud.cloud.authorizers.accept("Signed_1", token, "device-7")
    raw = f"{NAME}=Signed_1&X-Token={token}&{SIGNATURE}={signature(key, token)}"
    assert_forbidden(exchange(cloud, f"/topics/a?{raw}"))
    assert exchange(cloud, "/topics/a?" + raw.replace("+", "%2B")).status == 200


def test_authorizer_without_signing_when_the_token_is_known_needs_no_signature(
    cloud: Running,
) -> None:
    fields = {NAME: "open@a=b,c-d", "X-Token": "plain"}
    assert exchange(cloud, "/topics/a", fields).status == 200
    assert exchange(cloud, "/topics/a", {**fields, SIGNATURE: "anything"}).status == 200
    assert_forbidden(exchange(cloud, "/topics/a", {**fields, "X-Token": "Plain"}))


@pytest.mark.parametrize(
    "change",
    [
        {NAME: "unknown"},
        {NAME: "signed_1"},
        {NAME: "Signed_1*"},
        {NAME: "a" * 129},
        {NAME: ""},
        {SIGNATURE: None},
        {SIGNATURE: ""},
        {SIGNATURE: "not base64!"},
        {SIGNATURE: "A" * 2564},
        {SIGNATURE: base64.b64encode(bytes(256)).decode()},
        {"X-Token": None},
        {"X-Token": TOKEN + "x"},
        {"X-Token": "x" * 6145},
        {"Host": "a9z9-ats.iot.us-east-1.amazonaws.com"},
    ],
)
def test_request_when_a_credential_is_wrong_is_forbidden(
    cloud: Running, key: rsa.RSAPrivateKey, change: dict
) -> None:
    fields = {name: value for name, value in (good(key) | change).items() if value is not None}
    assert_forbidden(exchange(cloud, "/topics/dt/device-7/t", fields))
    assert cloud.messages() == []


def test_signature_when_strange_characters_are_in_it_is_forbidden(
    cloud: Running, key: rsa.RSAPrivateKey
) -> None:
    fields = good(key) | {SIGNATURE: "!" + signature(key, TOKEN)}
    assert_forbidden(exchange(cloud, "/topics/dt/device-7/t", fields))


def test_token_when_well_signed_but_not_accepted_by_the_lambda_is_forbidden(
    cloud: Running, key: rsa.RSAPrivateKey
) -> None:
    fields = good(key) | {"X-Token": "other", SIGNATURE: signature(key, "other")}
    assert_forbidden(exchange(cloud, "/topics/dt/device-7/t", fields))


def test_token_of_6144_characters_is_accepted(cloud: Running, key: rsa.RSAPrivateKey) -> None:
    token = "x" * 6144
    cloud.cloud.authorizers.accept("Signed_1", token, "device-9")
    fields = {NAME: "Signed_1", "X-Token": token, SIGNATURE: signature(key, token)}
    assert exchange(cloud, "/topics/a", fields).status == 200


def test_credentials_when_half_in_the_fields_and_half_in_the_query_are_forbidden(
    cloud: Running,
) -> None:
    target = "/topics/a?X-Token=plain"
    assert_forbidden(exchange(cloud, target, {NAME: "open@a=b,c-d"}))


def test_policy_when_it_does_not_name_the_topic_gets_403(
    cloud: Running, key: rsa.RSAPrivateKey
) -> None:
    assert exchange(cloud, "/topics/dt/device-8/t", good(key)).status == 403
    assert exchange(cloud, "/topics/dt/device-7/t", good(key)).status == 200


def test_custom_authorizer_when_it_asks_for_a_shadow_gets_403(cloud: Running) -> None:
    fields = {NAME: "open@a=b,c-d", "X-Token": "plain"}
    reply = exchange(cloud, "/things/lamp-1/shadow", fields, "GET")
    assert (reply.status, reply.json["message"]) == (403, "Forbidden")
    assert exchange(cloud, "/retainedMessage", fields, "GET").status == 403


def test_authorizer_when_its_key_or_name_is_not_allowed_is_not_registered(
    cloud: Running,
) -> None:
    add = cloud.cloud.authorizers.add
    for name, token_key_name in (("a b", "X"), ("", "X"), ("a" * 129, "X"), ("a", "X Y")):
        with pytest.raises(ValueError, match="authorizer"):
            add(name, token_key_name)
    with pytest.raises(ValueError, match="RSA"):
        add("a", "X", public(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ValueError, match="6144"):
        cloud.cloud.authorizers.accept("a", "x" * 6145, "d")


def test_token_when_accepted_is_nowhere_in_the_store(cloud: Running) -> None:
    rows = cloud.cloud.store.execute("SELECT * FROM aws_tokens")
    rows += cloud.cloud.store.execute("SELECT * FROM aws_policies")
    assert rows and TOKEN not in repr(rows)


# -- X.509 on port 443 ---------------------------------------------------------------------------


@pytest.fixture
def alpn_cloud(authority: Authority) -> Iterator[Running]:
    service = AWSCloud(authority, login="x509-alpn")
    service.add_thing("lamp-1")
    with serve(service) as running:
        yield running


def client_tls(authority: Authority, protocols: list[str], thing: str | None = "lamp-1"):
    context = ssl.create_default_context(cafile=authority.ca_pem)
    if protocols:
        context.set_alpn_protocols(protocols)
    if thing is not None:
        pair = authority.device(thing)
        context.load_cert_chain(pair.cert_pem, pair.key_pem)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [[ALPN], ["http/1.1", ALPN]])
def test_certificate_with_the_alpn_protocol_publishes_and_has_its_shadow(
    authority: Authority, alpn_cloud: Running, protocols: list[str], version: ssl.TLSVersion
) -> None:
    context = client_tls(authority, protocols)
    context.maximum_version = version
    assert exchange(alpn_cloud, "/topics/a", context=context).status == 200
    assert [message.device for message in alpn_cloud.messages()] == ["lamp-1"]
    reply = exchange(alpn_cloud, "/things/lamp-1/shadow", method="GET", context=context)
    assert reply.json["message"] == "No shadow exists with name: 'lamp-1'"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["x-amzn-mqtt-ca"]])
def test_certificate_without_the_alpn_protocol_counts_for_nothing(
    authority: Authority, alpn_cloud: Running, protocols: list[str], version: ssl.TLSVersion
) -> None:
    context = client_tls(authority, protocols)
    context.maximum_version = version
    reply = exchange(alpn_cloud, "/topics/a", context=context)
    assert (reply.status, reply.error) == (403, "ForbiddenException:")
    assert reply.json["message"] == "Missing Authentication Token"
    assert alpn_cloud.messages() == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_handshake_with_the_alpn_protocol_but_no_certificate_fails(
    authority: Authority, alpn_cloud: Running, version: ssl.TLSVersion
) -> None:
    context = client_tls(authority, [ALPN], None)
    context.maximum_version = version
    with pytest.raises(OSError):
        exchange(alpn_cloud, "/topics/a", context=context)


def test_port_443_tells_by_alpn_alone_who_logs_in_with_what(
    authority: Authority, alpn_cloud: Running
) -> None:
    alpn_cloud.cloud.authorizers.add("open", "X-Token")
    alpn_cloud.cloud.authorizers.accept("open", "plain", "device-8")
    fields = {NAME: "open", "X-Token": "plain"}
    bare, certified = (client_tls(authority, [], thing) for thing in (None, "lamp-1"))
    both = client_tls(authority, [ALPN])
    assert exchange(alpn_cloud, "/topics/a", context=bare).status == 403
    for context in (bare, certified, both):
        assert exchange(alpn_cloud, "/topics/a", fields, context=context).status == 200
    devices = [message.device for message in alpn_cloud.messages()]
    assert devices == ["device-8", "device-8", "lamp-1"]


def test_certificate_when_unknown_or_inactive_gets_403_on_port_443_too(
    authority: Authority, alpn_cloud: Running
) -> None:
    context = client_tls(authority, [ALPN], "stranger")
    assert exchange(alpn_cloud, "/topics/a", context=context).json["message"] is None
    alpn_cloud.cloud.registry.deactivate("lamp-1")
    context = client_tls(authority, [ALPN])
    assert exchange(alpn_cloud, "/topics/a", context=context).status == 403
