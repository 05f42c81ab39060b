"""Give a board its identity at a cloud: keys, settings, registration, and a record of it.

The private key is made here and goes onto the board; on this computer it stays only where the
caller says so. The board is written before the cloud is told: whatever is cut off, running it
again makes a new key and leaves no half-made device.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from host import deploy, device_files, repl, x509_files
from host.certs import Authority, belongs, common_name, write_file
from host.cloud.store import Store
from host.inventory import Device, Inventory
from host.provision_clouds import CLOUDS, Cloud, Login
from host.x509_files import Issuer

DAYS = 3650  # nobody visits a device in the field to renew it
_FIRMWARE = """\
try:
    import onebuf
    print(repr(onebuf.__version__))
except ImportError:
    print(repr(''))
"""
# What an earlier identity may have left: its hub, and the certificates above its own.
_REPLACED = ("/azure.json", "/cert.der", "/cert-2.der", "/cert-3.der", "/key.der")


class Refused(Exception):
    """What was asked for cannot be; str() says why and never repeats a secret."""


@dataclass(frozen=True)
class Real:
    """The cloud itself, which its own tools register devices with."""

    ca: bytes  # DER, which the device verifies it by


@dataclass(frozen=True)
class Emulated:
    """An emulated cloud: its store is written to, also while `onebuf cloud` runs on it."""

    authority: Authority
    store: Store
    port: int
    address: str = "127.0.0.1"  # as the board reaches it

    @property
    def ca(self) -> bytes:
        """What the device verifies it by, DER."""
        return self.authority.ca_der.read_bytes()


@dataclass(frozen=True)
class Request:
    """What a device is to become.

    settings: those of the cloud that are not its usual ones. config: what else config.json says.
    login: None for one that is made here. days: that a certificate made here is valid.
    """

    board: str
    cloud: str
    name: str
    target: Real | Emulated
    settings: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    login: Login | None = None
    days: int = DAYS
    replace: bool = False  # the device that has the name now has gone


@dataclass(frozen=True)
class Identity:
    """What a device became. commands: lines for a shell that tell the real cloud of it."""

    device: Device
    certificate: Path | None
    commands: tuple[str, ...]
    report: deploy.Report


def provision(
    board: repl.Board,
    request: Request,
    inventory: Inventory,
    certificates: Path,
    keys: Path | None = None,
) -> Identity:
    """Make the board that device and record it; its clock is set, its program stays stopped.

    certificates: folder for the device's certificate, PEM. keys: one for its private key, which is
    not kept without it. Raises Refused, inventory.NameTaken, repl.Failed, OSError.
    """
    cloud = _cloud(request)
    settings = _settings(request, cloud)
    facts = board.facts()
    board.set_clock()
    login = request.login or _login(request, cloud)
    _check(request, cloud, login)
    device = _device(board, request, facts, login)
    if not request.replace:
        inventory.check(device)
    key = None if login.key is None else x509_files.key_der(login.key)
    files = _files(request, cloud, settings, login, key)
    report = deploy.update(board, files, _REPLACED)
    kept = _keep(request.name, login, certificates, keys)
    if isinstance(request.target, Emulated):
        cloud.register(request.target.store, request.name, settings, login)
    device = inventory.record(device, request.replace)
    commands = cloud.commands(request.name, settings, login, str(kept or ""))
    return Identity(device, kept, tuple(commands), report)


def held(
    board: repl.Board, request: Request, inventory: Inventory, certificates: Path = Path("certs")
) -> Identity | None:
    """Return the identity that the board has already, if it is the requested one; repl.Failed.

    The inventory has it, and the board its certificate, a key (not read), and these settings. An
    emulated cloud is told of it again.
    """
    cloud = _cloud(request)
    facts = board.facts()
    device = inventory.current(_serial(facts))
    there = set(board.lines("import os\nprint(os.listdir('/'))")[-1])
    if not device or (device.cloud, device.identity) != (request.cloud, request.name):
        return None
    login = _login_on(board, cloud, there)
    if login is None or login.fingerprint != device.fingerprint:
        return None
    settings = _settings(request, cloud)
    key = b"" if cloud.by_certificate else None
    files = _files(request, cloud, settings, login, key)
    if any(board.read(name) != files[name] for name in ("/ca.der", "/config.json")):
        return None
    if isinstance(request.target, Emulated):
        cloud.register(request.target.store, request.name, settings, login)
    kept = certificates / f"{request.name}.cert.pem"
    commands = cloud.commands(request.name, settings, login, str(kept))
    return Identity(device, None, tuple(commands), deploy.Report((), 0, len(files), ()))


def register_first(request: Request) -> str | None:
    """Return the command of a cloud that gives the secret itself, while there is none; Refused."""
    cloud = _cloud(request)
    settings = _settings(request, cloud)
    if cloud.by_certificate or request.login or isinstance(request.target, Emulated):
        return None
    return "\n".join(cloud.commands(request.name, settings, Login(), ""))


def imported(certificate: bytes, key: bytes, pass_phrase: Callable[[], bytes]) -> Login:
    """Return the login of a certificate, DER or PEM with those above it, and its key; Refused."""
    try:
        chain = tuple(x509_files.read_certificates(certificate))
        private = x509_files.read_key(key, pass_phrase)
    except ValueError as error:
        raise Refused(str(error)) from None
    if not chain or not belongs(private, chain[0]):
        raise Refused("the private key is not that of the certificate")
    return Login(chain, private)


def _cloud(request: Request) -> Cloud:
    cloud = CLOUDS[request.cloud]
    if not cloud.names.fullmatch(request.name):
        raise Refused(f"{request.cloud} takes no device name {request.name!r}")
    return cloud


def _settings(request: Request, cloud: Cloud) -> dict[str, str]:
    """The cloud's settings for this device; Refused for those that are missing or not known."""
    unknown = ", ".join(sorted({*request.settings} - {*cloud.settings}))
    if unknown:
        raise Refused(f"{request.cloud} has no setting {unknown}; it has {[*cloud.settings]}")
    needed = {*cloud.settings} - {*cloud.optional} - {*request.settings}
    if needed and isinstance(request.target, Real):
        raise Refused(f"{request.cloud} wants the settings {', '.join(sorted(needed))}")
    known = {**cloud.settings, **request.settings, "name": request.name}
    usual = {name: text.format_map(known) for name, text in cloud.settings.items()}
    return {**usual, **request.settings}


