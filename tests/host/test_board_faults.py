"""What goes wrong with an emulated board, and twenty of them at once."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import serial  # type: ignore[import-untyped]

from host import board as emulated
from host.board import EmulatedBoard, Faults
from tests.host.board_bench import BOARD, filesystem, flashed, mpremote, on_flash, session

_MANY = 20


def gone(board: EmulatedBoard) -> bool:
    """Whether it goes, and its port, within two seconds: who uses it may hear of it first."""
    until = time.monotonic() + 2
    while (board.plugged or Path(board.port).exists()) and time.monotonic() < until:
        time.sleep(0.01)
    return not board.plugged and not Path(board.port).exists()


@pytest.mark.parametrize("at", [1500, 9000, 17000, 29000])
def test_board_unplugged_while_a_file_is_copied_when_plugged_again_then_it_starts_and_goes_on(
    at: int, tmp_path: Path
) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(bytes(range(256)) * 40)
    with flashed(tmp_path, {"keep": b"kept"}, faults=Faults(unplug_at=at)) as board:
        for _ in range(3):  # on a busy machine mpremote may give up before the cable is pulled
            if board.plugged:
                with pytest.raises(AssertionError):
                    mpremote(board, "fs", "cp", file, ":file.bin")
        assert gone(board)
        board.plug()
        assert board.wait()
        assert mpremote(board, "fs", "cat", ":keep") == "kept"
        mpremote(board, "fs", "cp", file, ":file.bin")
        assert on_flash(board) == {"keep": b"kept", "file.bin": file.read_bytes()}


def test_board_unplugged_after_a_time_when_its_port_is_open_then_a_reader_is_told(
    tmp_path: Path,
) -> None:
    main = {"main.py": b"while True:\n    pass\n"}
    with flashed(tmp_path, main, faults=Faults(unplug_after_s=0.5)) as board:
        port = serial.Serial(board.port, timeout=5)
        with pytest.raises(OSError):
            while port.read(100) is not None and time.monotonic():
                pass
        port.close()
        assert gone(board)


def test_line_with_noise_when_a_program_talks_then_some_octets_arrive_changed(
    tmp_path: Path,
) -> None:
    main = {"main.py": b"print('z' * 700)\n"}
    with (
        flashed(tmp_path, main, faults=Faults(noise_every=100)) as board,
        serial.Serial(board.port, timeout=1) as port,
    ):
        board.reset()
        said = port.read(900)
    assert 5 < said.count(b"z"[0] ^ 0x55) < 9
    assert said.count(b"z") > 600


def test_flash_that_is_full_when_a_file_is_copied_then_mpremote_says_so_and_the_rest_stays(
    tmp_path: Path,
) -> None:
    large = bytes(BOARD.filesystem.size - 60_000)
    file = tmp_path / "file.bin"
    file.write_bytes(bytes(80_000))
    with flashed(tmp_path, {"large": large}) as board:
        with pytest.raises(AssertionError, match="No space left"):
            mpremote(board, "fs", "cp", file, ":file.bin")
        assert on_flash(board)["large"] == large
        assert mpremote(board, "exec", "print('well')") == "well\n"


def test_program_that_crashes_its_process_when_it_does_then_the_board_boots_again(
    tmp_path: Path,
) -> None:
    main = b"import os\nif 'x' not in os.listdir():\n    open('x', 'w').close()\n    import ffi\n"
    main += b"    ffi.open('libc.so.6').func('v', 'abort', '')()\n"
    with flashed(tmp_path, {"main.py": main}) as board:
        time.sleep(0.5)
        assert mpremote(board, "exec", "print('well')") == "well\n"


def test_emulated_ports_when_they_are_named_then_each_has_its_own_flash_and_mac(
    tmp_path: Path,
) -> None:
    assert not emulated.is_emulated("/dev/ttyUSB0") and not emulated.is_emulated("emulated:x")
    with emulated.at("/dev/ttyUSB0", BOARD, tmp_path) as port:
        assert port == "/dev/ttyUSB0"
    with (
        emulated.at("emulated", BOARD, tmp_path) as one,
        emulated.at("emulated:7", BOARD, tmp_path),
    ):
        assert Path(one).exists()
    folders = sorted(folder.name for folder in tmp_path.iterdir())
    assert folders == ["board-ESP32_GENERIC", "board-ESP32_GENERIC-7"]


def test_twenty_boards_when_they_run_at_once_then_each_answers_for_itself(tmp_path: Path) -> None:
    image = filesystem({"main.py": b"import time\nwhile True:\n    time.sleep(1)\n"})

    def asked(number: int) -> bytes:
        mac = f"24:0a:c4:00:01:{number:02x}"
        with flashed(tmp_path / str(number), {}, mac=mac, image=image) as board:
            with session(board) as repl:
                repl.fs_writefile("number", str(number).encode() * 200)
                assert repl.eval("open('number').read()") == str(number) * 200
                found: bytes = repl.eval("__import__('machine').unique_id()")
            return found

    with ThreadPoolExecutor(_MANY) as pool:
        macs = list(pool.map(asked, range(_MANY)))
    assert macs == [bytes.fromhex(f"240ac40001{number:02x}") for number in range(_MANY)]


def test_board_when_its_block_ends_then_no_process_and_no_port_is_left(tmp_path: Path) -> None:
    with flashed(tmp_path, {"main.py": b"while True:\n    pass\n"}) as board:
        port, process = Path(board.port), board.process
        assert port.exists() and Path(f"/proc/{process}").exists()
    assert not port.exists() and not Path(f"/proc/{process}").exists()
    with EmulatedBoard(BOARD) as other:
        folder = other.folder
    assert not folder.exists()


def test_board_when_its_host_is_killed_then_no_process_is_left(tmp_path: Path) -> None:
    program = f"""\
import time
from pathlib import Path
from tests.host.board_bench import flashed
main = b"import time\\nwhile True:\\n    time.sleep(100)\\n"
with flashed(Path({str(tmp_path)!r}), {{"main.py": main}}) as board:
    print(board.process, flush=True)
    time.sleep(100)
"""
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert host.stdout
    with host.stdout:
        process = Path(f"/proc/{int(host.stdout.readline())}")
        assert process.exists()
        host.kill()
        host.wait(10)
    until = time.monotonic() + 10
    while process.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not process.exists()


def test_flash_of_a_board_is_its_owners_alone_and_of_one_run_at_a_time(tmp_path: Path) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        assert board.flash.path.stat().st_mode & 0o077 == 0
        with pytest.raises(OSError, match="in use"):
            EmulatedBoard(BOARD, folder=tmp_path)
    with EmulatedBoard(BOARD, folder=tmp_path) as board:
        assert board.plugged
