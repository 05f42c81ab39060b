"""The emulated Azure, judged by clients that nobody here wrote: curl, openssl, Azure's own SDK."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shlex
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from azure.iot.device.common.auth.sastoken import RenewableSasToken
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from OpenSSL import SSL, crypto

from host.certs import Authority
from host.cloud.azure import HUB, ID_SCOPE, AzureCloud
from host.cloud.azure_dps import HOST as DPS_HOST
from host.cloud.server import Running, serve

OTHER_HUB = "MyOtherHub.azure-devices.net"
KEY = base64.b64encode(bytes(range(32))).decode()

# The commands of the seed document, word by word.
REGISTER_SELF_SIGNED = (
    "curl -L -i -X PUT --cert device-cert.pem:1234 --key device-key.pem"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    """ -d '{"registrationId": "my-x509-device"}' https://global.azure-devices-provisioning.net"""
    "/0ne00111111/registrations/my-x509-device/register?api-version=2021-06-01"
)
REGISTER_CHAIN = (
    "curl -L -i -X PUT --cert certs/device-01-full-chain.cert.pem --key private/device-01.key.pem"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    """ -d '{"registrationId": "device-01"}' https://global.azure-devices-provisioning.net"""
    "/0ne00111111/registrations/device-01/register?api-version=2021-06-01"
)
# The document's `--cert ./device-certPUT` is a slip: of two --cert, curl takes the second.
LOOKUP = (
    "curl -L -i -X GET --cert ./device-certPUT --cert device-cert.pem:1234 --key device-key.pem"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    " https://global.azure-devices-provisioning.net/0ne00111111/registrations/my-x509-device"
    "/operations/5.506603669bd3e2bf.b3602f8f-76fe-4341-9214-bb6cfb891b8a?api-version=2021-06-01"
)
DOCUMENTED_OPERATION = "5.506603669bd3e2bf.b3602f8f-76fe-4341-9214-bb6cfb891b8a"
TELEMETRY_SELF_SIGNED = (
    "curl -L -i -X POST --cert device-cert.pem:1234 --key device-key.pem"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    """ -d '{"temperature": 30}' https://MyExampleHub.azure-devices.net"""
    "/devices/my-x509-device/messages/events?api-version=2020-03-13"
)
# The document has the self-signed device's ID here too, which device-01 may not send for.
TELEMETRY_CHAIN = (
    "curl -L -i -X POST --cert certs/device-01-full-chain.cert.pem"
    " --key private/device-01.key.pem"
    " -H 'Content-Type: application/json' -H 'Content-Encoding:  utf-8'"
    """ -d '{"temperature": 30}' https://MyExampleHub.azure-devices.net"""
    "/devices/my-x509-device/messages/events?api-version=2020-03-13"
)
CURL_BY_HAND = "curl -L -i"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("azure") / "certs")


@pytest.fixture
def azure(authority: Authority) -> AzureCloud:
    return AzureCloud(authority, hubs=(HUB, OTHER_HUB))


@pytest.fixture
def cloud(azure: AzureCloud) -> Iterator[Running]:
    with serve(azure) as running:
        yield running


