"""Download mode of the emulated board, with real esptool as its user."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from host import boards
from host.board import EmulatedBoard, Faults
from host.board.firmware import stand_in
from host.board.flash import Flash, OutOfFlash
from host.board.rom import find_sync
from host.boards import Board
from tests.host.board_bench import BOARD, flashed, mpremote, tool

_OCTETS = b"\xe9" + random.Random(6).randbytes(70_000) + b"\xc0\xdb" * 500 + bytes(30_000)
_CHIPS = {"esp32": "ESP32", "esp32c3": "ESP32-C3", "esp32c6": "ESP32-C6"}
_CHIPS |= {"esp32s2": "ESP32-S2", "esp32s3": "ESP32-S3"}


def esptool(board: EmulatedBoard, *arguments: object) -> str:
    return tool("esptool", "--port", board.port, "--before", "no-reset", *arguments)


@pytest.mark.parametrize("board", boards.all_boards(), ids=lambda board: board.name)
def test_esptool_when_it_asks_any_board_then_it_finds_chip_and_mac_and_flash(
    board: Board, tmp_path: Path
) -> None:
    with EmulatedBoard(board, "24:0a:c4:12:34:56", tmp_path) as emulated:
        said = esptool(emulated, "flash-id")
    assert f"Connected to {_CHIPS[board.chip]} on" in said
    assert "24:0a:c4:12:34:56" in said
    assert f"Detected flash size: {board.flash_bytes >> 20}MB" in said


@pytest.mark.parametrize("stub", [(), ("--no-stub",)], ids=["stub", "ROM"])
def test_esptool_when_it_writes_then_the_flash_has_that_and_another_run_verifies_it(
    stub: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "octets.bin"
    file.write_bytes(_OCTETS)
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        board.flash.program(0x40000, b"there before")
        said = esptool(board, *stub, "write-flash", "--force", "0x40000", file)
        assert "Hash of data verified" in said
        assert board.flash.read(0x40000, len(_OCTETS)) == _OCTETS
        assert set(board.flash.read(0x20000, 0x20000)) == {0xFF}
        assert "digest matched" in esptool(board, "verify-flash", "0x40000", file)


def test_esptool_when_it_does_not_compress_then_the_flash_has_that_too(tmp_path: Path) -> None:
    file = tmp_path / "octets.bin"
    file.write_bytes(_OCTETS)
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        esptool(board, "write-flash", "--no-compress", "--force", "0x40000", file)
        assert board.flash.read(0x40000, len(_OCTETS)) == _OCTETS


def test_esptool_when_it_reads_then_it_gets_what_is_in_the_flash(tmp_path: Path) -> None:
    read = tmp_path / "read.bin"
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        board.flash.program(0x10000, _OCTETS)
        esptool(board, "read-flash", "0x10000", len(_OCTETS), read)
        assert read.read_bytes() == _OCTETS
        esptool(board, "--no-stub", "read-flash", "0x10000", 200, read)
        assert read.read_bytes() == _OCTETS[:200]


def test_esptool_when_it_erases_then_only_that_is_erased(tmp_path: Path) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        board.flash.program(0, bytes(0x10000))
        esptool(board, "erase-region", "0x4000", "0x2000")
        assert board.flash.read(0, 0x10000) == bytes(0x4000) + b"\xff" * 0x2000 + bytes(0xA000)
        esptool(board, "erase-flash")
        assert set(board.flash.read(0, board.flash.size)) == {0xFF}


def test_esptool_when_it_uses_its_usual_reset_then_it_still_writes_and_the_program_runs(
    tmp_path: Path,
) -> None:
    file = tmp_path / "firmware.bin"
    file.write_bytes(stand_in(BOARD))
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        said = tool("esptool", "--port", board.port, "write-flash", "0x1000", file)
        assert "Hash of data verified" in said
        assert mpremote(board, "exec", "print(6 * 7)") == "42\n"


def test_esptool_when_a_program_runs_then_it_still_gets_into_download_mode(
    tmp_path: Path,
) -> None:
    with flashed(tmp_path, {"main.py": b"while True: print('busy')\n"}) as board:
        assert "Chip type:" in esptool(board, "chip-id")


def test_esptool_when_a_board_is_deaf_then_it_gives_up(tmp_path: Path) -> None:
    with (
        EmulatedBoard(BOARD, folder=tmp_path, faults=Faults(deaf=True)) as board,
        pytest.raises(AssertionError, match="Failed to connect"),
    ):
        esptool(board, "--connect-attempts", "1", "chip-id")


def test_flash_when_programmed_twice_then_only_an_erase_sets_bits_again(tmp_path: Path) -> None:
    flash = Flash(tmp_path / "flash.bin", 0x4000)
    flash.program(0x1000, b"\xf0\x0f")
    flash.program(0x1000, b"\xaa\xff\x55")
    assert flash.read(0x1000, 3) == b"\xa0\x0f\x55"
    flash.erase(0x1001, 1)
    assert set(flash.read(0x1000, 0x1000)) == {0xFF}
    with pytest.raises(OutOfFlash):
        flash.program(0x3FFF, b"12")
    flash.close()


def test_sync_when_it_comes_among_other_octets_then_it_is_found() -> None:
    packet = b"\xc0\x00\x08\x24\x00\x00\x00\x00\x00\x07\x07\x12\x20" + b"U" * 32 + b"\xc0"
    assert find_sync(b"\xc0print\xc0" + packet) == 7
    assert find_sync(packet[:12]) == -1
