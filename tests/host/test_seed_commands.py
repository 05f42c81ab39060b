"""Every curl command of the seed documents, in a shell, and the answer that stands below it.

Alibaba's (001) has none, and IBM's (003) has its URLs: test_cloud_aliyun and test_cloud_watson.

Only the names in brackets or italics are filled in. What makes it a test is curl's configuration
file: where the cloud listens, its CA, and that the head is shown.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3.util.connection

from host import cli
from host.certs import Authority, Pair
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.azure import HUB, ID_SCOPE, AzureCloud
from host.cloud.azure_dps import HOST as DPS_HOST
from host.cloud.server import Running, serve

HEX_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

# 000, AWS. The document has a blank behind the backslash after POST, which no shell takes.
AWS_PUBLISH = r"""curl --tlsv1.2 \
    --cacert Amazon-root-CA-1.pem \
    --cert device.pem.crt \
    --key private.pem.key \
    --request POST \
    --data "{ \"message\": \"Hello, world\" }" \
    "https://IoT_data_endpoint:8443/topics/topic?qos=1"
"""
# 002, Azure: with names in brackets, api-version 2019-03-31, and the examples, 2021-06-01.
REGISTER = (
    "curl -L -i -X PUT --cert [path_to_your_device_cert] --key [path_to_your_device_private_key]"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    """ -d '{"registrationId": "[registration_id]"}' https://global.azure-devices-provisioning.net"""
    "/[dps_id_scope]/registrations/[registration_id]/register?api-version=2019-03-31"
)
LOOKUP = (
    "curl -L -i -X GET --cert [path_to_your_device_cert] --key [path_to_your_device_private_key]"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    " https://global.azure-devices-provisioning.net/[dps_id_scope]/registrations/[registration_id]"
    "/operations/[operation_id]?api-version=2019-03-31"
)
TELEMETRY = (
    "curl -L -i -X POST --cert [path_to_your_device_cert] --key [path_to_your_device_private_key]"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    """ -d '{"temperature": 30}' https://[assigned_iot_hub_name].azure-devices.net"""
    "/devices/[device_id]/messages/events?api-version=2020-03-13"
)


@dataclass
class Reply:
    """What `curl --include` printed."""

    line: str
    fields: Message
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def paste(cloud: Running, folder: Path, hosts: tuple[str, ...], command: str) -> Reply:
    """Run the command in a shell whose curl reaches the cloud under the hosts' names."""
    lines = ["include", "no-progress-meter"]
    lines += [f'connect-to = "{host}:127.0.0.1:{cloud.port}"' for host in hosts]
    ca = cloud.cloud.authority.ca_pem
    (folder / ".curlrc").write_text("\n".join([*lines, f'cacert = "{ca}"', ""]))
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder)},
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    line, *rest = head.split("\r\n")
    fields = Message()
    for each in rest:
        name, _, value = each.partition(": ")
        fields[name] = value
    return Reply(line, fields, body)


def assert_documented(reply: Reply, line: str, fields: dict[str, str]) -> None:
    """The status line, and each field of the document's answer."""
    assert reply.line == line
    for name, pattern in fields.items():
        assert re.fullmatch(pattern, reply.fields[name] or ""), (name, reply.fields[name])


# -- 000: AWS IoT ---------------------------------------------------------------------------------


@pytest.fixture
def aws(tmp_path: Path) -> tuple[AWSCloud, Pair]:
    cloud = AWSCloud(Authority(tmp_path / "certificates"))
    return cloud, cloud.add_thing("sensor-1")


def test_aws_publish(aws: tuple[AWSCloud, Pair], tmp_path: Path) -> None:
    cloud, pair = aws
    shutil.copy(cloud.authority.ca_pem, tmp_path / "Amazon-root-CA-1.pem")
    shutil.copy(pair.cert_pem, tmp_path / "device.pem.crt")
    shutil.copy(pair.key_pem, tmp_path / "private.pem.key")
    with serve(cloud) as running:
        command = AWS_PUBLISH.replace("IoT_data_endpoint", ENDPOINT)
        reply = paste(running, tmp_path, (f"{ENDPOINT}:8443",), command)
        [message] = running.messages()
    fields = {"Content-Type": "application/json", "x-amzn-RequestId": HEX_ID}
    assert_documented(reply, "HTTP/1.1 200 OK", fields)
    assert reply.json == {"message": "OK", "traceId": reply.fields["x-amzn-RequestId"]}
    assert (message.topic, message.qos) == ("topic", 1)
    assert message.payload == b'{ "message": "Hello, world" }'


def test_aws_publish_with_requests_as_the_documents_python_program_calls_it(
    aws: tuple[AWSCloud, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, pair = aws
    connect = urllib3.util.connection.create_connection
    with serve(cloud) as running:
        here = ("127.0.0.1", running.port)
        monkeypatch.setattr(
            urllib3.util.connection,
            "create_connection",
            lambda address, *more, **named: connect(here, *more, **named),
        )
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.authority.ca_pem))
        monkeypatch.setenv("NO_PROXY", "*")
        answer = requests.request(
            "POST",
            f"https://{ENDPOINT}:8443/topics/test/topic?qos=1",
            data=b"Hello World!",
            cert=(str(pair.cert_pem), str(pair.key_pem)),
            timeout=20,
        )
        [message] = running.messages()
    assert answer.status_code == 200 and answer.json()["message"] == "OK"
    assert (message.topic, message.payload) == ("test/topic", b"Hello World!")


