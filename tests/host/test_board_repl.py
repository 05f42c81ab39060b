"""The emulated board's program: boot from the flash, and the REPL, with real mpremote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial  # type: ignore[import-untyped]

from host.board import EmulatedBoard
from tests.host.board_bench import BOARD, flashed, mpremote, on_flash, reset_by_mpremote, session

_MAIN = b"""\
import sys
print('boot.py said', said)
print('platform', sys.platform)
"""
_ENDLESS = {
    "that sleeps": b"import time\nwhile True:\n    time.sleep(10)\n",
    "that is busy": b"while True:\n    pass\n",
    "that writes": b"while True:\n    with open('x', 'w') as f:\n        f.write('y' * 300)\n",
}
_PATIENCE_S = 10.0


@pytest.fixture
def board(tmp_path: Path) -> Iterator[EmulatedBoard]:
    with flashed(tmp_path, {"keep": b"kept"}) as board:
        yield board


def heard(port: serial.Serial, until: bytes) -> bytes:
    """What comes until these octets do; AssertionError if they do not."""
    port.timeout = _PATIENCE_S
    said: bytes = port.read_until(until)
    assert said.endswith(until), said
    return said


def typed(board: EmulatedBoard, text: bytes, until: bytes) -> bytes:
    """What a person reads who types that at the friendly REPL."""
    with serial.Serial(board.port) as port:
        port.timeout = _PATIENCE_S / 5
        for _ in range(5):  # a board that has just started or resets itself takes no notice
            port.write(b"'be' + 'fore'\r")
            if port.read_until(b"before'\r\n>>> ").endswith(b"before'\r\n>>> "):
                break
        port.write(text)
        return heard(port, until)


def test_board_when_it_starts_then_it_runs_boot_and_main_from_the_flashed_littlefs(
    tmp_path: Path,
) -> None:
    files = {"boot.py": b"said = 7\n", "main.py": _MAIN}
    with flashed(tmp_path, files) as board, serial.Serial(board.port) as port:
        board.reset()
        said = heard(port, b">>> ")
    assert b"rst:0x1 (POWERON)" in said
    assert b"boot.py said 7\r\nplatform esp32\r\nMicroPython v1." in said


def test_board_without_firmware_when_it_starts_then_it_says_so_again_and_again(
    tmp_path: Path,
) -> None:
    with EmulatedBoard(BOARD, folder=tmp_path) as board, serial.Serial(board.port) as port:
        heard(port, b"invalid header: 0xffffffff\r\n")
        heard(port, b"invalid header: 0xffffffff\r\n")


def test_board_with_erased_file_system_when_it_starts_then_it_makes_one(tmp_path: Path) -> None:
    with flashed(tmp_path, {}) as board:
        assert mpremote(board, "fs", "ls").split()[-1] == "boot.py"
        assert list(on_flash(board)) == ["boot.py"]


def test_board_with_damaged_file_system_when_it_starts_then_it_says_so(tmp_path: Path) -> None:
    with flashed(tmp_path, {}) as board:
        board.unplug()
        board.flash.program(BOARD.filesystem.offset, bytes(0x2000))
        board.plug()
        with serial.Serial(board.port) as port:
            heard(port, b"The filesystem appears to be corrupted")


def test_mpremote_when_it_copies_files_then_they_are_in_the_flash_after_reset_and_unplug(
    board: EmulatedBoard, tmp_path: Path
) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(range(256)) * 80)
    mpremote(board, "fs", "cp", file, ":copied.bin")
    mpremote(board, "fs", "mkdir", ":folder")
    mpremote(board, "fs", "cp", file, ":folder/again.bin")
    assert mpremote(board, "fs", "cat", ":keep") == "kept"
    reset_by_mpremote(board)
    board.plug()
    names = {line.split()[-1] for line in mpremote(board, "fs", "ls").splitlines()}
    assert {"copied.bin", "folder/", "keep"} <= names
    board.unplug()
    found = on_flash(board)
    assert found["copied.bin"] == found["folder/again.bin"] == file.read_bytes()


def test_mpremote_when_it_resumes_then_names_are_still_there_and_else_not(
    board: EmulatedBoard,
) -> None:
    mpremote(board, "exec", "n = 41")
    assert mpremote(board, "resume", "exec", "n += 1; print(n)") == "42\n"
    with pytest.raises(AssertionError, match="NameError"):
        mpremote(board, "exec", "print(n)")


def test_mpremote_when_the_program_raises_then_the_traceback_has_the_user_s_lines_only(
    board: EmulatedBoard,
) -> None:
    with pytest.raises(AssertionError) as failed:
        mpremote(board, "exec", "def f():\n    return 1 // 0\nf()")
    lines = [line for line in str(failed.value).splitlines() if "File" in line]
    assert lines == ['  File "<stdin>", line 3, in <module>', '  File "<stdin>", line 2, in f']


def test_mpremote_when_it_sends_a_long_program_then_all_of_it_runs(
    board: EmulatedBoard, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    lines = [f"n = {i}" for i in range(1500)]  # several windows of raw paste mode
    program.write_text("\n".join((*lines, "print(n)")))
    assert mpremote(board, "run", program) == "1499\n"


def test_mpremote_when_it_mounts_a_folder_then_the_board_reads_it(
    board: EmulatedBoard, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "module.py").write_text("ANSWER = 42\n")
    said = mpremote(board, "mount", here, "exec", "import module; print(module.ANSWER)")
    assert said.endswith("\n42\n")


@pytest.mark.parametrize("program", _ENDLESS.values(), ids=_ENDLESS)
def test_mpremote_when_an_endless_program_runs_then_it_gets_in(
    program: bytes, tmp_path: Path
) -> None:
    with flashed(tmp_path, {"main.py": program}) as board:
        assert mpremote(board, "exec", "print('in')") == "in\n"
        assert on_flash(board)["main.py"] == program


def test_clock_when_it_is_set_then_a_reset_keeps_it_and_a_power_cut_does_not(
    board: EmulatedBoard,
) -> None:
    assert mpremote(board, "rtc").startswith("(2000, 1, 1, 5, 0, 0, ")
    mpremote(board, "rtc", "--set")
    year = time.localtime().tm_year
    assert mpremote(board, "exec", "import time; print(time.gmtime()[0])") == f"{year}\n"
    reset_by_mpremote(board)
    assert mpremote(board, "exec", "import time; print(time.time() > 8e8)") == "True\n"
    board.plug()
    assert mpremote(board, "rtc").startswith("(2000, 1, 1, ")


def test_board_when_it_is_asked_what_it_is_then_it_answers_as_its_kind(
    board: EmulatedBoard,
) -> None:
    with session(board) as repl:
        repl.exec("import gc, machine, network, os, sys, time\ngc.collect()")
        assert abs(repl.eval("gc.mem_free()") - BOARD.heap_bytes) < 4096
        assert repl.eval("machine.unique_id()") == bytes.fromhex(board.mac.replace(":", ""))
        assert repl.eval("(sys.platform, sys.path)") == ("esp32", ["", ".frozen", "/lib"])
        assert repl.eval("os.uname().machine") == f"{BOARD.product} with ESP32"
        assert repl.eval("time.gmtime(0)") == (2000, 1, 1, 0, 0, 0, 5, 1)
        assert repl.eval("time.mktime((2000, 1, 2, 0, 0, 0, 0, 0))") == 86400


def test_wifi_when_it_scans_and_connects_then_it_knows_only_what_it_found(
    board: EmulatedBoard,
) -> None:
    with session(board) as repl:
        repl.exec("import network\nw = network.WLAN(network.STA_IF)\nw.active(True)")
        names = [name for name, *_ in repl.eval("w.scan()")]
        assert len(names) == 2
        repl.exec("w.connect('nobody', 'secret')")
        assert not repl.eval("w.isconnected()")
        repl.exec(f"w.connect({names[0].decode()!r}, 'secret')")
        assert repl.eval("w.isconnected()")
        assert repl.eval("w.ifconfig()[0]") == "127.0.0.1"


def test_program_when_it_resets_the_machine_then_the_board_starts_again(tmp_path: Path) -> None:
    main = b"""\
