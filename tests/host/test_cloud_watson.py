"""The emulated Watson IoT Platform, judged by curl, IBM's own client, and rule by rule."""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import logging
import socket
import ssl
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ibmiotf.device
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from host.certs import Authority
from host.cloud.http import Answer, Call
from host.cloud.server import Running, serve
from host.cloud.store import Store
from host.cloud.watson import HOST, ORG, PLAIN_PORT, PORT, WatsonCloud

ADMIN_HOST = f"{ORG}.internetofthings.ibmcloud.com"
QUICK_HOST = "quickstart.messaging.internetofthings.ibmcloud.com"
TOKEN = "passw0rd"
KEY, KEY_TOKEN = f"a-{ORG}-a84ps90Ajs", "MP$08VKz!8rXwnR-Q*"  # the seed's
DEVICE = "/api/v0002/device/types/t/devices/d"
EVENT = f"{DEVICE}/events/e"
REQUEST = f"{DEVICE}/commands/+/request"
APPLICATION = "/api/v0002/application/types/t/devices/d"
TOPIC = "iot-2/type/t/id/d/evt/e/fmt/json"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("watson") / "certs")


def organisation(authority: Authority, **options: Any) -> WatsonCloud:
    cloud = WatsonCloud(authority, **options)
    cloud.add_device("t", "d", TOKEN)
    cloud.add_gateway("gwtype", "gw01", "gwtoken")
    cloud.add_api_key(KEY, KEY_TOKEN)
    return cloud


@pytest.fixture
def watson(authority: Authority) -> WatsonCloud:
    return organisation(authority)


@pytest.fixture
def cloud(watson: WatsonCloud) -> Iterator[Running]:
    with serve(watson) as running:
        yield running


@pytest.fixture
def plain(authority: Authority) -> Iterator[Running]:
    with serve(organisation(authority, plain=True)) as running:
        yield running


def basic(user: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


AS_DEVICE = basic("use-token-auth", TOKEN)
AS_GATEWAY = basic(f"g/{ORG}/gwtype/gw01", "gwtoken")
AS_APPLICATION = basic(KEY, KEY_TOKEN)


def ask(
    cloud: WatsonCloud,
    path: str = EVENT,
    user: Mapping[str, str] = AS_DEVICE,
    body: bytes = b"{}",
    kind: str | None = "application/json",
    host: str | None = HOST,
    method: str = "POST",
    **more: Any,
) -> Answer:
    """The cloud's answer to one request, without a socket."""
    fields = CIMultiDict(user)
    if kind is not None:
        fields["Content-Type"] = kind
    if host is not None:
        fields["Host"] = host
    more.setdefault("now", 1000.0)
    return cloud.answer(Call(method, path, fields, body, (), **more))


def client_tls(cloud: Running) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cloud.cloud.authority.ca_pem)


