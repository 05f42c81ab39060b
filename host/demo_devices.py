"""What `onebuf demo` shows: every cloud and every way to log in, each a device of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from host import x509_files
from host.certs import Authority, Pair
from host.cloud.aliyun import AliyunCloud
from host.cloud.aws import AWSCloud
from host.cloud.azure import HUB, AzureCloud
from host.cloud.azure_dps import ID_SCOPE
from host.cloud.http import Emulator
from host.cloud.sigv4 import Secret
from host.cloud.watson import ORG, WatsonCloud
from host.emulation import ACCESS_KEY, AUTHORIZER, PRODUCT_KEY, TOKEN_KEY, TYPE

_DAYS = 30


@dataclass(frozen=True)
class Setup:
    """A cloud that knows the device, and what the device's config.json says but for the port."""

    cloud: Emulator
    config: dict[str, Any] = field(repr=False)  # the device's secrets are in it
    pair: Pair | None = None
    above: tuple[Path, ...] = ()  # certificates, DER, that lead up from the pair's


def _aws(authority: Authority, thing: str) -> Setup:
    cloud = AWSCloud(authority)
    settings = {"endpoint": cloud.endpoint, "topic": f"fleet/{thing}/telemetry"}
    return Setup(cloud, {"cloud": "aws", "settings": settings}, cloud.add_thing(thing))


def _sigv4(authority: Authority, thing: str) -> Setup:
    cloud = AWSCloud(authority, login="sigv4")
    key = secrets.token_hex(20)
    cloud.registry.add_key(ACCESS_KEY, Secret(key))
    settings = {
        "endpoint": cloud.endpoint,
        "topic": f"fleet/{thing}/telemetry",
        "access_key": ACCESS_KEY,
        "secret_key": key,
    }
    return Setup(cloud, {"cloud": "aws_sigv4", "settings": settings, "clock": {}})


def _authorizer(authority: Authority, thing: str) -> Setup:
    cloud = AWSCloud(authority, login="sigv4")
    key = rsa.generate_private_key(65537, 2048)
    token = secrets.token_hex(16)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    cloud.authorizers.add(AUTHORIZER, TOKEN_KEY, public)
    cloud.authorizers.accept(AUTHORIZER, token, thing)
    signature = key.sign(token.encode(), padding.PKCS1v15(), hashes.SHA256())
    settings = {
        "endpoint": cloud.endpoint,
        "topic": f"fleet/{thing}/telemetry",
        "authorizer": AUTHORIZER,
        "token_key": TOKEN_KEY,
        "token": token,
        "signature": base64.b64encode(signature).decode(),
    }
    return Setup(cloud, {"cloud": "aws_authorizer", "settings": settings, "buffer": 2048})


def _dps(authority: Authority) -> AzureCloud:
    cloud = AzureCloud(authority)
    cloud.dps.retry_after_s = 1  # the document's sample has 3
    return cloud


def _azure(settings: dict[str, Any], dps: dict[str, Any], **config: Any) -> dict[str, Any]:
    given = {"id_scope": ID_SCOPE, **dps}
    return {"cloud": "azure", "settings": settings, "dps": given, **config}


def _hub_key(authority: Authority, thing: str) -> Setup:
    cloud = AzureCloud(authority)
    key = _key()
    cloud.add_device(HUB, thing, key=key)
    settings = {"hub": HUB, "device_id": thing, "key": key}
    return Setup(cloud, {"cloud": "azure", "settings": settings, "clock": {}})


def _self_signed(authority: Authority, thing: str) -> Setup:
    cloud = _dps(authority)
    key = x509_files.generate("ec")
    certificate = x509_files.self_signed(thing, key, _DAYS)
    pair = x509_files.write_pair(authority.folder, thing, key, certificate)
    cloud.enroll(thing, pair.cert_der)
    return Setup(cloud, _azure({}, {"registration_id": thing}), pair)


def _individual_chain(authority: Authority, thing: str) -> Setup:
    cloud = _dps(authority)
    pair, intermediate, root = _chain(authority, thing)
    cloud.verify_authority(root)
    cloud.enroll(thing, pair.cert_der)
    return Setup(cloud, _azure({}, {"registration_id": thing}), pair, (intermediate, root))


def _group_chain(authority: Authority, thing: str) -> Setup:
    cloud = _dps(authority)
    pair, intermediate, root = _chain(authority, thing)
    cloud.verify_authority(root)
    cloud.enroll_group("demo-group", intermediate)
    return Setup(cloud, _azure({}, {"registration_id": thing}), pair, (intermediate, root))


