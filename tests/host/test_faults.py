"""Every fault as a plain socket sees it, and the life cycle that the faults must not break."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from host.certs import Authority
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.faults import Fault, Faults, Moment, parse
from host.cloud.server import Running, serve

REQUEST = b"POST /topics/t?qos=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
BODY_BYTES = 65
HEAD_END = b"\r\n\r\n"
QUIET_S = 0.4


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("faults") / "certs")


@pytest.fixture
def cloud(authority: Authority) -> Iterator[Running]:
    service = AWSCloud(authority)
    service.add_thing("sensor-1")
    with serve(service) as running:
        yield running


class Peer:
    """A TLS client that says how a connection ended: eof, ragged, reset, silence.

    The TLS lies in memory, because CPython's TLS sockets hide a reset behind an end of file.
    """

    def __init__(self, cloud: Running, patience_s: float = 5.0) -> None:
        authority = cloud.cloud.authority
        context = ssl.create_default_context(cafile=authority.ca_pem)
        pair = authority.device("sensor-1")
        context.load_cert_chain(pair.cert_pem, pair.key_pem)
        self.plain = socket.create_connection((cloud.host, cloud.port), 5)
        self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=ENDPOINT)
        while not self._shook_hands():
            self._in.write(self.plain.recv(65536))
        self.plain.settimeout(patience_s)

    def _shook_hands(self) -> bool:
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            self.plain.sendall(self._out.read())

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self.plain.sendall(self._out.read())

    def part(self) -> bytes:
        """Return what one record brought, b"" after close_notify."""
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                arrived = self.plain.recv(65536)
                if not arrived:
                    raise EOFError from None
                self._in.write(arrived)

    def read(self, until: int | None = None) -> tuple[bytes, str]:
        data = b""
        try:
            while until is None or len(data) < until:
                part = self.part()
                if not part:
                    return data, "eof" if self.plain.recv(1) == b"" else "more"
                data += part
        except EOFError:
            return data, "ragged"
        except ConnectionResetError:
            return data, "reset"
        except TimeoutError:
            return data, "silence"
        return data, "enough"


@contextmanager
def peer(cloud: Running, patience_s: float = 5.0) -> Iterator[Peer]:
    opened = Peer(cloud, patience_s)
    try:
        yield opened
    finally:
        opened.plain.close()


def outcome(cloud: Running, fault: str, quiet_s: float = 5.0) -> tuple[bytes, str]:
    """Add `fault`, send one request, return what came and how it ended.

    `quiet_s` is how long nothing must come for silence; a first byte may take 5 s, but for stall.
    """
    cloud.faults.add(fault)
    with peer(cloud, quiet_s if fault == "stall(before)" else 5.0) as client:
        client.send(REQUEST)
        first, end = client.read(1)
        client.plain.settimeout(quiet_s)
        rest, end = client.read() if end == "enough" else (b"", end)
        return first + rest, end


def assert_normal(cloud: Running) -> None:
    data, end = outcome(cloud, "connection-close")
    assert data.startswith(b"HTTP/1.1 200 OK\r\n") and end == "eof"


def split(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(HEAD_END)
    return head, body


# -- How a connection ends ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "end"),
    [("reset", "reset"), ("close", "eof"), ("cut", "ragged"), ("stall", "silence")],
)
@pytest.mark.parametrize("place", ["before", "head", "body", "after"])
def test_connection_fault_when_it_strikes_ends_at_its_place_in_its_way(
    cloud: Running, name: str, end: str, place: str
) -> None:
    if (name, place) == ("stall", "after"):
        return  # after a whole answer, silence is no fault
    data, seen = outcome(cloud, f"{name}({place})", QUIET_S if name == "stall" else 5.0)
    head, body = split(data)
    shape = (bool(head), HEAD_END in data, len(body))
    wanted = {
        "before": (False, False, 0),
        "head": (True, False, 0),
        "body": (True, True, 0),
        "after": (True, True, BODY_BYTES),
    }
    assert (shape, seen) == (wanted[place], end)
    assert b"Connection: close" not in data
    assert len(cloud.messages()) == 1
    assert_normal(cloud)


def plain_outcome(cloud: Running, quiet_s: float) -> str:
    try:
        with socket.create_connection((cloud.host, cloud.port), 5) as plain:
            plain.settimeout(quiet_s)
            return "eof" if plain.recv(1) == b"" else "data"
    except ConnectionResetError:  # connect itself may see it already
        return "reset"
    except TimeoutError:
        return "silence"


@pytest.mark.parametrize(
    ("name", "end"),
    [("reset", "reset"), ("close", "eof"), ("cut", "eof"), ("stall", "silence")],
)
def test_handshake_fault_when_a_connection_comes_strikes_before_any_tls(
    cloud: Running, name: str, end: str
) -> None:
    cloud.faults.add(f"{name}(handshake)")
    assert plain_outcome(cloud, QUIET_S if name == "stall" else 5.0) == end
    assert_normal(cloud)


def test_refuse_when_added_refuses_at_once_and_ends_by_itself(cloud: Running) -> None:
    with peer(cloud) as before:
        cloud.faults.add("refuse(300)")
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((cloud.host, cloud.port), 5)
        assert before.read()[1] in ("eof", "ragged", "reset")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert_normal(cloud)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    assert len(cloud.messages()) == 1


def assert_refused_soon(cloud: Running) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            socket.create_connection((cloud.host, cloud.port), 0.5).close()
        except ConnectionRefusedError:
            return
        except OSError:  # what arrived while the listener closed
            continue
    raise AssertionError("still listening")


def test_refuse_when_it_stands_second_waits_for_the_first(cloud: Running) -> None:
    cloud.faults.add("throttle,refuse(60000)")
    with peer(cloud) as client:
        client.send(REQUEST)
        assert client.read(20)[0].startswith(b"HTTP/1.1 429 ")
    assert_refused_soon(cloud)


# -- What the answer looks like -------------------------------------------------------------------


def test_truncate_ends_in_order_but_short_of_its_length(cloud: Running) -> None:
    data, end = outcome(cloud, "truncate")
    head, body = split(data)
    assert b"Content-Length: 65" in head and len(body) == BODY_BYTES // 2 and end == "eof"


def test_delay_gives_the_right_answer_late(cloud: Running) -> None:
    begin = time.monotonic()
    data, end = outcome(cloud, "delay(400)", QUIET_S)
    assert time.monotonic() - begin >= 0.4
    assert data.startswith(b"HTTP/1.1 200") and (len(split(data)[1]), end) == (65, "silence")


def test_drip_gives_the_right_answer_byte_by_byte(cloud: Running) -> None:
    cloud.faults.add("drip(2)")
    parts = []
    with peer(cloud) as client:
        client.send(REQUEST)
        begin = time.monotonic()
        while not b"".join(parts).endswith(b'"}'):
            parts.append(client.part())
        took_s = time.monotonic() - begin
    assert len(split(b"".join(parts))[1]) == BODY_BYTES
    assert {len(part) for part in parts} == {1}
    assert took_s >= 0.002 * (len(parts) - 2)


def test_garbage_is_not_http(cloud: Running) -> None:
    data, end = outcome(cloud, "garbage")
    assert data and not data.startswith(b"HTTP/") and end == "eof"


def test_huge_head_is_larger_than_any_device_buffer_and_then_right(cloud: Running) -> None:
    head, body = split(outcome(cloud, "huge-head", QUIET_S)[0])
    assert len(head) > 65536 and len(body) == BODY_BYTES


def test_huge_length_goes_on_until_the_peer_closes(cloud: Running) -> None:
    cloud.faults.add("huge-length")
    with peer(cloud) as client:
        client.send(REQUEST)
        data, end = client.read(1_000_000)
    assert b"Content-Length: 1073741824\r\n" in data and end == "enough"
    begin = time.monotonic()
    assert_normal(cloud)
    assert time.monotonic() - begin < 2


def test_throttle_is_the_clouds_own_and_stores_nothing(cloud: Running) -> None:
    data, end = outcome(cloud, "throttle(7)", QUIET_S)
    assert data.startswith(b"HTTP/1.1 429 Too Many Requests\r\n") and end == "silence"
    assert b"\r\nRetry-After: 7\r\n" in data
    assert b"\r\nx-amzn-ErrorType: ThrottlingException:\r\n" in data
    assert cloud.messages() == []


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("error", b"500 Internal Server Error|InternalFailureException"),
        ("error(503)", b"503 Service Unavailable|ServiceUnavailableException"),
        ("error(599)", b"599 |InternalFailureException"),
    ],
)
def test_error_is_the_clouds_own_and_stores_nothing(
    cloud: Running, fault: str, name: bytes
) -> None:
    line, _, kind = name.partition(b"|")
    data, _ = outcome(cloud, fault, QUIET_S)
    assert data.startswith(b"HTTP/1.1 " + line + b"\r\n")
    assert b"x-amzn-ErrorType: " + kind + b":\r\n" in data
    assert cloud.messages() == []


def test_extra_sends_a_second_answer_unasked(cloud: Running) -> None:
    data, end = outcome(cloud, "extra", QUIET_S)
    assert data == data[: len(data) // 2] * 2 and data.count(b"HTTP/1.1 200") == 2
    assert end == "silence" and len(cloud.messages()) == 1


def test_connection_close_is_announced_and_done(cloud: Running) -> None:
    data, end = outcome(cloud, "connection-close")
    assert b"\r\nConnection: close\r\n" in data and len(split(data)[1]) == 65 and end == "eof"


def test_continue_comes_before_the_answer(cloud: Running) -> None:
    data, _ = outcome(cloud, "continue", QUIET_S)
    assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_chunked_answer_has_no_length_and_two_chunks(cloud: Running) -> None:
    head, body = split(outcome(cloud, "chunked", QUIET_S)[0])
    assert b"Transfer-Encoding: chunked" in head and b"Content-Length" not in head
    first, second = body[4:36], body[42:75]
    assert body == b"20\r\n" + first + b"\r\n21\r\n" + second + b"\r\n0\r\n\r\n"
    assert (first + second).startswith(b'{"message":"OK"')


def test_until_close_answer_has_neither_length_nor_chunks(cloud: Running) -> None:
    data, end = outcome(cloud, "until-close")
    head, body = split(data)
    assert b"Content-Length" not in head and b"Transfer-Encoding" not in head
    assert len(body) == BODY_BYTES and end == "eof"


# -- The queue and its spelling -------------------------------------------------------------------


def test_faults_when_several_strike_in_order_one_request_each(cloud: Running) -> None:
    cloud.faults.add("throttle(2)x2, error(503)")
    cloud.faults.add("continue")
    seen = []
    with peer(cloud) as client:
        for _ in range(5):
            client.send(REQUEST)
            data, _ = client.read(200)
            seen.append(data[9:12])
    assert seen == [b"429", b"429", b"503", b"100", b"200"]
    assert len(cloud.faults) == 0


def test_faults_when_cleared_do_not_strike(cloud: Running) -> None:
    cloud.faults.add("stallx100")
    cloud.faults.clear()
    assert_normal(cloud)


def test_handshake_fault_in_front_leaves_open_connections_alone(cloud: Running) -> None:
    with peer(cloud) as client:
        cloud.faults.add("reset(handshake),stall")
        client.send(REQUEST)
        assert client.read(100)[0].startswith(b"HTTP/1.1 200")
    assert len(cloud.faults) == 2


@pytest.mark.parametrize(
    ("spelling", "faults"),
    [
        ("stall", [Fault("stall")]),
        ("reset(head)x2", [Fault("reset", "head")] * 2),
        ("refuse", [Fault("refuse", number=1000)]),
        ("drip(5) , throttle(0)", [Fault("drip", number=5), Fault("throttle", number=0)]),
        ("huge-headx1", [Fault("huge-head")]),
    ],
)
def test_spelling_when_right_is_read(spelling: str, faults: list[Fault]) -> None:
    assert parse(spelling) == faults


@pytest.mark.parametrize(
    ("spelling", "why"),
    [
        ("", "want name"),
        ("stall,", "want name"),
        ("reset()", "want name"),
        ("reset(head", "want name"),
        ("reset(head)x0", "want name"),
        ("reset(head)x-1", "want name"),
        ("reset(head) x2", "want name"),
        ("Reset", "want name"),
        ("explode", "unknown, want one of refuse, reset"),
        ("reset(tail)", "place is one of handshake, before, head, body, after"),
        ("stall(after)", "place is one of handshake, before, head, body$"),
        ("truncate(3)", "takes no argument"),
        ("delay(soon)", "number of 0 to 3600000"),
        ("delay(3600001)", "number of 0 to 3600000"),
        ("error(200)", "number of 400 to 599"),
    ],
)
def test_spelling_when_wrong_says_which_word_and_why(spelling: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^fault .*{why}"):
        parse(spelling)


def test_wrong_spelling_when_added_adds_nothing() -> None:
    faults = Faults()
    with pytest.raises(ValueError, match="explode"):
        faults.add("stall,explode")
    assert faults.take(Moment.REQUEST) is None


# -- The life cycle -------------------------------------------------------------------------------


def test_stop_when_clients_hang_at_every_stage_is_quick_and_complete(
    authority: Authority,
) -> None:
    service = AWSCloud(authority)
    service.add_thing("sensor-1")
    threads = set(threading.enumerate())
    running = serve(service)
    silent = socket.create_connection((running.host, running.port), 5)
    with peer(running) as idle, peer(running) as half, peer(running) as stalled:
        half.send(REQUEST[:-1])
        running.faults.add("stall")
        stalled.send(REQUEST)
        begin = time.monotonic()
        running.stop()
        assert time.monotonic() - begin < 2
        assert all(client.read()[1] in ("ragged", "reset") for client in (idle, half, stalled))
    silent.settimeout(2)
    assert silent.recv(1) == b""
    silent.close()
    assert set(threading.enumerate()) == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((running.host, running.port), 5)
    running.stop()


def test_stop_while_refusing_is_quick(authority: Authority) -> None:
    running = serve(AWSCloud(authority))
    running.faults.add("refuse(60000)")
    begin = time.monotonic()
    running.stop()
    assert time.monotonic() - begin < 2


def test_port_when_taken_is_an_error_at_once(authority: Authority, cloud: Running) -> None:
    with pytest.raises(OSError, match=r"(?i)in use"):
        serve(AWSCloud(authority), cloud.port)


def test_peers_that_reset_in_the_middle_when_many_do_no_harm(cloud: Running) -> None:
    for cut in range(1, len(REQUEST), 7):
        with peer(cloud) as client:
            client.send(REQUEST[:cut])
            client.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert_normal(cloud)


def test_thousand_requests_on_one_connection_are_not_held_back(cloud: Running) -> None:
    begin = time.monotonic()
    with peer(cloud) as client:
        for _ in range(1000):
            client.send(REQUEST[:-1])
            client.send(REQUEST[-1:])
            data, end = client.read(250)
            assert end == "enough" and data.startswith(b"HTTP/1.1 200")
    assert len(cloud.messages()) == 1000
    assert time.monotonic() - begin < 20
