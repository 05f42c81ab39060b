"""What the device makes of every fault, over real sockets and TLS 1.2 and 1.3, on three runtimes.

The expected results are in two tables here. A result is named as onebuf.errno names it.
"""

from __future__ import annotations

import functools
import itertools
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from devices import FIRMWARE, RUNTIMES, Script, running
from versions import CLOUDS

from host.certs import LOCAL_HOSTS, Authority
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.server import Running, serve
from host.device_files import provision
from host.shim import Device

SLACK_MS = 500  # what a busy machine may add to a deadline
DEADLINE_MS = 1000
SHORT_MS = 300  # for what ends only by the deadline
NUMBERS = itertools.count()
THING, TOPIC = "sensor-1", "fleet/sensor-1/telemetry"

# fault: what the first publish on a new connection gives, and how often the cloud then has it.
NEW_CONNECTION = {
    "refuse(200)": ("ECONNREFUSED", 0),
    "reset(handshake)": ("ECONNRESET", 0),
    "close(handshake)": ("ECONNRESET", 0),
    "cut(handshake)": ("ECONNRESET", 0),
    "stall(handshake)": ("ETIMEDOUT", 0),
    "reset(before)": ("ECONNRESET", 1),
    "reset(head)": ("ECONNRESET", 1),
    "reset(body)": ("ECONNRESET", 1),
    "reset(after)": ("200", 1),
    "close(before)": ("ECONNRESET", 1),
    "close(head)": ("ENODATA", 1),
    "close(body)": ("ENODATA", 1),
    "close(after)": ("200", 1),
    "cut(before)": ("ECONNRESET", 1),
    "cut(head)": ("ENODATA", 1),
    "cut(body)": ("ENODATA", 1),
    "cut(after)": ("200", 1),
    "stall(before)": ("ETIMEDOUT", 1),
    "stall(head)": ("ETIMEDOUT", 1),
    "stall(body)": ("ETIMEDOUT", 1),
    "truncate": ("ENODATA", 1),
    "delay(1000)": ("ETIMEDOUT", 1),
    "drip(100)": ("ETIMEDOUT", 1),
    "garbage": ("EPROTO", 1),
    "huge-head": ("EMSGSIZE", 1),
    "huge-length": ("EMSGSIZE", 1),
    "extra": ("200", 1),
    "connection-close": ("200", 1),
    "continue": ("200", 1),
    "chunked": ("200", 1),
    "until-close": ("200", 1),
    "throttle(1)": ("429", 0),
    "error(500)": ("500", 0),
    "error(503)": ("503", 0),
}

# The same on a connection that was in use before. One that ends before the first octet of a
# response counts as closed while idle, so the publish is sent once more, on a new connection: had
# the cloud taken it already, as these faults do, it has it twice.
KEPT_CONNECTION = {
    **{fault: row for fault, row in NEW_CONNECTION.items() if "handshake" not in fault},
    "reset(before)": ("200", 2),
    "close(before)": ("200", 2),
    "cut(before)": ("200", 2),
}

WRONG_SERVERS = {
    "another host's": "EKEYREJECTED",
    "expired": "EKEYEXPIRED",
    "not yet valid": "EKEYEXPIRED",
}

# A server that does not like the device's certificate sends an alert and closes.
NOT_LET_IN = ("EACCES",)


@functools.cache
def strerror() -> Callable[[int], str]:
    """What the device package says of a result."""
    return Device(FIRMWARE).load("onebuf.errno").strerror


def named(result: int) -> str:
    return str(result) if result > 0 else strerror()(result).split(":")[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "certs")