class Connection:
    """One connection of http.client; its Host and SNI are those of the real service."""

    def __init__(self, cloud: Running, tls: bool = True) -> None:
        raw = socket.create_connection((cloud.host, cloud.port), 10)
        self._sock = client_tls(cloud).wrap_socket(raw, server_hostname=HOST) if tls else raw
        self._http = http.client.HTTPConnection(HOST, timeout=10)
        self._http.sock = self._sock
        self._http.auto_open = 0  # a connection that the service closed stays closed

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *reason: object) -> None:
        self._http.close()
        self._sock.close()

    def post(
        self,
        path: str = EVENT,
        user: Mapping[str, str] = AS_DEVICE,
        body: bytes = b"{}",
        host: str = HOST,
    ) -> http.client.HTTPResponse:
        fields = {"Content-Type": "application/json", "Host": host, **user}
        self._http.request("POST", path, body, fields)
        response = self._http.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        return response

    def send(self, path: str, body: bytes) -> None:
        """Send a device's request, whatever is under way."""
        fields = {"Host": HOST, "Content-Type": "application/json", **AS_DEVICE}
        fields["Content-Length"] = str(len(body))
        lines = [f"{name}: {value}" for name, value in fields.items()]
        self._sock.sendall("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body)

    def rest(self) -> bytes:
        """All that comes until the service closes the connection."""
        return b"".join(iter(lambda: self._sock.recv(65536), b""))


def exchange(cloud: Running, request: bytes, tls: bool = True) -> bytes:
    """All that comes back until the service closes the connection."""
    with socket.create_connection((cloud.host, cloud.port), 10) as raw:
        sock = client_tls(cloud).wrap_socket(raw, server_hostname=HOST) if tls else raw
        with sock:
            sock.sendall(request)
            return b"".join(iter(lambda: sock.recv(65536), b""))


def event(version: str = "1.1", host: str | None = HOST) -> bytes:
    """One event as bytes."""
    lines = [f"POST {EVENT} HTTP/{version}", f"Authorization: {AS_DEVICE['Authorization']}"]
    lines += [] if host is None else [f"Host: {host}"]
    lines += ["Content-Type: application/json", "Content-Length: 2"]
    return "\r\n".join([*lines, "", "{}"]).encode()


# -- Clients that nobody here wrote --------------------------------------------------------------


def curl(cloud: Running, url: str, user: str | None, *more: str) -> tuple[int, str]:
    """The status and the body of what curl was answered; led to the emulator by host and port."""
    place = url.split("/")[2]
    name, _, port = place.partition(":")
    real = port or "443"
    line = ["curl", "--silent", "--show-error", "--max-time", "15", "--noproxy", "*"]
    line += ["--connect-to", f"{name}:{real}:{cloud.host}:{cloud.port}"]
    line += ["--cacert", str(cloud.cloud.authority.ca_pem), "--write-out", "\n%{http_code}"]
    line += [] if user is None else ["--user", user]
    line += [*(more or ("--data", "{}", "--header", "Content-Type: application/json")), url]
    done = subprocess.run(line, capture_output=True, timeout=20, text=True)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


SEED_URL = "https://{}.internetofthings.ibmcloud.com{}/api/v0002/{}/types/t/devices/{}/events/e"
PLACES = [
    (ORG, "", "device", "d", f"use-token-auth:{TOKEN}", f"d:{ORG}:t:d"),
    (f"{ORG}.messaging", "", "device", "d", f"use-token-auth:{TOKEN}", f"d:{ORG}:t:d"),
    (f"{ORG}.messaging", ":8883", "device", "d", f"use-token-auth:{TOKEN}", f"d:{ORG}:t:d"),
    (f"{ORG}.messaging", ":8883", "device", "c", f"g/{ORG}/gwtype/gw01:gwtoken", "g:"),
    (ORG, ":443", "device", "c", f"g-{ORG}-gwtype-gw01:gwtoken", f"g:{ORG}:gwtype:gw01"),
    (ORG, "", "application", "d", f"{KEY}:{KEY_TOKEN}", f"a:{ORG}:a84ps90Ajs"),
    ("quickstart", "", "device", "anything", None, "d:quickstart:t:anything"),
    ("quickstart.messaging", ":8883", "device", "x", None, "d:quickstart:t:x"),
    ("quickstart", "", "application", "x", None, "a:quickstart:"),
]


@pytest.mark.parametrize(("org", "port", "side", "device", "user", "client"), PLACES)
def test_curl_to_the_seeds_url_when_authenticated_gets_200(
    cloud: Running, org: str, port: str, side: str, device: str, user: str | None, client: str
) -> None:
    url = SEED_URL.format(org, port, side, device)
    assert curl(cloud, url, user) == (200, "")
    [message] = cloud.messages()
    assert message.topic == f"iot-2/type/t/id/{device}/evt/e/fmt/json"
    assert message.properties["clientId"].startswith(client)


def test_curl_to_port_1883_when_plain_http_gets_200(plain: Running) -> None:
    url = SEED_URL.format(ORG, f":{PLAIN_PORT}", "device", "d").replace("https", "http")
    assert curl(plain, url, f"use-token-auth:{TOKEN}") == (200, "")
    assert [message.topic for message in plain.messages()] == [TOPIC]


def test_curl_when_the_token_is_wrong_or_missing_is_told_so(cloud: Running) -> None:
    url = SEED_URL.format(ORG, "", "device", "d")
    assert curl(cloud, url, "use-token-auth:wrong") == (403, "")
    assert curl(cloud, url, None)[0] == 401
    assert curl(cloud, url + "/more", f"use-token-auth:{TOKEN}")[0] == 404
    assert cloud.messages() == []


def test_curl_of_1_0_when_used_is_refused_with_400(cloud: Running) -> None:
    url = SEED_URL.format(ORG, "", "device", "d")
    more = ("--http1.0", "--data", "{}", "--header", "Content-Type: application/json")
    assert curl(cloud, url, f"use-token-auth:{TOKEN}", *more) == (400, "")


def test_curl_with_a_body_in_chunks_is_accepted(cloud: Running) -> None:
    url = SEED_URL.format(ORG, "", "device", "d")
    more = ("--data", "123", "--header", "Transfer-Encoding: chunked")
    form = ("--header", "Content-Type: text/plain", "--header", "Expect: 100-continue")
    assert curl(cloud, url, f"use-token-auth:{TOKEN}", *more, *form) == (200, "")
    assert [message.payload for message in cloud.messages()] == [b"123"]


@pytest.fixture
def ibm(cloud: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The cloud, at the real service's addresses for everything in this process."""
    look_up = socket.getaddrinfo

    def led(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if str(host).endswith("ibmcloud.com"):
            assert port == PORT
            host, port = cloud.host, cloud.port
        return look_up(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", led)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.cloud.authority.ca_pem))
    monkeypatch.setenv("NO_PROXY", "*")
    return cloud


def ibm_device(org: str = ORG, token: str = TOKEN) -> ibmiotf.device.HttpClient:
    options = {"org": org, "type": "t", "id": "d", "auth-method": "token", "auth-token": token}
    return ibmiotf.device.HttpClient(options, logging.NullHandler())


@pytest.fixture
def ibm_application(monkeypatch: pytest.MonkeyPatch) -> Any:
    # It imports a name that it does not use from a module that Python 3.10 dropped.
    monkeypatch.setitem(sys.modules, "symbol", types.SimpleNamespace(parameters=None))
    application = importlib.import_module("ibmiotf.application")
    options = {"org": ORG, "id": "app", "auth-key": KEY, "auth-token": KEY_TOKEN}
    return application.HttpClient(options, logging.NullHandler())


def test_ibms_device_client_when_its_token_is_right_posts_an_event(ibm: Running) -> None:
    assert ibm_device().publishEvent("e", "json", {"t": 21.5}) == 200
    [message] = ibm.messages(TOPIC)
    assert json.loads(message.payload)["t"] == 21.5


def test_ibms_device_client_with_a_wrong_token_gets_403(ibm: Running) -> None:
    assert ibm_device(token="wrong").publishEvent("e", "json", {}) == 403
    assert ibm.messages() == []


def test_ibms_device_client_on_quickstart_needs_no_registration(ibm: Running) -> None:
    assert ibm_device("quickstart", "none").publishEvent("e", "json", {}) == 200
    assert [message.properties["clientId"] for message in ibm.messages()] == ["d:quickstart:t:d"]


def test_ibms_application_client_sends_events_and_commands(
    ibm: Running, ibm_application: Any
) -> None:
    assert ask(ibm.cloud, REQUEST, body=b"", now=time.time()).status == 204
    assert ibm_application.publishEvent("t", "d", "e", {"t": 1}) == 200
    assert ibm_application.publishCommand("t", "d", "reboot", {"in": 5}) == 200
    answer = ask(ibm.cloud, REQUEST, body=b"", now=time.time())
    assert json.loads(answer.body)["in"] == 5
    topics = [message.topic for message in ibm.messages()]
    assert topics == [TOPIC, "iot-2/type/t/id/d/cmd/reboot/fmt/json"]


# -- The answers, byte by byte -------------------------------------------------------------------


def parts(answer: bytes) -> tuple[bytes, set[bytes], bytes]:
    top, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = top.split(b"\r\n")
    return first, {field for field in fields if not field.startswith(b"Date:")}, body


GOOD_FIELDS = {
    b"Access-Control-Allow-Origin: *",
    b"Access-Control-Allow-Credentials: true",
    b"Keep-Alive: timeout=60",
    b"Cache-Control: no-cache",
    b"Content-Type: text/plain;charset=utf-8",
    b"Content-Length: 0",
    b"Connection: keep-alive",
}


@pytest.mark.parametrize(
    ("path", "line"), [(EVENT, b"HTTP/1.1 200 OK"), (REQUEST, b"HTTP/1.1 204 No content")]
)
def test_good_answer_on_the_wire_has_the_servers_phrase_and_fields(
    watson: WatsonCloud, path: str, line: bytes
) -> None:
    whole = ask(watson, path).whole()
    assert parts(whole) == (line, GOOD_FIELDS, b"")
    assert b"\r\nDate: " in whole


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (400, b"Bad request"),
        (403, b"Not allowed"),
        (404, b"Not found"),
        (405, b"Method not allowed"),
        (413, b"Request too large"),
        (415, b"Unsupported media type"),
        (429, b"Too many requests"),
        (500, b"Server error"),
        (503, b"Server unavailable"),
    ],
)
def test_error_when_answered_has_the_servers_phrase_and_closes(
    watson: WatsonCloud, status: int, phrase: bytes
) -> None:
    answer = watson.error(status)
    first, _, body = parts(answer.whole(False))
    assert first == b"HTTP/1.1 %d %b" % (status, phrase)
    assert answer.closes and not answer.silent
    assert json.loads(body)["Code"] == "CWLNA0404" if status == 404 else body == b""


def test_missing_authorization_when_refused_keeps_the_connection(cloud: Running) -> None:
    with Connection(cloud) as connection:
        first = connection.post(user={})
        assert (first.status, first.headers["Connection"]) == (401, "keep-alive")
        assert first.headers["WWW-Authenticate"].startswith('Basic realm="')
        assert first.headers["Content-Type"].startswith("text/") and first.body
        assert connection.post().status == 200


def test_refusal_on_a_connection_closes_it(cloud: Running) -> None:
    with Connection(cloud) as connection:
        first = connection.post(EVENT + "/x")
        assert (first.status, first.headers["Connection"]) == (404, "close")
        with pytest.raises((http.client.NotConnected, OSError)):
            connection.post()


def test_throttled_device_reads_429_and_when_to_come_back(cloud: Running) -> None:
    cloud.faults.add("throttle(7)")
    with Connection(cloud) as connection:
        answer = connection.post()
    assert (answer.status, answer.reason) == (429, "Too many requests")
    assert answer.headers["Retry-After"] == "7"
    assert cloud.messages() == []


# -- The server's checks, row by row (PROTOCOLS 4.3) ---------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "TRACE"])
def test_method_other_than_post_gets_405(watson: WatsonCloud, method: str) -> None:
    assert ask(watson, method=method).status == 405


def test_http_1_0_when_used_gets_400_and_method_comes_first(
    cloud: Running, watson: WatsonCloud
) -> None:
    answer = exchange(cloud, event(version="1.0"))
    assert answer.startswith(b"HTTP/1.1 400 Bad request\r\n")
    assert ask(watson, method="PATCH", version=(1, 0)).status == 405
    assert ask(watson, method="GET", version=(1, 0)).status == 400
    assert cloud.messages() == []


def test_request_without_a_host_gets_400(cloud: Running, watson: WatsonCloud) -> None:
    assert exchange(cloud, event(host=None)).startswith(b"HTTP/1.1 400 Bad request\r\n")
    assert ask(watson, host=None, user={}).status == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:443", "", ".example.com"])
def test_host_without_an_organisation_is_closed_without_an_answer(
    cloud: Running, host: str
) -> None:
    assert exchange(cloud, event(host=host)) == b""
    assert cloud.messages() == []


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Basic",
        "Basic ",
        "Bearer abc",
        "Basic a:b",
        AS_DEVICE["Authorization"] + "!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:x").decode(),
        AS_DEVICE["Authorization"] + " more",
        AS_DEVICE["Authorization"].rstrip("="),
        "Basic" + AS_DEVICE["Authorization"][6:],
    ],
)
def test_malformed_authorization_gets_400(watson: WatsonCloud, field: str) -> None:
    assert ask(watson, user={"Authorization": field}).status == 400


