"""The document's curl commands for one device of the emulated Azure, ready to paste."""

from __future__ import annotations

import shlex

from host.cloud.azure_dps import HOST as DPS_HOST

PORT = 443
_READING = '{"temperature": 30}'


def lines(files: tuple[str, str, str], names: tuple[str, ...], address: str) -> list[str]:
    """Return the commands that register, look the operation up, and send a message.

    `files` are those of the CA, the certificate chain and the key; `names` are the ID scope, the
    registration ID, the operation ID, the hub and the device ID; `address` is host:port.
    """
    id_scope, registration_id, operation_id, hub, device_id = names
    base = f"https://{DPS_HOST}/{id_scope}/registrations/{registration_id}"
    body = f'{{"registrationId": "{registration_id}"}}'
    version = "api-version=2021-06-01"
    telemetry = f"https://{hub}/devices/{device_id}/messages/events?api-version=2020-03-13"
    calls = (
        ("PUT", body, f"{base}/register?{version}"),
        ("GET", "", f"{base}/operations/{operation_id}?{version}"),
        ("POST", _READING, telemetry),
    )
    return [_line(files, address, *call) for call in calls]


def _line(files: tuple[str, str, str], address: str, method: str, body: str, url: str) -> str:
    ca, certificate, key = (shlex.quote(file) for file in files)
    words = [
        f"curl -L -i -X {method}",
        f"--connect-to {url.split('/')[2]}:{PORT}:{address}",
        f"--cacert {ca}",
        f"--cert {certificate}",
        f"--key {key}",
        "-H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'",
    ]
    if body:
        words.append(f"-d {shlex.quote(body)}")
    return " \\\n    ".join([*words, shlex.quote(url)])
