"""Devices on the three runtimes and the emulated Azure: provisioning, publishing, receiving."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from devices import FIRMWARE, RUNTIMES, Script, running
from test_deep_sleep import Board

from host import x509_files
from host.certs import Authority
from host.cloud.azure import HUB, ID_SCOPE, AzureCloud
from host.cloud.server import Running, serve
from host.shim import Device

OTHER_HUB = "MyOtherHub.azure-devices.net"
DEVICE = "sensor-01"
KEY = base64.b64encode(bytes(range(32))).decode()
WRONG_KEY = base64.b64encode(bytes(range(1, 33))).decode()
TOPIC = f"devices/{DEVICE}/messages/events"
DAYS = 30
SKEW_S = 20 * 60
X509 = ("self-signed", "individual chain", "group chain", "group chain in one PEM file")
ATTESTATIONS = (*X509, "individual key", "group key")

on_every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@dataclass
class Time:
    """The services' clock, which a test may shift."""

    shift_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.shift_s


@dataclass
class World:
    """The cloud that runs, and the folder that is the device's flash."""

    cloud: Running
    folder: Path
    time: Time
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def azure(self) -> AzureCloud:
        azure = self.cloud.cloud
        assert isinstance(azure, AzureCloud)
        return azure

    @contextmanager
    def device(self, runtime: str) -> Iterator[Script]:
        """The device that does as it is told."""
        with running(runtime, "azure.py", self.folder) as device:
            yield device

    def configure(self, **config: Any) -> None:
        """Add to config.json; what is here already stays."""
        self.config.update(config)
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def received(self) -> list[tuple[str, bytes]]:
        """Which hub got what."""
        return [(one.properties["hub"], one.payload) for one in self.cloud.messages(TOPIC)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("azure") / "certs")


@dataclass
class Chain:
    """A device's certificate with those that lead up from it, the last a root; and its key."""

    certificates: list[x509.Certificate]
    key: bytes = field(repr=False)

    def der(self, number: int) -> bytes:
        return self.certificates[number].public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module")
def chain() -> Chain:
    root_key, between_key, key = (x509_files.generate("ec") for _ in range(3))
    root = x509_files.authority("test root", root_key, DAYS, None)
    above = x509_files.Issuer(root, root_key)
    between = x509_files.authority("test intermediate", between_key, DAYS, above)
    issuer = x509_files.Issuer(between, between_key)
    device = x509_files.device(DEVICE, key, DAYS, issuer)
    return Chain([device, between, root], x509_files.key_der(key))


@pytest.fixture(scope="module")
def lone() -> Chain:
    key = x509_files.generate("ec")
    return Chain([x509_files.self_signed(DEVICE, key, DAYS)], x509_files.key_der(key))


@pytest.fixture
def world(authority: Authority, tmp_path: Path) -> Iterator[World]:
    clock = Time()
    azure = AzureCloud(authority, hubs=(HUB, OTHER_HUB))
    with serve(azure, clock=clock) as cloud:
        world = World(cloud, tmp_path, clock)
        shutil.copy(authority.ca_der, tmp_path / "ca.der")
        dps = {"id_scope": ID_SCOPE, "registration_id": DEVICE}
        world.configure(address="127.0.0.1", port=cloud.port, ca="ca.der", dps=dps)
        yield world


def enrol(world: World, attestation: str, lone: Chain, chain: Chain) -> None:
    """Enrol the device, and lay on its flash what it shows."""
    azure = world.azure
    if "key" in attestation:
        group = attestation == "group key"
        if group:
            azure.enroll_group("group", key=KEY)
        else:
            azure.enroll(DEVICE, key=KEY)
        name = "group_key" if group else "key"
        world.configure(dps={**world.config["dps"], name: KEY})
        return
    shown = lone if attestation == "self-signed" else chain
    if shown is chain:
        azure.verify_authority(chain.der(2))
    if attestation.startswith("group"):
        azure.enroll_group("group", chain.der(1))
    else:
        azure.enroll(DEVICE, shown.der(0))
    lay(world.folder, shown, attestation.endswith("PEM file"))
    names = sorted(path.name for path in world.folder.glob("cert*"))
    world.configure(cert=names, key="key.der")


