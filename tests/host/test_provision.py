"""`onebuf provision`: what the board, the clouds, the inventory and this computer then have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from commands import run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from devices import FIRMWARE, Script
from emulated import BOARD, Bench, on_the_bench, sent

from host import emulation, provision, repl, x509_files
from host.board import Faults
from host.certs import Authority, belongs
from host.cloud import aws_registry
from host.cloud.azure import AzureCloud
from host.cloud.server import serve
from host.cloud.store import Store
from host.inventory import Device, Inventory
from host.provision_clouds import CLOUDS
from host.provision_command import add_provision

NAME = "sensor-1"
SECRET = "f2c9a7d15be64d7f8a30"
AMAZON = {"endpoint": "a1b2c3-ats.iot.eu-west-1.amazonaws.com"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with on_the_bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


class Place:
    """A computer's folders, and the command in them."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.folder = folder
        self.bench = bench
        self.authority = Authority(folder / "cloud")
        self.file = folder / "cloud.db"
        self.store = Store(self.file)
        self.inventory = Inventory(folder / "inventory.db")

    def provision(self, *more: object, cloud: str = "aws", name: str = NAME) -> int:
        where = ("--board", BOARD, "--port", self.bench.port, "--cloud", cloud, "--name", name)
        kept = ("--inventory", self.inventory.path, "--certs", self.folder / "certs")
        return run(add_provision, "provision", *where, *kept, *more)

    def emulated(self, *more: object, cloud: str = "aws", name: str = NAME) -> int:
        """Provision for the emulated cloud."""
        where = ("--store", self.file, "--folder", self.authority.folder)
        return self.provision(*where, *more, cloud=cloud, name=name)

    def device(self) -> Device:
        (found,) = self.inventory.devices()
        return found

    def registered(self, store: Store, cloud: str) -> bool:
        """Whether the emulated cloud with that store knows the device."""
        query = {
            "aws": "SELECT 1 FROM aws_certificates WHERE active AND thing = ?",
            "azure": "SELECT 1 FROM azure_enrollments WHERE name = ?",
            "aliyun": "SELECT 1 FROM aliyun_devices WHERE device_name = ?",
            "watson": "SELECT 1 FROM watson_devices WHERE id = ?",
        }
        return bool(store.execute(query[cloud], (NAME,)))

    def holds(self, *octets: bytes) -> list[Path]:
        """The files that have one of these in them."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [file for file in files if any(each in file.read_bytes() for each in octets)]


@pytest.fixture
def place(bench: Bench, tmp_path: Path) -> Place:
    bench.wipe()
    return Place(tmp_path, bench)


def key_of(files: dict[str, bytes]) -> x509_files.PrivateKey:
    return x509_files.read_key(files["key.der"], bytes)


def secret_octets(key: x509_files.PrivateKey) -> tuple[bytes, ...]:
    """The private number, as it is in every encoding, and in text."""
    number = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    body = x509_files.key_pem(key, None).splitlines()[2]
    return number, number.hex().encode(), body


def test_the_board_gets_a_new_key_that_is_nowhere_on_this_computer(
    bench: Bench, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.emulated() == 0
    files = bench.files()
    certificate = x509.load_der_x509_certificate(files["cert.der"])
    key = key_of(files)
    assert belongs(key, certificate)
    assert files["ca.der"] == place.authority.ca_der.read_bytes()
    assert place.holds(files["key.der"], *secret_octets(key)) == []
    shown = "".join(capsys.readouterr())
    assert not any(each.decode(errors="ignore") in shown for each in secret_octets(key)[1:])


def test_the_inventory_has_the_board_and_its_certificate(bench: Bench, place: Place) -> None:
    place.emulated()
    certificate = x509.load_der_x509_certificate(bench.files()["cert.der"])
    device = place.device()
    assert device.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert (device.cloud, device.identity, device.board) == ("aws", NAME, BOARD)
    assert device.mac == bench.mac
    assert device.runtime.startswith("micropython 1.")
    kept = x509.load_pem_x509_certificate((place.folder / f"certs/{NAME}.cert.pem").read_bytes())
    assert kept == certificate


def test_the_key_is_kept_with_mode_0600_when_asked_for(bench: Bench, place: Place) -> None:
    place.emulated("--keep-keys", place.folder / "keys")
    kept = place.folder / f"keys/{NAME}.key.pem"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert x509_files.read_key(kept.read_bytes(), bytes).private_numbers() == (
        key_of(bench.files()).private_numbers()
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_on_the_board_publishes_to_the_emulated_cloud(
    cloud: str, bench: Bench, place: Place
) -> None:
    service = emulation.SERVICES[cloud](place.authority, place.store, "another-thing")
    if isinstance(service.cloud, AzureCloud):
        service.cloud.dps.retry_after_s = 1  # the document's sample has 3
    config = place.folder / "config.json"
    config.write_text(json.dumps({"readings": 2, "period_ms": 5, "clock": {"servers": []}}))
    with serve(service.cloud) as running:
        port = ("--cloud-port", running.port, "--config", config)
        assert place.emulated(*port, cloud=cloud) == 0
        device = place.folder / "device"
        device.mkdir()
        for name, octets in bench.files().items():
            if "/" not in name:
                (device / name).write_bytes(octets)
        script = Script("cpython-shim", FIRMWARE / "main.py", device)
        try:
            lines = script.lines()
        finally:
            script.close()
    assert json.loads(lines[-1].removeprefix("summary "))["accepted"] == 2
    assert [json.loads(message.payload)["seq"] for message in place.store.messages()] == [0, 1]
    assert all(NAME in message.device for message in place.store.messages())


def test_a_device_provisioned_again_loses_its_earlier_certificate_and_assignment(
    bench: Bench, place: Place
) -> None:
    place.emulated()
    first = place.device().fingerprint
    with repl.opened(bench.port) as board:
        board.write("/azure.json", b"{}")
        board.write("/queue.dat", b"readings")
    place.emulated()
    registry = aws_registry.Registry(place.store)
    assert registry.thing(first) is None
    assert registry.thing(place.device().fingerprint) == NAME
    assert len(place.inventory.devices(history=True)) == 2
    assert "azure.json" not in bench.files()
    assert bench.files()["queue.dat"] == b"readings"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_identity_that_the_board_has_is_known_again_until_anything_of_it_differs(
    cloud: str, bench: Bench, place: Place
) -> None:
    place.emulated("--cloud-port", 1234, cloud=cloud)
    target = provision.Emulated(place.authority, Store(), 1234)
    request = provision.Request(BOARD, cloud, NAME, target)
    others = [
        replace(request, name="sensor-2"),
        replace(request, config={"period_ms": 5}),
        replace(request, target=replace(target, port=1235)),
    ]
    with repl.opened(bench.port) as board:
        found = provision.held(board, request, place.inventory)
        assert found and found.device == place.device()
        assert [provision.held(board, other, place.inventory) for other in others] == [None] * 3
        empty = Inventory(place.folder / "empty.db")
        assert provision.held(board, request, empty) is None
        board.write("/config.json", b"{}")
        assert provision.held(board, request, place.inventory) is None
    assert place.registered(target.store, cloud)


def test_another_device_does_not_get_the_name_and_nothing_is_written(
    bench: Bench, place: Place
) -> None:
    place.emulated()
    device = place.device()
    taken = Device(**{**device.__dict__, "serial": "000000000001"})
    place.inventory.record(taken, replace=True)
    before = bench.files()
    with pytest.raises(SystemExit, match="is the name of device 000000000001"):
        place.emulated()
    assert bench.files() == before
    assert place.emulated("--replace") == 0
    assert place.device().serial == device.serial


def test_imported_certificate_and_encrypted_key_go_onto_the_board_as_der(
    bench: Bench, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    key = x509_files.generate("ec")
    certificate = x509_files.self_signed(NAME, key, 30)
    for name, data in (
        ("own.pem", x509_files.certificate_pem(certificate)),
        ("own.key", x509_files.key_pem(key, SECRET.encode())),
        ("phrase", SECRET.encode()),
    ):
        (place.folder / name).write_bytes(data)
    own = ("--cert", place.folder / "own.pem", "--key", place.folder / "own.key")
    place.emulated(*own, "--pass-phrase-file", place.folder / "phrase", cloud="azure")
    files = bench.files()
    assert files["cert.der"] == certificate.public_bytes(serialization.Encoding.DER)
    assert files["key.der"] == x509_files.key_der(key)
    assert SECRET not in "".join(capsys.readouterr())


def test_the_real_clouds_commands_name_the_device_and_no_secret(
    bench: Bench, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = place.authority.ca_pem
    place.provision("--ca", ca, "--set", f"endpoint={AMAZON['endpoint']}")
    said = capsys.readouterr().out
    assert f"aws iot create-thing --thing-name {NAME}\n" in said
    assert f"--certificate-pem file://{place.folder}/certs/{NAME}.cert.pem" in said
    config = json.loads(bench.files()["config.json"])
    assert config["settings"]["endpoint"] == AMAZON["endpoint"]
    assert "address" not in config
    assert config["clock"] == {}  # TLS of a board that boots in 2000 needs the time
    place.provision("--ca", ca, "--set", "id_scope=0ne000A0000", cloud="azure")
    assert "az iot dps enrollment create" in capsys.readouterr().out
    (place.folder / "secret").write_text(SECRET)
    given = ("--ca", ca, "--secret-file", place.folder / "secret")
    place.provision(*given, "--set", "product_key=a1Product", cloud="aliyun")
    said = capsys.readouterr().out
    assert f"aliyun iot RegisterDevice --ProductKey a1Product --DeviceName {NAME}" in said
    place.provision(*given, "--set", "org=abc123", "--set", "type_id=t", cloud="watson")
    said += capsys.readouterr().out
    assert "abc123.internetofthings.ibmcloud.com/api/v0002/device/types/t/devices" in said
    assert SECRET not in said
    assert json.loads(bench.files()["config.json"])["settings"]["token"] == SECRET
    assert SECRET.encode() not in place.inventory.path.read_bytes()


def test_the_certificate_of_a_device_is_valid_for_ten_years_and_in_its_name(
    bench: Bench, place: Place
) -> None:
    place.provision("--ca", place.authority.ca_pem, "--set", "id_scope=0ne000A0000", cloud="azure")
    certificate = x509.load_der_x509_certificate(bench.files()["cert.der"])
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lasts > timedelta(days=3649)
    assert certificate.subject.rfc4514_string() == f"CN={NAME}"
    assert certificate.signature_hash_algorithm is not None
    assert certificate.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("told", "cloud", "more"),
    [
        ("takes no device name 'a b'", "aws", ("--name", "a b")),
        ("aws has no setting hub", "aws", ("--set", "hub=x")),
        ("aws wants the settings endpoint", "aws", ()),
        ("aliyun iot RegisterDevice", "aliyun", ("--set", "product_key=a1")),
        ("belong together", "aws", ("--set", "endpoint=e", "--cert", "x")),
        (
            "the board is|no such port|is gone",
            "aws",
            ("--set", "endpoint=e", "--port", "/dev/none"),
        ),
        ("no board 'X'", "aws", ("--set", "endpoint=e", "--board", "X")),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_no_trace(
    told: str, cloud: str, more: tuple[str, ...], bench: Bench, place: Place
) -> None:
    with pytest.raises(SystemExit, match=told):
        place.provision("--ca", place.authority.ca_pem, *more, cloud=cloud)
    assert not place.inventory.path.exists()
    assert not (place.folder / "certs").exists()


def test_a_key_of_another_certificate_is_refused(place: Place) -> None:
    pair, other = place.authority.device("one"), place.authority.device("two")
    own = ("--cert", pair.cert_pem, "--key", other.key_pem)
    with pytest.raises(SystemExit, match="not that of the certificate"):
        place.emulated(*own)


def test_a_cable_pulled_while_provisioning_leaves_the_old_identity_or_the_new_one(
    bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.emulated()
    octets = sent(place.emulated, monkeypatch)
    for share in (0.3, 0.6, 0.9):
        before = bench.files()
        bench.plug(Faults(unplug_at=int(octets * share)))
        with pytest.raises(SystemExit):
            place.emulated()
        bench.pulled()
        bench.plug()
        bench.started()
        after = bench.files()
        names = ("cert.der", "key.der", "config.json")
        changed = [name for name in names if after[name] != before[name]]
        assert changed in ([], ["cert.der", "key.der"])
        certificate = x509.load_der_x509_certificate(after["cert.der"])
        assert belongs(key_of(after), certificate)
    assert place.emulated() == 0
    assert place.device().fingerprint == (
        x509.load_der_x509_certificate(bench.files()["cert.der"])
        .fingerprint(hashes.SHA256())
        .hex()
    )


def test_provision_shows_nothing_secret_of_a_request() -> None:
    login = provision.Login(key=x509_files.generate("ec"), secret=SECRET)
    request = provision.Request(BOARD, "aws", NAME, provision.Real(b""), login=login)
    assert SECRET not in repr(request) and "EllipticCurve" not in repr(request)
