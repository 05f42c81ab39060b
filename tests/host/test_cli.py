"""The command `onebuf`, as a shell runs it: output, exit status, Ctrl-C, and no secrets."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from devices import ROOT, Process

from host import cli, demo
from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import Running, serve
from host.cloud.store import Message, Store
from host.demo_devices import WAYS
from host.emulation import SERVICES
from host.publish import ALPN

ONEBUF = (sys.executable, "-m", "host.cli")
# Unbuffered as on a terminal; a COLUMNS of its own, or argparse would fold its error line.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "1000"}
TIMEOUT_S = 60
ENDED_BY_CTRL_C = 130
PATH = os.environ["PATH"]
USAGE = 2  # argparse's exit status for a wrong command line


def onebuf(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in folder to its end."""
    return subprocess.run(
        [*ONEBUF, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@contextmanager
def started(*arguments: str, folder: Path) -> Iterator[Process]:
    """The command while it runs; its stderr goes to folder/stderr."""
    with open(folder / "stderr", "w") as stderr:
        process = Process([*ONEBUF, *arguments], folder, ENVIRONMENT, stderr)
        try:
            yield process
        finally:
            process.close()


def assert_one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """It failed with status, and said why in one line on stderr with all the words in it."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    said = done.stderr.splitlines()
    if status == USAGE:
        said = [line for line in said if not line.startswith("usage: ")]
    assert len(said) == 1, done.stderr
    for word in words:
        assert word in said[0]


# -- Wrong usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("certs self-signed --cn d --out o --pass-phrase hunter2", "a value that no option takes"),
        ("certs self-signed --cn d --out o --pass-phrase=hunter2", "--pass-phrase"),
        ("sign sas --uri u --expiry 1 --key=hunter2", "--key could match --key-file"),
        ("sign watson --token-env T --password=hunter2 --user a", "--password"),
        ("sign watson --token-env T --password hunter2", "--password"),
    ],
)
def test_value_that_no_option_takes_is_not_repeated_for_it_may_be_a_secret(
    words: str, said: str, tmp_path: Path
) -> None:
    done = onebuf(*words.split(), folder=tmp_path)
    assert_one_line(done, USAGE, said)
    assert "hunter2" not in done.stderr and list(tmp_path.iterdir()) == []


# -- onebuf demo ----------------------------------------------------------------------------------


def test_demo_with_json_prints_json_on_stdout_and_its_log_on_stderr(tmp_path: Path) -> None:
    done = onebuf("demo", "--readings", 3, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    *micropython, cpython = result["rows"]
    assert [row["way"] for row in micropython] == [*WAYS] and cpython["way"] in WAYS
    for row in micropython:
        assert "32-bit" in row["runtime"] and row["heap_bytes_per_publish"] == 0
    assert cpython["runtime"].startswith("cpython") and cpython["heap_bytes_per_publish"] is None
    assert all(row["publishes"] == 3 and row["median_ms"] > 0 for row in result["rows"])
    assert done.stderr.count("  device  connect -> 0\n") == len(result["rows"])
    assert list(tmp_path.iterdir()) == [], "the demo leaves nothing behind"


def test_demo_prints_what_the_device_logged_what_the_cloud_received_and_a_table(
    tmp_path: Path,
) -> None:
    done = onebuf("demo", "--readings", 2, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    logged = re.findall(r"^  device  (\{.*\}) -> 20[04]", done.stdout, re.MULTILINE)
    assert logged == re.findall(r"^  cloud   (\{.*\})$", done.stdout, re.MULTILINE)
    assert len(logged) == 2 * (len(WAYS) + 1)
    title, *rows = done.stdout.splitlines()[-len(WAYS) - 2 :]
    assert " ".join(title.split()) == (
        "cloud and login runtime publishes heap bytes/publish median ms"
    )
    assert [row.split("  ")[0] for row in rows] == [*WAYS, next(iter(WAYS))]


def failing_demo(capsys: pytest.CaptureFixture[str]) -> str:
    """Run the demo in this process: the error that its JSON tells."""
    assert cli.main(["demo", "--readings", "3", "--json"]) == 1
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["ok"] is False
    assert output.err.splitlines()[-1] == f"onebuf: {result['error']}"
    return result["error"]


def test_demo_when_the_cloud_takes_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = demo.serve

    def serve_badly(*arguments: Any) -> Running:
        cloud = serve(*arguments)
        cloud.faults.add("throttle(0)x1000")
        return cloud

    monkeypatch.setattr(demo, "serve", serve_badly)
    assert "3 readings, 0 logged as accepted, 0 received" in failing_demo(capsys)


def test_demo_when_the_cloud_loses_a_message_that_it_accepted_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add = Store.add

    def lose_one(self: Store, message: Message) -> None:
        if b'"seq":1,' not in message.payload:
            add(self, message)

    monkeypatch.setattr(Store, "add", lose_one)
    assert "3 readings, 3 logged as accepted, 2 received" in failing_demo(capsys)


def test_demo_when_the_cloud_changes_a_message_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = Running.messages

    def reversed_messages(self: Running, topic: str | None = None) -> list[Message]:
        return messages(self, topic)[::-1]

    monkeypatch.setattr(Running, "messages", reversed_messages)
    said = failing_demo(capsys)
    assert "3 readings, 3 logged as accepted, 3 received" in said
    assert re.search(r'number 0: the device has {"seq":0,.*}, the cloud {"seq":2,.*}', said)


def test_demo_when_the_device_logs_another_reading_than_it_sends_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(demo.FIRMWARE, tmp_path / "firmware")
    main = tmp_path / "firmware" / "main.py"
    program = main.read_text()
    line = 'print(str(payload, "utf-8"), outcome'
    assert line in program
    main.write_text(
        program.replace(line, line.replace('"utf-8")', '"utf-8").replace(":1,", ":7,")'))
    )
    monkeypatch.setattr(demo, "FIRMWARE", tmp_path / "firmware")
    assert 'number 1: the device has {"seq":7' in failing_demo(capsys)


@pytest.mark.parametrize("program", ["time.sleep(60)", "os.close(1); os.close(2); time.sleep(60)"])
def test_demo_when_the_device_says_nothing_fails_and_ends_it(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    popen, devices = subprocess.Popen, []

    def silent(argv: list[str], **options: Any) -> subprocess.Popen[str]:
        devices.append(popen([sys.executable, "-c", f"import os, time; {program}"], **options))
        return devices[-1]

    monkeypatch.setattr(demo.subprocess, "Popen", silent)
    monkeypatch.setattr(demo, "_SILENCE_S", 0.5)
    assert failing_demo(capsys) == "the device has said nothing for 0.5 s"
    assert [device.poll() for device in devices] == [-signal.SIGKILL]


@pytest.mark.parametrize("runtime", ["micropython", "cpython"])
def test_demo_when_interrupted_ends_with_its_children_and_without_a_traceback(
    runtime: str, tmp_path: Path
) -> None:
    readings = "100000" if runtime == "micropython" else "15"
    with started("demo", "--readings", readings, folder=tmp_path) as process:
        while f": {runtime}" not in process.line():
            pass
        while "-> 200" not in process.line():
            pass
        process.interrupt()
        begun = time.monotonic()
        assert process.wait() == ENDED_BY_CTRL_C
        assert time.monotonic() - begun < 5
        assert not process.left_children()
        assert "Traceback" not in "\n".join(process.rest())
    assert (tmp_path / "stderr").read_text() == ""


# -- onebuf cloud ---------------------------------------------------------------------------------


class Cloud:
    """A running `onebuf cloud`: what it printed first, and its files."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.lines = [process.line()]
        while self.lines[-1] != "Ctrl-C stops it.":
            self.lines.append(process.line())
        match = re.fullmatch(r"AWS IoT by certificate: (\S+) on (\S+):(\d+)", self.lines[0])
        assert match is not None
        self.endpoint, self.host, self.port = match[1], match[2], int(match[3])

    def publish(self, form: str = "pem", **changes: object) -> subprocess.CompletedProcess[str]:
        """Run `onebuf publish` against it; changes win over the right options."""
        key = "demo-thing.key.pem" if form == "pem" else "demo-thing.key.der"
        options: dict[str, object] = {
            "endpoint": self.endpoint,
            "address": self.host,
            "port": self.port,
            "cert": self.folder / f"demo-thing.{form}",
            "key": self.folder / key,
            "cacert": self.folder / f"ca.{form}",
            **changes,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return onebuf("publish", *words, folder=self.folder.parent)


@contextmanager
def running_cloud(folder: Path, *arguments: str) -> Iterator[Cloud]:
    words = ("cloud", "--port", "0", "--only", "aws", "--folder", "my certificates", *arguments)
    with started(*words, folder=folder) as process:
        yield Cloud(process, folder / "my certificates")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@dataclass
class Clouds:
    """All clouds as one command runs them: each one's port and commands, by its title."""

    process: Process
    folder: Path
    blocks: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def printed(self) -> str:
        return "\n".join(f"{title} {commands}" for title, (_, commands) in self.blocks.items())

    @property
    def arguments(self) -> str:
        """What `ps` has shown of the pasted commands, without the shells' own."""
        return (self.folder / "elsewhere" / "arguments").read_text()

    def block(self, word: str) -> tuple[str, str]:
        """Port and commands of the cloud whose title has the word."""
        [found] = [block for title, block in self.blocks.items() if word in title]
        return found

    def paste(self, commands: str) -> str:
        """What a second shell shows, in another folder, with the heads of all answers."""
        assert shutil.which("curl"), "this test needs curl"
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        (elsewhere / ".curlrc").write_text("include\nno-progress-meter\n")
        curl = f'printf "%s\\n" "$@" >> {elsewhere}/arguments; exec {shutil.which("curl")} "$@"\n'
        (elsewhere / "curl").write_text(f"#!/bin/sh\n{curl}")
        (elsewhere / "curl").chmod(0o700)
        done = subprocess.run(
            ["sh", "-c", commands],
            cwd=elsewhere,
            env={**os.environ, "CURL_HOME": str(elsewhere), "PATH": f"{elsewhere}:{PATH}"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@contextmanager
def all_clouds(folder: Path, *arguments: str) -> Iterator[Clouds]:
    words = ("cloud", "--port", "0", "--folder", "the files", *arguments)
    with started(*words, folder=folder) as process:
        clouds, title = Clouds(process, folder), ""
        while (line := process.line()) != "Ctrl-C stops it.":
            match = re.fullmatch(r"(.+) on 127\.0\.0\.1:(\d+)", line)
            title = match[1] if match else title
            port, commands = clouds.blocks.get(title, (match[2] if match else "", ""))
            clouds.blocks[title] = (port, commands if match else f"{commands}{line}\n")
        yield clouds


def test_cloud_runs_all_clouds_and_the_commands_that_it_prints_are_answered_when_pasted(
    tmp_path: Path,
) -> None:
    with all_clouds(tmp_path) as clouds:
        assert len(clouds.blocks) == len(SERVICES)
        shown = clouds.paste(clouds.block("by certificate")[1])
        assert shown.startswith("HTTP/1.1 200 OK\n") and '{"message":"OK","traceId":"' in shown
        shown = clouds.paste(clouds.block("by access key, authorizer")[1])
        assert shown.count("HTTP/1.1 200 OK") == shown.count('{"message":"OK"') == 2
        shown = clouds.paste(clouds.block("Azure")[1])
        heads = re.findall(r"HTTP/1.1 (.*)", shown)
        assert heads == 2 * ["202 Accepted", "200 OK", "204 No Content"]
        assert shown.count('"status":"assigning"}') == shown.count('"operationId":') / 2 == 2
        assert shown.count('"assignedHub":"MyExampleHub.azure-devices.net"') == 2
        shown = clouds.paste(clouds.block("Alibaba")[1] + 'echo "token $TOKEN"')
        said = r'HTTP/1.1 200\n(?s:.*)"code":0,.*"message":"success"}token ([0-9a-f]{32})\n'
        token = re.fullmatch(said, shown)
        assert token is not None
        shown = clouds.paste(clouds.block("Watson")[1])
        assert shown.startswith("HTTP/1.1 200 OK\n") and shown.endswith("\n\n")
        received = [clouds.process.line() for _ in range(7)]
        printed, arguments = clouds.printed, clouds.arguments
    assert received[0] == 'demo-thing topic qos=1 { "message": "Hello, world" }'
    assert [line.split()[0] for line in received] == [
        "demo-thing",
        "AKIDONEBUFDEMO",
        "demo-thing",
        "demo-thing",
        "self-signed-demo-thing",
        "a1B2c3D4e5F/demo-thing",
        "demo/demo-thing",
    ]
    everything = "\n".join([printed, arguments, *received])
    assert token[1] not in everything
    for file in (tmp_path / "the files").glob("demo-thing.*-*"):
        assert file.stat().st_mode & 0o77 == 0, file
        for secret in re.findall("[0-9a-f]{32,}", file.read_text()):
            assert secret not in everything, file


@pytest.mark.parametrize(
    ("title", "throttled", "right"),
    [
        ("by certificate", "429 .*Retry-After: 7.*traceId", "200 OK"),
        ("access key", "429 .*Retry-After: 7.*traceId", "200 OK"),
        ("Azure", "429 .*Retry-After: 7.*429001", "202 Accepted"),
        ("Alibaba", "200\n.*Retry-After: 7.*40000", '"code":0'),
        ("Watson", "429 .*Retry-After: 7", "200 OK"),
    ],
)
def test_cloud_with_a_fault_gives_it_to_each_cloud_in_that_clouds_own_words(
    title: str, throttled: str, right: str, tmp_path: Path
) -> None:
    with all_clouds(tmp_path, "--fault", "throttle(7)") as clouds:
        first = re.split(r"\n(?=curl)", clouds.block(title)[1].strip())[0]
        shown = clouds.paste(re.sub(r"(?s)TOKEN=\$\((.*?) \| .*", r"\1", first))
        assert re.match(f"(?s)HTTP/1.1 {throttled}", shown), shown
        assert right in clouds.paste(clouds.block(title)[1])


def test_cloud_started_again_with_its_store_knows_what_it_knew(tmp_path: Path) -> None:
    store = ("--store", "state.sqlite")
    with all_clouds(tmp_path, *store) as clouds:
        azure, aliyun = clouds.block("Azure"), clouds.block("Alibaba")
        assert '"status":"assigned"' in clouds.paste(azure[1])
        token = clouds.paste(aliyun[1] + 'echo "token $TOKEN"').split()[-1]
    with all_clouds(tmp_path, *store) as clouds:
        port, _ = clouds.block("Azure")
        _, lookup, telemetry, *_ = re.split(r"\n(?=curl)", azure[1].strip())
        again = clouds.paste(f"{lookup}\n{telemetry}".replace(azure[0], port))
        assert '"status":"assigned"' in again and "204 No Content" in again
        port, _ = clouds.block("Alibaba")
        publish = aliyun[1][aliyun[1].index("\nprintf") :].replace(aliyun[0], port)
        assert '"code":0' in clouds.paste(f"TOKEN={token}\n{publish}")
        lines = [clouds.process.line() for _ in range(2)]
    assert [line.split()[0] for line in lines] == ["demo-thing", "a1B2c3D4e5F/demo-thing"]
    assert len(Store(tmp_path / "state.sqlite").messages()) == 5


@pytest.mark.parametrize("service", SERVICES)
def test_cloud_writes_nothing_outside_of_its_folder_whatever_the_thing_is_called(
    service: str, tmp_path: Path
) -> None:
    words = ("--port", 0, "--only", service, "--folder", "files", "--thing", "../other")
    assert_one_line(onebuf("cloud", *words, folder=tmp_path), 1, "'../other'")
    assert [file.name for file in tmp_path.iterdir()] == ["files"]


def test_cloud_in_a_folder_with_a_gitignore_of_its_own_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    (tmp_path / "made").mkdir()
    for name, content in ((".", "*.pyc\n"), ("made", "*\n")):
        words = ("cloud", "--port", "0", "--only", "watson", "--folder", name)
        with started(*words, folder=tmp_path) as process:
            process.line()
        assert (tmp_path / name / ".gitignore").read_text() == content


def test_cloud_prints_a_message_in_one_line_and_none_of_its_escape_codes(cloud: Cloud) -> None:
    assert cloud.publish(message="\x1b]0;gone\x07\nsecond\r\u202e").returncode == 0
    printed = r"demo-thing test/topic qos=1 \x1b]0;gone\x07\nsecond\r\u202e"
    assert cloud.process.line() == printed


def test_cloud_started_again_keeps_the_secrets_of_its_device(tmp_path: Path) -> None:
    def secrets() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in tmp_path.glob("c/demo-thing.*-*")}

    found = []
    for _ in range(2):
        with started("cloud", "--port", "0", "--folder", "c", folder=tmp_path) as process:
            while process.line() != "Ctrl-C stops it.":
                pass
        found.append(secrets())
    assert found[0] == found[1] and len(found[0]) == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fault", [(), ("--fault", "stall(handshake),stall")])
def test_cloud_when_interrupted_ends_at_once_and_without_a_traceback(
    fault: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    with running_cloud(tmp_path, *fault) as cloud:
        idle = socket.create_connection((cloud.host, cloud.port), 5)
        cloud.process.interrupt(number)
        begun = time.monotonic()
        assert cloud.process.wait() == ENDED_BY_CTRL_C
        assert time.monotonic() - begun < 5
        assert not cloud.process.left_children()
        assert cloud.process.rest() == []
        idle.close()
    assert (tmp_path / "stderr").read_text() == ""


def test_cloud_when_started_again_keeps_its_certificates_and_its_messages(tmp_path: Path) -> None:
    store = ("--store", "messages.sqlite")
    with running_cloud(tmp_path, *store) as cloud:
        assert cloud.publish(message="kept").returncode == 0
    certificate = (tmp_path / "my certificates" / "ca.pem").read_bytes()
    with running_cloud(tmp_path, *store) as cloud:
        assert cloud.publish(message="second").returncode == 0
        assert (cloud.folder / "ca.pem").read_bytes() == certificate
    assert [m.payload for m in Store(tmp_path / "messages.sqlite").messages()] == [
        b"kept",
        b"second",
    ]


def test_cloud_with_a_fault_gives_it_to_the_first_request(tmp_path: Path) -> None:
    with running_cloud(tmp_path, "--fault", "error(503),close(head)") as cloud:
        assert_one_line(cloud.publish(), 1, "status 503", "ServiceUnavailableException")
        assert_one_line(cloud.publish(), 1, "ENODATA")
        assert cloud.publish().returncode == 0


def test_cloud_when_its_port_is_taken_says_so_in_one_line(cloud: Cloud, tmp_path: Path) -> None:
    done = onebuf("cloud", "--port", cloud.port, folder=tmp_path)
    assert_one_line(
        done, 1, f"127.0.0.1:{cloud.port} is in use, perhaps by another `onebuf cloud`"
    )


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--fault", "explode", ("'explode'", "unknown", "drip")),
        ("--fault", "drip(soon)", ("'drip(soon)'", "number")),
        ("--fault", "throttle,", ("want name",)),
        ("--port", "many", ("--port", "many")),
        ("--only", "aws,gcp", ("'gcp'", "watson")),
        ("--host", "", ("an address is wanted",)),
    ],
)
def test_cloud_with_a_misspelled_option_is_refused_with_the_reason(
    option: str, value: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    done = onebuf("cloud", option, value, folder=tmp_path)
    assert_one_line(done, USAGE, option, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--thing", "ca"),
        ("--thing", "not:watson"),
        ("--port", "99999"),
        ("--port", "65534"),
        ("--folder", "occupied"),
        ("--folder", "occupied/below"),
        ("--store", "occupied"),
        ("--store", "missing/file"),
    ],
)
def test_cloud_with_an_impossible_option_is_refused_in_one_line(
    option: str, value: str, tmp_path: Path
) -> None:
    (tmp_path / "occupied").write_text("neither a folder nor a database")
    free = () if option == "--port" else ("--port", "0")
    done = onebuf("cloud", option, value, *free, folder=tmp_path)
    assert done.returncode in (1, USAGE)
    assert_one_line(done, done.returncode, value.split("/below")[0])


# -- onebuf publish -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pem", "der"])
def test_publish_when_all_is_right_prints_the_answer(cloud: Cloud, form: str) -> None:
    done = cloud.publish(form, topic="test/topic", message=f"from {form}", qos=0)
    assert (done.returncode, done.stderr) == (0, "")
    status, body = done.stdout.splitlines()
    assert status == "Response status: 200"
    assert body.startswith('Response body: {"message":"OK",')
    assert cloud.process.line() == f"demo-thing test/topic qos=0 from {form}"


def test_publish_of_more_than_its_buffer_arrives(cloud: Cloud) -> None:
    message = "x" * 100_000
    assert cloud.publish(message=message).returncode == 0
    assert cloud.process.line() == f"demo-thing test/topic qos=1 {message}"


def test_publish_of_an_empty_message_arrives(cloud: Cloud) -> None:
    assert cloud.publish(message="").returncode == 0
    assert cloud.process.line() == "demo-thing test/topic qos=1 "


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("topic", "a/+/b", "topic"),
        ("topic", "", "topic"),
        ("topic", "a/b/c/d/e/f/g/h/i", "topic"),
        ("topic", "$SYS/x", "topic"),
        ("topic", "a\r\nb", "topic"),
        ("endpoint", "https://example.com", "endpoint"),
        ("endpoint", "other.example", "EKEYREJECTED"),
        ("cacert", "missing.pem", "missing.pem"),
        ("cert", "missing.pem", "missing.pem"),
        ("port", 1, "ECONNREFUSED"),
    ],
)
def test_publish_with_a_wrong_option_says_so_in_one_line(
    cloud: Cloud, option: str, value: object, word: str
) -> None:
    assert_one_line(cloud.publish(**{option: value}), 1, word)


def test_publish_offers_the_protocol_that_aws_wants_on_port_443(tmp_path: Path) -> None:
    aws = AWSCloud(Authority(tmp_path / "certificates"), login="x509-alpn")
    pair = aws.add_thing("dev-0001")
    words = (
        "--endpoint",
        aws.endpoint,
        "--address",
        "127.0.0.1",
        "--cacert",
        aws.authority.ca_pem,
    )
    words += ("--cert", pair.cert_pem, "--key", pair.key_pem)
    with serve(aws) as cloud:
        done = onebuf("publish", *words, "--port", cloud.port, folder=tmp_path)
        assert_one_line(done, 1, "status 403")
        alpn = ("--alpn", ALPN)
        done = onebuf("publish", *words, "--port", cloud.port, *alpn, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(cloud.messages()) == 1


def test_cloud_takes_a_certificate_with_alpn_where_it_takes_access_keys(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    words = ("cloud", "--port", "0", "--only", "aws-keys", "--folder", folder)
    with started(*words, folder=tmp_path) as process:
        title = re.fullmatch(r"AWS IoT, port 443, .*: (\S+) on (\S+):(\d+)", process.line())
        assert title is not None
        files = [folder / name for name in ("ca.pem", "demo-thing.pem", "demo-thing.key.pem")]
        options = ["--endpoint", title[1], "--address", title[2], "--port", title[3]]
        for name, file in zip(("--cacert", "--cert", "--key"), files, strict=True):
            options += [name, str(file)]
        done = onebuf("publish", *options, "--alpn", ALPN, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_publish_with_a_qos_that_aws_has_not_is_refused(cloud: Cloud) -> None:
    assert_one_line(cloud.publish(qos=2), USAGE, "--qos", "2")


def test_publish_without_a_required_option_is_refused(tmp_path: Path) -> None:
    assert_one_line(onebuf("publish", folder=tmp_path), USAGE, "--endpoint", "--cert", "--key")


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"cacert": "demo-thing.pem"}, "EKEYREJECTED"),
        ({"cert": "demo-thing.key.pem"}, "cert"),
        ({"key": "demo-thing.pem"}, "key"),
        ({"key": "server.key"}, "invalid"),
        ({"cert": "demo-thing.key.pem", "key": "demo-thing.pem"}, ""),
    ],
)
def test_publish_with_the_wrong_file_says_so_in_one_line(
    cloud: Cloud, files: dict[str, str], word: str
) -> None:
    done = cloud.publish(**{option: cloud.folder / name for option, name in files.items()})
    assert_one_line(done, 1, word)
    assert_no_secret(cloud, done.stdout + done.stderr)