import machine, os
print('cause', machine.reset_cause())
if 'once' not in os.listdir():
    open('once', 'w').close()
    machine.reset()
"""
    with flashed(tmp_path, {"main.py": main}) as board:
        said = b""
        for _ in range(5):  # the first may meet the reset; then it is a soft one
            if b"MPY: soft reboot\r\ncause 5\r\n" not in said:
                said = typed(board, b"\x04", b">>> ")
    assert b"MPY: soft reboot\r\ncause 5\r\n" in said
    assert "once" in on_flash(board)


def test_program_when_it_exits_then_the_board_reboots_softly(board: EmulatedBoard) -> None:
    assert b"MPY: soft reboot\r\n" in typed(board, b"import sys; sys.exit()\r", b"help()")


def test_friendly_repl_when_a_person_types_then_it_answers(board: EmulatedBoard) -> None:
    assert typed(board, b"6 * 77\x7f\r", b">>> ").endswith(b"\r\n42\r\n>>> ")
    said = typed(board, b"for i in range(2):\r    print(i)\r\r", b">>> ")
    assert said.endswith(b"\r\n0\r\n1\r\n>>> ")
    said = typed(board, b"\x05def f():\r    return 'x'\r\rprint(f())\r\x04", b">>> ")
    assert said.endswith(b"\r\nx\r\n>>> ")
    typed(board, b"import time\r", b">>> ")
    typed(board, b"while True: print('on'), time.sleep_ms(5)\r", b"on\r\n")
    with serial.Serial(board.port) as port:
        port.write(b"\x03")
        assert b"KeyboardInterrupt" in heard(port, b">>> ")
    assert b"NameError" in typed(board, b"g\r", b">>> ")
    assert typed(board, b"nothing\x03", b">>> ").endswith(b"\r\n>>> ")
