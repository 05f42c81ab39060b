"""What lies on a device's flash beside the code: config.json and certificates as DER."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from host.certs import Authority, Pair, write_file
from host.cloud.aws import AWSCloud


def contents(
    ca: bytes, config: Mapping[str, Any], chain: Sequence[bytes] = (), key: bytes | None = None
) -> dict[str, bytes]:
    """Return the files that firmware/main.py reads, by name; certificates and key are DER.

    chain: the device's certificate, and those that lead up from it where the cloud wants them.
    """
    files = {"ca.der": ca}
    whole: dict[str, Any] = {"ca": "ca.der"}
    if key is not None:
        names = ["cert.der", *(f"cert-{n}.der" for n in range(2, len(chain) + 1))]
        files |= {**dict(zip(names, chain, strict=True)), "key.der": key}
        whole |= {"cert": names if len(names) > 1 else names[0], "key": "key.der"}
    return {**files, "config.json": json.dumps({**whole, **config}).encode()}


def lay(
    folder: Path,
    authority: Authority,
    config: Mapping[str, Any],
    pair: Pair | None = None,
    above: Sequence[Path] = (),
) -> None:
    """Write what firmware/main.py reads to folder, for an emulated cloud at 127.0.0.1.

    `above` are the certificates (DER) that lead up from the device's, where the cloud wants them.
    """
    chain = [path.read_bytes() for path in (pair.cert_der, *above)] if pair else []
    key = pair.key_der.read_bytes() if pair else None
    given = {"address": "127.0.0.1", **config}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents(authority.ca_der.read_bytes(), given, chain, key).items():
        write_file(folder / name, data, 0o600)


def provision(
    folder: Path, aws: AWSCloud, pair: Pair, topic: str, port: int, **config: object
) -> None:
    """Write them for a device with a certificate at an emulated AWS IoT on that port."""
    settings = {"endpoint": aws.endpoint, "topic": topic, "port": port}
    lay(folder, aws.authority, {"cloud": "aws", "settings": settings, **config}, pair)
