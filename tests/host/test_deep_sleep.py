"""firmware/main.py and sleeper.py on a board that sleeps deeply: each wake is a process.

What a board has and MicroPython's unix port has not stands in scripts/board.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from devices import FIRMWARE, MICROPYTHONS, PATIENCE_S, SCRIPTS, Process, command
from relay import Relay, relay

from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import Running, serve
from host.device_files import provision
from host.shim import Device

THING, TOPIC = "sensor-1", "fleet/sensor-1/telemetry"
KEY = "correct horse"
PERIOD_MS = 60_000
DAY_MS = 86_400_000
ONLY_IN_WAKES_THAT_FORWARD = {"onebuf.port", "onebuf.client", "onebuf.cloud", "onebuf.wifi"}


@dataclass(frozen=True)
class Wake:
    """What a wake printed, its exit status, and what it said when it went to sleep."""

    lines: list[str]
    status: int
    slept: dict[str, Any]

    @property
    def used_radio(self) -> bool:
        return "radio on" in self.lines


class Board:
    """A board with its flash in `folder`, which `wake` wakes once."""

    def __init__(self, folder: Path, runtime: str = "micropython-32") -> None:
        self.folder = folder
        argv, environment = command(runtime, FIRMWARE / "main.py")
        self._argv = argv
        path = f"{SCRIPTS / 'board'}:{environment['MICROPYPATH']}"
        self._environment = {**environment, "MICROPYPATH": path}

    def wake(self) -> Wake:
        done = subprocess.run(
            self._argv,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        assert KEY not in done.stdout and "wrong horse" not in done.stdout
        lines = done.stdout.splitlines()
        last = lines[-1] if lines else ""
        slept = json.loads(last.removeprefix("deepsleep ")) if "deepsleep" in last else {}
        return Wake(lines, done.returncode, slept)

    @contextmanager
    def awake(self) -> Iterator[Process]:
        """Switch it on, for as long as the block runs."""
        process = Process(self._argv, self.folder, self._environment, subprocess.STDOUT)
        try:
            yield process
        finally:
            process.close()

    def wakes(self, times: int) -> list[Wake]:
        """Wake it so many times; each ends in deep sleep, and nothing goes wrong."""
        done = [self.wake() for _ in range(times)]
        for each in done:
            assert each.slept and "Traceback" not in "".join(each.lines), "\n".join(each.lines)
        return done

    def access_point(self, key: str | None) -> None:
        """Let there be one that takes this key, or none."""
        file = self.folder / "access_point"
        file.unlink(missing_ok=True)
        if key is not None:
            file.write_text(key)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("asleep") / "certificates")


@pytest.fixture
def aws(authority: Authority) -> AWSCloud:
    return AWSCloud(authority)


@pytest.fixture
def cloud(aws: AWSCloud) -> Iterator[Running]:
    with serve(aws) as running:
        yield running


@pytest.fixture
def wire(cloud: Running) -> Iterator[Relay]:
    with relay(cloud.port) as made:
        yield made


def board(
    folder: Path,
    aws: AWSCloud,
    port: int,
    every: int,
    runtime: str = "micropython-32",
    **more: Any,
) -> Board:
    """A board that forwards at every so many wakes, and has Wi-Fi."""
    config: dict[str, Any] = {
        "sleep": {"forward_every": every},
        "queue": {"folder": "queue", "batch": 8},
        "period_ms": PERIOD_MS,
        "wifi": {"ssid": "home", "key": KEY, "timeout_ms": 1000},
        **more,
    }
    provision(folder, aws, aws.add_thing(THING), TOPIC, port, **config)
    made = Board(folder, runtime)
    made.access_point(KEY)
    return made


def numbers(cloud: Running) -> list[int]:
    """The numbers of the readings that the cloud has, as they came."""
    return [json.loads(message.payload)["seq"] for message in cloud.messages(TOPIC)]


@pytest.mark.parametrize("runtime", MICROPYTHONS)
def test_each_reading_arrives_once_in_order_and_only_each_nth_wake_connects(
    runtime: str, tmp_path: Path, aws: AWSCloud, cloud: Running, wire: Relay
) -> None:
    device = board(tmp_path / "device", aws, wire.port, 4, runtime)
    connections = []
    for n in range(1, 13):
        (wake,) = device.wakes(1)
        connections.append(wire.connections)
        assert wake.used_radio is (n % 4 == 0)
        assert ("radio off" in wake.lines) is wake.used_radio
        assert 0 < PERIOD_MS - wake.slept["ms"] < 10_000, "the period is from wake to wake"
        loaded = {".".join(name.split(".")[:2]) for name in wake.slept["modules"]}
        assert bool(loaded & ONLY_IN_WAKES_THAT_FORWARD) is wake.used_radio
    assert connections == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert numbers(cloud) == list(range(12))


def test_cloud_that_is_away_for_several_wakes_is_asked_ever_more_rarely_and_gets_all_in_the_end(
    tmp_path: Path, aws: AWSCloud
) -> None:
    with serve(aws) as cloud:
        port = cloud.port
    device = board(tmp_path / "device", aws, port, 2)
    away = device.wakes(20)
    attempts = sum(wake.used_radio for wake in away)
    assert 2 <= attempts <= 14
    with serve(aws, port) as cloud:
        taken = 20
        while numbers(cloud) == [] and taken < 80:
            taken += len(device.wakes(1))
        assert numbers(cloud) == list(range(taken))
        rhythm = [wake.used_radio for wake in device.wakes(4)]
        assert rhythm == [False, True, False, True]
        assert numbers(cloud) == list(range(taken + 4))


def test_wake_that_is_bidden_to_retry_later_waits_as_many_periods(
    tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    cloud.faults.add(f"throttle({3 * PERIOD_MS // 1000})")
    device = board(tmp_path / "device", aws, cloud.port, 1)
    assert [wake.used_radio for wake in device.wakes(5)] == [True, False, False, True, True]
    assert numbers(cloud) == list(range(5))


def test_backlog_that_the_budget_has_no_room_for_is_gone_on_with_at_the_next_wake(
    tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    device = board(tmp_path / "device", aws, cloud.port, 6, budget_ms=1000)
    cloud.faults.add("delay(400)x6")
    assert [wake.used_radio for wake in device.wakes(7)] == [False] * 5 + [True] * 2
    device.wakes(1)
    assert set(numbers(cloud)) >= set(range(7))


def test_queue_that_is_nearly_full_is_forwarded_before_anything_is_dropped(
    tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    queue = {"folder": "queue", "size": 1024, "segment": 128, "longest": 64}
    device = board(tmp_path / "device", aws, cloud.port, 1000, queue=queue)
    wakes = device.wakes(30)
    assert 1 <= sum(wake.used_radio for wake in wakes) <= 6
    waiting = len(wakes) - len(numbers(cloud))
    assert numbers(cloud) == list(range(30 - waiting)) and waiting < 20


@pytest.mark.parametrize(
    "found",
    [b"\xff" * 12, b"rubbish", os.urandom(12), os.urandom(2048)],
    ids=["ones", "too short", "of the right length", "all that there is"],
)
def test_garbage_in_rtc_memory_counts_as_nothing(
    found: bytes, tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    device = board(tmp_path / "device", aws, cloud.port, 2)
    (device.folder / "rtc").write_bytes(found)
    assert [wake.used_radio for wake in device.wakes(2)] == [False, True]
    assert numbers(cloud) == [0, 1]


def test_battery_too_weak_for_the_radio_is_not_tried_at_every_wake(
    tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    device = board(tmp_path / "device", aws, cloud.port, 1)
    (device.folder / "brownout").touch()
    attempts = sum(device.wake().status == 4 for _ in range(16))
    assert 3 <= attempts <= 6  # after 1, 2, 4 and 8 periods
    (device.folder / "brownout").unlink()
    taken = 16
    while numbers(cloud) == [] and taken < 60:
        taken += len(device.wakes(1))
    assert numbers(cloud) == list(range(taken))


@pytest.mark.parametrize("key", ["wrong horse", None])
def test_wifi_that_cannot_be_joined_stops_neither_measuring_nor_sleeping(
    key: str | None, tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    device = board(tmp_path / "device", aws, cloud.port, 2)
    device.access_point(key)
    wakes = device.wakes(6)
    said = "Wi-Fi -> -126" if key else "Wi-Fi -> -64"
    assert any(said in wake.lines for wake in wakes)
    assert all(wake.lines[-2] == "radio off" for wake in wakes if wake.used_radio)
    device.access_point(KEY)
    taken = 6
    while numbers(cloud) == [] and taken < 40:
        taken += len(device.wakes(1))
    assert numbers(cloud) == list(range(taken))


@pytest.mark.parametrize("fault", ["delay(4000)", "drip(12)"])
def test_watchdog_is_fed_while_a_slow_cloud_is_waited_for(
    fault: str, tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    cloud.faults.add(fault)
    device = board(tmp_path / "device", aws, cloud.port, 1, watchdog_ms=2000)
    (wake,) = device.wakes(1)
    assert wake.status == 0 and numbers(cloud) == [0]
    assert 0 < wake.slept["longest_ms"] <= 2000


def test_watchdog_that_is_not_fed_ends_the_run(tmp_path: Path, aws: AWSCloud) -> None:
    device = board(tmp_path / "device", aws, 1, 1, watchdog_ms=1)
    assert device.wake().status == 3


def test_board_without_a_queue_on_flash_is_told_so(tmp_path: Path, aws: AWSCloud) -> None:
    device = board(tmp_path / "device", aws, 1, 1)
    config = json.loads((device.folder / "config.json").read_text())
    del config["queue"]
    (device.folder / "config.json").write_text(json.dumps(config))
    wake = device.wake()
    said = "config.json: sleep: wants a queue on flash, and forward_every of 1 or more"
    assert not wake.slept and wake.lines == [said]


# -- One that stays awake -------------------------------------------------------------------------


def test_wifi_that_comes_late_gets_all_that_was_measured_meanwhile_and_the_watchdog_is_fed(
    tmp_path: Path, aws: AWSCloud, cloud: Running
) -> None:
    device = board(tmp_path / "device", aws, cloud.port, 1, watchdog_ms=2000, readings=60)
    config = json.loads((device.folder / "config.json").read_text())
    del config["sleep"]
    (device.folder / "config.json").write_text(json.dumps({**config, "period_ms": 50}))
    device.access_point("another key")
    with device.awake() as process:
        lines = [process.line() for _ in range(8)]
        assert any("Wi-Fi -> -126" in line for line in lines) and not cloud.messages(TOPIC)
        device.access_point(KEY)
        lines += process.rest()
        assert process.wait() == 0
    assert KEY not in "".join(lines)
    assert numbers(cloud) == list(range(60))


# -- What goes wrong around forwarding, in one process --------------------------------------------


class Asleep:
    """sleeper.py with a board's modules, for wakes that do not forward over a network."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self._device = Device(FIRMWARE, cwd=folder)
        self._sleeper = self._device.load("sleeper")
        self._config = {"queue": {"folder": "queue"}, "sleep": {"forward_every": 1}, **config}
        self.forwarded: list[int] = []  # how many records waited, each time
        self.answer: int | Exception = 0  # how long to leave the cloud alone

    def wake(self, payload: bytes | Exception = b"reading") -> None:
        def measure(n: int) -> bytes:
            if isinstance(payload, Exception):
                raise payload
            return payload

        with pytest.raises(SystemExit, match="deepsleep"):
            self._sleeper.wake(self._config, None, measure, self._forward)

    def _forward(self, config: Any, feed: Any, queue: Any, backoff: Any) -> int:
        self.forwarded.append(len(queue))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == 0:
            backoff.reset()
            while len(queue):
                queue.pop()
        return self.answer