def test_authorization_scheme_in_any_case_is_accepted(watson: WatsonCloud) -> None:
    field = AS_DEVICE["Authorization"].replace("Basic", "BASIC")
    assert ask(watson, user={"Authorization": field}).status == 200


def test_missing_authorization_comes_before_everything_about_the_path(
    watson: WatsonCloud,
) -> None:
    for wrong in ({"method": "GET"}, {"path": "/"}, {"body": b""}, {"host": f"abc123.{HOST[7:]}"}):
        assert ask(watson, user={}, **wrong).status == 401


def test_another_user_on_an_authenticated_connection_gets_403_and_close(cloud: Running) -> None:
    with Connection(cloud) as connection:
        assert connection.post().status == 200
        answer = connection.post(f"{APPLICATION}/events/e", AS_APPLICATION)
        assert (answer.status, answer.headers["Connection"]) == (403, "close")
    assert len(cloud.messages()) == 1


def test_another_user_is_told_before_a_mistake_in_the_path(watson: WatsonCloud) -> None:
    notes: dict[str, Any] = {}
    assert ask(watson, connection=notes).status == 200
    assert ask(watson, "/", AS_GATEWAY, connection=notes).status == 403


def test_pipelined_request_closes_the_connection_without_an_answer(cloud: Running) -> None:
    assert exchange(cloud, event() + event()) == b""
    assert cloud.messages() == []
    with Connection(cloud) as connection:  # one after the other is as it should be
        assert [connection.post().status for _ in range(3)] == [200, 200, 200]


