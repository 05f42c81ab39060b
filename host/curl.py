"""curl commands for the emulated clouds, ready to paste into a shell in whatever folder.

Invariant: nothing secret is printed or an argument, which `ps` would show to everybody: curl
reads it from files of mode 0600, and a token from a `printf` that the shell does itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from host.certs import Pair, write_file

_JOINT = " \\\n    "
_ALIYUN_TOKEN = r"""sed -n 's/.*"token":"\([^"]*\)".*/\1/p'"""
_AZURE_READING = '{"temperature": 30}'


@dataclass(frozen=True)
class Curl:
    """How curl reaches a cloud that listens here, whatever its name is."""

    address: str  # host:port
    ca: Path

    def command(self, *options: str, url: str, begin: str = "curl") -> str:
        """Return the command for `url`, several lines; the options are words of the shell."""
        name, _, port = url.split("/")[2].partition(":")
        words = (
            begin,
            f"--connect-to {name}:{port or 443}:{self.address}",
            f"--cacert {_quoted(self.ca)}",
            *options,
            shlex.quote(url),
        )
        return _JOINT.join(words)

    def aws_by_certificate(self, endpoint: str, pair: Pair) -> str:
        """Return the command of AWS's documentation (seed 000)."""
        return self.command(
            *_certified(pair),
            "--request POST",
            r'--data "{ \"message\": \"Hello, world\" }"',
            url=f"https://{endpoint}:8443/topics/topic?qos=1",
            begin="curl --tlsv1.2",
        )

    def aws(self, endpoint: str, *login: str) -> str:
        """Return the command that publishes on port 443 with the options that log in."""
        url = f"https://{endpoint}/topics/topic?qos=1"
        return self.command("--request POST --data 'Hello, world'", *login, url=url)

    def azure(self, pair: Pair, register: str, lookup: str, events: str, name: str) -> str:
        """Return the document's three commands for their URLs (seed 002)."""
        body = f'{{"registrationId": "{name}"}}'
        calls = (("PUT", body, register), ("GET", "", lookup), ("POST", _AZURE_READING, events))
        fields = "-H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
        return "\n".join(
            self.command(
                *(*_certified(pair), fields),
                *([f"-d {shlex.quote(data)}"] if data else []),
                url=url,
                begin=f"curl -L -i -X {method}",
            )
            for method, data, url in calls
        )

    def aliyun(self, host: str, login: Path, topic: str) -> str:
        """Return the two requests of seed 001; `login` holds the first one's body."""
        begin = "curl --silent --show-error --request POST"
        auth = self.command(
            "--header 'Content-Type: application/json'",
            f"--data @{_quoted(login)}",
            url=f"https://{host}/auth",
            begin=begin,
        )
        publish = self.command(
            "--header @-",
            "--header 'Content-Type: application/octet-stream'",
            "--data-binary 'Hello, world'",
            url=f"https://{host}/topic{topic}",
            begin=begin,
        )
        token = f"TOKEN=$({auth} |{_JOINT}{_ALIYUN_TOKEN})"
        return f"{token}\nprintf 'password:%s' \"$TOKEN\" | {publish}"

    def watson(self, login: str, url: str) -> str:
        """Return the command that posts an event to the document's URL (seed 003)."""
        return self.command(
            login,
            "--header 'Content-Type: application/json'",
            """--data '{"temperature": 21.5}'""",
            url=url,
            begin="curl --include --request POST",  # the answer is a status without a body
        )


def secretly(file: Path, option: str, value: str) -> str:
    """Return the option that gives curl another one, and its secret value, by way of `file`."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    write_file(file, f'{option} = "{escaped}"\n'.encode(), 0o600)
    return f"--config {_quoted(file)}"


def json_file(file: Path, members: Mapping[str, str]) -> Path:
    """Write a request's secret body, and return the file."""
    write_file(file, json.dumps(members).encode(), 0o600)
    return file


def _certified(pair: Pair) -> tuple[str, str]:
    return f"--cert {_quoted(pair.cert_pem)}", f"--key {_quoted(pair.key_pem)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
