"""firmware/main.py: what it refuses of its settings, and how it goes on after what went wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from devices import FIRMWARE, RUNTIMES, running

from host import sntp
from host.certs import Authority
from host.cloud.server import Running, serve
from host.cloud.watson import ORG, WatsonCloud
from host.demo_devices import WAYS
from host.device_files import lay
from host.shim import Device

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HUB = {"hub": "h.azure-devices.net", "device_id": "d"}
WATSON = {"org": ORG, "type_id": "t", "device_id": "d", "event": "e", "token": "secret"}
AWS = {"endpoint": "a.iot.r.amazonaws.com", "topic": "t", "port": 443}
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


@pytest.mark.parametrize(
    "good",
    [
        {"settings": AWS, "alpn": "x-amzn-http-ca"},
        {"settings": {**AWS, "port": 8443}},
        {"cloud": "aws_sigv4", "settings": {**SIGV4, "port": 443}, "clock": {}},
    ],
)
def test_certificate_for_aws_on_port_443_without_alpn_is_refused_and_8443_is_named(
    good: dict[str, Any], tmp_path: Path
) -> None:
    """AWS IoT would answer each publish with 403."""
    file = tmp_path / "config.json"
    for config in (good, {"settings": AWS}):
        file.write_text(json.dumps({"ca": str(file), **config}))
        settings = Device(FIRMWARE).load("settings")
        if config is good:
            assert settings.read(str(file))["settings"] == good["settings"]
        else:
            with pytest.raises(ValueError, match=r"x-amzn-http-ca; 8443"):
                settings.read(str(file))


SAS = {**HUB, "key": "a secret that is no base64"}
ALIYUN = {"product_key": "p", "device_name": "d", "device_secret": "secret", "topic": "no"}
SLEEP = {"queue": {"folder": "q"}, "sleep": {"forward_every": 0}}
LEFT_OUT = object()
DPS = {"id_scope": "0ne00111111", "registration_id": "d"}
AZURE = {"cloud": "azure", "clock": {"servers": []}, "settings": {}}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("settings: missing", {"settings": LEFT_OUT}),
        ("settings: wants an object", {"settings": [WATSON]}),
        ("settings: function missing", {"settings": {"org": ORG, "token": "secret"}}),
        ("settings: unexpected keyword argument 'colour'", {"settings": {**WATSON, "colour": 1}}),
        ("settings: unsupported types", {"settings": {**WATSON, "token": 1234}}),
        ("settings: unsupported types", {"settings": {**WATSON, "port": "443"}}),
        ("settings: identifiers: 1 to 36 of", {"settings": {**WATSON, "device_id": "a b"}}),
        ("settings: topic: ", {"cloud": "aws", "settings": {"endpoint": "a.b", "topic": "#"}}),
        ("settings: incorrect padding", {"cloud": "azure", "clock": {}, "settings": SAS}),
        ("settings: client_id: ", {"cloud": "aliyun", "settings": ALIYUN}),
        ("cloud: no module named 'onebuf.cloud.gcp'", {"cloud": "gcp"}),
        ("cloud: wants a text", {"cloud": 5}),
        ("settings: 'NoneType' object isn't callable", {"cloud": "watson_mqtt"}),
        ("ca: missing", {"ca": LEFT_OUT}),
        ("other.der: [Errno 2] ENOENT", {"ca": "other.der"}),
        ("invalid cert", {"ca": "config.json"}),
        ("cert: missing", {"key": "ca.der"}),
        ("cert: wants a text or a list of texts", {"key": "ca.der", "cert": [1]}),
        ("this runtime has no ALPN; port 8443 needs none", {"alpn": "x-amzn-http-ca"}),
        ("buffer: wants a whole number, 0 or more", {"buffer": -1}),
        ("head needs more than 100 bytes", {"buffer": 100}),
        ("readings: wants a whole number, 0 or more", {"readings": "all"}),
        ("period_ms: wants a whole number, 0 or more", {"period_ms": 0.5}),
        ("tls: wants true or false", {"tls": "no"}),
        ("tls: the cloud was told otherwise", {"tls": False}),
        ("clock: unexpected keyword argument 'server'", {"clock": {"server": "a"}}),
        ("clock: servers: wants a list", {"clock": {"servers": "pool.ntp.org"}}),
        ("queue: unexpected keyword argument 'file'", {"queue": {"file": "q"}}),
        ("dead_letters: unexpected keyword argument 'p'", {"dead_letters": {"p": 1}}),
        ("sleep: wants a queue on flash, and forward_every of 1 or more", SLEEP),
        ("period: there is no such setting", {"period": 5}),
        ("dps: function missing", {**AZURE, "dps": {"registration_id": "d"}}),
        ("dps: unexpected keyword argument 'scope'", {**AZURE, "dps": {**DPS, "scope": "x"}}),
        ("dps: registration ID", {**AZURE, "dps": {**DPS, "registration_id": "no."}}),
        ("dps: a key wants a clock", {**AZURE, "clock": LEFT_OUT, "dps": {**DPS, "key": KEY}}),
        ("dps: incorrect padding", {**AZURE, "dps": {**DPS, "group_key": "a secret"}}),
        ("settings: incorrect padding", {**AZURE, "dps": {**DPS, "key": "a secret"}}),
        ("settings: unexpected", {**AZURE, "dps": DPS, "settings": {"colour": 1}}),
    ],
)
def test_mistake_in_config_json_is_told_in_one_line_that_names_the_setting_and_no_secret(
    words: str, wrong: dict[str, Any], tmp_path: Path
) -> None:
    config = {"cloud": "watson", "settings": WATSON, "readings": 1, "ca": "ca.der", **wrong}
    kept = {name: value for name, value in config.items() if value is not LEFT_OUT}
    Authority(tmp_path)
    said = told(tmp_path, json.dumps(kept).encode())
    assert said.startswith(f"config.json: {words}") and "secret" not in said and "1234" not in said


@pytest.mark.parametrize(
    ("words", "content"),
    [
        ("syntax error in JSON", b'{"cloud": "watson", "token": "secret'),
        ("syntax error in JSON", b""),
        ("syntax error in JSON", b"\xff\xfe\x00"),
        ("an object is wanted", b"[]"),
        ("an object is wanted", b"null"),
        ("[Errno 2] ENOENT", None),
    ],
)
def test_config_json_that_cannot_be_read_is_told_in_one_line(
    words: str, content: bytes | None, tmp_path: Path
) -> None:
    assert told(tmp_path, content) == f"config.json: {words}"


def told(folder: Path, config: bytes | None) -> str:
    """The only line that the application prints before it ends in order, not in a traceback."""
    if config is not None:
        (folder / "config.json").write_bytes(config)
    with running("micropython-32", str(FIRMWARE / "main.py"), folder) as device:
        *clock, line = device.lines()
    assert all(each.startswith("clock -> ") for each in clock)
    return line


def test_every_setting_that_main_explains_is_known_and_no_other() -> None:
    device = Device(FIRMWARE)
    explained = device.load("main").__doc__.split("beside it:")[1]
    names = re.findall(r"^    (\w+(?:, \w+)*)  ", explained, re.MULTILINE)
    known = {name for _, _, kind in device.load("settings")._KINDS for name in kind}
    assert {name for each in names for name in each.split(", ")} == known


PROGRAM = """
import json, sys, main
main.main()
print(json.dumps(sorted(sys.modules)))
"""
IMPORTED = {
    "AWS IoT, certificate": ["aws"],
    "AWS IoT, access key (SigV4)": ["aws", "aws_sigv4"],
    "AWS IoT, custom authorizer": ["aws", "aws_authorizer"],
    "Azure IoT Hub, device key (SAS)": ["azure"],
    "Azure DPS, self-signed certificate": ["azure"],
    "Alibaba Cloud, hmacsha256": ["aliyun"],
    "Watson IoT, device": ["watson"],
}


@pytest.mark.parametrize("way", IMPORTED)
def test_application_that_has_published_has_imported_its_cloud_and_no_other(
    way: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certificates")
    setup = WAYS[way](authority, "demo-thing")
    with serve(setup.cloud) as cloud, sntp.serve() as time:
        config = {"readings": 1, "period_ms": 1, **setup.config}
        config["settings"] = {**config["settings"], "port": cloud.port}
        if "dps" in config:
            config["dps"] = {**config["dps"], "port": cloud.port}
        if "clock" in config:
            config["clock"] = {"servers": [time.host], "port": time.port}
        lay(tmp_path / "device", authority, config, setup.pair, setup.above)
        (tmp_path / "device" / "program.py").write_text(PROGRAM)
        program = str(tmp_path / "device" / "program.py")
        with running("micropython-32", program, tmp_path / "device") as device:
            modules = json.loads(device.lines()[-1])
        assert len(cloud.messages()) == 1
    clouds = [name.split(".")[2] for name in modules if name.startswith("onebuf.cloud.")]
    assert clouds == IMPORTED[way]
    assert "settings" not in modules and "onebuf.provision" not in modules
    assert ("onebuf.clock" in modules) is ("clock" in setup.config)


class Uplink:
    """What main.attempt() uses of one, with a script of connect() and forward().

    It is its own backoff, which bids to wait 1234 ms.
    """

    def __init__(self, *script: tuple[int, int, int]) -> None:
        self.script = list(script)  # what connect() returns, result after forward, accepted by it
        self.accepted = self.result = self.connects = self.done = self.wait_ms = 0
        self.budgets: list[int] = []
        self.backoff = self

    def connect(self, timeout_ms: int) -> int:
        assert 0 < timeout_ms <= 30_000
        self.connects += 1
        r = self.script[0][0]
        if r < 0:
            self.result = r
            self.done += 1
        return r

    def forward(self, budget_ms: int) -> None:
        self.budgets.append(budget_ms)
        _, self.result, accepted = self.script.pop(0)
        self.accepted += accepted

    def random(self) -> int:
        return 0

    def next_ms(self, random: int) -> int:
        self.done += 1
        return 1234


class Wifi:
    """What main.attempt() uses of one."""

    def __init__(self, result: int) -> None:
        self.result = result
        self.resets = 0

    def connect(self) -> int:
        return self.result

    def reset(self) -> None:
        self.resets += 1


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


def test_attempt_without_wifi_leaves_the_cloud_alone_and_bids_to_wait(main: Any) -> None:
    uplink = Uplink((0, 200, 1))
    outcome = main.attempt(uplink, {}, Wifi(-126))[2]
    assert outcome == "Wi-Fi -> -126"
    assert (uplink.connects, uplink.wait_ms) == (0, 1234)


def test_attempt_takes_no_longer_than_its_budget(main: Any) -> None:
    uplink = Uplink((0, 200, 1))
    main.attempt(uplink, {"budget_ms": 5000})
    assert 4000 < uplink.budgets[0] <= 5000


@pytest.mark.parametrize(("result", "resets"), [(-110, 2), (-6, 2), (-111, 0), (-127, 0)])
def test_link_that_is_dead_in_silence_is_left_after_a_few_failures(
    main: Any, result: int, resets: int
) -> None:
    uplink, wifi = Uplink((result, 0, 0)), Wifi(0)
    for _ in range(6):
        main.attempt(uplink, {}, wifi)
    assert wifi.resets == resets


def test_settings_of_the_wifi_are_forgotten_once_it_has_them(main: Any) -> None:
    config = {"wifi": {"ssid": "home", "key": "correct horse"}}
    transport = main.make_transport({"tls": False})
    assert main.make_wifi(config, transport).result == 0
    assert "correct horse" not in str(config)


@pytest.mark.parametrize(("year", "asks"), [(2000, True), (2026, False)])
def test_device_that_sleeps_asks_for_the_time_only_if_its_clock_is_not_set(
    year: int, asks: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(FIRMWARE)
    device.load("machine").RTC().datetime((year, 1, 2, 0, 3, 4, 5, 0))
    with sntp.serve() as server:
        clock = {"servers": ["127.0.0.1"], "port": server.port}
        made = device.load("main").make_clock({"clock": clock, "sleep": {}}, None)
    assert ("clock -> 0" in capsys.readouterr().out) is asks
    assert made.seconds() > 0


@pytest.mark.parametrize("tls", [True, False])
def test_date_of_an_answer_counts_only_if_tls_has_verified_who_gave_it(
    main: Any, tls: bool
) -> None:
    assert main.make_clock({"clock": {"servers": []}, "tls": tls}, None).dates is tls


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_numbers_of_readings_on_flash_go_on_after_a_restart(runtime: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    cloud = WatsonCloud(authority)
    settings = {**WATSON, "token": cloud.add_device("t", "d")}
    with serve(cloud) as running_cloud:
        config = {
            "cloud": "watson",
            "settings": {**settings, "port": running_cloud.port},
            "readings": 3,
            "period_ms": 1,
            "queue": {"folder": "queue"},
            "dead_letters": {"path": "dead"},
        }
        lay(tmp_path / "device", authority, config)
        for _ in range(2):
            with running(runtime, str(FIRMWARE / "main.py"), tmp_path / "device") as device:
                device.lines()
        payloads = [message.payload for message in running_cloud.messages()]
    seen = [json.loads(payload)["seq"] for payload in payloads]
    assert len(seen) == len(set(seen)) == 6 and seen == sorted(seen)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_reading_that_the_queue_does_not_take_is_said_to_be_lost(
    runtime: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certificates")
    cloud = WatsonCloud(authority)
    settings = {**WATSON, "token": cloud.add_device("t", "d")}
    with serve(cloud) as running_cloud:
        config = {
            "cloud": "watson",
            "settings": {**settings, "port": running_cloud.port},
            "readings": 2,
            "period_ms": 1,
            "queue": {"folder": "queue", "longest": 9},
        }
        lay(tmp_path / "device", authority, config)
        with running(runtime, str(FIRMWARE / "main.py"), tmp_path / "device") as device:
            lines = device.lines()
    assert [line.split("} ")[1] for line in lines if "seq" in line] == ["lost, 0 queued"] * 2


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
