"""Signatures of the device against independent code, computed here on random input.

botocore signs for AWS, azure-iot-device for IoT Hub and DPS, hmac and cryptography the rest. The
device's code runs in host/shim.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from unittest import mock
from urllib.parse import quote

import boto3
import botocore.auth
import botocore.config
import pytest
from azure.iot.device.common.auth.sastoken import RenewableSasToken
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from devices import FIRMWARE
from hypothesis import given
from hypothesis import strategies as st

from host.shim import Device

DEVICE = Device(FIRMWARE)
SIGN = DEVICE.load("onebuf.sign")
REQUEST = DEVICE.load("onebuf.http1").Request
HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
}
END_OF_2100 = 4133980800
TIMES = st.integers(0, END_OF_2100 - 1)
KEYS = st.binary(max_size=200)
VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)
TOKENS = st.text(VISIBLE, min_size=1, max_size=400)
REGIONS = st.from_regex(r"[a-z]{2}-(gov-)?[a-z]{4,9}-[1-9]", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}", fullmatch=True)
TOPICS = st.text(
    st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc"), exclude_characters="+#$"),
    min_size=1,
    max_size=60,
).filter(lambda topic: topic.count("/") <= 7 and topic not in (".", ".."))


def module(name: str) -> Any:
    return DEVICE.load(f"onebuf.{name}")


class Head:
    """A head that the device wrote: its request target and its fields, names in lower case."""

    def __init__(self, request: Any) -> None:
        self.octets = bytes(request.buf[: request.n])
        line, *lines = self.octets.decode("utf-8").split("\r\n")[:-2]
        self.target = line.split(" ")[1]
        pairs = [field.partition(":")[::2] for field in lines]
        self.fields = {name.lower(): value.strip() for name, value in pairs}


def head(cloud: Any, now: int, body: bytes | None = None) -> Head:
    """The head of a publish; with a body it is signed."""
    request = REQUEST(bytearray(4096))
    cloud.refresh(request, now)
    if body is not None:
        before = request.n
        cloud.sign(request, bytearray(body) + b"behind", len(body), now)
        assert request.n == before
    return Head(request)


# -- HMAC and the calendar ------------------------------------------------------------------------


@given(name=st.sampled_from(sorted(HASHES)), key=KEYS, data=st.binary(max_size=300))
def test_hmac_is_the_one_of_hmac_and_of_cryptography(name: str, key: bytes, data: bytes) -> None:
    found = SIGN.HMAC(name, key).digest(data)
    assert found == hmac.digest(key, data, name)
    if key:
        other = HMAC(key, HASHES[name]())
        other.update(data)
        assert found == other.finalize()


@given(data=st.binary(max_size=300), off=st.integers(0, 50))
def test_hex_and_base64_are_those_of_the_library(data: bytes, off: int) -> None:
    for is_base64, text in ((False, data.hex().encode()), (True, base64.b64encode(data))):
        buf = bytearray(1000)
        assert SIGN.put(data, buf, off, is_base64) == off + len(text)
        assert buf == bytes(off) + text + bytes(1000 - off - len(text))


@given(now=TIMES)
def test_stamp_is_the_one_of_datetime(now: int) -> None:
    moment = datetime.fromtimestamp(now, timezone.utc)
    assert module("cloud.aws_sigv4").stamp(now).decode() == f"{moment:%Y%m%dT%H%M%SZ}"


def test_stamp_is_the_one_of_datetime_on_every_day() -> None:
    stamp = module("cloud.aws_sigv4").stamp
    for now in range(0, END_OF_2100, 86400):
        assert stamp(now).decode() == f"{datetime.fromtimestamp(now, timezone.utc):%Y%m%dT%H%M%SZ}"


# -- AWS ------------------------------------------------------------------------------------------


def at(now: int) -> Any:
    """botocore at that time."""
    moment = datetime.fromtimestamp(now, timezone.utc)
    return mock.patch("botocore.auth.get_current_datetime", lambda: moment)


def signed_by_botocore(
    request: AWSRequest, credentials: Credentials, region: str, now: int
) -> dict[str, str]:
    with at(now):
        botocore.auth.SigV4Auth(credentials, "iotdata", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    topic=TOPICS,
    qos=st.sampled_from([0, 1]),
    body=st.binary(max_size=300),
    now=TIMES,
    region=REGIONS,
    key_id=TOKENS.filter(lambda text: "," not in text and "/" not in text),
    secret=st.text(min_size=0, max_size=100).filter(lambda text: text.isprintable()),
    token=st.none() | TOKENS,
    port=st.sampled_from([443, 8443]),
)
def test_publish_is_signed_as_by_botocore(
    topic: str,
    qos: int,
    body: bytes,
    now: int,
    region: str,
    key_id: str,
    secret: str,
    token: str | None,
    port: int,
) -> None:
    host = f"a1b2-ats.iot.{region}.amazonaws.com"
    cloud = module("cloud.aws_sigv4").AWSSigV4(
        host, topic, key_id, secret, token or "", qos, port=port
    )
    ours = head(cloud, now, body)
    url = f"https://{host}:{port}/topics/{quote(topic, safe='')}?qos={qos}"
    credentials = Credentials(key_id, secret, token)
    theirs = signed_by_botocore(AWSRequest("POST", url, data=body), credentials, region, now)
    assert url.endswith(ours.target)
    assert ours.fields["host"] == (host if port == 443 else f"{host}:{port}")
    for name in ("authorization", "x-amz-date", "x-amz-security-token"):
        assert ours.fields.get(name) == theirs.get(name)


@pytest.fixture(scope="module")
def sdk() -> Any:
    """boto3's client of AWS IoT, which keeps the last request in `sent` instead of sending it."""
    client = boto3.client(
        "iot-data",
        region_name="us-west-2",
        endpoint_url="https://a1b2-ats.iot.us-west-2.amazonaws.com",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        config=botocore.config.Config(parameter_validation=True),
    )
    client.sent = []

    def keep(request: Any, **rest: Any) -> AWSResponse:
        client.sent[:] = [request]
        raw = mock.Mock(stream=lambda: iter([b"{}"]))
        return AWSResponse(request.url, 200, {"content-type": "application/json"}, raw)

    client.meta.events.register("before-send.iot-data", keep)
    return client


