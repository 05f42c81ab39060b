"""What lies on a device's flash beside the code: config.json and certificates as DER."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from host.certs import Pair
from host.cloud.aws import AWSCloud


def provision(
    folder: Path, aws: AWSCloud, pair: Pair, topic: str, port: int, **settings: object
) -> None:
    """Write them to folder, for an emulated AWS IoT at 127.0.0.1:port; settings are config's."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"ca.der": aws.authority.ca_der, "cert.der": pair.cert_der, "key.der": pair.key_der}
    for name, source in files.items():
        shutil.copy(source, folder / name)
    config = {
        "endpoint": aws.endpoint,
        "address": "127.0.0.1",
        "port": port,
        "topic": topic,
        "ca": "ca.der",
        "cert": "cert.der",
        "key": "key.der",
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config))