def openssl(folder: Path, command: str) -> None:
    done = subprocess.run(
        shlex.split(f"openssl {command}"), cwd=folder, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seed's folder after its first openssl command, the pass phrase given."""
    folder = tmp_path_factory.mktemp("self-signed")
    openssl(
        folder,
        "req -outform PEM -x509 -sha256 -newkey rsa:4096 -keyout device-key.pem"
        " -out device-cert.pem -days 30 -extensions usr_cert"
        ' -addext extendedKeyUsage=clientAuth -subj "/CN=my-x509-device" -passout pass:1234',
    )
    return folder


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, an intermediate and device-01 below it, named as in the seed."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "certs").mkdir()
    (folder / "private").mkdir()
    usages = {
        "root.ca": "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
        "intermediate": "basicConstraints=critical,CA:TRUE,pathlen:0\n"
        "keyUsage=critical,keyCertSign\n",
        "device-01": "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n",
    }
    above = ""
    for name, usage in usages.items():
        (folder / f"{name}.ext").write_text(usage)
        openssl(
            folder,
            f"req -new -newkey rsa:2048 -nodes -keyout private/{name}.key.pem -out {name}.csr"
            f' -subj "/CN={name}"',
        )
        issuer = (
            f"-CA certs/{above}.cert.pem -CAkey private/{above}.key.pem -CAcreateserial"
            if above
            else f"-signkey private/{name}.key.pem"
        )
        openssl(
            folder,
            f"x509 -req -sha256 -days 30 -in {name}.csr -extfile {name}.ext {issuer}"
            f" -out certs/{name}.cert.pem",
        )
        above = name
    parts = [folder / "certs" / f"{name}.cert.pem" for name in reversed(usages)]
    full = b"".join(part.read_bytes() for part in parts)
    (folder / "certs" / "device-01-full-chain.cert.pem").write_bytes(full)
    return folder


class Reply:
    """What `curl -i` printed."""

    def __init__(self, text: bytes) -> None:
        head, _, self.body = text.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split(" ")[1])
        self.line = status
        self.fields = Message()
        for line in lines:
            name, _, value = line.partition(": ")
            self.fields[name] = value
        self.json = json.loads(self.body) if self.body else None


def run(cloud: Running, folder: Path, command: str, *options: str) -> Reply:
    """Run a curl command, led to `cloud` and trusting its certificate."""
    words = shlex.split(command)
    assert words[0] == "curl"
    led = [f"{DPS_HOST}:443", *(f"{hub}:443" for hub in (HUB, OTHER_HUB))]
    added = [word for name in led for word in ("--connect-to", f"{name}:127.0.0.1:{cloud.port}")]
    added += ["--cacert", str(cloud.cloud.authority.ca_pem), "-sS", *options]
    done = subprocess.run(
        [words[0], *added, *words[1:]], cwd=folder, capture_output=True, timeout=20
    )
    assert done.returncode == 0, done.stderr.decode()
    return Reply(done.stdout)


# -- The document's commands; test_seed_commands has each field of the answers --------------------


@pytest.mark.parametrize("version", [("--tls-max", "1.2"), ("--tlsv1.3",)])
def test_curl_with_the_documents_commands_when_self_signed_registers_and_sends(
    cloud: Running, self_signed: Path, version: tuple[str, ...]
) -> None:
    cloud.cloud.enroll("my-x509-device", self_signed / "device-cert.pem")
    registered = run(cloud, self_signed, REGISTER_SELF_SIGNED, *version)
    assert registered.status == 202
    lookup = LOOKUP.replace(DOCUMENTED_OPERATION, registered.json["operationId"])
    found = run(cloud, self_signed, lookup, *version)
    assert found.status == 200
    state = found.json["registrationState"]
    assert (state["deviceId"], state["assignedHub"]) == ("my-x509-device", HUB)
    assert run(cloud, self_signed, TELEMETRY_SELF_SIGNED, *version).status == 204
    [message] = cloud.messages("devices/my-x509-device/messages/events")
    assert (message.device, message.payload) == ("my-x509-device", b'{"temperature": 30}')
    assert message.properties == {"hub": HUB, "application": {}, "system": {}}


@pytest.mark.parametrize("enrolled", ["group", "group of the root", "individual"])
def test_curl_with_the_documents_commands_when_chained_registers_and_sends(
    cloud: Running, chain: Path, enrolled: str
) -> None:
    azure, certs = cloud.cloud, chain / "certs"
    if enrolled == "individual":
        azure.enroll("device-01", certs / "device-01.cert.pem")
    else:
        name = "intermediate" if enrolled == "group" else "root.ca"
        azure.enroll_group("my-group", certs / f"{name}.cert.pem")
    refused = run(cloud, chain, REGISTER_CHAIN)
    assert refused.status == 401 and refused.json["message"] == "CA certificate not found."
    azure.verify_authority(certs / "root.ca.cert.pem")
    registered = run(cloud, chain, REGISTER_CHAIN)
    assert registered.line == "HTTP/1.1 202 Accepted"
    state = registration(cloud, chain)["registrationState"]
    assert state["deviceId"] == "device-01" and state["assignedHub"] == HUB
    group = {} if enrolled == "individual" else {"enrollmentGroupId": "my-group"}
    assert state["x509"] == group

    slipped = run(cloud, chain, TELEMETRY_CHAIN)
    assert slipped.status == 404 and cloud.messages() == []
    sent = run(cloud, chain, TELEMETRY_CHAIN.replace("my-x509-device", "device-01"))
    assert sent.line == "HTTP/1.1 204 No Content"
    assert [message.device for message in cloud.messages()] == ["device-01"]