@given(topic=TOPICS, body=st.binary(max_size=100), now=TIMES)
def test_publish_is_the_request_of_boto3(sdk: Any, topic: str, body: bytes, now: int) -> None:
    cloud = module("cloud.aws_sigv4").AWSSigV4(
        "a1b2-ats.iot.us-west-2.amazonaws.com",
        topic,
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    )
    ours = head(cloud, now, body)
    with at(now):
        sdk.publish(topic=topic, qos=1, payload=body)
    [request] = sdk.sent
    assert request.url == f"https://{ours.fields['host']}{ours.target}"
    assert ours.fields["authorization"] == str(request.headers["Authorization"], "ascii")


class Uplink:
    """As far as onebuf.cloud.aws_shadow needs one: it sends nothing."""

    def __init__(self, cloud: Any, now: int) -> None:
        self.cloud = cloud
        self.client = mock.Mock(head=REQUEST(bytearray(1024)))
        self.client.request.return_value = 200
        self.clock = mock.Mock()
        self.clock.now.return_value = now


THINGS = st.from_regex(r"[a-zA-Z0-9:_-]{1,128}", fullmatch=True)
SHADOWS = st.none() | st.from_regex(r"[$a-zA-Z0-9:_-]{1,64}", fullmatch=True)


@given(thing=THINGS, name=SHADOWS, now=TIMES, call=st.sampled_from(["get", "update", "delete"]))
def test_shadow_is_asked_for_and_signed_as_by_boto3(
    sdk: Any, thing: str, name: str | None, now: int, call: str
) -> None:
    cloud = module("cloud.aws_sigv4").AWSSigV4(
        "a1b2-ats.iot.us-west-2.amazonaws.com",
        "t",
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    )
    uplink = Uplink(cloud, now)
    shadow = module("cloud.aws_shadow").Shadow(uplink, thing, name or "")
    document = b'{"state":{}}'
    assert getattr(shadow, call)(*[document] * (call == "update")) == 200
    arguments: dict[str, Any] = {"thingName": thing}
    arguments.update({"shadowName": name} if name else {})
    arguments.update({"payload": document} if call == "update" else {})
    with at(now):
        getattr(sdk, f"{call}_thing_shadow")(**arguments)
    [request] = sdk.sent
    ours = Head(uplink.client.head)
    assert request.url == f"https://{ours.fields['host']}{ours.target}"
    assert ours.octets.startswith(f"{request.method} /".encode())
    assert ours.fields["authorization"] == str(request.headers["Authorization"], "ascii")


