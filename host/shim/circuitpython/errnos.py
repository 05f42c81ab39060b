"""CircuitPython's `errno` on boards: newlib's numbers, which sockets raise too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

from host.shim import errnos

NEWLIB = {
    **errnos.LINUX,
    "EOPNOTSUPP": 95,
    "EADDRINUSE": 112,
    "ECONNABORTED": 113,
    "ENOBUFS": 105,
    "ENOTCONN": 128,
    "ETIMEDOUT": 116,
    "EHOSTUNREACH": 118,
    "EALREADY": 120,
    "EINPROGRESS": 119,
}
_ALSO = {"ENETUNREACH": (101, 114), "EISCONN": (106, 127)}
_FROM_LINUX = {
    **{errnos.LINUX[name]: number for name, number in NEWLIB.items()},
    **dict(_ALSO.values()),
}


def os_error(name: str) -> OSError:
    """Return the OSError of that name, with newlib's number."""
    return OSError(NEWLIB[name], name)


def board_error(error: OSError) -> OSError:
    """Return an OSError of host.shim's MicroPython with the number that a board would raise."""
    number = error.errno or NEWLIB["EIO"]
    if -256 < number < 0:
        number = -number
    return OSError(_FROM_LINUX.get(number, number), error.strerror or "")


@contextlib.contextmanager
def board_errors() -> Iterator[None]:
    """Turn each OSError of the block into `board_error` of it."""
    try:
        yield
    except OSError as error:
        raise board_error(error) from None


def make_errno() -> ModuleType:
    """Return a module `errno`."""
    module = ModuleType("errno")
    vars(module).update(NEWLIB, errorcode={number: name for name, number in NEWLIB.items()})
    return module