def registration(cloud: Running, folder: Path) -> dict:
    """Register device-01 once more and look the operation up."""
    operation = run(cloud, folder, REGISTER_CHAIN).json["operationId"]
    lookup = REGISTER_CHAIN.replace("-X PUT", "-X GET").replace(
        "/register?", f"/operations/{operation}?"
    )
    lookup = re.sub(r"-d '[^']*' ", "", lookup)
    reply = run(cloud, folder, lookup)
    assert reply.status == 200
    return reply.json


@pytest.mark.parametrize("sent", ["device-01", "device-01 intermediate", "device-01 root.ca"])
def test_curl_when_the_chain_stops_below_the_verified_certificate_is_refused(
    cloud: Running, chain: Path, tmp_path: Path, sent: str
) -> None:
    certs = chain / "certs"
    cloud.cloud.enroll_group("my-group", certs / "intermediate.cert.pem")
    cloud.cloud.verify_authority(certs / "root.ca.cert.pem")
    part = tmp_path / "part.pem"
    part.write_bytes(b"".join((certs / f"{name}.cert.pem").read_bytes() for name in sent.split()))
    command = REGISTER_CHAIN.replace("certs/device-01-full-chain.cert.pem", str(part))
    reply = run(cloud, chain, command)
    assert reply.status == 401
    assert reply.json["errorCode"] == 401002 and reply.fields["x-ms-error-code"] == "401002"


def test_curl_when_another_certificate_has_the_same_name_is_refused(
    cloud: Running, self_signed: Path, tmp_path: Path
) -> None:
    openssl(
        tmp_path,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout device-key.pem -nodes"
        " -out device-cert.pem -days 30 -extensions usr_cert"
        ' -addext extendedKeyUsage=clientAuth -subj "/CN=my-x509-device"',
    )
    cloud.cloud.enroll("my-x509-device", self_signed / "device-cert.pem")
    reply = run(cloud, tmp_path, REGISTER_SELF_SIGNED)
    assert reply.status == 401
    assert sorted(reply.json) == ["errorCode", "message", "timestampUtc", "trackingId"]
    assert reply.json["message"] == "Invalid certificate."
    cloud.cloud.add_device(HUB, "my-x509-device", self_signed / "device-cert.pem")
    reply = run(cloud, tmp_path, TELEMETRY_SELF_SIGNED)
    assert reply.status == 401
    assert reply.fields["iothub-errorcode"] == "IotHubUnauthorizedAccess"
    assert reply.json["Message"] == "ErrorCode:IotHubUnauthorizedAccess;Unauthorized"
    assert reply.json["ExceptionMessage"].startswith("Tracking ID:")


# -- Azure's SDK ---------------------------------------------------------------------------------


def sdk_token(uri: str, key: str, name: str | None = None, ttl: int = 3600) -> str:
    return str(RenewableSasToken(uri, SymmetricKeySigningMechanism(key), name, ttl))