def _login(request: Request, cloud: Cloud) -> Login:
    """A new key and its certificate, or a new secret where the emulated cloud would give one."""
    if not cloud.by_certificate:
        emulated = isinstance(request.target, Emulated)
        return Login(secret=secrets.token_hex(16) if emulated else "")
    key = x509_files.generate("ec")
    target = request.target
    if request.cloud == "aws" and isinstance(target, Emulated):
        # It asks in the handshake for certificates of its own authority.
        issuer = Issuer(
            x509.load_der_x509_certificate(target.ca),
            x509_files.read_key((target.authority.folder / "ca.key").read_bytes(), bytes),
        )
        left = issuer.certificate.not_valid_after_utc - datetime.now(timezone.utc)
        days = min(request.days, left.days)
        return Login((x509_files.device(request.name, key, days, issuer),), key)
    return Login((x509_files.self_signed(request.name, key, request.days),), key)


def _check(request: Request, cloud: Cloud, login: Login) -> None:
    if not cloud.by_certificate:
        if not login.secret:
            raise Refused(f"{request.cloud} gives each device a secret, which is needed here")
        return
    if not login.chain:
        raise Refused(f"{request.cloud} wants a certificate, not a secret")
    if request.cloud == "azure" and login.chain[0].subject != common_name(request.name):
        raise Refused("DPS wants the name of the device as the CN of its certificate")


def _device(board: repl.Board, request: Request, facts: repl.Facts, login: Login) -> Device:
    return Device(
        serial=_serial(facts),
        mac=facts.mac,
        board=request.board,
        chip=facts.chip,
        cloud=request.cloud,
        identity=request.name,
        fingerprint=login.fingerprint,
        runtime=facts.runtime,
        firmware=board.lines(_FIRMWARE)[-1],
    )


def _serial(facts: repl.Facts) -> str:
    serial = facts.serial or facts.mac.replace(":", "")
    if not serial:
        raise Refused("the board has neither a unique ID nor a MAC address")
    return serial


def _login_on(board: repl.Board, cloud: Cloud, there: set[str]) -> Login | None:
    """What is on the board of a login, but for the private key; None if it is not whole."""
    if not {"ca.der", "config.json"} <= there:
        return None
    try:
        config = json.loads(board.read("/config.json"))
        if not cloud.by_certificate:
            return Login(secret=config["settings"][cloud.secret])
        names = [config["cert"]] if isinstance(config["cert"], str) else config["cert"]
        if not {*names, config["key"]} <= there:
            return None
        files = [board.read(f"/{name}") for name in names]
        chain = tuple(x509.load_der_x509_certificate(data) for data in files)
    except (ValueError, KeyError, TypeError):
        return None
    valid = chain[0].not_valid_after_utc > datetime.now(timezone.utc)
    return Login(chain) if valid else None


def _keep(name: str, login: Login, certificates: Path, keys: Path | None) -> Path | None:
    """Write the certificate, and where asked the key, to files; where the certificate is."""
    if login.key is None:
        return None
    if keys is not None:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(keys / f"{name}.key.pem", x509_files.key_pem(login.key, None), 0o600)
    certificates.mkdir(parents=True, exist_ok=True)
    kept = certificates / f"{name}.cert.pem"
    write_file(kept, x509_files.certificate_pem(*login.chain), 0o644)
    return kept


def _files(
    request: Request,
    cloud: Cloud,
    settings: Mapping[str, str],
    login: Login,
    key: bytes | None,
) -> dict[str, bytes]:
    """What main.py reads, by absolute path; key: DER."""
    config = {"clock": {}, **request.config, **cloud.config(request.name, settings, login.secret)}
    target = request.target
    if isinstance(target, Emulated):
        config["settings"] = {**config["settings"], "port": target.port}
        if "dps" in config:
            config["dps"] = {**config["dps"], "port": target.port}
        config["address"] = target.address
    der = serialization.Encoding.DER
    chain = [each.public_bytes(der) for each in login.chain]
    files = device_files.contents(target.ca, config, chain, key)
    return {f"/{name}": data for name, data in files.items()}
