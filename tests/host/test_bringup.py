"""`onebuf bringup`: emulated boards from bare to publishing, through real esptool and mpremote."""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import serial  # type: ignore[import-untyped]
from commands import run
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from host import (
    boards,
    bringup,
    bringup_report,
    emulation,
    flash_image,
    image,
    provision,
    repl,
    self_test,
    x509_files,
)
from host.board import EmulatedBoard
from host.board.firmware import stand_in
from host.bringup import Outcome, Step
from host.bringup_command import add_bringup
from host.bringup_plan import Plan, Shared
from host.bringup_steps import STEPS, Steps
from host.certs import Authority
from host.cloud.server import serve
from host.cloud.store import Store
from host.inventory import Inventory
from host.self_test import TESTS

BOARD = boards.load("ESP32_GENERIC_S3")
KEY = "correct horse battery"  # of the Wi-Fi
MANY = 20


class Watch:
    """Sees the steps begin and end, and may do something then."""

    def __init__(self, begun: Callable[[str, str], None] = lambda port, step: None) -> None:
        self._begun = begun

    def says(self, port: str, step: str, text: str) -> None:
        if not text:
            self._begun(port, step)

    def ended(self, port: str, step: Step) -> None:
        pass


class Place:
    """A computer with boards at its ports, and an emulated AWS IoT that runs."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder, self._running = folder, running
        authority = Authority(folder / "cloud")
        self.store = Store(folder / "cloud.db")
        service = emulation.SERVICES["aws"](authority, self.store, "another-thing")
        self.cloud = running.enter_context(serve(service.cloud))
        self.plan = Plan(
            BOARD,
            "aws",
            provision.Emulated(authority, self.store, self.cloud.port),
            Inventory(folder / "inventory.db"),
            firmware=stand_in(BOARD),
            config={"clock": {"servers": []}, "wifi": {"ssid": "onebuf-lab"}},
            certificates=folder / "certs",
            patience_s=10.0,
        )

    def board(self, n: int = 0, kind: boards.Board = BOARD, chip: str = "") -> EmulatedBoard:
        """A bare board, plugged in."""
        mac = f"24:0a:c4:00:00:{n:02x}"
        made = EmulatedBoard(kind, mac, self.folder / f"board-{n}", chip=chip)
        return self._running.enter_context(made)

    def bring_up(
        self, *made: EmulatedBoard, watch: Watch | None = None, **changes: Any
    ) -> list[Outcome]:
        """What becomes of these boards."""
        ports = [board.port for board in made]
        return bringup.run(replace(self.plan, **changes), ports, 4, watch or Watch())

    def telemetry(self, name: str) -> list[dict[str, Any]]:
        """What the cloud has from that device, without what the self-test published."""
        said = [json.loads(each.payload) for each in self.store.messages() if each.device == name]
        return [each for each in said if "self_test" not in each]


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package for all tests, and little patience."""
    monkeypatch.setattr(image, "package", lambda *given: dict(_package(*given)))
    monkeypatch.setattr(self_test, "_JOIN_MS", 2000)
    monkeypatch.setattr(repl, "_ATTEMPTS", 2)


_package = functools.cache(image.package)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as running:
        yield Place(tmp_path, running)


def marks(outcome: Outcome) -> dict[str, str]:
    return {step.name: step.status for step in outcome.steps}


def on_flash(board: EmulatedBoard) -> dict[str, bytes]:
    return flash_image.files(board.flash.path, BOARD.filesystem.offset)


def command(folder: Path, *more: object) -> tuple[int, dict[str, Any]]:
    """The exit status of the command, run in a folder, and its JSON."""
    where = ("--folder", folder / ".onebuf", "--certs", folder / "certs", "--inventory")
    result = folder / "result.json"
    given = (*where, folder / "inventory.db", "--json", result, *more)
    status = run(add_bringup, "bringup", "--board", BOARD.name, *given)
    return status, json.loads(result.read_text())


def test_one_command_takes_a_bare_emulated_board_to_telemetry_over_mutual_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = command(tmp_path, "--port", "emulated")
    assert status == 0 and told["ok"]
    (board,) = told["boards"]
    assert [each["step"] for each in board["steps"]] == [*STEPS]
    files = flash_image.files(
        tmp_path / f".onebuf/board-{BOARD.name}/flash.bin", BOARD.filesystem.offset
    )
    certificate = x509.load_der_x509_certificate(files["cert.der"])
    assert certificate.fingerprint(hashes.SHA256()).hex() == board["fingerprint"]
    # The emulated AWS IoT knows a device by the certificate that its key has proved in TLS.
    messages = Store(tmp_path / ".onebuf/bringup.db").messages()
    assert {message.device for message in messages} == {board["identity"]}
    assert "self_test" in json.loads(messages[0].payload)
    assert json.loads(messages[1].payload)["seq"] == 0
    assert messages[1].topic == f"fleet/{board['identity']}/telemetry"
    assert "1 of 1 boards publish" in capsys.readouterr().out


