"""The emulated clouds as `onebuf cloud` starts them: one device known to all, and curl for each.

Secrets of the device lie in files of mode 0600 in the certificates' folder, and stay the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from host import x509_files
from host.certs import Authority, Pair, check_name, write_file
from host.cloud import aliyun_rules
from host.cloud.aliyun import AliyunCloud
from host.cloud.aws import AWSCloud
from host.cloud.azure import HUB, ID_SCOPE, AzureCloud
from host.cloud.azure_dps import HOST as DPS_HOST
from host.cloud.http import Emulator
from host.cloud.sigv4 import Secret
from host.cloud.store import Store
from host.cloud.watson import ORG, WatsonCloud
from host.curl import Curl, json_file, secretly

PRODUCT_KEY = "a1B2c3D4e5F"  # Alibaba Cloud's name for a kind of device
TYPE = "demo"  # Watson's
ACCESS_KEY = "AKIDONEBUFDEMO"
AUTHORIZER = "demo-authorizer"
TOKEN_KEY = "demo-token"

_DAYS = 30  # as in Azure's document; the certificate is a new one at each start


@dataclass(frozen=True)
class Service:
    """One listener: what it emulates, and the commands for curl that reaches it."""

    title: str
    cloud: Emulator
    commands: Callable[[Curl], str]


def aws(authority: Authority, store: Store, thing: str) -> Service:
    """AWS IoT with client certificates."""
    cloud = AWSCloud(authority, store)
    pair = cloud.add_thing(thing)
    title = f"AWS IoT by certificate: {cloud.endpoint}"
    return Service(title, cloud, lambda curl: curl.aws_by_certificate(cloud.endpoint, pair))


def aws_keys(authority: Authority, store: Store, thing: str) -> Service:
    """AWS IoT's port 443: access keys (SigV4), a custom authorizer, which does without signing,
    and certificates with ALPN, which curl cannot offer."""
    cloud = AWSCloud(authority, store, login="x509-alpn")
    cloud.add_thing(thing)
    key = secret(authority.folder, thing, "aws-secret-key")
    token = secret(authority.folder, thing, "authorizer-token")
    cloud.registry.add_key(ACCESS_KEY, Secret(key))
    cloud.authorizers.add(AUTHORIZER, TOKEN_KEY)
    cloud.authorizers.accept(AUTHORIZER, token, thing)
    files = [authority.folder / f"{thing}.curl-{name}" for name in ("sigv4", "authorizer")]
    signed = (
        f'--aws-sigv4 "aws:amz:{cloud.region}:iotdata"',
        secretly(files[0], "user", f"{ACCESS_KEY}:{key}"),
    )
    authorized = (
        f"--header 'x-amz-customauthorizer-name: {AUTHORIZER}'",
        secretly(files[1], "header", f"{TOKEN_KEY}: {token}"),
    )

    def commands(curl: Curl) -> str:
        return "\n".join(curl.aws(cloud.endpoint, *login) for login in (signed, authorized))

    title = f"AWS IoT, port 443, by access key, authorizer or ALPN: {cloud.endpoint}"
    return Service(title, cloud, commands)


def azure(authority: Authority, store: Store, thing: str) -> Service:
    """Azure's provisioning service, and the hub that it assigns: both ways of its document."""
    cloud = AzureCloud(authority, store)
    pairs = {thing: cloud.add_thing(thing)}
    alone = f"self-signed-{thing}"[:64]
    key = x509_files.generate("ec")
    certificate = x509_files.self_signed(alone, key, _DAYS)
    pairs[alone] = x509_files.write_pair(authority.folder, alone, key, certificate)
    cloud.enroll(alone, pairs[alone].cert_der)

    def commands(curl: Curl) -> str:
        return "\n\n".join(_azure(curl, cloud, pair, name) for name, pair in pairs.items())

    return Service(f"Azure DPS and IoT Hub: {DPS_HOST}", cloud, commands)


def _azure(curl: Curl, cloud: AzureCloud, pair: Pair, name: str) -> str:
    """The commands for one device; the operation is that of the registration that comes next."""
    base = f"https://{DPS_HOST}/{ID_SCOPE}/registrations/{name}"
    version = "api-version=2021-06-01"
    lookup = f"{base}/operations/{cloud.dps.reserve_operation(name)}?{version}"
    events = f"https://{HUB}/devices/{name}/messages/events?api-version=2020-03-13"
    return curl.azure(pair, f"{base}/register?{version}", lookup, events, name)


def aliyun(authority: Authority, store: Store, thing: str) -> Service:
    """Alibaba Cloud IoT Platform. The login has no timestamp: it is good for ever, as a secret."""
    cloud = AliyunCloud(authority, store)
    key = secret(authority.folder, thing, "device-secret")
    cloud.add_device(PRODUCT_KEY, thing, key)
    login = {"version": "default", "clientId": thing, "signmethod": "hmacsha1"}
    login |= {"productKey": PRODUCT_KEY, "deviceName": thing}
    content = aliyun_rules.content_of(login)
    login["sign"] = aliyun_rules.signature(content, key, login["signmethod"])
    body = json_file(authority.folder / f"{thing}.aliyun-login", login)
    topic = f"/{PRODUCT_KEY}/{thing}/pub"
    title = f"Alibaba Cloud IoT Platform: {cloud.host}"
    return Service(title, cloud, lambda curl: curl.aliyun(cloud.host, body, topic))


def watson(authority: Authority, store: Store, thing: str) -> Service:
    """IBM Watson IoT Platform."""
    cloud = WatsonCloud(authority, store)
    token = secret(authority.folder, thing, "watson-token")
    cloud.add_device(TYPE, thing, token)
    login = secretly(authority.folder / f"{thing}.curl-watson", "user", f"use-token-auth:{token}")
    domain = "internetofthings.ibmcloud.com"
    event = f"/api/v0002/device/types/{TYPE}/devices/{thing}/events/status"
    title = f"IBM Watson IoT Platform: {ORG}.messaging.{domain}"
    url = f"https://{ORG}.{domain}{event}"
    return Service(title, cloud, lambda curl: curl.watson(login, url))


# In the order of their ports.
SERVICES: Mapping[str, Callable[[Authority, Store, str], Service]] = {
    "aws": aws,
    "aws-keys": aws_keys,
    "azure": azure,
    "aliyun": aliyun,
    "watson": watson,
}


def secret(folder: Path, thing: str, name: str) -> str:
    """Return the thing's secret in a file of mode 0600, made on first use; ValueError."""
    path = folder / f"{check_name(thing)}.{name}"
    if not path.is_file():
        write_file(path, secrets.token_hex(16).encode(), 0o600)
    return path.read_text().strip()
