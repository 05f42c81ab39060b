"""What lies on a device's flash beside the code: config.json and certificates as DER."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from host.certs import Authority, Pair
from host.cloud.aws import AWSCloud


def lay(
    folder: Path, authority: Authority, config: Mapping[str, Any], pair: Pair | None = None
) -> None:
    """Write what firmware/main.py reads to folder, for an emulated cloud at 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"ca": authority.ca_der}
    if pair is not None:
        files |= {"cert": pair.cert_der, "key": pair.key_der}
    names = {}
    for name, source in files.items():
        names[name] = f"{name}.der"
        shutil.copy(source, folder / names[name])
    whole = {"address": "127.0.0.1", **names, **config}
    (folder / "config.json").write_text(json.dumps(whole))


def provision(
    folder: Path, aws: AWSCloud, pair: Pair, topic: str, port: int, **config: object
) -> None:
    """Write them for a device with a certificate at an emulated AWS IoT on that port."""
    settings = {"endpoint": aws.endpoint, "topic": topic, "port": port}
    lay(folder, aws.authority, {"cloud": "aws", "settings": settings, **config}, pair)
