"""The device package at work on the three runtimes: real sockets, real TLS, an emulated cloud."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from devices import FIRMWARE, RUNTIMES, Script, running
from relay import APPLICATION_DATA, records, relay
from versions import CLOUDS

from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import Running, serve
from host.device_files import provision

PUBLISHES = 1000  # as in scripts/thousand.py
THING, TOPIC = "sensor-1", "fleet/sensor-1/telemetry"
TIMEOUT_MS = 5000
BASE_MS = 1000  # the backoff of firmware/main.py begins with it
SETTLE_S = 0.1  # for what is on its way through the relay

on_every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "certs")


@pytest.fixture
def cloud(authority: Authority) -> Iterator[Running]:
    with serve(AWSCloud(authority)) as cloud:
        yield cloud


def flash(folder: Path, cloud: Running, port: int = 0, **settings: object) -> Path:
    """Lay config and certificates into folder; the thing may publish to everything."""
    pair = cloud.cloud.add_thing(THING)
    provision(folder, cloud.cloud, pair, TOPIC, port or cloud.port, **settings)
    return folder


@pytest.fixture
def device(runtime: str, cloud: Running, tmp_path: Path) -> Iterator[Script]:
    """A device that does as the test tells it, wired and connected."""
    with running(runtime, "driver.py", flash(tmp_path, cloud)) as device:
        device.call("wire", {})
        assert device.call("connect", TIMEOUT_MS)["result"] == 0
        yield device


def payloads(cloud: Running) -> list[bytes]:
    return [message.payload for message in cloud.messages(TOPIC)]


def push(device: Script, *texts: str) -> None:
    for text in texts:
        assert device.call("push", text)["pushed"]


# -- Publishing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", CLOUDS)
@on_every_runtime
def test_thousand_publishes_with_the_heap_locked_take_no_memory_and_one_record_each(
    runtime: str, version: str, authority: Authority, tmp_path: Path
) -> None:
    with serve(CLOUDS[version](authority)) as cloud, relay(cloud.port) as wire:
        folder = flash(tmp_path, cloud, wire.port)
        with running(runtime, "thousand.py", folder) as device:
            begun = device.json()
            time.sleep(SETTLE_S)
            wire.sent.clear()
            device.say("go on")
            done = device.json()
            time.sleep(SETTLE_S)
            writes = list(wire.sent)
            device.say("end")
            device.lines()
        connections = wire.connections
    assert begun["connect"] == 0
    assert done["replies"] == PUBLISHES
    assert done["heap"] == 0
    assert done["descriptors"] == begun["descriptors"]
    assert (done["requests"], done["connects"], done["resends"]) == (PUBLISHES, 1, 0)
    assert payloads(cloud) == [b'{"seq":%04d}' % n for n in range(PUBLISHES)]
    assert records(writes) == [APPLICATION_DATA] * PUBLISHES
    assert len(writes) == PUBLISHES
    assert connections == 1


@on_every_runtime
def test_application_when_it_ran_logged_what_the_cloud_received(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    folder = flash(tmp_path, cloud, readings=50, period_ms=1, heap_lock=True)
    with running(runtime, str(FIRMWARE / "main.py"), folder) as device:
        lines = device.lines()
    logged = [line.partition(" -> 200 ")[0].encode() for line in lines if " -> 200 " in line]
    assert lines[0] == "connect -> 0"
    assert payloads(cloud) == logged and len(logged) == 50
    assert [json.loads(payload)["seq"] for payload in logged] == list(range(50))
    summary = json.loads(lines[-1].removeprefix("summary "))
    assert (summary["accepted"], summary["queued"]) == (50, 0)
    assert summary["heap_bytes_per_publish"] == 0


@on_every_runtime
def test_body_larger_than_the_buffer_goes_out_behind_the_head_and_arrives_whole(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    with (
        relay(cloud.port) as wire,
        running(runtime, "driver.py", flash(tmp_path, cloud, wire.port)) as device,
    ):
        device.call("wire", {})
        device.call("connect", TIMEOUT_MS)
        time.sleep(SETTLE_S)
        wire.sent.clear()
        assert device.call("large", 5000, TIMEOUT_MS)["result"] == 200
        time.sleep(SETTLE_S)
        writes = list(wire.sent)
        assert device.call("large", 20000, TIMEOUT_MS)["result"] == 200
    assert payloads(cloud) == [pattern(5000), pattern(20000)]
    assert records(writes) == [APPLICATION_DATA] * 2


def pattern(octets: int) -> bytes:
    """What scripts/driver.py publishes as a large body."""
    return bytes((i * 7 + i // 251) & 255 for i in range(octets))


@pytest.mark.parametrize("setting", ["topic", "endpoint"])
@on_every_runtime
def test_control_character_in_a_setting_is_refused_before_a_connection_is_made(
    runtime: str, cloud: Running, tmp_path: Path, setting: str
) -> None:
    with relay(cloud.port) as wire:
        with running(runtime, "driver.py", flash(tmp_path, cloud, wire.port)) as device:
            for text in ("a\r\nb", "a\nb", "a\0b", "\r"):
                reply = device.call("wire", {setting: text})
                if "refused" not in reply:
                    reply = device.call("connect", TIMEOUT_MS)
                assert "refused" in reply
        assert wire.connections == 0


# -- The policy loop ------------------------------------------------------------------------------


@on_every_runtime
def test_retry_after_when_throttled_is_obeyed_and_nothing_is_lost_or_doubled(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    cloud.faults.add("continue,throttle(1)")  # the first publish is answered well
    folder = flash(tmp_path, cloud, readings=10, period_ms=250)
    with running(runtime, str(FIRMWARE / "main.py"), folder) as device:
        lines = device.lines()
    results = [int(line.split(" -> ")[1].split()[0]) for line in lines if " us" in line]
    assert results[:3] == [200, 429, 200]
    received = cloud.messages(TOPIC)
    assert [json.loads(message.payload)["seq"] for message in received] == list(range(10))
    assert 1.0 <= received[1].received - received[0].received < 2.5
    kept = [line for line in lines if " kept, " in line]
    assert len(kept) >= 2, "readings are taken on time while the cloud bids to wait"
    assert json.loads(lines[-1].removeprefix("summary "))["accepted"] == 10


@on_every_runtime
def test_server_errors_are_followed_by_backoff_and_nothing_is_lost_or_doubled(
    device: Script, cloud: Running
) -> None:
    cloud.faults.add("error(500),error(503),error(504)")
    push(device, "one", "two", "three")
    for retries, status in enumerate((500, 503, 504)):
        reply = device.call("forward", TIMEOUT_MS)
        assert (reply["result"], reply["forwarded"], reply["queued"]) == (status, 0, 3)
        assert reply["retries"] == retries + 1
        assert 0 <= reply["wait_ms"] <= BASE_MS * 2**retries
    reply = device.call("forward", TIMEOUT_MS)
    assert (reply["forwarded"], reply["queued"], reply["wait_ms"]) == (3, 0, 0)
    assert payloads(cloud) == [b"one", b"two", b"three"]


@on_every_runtime
def test_retry_after_wins_over_backoff_and_does_not_make_it_grow(
    device: Script, cloud: Running
) -> None:
    cloud.faults.add("throttle(7)x5,error(500)")
    push(device, "one")
    waits = [device.call("forward", TIMEOUT_MS)["wait_ms"] for _ in range(6)]
    assert waits[:5] == [7000] * 5 and 0 <= waits[5] <= BASE_MS
    assert device.call("forward", TIMEOUT_MS)["result"] == 200
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_record_when_its_outcome_is_unknown_is_sent_until_it_is_known_and_none_is_lost(
    device: Script, cloud: Running
) -> None:
    texts = [f"record {n}" for n in range(5)]
    cloud.faults.add("close(head),reset(body),truncate")
    push(device, *texts)
    replies = [device.call("forward", TIMEOUT_MS) for _ in range(4)]
    assert [reply["queued"] for reply in replies] == [5, 5, 5, 0]
    received = payloads(cloud)
    assert [text for text, _ in itertools.groupby(received)] == [t.encode() for t in texts]
    assert len(received) == 5 + 3, "each fault struck after the cloud had taken the record"


@on_every_runtime
def test_publish_that_the_policy_forbids_is_kept_and_delivered_once_the_policy_is_repaired(
    device: Script, cloud: Running
) -> None:
    cloud.cloud.add_thing(THING, allow=["other/#"])
    push(device, "one", "two")
    for _ in range(3):
        reply = device.call("forward", TIMEOUT_MS)
        assert (reply["result"], reply["queued"], reply["rejected"]) == (403, 2, 0)
    assert payloads(cloud) == []
    cloud.cloud.add_thing(THING, allow=["fleet/+/telemetry"])
    assert device.call("forward", TIMEOUT_MS)["forwarded"] == 2
    assert payloads(cloud) == [b"one", b"two"]


@on_every_runtime
def test_record_too_large_for_the_buffer_is_rejected_and_the_queue_goes_on(
    device: Script, cloud: Running
) -> None:
    push(device, "one", "x" * 1500, "two")
    reply = device.call("forward", TIMEOUT_MS)
    assert (reply["forwarded"], reply["rejected"], reply["queued"]) == (2, 1, 0)
    assert payloads(cloud) == [b"one", b"two"]


# -- Downloading ----------------------------------------------------------------------------------

FILE = random.Random(2).randbytes(300_000)
RANGES = [
    (0, 0),
    (0, 99),
    (1, 511),
    (65_536, 131_071),
    (299_999, -1),
    (250_000, -1),
    (-500, -1),
    (0, -1),
]


async def endless(request: web.Request) -> web.StreamResponse:
    """An answer that goes on for as long as somebody reads it."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(65536))


