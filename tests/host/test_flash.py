"""`onebuf flash` by esptool's Python API, onto emulated boards: what works, and each failure."""

from __future__ import annotations

import fcntl
import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from host import boards, firmware_file, flash
from host.board import EmulatedBoard, Faults
from host.board.firmware import stand_in
from host.flash import FlashFailed
from host.flash_command import add_flash
from tests.host.board_bench import BOARD, filesystem, flashed, mpremote, on_flash
from tests.host.commands import run
from tools import firmware_sample

_FIRMWARE = stand_in(BOARD)
_FILES = {"main.py": b"print('flashed')\n", "large": random.Random(6).randbytes(60_000)}
_IMAGE = filesystem(_FILES)
_MANY = 20


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with the two files to flash."""
    monkeypatch.chdir(tmp_path)
    Path("firmware.bin").write_bytes(_FIRMWARE)
    Path("image.bin").write_bytes(_IMAGE)
    return tmp_path


def test_blank_board_when_firmware_and_image_are_written_then_it_runs_them(
    tmp_path: Path,
) -> None:
    steps: list[tuple[str, int, int]] = []
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        board.flash.program(0x3F0000, b"left over")
        done = flash.flash(
            BOARD,
            board.port,
            _FIRMWARE,
            _IMAGE,
            erase=True,
            progress=lambda *step: steps.append(step),
        )
        assert mpremote(board, "exec", "import main") == "flashed\n"
        assert on_flash(board) == _FILES
        assert board.flash.read(0x1000, len(_FIRMWARE)) == _FIRMWARE
        assert board.flash.read(0x3F0000, 9) == b"\xff" * 9
    assert (done.chip, done.mac, done.flash_bytes) == ("esp32", board.mac, 4 << 20)
    assert done.written == len(_FIRMWARE) + len(_IMAGE)
    assert [what for what in dict.fromkeys(what for what, _, _ in steps)] == [
        "erase",
        "write at 0x1000",
        "write at 0x200000",
    ]
    assert steps[-1][1] == steps[-1][2]


@pytest.mark.parametrize("name", [name for name in boards.names() if name != BOARD.name])
def test_any_board_when_its_firmware_is_written_then_it_starts(name: str, tmp_path: Path) -> None:
    kind = boards.load(name)
    with EmulatedBoard(kind, folder=tmp_path) as board:
        done = flash.flash(kind, board.port, stand_in(kind))
        assert done.chip == kind.chip
        assert board.wait()


def test_stock_firmware_when_it_is_written_then_all_of_it_is_in_the_flash(tmp_path: Path) -> None:
    stock = firmware_sample.find().read_bytes()
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        flash.flash(BOARD, board.port, stock)
        assert board.flash.read(0x1000, len(stock)) == stock
        assert mpremote(board, "exec", "print(6 * 7)") == "42\n"


def test_board_with_firmware_when_only_an_image_is_written_then_its_own_table_says_where(
    tmp_path: Path,
) -> None:
    with flashed(tmp_path, {"old": b"1"}) as board:
        flash.flash(BOARD, board.port, filesystem=_IMAGE)
        assert on_flash(board) == _FILES


def test_board_without_firmware_when_only_an_image_is_written_then_it_is_refused(
    tmp_path: Path,
) -> None:
    with (
        EmulatedBoard(BOARD, folder=tmp_path) as board,
        pytest.raises(FlashFailed, match="no firmware on the board yet"),
    ):
        flash.flash(BOARD, board.port, filesystem=_IMAGE)


def test_firmware_for_another_chip_when_it_is_given_then_the_port_is_not_even_opened() -> None:
    with pytest.raises(FlashFailed, match="the firmware is for the chip esp32c3"):
        flash.flash(BOARD, "/dev/none", stand_in(boards.load("ESP32_GENERIC_C3")))


def test_board_with_another_chip_when_it_is_flashed_then_it_is_left_as_it_was(
    tmp_path: Path,
) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path, chip="esp32c3") as board:
        board.flash.program(0x1000, b"as it was")
        with pytest.raises(FlashFailed, match=r"has the chip esp32c3.*ESP32_GENERIC_C3"):
            flash.flash(BOARD, board.port, _FIRMWARE, erase=True)
        assert board.flash.read(0x1000, 9) == b"as it was"


def test_board_with_less_flash_than_its_kind_when_the_image_is_too_large_then_it_is_refused(
    tmp_path: Path,
) -> None:
    with (
        EmulatedBoard(BOARD, folder=tmp_path, flash_bytes=2 << 20) as board,
        pytest.raises(FlashFailed, match="the board has 2 MiB of flash"),
    ):
        flash.flash(BOARD, board.port, _FIRMWARE, _IMAGE)


def test_image_larger_than_its_partition_when_it_is_given_then_it_is_refused(
    tmp_path: Path,
) -> None:
    with (
        EmulatedBoard(BOARD, folder=tmp_path) as board,
        pytest.raises(FlashFailed, match="larger than partition vfs, 2097152"),
    ):
        flash.flash(BOARD, board.port, _FIRMWARE, _IMAGE + b"\0")


def test_board_not_in_download_mode_when_it_is_flashed_then_the_buttons_are_named(
    tmp_path: Path,
) -> None:
    with (
        EmulatedBoard(BOARD, folder=tmp_path, faults=Faults(deaf=True)) as board,
        pytest.raises(FlashFailed, match="Hold the button BOOT, press and release RESET"),
    ):
        flash.flash(BOARD, board.port, _FIRMWARE)


def test_board_held_in_download_mode_when_it_is_flashed_then_that_works(tmp_path: Path) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path, faults=Faults(deaf=True)) as board:
        board.reset(download=True)
        flash.flash(BOARD, board.port, _FIRMWARE)
        assert board.wait()


def test_port_that_is_not_there_when_it_is_opened_then_the_ports_are_named() -> None:
    with pytest.raises(FlashFailed, match=r"no port /dev/ttyNONE.*\(ports: "):
        flash.flash(BOARD, "/dev/ttyNONE", _FIRMWARE)


def test_port_that_another_program_has_open_when_it_is_opened_then_it_is_busy(
    tmp_path: Path,
) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path) as board, open(board.port, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as pyserial's `exclusive` does
        with pytest.raises(FlashFailed, match="is busy: close the serial monitor"):
            flash.flash(BOARD, board.port, _FIRMWARE)


def test_port_without_permission_when_it_is_opened_then_the_group_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("serial.serial_for_url", denied)  # root may open all
    with pytest.raises(FlashFailed, match="usermod -aG dialout"):
        flash.flash(BOARD, "/dev/ttyUSB0", _FIRMWARE)


def test_line_with_noise_when_a_board_is_flashed_then_it_ends_with_advice(
    tmp_path: Path,
) -> None:
    with (
        EmulatedBoard(BOARD, folder=tmp_path, faults=Faults(noise_every=9000)) as board,
        pytest.raises(FlashFailed, match="lower --baud"),
    ):
        flash.flash(BOARD, board.port, _FIRMWARE, _IMAGE)


@pytest.mark.parametrize("at", [40, 2_000, 11_000, 14_000, 60_000])
def test_board_unplugged_while_it_is_flashed_when_it_is_done_again_then_it_runs(
    at: int, tmp_path: Path
) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path, faults=Faults(unplug_at=at)) as board:
        with pytest.raises(FlashFailed, match="was the cable pulled"):
            flash.flash(BOARD, board.port, _FIRMWARE, _IMAGE)
        assert not board.plugged
        flash.flash(BOARD, board.plug(), _FIRMWARE, _IMAGE)
        assert board.wait()
        assert on_flash(board) == _FILES


def test_twenty_boards_when_they_are_flashed_at_once_then_each_runs(tmp_path: Path) -> None:
    def flashed(number: int) -> str:
        mac = f"24:0a:c4:00:02:{number:02x}"
        with EmulatedBoard(BOARD, mac, tmp_path / str(number)) as board:
            done = flash.flash(BOARD, board.port, _FIRMWARE, _IMAGE)
            assert board.wait()
            assert done.mac == mac
            return mpremote(board, "exec", "import main")

    with ThreadPoolExecutor(_MANY) as pool:
        assert list(pool.map(flashed, range(_MANY))) == ["flashed\n"] * _MANY


def test_command_when_the_port_is_emulated_then_the_flash_is_kept_for_the_next_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = ("--board", BOARD.name, "--port", "emulated")
    checksum = hashlib.sha256(_FIRMWARE).hexdigest()
    assert (
        run(add_flash, "flash", *board, "--firmware", "firmware.bin", "--checksum", checksum) == 0
    )
    assert run(add_flash, "flash", *board, "--image", "image.bin", "--baud", "921600") == 0
    said = capsys.readouterr().out
    assert "esp32, MAC 24:0a:c4:00:00:00, 4 MiB of flash" in said
    assert "octets written and verified in" in said
    kept = (here / ".onebuf" / f"board-{BOARD.name}" / "flash.bin").read_bytes()
    assert kept[0x200000:] == _IMAGE
    assert firmware_file.read(kept[0x1000:0x200000]).chip == "esp32"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--board", "ESP33"), "no board 'ESP33'"),
        (("--board", BOARD.name, "--firmware", "firmware.bin", "--checksum", "00"), "SHA-256"),
        (("--board", BOARD.name, "--checksum", "00"), "--checksum is that of --firmware"),
        (("--board", BOARD.name), "nothing to write"),
        (("--board", BOARD.name, "--firmware", "image.bin"), "that is no firmware"),
    ],
)
def test_command_when_it_cannot_then_it_says_why_in_one_line(
    arguments: tuple[str, ...], reason: str, here: Path
) -> None:
    with pytest.raises(SystemExit, match=reason) as refused:
        run(add_flash, "flash", "--port", "/dev/ttyNONE", *arguments)
    assert "\n" not in str(refused.value)
