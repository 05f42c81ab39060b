"""Watson IoT: the device on the three runtimes and the emulated platform, over real TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import devices
import pytest
from devices import FIRMWARE, RUNTIMES, Script, running

from host.certs import Authority
from host.cloud.server import Running, serve
from host.cloud.watson import ORG, WatsonCloud
from host.device_files import lay

TOPIC = "iot-2/type/{}/id/{}/evt/status/fmt/json"
GATEWAY = f"g/{ORG}/gwtype/gw01"
KEY = f"a-{ORG}-a84ps90Ajs"
TIMEOUT_MS = 5000
_E2BIG = -7
_EMSGSIZE = -90

on_every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "certs")


def organisation(authority: Authority, plain: bool = False) -> WatsonCloud:
    watson = WatsonCloud(authority, plain=plain)
    watson.add_device("t", "d", "passw0rd")
    watson.add_gateway("gwtype", "gw01", "gwtoken")
    watson.add_api_key(KEY, "MP$08VKz!8rXwnR-Q*")
    return watson


@pytest.fixture
def cloud(authority: Authority) -> Iterator[Running]:
    with serve(organisation(authority)) as cloud:
        yield cloud


def flash(folder: Path, cloud: Running, settings: dict[str, Any], **config: Any) -> Path:
    """Lay config and CA into folder; settings win over those of the registered device."""
    whole = {"org": ORG, "type_id": "t", "device_id": "d", "event": "status"}
    whole |= {"token": "passw0rd", "port": cloud.port, **settings}
    lay(folder, cloud.cloud.authority, {"cloud": "watson", "settings": whole, **config})
    return folder


@pytest.fixture
def device(runtime: str, cloud: Running, tmp_path: Path) -> Iterator[Script]:
    """A device that does as the test tells it, wired and connected."""
    with running(runtime, "clouds.py", flash(tmp_path, cloud, {})) as device:
        device.call("wire", {}, None)
        yield device


def payloads(cloud: Running, type_id: str = "t", device_id: str = "d") -> list[bytes]:
    return [message.payload for message in cloud.messages(TOPIC.format(type_id, device_id))]


def publish(device: Script, *texts: str) -> dict[str, Any]:
    """What firmware/main.py does with readings: queue, connect, forward under the lock."""
    if texts:
        device.call("push", *texts)
    reply = device.call("connect", TIMEOUT_MS)
    if reply["connect"] == 0:
        reply |= device.call("forward", TIMEOUT_MS, True)
    return reply


# -- Who publishes --------------------------------------------------------------------------------


@on_every_runtime
def test_device_publishes_over_one_connection_with_the_heap_locked(
    device: Script, cloud: Running
) -> None:
    texts = [f"record {n}" for n in range(20)]
    for text in texts:
        reply = publish(device, text)
    assert (reply["accepted"], reply["connects"], reply["heap"]) == (20, 1, 0)
    assert payloads(cloud) == [text.encode() for text in texts]


@on_every_runtime
def test_gateway_publishes_for_itself_and_for_a_child(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    login = {"user": GATEWAY, "token": "gwtoken"}
    with running(runtime, "clouds.py", flash(tmp_path, cloud, login)) as device:
        for type_id, device_id in (("gwtype", "gw01"), ("child", "c1")):
            device.call("wire", {"type_id": type_id, "device_id": device_id}, None)
            assert publish(device, device_id)["accepted"] == 1
            assert payloads(cloud, type_id, device_id) == [device_id.encode()]


@on_every_runtime
def test_application_publishes_for_a_device_with_its_api_key(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    login = {"user": KEY, "token": "MP$08VKz!8rXwnR-Q*"}
    with running(runtime, "clouds.py", flash(tmp_path, cloud, login)) as device:
        device.call("wire", {}, None)
        assert publish(device, "one")["accepted"] == 1
    [message] = cloud.messages()
    assert message.properties["clientId"].startswith(f"a:{ORG}:")


@on_every_runtime
def test_quickstart_takes_events_without_a_login(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    nobody = {"org": "quickstart", "token": None}
    with running(runtime, "clouds.py", flash(tmp_path, cloud, nobody)) as device:
        device.call("wire", {}, None)
        assert publish(device, "one")["accepted"] == 1
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_application_when_config_names_this_cloud_publishes_all_readings(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    folder = flash(tmp_path, cloud, {}, readings=20, period_ms=1, heap_lock=True)
    with running(runtime, str(FIRMWARE / "main.py"), folder) as device:
        lines = device.lines()
    summary = json.loads(lines[-1].removeprefix("summary "))
    assert (summary["accepted"], summary["queued"]) == (20, 0)
    assert summary["heap_bytes_per_publish"] == 0
    assert [json.loads(payload)["seq"] for payload in payloads(cloud)] == list(range(20))


@pytest.mark.parametrize("login", [{}, {"org": "quickstart", "token": None}])
@on_every_runtime
def test_plain_text_goes_only_when_asked_for_and_warns(
    runtime: str, login: dict[str, Any], authority: Authority, tmp_path: Path
) -> None:
    with serve(organisation(authority, plain=True)) as cloud:
        folder = flash(tmp_path, cloud, {"insecure_plain_text": True, **login}, tls=False)
        with running(runtime, "clouds.py", folder) as device:
            device.say("wire", {}, None)
            assert device.line() == (
                "onebuf: WARNING: the token and the events are sent in plain text"
            )
            device.json()
            assert publish(device, "one")["accepted"] == 1
        assert payloads(cloud) == [b"one"]


# -- Refusals -------------------------------------------------------------------------------------


@on_every_runtime
def test_device_that_is_refused_keeps_its_records_and_goes_on_over_a_new_connection(
    device: Script, cloud: Running
) -> None:
    publish(device, "one")
    cloud.cloud.disable_device("t", "d")
    for retries, connects in enumerate((1, 2)):
        reply = publish(device, *([] if retries else ["two"]))
        assert (reply["result"], reply["queued"], reply["rejected"]) == (403, 1, 0)
        assert reply["connects"] == connects
        assert 0 <= reply["wait_ms"] <= 1000 * 2**retries
    cloud.cloud.enable_device("t", "d")
    reply = publish(device)
    assert (reply["queued"], reply["connects"]) == (0, 3)
    assert payloads(cloud) == [b"one", b"two"]


@on_every_runtime
def test_device_with_a_wrong_token_keeps_its_records_until_the_token_is_right(
    device: Script, cloud: Running
) -> None:
    cloud.cloud.add_device("t", "d", "another")
    assert publish(device, "one")["result"] == 403
    assert publish(device, "two")["queued"] == 2
    cloud.cloud.add_device("t", "d", "passw0rd")
    assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one", b"two"]


@pytest.mark.parametrize("user", [GATEWAY, KEY])
@on_every_runtime
def test_gateway_or_application_with_a_wrong_token_keeps_its_records_until_it_is_right(
    runtime: str, user: str, cloud: Running, tmp_path: Path
) -> None:
    with running(runtime, "clouds.py", flash(tmp_path, cloud, {"user": user})) as device:
        device.call("wire", {}, None)
        reply = publish(device, "one")
        assert (reply["result"], reply["queued"], reply["rejected"]) == (403, 1, 0)
        cloud.cloud.add_gateway("gwtype", "gw01", "passw0rd")
        cloud.cloud.add_api_key(KEY, "passw0rd")
        assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_throttling_and_server_errors_are_waited_for_and_nothing_is_lost_or_doubled(
    device: Script, cloud: Running
) -> None:
    cloud.faults.add("throttle(7),error(503)")
    reply = publish(device, "one", "two")
    assert (reply["result"], reply["wait_ms"], reply["queued"]) == (429, 7000, 2)
    reply = publish(device)
    assert (reply["result"], reply["queued"]) == (503, 2) and reply["wait_ms"] <= 1000
    assert publish(device)["accepted"] == 2
    assert payloads(cloud) == [b"one", b"two"]


@on_every_runtime
def test_each_status_of_the_platform_keeps_the_record_or_gives_it_up(
    device: Script, cloud: Running
) -> None:
    for n, status in enumerate((401, 403, 429, 500, 503)):
        cloud.faults.add(f"error({status})")
        reply = publish(device, f"kept {n}")
        assert (reply["result"], reply["queued"], reply["rejected"]) == (status, 1, 0)
        assert publish(device)["queued"] == 0
    for n, status in enumerate((400, 404, 405, 413, 415), 1):
        cloud.faults.add(f"error({status})")
        reply = publish(device, f"given up {n}")
        assert (reply["result"], reply["queued"], reply["rejected"]) == (status, 0, n)
    assert payloads(cloud) == [b"kept %d" % n for n in range(5)]


@on_every_runtime
def test_event_that_the_platform_does_not_take_is_rejected_and_the_next_ones_go_on(
    device: Script, cloud: Running
) -> None:
    reply = publish(device, "one", "", "two")  # an empty event: 400, and the connection is closed
    reply = publish(device) if reply["queued"] else reply
    assert (reply["accepted"], reply["rejected"], reply["queued"]) == (2, 1, 0)
    assert payloads(cloud) == [b"one", b"two"]


@on_every_runtime
def test_event_of_128_kib_is_taken_and_one_octet_more_is_not_sent(
    runtime: str, cloud: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_HEAP", {"32": "512k", "64": "1m"})
    with running(runtime, "clouds.py", flash(tmp_path, cloud, {})) as device:
        device.call("wire", {}, None)
        assert device.call("exchange", 131073, TIMEOUT_MS)["result"] == _E2BIG
        assert payloads(cloud) == []
        assert device.call("exchange", 131072, TIMEOUT_MS)["result"] == 200
    assert [len(payload) for payload in payloads(cloud)] == [131072]


# -- Commands -------------------------------------------------------------------------------------


@on_every_runtime
def test_device_gets_its_commands_between_two_events(device: Script, cloud: Running) -> None:
    publish(device, "one")
    ask = ("ask", "t", "d", "+", TIMEOUT_MS)
    assert device.call(*ask)["status"] == 204
    assert cloud.cloud.send_command("t", "d", "reboot", "json", b'{"in":5}') == 1
    assert cloud.cloud.send_command("t", "d", "blink", "text", b"twice") == 1
    for name, content in (("reboot", '{"in":5}'), ("blink", "twice")):
        reply = device.call(*ask)
        assert (reply["status"], reply["x-commandid"], reply["content"]) == (200, name, content)
    assert device.call(*ask)["status"] == 204
    reply = publish(device, "two")
    assert (reply["accepted"], reply["connects"]) == (2, 1)
    assert payloads(cloud) == [b"one", b"two"]


@on_every_runtime
def test_one_command_asked_for_by_name_leaves_the_others(device: Script, cloud: Running) -> None:
    device.call("connect", TIMEOUT_MS)
    ask = ("ask", "t", "d", "reboot", TIMEOUT_MS)
    assert device.call(*ask)["status"] == 204
    cloud.cloud.send_command("t", "d", "blink", "text", b"twice")
    cloud.cloud.send_command("t", "d", "reboot", "bin", b"now")
    reply = device.call(*ask)
    assert (reply["status"], reply["content"]) == (200, "now")
    assert device.call(*ask)["status"] == 204


@on_every_runtime
def test_command_that_comes_while_the_device_waits_for_it_arrives_at_once(
    device: Script, cloud: Running
) -> None:
    device.call("connect", TIMEOUT_MS)
    begin = time.monotonic()
    assert device.call("ask", "t", "d", "+", TIMEOUT_MS, 1)["status"] == 204
    assert 1 <= time.monotonic() - begin < 3
    device.say("ask", "t", "d", "+", 30_000, 20)
    time.sleep(0.2)
    begin = time.monotonic()
    assert cloud.cloud.send_command("t", "d", "blink", "text", b"twice") == 1
    reply = device.json()
    assert (reply["status"], reply["content"]) == (200, "twice")
    assert time.monotonic() - begin < 5
    assert publish(device, "one")["queued"] == 0
    assert reply["connects"] == 1


@on_every_runtime
def test_command_longer_than_the_buffer_is_an_error_and_the_next_one_arrives(
    device: Script, cloud: Running
) -> None:
    device.call("connect", TIMEOUT_MS)
    ask = ("ask", "t", "d", "+", TIMEOUT_MS)
    assert device.call(*ask)["status"] == 204
    for content in (b"x" * 2000, b"short"):
        cloud.cloud.send_command("t", "d", "c", "text", content)
    assert device.call(*ask)["status"] == _EMSGSIZE
    assert device.call(*ask)["content"] == "short"
    assert publish(device, "one")["queued"] == 0
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_gateway_gets_the_commands_of_all_its_devices(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    login = {"user": GATEWAY, "token": "gwtoken", "type_id": "gwtype", "device_id": "gw01"}
    ask = ("ask", "+", "+", "+", TIMEOUT_MS)
    with running(runtime, "clouds.py", flash(tmp_path, cloud, login)) as device:
        device.call("wire", {}, None)
        assert publish(device, "one")["accepted"] == 1
        assert device.call(*ask)["status"] == 204
        cloud.cloud.send_command("child", "c1", "blink", "text", b"twice")
        reply = device.call(*ask)
    assert (reply["status"], reply["content"]) == (200, "twice")
    named = reply["x-devicetype"], reply["x-deviceid"], reply["x-commandid"]
    assert named == ("child", "c1", "blink")


@on_every_runtime
def test_device_that_asks_for_the_commands_of_another_is_refused(
    device: Script, cloud: Running
) -> None:
    cloud.cloud.add_device("t", "other", "another")
    device.call("connect", TIMEOUT_MS)
    assert device.call("ask", "t", "other", "+", TIMEOUT_MS)["status"] == 403
    assert publish(device, "one")["queued"] == 0, "the next call works on a new connection"
    assert payloads(cloud) == [b"one"]
