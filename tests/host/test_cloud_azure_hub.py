"""The emulated IoT Hub, rule by rule, by its own clock; tokens and ids from independent code."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from azure.iot.device.common.auth.sastoken import RenewableSasToken
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from host.certs import Authority
from host.cloud import sas
from host.cloud.azure import HUB, AzureCloud
from host.cloud.azure_c2d import QueueFull
from host.cloud.http import Answer, Call
from host.cloud.store import Message

KEY = base64.b64encode(bytes(range(32))).decode()
WRONG_KEY = base64.b64encode(bytes(range(1, 33))).decode()
VERSION = "api-version=2020-03-13"
EVENTS = f"/devices/dev-1/messages/events?{VERSION}"
BOUND = "/devices/dev-1/messages/deviceBound"
BATCH = "application/vnd.microsoft.iothub.json"
# PROTOCOLS 3.4: what a device ID may consist of.
ID_CHARACTERS = "azAZ09-.+%_#*?!(),:=@$'"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("azure") / "certs")


@pytest.fixture
def azure(authority: Authority) -> AzureCloud:
    cloud = AzureCloud(authority)
    cloud.add_device(HUB, "dev-1", key=KEY)
    return cloud


def token(
    key: str = KEY, uri: str = f"{HUB}/devices/dev-1", name: str | None = None, ttl: int = 3600
) -> str:
    return str(RenewableSasToken(uri, SymmetricKeySigningMechanism(key), name, ttl))


def call(
    azure: AzureCloud,
    method: str,
    target: str,
    body: bytes = b"",
    chain: tuple[bytes, ...] = (),
    now: float | None = None,
    **fields: str | None,
) -> Answer:
    """Hand one request to the hub; `fields` have _ for -, None takes one away."""
    named: dict[str, str | None] = {
        "Host": HUB,
        "Content-Length": str(len(body)),
        "Authorization": token(),
    }
    for name, value in fields.items():
        named[name if "-" in name else name.replace("_", "-")] = value
    kept = CIMultiDict({name: value for name, value in named.items() if value is not None})
    return azure.answer(Call(method, target, kept, body, chain, now or time.time()))


def send(azure: AzureCloud, body: bytes = b"{}", **options: object) -> Answer:
    return call(azure, "POST", EVENTS, body, **options)  # type: ignore[arg-type]


def receive(azure: AzureCloud, **options: object) -> Answer:
    return call(azure, "GET", f"{BOUND}?{VERSION}", **options)  # type: ignore[arg-type]


def lock(answer: Answer) -> str:
    assert answer.status == 200
    tag = dict(answer.fields)["ETag"]
    assert tag[0] == tag[-1] == '"'
    return tag[1:-1]


def name_of(answer: Answer) -> str:
    """Check the form of an error and return its name."""
    body = json.loads(answer.body)
    name = dict(answer.fields)["iothub-errorcode"]
    assert list(body) == ["Message", "ExceptionMessage"]
    assert body["Message"].startswith(f"ErrorCode:{name};")
    assert body["ExceptionMessage"].startswith("Tracking ID:")
    return f"{answer.status} {name}"


def only(azure: AzureCloud) -> Message:
    [message] = azure.store.messages("devices/dev-1/messages/events")
    return message


# -- Who may call --------------------------------------------------------------------------------


def test_certificate_when_of_a_verified_authority_with_the_ids_name_is_accepted(
    azure: AzureCloud, authority: Authority
) -> None:
    azure.add_device(HUB, "dev-2")
    azure.add_device(HUB, "Dev-2")
    leaf = authority.device("dev-2").cert_der.read_bytes()

    def status(device_id: str) -> int:
        target = f"/devices/{device_id}/messages/events?{VERSION}"
        return call(azure, "POST", target, chain=(leaf,), Authorization=None).status

    assert status("dev-2") == 401
    azure.verify_authority(authority.ca_pem, hub=HUB)
    assert status("dev-2") == 204
    assert status("Dev-2") == 401  # a device ID's case counts
    assert status("dev-1") == 401


def test_certificate_when_it_is_the_registered_one_is_accepted_while_in_date(
    azure: AzureCloud, authority: Authority
) -> None:
    leaf = authority.device("dev-2").cert_der.read_bytes()
    azure.add_device(HUB, "dev-1", certificate=leaf)
    assert send(azure, chain=(leaf,), Authorization=None).status == 204
    late = time.time() + 86400 * 1000
    assert name_of(send(azure, chain=(leaf,), Authorization=None, now=late)).startswith("401")
    other = authority.device("dev-3").cert_der.read_bytes()
    assert name_of(send(azure, chain=(other,), Authorization=None)).startswith("401")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic dXNlcjpwYXNz",
        token(WRONG_KEY),
        token(uri=f"{HUB}/devices/dev-2"),
        token(uri=f"{HUB}/devices/DEV-1"),
        token(uri=HUB),
        token(uri="Other.azure-devices.net/devices/dev-1"),
        token(name="device"),
        token(ttl=-1),
        token() + "\udcff",
        token(ttl=86400 * 400),
        token() + "&se=1",
        token() + "&x=1",
        token().replace("&se=", "&se=-"),
        token().replace("&sig=", "&sig=A"),
        token().partition("&se=")[0],
    ],
)
def test_call_without_a_good_token_is_refused(
    azure: AzureCloud, authorization: str | None
) -> None:
    refused = send(azure, Authorization=authorization)
    assert name_of(refused) == "401 IotHubUnauthorizedAccess"
    assert azure.store.messages() == []


def test_signature_whose_plus_is_not_escaped_is_refused(azure: AzureCloud) -> None:
    signed = next(t for t in (token(ttl=ttl) for ttl in range(3600, 4600)) if "%2B" in t)
    assert send(azure, Authorization=signed).status == 204
    assert send(azure, Authorization=signed.replace("%2B", "+")).status == 401


def test_token_when_its_time_is_over_is_refused_until_a_new_one_comes(azure: AzureCloud) -> None:
    old = token(ttl=600)
    assert send(azure, Authorization=old).status == 204
    later = time.time() + 1200
    assert name_of(send(azure, Authorization=old, now=later)).startswith("401")
    assert send(azure, Authorization=token(ttl=3600), now=later).status == 204


def test_policy_when_its_key_is_right_acts_for_every_device(azure: AzureCloud) -> None:
    azure.add_policy(HUB, "device", WRONG_KEY)
    for uri in (HUB, HUB.lower(), f"{HUB}/devices", f"{HUB}/devices/dev-1"):
        assert send(azure, Authorization=token(WRONG_KEY, uri, "device")).status == 204
    for key, uri, name in ((KEY, HUB, "device"), (WRONG_KEY, f"{HUB}/devices/dev", "device")):
        assert send(azure, Authorization=token(key, uri, name)).status == 401


@given(
    st.text(ID_CHARACTERS, min_size=1, max_size=40),
    st.binary(min_size=16, max_size=64),
    st.booleans(),
)
def test_sdks_tokens_when_the_id_has_any_character_are_verified(
    identity: str, secret: bytes, lower: bool
) -> None:
    key = base64.b64encode(secret).decode()
    text = token(key, f"{HUB}/devices/{identity}")
    parsed = sas.parse(text)
    assert parsed.resource == f"{HUB}/devices/{identity}"
    assert parsed.signed_by(sas.key_bytes(key)) and not parsed.signed_by(b"x" * 16)
    if lower:  # the C SDK's spelling, which has a signature of its own
        resource = quote(f"{HUB}/devices/{identity}", safe="").replace("%2F", "%2f")
        expiry = str(parsed.expiry)
        signed = SymmetricKeySigningMechanism(key).sign(f"{resource}\n{expiry}")
        text = f"SharedAccessSignature sr={resource}&sig={quote(signed, safe='')}&se={expiry}"
        assert sas.parse(text).signed_by(sas.key_bytes(key))


def test_token_when_shown_or_refused_tells_no_secret() -> None:
    text = token()
    signature = text.partition("&sig=")[2].partition("&")[0]
    assert signature not in repr(sas.parse(text))
    for bad in (text + "&x=1", text.replace("%3D", ""), text.replace("sr=", "rs=")):
        with pytest.raises(sas.SasError) as caught:
            sas.parse(bad)
        assert signature[:8] not in str(caught.value)


def test_device_when_removed_or_disabled_is_not_found(azure: AzureCloud) -> None:
    azure.disable_device(HUB, "dev-1")
    assert name_of(send(azure)) == "404 DeviceNotFound"
    azure.disable_device(HUB, "dev-1", disabled=False)
    assert send(azure).status == 204
    azure.send(HUB, "dev-1", b"x")
    azure.remove_device(HUB, "dev-1")
    assert name_of(send(azure)) == "404 DeviceNotFound"
    azure.add_device(HUB, "dev-1", key=KEY)
    assert receive(azure).status == 204  # its messages went with it


# -- Telemetry -----------------------------------------------------------------------------------


def test_event_when_it_has_properties_keeps_them(azure: AzureCloud) -> None:
    answer = send(
        azure,
        b"\x00\xff",
        Content_Type="application/octet-stream",
        Content_Encoding="utf-8",
        iothub_to="/devices/dev-1/messages/events",
        iothub_messageid="m-1",
        iothub_correlationid="c 1",
        iothub_contenttype="application/json",
        iothub_contentencoding="utf-8",
        iothub_creationtimeutc="2026-11-21T10:00:00.1234567Z",
        dt_subject="room",
        **{"iothub-app-Level": "high", "iothub-app-x!#$%&'*+.^_`|~": "1", "iothub-unknown": "?"},
    )
    assert answer.status == 204
    message = only(azure)
    assert message.payload == b"\x00\xff" and message.properties == {
        "hub": HUB,
        "application": {"Level": "high", "x!#$%&'*+.^_`|~": "1"},
        "system": {
            "to": "/devices/dev-1/messages/events",
            "messageid": "m-1",
            "correlationid": "c 1",
            "contenttype": "application/json",
            "contentencoding": "utf-8",
            "creationtimeutc": "2026-11-21T10:00:00.1234567Z",
            "dt-subject": "room",
        },
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iothub-app-", "1"),
        ("iothub-app-a", "two words"),
        ("iothub-app-a", "a/b"),
        ("iothub-app-a", "a:b"),
        ("iothub-app-a", "é"),
        ("iothub-messageid", "m" * 129),
        ("iothub-messageid", "a b"),
        ("iothub-ack", "maybe"),
        ("iothub-userid", "\udcff"),
        ("iothub-creationtimeutc", "yesterday"),
        ("iothub-to", "/devices/dev-2/messages/events"),
    ],
)
def test_property_when_it_breaks_a_rule_is_refused(
    azure: AzureCloud, name: str, value: str
) -> None:
    assert name_of(send(azure, **{name: value})) == "400 ArgumentInvalid"
    assert azure.store.messages() == []


def test_event_when_it_is_larger_than_256_kib_with_its_properties_is_refused(
    azure: AzureCloud,
) -> None:
    body = bytes(262144 - 8)
    assert send(azure, body, **{"iothub-app-abcd": "1234"}).status == 204
    refused = send(azure, body, **{"iothub-app-abcd": "12345"})
    assert name_of(refused) == "413 MessageTooLarge"
    assert name_of(send(azure, bytes(262145))) == "413 MessageTooLarge"


def test_event_without_a_length_is_refused(azure: AzureCloud) -> None:
    assert name_of(send(azure, Content_Length=None)) == "411 LengthRequired"
    assert send(azure, Content_Length=None, Transfer_Encoding="chunked").status == 204


def test_batch_when_well_formed_is_so_many_messages(azure: AzureCloud) -> None:
    items = [
        {"body": "eyJ0IjoxfQ==", "base64Encoded": True, "properties": {"iothub-app-k": "v"}},
        {"body": "plain é", "base64Encoded": False},
        {"body": "AAE=", "properties": {"iothub-messageid": "m"}},
    ]
    assert send(azure, json.dumps(items).encode(), Content_Type=BATCH).status == 204
    found = [
        (message.payload, message.properties["application"], message.properties["system"])
        for message in azure.store.messages()
    ]
    assert found == [
        (b'{"t":1}', {"k": "v"}, {}),
        ("plain é".encode(), {}, {}),
        (b"\x00\x01", {}, {"messageid": "m"}),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"body":1}]',
        '[{"base64Encoded":true}]',
        '[{"body":"?"}]',
        '[{"body":"","base64Encoded":"no"}]',
        '[{"body":"","properties":[]}]',
        '[{"body":"","properties":{"k":"v"}}]',
        '[{"body":"","properties":{"iothub-app-k":1}}]',
        '[{"body":"","extra":1}]',
        '[{"body":"\\ud800","base64Encoded":false}]',
        "[" * 100_000,
    ],
)
def test_batch_when_malformed_is_refused_whole(azure: AzureCloud, body: str) -> None:
    refused = send(azure, body.encode(), Content_Type=BATCH)
    assert name_of(refused) == "400 IotHubFormatError"
    if body.startswith("[{"):
        half = f'[{{"body":"AAE="}},{body[1:]}'
        assert name_of(send(azure, half.encode(), Content_Type=BATCH)).startswith("400")
    assert azure.store.messages() == []


def test_batch_when_of_another_kind_is_refused(azure: AzureCloud) -> None:
    refused = send(azure, b"[]", Content_Type="application/vnd.microsoft.iothub.xml")
    assert name_of(refused) == "415 UnsupportedMediaType"


@pytest.mark.parametrize(
    ("method", "target", "answer"),
    [
        ("POST", f"/devices/dev-1/messages?{VERSION}", "404 NotFound"),
        ("POST", f"/twins/dev-1?{VERSION}", "404 NotFound"),
        ("PUT", EVENTS, "405 MethodNotAllowed"),
        ("POST", f"{BOUND}?{VERSION}", "405 MethodNotAllowed"),
        ("GET", f"{BOUND}/1?{VERSION}", "405 MethodNotAllowed"),
        ("DELETE", f"{BOUND}/1/abandon?{VERSION}", "405 MethodNotAllowed"),
        ("POST", "/devices/dev-1/messages/events", "400 InvalidProtocolVersion"),
        ("POST", f"{EVENTS[:-10]}2020-03-14", "400 InvalidProtocolVersion"),
        ("POST", f"/devices/dev%2F1/messages/events?{VERSION}", "400 ArgumentInvalid"),
        ("POST", f"/devices/dev%/messages/events?{VERSION}", "400 ArgumentInvalid"),
        ("POST", f"/devices/{'d' * 129}/messages/events?{VERSION}", "400 ArgumentInvalid"),
        ("POST", f"/devices/dev-9/messages/events?{VERSION}", "404 DeviceNotFound"),
        ("GET", f"{BOUND}?{VERSION}&{VERSION}", "400 ArgumentInvalid"),
    ],
)
def test_request_when_it_names_nothing_is_refused(
    azure: AzureCloud, method: str, target: str, answer: str
) -> None:
    assert name_of(call(azure, method, target)) == answer


def test_device_id_when_percent_encoded_is_decoded_once(azure: AzureCloud) -> None:
    identity = "a%41#?+@$'(x),:=!*"
    azure.add_device(HUB, identity, key=KEY)
    target = f"/devices/{quote(identity, safe='')}/messages/events?{VERSION}"
    signed = token(uri=f"{HUB}/devices/{identity}")
    assert call(azure, "POST", target, Authorization=signed).status == 204
    assert azure.store.messages()[0].device == identity


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 411, 412, 413, 415, 429, 500, 503, 504]
)
def test_error_of_every_documented_status_has_the_form_of_the_service(
    azure: AzureCloud, status: int
) -> None:
    assert name_of(azure.error(status)).startswith(f"{status} ")
    assert name_of(azure.error(403)) == "403 IotHubQuotaExceeded"
    assert name_of(azure.error(404)) == "404 DeviceNotFound"


# -- Cloud to device -----------------------------------------------------------------------------


def test_message_when_received_has_its_fields_and_is_gone_once_completed(
    azure: AzureCloud,
) -> None:
    assert receive(azure).status == 204
    expires = time.time() + 600
    identity = azure.send(
        HUB,
        "dev-1",
        b"\x00on",
        {"room": "7"},
        {"iothub-ack": "full", "iothub-correlationid": "c", "ContentType": "text/plain"},
        expires,
    )
    answer = receive(azure)
    fields = dict(answer.fields)
    assert answer.body == b"\x00on"
    assert fields["iothub-messageid"] == identity and fields["iothub-app-room"] == "7"
    assert fields["iothub-to"] == "/devices/dev-1/messages/deviceBound"
    assert fields["iothub-ack"] == "full" and fields["iothub-correlationid"] == "c"
    assert fields["iothub-deliverycount"] == "0" and fields["ContentType"] == "text/plain"
    assert fields["iothub-sequencenumber"].isdecimal() and fields["iothub-enqueuedtime"]
    assert fields["iothub-expiry"].endswith("Z")
    assert receive(azure).status == 204  # locked
    token_ = lock(answer)
    done = call(azure, "DELETE", f"{BOUND}/{token_}?{VERSION}", If_Match=f'"{token_}"')
    assert done.status == 204
    assert azure.waiting(HUB, "dev-1") == azure.dead_letters(HUB, "dev-1") == []
    again = call(azure, "DELETE", f"{BOUND}/{token_}?{VERSION}")
    assert name_of(again) == "412 DeviceMessageLockLost"


def test_lock_when_a_minute_has_passed_is_lost_and_the_message_comes_again(
    azure: AzureCloud,
) -> None:
    azure.send(HUB, "dev-1", b"x")
    now = time.time()
    first = receive(azure, now=now)
    assert receive(azure, now=now + 59).status == 204
    target = f"{BOUND}/{lock(first)}?{VERSION}"
    assert name_of(call(azure, "DELETE", target, now=now + 60)) == "412 DeviceMessageLockLost"
    second = receive(azure, now=now + 60)
    assert dict(second.fields)["iothub-deliverycount"] == "0"
    assert lock(second) != lock(first)
    third = receive(azure, now=now + 130, IotHub_MessageLockTimeout="300")
    target = f"{BOUND}/{lock(third)}?{VERSION}"
    assert call(azure, "DELETE", target, now=now + 429).status == 204
    for asked in ("4", "301", "x", "", "9" * 5000):
        refused = receive(azure, IotHub_MessageLockTimeout=asked)
        assert name_of(refused) == "400 ArgumentInvalid"


def test_message_when_abandoned_ten_times_is_a_dead_letter(azure: AzureCloud) -> None:
    azure.send(HUB, "dev-1", b"first")
    azure.send(HUB, "dev-1", b"second")
    for count in range(10):
        answer = receive(azure)
        assert answer.body == b"first"
        assert dict(answer.fields)["iothub-deliverycount"] == str(count)
        target = f"{BOUND}/{lock(answer)}/abandon?{VERSION}"
        refused = call(azure, "POST", target, Content_Length=None)
        assert name_of(refused) == "411 LengthRequired"
        assert call(azure, "POST", target).status == 204
    assert receive(azure).body == b"second"
    assert [message.payload for message in azure.dead_letters(HUB, "dev-1")] == [b"first"]


def test_message_when_rejected_is_a_dead_letter(azure: AzureCloud) -> None:
    azure.send(HUB, "dev-1", b"x")
    target = f"{BOUND}/{lock(receive(azure))}?{VERSION}"
    assert name_of(call(azure, "DELETE", f"{target}&reject=1")) == "400 ArgumentInvalid"
    other = call(azure, "DELETE", f"{target}&reject", If_Match="other")
    assert name_of(other) == "412 DeviceMessageLockLost"
    assert call(azure, "DELETE", f"{target}&reject").status == 204
    assert len(azure.dead_letters(HUB, "dev-1")) == 1 and receive(azure).status == 204


def test_message_when_expired_is_a_dead_letter(azure: AzureCloud) -> None:
    now = time.time()
    azure.send(HUB, "dev-1", b"x", expires=now + 100)
    assert receive(azure, now=now + 100).status == 204
    assert len(azure.dead_letters(HUB, "dev-1")) == 1


def test_lock_when_it_is_another_devices_is_not_its_own(azure: AzureCloud) -> None:
    azure.add_device(HUB, "dev-2", key=KEY)
    azure.send(HUB, "dev-1", b"x")
    held = lock(receive(azure))
    refused = call(
        azure,
        "DELETE",
        f"/devices/dev-2/messages/devicebound/{held}?{VERSION}",
        Authorization=token(uri=f"{HUB}/devices/dev-2"),
    )
    assert name_of(refused) == "412 DeviceMessageLockLost"
    for spelled in (f'"{held}"', f"%22{held}%22"):
        refused = call(azure, "DELETE", f"{BOUND}/{spelled}?{VERSION}")
        assert name_of(refused) == "412 DeviceMessageLockLost"


def test_queue_when_it_has_fifty_messages_takes_no_more(azure: AzureCloud) -> None:
    for number in range(50):
        azure.send(HUB, "dev-1", b"%d" % number)
    with pytest.raises(QueueFull):
        azure.send(HUB, "dev-1", b"one more")
    seen = [receive(azure).body for _ in range(50)]
    assert seen == [b"%d" % number for number in range(50)]


def test_send_when_a_field_could_break_the_head_is_refused(azure: AzureCloud) -> None:
    for properties, fields in (({"a": "1\r\nx: y"}, {}), ({}, {"iothub-userid": "a\r\nb: c"})):
        with pytest.raises(ValueError):
            azure.send(HUB, "dev-1", b"x", properties, fields)
    assert azure.waiting(HUB, "dev-1") == []
