"""What boards/ says: checked against esptool and mpy-cross, and shown by `onebuf boards`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from esptool.targets import CHIP_DEFS

from host import boards, cli
from host.boards import Board, BoardError
from tools import size

NAMES = boards.names()


@pytest.fixture(params=NAMES)
def board(request: pytest.FixtureRequest) -> Board:
    return boards.load(request.param)


def altered(folder: Path, name: str, **values: Any) -> Path:
    """A folder with one board, ESP32_GENERIC with other values (None: without the key)."""
    facts = json.loads((boards.BOARDS / "ESP32_GENERIC" / "board.json").read_text())
    kept = {key: value for key, value in {**facts, **values}.items() if value is not None}
    (folder / name).mkdir()
    (folder / name / "board.json").write_text(json.dumps(kept))
    return folder


def test_boards_that_were_asked_for_are_there() -> None:
    wanted = {"ESP32_GENERIC", "UM_FEATHERS3", "LOLIN_S2_MINI"}
    wanted |= {f"ESP32_GENERIC_{chip}" for chip in ("C3", "S3", "C6")}
    assert wanted <= set(NAMES)


def test_chip_and_where_its_firmware_begins_are_what_esptool_knows(board: Board) -> None:
    chip = CHIP_DEFS[board.chip]
    assert board.chip_id == chip.IMAGE_CHIP_ID
    assert board.firmware_offset == chip.BOOTLOADER_FLASH_OFFSET
    assert f"{board.flash_bytes >> 20}MB" in chip.FLASH_SIZES


def test_mpy_cross_compiles_for_the_instruction_set_of_each_board(
    board: Board, tmp_path: Path
) -> None:
    native = "import micropython\n@micropython.native\ndef one():\n    return 1\n"
    target = tmp_path / "one.mpy"
    assert size.compile_source(native, "one", target, board.mpy_arch) > 0
    assert target.read_bytes()[:2] == b"M\x06"


def test_every_fact_has_a_source(board: Board) -> None:
    for fact in ("chip", "flash_bytes", "filesystem", "baud", "heap_bytes"):
        assert any(source.startswith(fact) for source in board.sources), fact


def test_unknown_name_when_loaded_then_the_error_lists_the_known_and_guesses() -> None:
    with pytest.raises(BoardError) as raised:
        boards.load("esp32-generic-s3")
    assert "did you mean ESP32_GENERIC_S3?" in str(raised.value)
    assert all(name in str(raised.value) for name in NAMES)


def test_new_board_takes_one_file(tmp_path: Path) -> None:
    runtime = {"board_id": "MINE", "firmware_offset": "0x1000", "mpy_arch": "xtensawin"}
    runtimes = {"micropython": {**runtime, "tls_alpn": False, "epoch": 2000}}
    folder = altered(tmp_path, "MINE", runtimes=runtimes, product="Mine")
    assert boards.names(folder) == ["MINE"]
    assert boards.load("MINE", folder).product == "Mine"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"chip": None}, "'chip' is a required property"),
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"chip": "ESP32"}, "$.chip"),
        ({"baud": {"serial": "115200", "flash": 460800}}, "$.baud.serial"),
        ({"flash_bytes": 2 << 20}, "ends after the flash"),
        ({"sources": []}, "$.sources"),
    ],
)
def test_wrong_file_when_loaded_then_the_error_names_file_and_key(
    values: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = altered(tmp_path, "ESP32_GENERIC", **values)
    with pytest.raises(BoardError) as raised:
        boards.load("ESP32_GENERIC", folder)
    assert "boards/ESP32_GENERIC/board.json" in str(raised.value)
    assert words in str(raised.value)


def test_folder_with_another_name_than_the_runtimes_use_is_refused(tmp_path: Path) -> None:
    shutil.copytree(boards.BOARDS / "ESP32_GENERIC", tmp_path / "MY_ESP32")
    with pytest.raises(BoardError, match="named as no runtime names"):
        boards.load("MY_ESP32", tmp_path)


def test_runtime_that_does_not_run_on_it_is_an_error_with_its_name() -> None:
    with pytest.raises(BoardError, match="ESP32_GENERIC: circuitpython does not run on it"):
        boards.load("ESP32_GENERIC").runtime("circuitpython")


def test_command_lists_each_board_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["boards"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert head.split()[:2] == ["board", "chip"]
    [line] = [line for line in lines if line.startswith("ESP32_GENERIC_S3 ")]
    assert "esp32s3" in line and "8 MiB" in line and "micropython, circuitpython" in line


def test_command_shows_all_that_is_known_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["boards", "LOLIN_S2_MINI"]) == 0
    shown = capsys.readouterr().out
    board = boards.load("LOLIN_S2_MINI")
    for fact in (board.product, board.led, board.usb, *board.sources, "vfs, 2 MiB at 0x200000"):
        assert fact in shown


def test_command_as_json_gives_the_files_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["boards", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    files = {name: boards.BOARDS / name / "board.json" for name in NAMES}
    assert shown == {name: json.loads(file.read_text()) for name, file in files.items()}


def test_command_with_an_unknown_name_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["boards", "ESP32"])
    assert str(left.value).startswith("onebuf: no board 'ESP32'")
