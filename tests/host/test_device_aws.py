"""AWS beyond the certificate on 8443: the device on the three runtimes, an emulated AWS IoT, TLS.

Signature Version 4, custom authorizers, certificates on 443 (ALPN), device shadows.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from devices import MICROPYTHONS, RUNTIMES, Script, running

from host import sntp
from host.certs import LOCAL_HOSTS, Authority
from host.cloud.aws import ALPN, ENDPOINT, AWSCloud
from host.cloud.server import Running, serve
from host.cloud.sigv4 import Secret
from host.device_files import lay

THING, TOPIC = "sensor-1", "fleet/sensor 1/temp\u00e9rature"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN/+=="
TOKEN = "device-7 token/+=&%"
TIMEOUT_MS = 5000
SKEW_S = 20 * 60
EKEYEXPIRED = -127
TOLERANCE_S = 10

on_every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("aws") / "certs")


def serving(authority: Authority, login: str) -> AbstractContextManager[Running]:
    return serve(AWSCloud(authority, login=login))


@pytest.fixture
def signed(authority: Authority) -> Iterator[Running]:
    """Port 443 for those who sign; one key is a temporary one."""
    with serving(authority, "sigv4") as cloud:
        registry = cloud.cloud.registry
        registry.add_key(ACCESS_KEY, Secret(SECRET_KEY))
        registry.add_key("ASIATEMPORARY", Secret(SECRET_KEY, SESSION_TOKEN))
        cloud.cloud.add_thing(THING)
        yield cloud


@pytest.fixture
def authorized(authority: Authority, key: rsa.RSAPrivateKey) -> Iterator[Running]:
    """Port 443 with a custom authorizer that wants signed tokens, and one that does not."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with serving(authority, "sigv4") as cloud:
        authorizers = cloud.cloud.authorizers
        authorizers.add("Signed", "X-Token", public)
        authorizers.accept("Signed", TOKEN, "device-7", ["fleet/#"])
        authorizers.add("Open", "X-Token")
        authorizers.accept("Open", TOKEN, "device-8")
        yield cloud


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def signature(key: rsa.RSAPrivateKey, token: str) -> str:
    raw = key.sign(token.encode(), padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(raw).decode()


def flash(folder: Path, cloud: Running, module: str, pair: Any = None, **config: Any) -> Path:
    """Lay what tests/host/scripts/aws.py reads into folder."""
    settings = {"endpoint": cloud.cloud.endpoint, "topic": TOPIC, "port": cloud.port}
    settings.update(config.pop("settings", {}))
    whole = {"cloud": module, "settings": settings, **config}
    lay(folder, cloud.cloud.authority, whole, pair)
    return folder


def sigv4(folder: Path, cloud: Running, **settings: Any) -> Path:
    keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, **settings}
    return flash(folder, cloud, "aws_sigv4", settings=keys)


def wired(device: Script, clock: int | None = 0, **settings: Any) -> Script:
    reply = device.call("wire", settings, clock)
    assert "refused" not in reply, reply
    return device


def received(cloud: Running) -> list[tuple[str, bytes]]:
    return [(message.device, message.payload) for message in cloud.messages(TOPIC)]


# -- Signature Version 4 --------------------------------------------------------------------------


