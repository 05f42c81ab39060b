"""`onebuf image`: read with littlefs-python and by real MicroPython, merged as esptool merges."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from devices import FIRMWARE, ROOT, SCRIPTS

from host import boards, cli, firmware_file, flash_image, image, partitions
from host.certs import Authority
from host.firmware_file import FirmwareError
from host.image import Image, ImageError
from host.partitions import DATA, FAT, Partition, TableError
from host.powercut import Laboratory
from tools import firmware_sample, packages
from tools.native import MARCH

BOARD = boards.load("ESP32_GENERIC")
SETTINGS = {"endpoint": "a1-ats.iot.us-east-1.amazonaws.com", "topic": "fleet/sensor-1"}
CONFIG = {"cloud": "aws", "settings": SETTINGS, "ca": "ca.der", "cert": "c.der", "key": "k.der"}
MODULES = ("onebuf", "onebuf.scan", "onebuf.cloud.aws", "onebuf.port.micropython", "main")
BITS = pytest.mark.parametrize("bits", (32, 64))


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that CONFIG names."""
    folder = tmp_path_factory.mktemp("credentials")
    authority = Authority(folder / "authority")
    pair = authority.device("sensor-1")
    for name, source in (
        ("ca.der", authority.ca_der),
        ("c.der", pair.cert_der),
        ("k.der", pair.key_der),
        ("k.pem", pair.key_pem),
    ):
        (folder / name).write_bytes(source.read_bytes())
    return folder


def built(credentials: Path, **options: Any) -> Image:
    config = json.dumps(CONFIG).encode()
    return image.build(BOARD, config=config, credentials=credentials, **options)


def laboratory(folder: Path, bits: int) -> Laboratory:
    """MicroPython that finds nothing of ours but in the image."""
    return Laboratory(SCRIPTS / "image_mounted.py", folder / "nothing", folder, bits)