def lay(folder: Path, shown: Chain, pem: bool) -> None:
    (folder / "key.der").write_bytes(shown.key)
    if pem:
        (folder / "cert.pem").write_bytes(x509_files.certificate_pem(*shown.certificates))
        return
    for number in range(len(shown.certificates)):
        (folder / f"cert-{number}.der").write_bytes(shown.der(number))


@pytest.fixture
def keyed(world: World) -> World:
    """A device with a symmetric key."""
    world.azure.enroll(DEVICE, key=KEY)
    world.configure(dps={**world.config["dps"], "key": KEY})
    return world


def provisioned(device: Script, **settings: Any) -> None:
    """Provision, wire and connect."""
    assert device.call("provision", {})["assignment"]["device_id"] == DEVICE
    device.call("wire", settings)
    assert device.call("connect")["result"] == 0


def push(device: Script, *texts: str) -> None:
    for text in texts:
        assert device.call("push", text)["pushed"]


# -- Provisioning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("attestation", ATTESTATIONS)
@on_every_runtime
def test_device_when_enrolled_registers_and_publishes_with_the_heap_locked(
    runtime: str, attestation: str, world: World, lone: Chain, chain: Chain
) -> None:
    enrol(world, attestation, lone, chain)
    world.azure.dps.assigning_polls = 1
    with world.device(runtime) as device:
        reply = device.call("provision", {})
        assert reply["assignment"] == {"hub": HUB, "device_id": DEVICE}
        assert reply["sleeps"] == [3000, 3000] and reply["requests"] == 3
        device.call("wire", {"properties": {"zone": "a1"}})
        assert device.call("connect")["result"] == 0
        push(device, "one", "two", "three")
        reply = device.call("locked")
        assert (reply["forwarded"], reply["result"], reply["heap"]) == (3, 204, 0)
        assert (reply["queued"], reply["connects"]) == (0, 1)
    assert world.received() == [(HUB, b"one"), (HUB, b"two"), (HUB, b"three")]
    properties = world.cloud.messages(TOPIC)[0].properties
    assert properties["application"] == {"zone": "a1"}
    system = {"contenttype": "application/json", "contentencoding": "utf-8"}
    assert properties["system"] == system


@on_every_runtime
def test_device_with_the_key_derived_for_it_is_of_its_group(runtime: str, world: World) -> None:
    world.azure.enroll_group("group", key=KEY)
    mac = hmac.digest(base64.b64decode(KEY), DEVICE.encode(), hashlib.sha256)
    key = base64.b64encode(mac).decode()
    world.configure(dps={**world.config["dps"], "key": key})
    with world.device(runtime) as device:
        provisioned(device)


@on_every_runtime
def test_device_of_a_group_when_its_chain_is_not_whole_is_refused(
    runtime: str, world: World, lone: Chain, chain: Chain
) -> None:
    enrol(world, "group chain", lone, chain)
    world.configure(cert=["cert-0.der"])
    with world.device(runtime) as device:
        reply = device.call("provision", {})
    assert (reply["code"], reply["again"]) == (401002, False)


@on_every_runtime
def test_several_der_certificates_in_one_file_are_the_first_alone(
    runtime: str, world: World, lone: Chain, chain: Chain
) -> None:
    enrol(world, "group chain", lone, chain)
    (world.folder / "all.der").write_bytes(b"".join(chain.der(n) for n in range(3)))
    world.configure(cert="all.der")
    with world.device(runtime) as device:
        assert device.call("provision", {})["code"] == 401002