def test_a_board_that_is_done_is_measured_again_and_nothing_on_it_changes(place: Place) -> None:
    board = place.board()
    (first,) = place.bring_up(board)
    assert first.ok, first
    before = on_flash(board)
    (again,) = place.bring_up(board)
    changing = ("flash", "deploy", "provision")
    assert [marks(again)[name] for name in changing] == ["kept"] * 3
    assert {marks(again)[name] for name in (*TESTS, "telemetry")} == {"passed"}
    assert on_flash(board) == before
    assert again.fingerprint == first.fingerprint


def test_fresh_erases_all_and_gives_a_new_identity(place: Place) -> None:
    board = place.board()
    (first,) = place.bring_up(board)
    (again,) = place.bring_up(board, fresh=True)
    assert again.ok and marks(again)["flash"] == "done"
    assert again.identity == first.identity
    assert again.fingerprint != first.fingerprint
    assert len(place.plan.inventory.devices()) == 1
    assert len(place.plan.inventory.devices(history=True)) == 2


def test_without_a_firmware_file_what_is_on_the_board_is_used(place: Place) -> None:
    board, bare = place.board(0), place.board(1)
    place.bring_up(board)
    done, failed = place.bring_up(board, bare, firmware=None)
    assert done.ok and marks(done)["flash"] == "kept"
    assert failed.failed and failed.failed.name == "flash"
    assert "no MicroPython answers" in failed.failed.text
    assert "--firmware" in failed.failed.advice


class Cutter(Watch):
    """Pulls the cable of each board when so many octets were sent to it in one step."""

    def __init__(
        self, cuts: Mapping[str, tuple[str, int]], pulled: Mapping[str, EmulatedBoard]
    ) -> None:
        super().__init__(self._begin)
        self._cuts, self._boards = cuts, pulled
        self._step: dict[str, str] = {}
        self.sent: dict[tuple[str, str], int] = {}  # octets, by port and step

    def _begin(self, port: str, step: str) -> None:
        self._step[port] = step
        self.sent[port, step] = 0

    def write(self, line: serial.Serial, data: bytes) -> object:
        """What a serial port's write does meanwhile."""
        at = line.port, self._step[line.port]
        self.sent[at] += len(data)
        step, octets = self._cuts.get(line.port, ("", 0))
        if at[1] == step and self.sent[at] > octets:
            self._boards[line.port].unplug()
        return _WRITE(line, data)


_WRITE = serial.Serial.write
# In which step the cable is pulled, and after which share of what that step sends.
MOMENTS = (
    *(("flash", 0.02), ("flash", 0.5), ("flash", 0.75), ("deploy", 0.3), ("deploy", 0.9)),
    *(("provision", 0.2), ("provision", 0.8), ("memory", 0.5), ("tls", 0.5), ("telemetry", 0.5)),
)


