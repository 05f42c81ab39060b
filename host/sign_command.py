"""`onebuf sign`: what SAS, Signature Version 4, Alibaba's and Watson IoT's log-in sign."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from host import secret_input, signing
from host.cloud.aliyun_rules import METHODS

_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~]*)")


def add_sign(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `onebuf`."""
    text = "show what a cloud's authentication signs, and the result"
    note = "secrets come from a file, standard input or the environment and are not printed"
    parser = commands.add_parser("sign", help=text, description=f"{text}; {note}")
    schemes = parser.add_subparsers(required=True, metavar="scheme")
    _add_sas(schemes)
    _add_sigv4(schemes)
    _add_aliyun(schemes)
    _add_watson(schemes)


def _add_sas(schemes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "Azure's shared access signature"
    command = schemes.add_parser("sas", help=text, description=text)
    secret_input.add_source(command, "key", "the key in base64", required=True)
    command.add_argument("--uri", required=True, help="such as HUB/devices/ID, not escaped")
    command.add_argument("--expiry", required=True, type=_number, help="Unix time, UTC")
    command.add_argument("--policy", default="", help="policy name; DPS: registration")
    text = "the key is an enrolment group's: derive this device's from it"
    command.add_argument("--derive", default="", metavar="REGISTRATION_ID", help=text)
    command.set_defaults(command=_run, action=_sas)


def _add_sigv4(schemes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "AWS Signature Version 4 in the Authorization field"
    command = schemes.add_parser("sigv4", help=text, description=text)
    command.add_argument("--access-key", required=True, help="access key ID")
    secret_input.add_source(command, "secret", "the secret access key", required=True)
    secret_input.add_source(command, "session-token", "the session token", required=False)
    command.add_argument("--region", required=True)
    command.add_argument("--service", default="iotdata", help="signing name (iotdata)")
    command.add_argument("--method", default="POST")
    command.add_argument("--url", required=True, help="as on the wire: %%-escaped")
    body = command.add_mutually_exclusive_group()
    body.add_argument("--body", default="", help="the payload (empty)")
    body.add_argument("--body-file", type=Path, metavar="FILE", help="or this file's octets")
    command.add_argument("--time", default="", help="YYYYMMDDTHHMMSSZ (now)")
    text = "'name: value' of a field to sign beside Host and X-Amz-*; repeatable"
    command.add_argument("--header", action="append", default=[], type=_field, help=text)
    command.add_argument("--reveal", action="store_true", help="show the session token")
    command.set_defaults(command=_run, action=_sigv4)


def _add_aliyun(schemes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "Alibaba Cloud's /auth"
    command = schemes.add_parser("aliyun", help=text, description=text)
    secret_input.add_source(command, "secret", "the device secret", required=True)
    command.add_argument("--product-key", required=True)
    command.add_argument("--device-name", required=True)
    command.add_argument("--client-id", required=True)
    command.add_argument("--timestamp", help="milliseconds of Unix time (none)")
    methods = tuple(METHODS)
    command.add_argument("--method", choices=methods, default=methods[0])
    command.set_defaults(command=_run, action=_aliyun)


def _add_watson(schemes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "IBM Watson IoT's Basic authentication"
    command = schemes.add_parser("watson", help=text, description=text)
    secret_input.add_source(command, "token", "the authentication token", required=True)
    text = "use-token-auth, g/ORG/TYPE/ID of a gateway, or an API key (use-token-auth)"
    command.add_argument("--user", default="use-token-auth", help=text)
    command.add_argument("--reveal", action="store_true", help="show the token and the header")
    command.set_defaults(command=_run, action=_watson)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no Unix time")
    return int(text)


def _field(text: str) -> tuple[str, str]:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no 'name: value' in ASCII")
    return match[1], match[2]


def _run(options: argparse.Namespace) -> int:
    try:
        print(signing.show(options.action(options)))
    except ValueError as error:
        raise SystemExit(f"onebuf: {error}") from error
    return 0


def _secret(options: argparse.Namespace, name: str) -> str:
    return secret_input.read(options, name) or ""  # the parser has seen to it that there is one


def _sas(options: argparse.Namespace) -> signing.Steps:
    if options.derive != options.derive.lower():
        text = "onebuf: DPS has registration IDs in lower case; this one signs differently"
        print(text, file=sys.stderr)
    key = _secret(options, "key")
    return signing.sas(key, options.uri, options.expiry, options.policy, options.derive)


def _sigv4(options: argparse.Namespace) -> signing.Steps:
    if options.secret_stdin and options.session_token_stdin:
        raise ValueError("standard input holds one secret, not two")
    body = options.body_file.read_bytes() if options.body_file else options.body.encode()
    request = signing.AWSRequest(
        options.method,
        options.url,
        body,
        options.time or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        options.access_key,
        options.region,
        options.service,
        dict(options.header),
    )
    token = secret_input.read(options, "session-token")
    return signing.aws(request, _secret(options, "secret"), token, options.reveal)


def _aliyun(options: argparse.Namespace) -> signing.Steps:
    parameters = {
        "clientId": options.client_id,
        "deviceName": options.device_name,
        "productKey": options.product_key,
    }
    if options.timestamp is not None:
        parameters["timestamp"] = options.timestamp
    return signing.aliyun(parameters, options.method, _secret(options, "secret"))


def _watson(options: argparse.Namespace) -> signing.Steps:
    return signing.basic(options.user, _secret(options, "token"), options.reveal)
