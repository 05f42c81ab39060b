"""`onebuf deploy`: real mpremote to a board whose cable is pulled, and the drive CIRCUITPY."""

from __future__ import annotations

import base64
import errno
import json
import os
import pty
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from commands import run
from devices import FIRMWARE, SCRIPTS
from emulated import BOARD, Bench, on_the_bench, sent

from host import deploy, deploy_drive, image, repl
from host.board import Faults
from host.deploy_command import add_deploy
from host.powercut import Laboratory
from tools import circuitpython_bundle

MOMENTS = [n / 13 for n in range(1, 13)]  # shares of the octets that a whole deployment sends


# Leaves five blocks, of which four are kept for the renaming.
FILL = """\
import os
with open('/readings', 'wb') as file:
    while os.statvfs('/')[3] > 6:
        file.write(bytes(4096))
        file.flush()
"""


def version(n: int) -> dict[str, bytes]:
    """The files of a version that differs from the others in some ways: by path on the board."""
    mark = b"%d" % n
    files = {f"/lib/onebuf/m{i}.mpy": bytes(range(i, i + 90)) * 9 * i + mark for i in range(1, 5)}
    files[f"/lib/onebuf/cloud/of{n}/only.mpy"] = mark
    files["/lib/onebuf/same.py"] = b"SAME = 1\n" * 30
    files["/main.py"] = b"print('version %d')\n" % n
    return files


