"""What lies on a device's flash beside the code: config.json and certificates as DER."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from host.certs import Authority, Pair
from host.cloud.aws import AWSCloud


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
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(authority.ca_der, folder / "ca.der")
    whole: dict[str, Any] = {"address": "127.0.0.1", "ca": "ca.der"}
    if pair is not None:
        chain = [pair.cert_der, *above]
        names = ["cert.der", *(f"cert-{n}.der" for n in range(2, len(chain) + 1))]
        for name, source in zip([*names, "key.der"], [*chain, pair.key_der], strict=True):
            shutil.copy(source, folder / name)
        whole |= {"cert": names if above else names[0], "key": "key.der"}
    (folder / "config.json").write_text(json.dumps({**whole, **config}))


def provision(
    folder: Path, aws: AWSCloud, pair: Pair, topic: str, port: int, **config: object
) -> None:
    """Write them for a device with a certificate at an emulated AWS IoT on that port."""
    settings = {"endpoint": aws.endpoint, "topic": topic, "port": port}
    lay(folder, aws.authority, {"cloud": "aws", "settings": settings, **config}, pair)