def test_sensor_that_fails_does_not_hold_up_what_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Asleep(tmp_path, sleep={"forward_every": 2})
    device.wake()
    device.wake(OSError("no sensor"))
    assert device.forwarded == [1]
    assert "no sensor" in capsys.readouterr().out


def test_forwarding_that_raises_is_printed_and_counts_as_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Asleep(tmp_path)
    device.answer = MemoryError("TLS")
    for _ in range(16):
        device.wake()
    assert 3 <= len(device.forwarded) <= 6
    assert "MemoryError: TLS" in capsys.readouterr().out


def test_cloud_that_bids_to_wait_for_a_day_is_left_alone_for_a_day(tmp_path: Path) -> None:
    device = Asleep(tmp_path, period_ms=DAY_MS // 4)
    device.answer = DAY_MS
    device.wake()
    device.answer = 0
    for _ in range(3):
        device.wake()
    assert device.forwarded == [1]
    device.wake()
    assert device.forwarded == [1, 5]


def test_flash_that_cannot_be_used_does_not_keep_the_device_awake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "queue").write_text("a file, where a folder should be")
    Asleep(tmp_path).wake()
    assert "Not a directory" in capsys.readouterr().out


def test_forwarding_every_zeroth_wake_is_refused(tmp_path: Path) -> None:
    sleeper = Device(FIRMWARE, cwd=tmp_path).load("sleeper")
    config = {"queue": {"folder": "queue"}, "sleep": {"forward_every": 0}}
    with pytest.raises(ValueError, match="forward_every"):
        sleeper.wake(config, None, None, None)
