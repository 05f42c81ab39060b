"""firmware/main.py: what it refuses of its settings, and how it goes on after what went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from devices import FIRMWARE, RUNTIMES, running

from host.certs import Authority
from host.cloud.server import Running, serve
from host.cloud.watson import ORG, WatsonCloud
from host.device_files import lay
from host.shim import Device

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HUB = {"hub": "h.azure-devices.net", "device_id": "d"}
WATSON = {"org": ORG, "type_id": "t", "device_id": "d", "event": "e", "token": "secret"}
SIGV4 = {"endpoint": "a.iot.r.amazonaws.com", "topic": "t", "access_key": "k", "secret_key": "s"}


@pytest.fixture
def main() -> Any:
    return Device(FIRMWARE).load("main")


@pytest.mark.parametrize(
    ("word", "config"),
    [
        ("tls", {"cloud": "azure", "settings": {}, "tls": False, "dps": {"key": KEY}}),
        ("tls", {"cloud": "watson", "settings": WATSON, "tls": False}),
        ("clock", {"cloud": "azure", "settings": {**HUB, "key": KEY}, "tls": False}),
        ("clock", {"cloud": "aws_sigv4", "settings": SIGV4, "tls": False}),
    ],
)
def test_setting_that_would_give_credentials_away_or_cannot_work_is_refused_at_once(
    main: Any, word: str, config: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=word) as refused:
        if word == "clock":
            main.make_cloud({**config, "tls": True}, {})
        else:
            main.wire(config)
    assert "secret" not in str(refused.value) and KEY not in str(refused.value)


class Uplink:
    """What main.attempt() uses of one, with a script of connect() and forward()."""

    def __init__(self, *script: tuple[int, int, int]) -> None:
        self.script = list(script)  # what connect() returns, result after forward, accepted by it
        self.accepted = self.result = self.connects = 0

    def connect(self) -> int:
        self.connects += 1
        return self.script[0][0]

    def forward(self) -> None:
        _, self.result, accepted = self.script.pop(0)
        self.accepted += accepted


@pytest.mark.parametrize(
    ("script", "connects"),
    [
        ([(0, 200, 3)], 1),
        ([(0, 429, 1)], 1),  # Retry-After is to be obeyed
        ([(0, -12, 1), (0, -12, 1), (0, 200, 1)], 3),  # one at a time, with the heap locked
        ([(0, -12, 0)], 1),
        ([(-111, 0, 0)], 1),
    ],
)
def test_attempt_goes_on_only_where_the_locked_heap_stopped_it(
    main: Any, script: list[tuple[int, int, int]], connects: int
) -> None:
    uplink = Uplink(*script)
    main.attempt(uplink, {})
    assert uplink.connects == connects


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_application_obeys_retry_after_when_only_a_part_of_the_queue_was_taken(
    runtime: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certificates")
    cloud = WatsonCloud(authority)
    settings = {**WATSON, "token": cloud.add_device("t", "d")}
    with serve(cloud) as running_cloud:
        running_cloud.faults.add("throttle(1),continue,throttle(1)")
        received = run(runtime, tmp_path / "device", authority, settings, running_cloud)
    assert [b'"seq":%d,' % n in payload for n, payload in enumerate(received)] == [True] * 12


def run(
    runtime: str, folder: Path, authority: Authority, settings: dict[str, Any], cloud: Running
) -> list[bytes]:
    settings = {**settings, "port": cloud.port}
    config = {"cloud": "watson", "settings": settings, "readings": 12, "period_ms": 250}
    lay(folder, authority, config)
    with running(runtime, str(FIRMWARE / "main.py"), folder) as device:
        lines = device.lines()
    results = [line.split(" -> ")[1].split()[0] for line in lines if " in " in line]
    assert results.count("429") == 2, "one for each throttling, none in spite of Retry-After"
    return [message.payload for message in cloud.messages()]
