"""What both of Azure's services read from a request, and the refusal that both may raise."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from datetime import datetime, timezone
from urllib.parse import unquote_to_bytes

from host.cloud.http import Call

ARGUMENT_INVALID = 400004
UNAUTHORIZED = 401002

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Refused(Exception):
    """A service's refusal: its number, whose first three digits are the status, and a text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return self.code // 1000


def decoded(text: str) -> str:
    """Return `text` percent-decoded once; + stays what it is. Refused with 400."""
    if _BAD_ESCAPE.search(text):
        raise Refused(ARGUMENT_INVALID, "Invalid percent-encoding")
    try:
        return unquote_to_bytes(text.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError:
        raise Refused(ARGUMENT_INVALID, "Not UTF-8") from None


def parameters(call: Call) -> dict[str, str | None]:
    """Return the query's parameters, None for one without a value; Refused if given twice."""
    pairs = [part.partition("=") for part in call.query.split("&") if part]
    found = {decoded(name): decoded(value) if mark else None for name, mark, value in pairs}
    if len(found) != len(pairs):
        raise Refused(ARGUMENT_INVALID, "A query parameter is given twice")
    return found


def check_version(call: Call, versions: Collection[str], code: int = ARGUMENT_INVALID) -> None:
    """Refused with `code` unless the query names one of `versions` of the interface."""
    version = parameters(call).get("api-version")
    if version not in versions:  # that a missing one is refused is not settled: strict
        raise Refused(code, "The api-version is missing or not supported")


def media_type(call: Call) -> str:
    """Return the Content-Type in lower case, without parameters."""
    return call.fields.get("Content-Type", "").partition(";")[0].strip().lower()


def utc(seconds: float) -> str:
    """Return the time with the seven fractional digits of .NET."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}0Z"


def new_id() -> str:
    return str(uuid.uuid4())