def test_body_at_the_limit_is_accepted_and_one_more_gets_413(cloud: Running) -> None:
    with Connection(cloud) as connection:
        assert connection.post(body=b"x" * 131072).status == 200
        assert connection.post(body=b"x" * 131073).status == 413
    assert [len(message.payload) for message in cloud.messages()] == [131072]


PATHS = [
    (EVENT, 200),
    ("/api//v0002/device/types/t//devices/d/events/e", 200),
    (EVENT + "/", 200),
    (EVENT + "?whatever=%zz", 200),
    (f"{DEVICE}/events/%65", 200),
    ("//api/v0002/device/types/t/devices/d/events/e", 404),
    (EVENT + "/x", 404),
    (f"{DEVICE}/events", 404),
    (f"{DEVICE}/events/+", 404),
    (f"{DEVICE}/events/%2B", 404),
    (f"{DEVICE}/events/a%23", 404),
    (f"{DEVICE}/events/a%00", 404),
    (f"{DEVICE}/events/a%2Fb", 404),
    (f"{DEVICE}/events/%zz", 404),
    (f"{DEVICE}/events/%ff", 404),
    ("/api/v0002/device/types/+/devices/d/events/e", 404),
    ("/api/v0002/device/types/t/devices/+/events/e", 404),
    (f"{DEVICE}/commands/c/request", 204),
    (f"{DEVICE}/commands/+/request", 204),
    ("/api/v0002/device/types/+/devices/d/commands/c/request", 404),
    ("/api/v0002/device/types/t/devices/+/commands/c/request", 404),
    (f"{DEVICE}/events/e/request", 404),
    (f"{DEVICE}/commands/c/invalid", 404),
    (f"{DEVICE}/commands/c/invalid/request", 404),
    (f"{DEVICE}/states/s", 404),
    (f"{APPLICATION}/commands/c/request", 404),
    ("/api/v0001/device/types/t/devices/d/events/e", 404),
    ("/api/v0002/Device/types/t/devices/d/events/e", 404),
    ("/api/v0002/device/type/t/devices/d/events/e", 404),
    ("/api/v0002/device/types/t%20x/devices/d/events/e", 404),
    ("/api/v0002/device/types/t/devices/d:1/events/e", 404),
    (f"/api/v0002/device/types/{'t' * 37}/devices/d/events/e", 404),
    (f"/api/v0002/device/types/t/devices/{'d' * 37}/events/e", 404),
    ("/", 404),
    ("*", 404),
    ("api/v0002/device/types/t/devices/d/events/e", 404),
]


@pytest.mark.parametrize(("path", "status"), PATHS)
def test_path_is_judged_by_the_servers_rules(watson: WatsonCloud, path: str, status: int) -> None:
    assert ask(watson, path).status == status


