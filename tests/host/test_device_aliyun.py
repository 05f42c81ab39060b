"""Alibaba Cloud: the device on the three runtimes and the emulated platform, over real TLS."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import devices
import pytest
from devices import FIRMWARE, RUNTIMES, Script, running
from hypothesis import given
from hypothesis import strategies as st

from host.certs import Authority
from host.cloud.aliyun import AliyunCloud
from host.cloud.server import Running, serve
from host.device_files import lay
from host.shim import Device

PRODUCT, NAME = "a1pk", "dev-1"
TOPIC = f"/{PRODUCT}/{NAME}/user/update"
TIMEOUT_MS = 5000
LIFE_S = 3600
SKEW_S = 20 * 60
METHODS = {"hmacmd5": "md5", "hmacsha1": "sha1", "hmacsha256": "sha256"}
_E2BIG = -7
_EACCES = -13

on_every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "certs")


class Service:
    """The platform's own clock, in epoch seconds, and by how much it differs from ours."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def cloud(authority: Authority, service: Service) -> Iterator[Running]:
    with serve(AliyunCloud(authority, token_life_s=LIFE_S), clock=service) as cloud:
        yield cloud


def flash(folder: Path, cloud: Running, /, **config: Any) -> Path:
    """Lay config and CA into folder for a device that is registered."""
    settings = {
        "product_key": PRODUCT,
        "device_name": NAME,
        "device_secret": cloud.cloud.add_device(PRODUCT, NAME),
        "topic": TOPIC,
        "port": cloud.port,
    }
    lay(folder, cloud.cloud.authority, {"cloud": "aliyun", "settings": settings, **config})
    return folder


@pytest.fixture
def device(runtime: str, cloud: Running, tmp_path: Path) -> Iterator[Script]:
    """A device that does as the test tells it, with the right time; not connected."""
    with running(runtime, "clouds.py", flash(tmp_path, cloud)) as device:
        device.call("wire", {}, 0)
        yield device


def payloads(cloud: Running) -> list[bytes]:
    return [message.payload for message in cloud.messages(TOPIC)]


def logins(cloud: Running) -> int:
    """How many tokens the platform has given."""
    [[number]] = cloud.cloud.store.execute("SELECT count(*) FROM aliyun_tokens")
    return int(number)


def publish(device: Script, *texts: str, lock: bool = True) -> dict[str, Any]:
    """What firmware/main.py does with readings: queue, connect, forward. The last reply."""
    if texts:
        device.call("push", *texts)
    reply = device.call("connect", TIMEOUT_MS)
    if reply["connect"] == 0:
        reply |= device.call("forward", TIMEOUT_MS, lock)
    return reply


# -- Publishing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@on_every_runtime
def test_login_with_each_signature_with_and_without_a_clock_is_accepted(
    runtime: str, method: str, cloud: Running, tmp_path: Path
) -> None:
    with running(runtime, "clouds.py", flash(tmp_path, cloud)) as device:
        for clock in (None, 0):
            device.call("wire", {"signmethod": method}, clock)
            assert publish(device, f"clock {clock}")["queued"] == 0
    assert payloads(cloud) == [b"clock None", b"clock 0"]


@pytest.mark.parametrize("closes", [True, False])
@on_every_runtime
def test_token_is_used_again_whether_the_platform_closes_the_connection_or_keeps_it(
    device: Script, cloud: Running, closes: bool
) -> None:
    cloud.cloud.closes = closes
    assert publish(device, "one")["accepted"] == 1
    cloud.cloud.fail_next(20000, 9)  # another login would not succeed
    reply = publish(device, "two", "three", lock=False)
    assert (reply["accepted"], reply["queued"], reply["wait_ms"]) == (3, 0, 0)
    assert payloads(cloud) == [b"one", b"two", b"three"]
    assert reply["connects"] == (4 if closes else 1)


@pytest.mark.parametrize("closes", [True, False])
@on_every_runtime
def test_publish_after_connect_with_the_heap_locked_takes_no_memory(
    device: Script, cloud: Running, closes: bool
) -> None:
    cloud.cloud.closes = closes
    texts = [f"record {n}" for n in range(20)]
    for text in texts:
        assert publish(device, text)["result"] == 200
    assert device.call("connect", TIMEOUT_MS)["heap"] == 0
    assert payloads(cloud) == [text.encode() for text in texts]