@on_every_runtime
def test_signed_publishes_go_out_with_the_heap_locked_over_one_connection(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        wired(device)
        for n in range(5):
            reply = device.call("cycle", TIMEOUT_MS, True, f"reading {n}")
            assert (reply["result"], reply["accepted"], reply["queued"]) == (200, n + 1, 0)
            assert reply["heap"] == 0
    assert (reply["requests"], reply["connects"]) == (5, 1)
    assert received(signed) == [(ACCESS_KEY, b"reading %d" % n) for n in range(5)]


@on_every_runtime
def test_signed_publishes_of_a_whole_queue_arrive_once_each_in_order(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    texts = [f"reading {n}" for n in range(20)]
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        reply = wired(device).call("cycle", TIMEOUT_MS, False, *texts)
    assert (reply["accepted"], reply["retries"], reply["queued"]) == (20, 0, 0)
    assert received(signed) == [(ACCESS_KEY, text.encode()) for text in texts]


@on_every_runtime
def test_records_behind_the_signed_one_wait_for_the_next_connect_while_the_heap_is_locked(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    texts = ["one", "two", "three"]
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        wired(device).call("cycle", TIMEOUT_MS, True, *texts)
        for _ in texts[1:]:
            reply = device.call("cycle", TIMEOUT_MS, True)
    assert (reply["accepted"], reply["rejected"], reply["queued"]) == (3, 0, 0)
    assert received(signed) == [(ACCESS_KEY, text.encode()) for text in texts]


@pytest.mark.parametrize("skew_s", [-SKEW_S, SKEW_S])
@on_every_runtime
def test_clock_20_minutes_off_is_corrected_by_the_refusal_and_the_record_arrives_once(
    runtime: str, skew_s: int, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        wired(device, skew_s)
        reply = device.call("cycle", TIMEOUT_MS, False, "reading")
        assert (reply["result"], reply["accepted"], reply["queued"]) == (200, 1, 0)
        assert (reply["requests"], reply["retries"]) == (2, 0)
        assert abs(reply["now"] - time.time()) < TOLERANCE_S
        reply = device.call("cycle", TIMEOUT_MS, True, "the next one")
        assert (reply["requests"], reply["accepted"]) == (3, 2)
    assert received(signed) == [(ACCESS_KEY, b"reading"), (ACCESS_KEY, b"the next one")]


@on_every_runtime
def test_publisher_with_a_clock_20_minutes_off_publishes_once(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        reply = wired(device, SKEW_S).call("publish", "reading", TIMEOUT_MS)
        assert (reply["raised"], reply["status"]) == (None, 200)
    assert received(signed) == [(ACCESS_KEY, b"reading")]


@on_every_runtime
def test_wrong_secret_keeps_the_record_and_the_right_one_delivers_it(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        wired(device, secret_key="wrong")
        for n in range(2):
            reply = device.call("cycle", TIMEOUT_MS, False, "reading")
            assert (reply["result"], reply["queued"], reply["rejected"]) == (403, n + 1, 0)
            assert reply["wait_ms"] >= 0 and reply["retries"] == n + 1
        reply = device.call("publish", "reading", TIMEOUT_MS)
        assert (reply["raised"], reply["status"]) == ("NotNow", 403)
        assert received(signed) == []
        reply = wired(device).call("cycle", TIMEOUT_MS, False, "reading")
        assert (reply["result"], reply["queued"]) == (200, 0)
    assert received(signed) == [(ACCESS_KEY, b"reading")]


@on_every_runtime
def test_temporary_key_publishes_with_its_session_token_and_not_without(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    folder = sigv4(tmp_path, signed, access_key="ASIATEMPORARY", session_token=SESSION_TOKEN)
    with running(runtime, "aws.py", folder) as device:
        reply = wired(device).call("cycle", TIMEOUT_MS, True, "reading")
        assert (reply["result"], reply["heap"]) == (200, 0)
        reply = wired(device, session_token="").call("cycle", TIMEOUT_MS, False, "another")
        assert (reply["result"], reply["queued"]) == (403, 1)
    assert received(signed) == [("ASIATEMPORARY", b"reading")]


@on_every_runtime
def test_refused_signed_record_is_signed_anew_and_arrives_once_the_service_is_well(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    signed.faults.add("error(503),throttle(1),error(500)")
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        wired(device).call("cycle", TIMEOUT_MS, True, "reading")
        replies = [device.call("cycle", TIMEOUT_MS, True) for _ in range(3)]
        assert [reply["result"] for reply in replies] == [429, 500, 200]
        assert replies[0]["wait_ms"] == 1000
        assert (replies[2]["accepted"], replies[2]["queued"]) == (1, 0)
    assert received(signed) == [(ACCESS_KEY, b"reading")]


# -- Custom authorizers ---------------------------------------------------------------------------


def custom(folder: Path, cloud: Running, name: str, **settings: str) -> Path:
    whole = {"authorizer": name, "token_key": "X-Token", "token": TOKEN, **settings}
    return flash(folder, cloud, "aws_authorizer", settings=whole)


@on_every_runtime
def test_signed_token_publishes_with_the_heap_locked(
    runtime: str, authorized: Running, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    folder = custom(tmp_path, authorized, "Signed", signature=signature(key, TOKEN))
    with running(runtime, "aws.py", folder) as device:
        reply = wired(device, None).call("cycle", TIMEOUT_MS, True, "one", "two")
        assert (reply["result"], reply["heap"], reply["connects"]) == (200, 0, 1)
        reply = device.call("publish", "three", TIMEOUT_MS)
        assert (reply["raised"], reply["status"]) == (None, 200)
    assert received(authorized) == [("device-7", text) for text in (b"one", b"two", b"three")]


@on_every_runtime
def test_token_that_is_not_signed_right_or_not_known_is_refused_and_the_record_kept(
    runtime: str, authorized: Running, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    folder = custom(tmp_path, authorized, "Signed", signature=signature(key, TOKEN))
    with running(runtime, "aws.py", folder) as device:
        for settings in (
            {"token": "another", "signature": signature(key, "another")},
            {"signature": signature(key, "another")},
            {"signature": ""},
            {"authorizer": "None"},
            {"token_key": "Y-Token"},
        ):
            reply = wired(device, None, **settings).call("cycle", TIMEOUT_MS, True, "reading")
            assert (reply["result"], reply["queued"], reply["rejected"]) == (403, 1, 0)
        assert received(authorized) == []
        reply = wired(device, None).call("cycle", TIMEOUT_MS, True, "reading")
        assert (reply["result"], reply["queued"]) == (200, 0)
    assert received(authorized) == [("device-7", b"reading")]


@on_every_runtime
def test_authorizer_without_signing_takes_the_bare_token(
    runtime: str, authorized: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", custom(tmp_path, authorized, "Open")) as device:
        reply = wired(device, None).call("cycle", TIMEOUT_MS, True, "reading")
        assert reply["result"] == 200
    assert received(authorized) == [("device-8", b"reading")]


# -- Certificates on port 443 ---------------------------------------------------------------------


def test_certificate_on_443_publishes_where_the_runtime_has_alpn(
    authority: Authority, tmp_path: Path
) -> None:
    with serving(authority, "x509-alpn") as cloud:
        pair = cloud.cloud.add_thing(THING)
        for number, alpn in enumerate((ALPN, "http/1.1", None)):
            folder = flash(tmp_path / str(number), cloud, "aws", pair, alpn=alpn)
            with running("cpython-shim", "aws.py", folder) as device:
                reply = wired(device, None).call("cycle", TIMEOUT_MS, True, "reading")
                if alpn == ALPN:
                    assert (reply["result"], reply["queued"]) == (200, 0)
                else:
                    assert reply["result"] != 200 and reply["queued"] == 1
        assert received(cloud) == [(THING, b"reading")]


@pytest.mark.parametrize("runtime", MICROPYTHONS)
def test_certificate_on_443_is_refused_by_a_runtime_without_alpn_and_8443_is_named(
    runtime: str, authority: Authority, tmp_path: Path
) -> None:
    with serving(authority, "x509-alpn") as cloud:
        pair = cloud.cloud.add_thing(THING)
        folder = flash(tmp_path, cloud, "aws", pair, alpn=ALPN)
        with running(runtime, "aws.py", folder) as device:
            refused = device.call("wire", {}, None)["refused"]
    assert "ALPN" in refused and "8443" in refused


@on_every_runtime
def test_service_that_calls_the_clock_wrong_each_time_is_asked_no_third_time(
    runtime: str, authority: Authority, tmp_path: Path
) -> None:
    skews = itertools.count(SKEW_S, SKEW_S)
    service = AWSCloud(authority, login="sigv4")
    service.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY))
    with serve(service, clock=lambda: time.time() + next(skews)) as cloud:
        with running(runtime, "aws.py", sigv4(tmp_path, cloud)) as device:
            reply = wired(device).call("cycle", TIMEOUT_MS, False, "reading")
            assert (reply["result"], reply["requests"], reply["queued"]) == (403, 2, 1)
            assert shadow(device, "get")["requests"] == 4
        assert cloud.messages() == []


# -- The clock ------------------------------------------------------------------------------------


@on_every_runtime
@pytest.mark.parametrize(("sntp_days", "handshakes"), [(2, 2), (0, 1)])
def test_certificate_that_is_not_valid_yet_is_worth_one_more_try_if_the_clock_was_wrong(
    runtime: str, sntp_days: int, handshakes: int, authority: Authority, tmp_path: Path
) -> None:
    """TLS goes by this computer's clock, so here the second try fails as the first did."""
    now, day = datetime.now(timezone.utc), timedelta(days=1)
    early = authority.server((*LOCAL_HOSTS, ENDPOINT), "early", now + day, now + 3 * day)
    service = AWSCloud(authority, server=early)
    with serve(service) as cloud, sntp.serve(sntp_days * 86400) as server:
        folder = flash(tmp_path, cloud, "aws", service.add_thing(THING))
        with running(runtime, "aws.py", folder) as device:
            device.call("wire", {}, 0, server.port)
            for attempt in (1, 2):
                reply = device.call("cycle", TIMEOUT_MS, False, "reading")
                assert (reply["connect"], reply["queued"]) == (EKEYEXPIRED, attempt)
                assert reply["wait_ms"] > 0
                assert abs(reply["now"] - time.time() - sntp_days * 86400) < TOLERANCE_S
                # from then on the clock is right, and no reason for another try
                assert server.requests == handshakes + attempt - 1, "each refusal asks"
        end = time.monotonic() + 5  # the cloud notices a little later
        while len(cloud.handshake_errors) < server.requests and time.monotonic() < end:
            time.sleep(0.01)
        assert len(cloud.handshake_errors) == server.requests


# -- Device shadows -------------------------------------------------------------------------------


def shadow(device: Script, call: str, document: object = None, name: str = "") -> dict[str, Any]:
    text = json.dumps(document) if document is not None else ""
    reply = device.call("shadow", call, THING, name, text, TIMEOUT_MS)
    return {**reply, "document": json.loads(reply["document"])}


def check_shadow(device: Script) -> None:
    """A shadow's life, classic and named, with a publish in between."""
    for name in ("", "config"):
        assert shadow(device, "get", name=name)["status"] == 404
        update = {"state": {"desired": {"period": 60}, "reported": {"t": 21.5}}}
        reply = shadow(device, "update", update, name)
        assert (reply["status"], reply["document"]["version"]) == (200, 1)
        assert device.call("cycle", TIMEOUT_MS, True, f"beside {name}")["result"] == 200
        reply = shadow(device, "get", name=name)
        assert reply["status"] == 200
        state = reply["document"]["state"]
        assert (state["reported"], state["delta"]) == ({"t": 21.5}, {"period": 60})
        late = {"state": {"reported": {"t": 22}}, "version": 0}
        assert shadow(device, "update", late, name)["status"] == 409
        assert shadow(device, "update", {"stat": {}}, name)["status"] == 400
        assert shadow(device, "delete", name=name)["status"] == 200
        assert shadow(device, "get", name=name)["status"] == 404


@on_every_runtime
def test_shadow_with_a_certificate_lives_beside_the_publishes_on_one_connection(
    runtime: str, authority: Authority, tmp_path: Path
) -> None:
    with serving(authority, "x509") as cloud:
        folder = flash(tmp_path, cloud, "aws", cloud.cloud.add_thing(THING))
        with running(runtime, "aws.py", folder) as device:
            check_shadow(wired(device, None))
            assert device.call("cycle", TIMEOUT_MS, True, "last")["connects"] == 1
        assert received(cloud) == [
            (THING, b"beside "),
            (THING, b"beside config"),
            (THING, b"last"),
        ]


@on_every_runtime
def test_shadow_with_signed_requests_lives_beside_the_publishes_on_one_connection(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        check_shadow(wired(device))
        assert device.call("cycle", TIMEOUT_MS, True, "last")["connects"] == 1
    assert [text for _, text in received(signed)] == [b"beside ", b"beside config", b"last"]


@on_every_runtime
def test_shadow_asked_for_with_a_clock_20_minutes_off_answers_after_its_correction(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        reply = shadow(wired(device, SKEW_S), "update", {"state": {"reported": {"t": 1}}})
        assert (reply["status"], reply["requests"]) == (200, 2)
        assert abs(reply["now"] - time.time()) < TOLERANCE_S
        assert shadow(device, "get")["document"]["version"] == 1


@on_every_runtime
def test_clock_20_minutes_off_is_corrected_with_the_heap_locked_and_the_record_arrives_once(
    runtime: str, signed: Running, tmp_path: Path
) -> None:
    with running(runtime, "aws.py", sigv4(tmp_path, signed)) as device:
        wired(device, SKEW_S).call("cycle", TIMEOUT_MS, True, "reading")
        reply = device.call("cycle", TIMEOUT_MS, True)
        assert (reply["accepted"], reply["queued"]) == (1, 0)
        assert abs(reply["now"] - time.time()) < TOLERANCE_S
    assert received(signed) == [(ACCESS_KEY, b"reading")]
