"""MicroPython's `errno` (py/mperrno.h): the numbers of Linux, whatever the host's are."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from types import ModuleType

LINUX = {
    "EPERM": 1,
    "ENOENT": 2,
    "EIO": 5,
    "EBADF": 9,
    "EAGAIN": 11,
    "ENOMEM": 12,
    "EACCES": 13,
    "EEXIST": 17,
    "ENODEV": 19,
    "EISDIR": 21,
    "EINVAL": 22,
    "EOPNOTSUPP": 95,
    "EADDRINUSE": 98,
    "ECONNABORTED": 103,
    "ECONNRESET": 104,
    "ENOBUFS": 105,
    "ENOTCONN": 107,
    "ETIMEDOUT": 110,
    "ECONNREFUSED": 111,
    "EHOSTUNREACH": 113,
    "EALREADY": 114,
    "EINPROGRESS": 115,
}
_ALSO = {"EPIPE": 32, "ENETUNREACH": 101, "EISCONN": 106}
_FROM_HOST = {
    getattr(errno, name): number
    for name, number in {**LINUX, **_ALSO}.items()
    if hasattr(errno, name)
}


def device_error(error: OSError) -> OSError:
    """Return `error` with the number that a device would see, in `errno` and in `args[0]`."""
    if isinstance(error, TimeoutError):
        return os_error("ETIMEDOUT")  # CPython's own time-out has no number
    number = error.errno if error.errno is not None else errno.EIO
    return OSError(_FROM_HOST.get(number, number), error.strerror or os.strerror(number))


@contextlib.contextmanager
def device_errors() -> Iterator[None]:
    """Turn each OSError of the block into `device_error` of it."""
    try:
        yield
    except OSError as error:
        raise device_error(error) from None


def os_error(name: str) -> OSError:
    """Return the OSError of the given name, such as "EBADF", with Linux's number."""
    return OSError({**LINUX, **_ALSO}[name], name)


def make_errno() -> ModuleType:
    """Return a module `errno`."""
    module = ModuleType("errno")
    vars(module).update(LINUX, errorcode={number: name for name, number in LINUX.items()})
    return module