def test_cable_pulled_at_ten_moments_and_the_same_command_again_always_ends_well(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = place.board(0xFF)
    counted = Cutter({}, {})
    monkeypatch.setattr(serial.Serial, "write", lambda *given: counted.write(*given))
    port = reference.port
    assert place.bring_up(reference, watch=counted)[0].ok
    made = [place.board(n) for n in range(len(MOMENTS))]
    cuts = {
        board.port: (step, int(share * counted.sent[port, step]))
        for board, (step, share) in zip(made, MOMENTS, strict=True)
    }
    counted = Cutter(cuts, {board.port: board for board in made})
    cut = place.bring_up(*made, watch=counted)
    for outcome, (step, _) in zip(cut, MOMENTS, strict=True):
        assert outcome.failed and outcome.failed.name == step, outcome
        assert "plug it in, and run the same command again" in outcome.failed.advice
    monkeypatch.undo()
    for board in made:
        board.plug()
    again = place.bring_up(*made)
    assert [outcome.ok for outcome in again] == [True] * len(MOMENTS), again
    for outcome, (step, _) in zip(again, MOMENTS, strict=True):
        before = STEPS[: STEPS.index(step)]
        assert {marks(outcome)[name] for name in before} <= {"kept", "passed"}, (step, outcome)
        assert place.telemetry(outcome.identity)
    known = {device.serial: device.fingerprint for device in place.plan.inventory.devices()}
    assert {outcome.serial: outcome.fingerprint for outcome in again}.items() <= known.items()


def test_twenty_boards_at_once(tmp_path: Path) -> None:
    status, told = command(tmp_path, "--port", "emulated", "--count", MANY, "--jobs", 4)
    failed = [(each["port"], each["failed"], each["reason"]) for each in told["boards"]]
    assert status == 0, failed
    names = {each["identity"] for each in told["boards"]}
    assert len(names) == len(told["boards"]) == MANY
    messages = Store(tmp_path / ".onebuf/bringup.db").messages()
    telemetry = {each.device for each in messages if b"self_test" not in each.payload}
    assert telemetry == names


def test_a_broken_board_stops_with_a_reason_and_the_two_beside_it_publish(place: Place) -> None:
    made = place.board(0), place.board(1, chip="esp32c3"), place.board(2)
    first, broken, last = place.bring_up(*made)
    assert first.ok and last.ok
    assert broken.failed and broken.failed.name == "flash"
    assert "has the chip esp32c3" in broken.failed.text
    assert {marks(broken)[name] for name in STEPS[1:]} == {"left"}
    shown = bringup_report.table([first, broken, last])
    assert "2 of 3 boards publish" in shown
    assert f"{broken.port}: flash: {broken.failed.text}" in shown


def test_a_port_that_is_not_there_is_said_and_the_exit_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "firmware.bin").write_bytes(stand_in(BOARD))
    more = ("--port", "/dev/pts/no-such", "--firmware", tmp_path / "firmware.bin")
    status, told = command(tmp_path, *more)
    assert status == 1 and told["ok"] is False
    assert "no port /dev/pts/no-such" in told["boards"][0]["reason"]
    assert "0 of 1 boards publish" in capsys.readouterr().out


def test_a_test_that_fails_names_its_figure_and_the_others_are_run(place: Place) -> None:
    small = replace(BOARD, heap_bytes=BOARD.heap_bytes - 40_000)
    (outcome,) = place.bring_up(place.board(kind=small))
    assert not outcome.ok
    failed = outcome.failed
    assert failed and failed.name == "memory"
    assert failed.figures["heap_bytes"] < failed.figures["budget_bytes"] == BOARD.heap_bytes
    assert {marks(outcome)[name] for name in (*STEPS[4:],)} == {"passed"}


def test_wifi_that_cannot_be_joined_is_said(place: Place) -> None:
    config = {**place.plan.config, "wifi": {"ssid": "elsewhere", "key": KEY}}
    (outcome,) = place.bring_up(place.board(), config=config)
    wifi = next(step for step in outcome.steps if step.name == "wifi")
    assert wifi.text == "cannot join 'elsewhere'"
    assert wifi.figures["networks"] == 2
    assert KEY not in repr(outcome) and KEY not in repr(place.plan)


def test_a_cloud_that_is_not_there_or_does_not_know_the_device_is_said(place: Place) -> None:
    board = place.board()
    target = place.plan.target
    assert isinstance(target, provision.Emulated)
    elsewhere = replace(target, store=Store(place.folder / "other.db"))
    (unknown,) = place.bring_up(board, target=elsewhere)
    assert unknown.failed and unknown.failed.name == "publish"
    assert unknown.failed.text == "the cloud answers 403"
    assert marks(unknown)["telemetry"] == "left"
    place.cloud.stop()
    (alone,) = place.bring_up(board)
    assert alone.failed and alone.failed.name == "tls"
    assert "nobody listens there (-111)" in alone.failed.text
    assert (marks(alone)["publish"], marks(alone)["telemetry"]) == ("left", "left")


def test_telemetry_that_does_not_come_is_not_waited_for_for_ever(place: Place) -> None:
    def begun(port: str, step: str) -> None:
        if step == "telemetry":
            place.cloud.stop()

    (outcome,) = place.bring_up(place.board(), watch=Watch(begun), patience_s=1.0)
    assert outcome.failed and outcome.failed.name == "telemetry"
    assert outcome.failed.text == "no telemetry within 1 s"
    assert 1 < outcome.failed.seconds < 5


def test_real_cloud_whose_commands_are_told_and_whose_acceptance_is_read_in_the_boards_log(
    place: Place,
) -> None:
    board = place.board()
    target = place.plan.target
    real = replace(
        place.plan, target=provision.Real(target.ca), settings={"endpoint": "e.example"}
    )
    (outcome,) = bringup.run(real, [board.port], 1, Watch())
    assert outcome.failed and outcome.failed.name == "tls"
    told = bringup_report.table([outcome])
    assert f"aws iot create-thing --thing-name {outcome.identity}" in told
    assert place.bring_up(board, config={**place.plan.config, "period_ms": 300})[0].ok
    steps = Steps(Shared(replace(real, firmware=None)), board.port, lambda: False)
    assert steps.do("flash").status == "kept"
    assert "seq" in json.loads(steps.do("telemetry").figures["payload"])