def _individual_key(authority: Authority, thing: str) -> Setup:
    cloud = _dps(authority)
    key = _key()
    cloud.enroll(thing, key=key)
    dps = {"registration_id": thing, "key": key}
    return Setup(cloud, _azure({"key": key}, dps, clock={}))


def _group_key(authority: Authority, thing: str) -> Setup:
    """The device gets the key derived for it; the group's stays where devices are made."""
    cloud = _dps(authority)
    group = _key()
    cloud.enroll_group("demo-group", key=group)
    mac = hmac.digest(base64.b64decode(group), thing.encode(), hashlib.sha256)
    key = base64.b64encode(mac).decode()
    return Setup(cloud, _azure({"key": key}, {"registration_id": thing, "key": key}, clock={}))


def _aliyun(method: str) -> Callable[[Authority, str], Setup]:
    def make(authority: Authority, thing: str) -> Setup:
        cloud = AliyunCloud(authority)
        settings = {
            "product_key": PRODUCT_KEY,
            "device_name": thing,
            "device_secret": cloud.add_device(PRODUCT_KEY, thing),
            "topic": f"/{PRODUCT_KEY}/{thing}/user/update",
            "signmethod": method,
        }
        return Setup(cloud, {"cloud": "aliyun", "settings": settings, "clock": {}})

    return make


def _watson(cloud: WatsonCloud, thing: str, org: str = ORG, **login: str) -> Setup:
    settings = {"org": org, "type_id": TYPE, "device_id": thing, "event": "status", **login}
    return Setup(cloud, {"cloud": "watson", "settings": settings})


def _device(authority: Authority, thing: str) -> Setup:
    cloud = WatsonCloud(authority)
    return _watson(cloud, thing, token=cloud.add_device(TYPE, thing))


def _gateway(authority: Authority, thing: str) -> Setup:
    cloud = WatsonCloud(authority)
    token = cloud.add_gateway("gateway", "gw-1")
    return _watson(cloud, thing, token=token, user=f"g/{ORG}/gateway/gw-1")


def _application(authority: Authority, thing: str) -> Setup:
    cloud = WatsonCloud(authority)
    cloud.add_device(TYPE, thing)
    key, token = cloud.add_api_key()
    return _watson(cloud, thing, token=token, user=key)


def _quickstart(authority: Authority, thing: str) -> Setup:
    return _watson(WatsonCloud(authority), thing, org="quickstart")


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _chain(authority: Authority, thing: str) -> tuple[Pair, Path, Path]:
    """A device's files, and the certificates of the intermediate and the root CA above it."""
    keys = [x509_files.generate("ec") for _ in range(3)]
    root = x509_files.authority("demo root", keys[0], _DAYS, None)
    above = x509_files.Issuer(root, keys[0])
    intermediate = x509_files.authority("demo intermediate", keys[1], _DAYS, above)
    issuer = x509_files.Issuer(intermediate, keys[1])
    folder = authority.folder
    device = x509_files.device(thing, keys[2], _DAYS, issuer)
    pair = x509_files.write_pair(folder, thing, keys[2], device)
    files = (folder / f"{thing}.intermediate.der", folder / f"{thing}.root.der")
    for file, certificate in zip(files, (intermediate, root), strict=True):
        file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    return pair, *files


# Each row of the demo's table: the cloud, how the device logs in, and what makes both.
WAYS: Mapping[str, Callable[[Authority, str], Setup]] = {
    "AWS IoT, certificate": _aws,
    "AWS IoT, access key (SigV4)": _sigv4,
    "AWS IoT, custom authorizer": _authorizer,
    "Azure IoT Hub, device key (SAS)": _hub_key,
    "Azure DPS, self-signed certificate": _self_signed,
    "Azure DPS, certificate chain": _individual_chain,
    "Azure DPS, group by certificate": _group_chain,
    "Azure DPS, device key": _individual_key,
    "Azure DPS, group by key": _group_key,
    "Alibaba Cloud, hmacmd5": _aliyun("hmacmd5"),
    "Alibaba Cloud, hmacsha1": _aliyun("hmacsha1"),
    "Alibaba Cloud, hmacsha256": _aliyun("hmacsha256"),
    "Watson IoT, device": _device,
    "Watson IoT, gateway": _gateway,
    "Watson IoT, application": _application,
    "Watson IoT, quickstart": _quickstart,
}