@pytest.fixture(scope="module", params=CLOUDS)
def cloud(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Running]:
    with serve(CLOUDS[request.param](authority)) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that neither the cloud nor the device trusts."""
    return Authority(tmp_path_factory.mktemp("other") / "certs")


@pytest.fixture(scope="module")
def fleet(
    cloud: Running, other: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Script]]:
    """Gives the device of a runtime; it goes through all faults, and is replaced if it dies."""
    devices: dict[str, Script] = {}
    pair = cloud.cloud.add_thing(THING)
    with ExitStack() as stack:

        def device(runtime: str) -> Script:
            if runtime not in devices or devices[runtime].ended:
                folder = tmp_path_factory.mktemp(runtime)
                provision(folder, cloud.cloud, pair, TOPIC, cloud.port)
                add_wrong_files(folder, other)
                devices[runtime] = stack.enter_context(running(runtime, "driver.py", folder))
            return devices[runtime]

        yield device


def add_wrong_files(folder: Path, other: Authority) -> None:
    stranger = other.device(THING)
    shutil.copy(other.ca_der, folder / "other-ca.der")
    shutil.copy(stranger.cert_der, folder / "other-cert.der")
    shutil.copy(stranger.key_der, folder / "other-key.der")
    (folder / "nothing").touch()


@pytest.fixture
def device(runtime: str, fleet: Callable[[str], Script], cloud: Running) -> Iterator[Script]:
    device = fleet(runtime)
    device.call("wire", {})
    device.call("connect", DEADLINE_MS)
    device.call("close")
    yield device
    cloud.faults.clear()


def held(device: Script) -> tuple[int, int]:
    """Octets of heap (0 where nobody counts) and descriptors, with the connection closed."""
    device.call("close")
    reply = device.call("held")
    return reply["heap"], reply["descriptors"]


def stored(cloud: Running, text: str) -> int:
    return sum(message.payload == text.encode() for message in cloud.messages())


def wait_until_it_listens(cloud: Running) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((cloud.host, cloud.port), 1):
            return
        time.sleep(0.01)
    raise AssertionError("the cloud does not listen again")


def unique(text: str) -> str:
    """A payload that nothing else here publishes."""
    return f"{text} {next(NUMBERS)}"


def check_publish(device: Script, cloud: Running) -> None:
    """A publish succeeds, and the cloud has it once."""
    text = unique("good")
    reply = device.call("request", text, 5 * DEADLINE_MS)
    assert reply["result"] == 200 and reply["body"].startswith('{"message":"OK",')
    assert stored(cloud, text) == 1


def check_fault(device: Script, cloud: Running, fault: str, row: tuple[str, int]) -> None:
    """One publish under fault, as row has it, in its time; then one that succeeds."""
    result, times = row
    deadline = SHORT_MS if result == "ETIMEDOUT" and fault != "drip(100)" else DEADLINE_MS
    text = unique(fault)
    cloud.faults.add(fault)
    reply = device.call("request", text, deadline)
    assert named(reply["result"]) == result
    assert reply["ms"] <= deadline + SLACK_MS
    assert result != "ETIMEDOUT" or reply["ms"] >= deadline - 1
    assert len(cloud.faults) == 0, "the fault did not strike"
    wait_until_it_listens(cloud)
    check_publish(device, cloud)
    assert stored(cloud, text) == times


@pytest.mark.parametrize("fault", NEW_CONNECTION)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_publish_on_a_new_connection_when_a_fault_strikes_gives_its_result_and_recovers(
    device: Script, cloud: Running, fault: str
) -> None:
    before = held(device)
    check_fault(device, cloud, fault, NEW_CONNECTION[fault])
    assert held(device) == before


@pytest.mark.parametrize("fault", KEPT_CONNECTION)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_publish_on_a_kept_connection_when_a_fault_strikes_gives_its_result_and_recovers(
    device: Script, cloud: Running, fault: str
) -> None:
    before = held(device)
    assert device.call("request", "first", DEADLINE_MS)["result"] == 200
    check_fault(device, cloud, fault, KEPT_CONNECTION[fault])
    assert held(device) == before


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_connection_that_the_server_closed_while_idle_is_reopened_in_silence(
    device: Script, cloud: Running
) -> None:
    for ending in ("reset", "close", "cut"):
        cloud.faults.add(f"{ending}(after)")
        first = device.call("request", unique(ending), DEADLINE_MS)
        time.sleep(0.1)  # until the end has come
        text = unique(ending)
        second = device.call("request", text, DEADLINE_MS)
        assert (first["result"], second["result"]) == (200, 200)
        assert second["connects"] == first["connects"] + 1
        assert second["resends"] == first["resends"], "nothing was sent to a closed connection"
        assert stored(cloud, text) == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_publish_that_timed_out_is_not_sent_again_by_itself(
    device: Script, cloud: Running
) -> None:
    text = unique("late")
    assert device.call("request", "first", DEADLINE_MS)["result"] == 200
    cloud.faults.add("delay(500)")
    reply = device.call("request", text, SHORT_MS)
    assert named(reply["result"]) == "ETIMEDOUT"
    time.sleep(0.4)  # until the answer would have come
    check_publish(device, cloud)
    assert stored(cloud, text) == 1


# -- Certificates ---------------------------------------------------------------------------------


def check_wrong_wiring(
    device: Script, cloud: Running, settings: dict[str, Any], results: tuple[str, ...]
) -> None:
    """Wired with settings every publish fails with one of results; wired rightly it succeeds."""
    text = unique("wrong")
    device.call("wire", {})  # once more: the memory of the wiring before is free by now
    before = held(device)
    device.call("wire", settings)
    device.call("connect", DEADLINE_MS)
    for _ in range(2):
        reply = device.call("request", text, DEADLINE_MS)
        assert named(reply["result"]) in results
        assert reply["ms"] <= DEADLINE_MS + SLACK_MS
    device.call("wire", {})
    assert held(device) == before
    device.call("connect", DEADLINE_MS)
    check_publish(device, cloud)
    assert stored(cloud, text) == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_server_of_another_authority_is_refused(device: Script, cloud: Running) -> None:
    check_wrong_wiring(device, cloud, {"ca": "other-ca.der"}, ("EKEYREJECTED",))


@pytest.fixture(scope="module")
def wrong_servers(authority: Authority) -> Iterator[dict[str, Running]]:
    day, now = timedelta(days=1), datetime.now(timezone.utc)
    hosts = (*LOCAL_HOSTS, ENDPOINT)
    pairs = (
        authority.server(("elsewhere.example",), "another"),
        authority.server(hosts, "expired", now - 3 * day, now - day),
        authority.server(hosts, "early", now + day, now + 3 * day),
    )
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(serve(AWSCloud(authority, server=pair)))
            for name, pair in zip(WRONG_SERVERS, pairs, strict=True)
        }


@pytest.mark.parametrize("certificate", WRONG_SERVERS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_server_with_a_wrong_certificate_is_refused(
    device: Script, cloud: Running, wrong_servers: dict[str, Running], certificate: str
) -> None:
    settings = {"port": wrong_servers[certificate].port}
    check_wrong_wiring(device, cloud, settings, (WRONG_SERVERS[certificate],))
    assert wrong_servers[certificate].messages() == []


@pytest.mark.parametrize("files", [("nothing", "nothing"), ("other-cert.der", "other-key.der")])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_device_without_a_certificate_of_the_right_authority_is_not_let_in(
    device: Script, cloud: Running, files: tuple[str, str]
) -> None:
    check_wrong_wiring(device, cloud, {"cert": files[0], "key": files[1]}, NOT_LET_IN)