@pytest.mark.parametrize("grouped", [False, True])
def test_curl_with_the_sdks_tokens_when_enrolled_by_key_registers_and_sends(
    cloud: Running, tmp_path: Path, grouped: bool
) -> None:
    key = KEY
    if grouped:
        cloud.cloud.enroll_group("keys", key=KEY)
        signer = SymmetricKeySigningMechanism(KEY)
        key = signer.sign("sensor-1")  # a device's key is the group's signature of its ID
    else:
        cloud.cloud.enroll("sensor-1", key=KEY)
    resource = f"{ID_SCOPE}/registrations/sensor-1"
    token = sdk_token(resource, key, "registration")
    url = f"https://{DPS_HOST}/{resource}"
    registered = run(
        cloud,
        tmp_path,
        f"{CURL_BY_HAND} -X PUT -H 'Content-Type: application/json'"
        f" -H 'Authorization: {token}' -d '{{\"registrationId\":\"sensor-1\"}}'"
        f" '{url}/register?api-version=2021-06-01'",
    )
    assert registered.status == 202
    operation = registered.json["operationId"]
    found = run(
        cloud,
        tmp_path,
        f"{CURL_BY_HAND} -H 'Authorization: {token}'"
        f" '{url}/operations/{operation}?api-version=2021-06-01'",
    )
    state = found.json["registrationState"]
    assert state["symmetricKey"] == ({"enrollmentGroupId": "keys"} if grouped else {})
    device = f"{state['assignedHub']}/devices/{state['deviceId']}"
    sent = run(
        cloud,
        tmp_path,
        f"{CURL_BY_HAND} -H 'Authorization: {sdk_token(device, key)}' -d 21.5"
        f" 'https://{device}/messages/events?api-version=2019-10-01'",
    )
    assert sent.status == 204
    [message] = cloud.messages()
    assert (message.device, message.payload) == ("sensor-1", b"21.5")


# -- TLS -----------------------------------------------------------------------------------------


def client_tls(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.ca_pem)


def connected(
    cloud: Running, context: ssl.SSLContext | None = None
) -> http.client.HTTPSConnection:
    tls = context or client_tls(cloud.cloud.authority)
    return http.client.HTTPSConnection("localhost", cloud.port, context=tls, timeout=10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_handshake_when_the_client_names_no_server_ends_in_unrecognized_name(
    cloud: Running, version: ssl.TLSVersion
) -> None:
    tls = client_tls(cloud.cloud.authority)
    tls.check_hostname = False
    tls.minimum_version = tls.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", cloud.port), 10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        tls.wrap_socket(plain)


def test_handshake_when_the_version_is_old_is_refused_with_an_alert(cloud: Running) -> None:
    tls = client_tls(cloud.cloud.authority)
    tls.set_ciphers("DEFAULT@SECLEVEL=0")
    tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", cloud.port), 10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
    ):
        tls.wrap_socket(plain, server_hostname=HUB)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_handshake_when_the_certificate_is_another_keys_is_refused(
    cloud: Running, authority: Authority, version: int
) -> None:
    pair, other = authority.device("thief"), authority.device("victim")
    certificate = crypto.load_certificate(crypto.FILETYPE_PEM, pair.cert_pem.read_bytes())
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.use_certificate(certificate)
    context.use_privatekey_file(str(pair.key_pem))
    # OpenSSL loads no certificate with a foreign key: it gets another's public key afterwards.
    victim = crypto.load_certificate(crypto.FILETYPE_PEM, other.cert_pem.read_bytes())
    certificate.set_pubkey(victim.get_pubkey())
    with socket.create_connection(("127.0.0.1", cloud.port), 10) as plain:
        plain.setblocking(True)
        tls = SSL.Connection(context, plain)
        tls.set_tlsext_host_name(HUB.encode())
        tls.set_connect_state()
        with pytest.raises(SSL.Error):
            tls.do_handshake()
            tls.recv(1)
    deadline = time.monotonic() + 5  # the alert may come before the server has made its note
    while not cloud.handshake_errors and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "signature" in cloud.handshake_errors[0]


def test_client_without_a_certificate_when_asked_for_one_is_answered_401(cloud: Running) -> None:
    connection = connected(cloud)
    try:
        for host, name in ((DPS_HOST, "errorCode"), (HUB.upper() + ":443", "Message")):
            path = (
                f"/{ID_SCOPE}/registrations/x/operations/y?api-version=2021-06-01"
                if host == DPS_HOST
                else "/devices/x/messages/deviceBound?api-version=2020-03-13"
            )
            connection.request("GET", path, headers={"Host": host})
            reply = connection.getresponse()
            assert reply.status == 401 and name in json.loads(reply.read())
    finally:
        connection.close()


