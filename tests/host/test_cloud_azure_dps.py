"""The emulated Device Provisioning Service, rule by rule, by its own clock."""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from azure.iot.device.common.auth.sastoken import RenewableSasToken
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from multidict import CIMultiDict

from host.certs import Authority
from host.cloud import sas
from host.cloud.azure import HUB, ID_SCOPE, AzureCloud
from host.cloud.azure_dps import HOST
from host.cloud.http import Answer, Call
from host.cloud.store import Store

OTHER_HUB = "MyOtherHub.azure-devices.net"
KEY = base64.b64encode(bytes(range(32))).decode()
WRONG_KEY = base64.b64encode(bytes(range(1, 33))).decode()
LONG = b"x" * 98304
VERSION = "api-version=2021-06-01"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("azure") / "certs")


@pytest.fixture
def azure(authority: Authority) -> AzureCloud:
    return AzureCloud(authority, hubs=(HUB, OTHER_HUB))


class Issued:
    """A certificate that cryptography made, and its key."""

    def __init__(
        self,
        name: str,
        issuer: Issued | None = None,
        usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
        days: tuple[int, int] = (-1, 30),
        ca: bool = False,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(timezone.utc)
        above = issuer or self
        builder = x509.CertificateBuilder(above.name, self.name, self.key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + timedelta(days=days[0]))
        builder = builder.not_valid_after(now + timedelta(days=days[1]))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if usage is not None and not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = builder.sign(above.key, hashes.SHA256())
        self.der = made.public_bytes(serialization.Encoding.DER)


def token(key: str, registration_id: str = "dev-1", ttl: int = 3600, **parts: str) -> str:
    """Return what the SDK signs for a registration."""
    uri = parts.get("uri", f"{ID_SCOPE}/registrations/{registration_id}")
    name = parts.get("name", "registration")
    return str(RenewableSasToken(uri, SymmetricKeySigningMechanism(key), name, ttl))


def call(
    azure: AzureCloud,
    method: str,
    path: str,
    body: bytes = b"",
    chain: tuple[bytes, ...] = (),
    now: float | None = None,
    **fields: str,
) -> Answer:
    """Hand one request to the cloud; `fields` have _ for -."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    given = CIMultiDict({"Host": HOST, "Content-Type": "application/json"} | named)
    return azure.answer(Call(method, path, given, body, chain, now or time.time()))


def register(azure: AzureCloud, registration_id: str = "dev-1", **options: object) -> Answer:
    body = json.dumps({"registrationId": registration_id}).encode()
    path = f"/{ID_SCOPE}/registrations/{registration_id}/register?{VERSION}"
    return call(azure, "PUT", path, **{"body": body} | options)  # type: ignore[arg-type]


def poll(azure: AzureCloud, operation: str, registration_id: str = "dev-1", **options) -> Answer:
    path = f"/{ID_SCOPE}/registrations/{registration_id}/operations/{operation}?{VERSION}"
    return call(azure, "GET", path, **options)


def query(azure: AzureCloud, **options: object) -> Answer:
    body = b'{"registrationId":"dev-1"}'
    path = f"/{ID_SCOPE}/registrations/dev-1?{VERSION}"
    return call(azure, "POST", path, body, **options)  # type: ignore[arg-type]


def state_of(azure: AzureCloud, registration_id: str = "dev-1", **options: object) -> dict:
    """Register and look up; the registration's state."""
    registered = register(azure, registration_id, **options)
    assert registered.status == 202, registered
    operation = json.loads(registered.body)["operationId"]
    found = poll(azure, operation, registration_id, **options)
    assert found.status == 200, found
    return json.loads(found.body)["registrationState"]


def code(answer: Answer) -> int:
    """Check the form of an error and return its number."""
    body = json.loads(answer.body)
    fields = dict(answer.fields)
    assert list(body) == ["errorCode", "trackingId", "message", "timestampUtc"]
    assert fields["x-ms-error-code"] == str(body["errorCode"])
    assert body["trackingId"] == fields["x-ms-request-id"]
    assert answer.chunked and body["errorCode"] // 1000 == answer.status
    return body["errorCode"]


# -- Certificates --------------------------------------------------------------------------------


def test_individual_certificate_when_it_is_the_enrolled_one_is_assigned_as_chosen(
    azure: AzureCloud,
) -> None:
    own = Issued("Dev-1")
    azure.enroll("dev-1", own.der, device_id="pump#7", hub=OTHER_HUB.upper())
    state = state_of(azure, "DEV-1", chain=(own.der,))
    assert (state["assignedHub"], state["deviceId"]) == (OTHER_HUB, "pump#7")
    assert state["registrationId"] == "dev-1" and state["x509"] == {}
    assert azure.registry.device(OTHER_HUB, "pump#7") is not None


@pytest.mark.parametrize(
    "made",
    [
        {"name": "dev-2"},
        {"usage": ExtendedKeyUsageOID.SERVER_AUTH},
        {"usage": None},
        {"days": (-30, -1)},
        {"days": (1, 30)},
    ],
)
def test_individual_certificate_when_it_breaks_a_rule_is_refused(
    azure: AzureCloud, made: dict
) -> None:
    own = Issued(**{"name": "dev-1"} | made)
    azure.enroll("dev-1", own.der)
    assert code(register(azure, chain=(own.der,))) == 401002


def test_individual_certificate_when_the_services_clock_passes_its_end_is_refused(
    azure: AzureCloud,
) -> None:
    own = Issued("dev-1", days=(-1, 30))
    azure.enroll("dev-1", own.der)
    assert register(azure, chain=(own.der,), now=time.time() + 29 * 86400).status == 202
    assert code(register(azure, chain=(own.der,), now=time.time() + 31 * 86400)) == 401002


def test_individual_certificate_when_another_of_its_name_comes_is_refused(
    azure: AzureCloud,
) -> None:
    azure.enroll("dev-1", Issued("dev-1").der)
    assert code(register(azure, chain=(Issued("dev-1").der,))) == 401002
    assert code(register(azure, chain=(b"\x30\x00",))) == 401002
    assert code(register(azure, Authorization=token(KEY))) == 401002
    assert code(register(azure)) == 401002


def test_group_certificate_when_a_chain_of_another_authority_has_the_names_is_refused(
    azure: AzureCloud,
) -> None:
    root, imposter = Issued("root", ca=True), Issued("root", ca=True)
    azure.enroll_group("group", root.der)
    azure.verify_authority(root.der)
    good, bad = Issued("dev-1", root), Issued("dev-1", imposter)
    assert code(register(azure, chain=(bad.der, root.der))) == 401002
    assert code(register(azure, chain=(bad.der, imposter.der))) == 401002
    assert code(register(azure, "dev-2", chain=(good.der, root.der))) == 401002
    assert state_of(azure, chain=(good.der, root.der))["x509"] == {"enrollmentGroupId": "group"}


def test_group_certificate_when_the_issuer_is_no_authority_is_refused(azure: AzureCloud) -> None:
    root = Issued("root", ca=True)
    lesser = Issued("lesser", root)  # a device's certificate, which may not issue
    azure.enroll_group("group", root.der)
    azure.verify_authority(root.der)
    leaf = Issued("dev-1", lesser)
    assert code(register(azure, chain=(leaf.der, lesser.der, root.der))) == 401002


def test_group_certificate_when_two_groups_fit_the_device_is_in_its_own(
    azure: AzureCloud,
) -> None:
    root = Issued("root", ca=True)
    one, two = Issued("one", root, ca=True), Issued("two", root, ca=True)
    azure.verify_authority(root.der)
    azure.enroll_group("a", one.der)
    azure.enroll_group("b", two.der, hub=OTHER_HUB)
    leaf = Issued("dev-1", two)
    state = state_of(azure, chain=(leaf.der, two.der, root.der))
    assert state["x509"] == {"enrollmentGroupId": "b"} and state["assignedHub"] == OTHER_HUB


def test_enrolment_when_no_device_could_ever_use_it_is_refused(azure: AzureCloud) -> None:
    root = Issued("root", ca=True)
    for name in ("", "a b", "a.", "a/b", "\u00e9", "x" * 129):
        for enroll in (azure.enroll, azure.enroll_group):
            with pytest.raises(ValueError):
                enroll(name, key=KEY)
    leaf = Issued("dev-1", root).der
    with pytest.raises(ValueError, match="CA"):
        azure.enroll_group("group", leaf)
    with pytest.raises(ValueError, match="CA"):
        azure.verify_authority(leaf)
    assert code(register(azure, Authorization=token(KEY))) == 404201


def test_individual_certificate_when_any_of_its_chain_is_verified_is_taken_with_that_chain(
    azure: AzureCloud,
) -> None:
    root = Issued("root", ca=True)
    between = Issued("between", root, ca=True)
    leaf = Issued("dev-1", between)
    azure.enroll("dev-1", leaf.der)
    azure.verify_authority(between.der)
    assert code(register(azure, chain=(leaf.der,))) == 401002
    assert register(azure, chain=(leaf.der, between.der)).status == 202


# -- Keys ----------------------------------------------------------------------------------------


def test_key_when_it_is_not_the_enrolled_one_is_refused(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    assert register(azure, Authorization=token(KEY)).status == 202
    assert code(register(azure, Authorization=token(WRONG_KEY))) == 401002
    assert code(register(azure, chain=(Issued("dev-1").der,))) == 401002


@pytest.mark.parametrize(
    "parts",
    [
        {"registration_id": "dev-2"},
        {"uri": "0ne00999999/registrations/dev-1"},
        {"uri": f"{ID_SCOPE}/registrations"},
        {"name": "device"},
        {"name": None},
    ],
)
def test_token_when_it_is_for_something_else_is_refused(azure: AzureCloud, parts: dict) -> None:
    azure.enroll("dev-1", key=KEY)
    assert code(register(azure, Authorization=token(KEY, **parts))) == 401002


@pytest.mark.parametrize("minutes", [20, 61, 60 * 24 * 365 * 31])
def test_token_when_the_devices_clock_is_behind_is_refused_and_no_secret_is_told(
    azure: AzureCloud, minutes: int
) -> None:
    azure.enroll("dev-1", key=KEY)
    signed = token(KEY, ttl=15 * 60)
    assert register(azure, Authorization=signed).status == 202
    refused = register(azure, Authorization=signed, now=time.time() + 60 * minutes)
    assert code(refused) == 401002
    assert signed.encode() not in refused.body and KEY not in repr(azure.registry.groups())


def test_token_when_the_device_counts_30_years_ahead_is_refused(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    assert code(register(azure, Authorization=token(KEY, ttl=946684800))) == 401002


def test_derived_key_when_the_id_is_in_capitals_is_that_of_the_lower_case(
    azure: AzureCloud,
) -> None:
    azure.enroll_group("keys", key=KEY)
    derived = SymmetricKeySigningMechanism(KEY).sign
    assert register(azure, "Dev-1", Authorization=token(derived("dev-1"), "Dev-1")).status == 202
    assert code(register(azure, Authorization=token(derived("Dev-1")))) == 401002
    assert code(register(azure, Authorization=token(KEY))) == 401002
    device = azure.registry.device(HUB, "dev-1")
    assert device is not None and device.material == base64.b64decode(derived("dev-1"))


def test_key_when_azure_could_not_have_it_is_refused_without_being_told(
    azure: AzureCloud,
) -> None:
    for key in ("c2hvcnQ=", base64.b64encode(bytes(65)).decode(), KEY[:-1], "not base64 at all"):
        with pytest.raises(ValueError) as caught:
            azure.enroll("dev-1", key=key)
        assert key not in str(caught.value)
    azure.enroll("dev-1", key=KEY)
    found = azure.registry.enrollment("dev-1")
    assert "material" not in repr(found)


# -- Statuses ------------------------------------------------------------------------------------


def test_assigning_when_it_takes_three_polls_is_told_three_times(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    azure.dps.assigning_polls = 3
    azure.dps.retry_after_s = 2
    signed = token(KEY)
    registered = register(azure, Authorization=signed)
    operation = json.loads(registered.body)["operationId"]
    for _ in range(3):
        record = json.loads(query(azure, Authorization=signed).body)
        assert record == {"registrationId": "dev-1", "status": "assigning"}
        answer = poll(azure, operation, Authorization=signed)
        assert answer.status == 202 and dict(answer.fields)["Retry-After"] == "2"
        assert json.loads(answer.body) == {"operationId": operation, "status": "assigning"}
    for _ in range(2):
        answer = poll(azure, operation, Authorization=signed)
        assert answer.status == 200 and json.loads(answer.body)["status"] == "assigned"
    record = json.loads(query(azure, Authorization=signed).body)
    assert record == json.loads(answer.body)["registrationState"]


def test_polls_when_more_than_five_in_ten_seconds_are_throttled(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    signed = token(KEY)
    operation = json.loads(register(azure, Authorization=signed).body)["operationId"]
    now = time.time()
    answers = [poll(azure, operation, Authorization=signed, now=now + at) for at in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert code(answers[5]) == 429001 and dict(answers[5].fields)["Retry-After"] == "3"
    assert poll(azure, operation, Authorization=signed, now=now + 10).status == 200


def test_disabled_enrolment_when_it_registers_or_polls_is_told_with_200(
    azure: AzureCloud,
) -> None:
    azure.enroll("dev-1", key=KEY)
    signed = token(KEY)
    operation = json.loads(register(azure, Authorization=signed).body)["operationId"]
    azure.disable_enrollment("dev-1")
    state = {"registrationId": "dev-1", "status": "disabled"}
    told = {"operationId": "", "status": "disabled", "registrationState": state}
    for answer in (
        register(azure, Authorization=signed),
        poll(azure, operation, Authorization=signed),
    ):
        assert answer.status == 200 and json.loads(answer.body) == told
    assert register(azure, Authorization=token(WRONG_KEY)).status == 401
    azure.disable_enrollment("dev-1", disabled=False)
    assert register(azure, Authorization=signed).status == 202


@pytest.mark.parametrize("number", [400207, 400208, 400209])
def test_failed_assignment_when_polled_is_told_with_200_and_makes_no_device(
    azure: AzureCloud, number: int
) -> None:
    azure.enroll("dev-1", key=KEY)
    azure.fail_enrollment("dev-1", number, "No hub.")
    state = state_of(azure, Authorization=token(KEY))
    assert (state["status"], state["errorCode"], state["errorMessage"]) == (
        "failed",
        number,
        "No hub.",
    )
    assert azure.registry.device(HUB, "dev-1") is None
    azure.fail_enrollment("dev-1", 0, "")
    assert state_of(azure, Authorization=token(KEY))["status"] == "assigned"


def test_record_when_the_device_never_registered_is_unassigned(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    answer = query(azure, Authorization=token(KEY))
    assert answer.status == 200
    assert json.loads(answer.body) == {"registrationId": "dev-1", "status": "unassigned"}


def test_device_when_its_enrolment_moves_is_at_the_new_hub_once_it_registers(
    azure: AzureCloud,
) -> None:
    azure.enroll("dev-1", key=KEY)
    signed = token(KEY)
    first = state_of(azure, Authorization=signed)
    azure.move_enrollment("dev-1", OTHER_HUB)
    azure.send(HUB, "dev-1", b"for the old one")
    second = state_of(azure, Authorization=signed)
    assert (second["assignedHub"], second["substatus"]) == (OTHER_HUB, "deviceDataMigrated")
    assert second["createdDateTimeUtc"] == first["createdDateTimeUtc"]
    assert azure.registry.device(HUB, "dev-1") is None
    assert azure.waiting(HUB, "dev-1") == []
    azure.remove_device(OTHER_HUB, "dev-1")
    third = state_of(azure, Authorization=signed)
    assert third["substatus"] == "reprovisionedToInitialAssignment"


def test_device_when_it_registers_again_keeps_what_waits_for_it(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    state_of(azure, Authorization=token(KEY))
    azure.send(HUB, "dev-1", b"hello")
    azure.disable_device(HUB, "dev-1")
    state = state_of(azure, Authorization=token(KEY))
    assert state["substatus"] == "initialAssignment"
    device = azure.registry.device(HUB, "dev-1")
    assert device is not None and not device.enabled
    assert [message.payload for message in azure.waiting(HUB, "dev-1")] == [b"hello"]


def test_reserved_operation_when_the_device_registers_is_that_of_the_answer(
    azure: AzureCloud,
) -> None:
    azure.enroll("dev-1", key=KEY)
    reserved = azure.dps.reserve_operation("Dev-1")
    assert reserved == azure.dps.reserve_operation("dev-1")
    operations = [
        json.loads(register(azure, Authorization=token(KEY)).body)["operationId"] for _ in "ab"
    ]
    assert operations[0] == reserved != operations[1]


# -- Requests ------------------------------------------------------------------------------------


def put(azure: AzureCloud, path: str, **options: object) -> Answer:
    azure.enroll("dev-1", key=KEY)
    given = {"body": b'{"registrationId":"dev-1"}', "Authorization": token(KEY)} | options
    return call(azure, "PUT", path, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["2019-03-31", "2021-06-01", "2021-10-01"])
def test_version_when_documented_is_served(azure: AzureCloud, version: str) -> None:
    path = f"/{ID_SCOPE}/registrations/dev-1/register?api-version={version}"
    assert put(azure, path).status == 202


@pytest.mark.parametrize(
    "query", ["", "?", "?api-version", "?api-version=2018-11-01", f"?{VERSION}&{VERSION}"]
)
def test_version_when_missing_or_unknown_is_refused(azure: AzureCloud, query: str) -> None:
    path = f"/{ID_SCOPE}/registrations/dev-1/register{query}"
    assert code(put(azure, path)) == 400004


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/0ne00999999/registrations/dev-1/register", 404002),
        (f"/{ID_SCOPE}/registrations/dev-1/registers", 404000),
        (f"/{ID_SCOPE}/registration/dev-1/register", 404000),
        ("/", 404000),
        (f"/{ID_SCOPE}/registrations/dev-1", 405000),
        (f"/{ID_SCOPE}/registrations/dev-1/operations/5.1", 405000),
        (f"/{ID_SCOPE}/registrations/dev%2/register", 400004),
        (f"/{ID_SCOPE}/registrations/dev%ff/register", 400004),
        (f"/{ID_SCOPE}/registrations/dev%2F1/register", 400004),
        (f"/{ID_SCOPE}/registrations/dev-1./register", 400004),
        (f"/{ID_SCOPE}/registrations/{'d' * 129}/register", 400004),
    ],
)
def test_path_when_it_names_nothing_is_refused(azure: AzureCloud, path: str, number: int) -> None:
    name = path.split("/")[3] if path.count("/") > 2 else ""
    body = json.dumps({"registrationId": name}).encode()
    assert code(put(azure, f"{path}?{VERSION}", body=body)) == number


@pytest.mark.parametrize("name", ["a", "7", "-", "A.b_c:d-", "x" * 128])
def test_registration_id_when_it_keeps_the_rules_is_taken(azure: AzureCloud, name: str) -> None:
    azure.enroll(name, key=KEY)
    assert register(azure, name, Authorization=token(KEY, name)).status == 202


@pytest.mark.parametrize(
    ("body", "kind", "number"),
    [
        (b"", "application/json", 400004),
        (b"{", "application/json", 400004),
        (b"[]", "application/json", 400004),
        (b"{}", "application/json", 400004),
        (b'{"registrationId":7}', "application/json", 400004),
        (b'{"registrationId":"dev-2"}', "application/json", 400004),
        (b'{"registrationId":"dev-1","payload":"' + LONG + b'"}', "application/json", 400004),
        (b'{"registrationId":"dev-1"}', "text/plain", 415000),
        (b'{"registrationId":"dev-1"}', "", 415000),
    ],
)
def test_body_when_it_is_not_that_of_the_path_is_refused(
    azure: AzureCloud, body: bytes, kind: str, number: int
) -> None:
    path = f"/{ID_SCOPE}/registrations/dev-1/register?{VERSION}"
    assert code(put(azure, path, body=body, Content_Type=kind)) == number


def test_body_when_it_has_a_payload_or_its_id_in_capitals_is_taken(azure: AzureCloud) -> None:
    path = f"/{ID_SCOPE}/registrations/dev-1/register?{VERSION}"
    body = b'{"registrationId":"DEV-1","payload":{"model":7}}'
    kind = "Application/JSON; charset=utf-8"
    answer = put(azure, path, body=body, Content_Type=kind, Content_Encoding="utf-8")
    assert answer.status == 202


def test_registration_when_nothing_is_enrolled_is_not_found(azure: AzureCloud) -> None:
    own = Issued("dev-1")
    assert code(register(azure, chain=(own.der,))) == 404201
    assert code(register(azure, Authorization=token(KEY))) == 404201
    azure.enroll_group("group", Issued("root", ca=True).der)
    assert code(register(azure, chain=(own.der,))) == 404201


def test_operation_when_it_is_another_devices_is_not_found(azure: AzureCloud) -> None:
    azure.enroll("dev-1", key=KEY)
    azure.enroll("dev-2", key=KEY)
    operation = json.loads(register(azure, Authorization=token(KEY)).body)["operationId"]
    other = token(KEY, "dev-2")
    assert code(poll(azure, operation, "dev-2", Authorization=other)) == 404202
    assert code(poll(azure, "5.1.2", Authorization=token(KEY))) == 404202


@pytest.mark.parametrize("status", [400, 401, 404, 405, 409, 412, 415, 429, 500])
def test_error_of_every_documented_status_has_the_form_of_the_service(
    azure: AzureCloud, status: int
) -> None:
    given = CIMultiDict({"Host": HOST})
    answer = azure.error_for(Call("GET", "/", given, b"", (), time.time()), status)
    assert answer.status == status and code(answer)
    timestamp = json.loads(answer.body)["timestampUtc"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", timestamp)


def test_state_when_the_store_is_a_file_outlives_the_cloud(
    authority: Authority, tmp_path: Path
) -> None:
    first = AzureCloud(authority, Store(tmp_path / "azure.db"))
    first.enroll("dev-1", key=KEY)
    operation = json.loads(register(first, Authorization=token(KEY)).body)["operationId"]
    second = AzureCloud(authority, Store(tmp_path / "azure.db"))
    assert poll(second, operation, Authorization=token(KEY)).status == 200


def test_derived_key_when_documented_is_that_of_the_sdk() -> None:
    signer = SymmetricKeySigningMechanism(KEY)
    derived = sas.derived_key(sas.key_bytes(KEY), "sensor-1")
    assert base64.b64encode(derived).decode() == signer.sign("sensor-1")