# -- 002: Azure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2019-03-31", "2021-06-01"])
@pytest.mark.parametrize("attestation", ["self-signed", "individual chain", "group"])
def test_azure_register_look_up_and_send_with_the_files_of_onebuf_certs(
    attestation: str, version: str, tmp_path: Path
) -> None:
    azure = AzureCloud(Authority(tmp_path / "certificates"))
    name, cert, key = enrolled(azure, attestation, tmp_path)
    names = {
        "path_to_your_device_cert": cert,
        "path_to_your_device_private_key": key,
        "dps_id_scope": ID_SCOPE,
        "registration_id": name,
        "device_id": name,
    }

    def filled(command: str) -> str:
        for word, value in names.items():
            command = command.replace(f"[{word}]", value)
        return command.replace("2019-03-31", version)

    with serve(azure) as running:

        def send(command: str) -> Reply:
            return paste(running, tmp_path, (f"{DPS_HOST}:443", f"{HUB}:443"), filled(command))

        registered = send(REGISTER)
        assert_registered(registered, name)
        names["operation_id"] = registered.json["operationId"]
        found = send(LOOKUP)
        assert_assigned(found, name, names["operation_id"], attestation)
        hub = found.json["registrationState"]["assignedHub"]
        names["assigned_iot_hub_name"] = hub.removesuffix(".azure-devices.net")
        assert_sent(send(TELEMETRY))
        [message] = running.messages(f"devices/{name}/messages/events")
    assert (message.device, message.payload) == (name, b'{"temperature": 30}')


def enrolled(azure: AzureCloud, attestation: str, folder: Path) -> tuple[str, str, str]:
    """Make and enrol the document's files: registration ID, and the words for --cert and --key."""
    if attestation == "self-signed":
        (folder / "phrase").write_text("1234\n")
        words = ["--cn", "my-x509-device", "--out", str(folder)]
        phrase = ["--pass-phrase-file", str(folder / "phrase")]
        assert cli.main(["certs", "self-signed", *words, *phrase]) == 0
        azure.enroll("my-x509-device", folder / "device-cert.pem")
        return "my-x509-device", "device-cert.pem:1234", "device-key.pem"
    assert cli.main(["certs", "chain", "--cn", "device-01", "--out", str(folder)]) == 0
    certs = folder / "certs"
    azure.verify_authority(certs / "azure-iot-test-only.root.ca.cert.pem")
    if attestation == "group":
        azure.enroll_group("my-group", certs / "azure-iot-test-only.intermediate.cert.pem")
    else:
        azure.enroll("device-01", certs / "device-01.cert.pem")
    return "device-01", "certs/device-01-full-chain.cert.pem", "private/device-01.key.pem"


JSON_FIELDS = {
    "Date": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "Content-Type": "application/json; charset=utf-8",
    "Transfer-Encoding": "chunked",
    "x-ms-request-id": HEX_ID,
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}


def assert_registered(reply: Reply, name: str) -> None:
    location = f"https://{re.escape(DPS_HOST)}/{ID_SCOPE}/registrations/{name}/register"
    fields = {**JSON_FIELDS, "Retry-After": "3", "Location": location}
    assert_documented(reply, "HTTP/1.1 202 Accepted", fields)
    assert list(reply.json) == ["operationId", "status"] and reply.json["status"] == "assigning"
    assert re.fullmatch(rf"5\.[0-9a-f]{{16}}\.{HEX_ID}", reply.json["operationId"])


def assert_assigned(reply: Reply, name: str, operation: str, attestation: str) -> None:
    assert_documented(reply, "HTTP/1.1 200 OK", JSON_FIELDS)
    state = reply.json["registrationState"]
    assert {**reply.json, "registrationState": None} == {
        "operationId": operation,
        "status": "assigned",
        "registrationState": None,
    }
    times = ("createdDateTimeUtc", "lastUpdatedDateTimeUtc")
    assert {each: state[each] for each in state if each not in (*times, "etag")} == {
        "x509": {"enrollmentGroupId": "my-group"} if attestation == "group" else {},
        "registrationId": name,
        "assignedHub": HUB,
        "deviceId": name,
        "status": "assigned",
        "substatus": "initialAssignment",
    }
    for each in times:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", state[each])
    assert re.fullmatch(f'"{HEX_ID}"', base64.b64decode(state["etag"]).decode())


def assert_sent(reply: Reply) -> None:
    fields = {
        "Content-Length": "0",
        "Vary": "Origin",
        "Server": "Microsoft-HTTPAPI/2.0",
        "x-ms-request-id": HEX_ID,
        "Date": JSON_FIELDS["Date"],
    }
    assert_documented(reply, "HTTP/1.1 204 No Content", fields)
    assert reply.body == ""
