"""CircuitPython's path: what it may use, the clouds over TLS, a drive that USB owns, the heap."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from subprocess import STDOUT
from types import ModuleType
from typing import Any

import pytest
from devices import FIRMWARE, ROOT, SCRIPTS, Process

from host import sntp
from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import Running, serve
from host.demo_devices import WAYS
from host.device_files import provision
from host.shim.circuitpython import Device, library
from tools.micropython import find

PACKAGE = FIRMWARE / "onebuf"
PROGRAM = FIRMWARE / "code.py"
# What it does not reach: MicroPython's port and module network.
OTHERS = (PACKAGE / "port" / "micropython.py", PACKAGE / "wifi.py")
PATH = [path for path in [*sorted(PACKAGE.rglob("*.py")), PROGRAM] if path not in OTHERS]
LIBRARIES = {
    "adafruit-circuitpython-connectionmanager": "adafruit_connection_manager",
    "adafruit-circuitpython-requests": "adafruit_requests",
}
# sntp imports it where no pool is given, as on MicroPython alone.
NEVER_REACHED = {("sntp", "socket")}
READINGS = 3
_ETIMEDOUT, _EKEYREJECTED = -110, -129


def name_of(path: Path) -> str:
    return str(path.relative_to(FIRMWARE).with_suffix(""))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "certs")


# -- What a board has -----------------------------------------------------------------------------


def stubs(module: str) -> ast.Module | None:
    """The stub of a module, from circuitpython-stubs; None: it is CPython's own, in part."""
    file = distribution("circuitpython-stubs").locate_file(f"{module}-stubs/__init__.pyi")
    return ast.parse(Path(str(file)).read_text()) if Path(str(file)).is_file() else None


def names(body: list[ast.stmt]) -> set[str]:
    found = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def builtin_modules() -> dict[str, ModuleType]:
    """The modules of an emulated board, by name."""
    board = Device(FIRMWARE)
    return {name: board.load(name) for name in board._builtin_modules}


def public(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["hashlib", "rtc", "socketpool", "storage"])
def test_emulated_module_has_nothing_that_the_stubs_of_a_board_lack(name: str) -> None:
    stub, module = stubs(name), builtin_modules()[name]
    assert stub is not None and public(module) <= names(stub.body)
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and hasattr(module, node.name):
            assert public(getattr(module, node.name)) <= names(node.body) | {
                "poll_state",  # by which the emulated select knows a socket
                "poll_result",
            }


@pytest.mark.parametrize("name", ["microcontroller", "supervisor", "wifi"])
def test_emulated_module_has_no_function_that_the_stubs_of_a_board_lack(name: str) -> None:
    stub = stubs(name)
    assert stub is not None and public(builtin_modules()[name]) <= names(stub.body)


