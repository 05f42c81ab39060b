"""The device's clock against the emulated SNTP server, on all runtimes, and its dates against
email.utils; the emulated server against the bytes of RFC 4330."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from devices import FIRMWARE, RUNTIMES, Script
from hypothesis import given
from hypothesis import strategies as st

from host import sntp
from host.shim import Device

SCRIPT = """
import json, os, sys, time
from onebuf.clock import Clock

def descriptors():
    return len(os.listdir("/dev/fd"))

while True:
    line = sys.stdin.readline()
    if not line:
        break
    servers, port, timeout_ms = json.loads(line)
    c = Clock(None, servers, timeout_ms, port)
    before = descriptors()
    begin = time.ticks_ms()
    result = c.sync()
    ms = time.ticks_diff(time.ticks_ms(), begin)
    ahead = c.now() - int(time.time())
    left = descriptors() - before
    print(json.dumps({"result": result, "ms": ms, "ahead": ahead, "left": left}))
"""
HERE = "127.0.0.1"
TIMEOUT_MS = 300
SLACK_MS = 400
ETIMEDOUT, ECONNREFUSED, EHOSTUNREACH, ENXIO = -110, -111, -113, -6
OFFSET_S = 5000
YEAR_S = 31_557_600
UNIX_2020 = 1577836800


@pytest.fixture(scope="module", params=RUNTIMES)
def device(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Script]:
    """A device that asks for the time when it is told whom."""
    folder = tmp_path_factory.mktemp("clock")
    script = folder / "ask.py"
    script.write_text(SCRIPT)
    running = Script(request.param, script, folder)
    yield running
    running.close()


@pytest.fixture
def server() -> Iterator[sntp.Server]:
    with sntp.serve(offset_s=OFFSET_S) as server:
        yield server


def ask(
    device: Script, server: sntp.Server, *servers: str, timeout_ms: int = TIMEOUT_MS
) -> dict[str, Any]:
    """What the device says after asking servers, this one if none is named."""
    reply = device.call(servers or (HERE,), server.port, timeout_ms)
    assert reply["left"] == 0, "a descriptor was left open"
    assert server.refused == 0, "that was no request of a client"
    return reply


def is_set(reply: dict[str, Any], ahead_s: float = OFFSET_S) -> bool:
    return reply["result"] == 0 and abs(reply["ahead"] - ahead_s) <= 1


@pytest.mark.parametrize("fault", [None, "v3", "long", "noise"])
def test_clock_is_set_by_a_server_that_answers(
    device: Script, server: sntp.Server, fault: str | None
) -> None:
    server.fault = fault
    reply = ask(device, server)
    assert is_set(reply) and reply["ms"] < TIMEOUT_MS
    assert server.requests == 1


@pytest.mark.parametrize(
    "fault",
    [
        "silent",
        "garbage",
        "short",
        "empty",
        "origin",
        "mode",
        "broadcast",
        "version",
        "spoofed kiss",
        "alarm",
        "stratum",
        "stranger",
        "late",
    ],
)
def test_clock_stays_as_it_was_when_there_is_no_good_answer_in_time(
    device: Script, server: sntp.Server, fault: str
) -> None:
    server.fault = fault
    reply = ask(device, server)
    assert reply["result"] == ETIMEDOUT and abs(reply["ahead"]) <= 1
    assert TIMEOUT_MS - 1 <= reply["ms"] < TIMEOUT_MS + SLACK_MS


def test_late_answer_is_not_taken_for_the_answer_to_the_next_request(
    device: Script, server: sntp.Server
) -> None:
    server.faults = ["late"]
    assert ask(device, server)["result"] == ETIMEDOUT
    server.offset_s = 2 * OFFSET_S
    reply = ask(device, server, timeout_ms=2000)
    assert is_set(reply, 2 * OFFSET_S)


def test_server_that_sends_a_kiss_of_death_is_asked_once(
    device: Script, server: sntp.Server
) -> None:
    server.fault = "kiss"
    reply = ask(device, server)
    assert reply["result"] == ECONNREFUSED and reply["ms"] < TIMEOUT_MS
    assert abs(reply["ahead"]) <= 1 and server.requests == 1


@pytest.mark.parametrize("fault", ["silent", "alarm", "kiss"])
def test_second_server_is_asked_when_the_first_is_no_use(
    device: Script, server: sntp.Server, fault: str
) -> None:
    server.faults = [fault]
    reply = ask(device, server, HERE, HERE)
    assert is_set(reply) and server.requests == 2
    assert reply["ms"] < TIMEOUT_MS + SLACK_MS


def test_second_server_is_asked_when_the_first_is_dead_or_has_no_address(
    device: Script, server: sntp.Server
) -> None:
    assert is_set(ask(device, server, "", HERE))
    assert is_set(ask(device, server, "127.0.0.2", HERE))


def test_dead_server_and_unknown_name_have_numbers_of_their_own(device: Script) -> None:
    with sntp.serve() as server:
        pass
    assert ask(device, server)["result"] == EHOSTUNREACH
    assert ask(device, server, "")["result"] == ENXIO


@pytest.mark.parametrize("year", [2036.2, 2040, 2053])
def test_clock_is_right_in_the_second_era(
    device: Script, server: sntp.Server, year: float
) -> None:
    ahead = round(UNIX_2020 + (year - 2020) * YEAR_S - time.time())
    server.offset_s = ahead
    assert is_set(ask(device, server), ahead)


@pytest.mark.parametrize("year", [1990, 2019, 2060, 2150])
def test_time_beyond_what_the_clock_can_hold_is_no_answer(
    device: Script, server: sntp.Server, year: float
) -> None:
    server.offset_s = UNIX_2020 + (year - 2020) * YEAR_S - time.time()
    assert ask(device, server)["result"] == ETIMEDOUT


def test_board_that_boots_in_2000_has_the_systems_time_right_afterwards(
    server: sntp.Server,
) -> None:
    device = Device(FIRMWARE)
    rtc = device.load("machine").RTC()
    rtc.datetime((2000, 1, 1, 5, 0, 0, 0, 0))
    clock = device.load("onebuf.clock").Clock(rtc, (HERE,), 1000, server.port)
    assert clock.now() == 0
    assert clock.sync() == 0
    wanted = time.time() + OFFSET_S
    assert abs(clock.now() - wanted) <= 1.5
    assert abs(device.load("time").time() - wanted) <= 2.5


@given(st.datetimes(datetime(2020, 1, 1), datetime(2053, 12, 31, 23, 59, 59)))
def test_date_of_a_response_is_read_as_email_utils_writes_it(naive: datetime) -> None:
    moment = naive.replace(microsecond=0, tzinfo=timezone.utc)
    text = format_datetime(moment, usegmt=True).encode()
    seconds = DATE(bytearray(b"Date: " + text), 6, 6 + len(text))
    assert seconds + UNIX_2020 == moment.timestamp()


DATE = Device(FIRMWARE).load("onebuf.clock").date


@given(st.binary(min_size=29, max_size=29))
def test_octets_that_are_no_date_are_refused(octets: bytes) -> None:
    assert DATE(bytearray(octets), 0, 29) == -1


def exchange(server: sntp.Server, request: bytes) -> bytes:
    """What the server answers; b"" for nothing within a moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.sendto(request, (server.host, server.port))
        try:
            return sock.recv(1000)
        except TimeoutError:
            return b""