@on_every_runtime
def test_application_when_config_names_this_cloud_publishes_all_readings(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    cloud.cloud.closes = False
    folder = flash(tmp_path, cloud, readings=20, period_ms=1, heap_lock=True)
    with running(runtime, str(FIRMWARE / "main.py"), folder) as device:
        lines = device.lines()
    summary = json.loads(lines[-1].removeprefix("summary "))
    assert (summary["accepted"], summary["queued"]) == (20, 0)
    assert summary["heap_bytes_per_publish"] == 0
    assert [json.loads(payload)["seq"] for payload in payloads(cloud)] == list(range(20))


# -- Tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["expired", "forgotten", "too old"])
@pytest.mark.parametrize("lock", [True, False])
@on_every_runtime
def test_token_that_ends_in_mid_flight_costs_a_login_and_no_record(
    device: Script, runtime: str, cloud: Running, service: Service, how: str, lock: bool
) -> None:
    cloud.cloud.closes = False
    publish(device, "one")
    if how == "expired":
        cloud.cloud.expire_tokens()
    elif how == "forgotten":
        cloud.cloud.forget_tokens()
    else:
        service.offset = LIFE_S + 60
    reply = publish(device, "two", "three", lock=lock)
    if lock and runtime != "cpython-shim":  # a login takes heap: the next connect() does it
        assert (reply["accepted"], reply["queued"]) == (1, 2)
        assert 0 <= reply["wait_ms"] <= 1000
        reply = publish(device)
    assert (reply["accepted"], reply["rejected"], reply["queued"]) == (3, 0, 0)
    assert payloads(cloud) == [b"one", b"two", b"three"]


@on_every_runtime
def test_device_that_was_disabled_keeps_its_records_until_it_is_enabled(
    device: Script, cloud: Running
) -> None:
    publish(device, "one")
    cloud.cloud.disable_device(PRODUCT, NAME)
    assert publish(device, "two", lock=False)["queued"] == 1
    for _ in range(2):
        reply = publish(device)
        assert (reply["connect"], reply["queued"], reply["rejected"]) == (_EACCES, 1, 0)
    cloud.cloud.enable_device(PRODUCT, NAME)
    assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one", b"two"]


@on_every_runtime
def test_device_with_a_wrong_secret_keeps_its_records_until_the_secret_is_right(
    device: Script, cloud: Running
) -> None:
    device.call("wire", {"device_secret": "another"}, 0)
    waits = []
    for _ in range(3):
        reply = publish(device, *([] if waits else ["one"]))
        assert (reply["connect"], reply["queued"]) == (_EACCES, 1)
        waits.append(reply["wait_ms"])
    assert all(0 <= wait <= 1000 * 2**n for n, wait in enumerate(waits))
    cloud.cloud.add_device(PRODUCT, NAME, "another")
    assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one"]


@pytest.mark.parametrize("skew_s", [-SKEW_S, SKEW_S])
@on_every_runtime
def test_clock_that_is_20_minutes_off_is_corrected_by_the_refusal(
    device: Script, cloud: Running, skew_s: int
) -> None:
    device.call("wire", {}, skew_s)
    assert abs(device.call("now")["now"] - time.time() - skew_s) < 10
    assert publish(device, "one")["queued"] == 0
    assert abs(device.call("now")["now"] - time.time()) < 10
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_token_on_flash_outlives_a_reset_and_is_replaced_when_it_is_spent(
    runtime: str, cloud: Running, tmp_path: Path
) -> None:
    folder = flash(tmp_path, cloud, cloud="aliyun_kept", readings=2, period_ms=1)
    for starts, tokens in ((1, 1), (2, 1), (3, 2)):
        if starts == 3:
            cloud.cloud.expire_tokens()
        with running(runtime, str(FIRMWARE / "main.py"), folder) as device:
            summary = json.loads(device.lines()[-1].removeprefix("summary "))
        assert (summary["accepted"], summary["queued"]) == (2, 0)
        assert (len(payloads(cloud)), logins(cloud)) == (2 * starts, tokens)


# -- Codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [10000, 30001, 40000])
@on_every_runtime
def test_publish_that_is_not_taken_now_is_followed_by_backoff_and_not_by_a_login(
    device: Script, cloud: Running, code: int
) -> None:
    assert publish(device)["connect"] == 0
    cloud.cloud.fail_next(code, 2)
    device.call("push", "one")
    for most_ms in (1000, 2000):
        reply = publish(device)
        assert (reply["connect"], reply["result"], reply["queued"]) == (0, code, 1)
        assert 0 <= reply["wait_ms"] <= most_ms
    assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one"]


@pytest.mark.parametrize("code", [20001, 20002, 20003])
@on_every_runtime
def test_publish_whose_token_is_refused_logs_in_again_and_is_sent_once_more(
    device: Script, cloud: Running, code: int
) -> None:
    assert publish(device)["connect"] == 0
    cloud.cloud.fail_next(code)
    reply = publish(device, "one", lock=False)
    assert (reply["accepted"], reply["queued"], reply["wait_ms"]) == (1, 0, 0)
    assert (payloads(cloud), logins(cloud)) == ([b"one"], 2)
    cloud.cloud.fail_next(code, 2)  # also the new token
    reply = publish(device, "two", lock=False)
    assert (reply["accepted"], reply["result"], reply["queued"]) == (1, code, 1)
    assert (len(payloads(cloud)), logins(cloud)) == (1, 3)
    assert publish(device)["queued"] == 0
    assert (payloads(cloud), logins(cloud)) == ([b"one", b"two"], 4)


@pytest.mark.parametrize("code", [10000, 10001, 20000, 20004, 40000])
@on_every_runtime
def test_login_that_is_not_taken_keeps_the_record(
    device: Script, cloud: Running, code: int
) -> None:
    cloud.cloud.fail_next(code)
    reply = publish(device, "one")
    assert (reply["connect"], reply["result"], reply["queued"]) == (_EACCES, code, 1)
    assert 0 <= reply["wait_ms"] <= 1000
    assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_login_that_is_throttled_when_a_token_has_expired_loses_nothing(
    device: Script, cloud: Running
) -> None:
    publish(device, "one")
    cloud.cloud.expire_tokens()
    cloud.cloud.fail_next(20001)
    cloud.cloud.fail_next(40000)  # the login that follows
    reply = publish(device, "two", lock=False)
    assert (reply["result"], reply["queued"], logins(cloud)) == (40000, 1, 1)
    assert publish(device)["queued"] == 0
    assert (payloads(cloud), logins(cloud)) == ([b"one", b"two"], 2)


@on_every_runtime
def test_retry_after_beside_the_code_is_obeyed(device: Script, cloud: Running) -> None:
    assert publish(device)["connect"] == 0
    cloud.faults.add("throttle(7)")
    assert publish(device, "one")["wait_ms"] == 7000
    assert publish(device)["queued"] == 0
    assert payloads(cloud) == [b"one"]


@on_every_runtime
def test_mistake_of_the_caller_is_not_sent_again(device: Script, cloud: Running) -> None:
    assert publish(device)["connect"] == 0
    cloud.cloud.fail_next(10001)
    reply = publish(device, "bad", "good", lock=False)
    assert (reply["accepted"], reply["rejected"], reply["queued"]) == (1, 1, 0)
    assert payloads(cloud) == [b"good"]


@on_every_runtime
def test_payload_of_128_kib_is_taken_and_one_octet_more_is_not_sent(
    runtime: str, cloud: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_HEAP", {"32": "512k", "64": "1m"})
    with running(runtime, "clouds.py", flash(tmp_path, cloud)) as device:
        device.call("wire", {}, 0)
        assert device.call("exchange", 131073, TIMEOUT_MS)["result"] == _E2BIG
        assert payloads(cloud) == []
        assert device.call("exchange", 131072, TIMEOUT_MS)["result"] == 200
    assert [len(payload) for payload in payloads(cloud)] == [131072]


@on_every_runtime
def test_pages_of_the_front_server_keep_the_record_unless_it_is_too_long(
    device: Script, cloud: Running
) -> None:
    assert publish(device)["connect"] == 0
    device.call("push", "one")
    for status in (400, 403, 404, 405, 500, 502, 503, 504):
        cloud.faults.add(f"error({status})")
        reply = publish(device)
        assert (reply["result"], reply["queued"], reply["rejected"]) == (status, 1, 0)
    assert publish(device)["queued"] == 0
    cloud.faults.add("error(413)")
    reply = publish(device, "two")
    assert (reply["result"], reply["queued"], reply["rejected"]) == (413, 0, 1)
    assert (payloads(cloud), logins(cloud)) == ([b"one"], 1)


# -- The login's body and the answer's content, against code that nobody here wrote ---------------

DEVICE = Device(FIRMWARE)
ALIYUN = DEVICE.load("onebuf.cloud.aliyun")
REQUEST = DEVICE.load("onebuf.http1").Request
OUTCOME = DEVICE.load("onebuf.outcome")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(
    product=TEXT,
    name=TEXT,
    secret=st.one_of(TEXT, st.text("s", min_size=60, max_size=140)),
    client=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    method=st.sampled_from(sorted(METHODS)),
    now=st.one_of(st.just(0), st.integers(1577836800, 4000000000)),
)
def test_login_of_any_device_is_signed_as_the_standard_library_does(
    product: str, name: str, secret: str, client: str, method: str, now: int
) -> None:
    cloud = ALIYUN.Aliyun(product, name, secret, "/t", client, method)
    cloud.refresh(REQUEST(bytearray(512)), now)
    body = json.loads(cloud.login)
    content = f"clientId{client}deviceName{name}productKey{product}"
    content += f"timestamp{now}000" if now else ""
    key = secret.encode()
    assert body.pop("sign") == hmac.new(key, content.encode(), METHODS[method]).hexdigest()
    assert body.pop("signmethod") == method
    assert "".join(key + body[key] for key in sorted(body)) == content


def judged(content: bytes, status: int = 200, login: bool = False) -> tuple[int, Any]:
    """What the device makes of an answer with this content, and the token it keeps."""
    cloud = ALIYUN.Aliyun("p", "d", "s", "/t")
    cloud.login = b"{}" if login else None
    buf = bytearray(b'{"code":0}' + content + b',"code":0}')  # what stands around is not its
    reply = SimpleNamespace(buf=buf, off=10, n=len(content), status=status)
    return cloud.outcome(reply), cloud._token


NAMES = st.one_of(st.sampled_from(["code", "info", "token", "message"]), st.text(max_size=5))
CODES = st.sampled_from([0, 10000, 10001, 20001, 20002, 20003, 30001, 40000])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), CODES, st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.builds(
    lambda document, code: {**document, **code},
    st.dictionaries(NAMES, VALUES, max_size=5),
    st.one_of(st.just({}), st.builds(lambda code: {"code": code}, CODES)),
)


def expected(code: object) -> int:
    if not isinstance(code, int) or isinstance(code, bool):
        return OUTCOME.RETRY
    table = {0: OUTCOME.ACCEPTED, 10001: OUTCOME.REJECTED}
    table |= dict.fromkeys((20001, 20002, 20003), OUTCOME.REAUTH)
    return table.get(code, OUTCOME.RETRY)


@given(document=DOCUMENTS, indent=st.sampled_from([None, 0, 3]), raw=st.booleans())
def test_code_of_any_json_is_the_one_that_the_standard_library_reads(
    document: dict[str, Any], indent: int | None, raw: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=not raw)
    content = text.encode(errors="surrogatepass")
    assert judged(content)[0] == expected(document.get("code"))


@given(document=DOCUMENTS, token=st.one_of(st.none(), st.text("0aZ-_./+=~", max_size=50)))
def test_token_is_the_member_of_info_and_no_other(
    document: dict[str, Any], token: str | None
) -> None:
    document["code"] = 0
    if token is not None:
        document["info"] = {"a": {"token": "no"}, "token": token, "b": [{"token": "no"}]}
    outcome, kept = judged(json.dumps(document).encode(), login=True)
    if token is not None:
        assert kept == token.encode()
        assert outcome == (OUTCOME.ACCEPTED if token else OUTCOME.RETRY)
    elif not isinstance(document.get("info"), dict) or "token" not in document["info"]:
        assert (outcome, kept) == (OUTCOME.RETRY, b"")


GARBAGE = st.one_of(
    st.binary(max_size=80),
    st.text('{}[]":,\\ 0127codeinfotoken\n', max_size=80).map(str.encode),
)


@given(content=GARBAGE, status=st.integers(200, 599), login=st.booleans())
def test_content_that_is_garbage_is_never_an_exception(
    content: bytes, status: int, login: bool
) -> None:
    assert judged(content, status, login)[0] in range(4)