def run(*arguments: object) -> int:
    return cli.main(["image", "--board", BOARD.name, *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The words with which the command ends."""
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    return str(left.value)


@pytest.fixture
def firmware() -> Path:
    return firmware_sample.find()


def test_files_when_read_with_littlefs_then_they_are_those_that_went_in(
    credentials: Path, tmp_path: Path
) -> None:
    made = built(credentials)
    (tmp_path / "fs.bin").write_bytes(made.data)
    assert flash_image.files(tmp_path / "fs.bin") == made.files
    assert made.files["main.py"] == (FIRMWARE / "main.py").read_bytes()
    assert json.loads(made.files["config.json"]) == CONFIG
    for name in ("ca.der", "c.der", "k.der"):
        assert made.files[name] == (credentials / name).read_bytes()
    assert (made.offset, len(made.data)) == (0x200000, 0x200000)
    assert made.missing == ()


@BITS
def test_files_when_mounted_by_micropython_then_they_are_those_that_went_in(
    bits: int, credentials: Path, tmp_path: Path
) -> None:
    made = built(credentials)
    (tmp_path / "fs.bin").write_bytes(made.data)
    found = laboratory(tmp_path, bits).call("files", "fs.bin")
    assert sorted(found) == [
        [name, len(octets), hashlib.sha256(octets).hexdigest()]
        for name, octets in sorted(made.files.items())
    ]


@BITS
@pytest.mark.parametrize("source", (True, False), ids=("source", "compiled"))
def test_package_and_application_are_imported_out_of_the_image(
    bits: int, source: bool, credentials: Path, tmp_path: Path
) -> None:
    made = built(credentials, source=source, march=MARCH[bits])
    (tmp_path / "fs.bin").write_bytes(made.data)
    found = dict(laboratory(tmp_path, bits).call("imported", "fs.bin", *MODULES))
    suffix = "py" if source else "mpy"
    assert found["onebuf.cloud.aws"] == f"/board/lib/onebuf/cloud/aws.{suffix}"
    assert found["onebuf.scan"] == f"/board/lib/onebuf/scan.{suffix}"
    assert found["main"] == "/board/main.py"


def test_board_that_writes_to_its_file_system_keeps_what_the_image_had(
    credentials: Path, tmp_path: Path
) -> None:
    made = built(credentials)
    (tmp_path / "fs.bin").write_bytes(made.data)
    laboratory(tmp_path, 32).call("written", "fs.bin", "later.bin")
    left = flash_image.files(tmp_path / "later.bin")
    wanted = {**made.files, "log.txt": b"here" * 2000, "old.py": made.files["main.py"]}
    assert left == {name: octets for name, octets in wanted.items() if name != "main.py"}


def test_empty_file_system_has_the_octets_of_micropython_s_own(tmp_path: Path) -> None:
    laboratory(tmp_path, 32).call("formatted", 64 * 4096, "fs.bin")
    assert flash_image.pack({}, 64 * 4096, 4096) == (tmp_path / "fs.bin").read_bytes()


def test_builds_in_two_processes_are_identical(credentials: Path, tmp_path: Path) -> None:
    code = """\
import hashlib, sys
from pathlib import Path
from host import boards, image
config, credentials = sys.argv[1].encode(), Path(sys.argv[2])
made = image.build(boards.load("ESP32_GENERIC"), config=config, credentials=credentials)
print(hashlib.sha256(made.data).hexdigest())
"""
    argv = [sys.executable, "-c", code, json.dumps(CONFIG), str(credentials)]
    found = {hashlib.sha256(built(credentials).data).hexdigest()}
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        found.add(subprocess.check_output(argv, env=environment, text=True, timeout=60).strip())
    assert len(found) == 1


def test_order_of_the_files_does_not_count() -> None:
    files = {f"folder/{n}": bytes([n]) * n * 100 for n in range(20)}
    backwards = dict(reversed(files.items()))
    assert flash_image.pack(files, 1 << 18, 4096) == flash_image.pack(backwards, 1 << 18, 4096)


@pytest.mark.parametrize("cloud", packages.CLOUDS)
def test_only_what_the_chosen_cloud_needs_is_in_it(cloud: str) -> None:
    made = image.build(BOARD, cloud=cloud)
    wanted = {f"lib/{file.removesuffix('.py')}.mpy" for file in packages.lists()[cloud]}
    assert set(made.files) == wanted | set(image.application())


def test_cloud_is_that_of_config_json_and_all_without_one() -> None:
    config = json.dumps({"cloud": "azure_c2d", "settings": {}, "tls": False}).encode()
    assert "lib/onebuf/cloud/azure.mpy" in image.build(BOARD, config=config).files
    assert "lib/onebuf/cloud/aws.mpy" not in image.build(BOARD, config=config).files
    everything = image.build(BOARD).files
    assert {"lib/onebuf/cloud/aws.mpy", "lib/onebuf/cloud/watson.mpy"} <= set(everything)
    with pytest.raises(ImageError, match="is for azure, not for aws"):
        image.build(BOARD, config=config, cloud="aws")


def test_boards_of_other_processors_get_other_code_and_their_own_size() -> None:
    xtensa, riscv = (
        image.build(boards.load(name), cloud="aws")
        for name in ("ESP32_GENERIC_S3", "ESP32_GENERIC_C3")
    )
    assert xtensa.files["lib/onebuf/scan.mpy"] != riscv.files["lib/onebuf/scan.mpy"]
    assert (len(xtensa.data), len(riscv.data)) == (0x600000, 0x200000)


def test_more_files_go_to_the_root_and_instead_of_ours(tmp_path: Path) -> None:
    (tmp_path / "boot.py").write_text("import network\n")
    (tmp_path / "main.py").write_text("print('mine')\n")
    out = tmp_path / "fs.bin"
    assert run("--out", out, "--add", tmp_path / "boot.py", "--add", tmp_path / "main.py") == 0
    found = flash_image.files(out)
    assert (found["boot.py"], found["main.py"]) == (b"import network\n", b"print('mine')\n")


def test_image_is_for_its_owner_only_because_a_key_is_in_it(
    credentials: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    out = tmp_path / "fs.bin"
    assert run("--out", out, "--config", config, "--credentials", credentials) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    told = capsys.readouterr().out
    assert hashlib.sha256(out.read_bytes()).hexdigest() in told
    assert f"esptool --chip esp32 write-flash 0x200000 {out}" in told


def test_credentials_that_are_not_given_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    assert run("--out", tmp_path / "fs.bin", "--config", config) == 0
    assert "without ca.der, c.der, k.der" in capsys.readouterr().out


def test_key_in_pem_is_refused_and_never_shown(credentials: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "config.json", tmp_path / "fs.bin"
    config.write_text(json.dumps({**CONFIG, "key": "k.pem"}))
    words = refused("--out", out, "--config", config, "--credentials", credentials)
    assert "k.pem is not DER: `onebuf certs der`" in words and "PRIVATE" not in words
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"key": "5ecret"', "no JSON: line 1"),
        ("[1]", "no JSON object"),
        ('{"cloud": "gcp"}', "there is no cloud 'gcp'"),
        ('{"ca": "../ca.der"}', "'ca' is no name of a file"),
        ('{"ca": 7}', "'ca' is no name of a file"),
    ],
)
def test_config_that_the_board_could_not_use_is_refused(
    text: str, words: str, tmp_path: Path
) -> None:
    config, out = tmp_path / "config.json", tmp_path / "fs.bin"
    config.write_text(text)
    told = refused("--out", out, "--config", config)
    assert words in told and "5ecret" not in told
    assert not out.exists()


def test_files_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "fs.bin"
    table.write_text("factory,app,factory,0x10000,1M\nvfs,data,fat,0x110000,40K\n")
    out.write_bytes(b"what was there")
    words = refused("--out", out, "--partitions", table)
    assert "partition vfs of ESP32_GENERIC" in words and "do not fit into 40960" in words
    assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fs.bin", "table.csv"]


def test_table_that_is_given_says_where_and_how_large(tmp_path: Path) -> None:
    table, out = tmp_path / "table.bin", tmp_path / "fs.bin"
    table.write_bytes(partitions.build([Partition("vfs", DATA, FAT, 0x310000, 0xF0000)]))
    assert run("--out", out, "--partitions", table) == 0
    assert len(out.read_bytes()) == 0xF0000
    assert flash_image.superblock(out.read_bytes()) == (4096, 0xF0)


def test_partition_that_is_not_made_of_blocks_is_refused() -> None:
    with pytest.raises(TableError, match="whole sectors"):
        image.build(BOARD, table=b"vfs,data,fat,0x200000,0x10800\n")


def test_merged_file_has_the_octets_that_esptool_merges(firmware: Path, tmp_path: Path) -> None:
    alone, merged, by_esptool = (tmp_path / name for name in ("fs.bin", "m.bin", "e.bin"))
    assert run("--cloud", "aws", "--out", alone) == 0
    assert run("--cloud", "aws", "--out", merged, "--merge", firmware) == 0
    argv = [sys.executable, "-m", "esptool", "--chip", "esp32", "merge-bin", "-o", by_esptool]
    argv += ["--target-offset", "0x1000", "0x1000", firmware, "0x200000", alone]
    subprocess.run(list(map(str, argv)), check=True, capture_output=True, timeout=60)
    assert merged.read_bytes() == by_esptool.read_bytes()
    assert firmware_file.read(merged.read_bytes()).version == "1.27.0 on 2025-12-09"
    assert flash_image.files(merged, 0x200000 - 0x1000) == flash_image.files(alone)


def test_table_in_the_firmware_wins_over_the_board_s(firmware: Path) -> None:
    stock = firmware.read_bytes()
    table = partitions.parse(stock[0x7000:])
    user = Partition("vfs", DATA, FAT, 0x300000, 0x80000)
    other = stock[:0x7000] + partitions.build([*table, user]) + stock[0x7C00:]
    made = image.build(BOARD, cloud="aws", firmware=firmware_file.read(other))
    assert (made.filesystem, made.offset) == (user, 0x1000)
    assert len(made.data) == 0x380000 - 0x1000


def test_firmware_of_another_chip_is_not_merged(firmware: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.bin"
    with pytest.raises(SystemExit) as left:
        cli.main(
            ["image", "--board", "ESP32_GENERIC_C3", "--out", str(out), "--merge", str(firmware)]
        )
    assert "chip esp32, but ESP32_GENERIC_C3 has the esp32c3" in str(left.value)
    assert not out.exists()


def test_firmware_that_reaches_into_the_file_system_is_not_merged(firmware: Path) -> None:
    long = firmware.read_bytes().ljust(0x200000, b"\0")
    with pytest.raises(ImageError, match="ends after 0x200000, where vfs begins"):
        image.build(BOARD, cloud="aws", firmware=firmware_file.read(long))


def test_circuitpython_is_not_merged_with_a_littlefs(firmware: Path) -> None:
    words = b"Adafruit CircuitPython 10.0.3 on 2025-10-17;"
    read = firmware_file.read(b"\xff" * 0x1000 + firmware.read_bytes() + words)
    circuitpython = replace(read, chip="esp32s3", chip_id=9)
    with pytest.raises(FirmwareError, match="copy them to CIRCUITPY"):
        image.build(boards.load("ESP32_GENERIC_S3"), firmware=circuitpython)