@contextmanager
def file_server(folder: Path) -> Iterator[int]:
    """The port of an HTTP server of folder's files, with ranges, that knows nothing of us."""
    loop = asyncio.new_event_loop()
    application = web.Application()
    application.router.add_get("/endless", endless)
    application.router.add_static("/", folder)
    runner = web.AppRunner(application, shutdown_timeout=1)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.run_until_complete(runner.cleanup())
        loop.close()


def download(
    runtime: str, folder: Path, ranges: list[tuple[int, int]], **settings: object
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """What the device said of each range, and what it wrote to its flash."""
    files, flash = folder / "files", folder / "device"
    files.mkdir()
    flash.mkdir()
    (files / "firmware.bin").write_bytes(FILE)
    with file_server(files) as port:
        config = {"path": "/firmware.bin", "buffer": 512, "timeout_ms": 10_000, **settings}
        config.update(port=port, ranges=ranges)
        (flash / "config.json").write_text(json.dumps(config))
        with running(runtime, "download.py", flash) as device:
            said = [json.loads(line) for line in device.lines()]
    return said, [(flash / f"{n}.bin").read_bytes() for n in range(len(ranges))]


def part(first: int, last: int) -> bytes:
    return FILE[first:] if last < 0 else FILE[first : last + 1]


@on_every_runtime
def test_ranges_of_a_file_come_through_a_small_buffer_byte_for_byte(
    runtime: str, tmp_path: Path
) -> None:
    said, parts = download(runtime, tmp_path, RANGES)
    assert [reply["status"] for reply in said] == [206] * len(RANGES)
    for (first, last), reply, octets in zip(RANGES, said, parts, strict=True):
        assert octets == part(first, last)
        at = first % len(FILE)
        assert reply["range"] == f"bytes {at}-{at + len(octets) - 1}/{len(FILE)}"
        assert reply["n"] == len(octets) and reply["largest"] < 512
    assert said[-1]["connects"] == 1


@on_every_runtime
def test_file_downloaded_in_pieces_is_whole_even_after_a_range_beyond_its_end(
    runtime: str, tmp_path: Path
) -> None:
    step = 70_000
    pieces = [(at, at + step - 1) for at in range(0, len(FILE), step)]
    said, parts = download(runtime, tmp_path, [(len(FILE), -1), *pieces], buffer=1024)
    assert [reply["status"] for reply in said] == [416] + [206] * len(pieces)
    assert b"".join(parts[1:]) == FILE


@on_every_runtime
def test_download_that_never_ends_ends_with_its_deadline(runtime: str, tmp_path: Path) -> None:
    said, parts = download(runtime, tmp_path, [(0, -1)], path="/endless", timeout_ms=300)
    assert said[0]["status"] == -110
    assert 300 <= said[0]["ms"] + 1 <= 800
    assert parts[0] and not any(parts[0])