@on_every_runtime
def test_device_that_was_provisioned_publishes_after_a_reboot_without_asking_again(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
    keyed.azure.disable_enrollment(DEVICE)
    with keyed.device(runtime) as device:
        device.call("wire", {"key": KEY})
        push(device, "one")
        assert device.call("forward")["result"] == 204
    assert keyed.received() == [(HUB, b"one")]


@on_every_runtime
def test_enrolment_when_disabled_or_failing_is_told_and_good_again_afterwards(
    runtime: str, keyed: World
) -> None:
    azure = keyed.azure
    with keyed.device(runtime) as device:
        azure.disable_enrollment(DEVICE)
        reply = device.call("provision", {})
        assert reply["error"].startswith("disabled")
        assert (reply["code"], reply["again"]) == (200, False)
        azure.disable_enrollment(DEVICE, False)
        azure.fail_enrollment(DEVICE, 400208, "No IoT hub is linked")
        reply = device.call("provision", {})
        assert reply["error"] == "failed No IoT hub is linked"
        assert (reply["code"], reply["again"]) == (400208, False)
        azure.fail_enrollment(DEVICE, 0, "")
        provisioned(device)


@on_every_runtime
def test_device_when_the_service_does_not_know_it_is_told_why(runtime: str, keyed: World) -> None:
    with keyed.device(runtime) as device:
        for given, code in (
            ({"key": WRONG_KEY}, 401002),
            ({"registration_id": "another"}, 404201),
            ({"id_scope": "0ne00999999"}, 404002),
        ):
            reply = device.call("provision", given)
            assert (reply["code"], reply["again"], reply["requests"]) == (code, False, 1)
        assert device.call("provision", {"registration_id": DEVICE.upper()})["assignment"]


@on_every_runtime
def test_service_when_throttling_failing_or_silent_is_waited_for(
    runtime: str, keyed: World
) -> None:
    keyed.cloud.faults.add("throttle(7),error(500),continue,error(503),drip(1)")
    with keyed.device(runtime) as device:
        reply = device.call("provision", {})
        assert reply["assignment"]["hub"] == HUB
        assert reply["sleeps"] == [7000, 2000, 3000, 2000]
        keyed.cloud.faults.add("reset(before),garbage,truncate")
        for _ in range(3):
            reply = device.call("provision", {})
            assert reply["code"] < 0 and reply["again"]
        assert device.call("provision", {})["assignment"]


# -- Clocks and tokens ----------------------------------------------------------------------------


@on_every_runtime
def test_clock_20_minutes_off_does_not_keep_a_device_from_its_hub(
    runtime: str, keyed: World
) -> None:
    for shift_s in (SKEW_S, -SKEW_S):
        keyed.time.shift_s = shift_s
        with keyed.device(runtime) as device:
            provisioned(device, life_s=900)
            push(device, str(shift_s))
            reply = device.call("forward")
            assert (reply["forwarded"], reply["result"], reply["queued"]) == (1, 204, 0)
            assert reply["requests"] == (2 if shift_s > 0 else 1), "a token may live too long"
    assert keyed.received() == [(HUB, b"1200"), (HUB, b"-1200")]


@on_every_runtime
def test_clock_when_so_far_off_that_tokens_are_dead_is_corrected_from_the_services_date(
    runtime: str, keyed: World
) -> None:
    keyed.time.shift_s = 2 * 3600
    with keyed.device(runtime) as device:
        reply = device.call("provision", {})
        assert reply["assignment"]["hub"] == HUB
        assert reply["requests"] == 3, "register, refused and repeated once; one poll"
        device.call("wire", {})
        push(device, "one")
        reply = device.call("forward")
        assert (reply["forwarded"], reply["requests"]) == (1, 1), "the clock is right by now"
        device.call("skew", -2 * 3600)
        device.call("wire", {})
        push(device, "two")
        reply = device.call("forward")
        assert (reply["forwarded"], reply["requests"]) == (1, 2)
    assert keyed.received() == [(HUB, b"one"), (HUB, b"two")]


@on_every_runtime
def test_token_that_expires_in_mid_flight_is_renewed_once_and_nothing_is_lost(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        push(device, "one")
        assert device.call("forward")["requests"] == 1
        keyed.time.shift_s = 3700
        push(device, "two", "three")
        reply = device.call("forward")
        assert (reply["forwarded"], reply["requests"], reply["queued"]) == (2, 4, 0)
        keyed.cloud.faults.add("error(401)")
        push(device, "four")
        reply = device.call("forward")
        assert (reply["forwarded"], reply["requests"], reply["connects"]) == (1, 6, 1)
    assert [text for _, text in keyed.received()] == [b"one", b"two", b"three", b"four"]


@on_every_runtime
def test_record_when_the_hub_has_another_key_stays_until_it_is_put_in_order(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        keyed.azure.add_device(HUB, DEVICE, key=WRONG_KEY)
        push(device, "one")
        reply = device.call("forward")
        assert (reply["result"], reply["queued"], reply["requests"]) == (401, 1, 2)
        assert not reply["gone"] and 0 <= reply["wait_ms"] <= 1000
        keyed.azure.add_device(HUB, DEVICE, key=KEY)
        assert device.call("forward")["forwarded"] == 1
    assert keyed.received() == [(HUB, b"one")]


# -- The hub --------------------------------------------------------------------------------------


@pytest.mark.parametrize("attestation", ["group chain", "group key"])
@on_every_runtime
def test_device_when_it_was_moved_provisions_again_and_loses_nothing(
    runtime: str, attestation: str, world: World, lone: Chain, chain: Chain
) -> None:
    enrol(world, attestation, lone, chain)
    with world.device(runtime) as device:
        provisioned(device)
        push(device, "one")
        assert device.call("forward")["result"] == 204
        world.azure.move_enrollment("group", OTHER_HUB)
        world.azure.remove_device(HUB, DEVICE)
        push(device, "two", "three")
        for _ in range(2):
            reply = device.call("forward")
            assert (reply["result"], reply["queued"], reply["gone"]) == (404, 2, True)
        assert device.call("provision", {})["assignment"]["hub"] == OTHER_HUB
        device.call("wire", {})
        reply = device.call("forward")
        assert (reply["forwarded"], reply["queued"], reply["gone"]) == (2, 0, False)
    assert world.received() == [(HUB, b"one"), (OTHER_HUB, b"two"), (OTHER_HUB, b"three")]


@on_every_runtime
def test_hub_when_it_throttles_is_left_alone_and_nothing_is_lost_or_doubled(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        keyed.cloud.faults.add("throttle(7),error(503),error(403)")
        push(device, "one", "two")
        for status in (429, 503, 403):
            reply = device.call("forward")
            assert (reply["result"], reply["queued"], reply["rejected"]) == (status, 2, 0)
            assert reply["wait_ms"] == 7000 if status == 429 else reply["wait_ms"] <= 2000
        assert device.call("forward")["forwarded"] == 2
    assert keyed.received() == [(HUB, b"one"), (HUB, b"two")]


# -- Cloud to device ------------------------------------------------------------------------------


@on_every_runtime
def test_message_to_the_device_is_received_and_settled_each_way(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        assert device.call("receive")["result"] == 204
        for text in (b"completed", b"rejected", b"abandoned"):
            keyed.azure.send(HUB, DEVICE, text, {"colour": "red"})
        for way in ("complete", "reject", "abandon"):
            reply = device.call("receive")
            assert (reply["result"], reply["colour"]) == (200, "red")
            assert reply["body"].startswith(way)
            assert device.call("settle", way)["result"] == 204
        [waiting] = keyed.azure.waiting(HUB, DEVICE)
        [dead] = keyed.azure.dead_letters(HUB, DEVICE)
        assert (waiting.payload, waiting.deliveries, dead.payload) == (
            b"abandoned",
            1,
            b"rejected",
        )
        push(device, "afterwards")
        reply = device.call("forward")
        assert (reply["forwarded"], reply["connects"]) == (1, 1)
    assert keyed.received() == [(HUB, b"afterwards")]


@on_every_runtime
def test_lock_when_it_was_lost_is_told_and_the_message_comes_again(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        keyed.azure.send(HUB, DEVICE, b"hello")
        assert device.call("receive")["result"] == 200
        assert device.call("receive")["result"] == 204, "it is locked"
        keyed.time.shift_s = 61
        assert device.call("receive")["body"] == "hello"
        keyed.time.shift_s = 122
        assert device.call("settle", "complete")["result"] == 412
        assert device.call("receive")["body"] == "hello"
        assert device.call("settle", "complete")["result"] == 204
    assert keyed.azure.waiting(HUB, DEVICE) == []


@on_every_runtime
def test_message_when_its_way_is_cut_comes_again_and_throttling_is_told(
    runtime: str, keyed: World
) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        keyed.azure.send(HUB, DEVICE, b"hello")
        for fault, results in (("truncate", range(-200, 0)), ("reset(body)", range(-200, 0))):
            keyed.cloud.faults.add(fault)
            assert device.call("receive")["result"] in results
            assert device.call("receive")["result"] == 204, "it is locked"
            keyed.time.shift_s += 61
        keyed.cloud.faults.add("throttle(7),error(503)")
        assert [device.call("receive")["result"] for _ in range(2)] == [429, 503]
        assert device.call("receive")["body"] == "hello"
        keyed.cloud.faults.add("error(500)")
        assert [device.call("settle", "complete")["result"] for _ in range(2)] == [500, 204]
    assert keyed.azure.waiting(HUB, DEVICE) == []


@on_every_runtime
def test_message_too_long_for_the_buffer_can_be_got_rid_of(runtime: str, keyed: World) -> None:
    with keyed.device(runtime) as device:
        provisioned(device)
        keyed.azure.send(HUB, DEVICE, b"x" * 5000)
        keyed.azure.send(HUB, DEVICE, b"short")
        assert device.call("receive")["result"] == -90
        assert device.call("settle", "reject")["result"] == 204
        assert device.call("receive")["body"] == "short"
    assert len(keyed.azure.dead_letters(HUB, DEVICE)) == 1


# -- The application ------------------------------------------------------------------------------


@on_every_runtime
def test_application_when_its_device_is_moved_goes_on_at_the_other_hub_and_loses_nothing(
    runtime: str, keyed: World
) -> None:
    application(keyed, readings=20)
    with running(runtime, str(FIRMWARE / "main.py"), keyed.folder) as device:
        while " -> 204 " not in device.line():
            pass
        keyed.azure.move_enrollment(DEVICE, OTHER_HUB)
        keyed.azure.remove_device(HUB, DEVICE)
        lines = device.lines()
    assert json.loads(lines[-1].removeprefix("summary "))["queued"] == 0
    hubs = [hub for hub, _ in keyed.received()]
    assert set(hubs) == {HUB, OTHER_HUB} and hubs == sorted(hubs, key=[HUB, OTHER_HUB].index)
    readings = [json.loads(text)["seq"] for _, text in keyed.received()]
    assert readings == list(range(20))


@on_every_runtime
def test_application_when_its_hub_was_deleted_meanwhile_asks_for_another_and_loses_nothing(
    runtime: str, keyed: World
) -> None:
    application(keyed, readings=12)
    kept = keyed.folder / "azure.json"
    kept.write_text(json.dumps({"hub": HUB, "device_id": DEVICE}))
    keyed.azure.move_enrollment(DEVICE, OTHER_HUB)
    keyed.azure.remove_hub(HUB)
    with running(runtime, str(FIRMWARE / "main.py"), keyed.folder) as device:
        assert any(" -> 400 " in line for line in device.lines())
    received = [(hub, json.loads(text)["seq"]) for hub, text in keyed.received()]
    assert received == [(OTHER_HUB, n) for n in range(12)]
    assert json.loads(kept.read_text()).items() >= {"hub": OTHER_HUB, "device_id": DEVICE}.items()


def test_application_whose_settings_name_another_device_asks_for_its_hub_and_id_anew(
    world: World,
) -> None:
    world.azure.enroll_group("group", key=KEY)
    kept = world.folder / "azure.json"
    for name in ("first", "second", "second"):
        dps = {**world.config["dps"], "group_key": KEY, "registration_id": name}
        world.configure(dps=dps)
        application(world, readings=2)
        with running("micropython-32", str(FIRMWARE / "main.py"), world.folder) as device:
            device.lines()
        assert json.loads(kept.read_text())["device_id"] == name
    assert len(world.cloud.messages()) == 6


@on_every_runtime
def test_application_with_the_groups_key_alone_provisions_and_publishes(
    runtime: str, world: World
) -> None:
    world.azure.enroll_group("group", key=KEY)
    world.configure(dps={**world.config["dps"], "group_key": KEY})
    application(world, readings=2)
    with running(runtime, str(FIRMWARE / "main.py"), world.folder) as device:
        device.lines()
    assert [hub for hub, _ in world.received()] == [HUB, HUB]
    assert KEY not in (world.folder / "azure.json").read_text()


def test_application_when_its_flash_takes_no_file_publishes_all_the_same(keyed: World) -> None:
    (keyed.folder / "azure.json").mkdir()
    application(keyed, readings=2)
    with running("micropython-32", str(FIRMWARE / "main.py"), keyed.folder) as device:
        lines = device.lines()
    assert any(line.startswith("provisioning: not kept: ") for line in lines)
    assert len(keyed.received()) == 2


@pytest.mark.parametrize("result", [0, -6, 401])
def test_hub_when_it_was_not_heard_of_for_long_is_asked_for_again(
    result: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioning = Device(FIRMWARE).load("provisioning")
    asked: list[object] = []
    monkeypatch.setattr(provisioning, "provision", lambda *_: asked.append(1) or (None, 0))
    uplink = mock.Mock(result=result)
    uplink.cloud.gone = False
    for done in range(12):
        uplink.backoff.done = done
        provisioning.follow(uplink, {}, None)
    assert len(asked) == (3 if result < 0 else 0)


def test_device_when_the_service_bids_to_wait_leaves_it_alone_for_so_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    provisioning = Device(FIRMWARE).load("provisioning")
    answers = iter([(None, 600), (None, 0), ({"hub": HUB, "device_id": DEVICE}, 0)])
    monkeypatch.setattr(provisioning, "provision", lambda *_: next(answers))
    transport = mock.Mock()
    config = {"dps": {"id_scope": "0ne", "registration_id": DEVICE}}
    given = (config, transport, None, bytearray(1024), None, mock.Mock())
    assert provisioning.assignment(*given)["hub"] == HUB
    first, second = (call.args[0] for call in transport.sleep_ms.call_args_list)
    assert first == 600_000 and 0 <= second <= 4000


def test_device_that_sleeps_deeply_waits_for_its_enrolment_follows_its_hub_and_loses_nothing(
    keyed: World,
) -> None:
    azure = keyed.azure
    application(keyed, queue={"folder": "queue"}, sleep={"forward_every": 1}, period_ms=60_000)
    azure.disable_enrollment(DEVICE)
    board = Board(keyed.folder)
    assert "provisioning: disabled" in board.wake().lines
    azure.disable_enrollment(DEVICE, False)
    for _ in range(2):
        board.wake()
    azure.move_enrollment(DEVICE, OTHER_HUB)
    azure.remove_hub(HUB)
    for _ in range(2):
        board.wake()
    received = [(hub, json.loads(text)["seq"]) for hub, text in keyed.received()]
    assert received == [(HUB, 0), (HUB, 1), (HUB, 2), (OTHER_HUB, 3), (OTHER_HUB, 4)]


def application(world: World, **config: Any) -> None:
    """config.json for firmware/main.py and a device with a key."""
    port = world.cloud.port
    world.azure.dps.retry_after_s = 0
    world.config.pop("port", None)  # that is the scripts'
    world.configure(
        cloud="azure",
        settings={"port": port},
        dps={**world.config["dps"], "port": port},
        clock={"servers": []},
        **{"period_ms": 100, **config},
    )
