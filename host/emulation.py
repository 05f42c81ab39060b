"""The emulated clouds as `onebuf cloud` starts them: one device known to all, and curl for each.

Secrets of the device lie in files of mode 0600 in the certificates' folder, and stay the same.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from host.certs import Authority, write_file
from host.cloud.aliyun import AliyunCloud
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.azure import AzureCloud
from host.cloud.http import Emulator
from host.cloud.sigv4 import Secret
from host.cloud.store import Store
from host.cloud.watson import WatsonCloud

PRODUCT_KEY = "a1B2c3D4e5F"  # Alibaba Cloud's name for a kind of device
TYPE = "demo"  # Watson's
ACCESS_KEY = "AKIDONEBUFDEMO"
AUTHORIZER = "demo-authorizer"
TOKEN_KEY = "demo-token"

_JOINT = " \\\n    "


@dataclass(frozen=True)
class Service:
    """One listener: what it emulates, and the curl commands for a port and host of it."""

    title: str
    cloud: Emulator
    curl: Callable[[int, str], str]


def aws(authority: Authority, store: Store, thing: str) -> Service:
    """AWS IoT with client certificates."""
    cloud = AWSCloud(authority, store)
    cloud.add_thing(thing)
    title = f"AWS IoT by certificate: {cloud.endpoint}"
    return Service(title, cloud, lambda port, host: cloud.curl_line(port, thing, host))


def aws_keys(authority: Authority, store: Store, thing: str) -> Service:
    """AWS IoT's port 443: access keys (SigV4), a custom authorizer, which does without signing,
    and certificates with ALPN, which curl cannot offer."""
    cloud = AWSCloud(authority, store, login="x509-alpn")
    cloud.add_thing(thing)
    key = secret(authority.folder, f"{thing}.aws-secret-key")
    token = secret(authority.folder, f"{thing}.authorizer-token")
    cloud.registry.add_key(ACCESS_KEY, Secret(key.read_text()))
    cloud.authorizers.add(AUTHORIZER, TOKEN_KEY)
    cloud.authorizers.accept(AUTHORIZER, token.read_text(), thing)

    def curl(port: int, host: str) -> str:
        begin = (
            f"curl --connect-to {ENDPOINT}:443:{host}:{port}",
            f"--cacert {shlex.quote(str(authority.ca_pem))}",
            "--request POST --data 'Hello, world'",
        )
        url = f'"https://{ENDPOINT}/topics/topic?qos=1"'
        signed = (
            f'--aws-sigv4 "aws:amz:{cloud.region}:iotdata"',
            f'--user "{ACCESS_KEY}:$(cat {shlex.quote(str(key))})"',
        )
        authorized = (
            f"--header 'x-amz-customauthorizer-name: {AUTHORIZER}'",
            f'--header "{TOKEN_KEY}: $(cat {shlex.quote(str(token))})"',
        )
        return "\n".join(_JOINT.join((*begin, *how, url)) for how in (signed, authorized))

    return Service(
        f"AWS IoT, port 443, by access key, authorizer or ALPN: {ENDPOINT}", cloud, curl
    )


def azure(authority: Authority, store: Store, thing: str) -> Service:
    """Azure's provisioning service, and the hub that it assigns."""
    cloud = AzureCloud(authority, store)
    cloud.add_thing(thing)
    title = "Azure DPS and IoT Hub: global.azure-devices-provisioning.net"
    lines = cloud.curl_lines
    return Service(title, cloud, lambda port, host: "\n".join(lines(port, thing, host)))


def aliyun(authority: Authority, store: Store, thing: str) -> Service:
    """Alibaba Cloud IoT Platform."""
    cloud = AliyunCloud(authority, store)
    key = secret(authority.folder, f"{thing}.device-secret")
    cloud.add_device(PRODUCT_KEY, thing, key.read_text())
    title = f"Alibaba Cloud IoT Platform: {cloud.host}"
    lines = cloud.curl_lines
    return Service(title, cloud, lambda port, host: lines(port, PRODUCT_KEY, thing, host))


def watson(authority: Authority, store: Store, thing: str) -> Service:
    """IBM Watson IoT Platform."""
    cloud = WatsonCloud(authority, store)
    token = secret(authority.folder, f"{thing}.watson-token")
    cloud.add_device(TYPE, thing, token.read_text())
    user = f'"use-token-auth:$(cat {shlex.quote(str(token))})"'
    title = f"IBM Watson IoT Platform: {cloud.org}.messaging.internetofthings.ibmcloud.com"
    lines = cloud.curl_lines
    return Service(title, cloud, lambda port, host: lines(port, TYPE, thing, user, host))


# In the order of their ports.
SERVICES: Mapping[str, Callable[[Authority, Store, str], Service]] = {
    "aws": aws,
    "aws-keys": aws_keys,
    "azure": azure,
    "aliyun": aliyun,
    "watson": watson,
}


def secret(folder: Path, name: str) -> Path:
    """Return the file with a secret, made on first use: 32 letters and digits."""
    path = folder / name
    if not path.is_file():
        write_file(path, secrets.token_hex(16).encode(), 0o600)
    return path
