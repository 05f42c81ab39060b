"""`onebuf sign`: the same as botocore, azure-iot-device and hmac, and no secret in sight."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import string
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from azure.iot.device.common.auth.sastoken import RenewableSasToken
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from host import cli, signing
from host.cloud import aliyun_rules

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
GROUP_KEY = (
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
)
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
DATE = "20250115T123456Z"
HOST = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"
URL = f"https://{HOST}/topics/device%2Fmessage?qos=1"
SIGV4 = ("sigv4", "--access-key", "AKIDEXAMPLE", "--region", "us-west-2", "--time", DATE)
ALIYUN = ("aliyun", "--product-key", "pk", "--device-name", "device", "--client-id", "12345")
USAGE = 2

KEYS = st.binary(min_size=16, max_size=64)
TEXT = st.text(min_size=1, max_size=40)
WORD = st.text(string.ascii_letters + string.digits + "-._~", min_size=1, max_size=12)

Onebuf = Callable[..., dict[str, str]]


@pytest.fixture
def onebuf(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Onebuf:
    """Runs `onebuf sign WORDS` with this on standard input; returns what it prints, by name."""

    def run(*words: object, stdin: str = "") -> dict[str, str]:
        octets = SimpleNamespace(buffer=io.BytesIO(stdin.encode()))
        monkeypatch.setattr("sys.stdin", octets)
        assert cli.main(["sign", *map(str, words)]) == 0
        return steps(capsys.readouterr().out)

    return run


def steps(printed: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in printed.splitlines():
        if line.startswith("    "):
            found[name].append(line[4:])
        else:
            name = line.removesuffix(":")
            found[name] = []
    return {name: "\n".join(lines) for name, lines in found.items()}


def stopped(*words: object) -> str:
    with pytest.raises(SystemExit) as reason:
        cli.main(["sign", *map(str, words)])
    return str(reason.value)


# -- sas ------------------------------------------------------------------------------------------


def sdk_token(key: str, uri: str, expiry: int, policy: str | None) -> str:
    """The token of the azure-iot-device package for a fixed time."""
    token = RenewableSasToken(uri, SymmetricKeySigningMechanism(key), policy)
    token._expiry_time = expiry
    return token._build_token()


@given(KEYS, TEXT, st.integers(0, 2**40), st.none() | WORD)
def test_sas_is_the_token_of_azures_own_package(
    key: bytes, uri: str, expiry: int, policy: str | None
) -> None:
    text = base64.b64encode(key).decode()
    made = signing.sas(text, uri, expiry, policy or "")
    assert made["Authorization"] == sdk_token(text, uri, expiry, policy)


@given(KEYS, WORD)
def test_sas_when_derived_is_that_of_the_key_that_the_group_gives_the_device(
    key: bytes, registration_id: str
) -> None:
    uri = f"0ne00111111/registrations/{registration_id}"
    own = base64.b64encode(hmac.digest(key, registration_id.encode(), "sha256")).decode()
    made = signing.sas(
        base64.b64encode(key).decode(), uri, 1735736400, "registration", registration_id
    )
    assert made["Authorization"] == sdk_token(own, uri, 1735736400, "registration")


@pytest.mark.parametrize(
    ("key", "uri", "words", "signature"),
    [
        (
            KEY,
            "myhub.azure-devices.net/devices/dev-01",
            (),
            "ZZtxco4pmcodfL9W7uWe+TiSnlPrQHGCczEfp2e80zI=",
        ),
        (
            KEY,
            "myhub.azure-devices.net/devices/dev:01@x=y",
            (),
            "QclPfBsf4Nk7PsoLfGdYFoQqWuseEYvmBJYRUQabtNQ=",
        ),
        (
            KEY,
            "0ne00111111/registrations/my-x509-device",
            ("--policy", "registration"),
            "Xw+Bd9mm1TUiXt78vHvaC2TQdNeKWBwg+NmVJ4VQpuw=",
        ),
        (
            GROUP_KEY,
            "0ne00111111/registrations/device-01",
            ("--policy", "registration", "--derive", "device-01"),
            "y23Q2SVzQMZHCVVtD028FtfT8HcqsEKm2uF4ik7sLgY=",
        ),
    ],
)
def test_sas_when_printed_is_the_known_one_and_shows_what_was_signed(
    onebuf: Onebuf, key: str, uri: str, words: tuple[str, ...], signature: str
) -> None:
    said = onebuf(
        "sas", "--key-stdin", "--uri", uri, "--expiry", 1735736400, *words, stdin=f"{key}\n"
    )
    assert said["string to sign"] == f"{quote(uri, safe='')}\n1735736400"
    assert said["signature"] == signature
    assert f"&sig={quote(signature, safe='')}&se=1735736400" in said["Authorization"]
    assert said["Authorization"].endswith("&skn=registration") == ("--policy" in words)


def test_sas_when_documented_by_azure_is_reproduced(onebuf: Onebuf, tmp_path: Path) -> None:
    key = (
        "18RQk/hOPJR9EbsJlk2j8WA6vWaj/yi+oaYg7zmxfQNdOyMSu+SJ8O7TSlZhDJCYmn4rzEiVKIzNiVAWjLxrGA=="
    )
    (tmp_path / "key").write_text(key + "\r\n")
    uri = "MyExampleHub.azure-devices.net/devices/my-symkey-device"
    words = ("--key-file", tmp_path / "key", "--uri", uri, "--expiry", 1663119026)
    assert onebuf("sas", *words)["Authorization"].endswith(
        "&sig=f%2BwW8XOKeJOtiPc9Iwjc4OpExvPM7NlhM9qxN2a1aAM%3D&se=1663119026"
    )


def test_sas_when_derived_for_an_upper_case_id_warns(
    onebuf: Onebuf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", GROUP_KEY)
    arguments = ["sign", "sas", "--key-env", "KEY", "--uri", "u", "--expiry", "1"]
    assert cli.main([*arguments, "--derive", "Device"]) == 0
    assert "lower case" in capsys.readouterr().err


def test_sas_of_no_uri_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", KEY)
    assert "URI" in stopped("sas", "--key-env", "K", "--uri", "", "--expiry", "1")


# -- sigv4 ----------------------------------------------------------------------------------------


def by_botocore(
    method: str, url: str, body: bytes, fields: dict[str, str], service: str, token: str | None
) -> dict[str, str]:
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET_KEY, token), service, "us-west-2")
    request = AWSRequest(method, url, headers=fields, data=body)
    request.context["timestamp"] = DATE
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    signature = signer.signature(text, request)
    signer._inject_signature_to_request(request, signature)
    return {
        "canonical request": canonical,
        "string to sign": text,
        "signature": signature,
        "Authorization": request.headers["Authorization"],
    }


SEGMENTS = st.lists(st.text(max_size=6).map(lambda text: quote(text, safe="")), max_size=4)
QUERIES = st.dictionaries(WORD, WORD, max_size=3)
FIELDS = st.dictionaries(
    st.sampled_from(["Content-Type", "x-amz-mqtt5-correlation-data"]),
    st.text(string.ascii_letters + " /;=", min_size=1).map(str.strip).filter(bool),
)


@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    SEGMENTS,
    QUERIES,
    st.binary(max_size=50),
    FIELDS,
    st.sampled_from(["iotdata", "iotdevicegateway"]),
    st.none() | WORD,
)
def test_sigv4_is_that_of_botocore_step_by_step(
    method: str,
    segments: list[str],
    query: dict[str, str],
    body: bytes,
    fields: dict[str, str],
    service: str,
    token: str | None,
) -> None:
    path = "/" + "/".join(["topics", *segments])
    url = f"https://{HOST}{path}"
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query.items())
    request = signing.AWSRequest(
        method, url, body, DATE, "AKIDEXAMPLE", "us-west-2", service, fields
    )
    made = signing.aws(request, SECRET_KEY, token, reveal=True)
    assert made == by_botocore(method, url, body, fields, service, token)


def test_sigv4_when_printed_is_the_known_one(
    onebuf: Onebuf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET", SECRET_KEY)
    words = ("--secret-env", "AWS_SECRET", "--url", URL, "--body", '{"temperature":21.5}')
    said = onebuf(*SIGV4, *words)
    signature = "c30d0ebe9ed88ddc76b318fedf3c6ed2eb9245216049e2ab376f43317b418ea0"
    assert said["canonical request"] == (
        f"POST\n/topics/device%252Fmessage\nqos=1\nhost:{HOST}\nx-amz-date:{DATE}\n\n"
        "host;x-amz-date\n8414c31b1f7afd7d0a0af122559cbccfde3906a0e3a40c14a7f1f938db3abf71"
    )
    assert said["string to sign"].endswith(
        "\n65e5f4eb62a18c3dac5a7f372a0c53d82ecf1fca0d2071622477caf89cdfa36c"
    )
    assert said["signature"] == signature
    assert said["Authorization"].endswith(f"SignedHeaders=host;x-amz-date, Signature={signature}")


def test_sigv4_when_the_body_is_a_file_signs_its_octets(onebuf: Onebuf, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\xff\x00\n")
    (tmp_path / "secret").write_text(SECRET_KEY)
    words = ("--secret-file", tmp_path / "secret", "--url", URL)
    said = onebuf(*SIGV4, *words, "--body-file", tmp_path / "body")
    digest = hashlib.sha256(b"\xff\x00\n").hexdigest()
    assert said["canonical request"].endswith(f"\n{digest}")


def test_sigv4_when_a_field_is_named_signs_it_too(onebuf: Onebuf) -> None:
    words = ("--secret-stdin", "--url", URL, "--header", "Content-Type: application/json")
    said = onebuf(*SIGV4, *words, stdin=SECRET_KEY)
    expected = by_botocore("POST", URL, b"", {"Content-Type": "application/json"}, "iotdata", None)
    assert said == expected


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.COM/x", "example.com"),
        ("https://example.com:443/x", "example.com"),
        ("https://example.com:8443/x", "example.com:8443"),
    ],
)
def test_sigv4_when_the_port_is_the_usual_one_leaves_it_out_of_host(
    onebuf: Onebuf, url: str, host: str
) -> None:
    said = onebuf(*SIGV4, "--secret-stdin", "--url", url, stdin=SECRET_KEY)
    assert f"\nhost:{host}\n" in said["canonical request"]


@pytest.mark.parametrize(
    "url", ["http://h/x", "h/x", "https://h/a b", "https://h/ä", "https://u:p@h/x", "https:///x"]
)
def test_sigv4_when_the_url_would_not_go_out_as_it_stands_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("S", SECRET_KEY)
    assert "URL" in stopped(*SIGV4, "--secret-env", "S", "--url", url)


@pytest.mark.parametrize("date", ["now", "20251399T999999Z", "2025-01-15T12:34:56Z"])
def test_sigv4_when_the_time_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setenv("S", SECRET_KEY)
    assert "is wanted" in stopped(*SIGV4, "--secret-env", "S", "--url", URL, "--time", date)


# -- aliyun ---------------------------------------------------------------------------------------


@given(
    st.dictionaries(WORD, TEXT, max_size=6),
    st.sampled_from(sorted(aliyun_rules.METHODS)),
    TEXT,
)
def test_aliyun_signs_every_parameter_in_order_but_three(
    parameters: dict[str, str], method: str, secret: str
) -> None:
    made = signing.aliyun({**parameters, "version": "v9", "sign": "old"}, method, secret)
    names = sorted(set(parameters) - {"version", "sign", "signmethod"})
    content = "".join(f"{name}{parameters[name]}" for name in names)
    algorithm = method.removeprefix("hmac")
    digest = hmac.new(secret.encode(), content.encode(), algorithm).hexdigest()
    assert made["content"] == content and made["sign"] == digest
    body = json.loads(made["body"])
    assert body["sign"] == digest and body["signmethod"] == method and body["version"] == "v9"


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        ("hmacmd5", "14b198324fe55e1d3c88f2e705e201ee"),
        ("hmacsha1", "fafd82a3d602b37fb0fa8b7892f24a477f851a14"),
        (
            "hmacsha256",
            "6074a46a91b1ebb2cc4ea42790ad0e80202c9843859fc292e57c4eb19fad9e57",
        ),
    ],
)
def test_aliyun_when_printed_is_the_seeds_example(
    onebuf: Onebuf, method: str, digest: str
) -> None:
    words = ("--secret-stdin", "--timestamp", "789", "--method", method)
    said = onebuf(*ALIYUN, *words, stdin="secret\n")
    assert said["content"] == "clientId12345deviceNamedeviceproductKeypktimestamp789"
    assert said["sign"] == digest
    assert json.loads(said["body"]) == {
        "version": "default",
        "clientId": "12345",
        "signmethod": method,
        "sign": digest,
        "productKey": "pk",
        "deviceName": "device",
        "timestamp": "789",
    }


def test_aliyun_when_no_timestamp_is_given_signs_none(onebuf: Onebuf) -> None:
    said = onebuf(*ALIYUN, "--secret-stdin", "--method", "hmacsha1", stdin="secret")
    assert said["sign"] == "3504e4df7ce4766d30f796ee973c9ce7fc5425cb"
    assert "timestamp" not in json.loads(said["body"])


# -- watson ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "token", "header"),
    [
        ("use-token-auth", "passw0rd", "dXNlLXRva2VuLWF1dGg6cGFzc3cwcmQ="),
        ("g/myorg1/gwtype/gw01", "gwtoken", "Zy9teW9yZzEvZ3d0eXBlL2d3MDE6Z3d0b2tlbg=="),
        (
            "a-myorg1-a84ps90Ajs",
            "MP$08VKz!8rXwnR-Q*",
            "YS1teW9yZzEtYTg0cHM5MEFqczpNUCQwOFZLeiE4clh3blItUSo=",
        ),
        ("use-token-auth", "a:b:c", "dXNlLXRva2VuLWF1dGg6YTpiOmM="),
    ],
)
def test_watson_header_when_not_to_be_revealed_is_masked(
    onebuf: Onebuf, user: str, token: str, header: str
) -> None:
    words = ("watson", "--token-stdin", "--user", user)
    hidden = str(onebuf(*words, stdin=token))
    assert token not in hidden and header not in hidden and user in hidden
    said = onebuf(*words, "--reveal", stdin=token)
    assert said == {"credentials": f"{user}:{token}", "Authorization": f"Basic {header}"}


def test_watson_user_when_it_has_a_colon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "passw0rd")
    reason = stopped("watson", "--token-env", "TOKEN", "--user", "a:b")
    assert "no colon" in reason and "passw0rd" not in reason


# -- secrets --------------------------------------------------------------------------------------


@given(KEYS, WORD.filter(lambda word: len(word) > 4))
def test_steps_when_made_hold_neither_a_secret_nor_a_derived_key(key: bytes, name: str) -> None:
    secret = base64.b64encode(key).decode()
    derived = hmac.digest(key, name.encode(), "sha256")
    request = signing.AWSRequest("POST", URL, b"", DATE, "AKIDEXAMPLE", "us-west-2")
    chain = ("AWS4" + secret).encode()
    hidden = [secret, base64.b64encode(derived).decode(), derived.hex(), key.hex()]
    for part in (DATE[:8], "us-west-2", "iotdata", "aws4_request"):
        chain = hmac.digest(chain, part.encode(), "sha256")
        hidden += [chain.hex(), base64.b64encode(chain).decode()]
    said = [
        signing.sas(secret, "u", 1, derive=name),
        signing.aws(request, secret, f"session{secret}"),
        signing.aliyun({"clientId": "1"}, "hmacmd5", secret),
        signing.basic("use-token-auth", secret),
    ]
    text = "\n".join(map(signing.show, said))
    assert not [each for each in hidden if each in text]


@pytest.mark.parametrize(
    "words",
    [
        ("sas", "--uri", "u", "--expiry", "1"),
        ("sas", "--uri", "u", "--expiry", "1", "--key", KEY),
        ("sas", "--uri", "u", "--expiry", "1", "--key-stdin", "--key-env", "X"),
        (*SIGV4, "--url", URL, "--secret", SECRET_KEY),
        (*ALIYUN, "--secret", "secret"),
        ("watson", "--token", "passw0rd"),
    ],
)
def test_secret_when_it_is_on_the_command_line_or_nowhere_or_twice_is_a_wrong_usage(
    words: tuple[str, ...],
) -> None:
    assert stopped(*words) == str(USAGE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "one line"),
        (b"\n", "one line"),
        (b"first\nsecond\n", "one line"),
        (b"\xff\xfe", "no UTF-8"),
        (b"no base64!", "the key is not base64"),
    ],
)
def test_secret_when_it_is_unusable_is_refused_and_not_repeated(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "s").write_bytes(content)
    said = stopped("sas", "--key-file", tmp_path / "s", "--uri", "u", "--expiry", "1")
    assert reason in said
    assert not [word for word in ("first", "second", "base64!") if word in said]


def test_secret_when_its_file_or_variable_is_missing_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--uri", "u", "--expiry", "1"]
    assert cli.main(["sign", "sas", "--key-file", str(tmp_path / "none"), *words]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert "variable NO_SUCH" in stopped("sas", "--key-env", "NO_SUCH", *words)