def request(first: int = 0x23, transmit: bytes = b"12345678") -> bytes:
    return bytes([first]) + bytes(39) + transmit


def test_server_answers_in_the_format_of_rfc_4330(server: sntp.Server) -> None:
    before = time.time()
    reply = exchange(server, request())
    assert len(reply) == 48 and reply[:2] == bytes([0x24, 2])
    assert reply[24:32] == b"12345678"
    seconds, fraction = struct.unpack(">II", reply[40:])
    unix = seconds - 2_208_988_800 + fraction / 2**32
    assert before + OFFSET_S - 0.001 <= unix <= time.time() + OFFSET_S + 0.001


@pytest.mark.parametrize(
    "wrong",
    [b"", request()[:-1], request(0x24), request(0x13), request(0x1B, bytes(8))],
    ids=["empty", "short", "a reply", "version 2", "without a time"],
)
def test_server_answers_requests_alone(server: sntp.Server, wrong: bytes) -> None:
    assert exchange(server, wrong) == b""
    assert (server.requests, server.refused) == (1, 1)
    assert exchange(server, request(0x1B)), "the next one is answered"


def test_server_leaves_no_thread_and_no_port_behind() -> None:
    threads = threading.active_count()
    with sntp.serve(fault="late") as server:
        assert exchange(server, request()) == b""
    server.stop()
    assert threading.active_count() == threads
    with sntp.serve(port=server.port) as again:
        assert exchange(again, request())


def test_fault_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="silent"):
        sntp.serve(fault="sillent")


def test_port_that_is_taken_is_refused(server: sntp.Server) -> None:
    with pytest.raises(OSError):
        sntp.serve(port=server.port)