# -- Azure ----------------------------------------------------------------------------------------

AZURE_KEYS = st.binary(min_size=16, max_size=64).map(lambda key: base64.b64encode(key).decode())
DEVICE_IDS = st.text(
    st.sampled_from(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:.+%_#*?!(),=@$'"
    ),
    min_size=1,
    max_size=128,
)


def sdk_token(uri: str, key: str, policy: str | None, ttl: int) -> RenewableSasToken:
    return RenewableSasToken(uri, SymmetricKeySigningMechanism(key), policy, ttl)


@given(
    hub=NAMES,
    device_id=DEVICE_IDS,
    key=AZURE_KEYS,
    policy=st.none() | NAMES,
    ttl=st.integers(1, 10**9),
)
def test_sas_is_the_one_of_the_azure_sdk(
    hub: str, device_id: str, key: str, policy: str | None, ttl: int
) -> None:
    uri = f"{hub}.azure-devices.net/devices/{device_id}"
    theirs = sdk_token(uri, key, policy, ttl)
    assert SIGN.sas(key, uri, theirs.expiry_time, policy or "").decode() == str(theirs)


@given(hub=NAMES, device_id=DEVICE_IDS, key=AZURE_KEYS, life_s=st.integers(1, 10**7))
def test_hub_gets_the_token_of_the_azure_sdk(
    hub: str, device_id: str, key: str, life_s: int
) -> None:
    host = f"{hub}.azure-devices.net"
    theirs = sdk_token(f"{host}/devices/{device_id}", key, None, life_s)
    cloud = module("cloud.azure").Azure(host, device_id, key, life_s=life_s)
    ours = head(cloud, theirs.expiry_time - life_s)
    assert ours.fields["authorization"] == str(theirs)


@given(
    key=KEYS.filter(bool),
    registration_id=st.from_regex(r"[A-Za-z0-9._:-]{1,127}[A-Za-z0-9-]", fullmatch=True),
)
def test_key_of_a_group_is_derived_as_by_cryptography(key: bytes, registration_id: str) -> None:
    mac = HMAC(key, hashes.SHA256())
    mac.update(registration_id.lower().encode())  # DPS signs in lower case
    group = base64.b64encode(key).decode()
    found = module("provision.azure_dps").derived_key(group, registration_id)
    assert base64.b64decode(found, validate=True) == mac.finalize()


# -- Alibaba Cloud and Watson IoT -----------------------------------------------------------------

UNSIGNED = {"sign", "signmethod", "version", "resources"}


@given(
    product=NAMES,
    device=NAMES,
    secret=st.text(VISIBLE, min_size=1, max_size=100),
    client_id=st.none() | st.text(VISIBLE, min_size=1, max_size=64),
    method=st.sampled_from(sorted(HASHES)),
    now=st.just(0) | TIMES,
)
def test_login_at_alibaba_is_signed_over_its_parameters_in_order(
    product: str, device: str, secret: str, client_id: str | None, method: str, now: int
) -> None:
    cloud = module("cloud.aliyun").Aliyun(
        product, device, secret, f"/{product}/{device}/user/update", client_id, f"hmac{method}"
    )
    cloud.refresh(REQUEST(bytearray(1024)), now)
    login = json.loads(cloud.login)
    assert (login["productKey"], login["deviceName"]) == (product, device)
    assert login["clientId"] == client_id or client_id is None
    assert login.get("timestamp") == (f"{now}000" if now else None)
    content = "".join(name + login[name] for name in sorted(login) if name not in UNSIGNED)
    assert login["signmethod"] == f"hmac{method}"
    assert login["sign"] == hmac.new(secret.encode(), content.encode(), method).hexdigest()


@given(
    event=NAMES,
    token=st.text(min_size=1, max_size=100).filter(lambda text: text.isprintable()),
    user=st.just("use-token-auth") | NAMES.map(lambda name: f"a-org-{name}"),
)
def test_login_at_watson_is_basic_in_utf8(event: str, token: str, user: str) -> None:
    ours = head(module("cloud.watson").Watson("org123", "kind", "dev", event, token, user), 0)
    scheme, _, login = ours.fields["authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(login, validate=True).decode() == f"{user}:{token}"