def test_identifier_of_36_characters_of_every_kind_is_accepted(watson: WatsonCloud) -> None:
    name = "Az09_.-" + "x" * 29
    watson.add_device(name, name, TOKEN)
    path = f"/api/v0002/device/types/{name}/devices/{name}/events/e"
    assert len(name) == 36 and ask(watson, path).status == 200


def test_empty_event_gets_400_before_its_content_type_is_looked_at(watson: WatsonCloud) -> None:
    assert ask(watson, body=b"", kind=None).status == 400


FORMATS = [
    ("application/json", "json"),
    ("application/json; charset=utf-8", "json"),
    ("APPLICATION/JSON", "json"),
    ("application/jsonfoo", "json"),
    ("application/xml", "xml"),
    ("text/plain", "text"),
    ("text/plain;charset=utf-8", "text"),
    ("text/csv", "text"),
    ("text/xml", "text"),
    ("application/octet-stream", "bin"),
    ("application/x-www-form-urlencoded", None),
    ("image/png", None),
    ("text/", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("kind", "form"), FORMATS)
def test_content_type_names_the_format_or_gets_415(
    watson: WatsonCloud, kind: str | None, form: str | None
) -> None:
    assert ask(watson, kind=kind, body=b"{not JSON").status == (415 if form is None else 200)
    topics = [message.topic for message in watson.store.messages()]
    assert topics == ([f"iot-2/type/t/id/d/evt/e/fmt/{form}"] if form else [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 204),
        ("{}", 204),
        (" { } \n", 204),
        ('{"waitTimeSecs": 0}', 204),
        ('{"waitTimeSecs": 3600}', 204),
        ('{"waitTimeSecs": 3601}', 400),
        ('{"waitTimeSecs": -2}', 400),
        ('{"waitTimeSecs": 2.1}', 400),
        ('{"waitTimeSecs": "2"}', 400),
        ('{"waitTimeSecs": true}', 400),
        ('{"waitTimeSecs": 01}', 400),
        ('{"waitTimeSecss": 0}', 400),
        ('{"waitTimeSecs":1,"x":2}', 400),
        ('{"waitTimeSecs":1,"waitTimeSecs":1}', 400),
        ("{bad", 400),
        ("[]", 400),
        ("[" * 100000, 400),
    ],
)
def test_command_request_with_a_body_waits_for_0_to_3600_seconds(
    watson: WatsonCloud, body: str, status: int
) -> None:
    assert ask(watson, REQUEST, body=body.encode(), kind=None).status == status


ELSEWHERE = "abc123.messaging.internetofthings.ibmcloud.com"
REFUSED: dict[str, dict[str, Any]] = {
    "wrong token": {"user": basic("use-token-auth", "wrong")},
    "no token": {"user": basic("use-token-auth", "")},
    "another user": {"user": basic("token-auth", TOKEN)},
    "unknown device": {"path": EVENT.replace("devices/d", "devices/d2")},
    "unknown type": {"path": EVENT.replace("types/t", "types/t2")},
    "unknown organisation": {"host": ELSEWHERE},
    "another domain": {"host": f"{ORG}.example.com"},
    "gateway as a device": {
        "path": "/api/v0002/device/types/gwtype/devices/gw01/events/e",
        "user": basic("use-token-auth", "gwtoken"),
    },
    "device as a gateway": {"user": basic(f"g/{ORG}/t/d", TOKEN)},
    "gateway, wrong token": {"user": basic(f"g/{ORG}/gwtype/gw01", TOKEN)},
    "gateway of another organisation": {"user": basic("g/abc123/gwtype/gw01", "gwtoken")},
    "gateway at another organisation": {"user": AS_GATEWAY, "host": ELSEWHERE},
    "gateway without id": {"user": basic(f"g/{ORG}/gwtype", "gwtoken")},
    "gateway with mixed separators": {"user": basic(f"g-{ORG}/gwtype/gw01", "gwtoken")},
    "gateway with a dash in its type, dashes between": {
        "user": basic(f"g-{ORG}-gw-type-gw01", "gwtoken")
    },
    "user with a g and no more": {"user": basic("g", "gwtoken")},
    "device sends a command": {"path": f"{DEVICE}/commands/c"},
    "gateway sends a command": {"path": f"{DEVICE}/commands/c", "user": AS_GATEWAY},
    "device on an application's path": {"path": f"{APPLICATION}/events/e"},
    "API key on a device's path": {"user": AS_APPLICATION},
    "API key, wrong token": {
        "path": f"{APPLICATION}/events/e",
        "user": basic(KEY, TOKEN),
    },
    "API key of another organisation": {
        "path": f"{APPLICATION}/events/e",
        "user": basic("a-abc123-a84ps90Ajs", KEY_TOKEN),
    },
    "application, unknown device": {
        "path": f"{APPLICATION}x/events/e",
        "user": AS_APPLICATION,
    },
    "Quickstart command": {
        "path": f"{APPLICATION}/commands/c",
        "user": {},
        "host": QUICK_HOST,
    },
    "Quickstart command request": {"path": REQUEST, "user": {}, "host": QUICK_HOST},
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED)
def test_caller_without_the_right_gets_403_and_nothing_is_kept(
    watson: WatsonCloud, wrong: dict[str, Any]
) -> None:
    watson.add_gateway("gw-type", "gw01", "gwtoken")
    answer = ask(watson, **wrong)
    assert (answer.status, answer.body) == (403, b"")
    assert watson.store.messages() == []