def keys_of(told: Mapping[str, Any]) -> list[str]:
    return [*told]


def test_json_has_the_keys_that_are_documented_also_for_a_board_that_failed(
    place: Place,
) -> None:
    outcomes = place.bring_up(place.board(0), place.board(1, chip="esp32"))
    began = bringup_report.datetime(2026, 1, 2, 3, 4, 5)
    told = json.loads(bringup_report.document(place.plan, outcomes, began, 1.5))
    assert keys_of(told) == [
        *("schema", "onebuf", "board", "cloud", "began", "seconds", "ok", "boards")
    ]
    assert (told["schema"], told["ok"], told["seconds"]) == (1, False, 1.5)
    for board in told["boards"]:
        assert keys_of(board) == [
            *("port", "ok", "serial", "mac", "chip", "runtime", "identity", "fingerprint"),
            *("seconds", "failed", "reason", "advice", "commands", "steps"),
        ]
        for step in board["steps"]:
            assert keys_of(step) == ["step", "status", "seconds", "text", "figures"]
    good, bad = told["boards"]
    figures = {step["step"]: keys_of(step["figures"]) for step in good["steps"]}
    assert figures == {
        "flash": ["flash_bytes", "written"],
        "deploy": ["copied", "octets", "unchanged", "removed"],
        "provision": [],
        "memory": ["heap_free_bytes", "heap_bytes", "budget_bytes"],
        "files": ["file_system", "free_bytes", "octets", "ms"],
        "wifi": ["networks", "best_rssi_dbm", "ssid", "joined"],
        "clock": ["seconds_off"],
        "tls": ["ms", "verified", "result"],
        "publish": ["status", "ms", "seen"],
        "telemetry": ["payload", "seconds"],
    }
    assert good["steps"][7]["figures"]["verified"] is good["steps"][8]["figures"]["seen"] is True
    assert good["failed"] is good["reason"] is good["advice"] is None
    assert bad["failed"] == "flash" and bad["reason"]
    documented = Path(__file__).parents[2].joinpath("docs/bringup.md").read_text()
    assert all(f"`{key}`" in documented for key in {*keys_of(told), *keys_of(good)})


def test_no_secret_is_printed_or_kept_on_this_computer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIFI_KEY", KEY)
    wifi = ("--wifi-ssid", "onebuf-lab", "--wifi-key-env", "WIFI_KEY")
    status, _ = command(tmp_path, "--port", "emulated", *wifi)
    assert status == 0
    flash = tmp_path / f".onebuf/board-{BOARD.name}/flash.bin"
    files = flash_image.files(flash, BOARD.filesystem.offset)
    assert json.loads(files["config.json"])["wifi"] == {"ssid": "onebuf-lab", "key": KEY}
    key = x509_files.read_key(files["key.der"], bytes).private_numbers()
    number = key.private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    secret = (KEY.encode(), number, number.hex().encode())
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path != flash]
    assert len(kept) > 5
    assert [path for path in kept if any(each in path.read_bytes() for each in secret)] == []
    shown = "".join(capsys.readouterr())
    assert KEY not in shown and number.hex() not in shown


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ("different firmware", ("--port", "emulated", "--port", "/dev/ttyUSB0")),
        ("--count is for", ("--port", "/dev/ttyUSB0", "--count", "2")),
        ("no such store", ("--port", "emulated", "--store", "none.db")),
        ("no JSON object", ("--port", "emulated", "--config", os.devnull)),
        ("cannot reach 127.0.0.1: give --cloud-address", ("--port", "/dev/ttyUSB0")),
        ("that is no firmware", ("--port", "/dev/pts/9", "--firmware", os.devnull)),
    ],
)
def test_what_cannot_be_is_refused_before_any_board_is_touched(
    told: str, more: Sequence[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=told):
        command(tmp_path, *more)
    assert not (tmp_path / "result.json").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_each_board_has_a_bar_and_a_failure_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with bringup_report.Bars(out, ["a", "b"]) as bars:
        bars.says("a", "flash", "write at 0x0, 50 %")
        bars.ended("a", Step("flash", "done", "written"))
        bars.ended("b", Step("flash", "failed", "[no] answer", advice="press BOOT"))
    shown = out.getvalue()
    assert "flash  done" in shown
    assert "[no] answer" in shown
