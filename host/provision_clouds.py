"""How each cloud takes a new device: its settings, the emulated registration, the real CLI.

Invariant: no secret is in the commands; those that need one read it from where the user has it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from host import emulation
from host.cloud import (
    aliyun_registry,
    aws,
    aws_registry,
    azure,
    azure_registry,
    watson,
    watson_registry,
)
from host.cloud.store import Store
from host.x509_files import PrivateKey


@dataclass(frozen=True)
class Login:
    """What a device proves its identity with: a certificate and its key, or a secret."""

    chain: tuple[x509.Certificate, ...] = ()  # the device's first
    key: PrivateKey | None = field(default=None, repr=False)
    secret: str = field(default="", repr=False)

    @property
    def der(self) -> bytes:
        """The device's certificate."""
        return self.chain[0].public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        """Its SHA-256 in lower-case hex, as AWS IoT's certificate ID; "" without certificate."""
        return self.chain[0].fingerprint(hashes.SHA256()).hex() if self.chain else ""


Settings = Mapping[str, str]


@dataclass(frozen=True)
class Cloud:
    """One cloud. `name` in its functions is the device's; settings are all of `settings`.

    settings: names, and what the emulated cloud has; {name} is the device's. optional: those that
    the real cloud's user need not give, because they are the same for all.
    """

    names: re.Pattern[str]
    secret: str  # the setting that is the device's secret; "": it has a certificate
    settings: Settings
    optional: tuple[str, ...]
    config: Callable[[str, Settings, str], dict[str, Any]]
    register: Callable[[Store, str, Settings, Login], None]
    commands: Callable[[str, Settings, Login, str], list[str]]

    @property
    def by_certificate(self) -> bool:
        """Whether its devices log in with a certificate."""
        return not self.secret


def _aws_config(name: str, settings: Settings, secret: str) -> dict[str, Any]:
    return {"cloud": "aws", "settings": dict(settings)}


def _aws_register(store: Store, name: str, settings: Settings, login: Login) -> None:
    registry = aws_registry.Registry(store)
    registry.deactivate(name)  # its earlier certificates
    registry.add_certificate(login.fingerprint, name, aws_registry.EVERYTHING)


def _aws_commands(name: str, settings: Settings, login: Login, cert: str) -> list[str]:
    # The account is not known here; the ARN comes out of the registration.
    return [
        _line("aws iot create-thing --thing-name", name),
        "ARN=$("
        + _line("aws iot register-certificate-without-ca --certificate-pem", f"file://{cert}")
        + " --status ACTIVE --query certificateArn --output text)",
        _line("aws iot attach-thing-principal --thing-name", name) + ' --principal "$ARN"',
        'aws iot attach-policy --policy-name "$POLICY" --target "$ARN"',
    ]


def _azure_config(name: str, settings: Settings, secret: str) -> dict[str, Any]:
    dps = {"id_scope": settings["id_scope"], "registration_id": name}
    return {"cloud": "azure", "settings": {}, "dps": dps}


def _azure_register(store: Store, name: str, settings: Settings, login: Login) -> None:
    kind = azure_registry.CERTIFICATE
    enrollment = azure_registry.Enrollment(name, kind, login.der, azure.HUB)
    azure_registry.Registry(store).enroll(enrollment)


def _azure_commands(name: str, settings: Settings, login: Login, cert: str) -> list[str]:
    sha1 = login.chain[0].fingerprint(hashes.SHA1()).hex().upper()
    enroll = _line("az iot dps enrollment create --attestation-type x509 --enrollment-id", name)
    identity = _line("az iot hub device-identity create --device-id", name)
    return [
        f'{enroll} {_line("--certificate-path", cert)} --dps-name "$DPS" -g "$RESOURCE_GROUP"',
        "# for a hub without DPS instead:",
        f'# {identity} --hub-name "$HUB" --auth-method x509_thumbprint'
        f" --primary-thumbprint {sha1} --secondary-thumbprint {sha1}",
    ]


def _aliyun_config(name: str, settings: Settings, secret: str) -> dict[str, Any]:
    given = {**settings, "device_name": name, "device_secret": secret}
    return {"cloud": "aliyun", "settings": given}


def _aliyun_register(store: Store, name: str, settings: Settings, login: Login) -> None:
    registry = aliyun_registry.Registry(store)
    registry.add_device(settings["product_key"], name, login.secret)


def _aliyun_commands(name: str, settings: Settings, login: Login, cert: str) -> list[str]:
    product = _line("aliyun iot RegisterDevice --ProductKey", settings["product_key"])
    return [f"{product} {_line('--DeviceName', name)}  # answers with the DeviceSecret"]


def _watson_config(name: str, settings: Settings, secret: str) -> dict[str, Any]:
    return {"cloud": "watson", "settings": {**settings, "device_id": name, "token": secret}}


def _watson_register(store: Store, name: str, settings: Settings, login: Login) -> None:
    registry = watson_registry.Registry(store)
    registry.add_device(settings["type_id"], name, False, login.secret)


def _watson_commands(name: str, settings: Settings, login: Login, cert: str) -> list[str]:
    host = f"https://{settings['org']}.internetofthings.ibmcloud.com"
    url = shlex.quote(f"{host}/api/v0002/device/types/{settings['type_id']}/devices")
    document = shlex.quote(f'{{"deviceId":"{name}"}}')
    return [
        'curl --netrc-file "$WATSON_NETRC" --header "Content-Type: application/json"'
        f" --data {document} {url}  # answers with the authToken"
    ]


def _line(begin: str, value: str) -> str:
    return f"{begin} {shlex.quote(value)}"


# Names: CreateThing (AWS IoT API), registration ID (PROTOCOLS 3.2), RegisterDevice (Alibaba
# Cloud), identifiers of Watson; a certificate's CN has at most 64 (RFC 5280 A.1).
CLOUDS: Mapping[str, Cloud] = {
    "aws": Cloud(
        re.compile(r"[A-Za-z0-9:_-]{1,64}"),
        "",
        {"endpoint": aws.ENDPOINT, "topic": "fleet/{name}/telemetry"},
        ("topic",),
        _aws_config,
        _aws_register,
        _aws_commands,
    ),
    "azure": Cloud(
        re.compile(r"[A-Za-z0-9._:-]{0,63}[A-Za-z0-9-]"),
        "",
        {"id_scope": azure.ID_SCOPE},
        (),
        _azure_config,
        _azure_register,
        _azure_commands,
    ),
    "aliyun": Cloud(
        re.compile(r"[A-Za-z0-9_.:@-]{4,32}"),
        "device_secret",
        {
            "product_key": emulation.PRODUCT_KEY,
            "topic": "/{product_key}/{name}/user/update",
            "host": "iot-as-http.cn-shanghai.aliyuncs.com",
        },
        ("topic", "host"),
        _aliyun_config,
        _aliyun_register,
        _aliyun_commands,
    ),
    "watson": Cloud(
        re.compile(r"[A-Za-z0-9._-]{1,36}"),
        "token",
        {"org": watson.ORG, "type_id": emulation.TYPE, "event": "status"},
        ("event",),
        _watson_config,
        _watson_register,
        _watson_commands,
    ),
}