def test_method_is_looked_at_before_the_body_and_that_before_the_path(watson: WatsonCloud) -> None:
    long = b"x" * 131073
    assert ask(watson, method="GET", body=long).status == 405
    assert ask(watson, "/", body=long).status == 413


def test_token_is_looked_at_last_of_all(watson: WatsonCloud) -> None:
    stranger = basic("use-token-auth", "wrong")
    assert ask(watson, "/", stranger).status == 404
    assert ask(watson, user=stranger, body=b"").status == 400
    assert ask(watson, user=stranger, kind="image/png").status == 415
    assert ask(watson, user=stranger, body=b"x" * 131073).status == 413
    assert ask(watson, REQUEST, stranger, b"{bad").status == 400


OTHERS: dict[str, dict[str, Any]] = {
    "another device": {"path": EVENT.replace("devices/d", "devices/d2")},
    "another type": {"path": EVENT.replace("types/t", "types/t2")},
    "another organisation": {"host": QUICK_HOST},
    "another class": {"path": f"{APPLICATION}/events/e"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_reused_connection_when_for_another_client_gets_403(
    cloud: Running, other: dict[str, Any]
) -> None:
    cloud.cloud.add_device("t", "d2", TOKEN)
    cloud.cloud.add_device("t2", "d", TOKEN)
    with Connection(cloud) as connection:
        assert connection.post().status == 200
        answer = connection.post(**other)
        assert (answer.status, answer.headers["Connection"]) == (403, "close")
    assert len(cloud.messages()) == 1


def test_quickstart_connection_when_reused_by_another_device_gets_403(cloud: Running) -> None:
    with Connection(cloud) as connection:
        assert connection.post(user={}, host=QUICK_HOST).status == 200
        other = EVENT.replace("devices/d", "devices/d2")
        assert connection.post(other, user={}, host=QUICK_HOST).status == 403


def test_gateway_on_one_connection_speaks_for_many_children(cloud: Running) -> None:
    with Connection(cloud) as connection:
        for child in ("c1", "c2", "c1"):
            path = f"/api/v0002/device/types/child/devices/{child}/events/status"
            assert connection.post(path, AS_GATEWAY).status == 200
        own = "/api/v0002/device/types/gwtype/devices/gw01/events/status"
        assert connection.post(own, AS_GATEWAY).status == 200
    devices = [message.device for message in cloud.messages()]
    assert devices == ["child/c1", "child/c2", "child/c1", "gwtype/gw01"]


def test_gateways_child_when_registered_by_an_event_cannot_log_in_itself(
    watson: WatsonCloud,
) -> None:
    path = "/api/v0002/device/types/child/devices/c1/events/status"
    assert ask(watson, path, AS_GATEWAY).status == 200
    for token in ("", "None", "gwtoken"):
        assert ask(watson, path, basic("use-token-auth", token)).status == 403
    application = path.replace("device/", "application/", 1)
    assert ask(watson, application, AS_APPLICATION).status == 200


def test_gateway_when_it_speaks_for_another_gateway_gets_403(watson: WatsonCloud) -> None:
    watson.add_gateway("gwtype", "gw02")
    path = "/api/v0002/device/types/gwtype/devices/gw02/events/status"
    assert ask(watson, path, AS_GATEWAY).status == 403


def test_error_fault_of_503_is_the_back_end_that_is_away(cloud: Running) -> None:
    cloud.faults.add("error(503)")
    with Connection(cloud) as connection:
        answer = connection.post()
    assert (answer.status, answer.reason) == (503, "Server unavailable")


# -- Who may: tokens, removal, names -------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "password", "field"),
    [
        ("use-token-auth", "passw0rd", "dXNlLXRva2VuLWF1dGg6cGFzc3cwcmQ="),
        ("g/myorg1/gwtype/gw01", "gwtoken", "Zy9teW9yZzEvZ3d0eXBlL2d3MDE6Z3d0b2tlbg=="),
        ("g-myorg1-gwtype-gw01", "gwtoken", "Zy1teW9yZzEtZ3d0eXBlLWd3MDE6Z3d0b2tlbg=="),
        ("use-token-auth", "a:b:c", None),
    ],
)
def test_reference_authorization_is_accepted(
    watson: WatsonCloud, user: str, password: str, field: str | None
) -> None:
    if password == "a:b:c":
        watson.add_device("t", "d", password)
    fields = basic(user, password)
    assert field is None or fields == {"Authorization": f"Basic {field}"}
    assert ask(watson, user=fields).status == 200


def test_reference_authorization_of_an_application_sends_a_command(watson: WatsonCloud) -> None:
    field = "Basic YS1teW9yZzEtYTg0cHM5MEFqczpNUCQwOFZLeiE4clh3blItUSo="
    path = f"{APPLICATION}/commands/reboot"
    assert ask(watson, path, {"Authorization": field}).status == 200
    [message] = watson.store.messages()
    assert message.topic == "iot-2/type/t/id/d/cmd/reboot/fmt/json"
    assert message.properties == {"clientId": f"a:{ORG}:a84ps90Ajs"}


@given(token=st.text(min_size=1).filter(lambda text: text.isprintable()), tail=st.text(min_size=1))
def test_any_token_when_given_whole_is_accepted_and_no_other_is(
    property_cloud: WatsonCloud, token: str, tail: str
) -> None:
    property_cloud.add_device("t", "d", token)
    assert ask(property_cloud, user=basic("use-token-auth", token)).status == 200
    assert ask(property_cloud, user=basic("use-token-auth", token + tail)).status == 403
    assert ask(property_cloud, user=basic("use-token-auth", token[:-1])).status == 403


@pytest.fixture(scope="module")
def property_cloud(authority: Authority) -> WatsonCloud:
    return organisation(authority)


def test_removed_device_is_refused_on_a_kept_connection(cloud: Running) -> None:
    with Connection(cloud) as connection:
        assert connection.post().status == 200
        cloud.cloud.remove_device("t", "d")
        assert connection.post().status == 403


def test_disabled_device_when_enabled_again_may_publish(watson: WatsonCloud) -> None:
    watson.disable_device("t", "d")
    assert ask(watson).status == 403
    assert ask(watson, user=AS_GATEWAY).status == 403
    assert ask(watson, f"{APPLICATION}/events/e", AS_APPLICATION).status == 403
    watson.enable_device("t", "d")
    assert ask(watson).status == 200


def test_removed_api_key_is_refused(watson: WatsonCloud) -> None:
    watson.remove_api_key(KEY)
    assert ask(watson, f"{APPLICATION}/events/e", AS_APPLICATION).status == 403


def test_random_tokens_and_keys_have_the_documented_form_and_work(watson: WatsonCloud) -> None:
    token, other = watson.add_device("t", "d9"), watson.add_gateway("t", "g9")
    key, key_token = watson.add_api_key()
    assert len({token, other, key_token}) == 3 and len(token) == 18
    assert key.startswith(f"a-{ORG}-") and len(key) == len(KEY)
    path = EVENT.replace("devices/d", "devices/d9")
    assert ask(watson, path, basic("use-token-auth", token)).status == 200
    assert ask(watson, path, basic(f"g-{ORG}-t-g9", other)).status == 200
    application = path.replace("device/", "application/", 1)
    assert ask(watson, application, basic(key, key_token)).status == 200


MISTAKES: dict[str, Callable[[WatsonCloud], object]] = {
    "space in a type": lambda cloud: cloud.add_device("my type", "d"),
    "long id": lambda cloud: cloud.add_gateway("t", "d" * 37),
    "empty id": lambda cloud: cloud.add_device("t", ""),
    "empty token": lambda cloud: cloud.add_device("t", "d", ""),
    "key of another organisation": lambda cloud: cloud.add_api_key("a-abc123-xyz"),
    "unknown format": lambda cloud: cloud.send_command("t", "d", "c", "yaml", b"1"),
    "long organisation": lambda cloud: WatsonCloud(cloud.authority, org="myorg12"),
    "Quickstart's organisation": lambda cloud: WatsonCloud(cloud.authority, org="quickstart"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_name_that_the_platform_does_not_have_is_a_value_error(
    watson: WatsonCloud, mistake: Callable[[WatsonCloud], object]
) -> None:
    with pytest.raises(ValueError):
        mistake(watson)


def test_token_is_in_no_file_and_no_repr(authority: Authority, tmp_path: Path) -> None:
    store = Store(tmp_path / "cloud.db")
    cloud = WatsonCloud(authority, store)
    token = cloud.add_device("t", "d")
    key, key_token = cloud.add_api_key()
    assert ask(cloud, user=basic("use-token-auth", token)).status == 200
    store.close()
    content = (tmp_path / "cloud.db").read_bytes()
    assert b"iot-2/type/t" in content and key.encode() in content
    assert token.encode() not in content and key_token.encode() not in content
    assert token not in repr(vars(cloud))


def test_three_ports_when_on_one_store_are_one_organisation(authority: Authority) -> None:
    store = Store()
    first = organisation(authority, store=store)
    plain = WatsonCloud(authority, store, plain=True)
    with serve(first) as port443, serve(plain) as port1883:
        with Connection(port443) as connection:
            assert connection.post().status == 200
        with Connection(port1883, tls=False) as connection:
            assert connection.post().status == 200
        assert port443.messages() == port1883.messages() and len(port443.messages()) == 2


# -- Commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("json", "application/json"),
        ("text", "text/plain;charset=utf-8"),
        ("bin", "application/octet-stream"),
        ("xml", "application/xml"),
    ],
)
def test_command_when_asked_for_by_name_comes_with_its_content_type(
    watson: WatsonCloud, form: str, kind: str
) -> None:
    path = f"{DEVICE}/commands/reboot/request"
    assert ask(watson, path, body=b"").status == 204
    assert watson.send_command("t", "d", "halt", form, b"no") == 0
    assert watson.send_command("t", "d", "reboot", form, b"\0now") == 1
    answer = ask(watson, path, body=b'{"waitTimeSecs": 5}')
    fields = dict(answer.fields)
    assert (answer.status, answer.body, fields["Content-Type"]) == (200, b"\0now", kind)
    assert not [name for name in fields if name.startswith("X-")]
    assert ask(watson, path, body=b"").status == 204


def test_commands_for_a_wildcard_come_in_order_with_their_names(watson: WatsonCloud) -> None:
    assert ask(watson, REQUEST, body=b"").status == 204
    for name in ("a", "b"):
        assert watson.send_command("t", "d", name, "json", name.encode()) == 1
    answers = [ask(watson, REQUEST, body=b"") for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [
        (200, b"a"),
        (200, b"b"),
        (204, b""),
    ]
    assert [dict(answer.fields).get("X-commandId") for answer in answers] == ["a", "b", None]


def test_command_sent_before_the_first_request_is_lost(watson: WatsonCloud) -> None:
    assert watson.send_command("t", "d", "c", "json", b"{}") == 0
    assert ask(watson, REQUEST, body=b"").status == 204


@pytest.mark.parametrize(("hours", "status"), [(29, 200), (31, 204)])
def test_queue_of_commands_lives_for_30_hours(
    watson: WatsonCloud, hours: int, status: int
) -> None:
    assert ask(watson, REQUEST, body=b"", now=0.0).status == 204
    watson.send_command("t", "d", "c", "json", b"{}")
    assert ask(watson, REQUEST, body=b"", now=hours * 3600.0).status == status


def test_gateway_with_wildcards_learns_for_whom_a_command_is(watson: WatsonCloud) -> None:
    path = "/api/v0002/device/types/+/devices/+/commands/+/request"
    assert ask(watson, path, AS_GATEWAY, b"").status == 204
    assert ask(watson, REQUEST, body=b"").status == 204
    command = f"{APPLICATION}/commands/reboot"
    assert ask(watson, command, AS_APPLICATION, b"now", "text/plain").status == 200
    fields = dict(ask(watson, path, AS_GATEWAY, b"").fields)
    named = {name: value for name, value in fields.items() if name.startswith("X-")}
    assert named == {"X-deviceType": "t", "X-deviceId": "d", "X-commandId": "reboot"}
    assert ask(watson, REQUEST, body=b"").body == b"now"  # the device has its own queue


def test_command_over_the_wire_is_delivered_once(cloud: Running) -> None:
    with Connection(cloud) as connection:
        assert connection.post(REQUEST, body=b"").status == 204
        cloud.cloud.send_command("t", "d", "c", "json", b'{"a":1}')
        answer = connection.post(REQUEST, body=b"")
        assert (answer.status, answer.body) == (200, b'{"a":1}')
        again = connection.post(REQUEST, body=b"")
        assert (again.status, again.headers["Content-Length"]) == (204, "0")


def test_command_request_waits_for_as_long_as_it_says(cloud: Running) -> None:
    with Connection(cloud) as connection:
        begin = time.monotonic()
        assert connection.post(REQUEST, body=b'{"waitTimeSecs":1}').status == 204
        assert 1 <= time.monotonic() - begin < 3
        cloud.cloud.send_command("t", "d", "c", "json", b"1")
        begin = time.monotonic()
        assert connection.post(REQUEST, body=b'{"waitTimeSecs":60}').body == b"1"
        assert time.monotonic() - begin < 5


def test_command_that_comes_during_a_wait_ends_it_and_others_are_served_meanwhile(
    cloud: Running,
) -> None:
    with Connection(cloud) as first, Connection(cloud) as second:
        assert first.post(REQUEST, body=b"").status == 204
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(first.post, REQUEST, body=b'{"waitTimeSecs":9}')
            assert second.post().status == 200
            assert not waiting.done()
            cloud.cloud.send_command("t", "d", "c", "json", b"1")
            assert waiting.result(5).body == b"1"


def test_client_that_goes_while_it_waits_leaves_the_command_in_its_queue(cloud: Running) -> None:
    with Connection(cloud) as connection:
        assert connection.post(REQUEST, body=b"").status == 204
        connection.send(REQUEST, b'{"waitTimeSecs":60}')
        time.sleep(0.1)
    time.sleep(0.2)
    cloud.cloud.send_command("t", "d", "c", "json", b"1")
    time.sleep(0.1)
    with Connection(cloud) as connection:
        assert connection.post(REQUEST, body=b"").body == b"1"


def test_request_sent_during_a_wait_closes_the_connection_without_an_answer(
    cloud: Running,
) -> None:
    with Connection(cloud) as connection:
        connection.send(REQUEST, b'{"waitTimeSecs":60}')
        time.sleep(0.1)
        connection.send(EVENT, b"{}")
        assert connection.rest() == b""
    assert cloud.messages() == []


# -- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [HOST, ADMIN_HOST, QUICK_HOST, "localhost"])
def test_server_certificate_is_good_for_every_organisation(cloud: Running, name: str) -> None:
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as raw,
        client_tls(cloud).wrap_socket(raw, server_hostname=name) as tls,
    ):
        assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_handshake_without_a_server_name_fails(cloud: Running) -> None:
    context = client_tls(cloud)
    context.check_hostname = False
    with (
        socket.create_connection((cloud.host, cloud.port), 10) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        context.wrap_socket(raw)


def test_certificate_of_another_cloud_in_the_same_folder_stays_as_it_is(
    authority: Authority,
) -> None:
    others = authority.server()
    before = others.cert_der.read_bytes()
    WatsonCloud(authority)
    assert authority.server() == others and others.cert_der.read_bytes() == before