def test_publish_with_a_computers_own_authorities_refuses_the_emulated_cloud(
    cloud: Cloud,
) -> None:
    words = ("--endpoint", cloud.endpoint, "--address", cloud.host, "--port", cloud.port)
    pair = (
        "--cert",
        cloud.folder / "demo-thing.pem",
        "--key",
        cloud.folder / "demo-thing.key.pem",
    )
    done = onebuf("publish", *words, *pair, folder=cloud.folder.parent)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def assert_no_secret(cloud: Cloud, output: str) -> None:
    """Neither key, in none of the forms that bytes are printed in, nor a part of it."""
    plain = re.sub(r"\s|\\n|\\r", "", output)
    assert "PRIVATE" not in output
    for name in ("ca.key", "server.key", "demo-thing.key.pem"):
        pem = (cloud.folder / name).read_text().splitlines()
        octets = base64.b64decode("".join(pem[1:-1]))
        secret = octets[7:39]  # SEC 1 (RFC 5915): version, then the 32 octets of the key
        for form in (secret.hex(), str(secret)[2:20], base64.b64encode(octets).decode()[12:40]):
            assert form not in plain


def test_secrets_appear_in_no_output(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as cloud:
        said = [*cloud.lines]
        outputs = [cloud.publish(), cloud.publish(topic="#"), cloud.publish(port=1)]
        outputs.append(cloud.publish(cacert=cloud.folder / "demo-thing.key.pem"))
        cloud.process.interrupt()
        said += cloud.process.rest()
        for done in outputs:
            said += [done.stdout, done.stderr]
        assert_no_secret(cloud, "\n".join(said))