def bare(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what is of no version: boot.py, and what a deployment that was cut has left."""
    return {
        f"/{path}": data
        for path, data in files.items()
        if path != "boot.py" and not path.startswith("onebuf_deploy/")
    }


@pytest.fixture(scope="module")
def whole_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with on_the_bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.fixture
def bench(whole_bench: Bench) -> Bench:
    whole_bench.wipe()
    return whole_bench


def test_command_copies_package_and_application_and_the_board_starts_them(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    arguments = ("deploy", "--board", BOARD, "--port", bench.port, "--cloud", "aws")
    assert run(add_deploy, *arguments, "--config", config) == 0
    files = bench.files()
    assert files["main.py"] == (FIRMWARE / "main.py").read_bytes()
    assert files["config.json"] == b"{}"
    with repl.opened(bench.port) as board:
        package = image.package("aws", board.facts().mpy_arch)
        assert board.run("import onebuf.client, onebuf\nprint(onebuf.__version__)").strip()
    assert {name: files[name] for name in files if name.startswith("lib/")} == package
    said = capsys.readouterr().out
    written = {**package, **image.application(), "config.json": b"{}"}
    octets = sum(map(len, written.values()))
    assert f"{len(written)} files copied, {octets:,} octets; 0 unchanged, 0 removed" in said
    assert run(add_deploy, *arguments) == 0
    said = capsys.readouterr().out
    assert f"0 files copied, 0 octets; {len(written) - 1} unchanged, 0 removed" in said
    assert bench.files() == files  # and config.json stays where no other is given


def test_only_what_changed_is_copied_and_what_is_not_needed_goes(bench: Bench) -> None:
    first = {**version(1), "/lib/onebuf/m1.py": b"# it would hide m1.mpy", "/main.mpy": b"old"}
    deploy.deploy(bench.port, first)
    with repl.opened(bench.port) as board:
        board.write("/readings.dat", b"of the application")
    said: list[str] = []
    report = deploy.deploy(bench.port, version(2), say=said.append)
    assert bare(bench.files()) == {**version(2), "/readings.dat": b"of the application"}
    assert report.unchanged == 1
    assert sorted(report.copied) == sorted(set(version(2)) - {"/lib/onebuf/same.py"})
    assert sorted(report.removed) == [
        "/lib/onebuf/cloud/of1",
        "/lib/onebuf/cloud/of1/only.mpy",
        "/lib/onebuf/m1.py",
        "/main.mpy",
    ]
    assert "/main.py 19" in said


def test_a_boot_py_of_the_users_keeps_its_content(bench: Bench) -> None:
    own = b"import sys\nWIFI = 'off'\n"
    with repl.opened(bench.port) as board:
        board.write("/boot.py", own)
    deploy.deploy(bench.port, version(1))
    deploy.deploy(bench.port, version(2))
    assert bench.files()["boot.py"] == deploy.HOOK + own
    deploy.deploy(bench.port, {"/boot.py": b"LED = 2\n"}, owned=())
    assert bench.files()["boot.py"] == deploy.HOOK + b"LED = 2\n"


def test_the_clock_of_the_board_is_this_computers_in_utc(bench: Bench) -> None:
    assert deploy.deploy(bench.port, version(1)).clock_set
    with repl.opened(bench.port) as board:
        found = board.lines("import machine\nprint(machine.RTC().datetime())")[-1]
    now = time.gmtime()
    assert found[:4] == (*now[:3], now.tm_wday)
    assert abs(found[4] * 60 + found[5] - now.tm_hour * 60 - now.tm_min) <= 1


@pytest.mark.parametrize("share", MOMENTS, ids="{:.2f}".format)
def test_cable_pulled_at_any_moment_leaves_the_old_or_the_new_version_and_again_ends_well(
    share: float, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy.deploy(bench.port, version(2))
    octets = sent(lambda: deploy.deploy(bench.port, version(1)), monkeypatch)
    bench.plug(Faults(unplug_at=int(octets * share)))
    with pytest.raises(repl.Failed):
        deploy.deploy(bench.port, version(2))
    bench.pulled()
    bench.plug()
    bench.started()
    left = bare(bench.files())
    assert left in (version(1), version(2))
    deploy.deploy(bench.port, version(2))
    assert bare(bench.files()) == version(2)
    assert not any(name.startswith("onebuf_deploy") for name in bench.files())


def test_what_arrived_before_the_cable_was_pulled_is_not_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = {"/lib/onebuf/big.mpy": bytes(range(256)) * 40}
    files = {**big, "/lib/onebuf/last.mpy": bytes(range(255, -1, -1)) * 40}
    octets = sent(lambda: deploy.deploy(bench.port, files), monkeypatch)
    bench.wipe()
    bench.plug(Faults(unplug_at=int(octets * 0.8)))
    with pytest.raises(repl.Failed):
        deploy.deploy(bench.port, files)
    bench.pulled()
    bench.plug()
    assert sent(lambda: deploy.deploy(bench.port, files), monkeypatch) < octets * 0.7
    assert bare(bench.files()) == files


class Recorder:
    """A board that also keeps what it is told to run."""

    def __init__(self, board: repl.Board) -> None:
        self.board = board
        self.port = board.port
        self.commands: list[str] = []

    def run(self, code: str) -> str:
        self.commands.append(code)
        return self.board.run(code)

    def lines(self, code: str) -> list[object]:
        self.commands.append(code)
        return self.board.lines(code)

    def read(self, path: str) -> bytes:
        return self.board.read(path)

    def write(self, path: str, data: bytes) -> None:
        """As mpremote's fs_writefile has the board do it."""
        pieces = (data[at : at + 512] for at in range(0, len(data), 512))
        self.commands.append(f"f = open({path!r}, 'wb')\nw = f.write")
        self.commands += [f"w({piece!r})" for piece in pieces]
        self.commands.append("f.close()")
        self.board.write(path, data)


def test_power_cut_at_every_operation_of_the_flash_leaves_the_old_or_the_new_version(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On real LittleFS in real MicroPython; what is cut is started, cut again, and started."""
    old = {**version(1), "/lib/onebuf/m2.py": b"goes", "/azure.json": b"{}"}
    deploy.deploy(bench.port, old, owned=())
    with repl.opened(bench.port) as board:
        recorder = Recorder(board)
        board.run("import os\nos.remove('/boot.py')")  # it has never seen a deployment
        deploy.update(recorder, version(2), (*deploy.OWNED, "/azure.json"))  # type: ignore[arg-type]

    def text(files: dict[str, bytes]) -> dict[str, str]:
        return {path: base64.b64encode(data).decode() for path, data in files.items()}

    job = tmp_path / "job.json"
    job.write_text(json.dumps([text(old), recorder.commands, text(version(2))]))
    (found,) = Laboratory(SCRIPTS / "deploy_cut.py", FIRMWARE, tmp_path).call("cuts", str(job))
    assert set(found["once"]) == {"old", "new"}
    assert sum(found["once"].values()) == 2 * found["operations"] > 200
    assert found["order"] == found["order"].replace("no", "no!")  # never back to the old one
    assert {(first, second) for first, second, _ in found["twice"]} == {("new", "new")}
    with capsys.disabled():
        once, twice = sum(found["once"].values()), found["twice"][0][2]
        print(f"\ndeployment cut at {once} positions, and at {twice} while it was finished")


def test_a_full_flash_is_said_and_the_old_version_stays(bench: Bench) -> None:
    deploy.deploy(bench.port, version(1))
    before = bench.files()
    with repl.opened(bench.port) as board:
        board.run(FILL)
    too_much = {**version(2), "/lib/onebuf/much.mpy": bytes(range(256)) * 80}
    with pytest.raises(repl.Failed, match="flash of the board is full"):
        deploy.deploy(bench.port, too_much)
    after = bench.files()
    del after["readings"]
    assert after == before


def test_a_folder_where_a_file_belongs_is_refused_and_the_old_version_stays(bench: Bench) -> None:
    deploy.deploy(bench.port, version(1))
    before = bench.files()
    for files in ({"/lib": b"a file"}, {"/main.py/x.py": b"below a file"}):
        with pytest.raises(repl.Failed, match=r"on the board: OSError"):
            deploy.deploy(bench.port, {**version(2), **files}, owned=())
        bench.started()
        assert bare(bench.files()) == bare(before)


def test_a_line_that_garbles_octets_never_leaves_a_broken_version(bench: Bench) -> None:
    deploy.deploy(bench.port, version(1))
    bench.plug(Faults(noise_every=2500))
    with suppress(repl.Failed):
        deploy.deploy(bench.port, version(2))
    bench.plug()
    bench.started()
    assert bare(bench.files()) in (version(1), version(2))


def test_a_board_of_another_kind_is_refused_before_anything_is_written(bench: Bench) -> None:
    bench.started()
    before = bench.files()
    with pytest.raises(SystemExit, match="ESP32_GENERIC_C3 has esp32c3"):
        run(add_deploy, "deploy", "--board", "ESP32_GENERIC_C3", "--port", bench.port)
    assert bench.files() == before


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        ("no board 'NONE'", ("--board", "NONE", "--port", "x")),
        ("no such port", ("--board", BOARD, "--port", "/dev/no-such-port")),
        ("circuitpython does not run", ("--board", "ESP32_GENERIC", "--drive", "x")),
    ],
)
def test_a_board_that_is_not_there_is_said_in_one_line(
    told: str, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match=told):
        run(add_deploy, "deploy", *arguments)


def test_a_port_that_another_program_has_open_is_said(bench: Bench) -> None:
    with (
        repl.opened(bench.port),
        pytest.raises(repl.Failed, match="another program has it open"),
        repl.opened(bench.port),
    ):
        pass


def test_a_board_that_says_nothing_is_told_apart_from_a_missing_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repl, "_ATTEMPTS", 1)  # eight take twelve seconds
    ends = pty.openpty()
    try:
        with (
            pytest.raises(repl.Failed, match="no MicroPython answers"),
            repl.opened(os.ttyname(ends[1])),
        ):
            pass
    finally:
        for end in ends:
            os.close(end)


# -- CIRCUITPY ----------------------------------------------------------------------------------


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    (tmp_path / "boot_out.txt").write_text("Adafruit CircuitPython 10.2.0\n")
    return tmp_path


def on_drive(drive: Path) -> dict[str, bytes]:
    files = [path for path in drive.rglob("*") if path.is_file()]
    found = {path.relative_to(drive).as_posix(): path.read_bytes() for path in files}
    del found["boot_out.txt"]
    return found


def relative(n: int) -> dict[str, bytes]:
    files = {path[1:]: data for path, data in version(n).items()}
    files["code.py"] = files.pop("main.py")
    return files


def test_command_copies_sources_and_code_py_to_a_circuitpython_drive(
    drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drive / "settings.toml").write_text("of the user")
    arguments = ("deploy", "--board", "UM_FEATHERS3", "--drive", drive, "--cloud", "watson")
    run(add_deploy, *arguments)
    files = on_drive(drive)
    assert files.pop("settings.toml") == b"of the user"
    assert files["code.py"] == (FIRMWARE / "code.py").read_bytes()
    wanted = circuitpython_bundle.drive("watson")
    assert wanted.pop("settings.toml") == (FIRMWARE / "settings.toml").read_bytes()
    assert files == wanted
    capsys.readouterr()
    run(add_deploy, *arguments)
    assert f"0 files copied, 0 octets; {len(files)} unchanged" in capsys.readouterr().out


def test_command_keeps_the_users_code_and_fills_an_empty_settings_toml(
    drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drive / "settings.toml").write_bytes(b"")  # as CircuitPython makes it
    (drive / "code.py").write_text("# my sensor")
    run(add_deploy, "deploy", "--board", "UM_FEATHERS3", "--drive", drive, "--cloud", "aws")
    files = on_drive(drive)
    assert files["code.py"] == (FIRMWARE / "code.py").read_bytes()
    assert files["code.py.old"] == b"# my sensor" and b"ONEBUF_" in files["settings.toml"]
    assert "code.py.old" in capsys.readouterr().out


def test_a_drive_gets_what_changed_and_loses_what_is_not_needed(drive: Path) -> None:
    deploy_drive.deploy(drive, relative(1))
    report = deploy_drive.deploy(drive, relative(2))
    assert on_drive(drive) == relative(2)
    assert (report.unchanged, report.removed) == (1, ("lib/onebuf/cloud/of1/only.mpy",))


@pytest.mark.parametrize("moment", range(6))
def test_a_drive_pulled_while_it_is_written_has_the_old_version(
    moment: int, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_drive.deploy(drive, relative(1))
    left = iter([None] * moment)

    def fsync(handle: int) -> None:
        if next(left, OSError) is OSError:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as pulled:
        pulled.setattr(os, "fsync", fsync)
        pulled.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(deploy_drive.Failed, match="the drive is gone"):
            deploy_drive.deploy(drive, relative(2))
    found = on_drive(drive)
    assert {path: data for path, data in found.items() if ".onebuf-new" not in path} == relative(1)
    deploy_drive.deploy(drive, relative(2))
    assert on_drive(drive) == relative(2)


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EROFS, "cannot be written to"), (errno.ENOSPC, "it is full")]
)
def test_a_drive_that_takes_nothing_is_said_and_is_left_as_it_was(
    number: int, told: str, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_drive.deploy(drive, relative(1))

    def fsync(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(deploy_drive.Failed, match=told):
        deploy_drive.deploy(drive, relative(2))
    assert on_drive(drive) == relative(1)


def test_a_folder_that_is_no_circuitpython_drive_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(deploy_drive.Failed, match=r"no boot_out\.txt"):
        deploy_drive.deploy(tmp_path, relative(1))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(deploy_drive.Failed, match="no such drive"):
        deploy_drive.deploy(tmp_path / "none", relative(1))
