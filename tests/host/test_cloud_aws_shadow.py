"""The emulated device shadows, judged by boto3 and curl, and rule by rule."""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.certs import Authority
from host.cloud.aws import ENDPOINT, PORT, AWSCloud
from host.cloud.aws_registry import Principal
from host.cloud.http import Call
from host.cloud.server import Running, serve
from host.cloud.sigv4 import Secret
from host.cloud.store import Store

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOON = 1736944496
PATH = "/things/lamp-1/shadow"
HOURS = 3600


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("shadow") / "certs")


class Clock:
    """The service's clock, in the hand of the test."""

    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(authority: Authority, clock: Clock) -> Iterator[Running]:
    service = AWSCloud(authority)
    service.add_thing("lamp-1")
    with serve(service, clock=clock) as running:
        yield running


@pytest.fixture
def signed(authority: Authority, cloud: Running) -> Iterator[Running]:
    """Port 443 of the same account."""
    service = AWSCloud(authority, cloud.cloud.store, login="sigv4")
    service.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY))
    with serve(service) as running:
        yield running


class Reply:
    """What http.client read."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.json = json.loads(self.body)


def exchange(
    cloud: Running, method: str, target: str = PATH, body: object = None, thing: str = "lamp-1"
) -> Reply:
    """One exchange with the certificate of `thing`; a body that is not bytes goes as JSON."""
    context = ssl.create_default_context(cafile=cloud.cloud.authority.ca_pem)
    pair = cloud.cloud.authority.device(thing)
    context.load_cert_chain(pair.cert_pem, pair.key_pem)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = http.client.HTTPSConnection("localhost", cloud.port, context=context, timeout=10)
    try:
        connection.request(method, target, data)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def update(cloud: Running, state: object, target: str = PATH, **extra: object) -> Reply:
    return exchange(cloud, "POST", target, {"state": state, **extra})


def state_of(cloud: Running, target: str = PATH) -> dict:
    return exchange(cloud, "GET", target).json["state"]


def assert_rejected(reply: Reply, status: int, name: str, message: str) -> None:
    assert (reply.status, reply.headers["x-amzn-ErrorType"]) == (status, f"{name}:")
    assert (reply.json["code"], reply.json["message"]) == (status, message)


# -- Clients that nobody here wrote --------------------------------------------------------------


def iot_data(cloud: Running):
    return boto3.session.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1"
    ).client(
        "iot-data",
        endpoint_url=f"https://localhost:{cloud.port}",
        verify=str(cloud.cloud.authority.ca_pem),
        config=botocore.config.Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def test_boto3_when_it_updates_gets_and_deletes_a_shadow_reads_every_answer(
    signed: Running,
) -> None:
    client = iot_data(signed)
    for which in ({}, {"shadowName": "cfg$1:a_b-c"}):
        wish = json.dumps({"state": {"desired": {"on": True}}, "clientToken": "t"})
        answer = client.update_thing_shadow(thingName="lamp-1", payload=wish, **which)
        document = json.loads(answer["payload"].read())
        assert document["state"] == {"desired": {"on": True}}
        assert (document["version"], document["clientToken"]) == (1, "t")
        assert abs(document["timestamp"] - time.time()) < 60
        document = json.loads(
            client.get_thing_shadow(thingName="lamp-1", **which)["payload"].read()
        )
        assert document["state"] == {"desired": {"on": True}, "delta": {"on": True}}
        answer = client.delete_thing_shadow(thingName="lamp-1", **which)
        assert json.loads(answer["payload"].read())["version"] == 1
        with pytest.raises(client.exceptions.ResourceNotFoundException, match="No shadow exists"):
            client.get_thing_shadow(thingName="lamp-1", **which)


def test_boto3_when_the_version_is_stale_reads_a_conflict(signed: Running) -> None:
    client = iot_data(signed)
    payload = json.dumps({"state": {"reported": {"a": 1}}, "version": 4})
    with pytest.raises(client.exceptions.ConflictException, match="Version conflict"):
        client.update_thing_shadow(thingName="lamp-1", payload=payload)


def test_boto3_when_it_lists_by_twos_pages_through_all_named_shadows(signed: Running) -> None:
    client = iot_data(signed)
    names = sorted(["a", "b", "$c", "d:1", "e_2"])
    for name in [None, *reversed(names)]:
        which = {"shadowName": name} if name else {}
        client.update_thing_shadow(thingName="lamp-1", payload='{"state":{}}', **which)
    found: list[str] = []
    token: dict[str, str] = {}
    for _ in range(3):
        page = client.list_named_shadows_for_thing(thingName="lamp-1", pageSize=2, **token)
        found += page["results"]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else {}
    assert found == names and token == {}
    assert abs(page["timestamp"] - time.time()) < 60
    client.delete_thing_shadow(thingName="lamp-1", shadowName="$c")
    page = client.list_named_shadows_for_thing(thingName="lamp-1")
    assert page["results"] == [name for name in names if name != "$c"]
    assert client.list_named_shadows_for_thing(thingName="nobody")["results"] == []


def test_boto3_when_the_policy_names_one_operation_may_do_no_other(signed: Running) -> None:
    allow = ["$aws/things/lamp-1/shadow/get", "$aws/things/+/shadow/name/cfg/update"]
    signed.cloud.registry.add_key(ACCESS_KEY, Secret(SECRET_KEY), allow)
    client = iot_data(signed)
    client.update_thing_shadow(thingName="lamp-1", shadowName="cfg", payload='{"state":{}}')
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_thing_shadow(thingName="lamp-1")
    for refused in (
        lambda: client.get_thing_shadow(thingName="lamp-1", shadowName="cfg"),
        lambda: client.update_thing_shadow(thingName="lamp-1", payload='{"state":{}}'),
        lambda: client.delete_thing_shadow(thingName="lamp-1"),
        lambda: client.list_named_shadows_for_thing(thingName="lamp-1"),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            refused()
        assert caught.value.response["Error"]["Code"] == "ForbiddenException"
        assert caught.value.response["Error"]["Message"] == "Forbidden"


def test_curl_with_a_certificate_when_it_updates_and_gets_reads_the_shadow(
    authority: Authority, cloud: Running
) -> None:
    pair = authority.device("lamp-1")
    line = (
        f"curl --silent --tlsv1.2 --connect-to {ENDPOINT}:{PORT}:127.0.0.1:{cloud.port}"
        f" --cacert {shlex.quote(str(authority.ca_pem))} --cert {shlex.quote(str(pair.cert_pem))}"
        f" --key {shlex.quote(str(pair.key_pem))}"
    )
    url = f'"https://{ENDPOINT}:{PORT}{PATH}"'
    data = r'--request POST --data "{ \"state\": { \"reported\": { \"t\": 21.5 } } }"'
    for words in (f"{line} {data} {url}", f"{line} {url}"):
        done = subprocess.run(words, shell=True, capture_output=True, timeout=20)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["state"] == {"reported": {"t": 21.5}} and document["version"] == 1


@pytest.mark.parametrize("service", ["iotdata", "iotdevicegateway"])
def test_curl_with_its_own_sigv4_when_it_publishes_and_updates_is_accepted(
    authority: Authority, signed: Running, service: str
) -> None:
    line = (
        f'curl --silent --aws-sigv4 "aws:amz:us-east-1:{service}"'
        ' --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
        f" --connect-to {ENDPOINT}:443:127.0.0.1:{signed.port}"
        f" --cacert {shlex.quote(str(authority.ca_pem))} --request POST"
    )
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def run(words: str, secret_key: str = SECRET_KEY) -> dict:
        environment = {**keys, "AWS_SECRET_ACCESS_KEY": secret_key}
        path = {"PATH": str(Path(shutil.which("curl") or "").parent)}
        done = subprocess.run(
            words, shell=True, capture_output=True, timeout=20, env={**environment, **path}
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    hello = f'{line} --data "hello" "https://{ENDPOINT}/topics/topic?qos=1"'
    assert run(hello)["message"] == "OK"
    assert [message.payload for message in signed.messages("topic")] == [b"hello"]
    assert "does not match" in run(hello, "wrong")["message"]
    assert "scoped" in run(hello.replace(service, "iot-jobs-data"))["message"]
    state = r'--data "{ \"state\": { \"desired\": { \"on\": true } } }"'
    document = run(f'{line} {state} "https://{ENDPOINT}{PATH}?name=cfg"')
    assert document["state"] == {"desired": {"on": True}}


# -- Documents -----------------------------------------------------------------------------------


def test_update_when_accepted_answers_the_fields_of_the_request_only(
    cloud: Running, clock: Clock
) -> None:
    update(cloud, {"desired": {"a": 1}})
    clock.now += 5
    reply = update(cloud, {"reported": {"t": 1, "l": [1, {"x": 2}]}}, clientToken="c1")
    stamp = {"timestamp": NOON + 5}
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert reply.json == {
        "state": {"reported": {"t": 1, "l": [1, {"x": 2}]}},
        "metadata": {"reported": {"t": stamp, "l": [stamp, {"x": stamp}]}},
        "version": 2,
        "timestamp": NOON + 5,
        "clientToken": "c1",
    }


def test_get_when_there_is_a_shadow_has_state_delta_and_the_time_of_each_attribute(
    cloud: Running, clock: Clock
) -> None:
    update(cloud, {"desired": {"a": 1, "b": {"x": 1}}, "reported": {"a": 1}})
    clock.now += 7
    update(cloud, {"desired": {"b": {"y": 2}}})
    clock.now += 1
    reply = exchange(cloud, "GET")
    first, second = {"timestamp": NOON}, {"timestamp": NOON + 7}
    assert reply.json == {
        "state": {
            "desired": {"a": 1, "b": {"x": 1, "y": 2}},
            "reported": {"a": 1},
            "delta": {"b": {"x": 1, "y": 2}},
        },
        "metadata": {
            "desired": {"a": first, "b": {"x": first, "y": second}},
            "reported": {"a": first},
        },
        "version": 2,
        "timestamp": NOON + 8,
    }


@pytest.mark.parametrize(
    ("desired", "reported", "delta"),
    [
        (
            {"a": 1, "b": {"x": 1, "y": 2}, "l": [1, 2]},
            {"a": 1, "b": {"x": 1, "y": 3}, "l": [1]},
            {"b": {"y": 2}, "l": [1, 2]},
        ),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": 2}),
        ({"a": 1}, {"a": 1, "b": 2}, None),
        ({"a": {"b": 1}}, {"a": 1}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": True}, {"a": 1}),
        ({"a": [1]}, {"a": [True]}, {"a": [1]}),
        ({"a": 1}, {"a": 1.0}, None),
        ({"a": "é"}, {"a": "e"}, {"a": "é"}),
        ({"a": 1}, None, {"a": 1}),
    ],
)
def test_delta_when_desired_differs_is_what_the_device_has_to_change(
    cloud: Running, desired, reported, delta
) -> None:
    update(cloud, {"desired": desired, "reported": reported})
    assert state_of(cloud).get("delta") == delta


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({"reported": {"a": 1, "b": 2}}, {"reported": {"a": None}}, {"reported": {"b": 2}}),
        (
            {"desired": {"a": 1}, "reported": {"b": 2}},
            {"desired": None},
            {"reported": {"b": 2}},
        ),
        ({"reported": {"a": 1}}, {"reported": {"a": None}}, {}),
        ({"reported": {"a": 1}}, {"reported": None}, {}),
        ({"reported": {"a": {"b": 1}}}, {"reported": {"a": 5}}, {"reported": {"a": 5}}),
        ({"reported": {"a": 5}}, {"reported": {"a": {"b": 1}}}, {"reported": {"a": {"b": 1}}}),
        ({"reported": {"a": 5}}, {"reported": {"c": {"d": None}}}, {"reported": {"a": 5}}),
        ({"reported": {"l": [1, 2, 3]}}, {"reported": {"l": [4]}}, {"reported": {"l": [4]}}),
        ({"reported": {"a": 1}}, {}, {"reported": {"a": 1}}),
    ],
)
def test_update_when_laid_over_a_shadow_merges_objects_and_null_deletes(
    cloud: Running, before, change, after
) -> None:
    update(cloud, before)
    reply = update(cloud, change)
    assert reply.status == 200 and reply.json["state"] == change
    document = exchange(cloud, "GET").json
    assert document["state"] == after
    assert document["metadata"].keys() == after.keys()
    assert document["version"] == 2


def test_version_when_it_is_not_the_current_one_is_a_conflict_with_the_client_token(
    cloud: Running,
) -> None:
    for number in range(5):
        assert update(cloud, {"reported": {"a": number}}, version=number).status == 200
    for wrong in (4, 6, 0):
        reply = update(cloud, {"reported": {"a": 9}}, version=wrong, clientToken="mine")
        assert_rejected(reply, 409, "ConflictException", "Version conflict")
        assert reply.json["clientToken"] == "mine"
    assert state_of(cloud) == {"reported": {"a": 4}}


def test_version_after_a_delete_goes_on_for_48_hours(cloud: Running, clock: Clock) -> None:
    for _ in range(5):
        update(cloud, {"reported": {"a": 1}})
    reply = exchange(cloud, "DELETE")
    assert reply.status == 200 and reply.json == {"version": 5, "timestamp": NOON}
    missing = "No shadow exists with name: 'lamp-1'"
    for method in ("GET", "DELETE"):
        reply = exchange(cloud, method)
        assert_rejected(reply, 404, "ResourceNotFoundException", missing)
    clock.now += 48 * HOURS
    assert update(cloud, {"desired": {"b": 1}}).json["version"] == 6
    assert state_of(cloud) == {"desired": {"b": 1}, "delta": {"b": 1}}
    exchange(cloud, "DELETE")
    clock.now += 48 * HOURS + 1
    assert update(cloud, {}).json["version"] == 1


def test_named_shadow_when_changed_is_not_the_classic_one(cloud: Running) -> None:
    update(cloud, {"reported": {"a": 1}}, f"{PATH}?name=cfg")
    assert state_of(cloud, f"{PATH}?name=cfg") == {"reported": {"a": 1}}
    reply = exchange(cloud, "GET")
    assert reply.json["message"] == "No shadow exists with name: 'lamp-1'"
    reply = exchange(cloud, "GET", f"{PATH}?name=other")
    assert reply.json["message"] == "No shadow exists with name: 'other'"


# -- What is refused -----------------------------------------------------------------------------

NESTED = {"1": {"2": {"3": {"4": {"5": {"6": 1}}}}}}
DEEP = "JSON contains too many levels of nesting; maximum is 6"
NODE = "State contains an invalid node"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "Invalid JSON"),
        (b'{"state":{"desired":{"a":NaN}}}', "Invalid JSON"),
        (b'{"state":{"desired":{"a":1e999}}}', "Invalid JSON"),
        (b'{"state":{"desired":{"a":"\\ud800"}}}', "Invalid JSON"),
        (b"\xef\xbb\xbf{}", "Invalid JSON"),
        (b"{}", "Missing required node: state"),
        (b'{"state":null}', "State node must be an object"),
        (b'{"state":[]}', "State node must be an object"),
        (b'{"state":{"desired":1}}', "Desired node must be an object"),
        (b'{"state":{"reported":[1]}}', "Reported node must be an object"),
        (b'{"state":{},"version":"1"}', "Invalid version"),
        (b'{"state":{},"version":-1}', "Invalid version"),
        (b'{"state":{},"version":true}', "Invalid version"),
        (b'{"state":{},"version":null}', "Invalid version"),
        (b'{"state":{},"clientToken":1}', "Invalid clientToken"),
        (b'{"state":{},"clientToken":"%sx"}' % (b"\xc3\xa9" * 32), "Invalid clientToken"),
        (b'{"state":{"delta":{}}}', NODE),
        (b'{"state":{},"metadata":{}}', NODE),
        (b'{"state":{"desired":{"l":[1,null]}}}', NODE),
        (b'{"state":{"desired":{"l":[{"a":null}]}}}', NODE),
        (json.dumps({"state": {"desired": {"0": NESTED}}}).encode(), DEEP),
        (b'{"state":{"reported":{"l":[[[[[[]]]]]]}}}', DEEP),
        (b'{"state":' + b"[" * 5000 + b"]" * 5000 + b"}", DEEP),
    ],
)
def test_update_when_the_document_breaks_a_rule_is_rejected_in_the_documented_words(
    cloud: Running, body: bytes, message: str
) -> None:
    reply = exchange(cloud, "POST", body=body)
    assert_rejected(reply, 400, "InvalidRequestException", message)
    assert exchange(cloud, "GET").status == 404


def test_update_when_it_is_just_within_the_limits_is_accepted(cloud: Running) -> None:
    assert update(cloud, {"desired": NESTED}).status == 200
    token = "é" * 32
    assert update(cloud, {}, clientToken=token).json["clientToken"] == token


def test_update_when_not_utf_8_is_an_unsupported_encoding(cloud: Running) -> None:
    reply = exchange(cloud, "POST", body='{"state":{"desired":{"a":"é"}}}'.encode("latin-1"))
    text = "Unsupported documented encoding; supported encoding is UTF-8"
    assert_rejected(reply, 415, "UnsupportedDocumentEncodingException", text)


def test_document_of_8192_bytes_is_kept_and_one_more_is_too_large(cloud: Running) -> None:
    empty = len(b'{"a":""}') * 2
    half = (8192 - empty) // 2
    assert update(cloud, {"desired": {"a": "x" * half}}).status == 200
    assert update(cloud, {"reported": {"a": "x" * half}}).status == 200
    text = "The payload exceeds the maximum size allowed"
    reply = update(cloud, {"reported": {"a": "x" * (half + 1)}}, clientToken="t")
    assert_rejected(reply, 413, "RequestEntityTooLargeException", text)
    assert reply.json["clientToken"] == "t"
    assert exchange(cloud, "GET").json["version"] == 2
    assert update(cloud, {"reported": {"a": "é" * (half // 2)}}).status == 200
    reply = update(cloud, {"reported": {"a": "é" * (half // 2 + 1)}})
    assert reply.status == 413


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/things/a%20b/shadow", 400),
        ("GET", "/things/a%2Fb/shadow", 400),
        ("GET", "/things/lamp.1/shadow", 400),
        ("GET", "/things/" + "a" * 129 + "/shadow", 400),
        ("GET", f"{PATH}?name=", 400),
        ("GET", f"{PATH}?name=a.b", 400),
        ("GET", f"{PATH}?name=" + "a" * 65, 400),
        ("PUT", PATH, 405),
        ("PATCH", PATH, 405),
        ("POST", "/api/things/shadow/ListNamedShadowsForThing/lamp-1", 405),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1?pageSize=0", 400),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1?pageSize=101", 400),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1?pageSize=x", 400),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1?nextToken=%2B", 400),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1?nextToken=Lg==", 400),
        ("GET", "/things/lamp-1/shadow/", 404),
        ("GET", "/things/lamp-1", 404),
        ("GET", "/things//shadow", 404),
    ],
)
def test_request_when_name_method_or_page_is_not_allowed_is_refused(
    cloud: Running, method: str, target: str, status: int
) -> None:
    names = {400: "InvalidRequest", 404: "ResourceNotFound", 405: "MethodNotAllowed"}
    reply = exchange(cloud, method, target)
    assert reply.status == status
    assert reply.headers["x-amzn-ErrorType"] == f"{names[status]}Exception:"


def test_thing_name_when_percent_encoded_is_decoded_once(cloud: Running) -> None:
    update(cloud, {"reported": {"a": 1}})
    assert state_of(cloud, "/things/lamp%2D1/shadow") == {"reported": {"a": 1}}
    assert exchange(cloud, "GET", "/things/lamp%252D1/shadow").status == 400


def test_shadow_of_another_thing_is_out_of_reach_of_a_certificate(cloud: Running) -> None:
    cloud.cloud.add_thing("lamp-2")
    update(cloud, {"reported": {"a": 1}})
    for method, target in (
        ("GET", PATH),
        ("POST", PATH),
        ("DELETE", PATH),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1"),
    ):
        reply = exchange(cloud, method, target, b"{}", thing="lamp-2")
        assert_rejected(reply, 403, "ForbiddenException", "Forbidden")
    assert state_of(cloud) == {"reported": {"a": 1}}


def test_certificate_when_its_policy_names_topics_only_gets_403(cloud: Running) -> None:
    cloud.cloud.add_thing("lamp-1", allow=["dt/#"])
    assert_rejected(exchange(cloud, "GET"), 403, "ForbiddenException", "Forbidden")
    cloud.cloud.add_thing("lamp-1", allow=["$aws/things/lamp-1/shadow/#"])
    assert update(cloud, {}).status == 200
    cloud.cloud.registry.deactivate("lamp-1")
    reply = exchange(cloud, "GET")
    assert reply.status == 403 and reply.json["message"] is None


def test_thing_when_nobody_registered_it_is_not_found(signed: Running) -> None:
    client = iot_data(signed)
    with pytest.raises(botocore.exceptions.ClientError, match="Thing not found") as caught:
        client.update_thing_shadow(thingName="nobody", payload='{"state":{}}')
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


# -- State ---------------------------------------------------------------------------------------


def test_shadow_in_a_file_when_opened_again_is_still_there(
    authority: Authority, tmp_path: Path
) -> None:
    for state, version in (({"reported": {"a": "é"}}, 1), ({"reported": {"b": 2}}, 2)):
        store = Store(tmp_path / "cloud.db")
        service = AWSCloud(authority, store)
        service.add_thing("lamp-1")
        with serve(service) as running:
            assert update(running, state).json["version"] == version
            document = state_of(running)
        store.close()
    assert document == {"reported": {"a": "é", "b": 2}}


def call(method: str, body: object = None) -> Call:
    data = b"" if body is None else json.dumps(body).encode()
    return Call(method, PATH, {}, data, (), NOON)


@pytest.fixture(scope="module")
def service(authority: Authority) -> AWSCloud:
    made = AWSCloud(authority)
    made.add_thing("lamp-1")
    return made


def caller(service: AWSCloud) -> Principal:
    return Principal(service.authority.device("lamp-1").fingerprint, "lamp-1", "lamp-1")


def test_updates_from_many_threads_when_none_names_a_version_all_count(
    authority: Authority,
) -> None:
    store = Store()
    ports = [AWSCloud(authority, store) for _ in range(4)]
    ports[0].add_thing("lamp-1")

    def work(number: int) -> None:
        for turn in range(20):
            request = {"state": {"reported": {f"{number}-{turn}": 1}}}
            ports[number].shadows.answer(call("POST", request), caller(ports[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    status, document = ports[0].shadows.answer(call("GET"), caller(ports[0]))
    assert (status, document["version"]) == (200, 80)
    assert len(document["state"]["reported"]) == 80


LEAVES = st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "x", "é"])
NAMES = st.sampled_from(["a", "b", "c", "timestamp"])


def objects(levels: int) -> st.SearchStrategy[dict]:
    values = LEAVES | st.lists(LEAVES, max_size=2)
    return st.dictionaries(NAMES, values | objects(levels - 1) if levels else values, max_size=3)


def shape(value: object) -> object:
    """What metadata has to look like: the same objects and arrays with a time at each leaf."""
    if isinstance(value, dict):
        return {name: shape(child) for name, child in value.items()}
    if isinstance(value, list):
        return [shape(child) for child in value]
    return {"timestamp": NOON}


@settings(deadline=None, max_examples=100)
@given(desired=objects(2), first=objects(2), second=objects(2))
def test_device_that_reports_the_delta_has_none_left(
    service: AWSCloud, desired: dict, first: dict, second: dict
) -> None:
    me = caller(service)
    service.shadows.answer(call("DELETE"), me)
    for state in ({"desired": desired}, {"reported": first}, {"reported": second}):
        assert service.shadows.answer(call("POST", {"state": state}), me)[0] == 200
    state = service.shadows.answer(call("GET"), me)[1]["state"]
    report = {"state": {"reported": state.get("delta", {})}}
    assert service.shadows.answer(call("POST", report), me)[0] == 200
    document = service.shadows.answer(call("GET"), me)[1]
    assert "delta" not in document["state"]
    assert document["metadata"] == shape(document["state"])
    assert document["state"].get("desired", {}) == desired