def test_message_of_256_kib_when_kept_alive_arrives_whole_and_one_more_byte_does_not(
    cloud: Running,
) -> None:
    cloud.cloud.add_device(HUB, "big", key=KEY)
    token = sdk_token(f"{HUB}/devices/big", KEY)
    connection = connected(cloud)
    payload = bytes(range(256)) * 1024
    try:
        for body, status in ((payload, 204), (payload + b"x", 413), (b"", 204)):
            connection.request(
                "POST",
                "/devices/big/messages/events?api-version=2020-03-13",
                body,
                {"Host": HUB, "Authorization": token},
            )
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status
    finally:
        connection.close()
    assert [message.payload for message in cloud.messages()] == [payload, b""]


def test_service_when_throttled_answers_in_the_form_of_the_host(cloud: Running) -> None:
    cloud.faults.add("throttle(7)x2,error(503)")
    connection = connected(cloud)
    try:
        bodies = []
        for host in (DPS_HOST, HUB, HUB):
            connection.request("GET", "/", headers={"Host": host})
            reply = connection.getresponse()
            bodies.append((reply.status, reply.headers["Retry-After"], json.loads(reply.read())))
    finally:
        connection.close()
    assert [body[:2] for body in bodies] == [(429, "7"), (429, "7"), (503, None)]
    assert bodies[0][2]["errorCode"] == 429001
    assert "ThrottlingException" in bodies[1][2]["Message"]
    assert "ServiceUnavailable" in bodies[2][2]["Message"]


@pytest.mark.parametrize("fault", ["close", "cut", "reset", "close(body)", "close(handshake)"])
def test_faults_of_the_connection_when_over_tls_end_it_and_leave_the_cloud_serving(
    cloud: Running, fault: str
) -> None:
    cloud.faults.add(fault)
    broken = connected(cloud)
    try:
        with pytest.raises((OSError, http.client.HTTPException)):
            broken.request("GET", "/", headers={"Host": HUB})
            broken.getresponse().read()
    finally:
        broken.close()
    connection = connected(cloud)
    try:
        connection.request("GET", "/", headers={"Host": HUB})
        assert connection.getresponse().status == 404
    finally:
        connection.close()


def test_close_when_the_client_says_goodbye_is_orderly(cloud: Running) -> None:
    with (
        socket.create_connection(("127.0.0.1", cloud.port), 10) as plain,
        client_tls(cloud.cloud.authority).wrap_socket(plain, server_hostname=HUB) as tls,
    ):
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {HUB}\r\nConnection: close\r\n\r\n".encode())
        data = b"".join(iter(lambda: tls.recv(65536), b""))  # no SSLEOFError
    assert data.startswith(b"HTTP/1.1 404 ")


def test_stop_when_connections_are_open_returns_soon_and_leaves_no_thread(
    azure: AzureCloud,
) -> None:
    running = serve(azure)
    connection = connected(running)
    try:
        connection.connect()
        begin = time.monotonic()
        running.stop()
        assert time.monotonic() - begin < 3
    finally:
        connection.close()
    assert not any(thread.name == "onebuf-cloud" for thread in threading.enumerate())


def test_host_when_it_is_none_of_azures_is_refused(cloud: Running) -> None:
    connection = connected(cloud)
    try:
        for host in ("localhost", "NoSuchHub.azure-devices.net", f"x.{HUB}"):
            connection.request("GET", "/", headers={"Host": host})
            reply = connection.getresponse()
            assert reply.status == 400 and b"Invalid Hostname" in reply.read()
    finally:
        connection.close()


def test_constructor_when_a_hub_has_another_domain_is_refused(authority: Authority) -> None:
    with pytest.raises(ValueError, match="azure-devices"):
        AzureCloud(authority, hubs=("hub.example.com",))
    with pytest.raises(ValueError, match="not one of this account"):
        AzureCloud(authority).add_device(OTHER_HUB, "x", key=KEY)
    with pytest.raises(ValueError, match="certificate or a key"):
        AzureCloud(authority).enroll("x")
