"""`onebuf publish`: the host's counterpart of the Python example in AWS's "HTTPS" page.

The publish itself is the device's: firmware/onebuf, run by the shim, against a real endpoint as
well as an emulated one.
"""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path
from typing import Any

from host.shim import Device

FIRMWARE = Path(__file__).parents[1] / "firmware"
ALPN = "x-amzn-http-ca"  # what AWS IoT wants on port 443
_BUFFER = 4096


class Failed(Exception):
    """Not published; str() says why."""


def publish(options: argparse.Namespace) -> tuple[int, str]:
    """Publish options.message: status and body of the answer. Failed, or OSError for a file."""
    device = Device(FIRMWARE)
    port, aws, api = (
        device.load(f"onebuf.{name}") for name in ("port.micropython", "cloud.aws", "publish")
    )
    try:
        cloud = aws.AWS(options.endpoint, options.topic, options.qos, options.port)
    except ValueError as error:
        raise Failed(str(error)) from error
    context = _context(port, options)
    client = device.load("onebuf.client").Client(
        port.Transport(context, options.address), bytearray(_BUFFER), cloud.host, cloud.port
    )
    response = client.response
    try:
        api.Publisher(client, cloud).publish(options.message.encode(), int(options.timeout * 1000))
    except api.PublishError as error:
        raise Failed(_reason(device, error, _aws_says(response))) from error
    finally:
        client.close()
    body = response.buf[response.off : response.off + response.n]
    return response.status, body.decode(errors="replace")


def _context(port: Any, options: argparse.Namespace) -> Any:
    """The TLS context; Failed names the file that cannot be used."""
    ca = _trusted(options.cacert)
    try:
        port.tls_context(ca)
    except ValueError as error:
        raise Failed(f"{options.cacert}: no CA certificate, PEM or DER") from error
    alpn = options.alpn or (ALPN if options.port == 443 else None)
    try:
        return port.tls_context(ca, options.cert.read_bytes(), options.key.read_bytes(), alpn=alpn)
    except ValueError as error:
        raise Failed(f"{options.cert} or {options.key}: {error}") from error


def _trusted(cacert: Path | None) -> bytes:
    if cacert is not None:
        return cacert.read_bytes()
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        raise Failed("this computer has no list of trusted CAs: name one with --cacert")
    return Path(bundle).read_bytes()


def _aws_says(response: Any) -> str:
    """What AWS IoT calls the error: the part of x-amzn-ErrorType before the colon."""
    a = response.field(b"x-amzn-errortype")
    text = bytes(response.buf[a : a + response.field_n]) if a >= 0 else b""
    return text.decode(errors="replace").split(":")[0]


def _reason(device: Device, error: OSError, aws_says: str) -> str:
    status: int = error.status  # type: ignore[attr-defined]
    if status:
        return f"refused with status {status} {aws_says}".rstrip()
    return device.load("onebuf.errno").strerror(-(error.errno or 0))