@pytest.mark.parametrize(
    "source",
    [
        *("import socket", "import machine", "import network", "import tls", "import _thread"),
        *("import asyncio", "import typing", "import usocket", "import vfs", "import pathlib"),
        *("from time import ticks_ms", "from time import gmtime", "from time import sleep_ms"),
        *("from micropython import native", "from micropython import heap_lock"),
        *("from hashlib import sha256", "from gc import threshold", "from os import ilistdir"),
        *("from sys import print_exception", "from struct import iter_unpack"),
    ],
)
def test_what_a_board_lacks_cannot_be_imported(source: str, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(source)
    with pytest.raises(ImportError):
        Device(cwd=tmp_path).run(Path("code.py"))


@pytest.mark.parametrize("path", PATH, ids=name_of)
def test_module_on_the_path_is_loaded_by_a_board(path: Path) -> None:
    board = Device(FIRMWARE)
    board.load(name_of(path).replace("/", "."))
    ours = {name for name in board.modules if name.split(".")[0] == "onebuf"}
    assert not {"onebuf.port.micropython", "onebuf.wifi"} & ours


@pytest.mark.parametrize("path", PATH, ids=name_of)
def test_module_on_the_path_imports_and_uses_only_what_a_board_has(path: Path) -> None:
    have, tree = builtin_modules(), ast.parse(path.read_text())
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module in have:
            for alias in node.names:
                assert hasattr(have[node.module], alias.name), (node.module, alias.name)
    for name in imported.values():
        known = name in have or name in LIBRARIES.values() or name.startswith("onebuf")
        assert known or (path.stem, name) in NEVER_REACHED, name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = have.get(imported.get(node.value.id, ""))
            assert module is None or hasattr(module, node.attr), ast.unparse(node)


def test_emulated_boards_share_nothing(tmp_path: Path) -> None:
    one, other = (Device(FIRMWARE, cwd=tmp_path) for _ in range(2))
    modules = [board.load("onebuf.port.circuitpython") for board in (one, other)]
    assert modules[0] is not modules[1]
    one.load("rtc").RTC().datetime = time.gmtime(0)
    assert one.load("time").time() < 10 < other.load("time").time()
    assert "circuitpython" in one.load("sys").implementation.name != sys.implementation.name


# -- Settings -------------------------------------------------------------------------------------


def test_settings_are_strings_whatever_settings_toml_says(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        '# comment\nA = "text" # more\nB=7\nC = "a \\"b\\" \\\\ #c"\n[table]\nnonsense\nD = ""\n'
    )
    assert library.Drive(tmp_path, False).settings() == {
        "A": "text",
        "B": "7",
        "C": 'a "b" \\ #c',
        "D": "",
    }


# -- The clouds -----------------------------------------------------------------------------------


def lay(drive: Path, authority: Authority, settings: Mapping[str, object], pair: Any) -> None:
    """Put onto the drive what firmware/code.py reads."""
    drive.mkdir(exist_ok=True)
    shutil.copy(authority.ca_pem, drive / "ca.pem")
    values: dict[str, object] = {"CIRCUITPY_WIFI_SSID": "home", "ONEBUF_CA": "ca.pem"}
    if pair:
        shutil.copy(pair.cert_pem, drive / "cert.pem")
        shutil.copy(pair.key_pem, drive / "key.pem")
        values |= {"ONEBUF_CERT": "cert.pem", "ONEBUF_CERT_KEY": "key.pem"}
    values |= {"ONEBUF_ADDRESS": "127.0.0.1", "ONEBUF_PERIOD_S": 0, "ONEBUF_READINGS": READINGS}
    values |= {f"ONEBUF_{name.upper()}": value for name, value in settings.items()}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
    (drive / "settings.toml").write_text("".join(lines))


@contextmanager
def board(drive: Path, *options: str, program: Path = PROGRAM) -> Iterator[Process]:
    """Run a program as a board whose drive that is."""
    argv = [sys.executable, "-u", "-m", "host.shim.circuitpython", *options, str(program)]
    process = Process(argv, drive, {**os.environ, "PYTHONPATH": str(ROOT)}, STDOUT)
    try:
        yield process
    finally:
        process.close()


# By the names of the demo's table; the cloud's answers are long with a token of its own.
CLOUDS = (
    "AWS IoT, certificate",
    "AWS IoT, access key (SigV4)",
    "AWS IoT, custom authorizer",
    "Azure IoT Hub, device key (SAS)",
    "Alibaba Cloud, hmacsha1",
    "Alibaba Cloud, hmacsha256",
    "Watson IoT, device",
)


@pytest.mark.parametrize("way", CLOUDS)
def test_application_publishes_to_each_cloud_over_tls(
    way: str, authority: Authority, tmp_path: Path
) -> None:
    setup = WAYS[way](authority, "dev-0001")
    with serve(setup.cloud) as served, sntp.serve() as clock:
        settings = {**setup.config["settings"], "cloud": setup.config["cloud"]}
        settings |= {"port": served.port, "ntp": clock.host, "ntp_port": clock.port}
        settings |= {"buffer": 2048} if "authorizer" in way else {}
        lay(tmp_path, authority, settings, setup.pair)
        with board(tmp_path) as device:
            lines = device.rest()
        assert device.wait() == 0, "\n".join(lines)
        received = [message.payload for message in served.messages()]
    assert json.loads(lines[-1].removeprefix("summary ")) == {"accepted": READINGS, "queued": 0}
    assert [json.loads(payload)["seq"] for payload in received] == list(range(READINGS))


def test_reading_that_the_queue_does_not_take_is_said_to_be_lost(
    authority: Authority, tmp_path: Path
) -> None:
    setup = WAYS["Watson IoT, device"](authority, "dev-0001")
    with serve(setup.cloud) as served:
        settings = {**setup.config["settings"], "cloud": "watson", "port": served.port}
        lay(tmp_path, authority, settings, setup.pair)
        (tmp_path / "code.py").write_text(PROGRAM.read_text().replace("(2048)", "(9)"))
        with board(tmp_path, program=Path("code.py")) as device:
            lines = device.rest()
    assert len([line for line in lines if line.endswith("} lost, 0 queued")]) == READINGS


def test_hmacmd5_is_refused_with_the_hashes_that_there_are(
    authority: Authority, tmp_path: Path
) -> None:
    settings = WAYS["Alibaba Cloud, hmacmd5"](authority, "dev-0001").config["settings"]
    lay(tmp_path, authority, {**settings, "cloud": "aliyun"}, None)
    with board(tmp_path) as device:
        lines = device.rest()
    assert lines[-1] == "ValueError: Unsupported hash algorithm"  # as CircuitPython has it
    assert settings["device_secret"] not in "\n".join(lines)


@pytest.fixture
def cloud(authority: Authority) -> Iterator[Running]:
    with serve(AWSCloud(authority)) as cloud:
        yield cloud


def aws(cloud: Running) -> dict[str, object]:
    topic = "fleet/dev-0001/telemetry"
    return {"endpoint": cloud.cloud.endpoint, "topic": topic, "port": cloud.port}


@pytest.fixture
def drive(cloud: Running, authority: Authority, tmp_path: Path) -> Path:
    """The drive of a device with a certificate."""
    lay(tmp_path, authority, aws(cloud), cloud.cloud.add_thing("dev-0001"))
    return tmp_path


def test_readings_are_kept_while_the_cloud_cannot_be_reached(drive: Path, cloud: Running) -> None:
    text = (drive / "settings.toml").read_text()
    (drive / "settings.toml").write_text(text.replace(f"PORT = {cloud.port}", "PORT = 1"))
    with board(drive) as device:
        lines = device.rest()
    assert "-> -111, 1 queued" in lines[0]
    assert json.loads(lines[-1].removeprefix("summary ")) == {"accepted": 0, "queued": READINGS}


def test_readings_are_kept_while_there_is_no_network(drive: Path) -> None:
    text = (drive / "settings.toml").read_text()
    (drive / "settings.toml").write_text(text.replace('"home"', '""'))
    with board(drive) as device:
        lines = device.rest()
    assert "Wi-Fi -> No network with that ssid" in lines[0]
    assert json.loads(lines[-1].removeprefix("summary ")) == {"accepted": 0, "queued": READINGS}


# -- TLS ------------------------------------------------------------------------------------------


def connecting(drive: Path, port: int, host: str = "", **options: Any) -> tuple[int, float]:
    """What connect() says in the end, and the seconds that took; options: tls_context's."""
    device = Device(FIRMWARE, cwd=drive)
    module = device.load("onebuf.port.circuitpython")
    pool = device.load("socketpool").SocketPool(device.load("wifi").radio)
    transport = module.Transport(pool, module.tls_context(**options), "127.0.0.1")
    begin = time.monotonic()
    transport.start(800)
    result = 0
    while result == 0:
        result = transport.connect(host, port) or transport.wait_writable()
    transport.close()
    return result, time.monotonic() - begin


def test_server_that_is_not_the_one_meant_is_refused(
    drive: Path, cloud: Running, authority: Authority, tmp_path: Path
) -> None:
    ca, endpoint = (drive / "ca.pem").read_text(), cloud.cloud.endpoint
    assert connecting(drive, cloud.port, endpoint, ca=ca)[0] == 1
    assert connecting(drive, cloud.port, "other.example", ca=ca)[0] == _EKEYREJECTED
    other = Authority(tmp_path / "other").ca_pem.read_text()
    assert connecting(drive, cloud.port, endpoint, ca=other)[0] == _EKEYREJECTED
    assert connecting(drive, cloud.port, endpoint)[0] == _EKEYREJECTED, "no public CA signed it"


def test_server_that_says_nothing_to_a_handshake_is_a_time_out(drive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        result, seconds = connecting(drive, port, "any.example", ca=(drive / "ca.pem").read_text())
    assert result == _ETIMEDOUT and 0.7 < seconds < 1.2


def test_certificate_and_key_that_do_not_belong_together_are_told_when_it_connects(
    drive: Path, cloud: Running, authority: Authority
) -> None:
    shutil.copy(authority.ca_pem, drive / "key.pem")
    ca = (drive / "ca.pem").read_text()
    result, _ = connecting(
        drive, cloud.port, cloud.cloud.endpoint, ca=ca, cert="cert.pem", key="key.pem"
    )
    assert result < -255


# -- The drive ------------------------------------------------------------------------------------


def test_queue_on_a_drive_that_usb_owns_is_refused_and_says_what_to_do(drive: Path) -> None:
    with (drive / "settings.toml").open("a") as settings:
        settings.write('ONEBUF_QUEUE = "/queue"\n')
    with board(drive, "--usb") as device:
        lines = device.rest()
    assert "OSError" in lines[-1] and "read-only to code" in lines[-1]
    assert 'boot.py: import storage; storage.remount("/", readonly=False)' in lines[-1]


def test_queue_on_a_drive_that_is_codes_keeps_readings_over_a_restart(
    drive: Path, cloud: Running
) -> None:
    text = (drive / "settings.toml").read_text() + 'ONEBUF_QUEUE = "/queue"\n'
    (drive / "settings.toml").write_text(text.replace(f"PORT = {cloud.port}", "PORT = 1"))
    with board(drive) as device:
        device.rest()
    (drive / "settings.toml").write_text(text)
    with board(drive) as device:
        lines = device.rest()
    assert json.loads(lines[-1].removeprefix("summary ")) == {"accepted": 6, "queued": 0}
    seen = [json.loads(message.payload)["seq"] for message in cloud.messages()]
    assert seen == list(range(2 * READINGS))


def flash_queue(tmp_path: Path, usb: bool) -> Callable[..., Any]:
    return Device(FIRMWARE, cwd=tmp_path, usb=usb).load("onebuf.flash_queue").FlashQueue


def test_flash_queue_itself_says_that_nothing_may_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError) as told:
        flash_queue(tmp_path, True)("/queue")
    assert told.value.errno == 30
    queue = flash_queue(tmp_path, False)("/queue")
    assert queue.push(b"reading") and queue.sync()
    queue = flash_queue(tmp_path, True)("/queue")
    assert len(queue) == 1 and not queue.push(b"another") and queue.error == -30


# -- adafruit_requests ----------------------------------------------------------------------------

BESIDE = """
import adafruit_connection_manager, adafruit_requests, json, os, wifi
from onebuf.cloud.aws import AWS
from onebuf.port.adafruit_session import Client
from onebuf.publish import Publisher

wifi.radio.connect("home")
pool = adafruit_connection_manager.get_radio_socketpool(wifi.radio)
context = adafruit_connection_manager.get_radio_ssl_context(wifi.radio)
with open("ca.pem") as file:
    context.load_verify_locations(cadata=file.read())
context.load_cert_chain("cert.pem", "key.pem")
aws = AWS("localhost", "fleet/dev-0001/telemetry", port=int(os.getenv("ONEBUF_PORT")))
client = Client(adafruit_requests.Session(pool, context), bytearray(1024), aws.host, aws.port)
publisher = Publisher(client, aws)
for n in range(3):
    publisher.publish(b'{"n":%d}' % n)
    print(publisher.result)
"""


def test_session_of_adafruit_requests_publishes_over_a_connection_that_it_keeps(
    drive: Path, cloud: Running
) -> None:
    (drive / "lib").mkdir()
    for package, module in LIBRARIES.items():
        file = distribution(package).locate_file(f"{module}.py")
        shutil.copy(str(file), drive / "lib")
    (drive / "code.py").write_text(BESIDE)
    with board(drive, program=Path("code.py")) as device:
        lines = device.rest()
    assert lines == ["200"] * 3
    assert [message.payload for message in cloud.messages()] == [b'{"n":%d}' % n for n in range(3)]


# -- The heap -------------------------------------------------------------------------------------


def test_publishes_through_the_port_take_what_it_promises_over_tls(
    cloud: Running, tmp_path: Path
) -> None:
    pair = cloud.cloud.add_thing("dev-0001")
    provision(tmp_path, cloud.cloud, pair, "fleet/dev-0001/telemetry", cloud.port)
    argv = [*find(32).argv, "-X", "heapsize=128k", str(SCRIPTS / "circuitpython_heap.py")]
    path = f"{FIRMWARE}:{ROOT / 'tests' / 'heap'}:.frozen"
    process = Process(argv, tmp_path, {**os.environ, "MICROPYPATH": path}, STDOUT)
    try:
        lines = process.rest()
    finally:
        process.close()
    found = json.loads(lines[-1])
    assert found["accepted"] == 300
    assert found["same"] == 0
    assert 0 < found["other"] <= 48 * 100
