"""CircuitPython's `os`, `time`, `gc`, `sys`, `hashlib`, `micropython`, and parts of others."""

from __future__ import annotations

import builtins
import calendar
import hashlib as host_hashlib
import importlib
import os as host_os
import re
import sys as host_sys
import time as host_time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, NoReturn

from host.shim.clock import Clock
from host.shim.interpreter import Output
from host.shim.library import Files

_VERSION = (10, 2, 0)
_TICKS_PERIOD = 1 << 29
_EROFS = 30
_HEAP = 2 * 1024 * 1024
_SETTING = re.compile(r'^\s*(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([-+\w.]+))\s*(?:#.*)?$')

# Of modules that mean the same in CPython, what boards have. They hold no state.
SHARED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "array": ("array",),
        "binascii": ("a2b_base64", "b2a_base64", "crc32", "hexlify", "unhexlify"),
        "collections": ("OrderedDict", "deque", "namedtuple"),
        "io": ("BytesIO", "StringIO"),
        "json": ("dump", "dumps", "load", "loads"),
        "math": ("ceil", "exp", "floor", "log", "pi", "pow", "sin", "cos", "sqrt", "trunc"),
        "re": ("compile", "match", "search", "sub"),
        "struct": ("calcsize", "pack", "pack_into", "unpack", "unpack_from"),
    }
)


def make_shared(name: str) -> ModuleType:
    """Return a module with what boards have of the host's of that name."""
    module, source = ModuleType(name), importlib.import_module(name)
    for attribute in SHARED[name]:
        setattr(module, attribute, getattr(source, attribute))
    return module


class Drive(Files):
    """The CIRCUITPY drive, the folder `root`; while USB owns it, code can only read.

    readonly: to code, which boot.py can change by storage.remount().
    """

    def __init__(self, root: Path, readonly: bool) -> None:
        super().__init__(root)
        self.root = root
        self.readonly = readonly

    def path(self, name: str = "") -> Path:
        """Return the host's path: "/" is the drive itself."""
        return self.root / name.lstrip("/") if name.startswith("/") else self.cwd / name

    def open(self, name: str | int, mode: str = "r", **options: Any) -> Any:
        """Open a file, unless to write one where code may only read (EROFS)."""
        if set(mode) & set("wax+"):
            self.check_writable()
        return builtins.open(self.path(str(name)), mode, **options)

    def check_writable(self) -> None:
        """OSError(EROFS), as the board raises for whatever would change the drive."""
        if self.readonly:
            raise OSError(_EROFS, "Read-only filesystem")

    def changing(self, call: Callable[..., Any]) -> Callable[..., None]:
        """Return call, of paths, that does nothing where code may only read."""

        def checked(*names: str) -> None:
            self.check_writable()
            call(*(self.path(name) for name in names))

        return checked

    def settings(self) -> dict[str, str]:
        """Return what settings.toml says, all as strings."""
        file = self.root / "settings.toml"
        lines = file.read_text().splitlines() if file.is_file() else []
        found = [match for match in map(_SETTING.match, lines) if match]
        return {
            match[1]: match[3] if match[2] is None else _unescaped(match[2]) for match in found
        }


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text)


def make_os(drive: Drive) -> ModuleType:
    """Return a module `os` over the drive."""
    at = drive.path
    remove = drive.changing(host_os.remove)
    module = ModuleType("os")
    vars(module).update(
        sep="/",
        chdir=drive.chdir,
        getcwd=lambda: "/" + str(drive.cwd.relative_to(drive.root)).strip("."),
        getenv=lambda key, default=None: drive.settings().get(key, default),
        listdir=lambda name="": host_os.listdir(at(name)),
        mkdir=drive.changing(host_os.mkdir),
        remove=remove,
        rename=drive.changing(host_os.replace),
        rmdir=drive.changing(host_os.rmdir),
        stat=lambda name: tuple(host_os.stat(at(name))),
        statvfs=lambda name: tuple(host_os.statvfs(at(name))),
        sync=lambda: None,
        uname=lambda: SimpleNamespace(sysname="ESP32S3", release="10.2.0", machine="CPython shim"),
        unlink=remove,
        urandom=host_os.urandom,
    )
    return module


def make_time(clock: Clock) -> ModuleType:
    """Return a module `time`: without ticks, gmtime() and time zones."""

    def localtime(seconds: float | None = None) -> host_time.struct_time:
        return host_time.gmtime(clock.time() if seconds is None else seconds)

    module = ModuleType("time")
    vars(module).update(
        localtime=localtime,
        mktime=calendar.timegm,
        monotonic=host_time.monotonic,
        monotonic_ns=host_time.monotonic_ns,
        sleep=host_time.sleep,
        struct_time=host_time.struct_time,
        time=clock.time,
    )
    return module


def ticks_ms(clock: Clock) -> int:
    """Return supervisor.ticks_ms(), which wraps at 2**29."""
    return clock.ticks_ms() % _TICKS_PERIOD


def make_gc() -> ModuleType:
    """Return a module `gc`; nothing fills its heap, and there is no threshold()."""
    state = SimpleNamespace(enabled=True)
    module = ModuleType("gc")
    vars(module).update(
        collect=lambda: None,
        disable=lambda: setattr(state, "enabled", False),
        enable=lambda: setattr(state, "enabled", True),
        isenabled=lambda: state.enabled,
        mem_alloc=lambda: 0,
        mem_free=lambda: _HEAP,
    )
    return module


class Hash:
    """A hash, which may go on after digest()."""

    def __init__(self, name: str, data: bytes) -> None:
        self._hash = host_hashlib.new(name, data)
        self.digest_size = self._hash.digest_size

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add octets."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the hash of all octets so far."""
        return self._hash.digest()


def make_hashlib() -> ModuleType:
    """Return a module `hashlib`: new() alone, of sha1 and sha256."""

    def new(name: str, data: bytes = b"") -> Hash:
        if name not in ("sha1", "sha256"):
            raise ValueError("Unsupported hash algorithm")
        return Hash(name, data)

    module = ModuleType("hashlib")
    vars(module).update(new=new, Hash=Hash)
    return module


def make_micropython() -> ModuleType:
    """Return a module `micropython`: const() alone."""
    module = ModuleType("micropython")
    vars(module)["const"] = lambda value: value
    return module


def _exit(status: object = 0) -> NoReturn:
    raise SystemExit(status)


def make_sys(path: list[str], modules: dict[str, ModuleType], output: Output) -> ModuleType:
    """Return a module `sys`; the importer searches its `path` and fills its `modules`."""
    module = ModuleType("sys")
    vars(module).update(
        argv=[],
        byteorder=host_sys.byteorder,
        exit=_exit,
        implementation=SimpleNamespace(name="circuitpython", version=_VERSION, _mpy=518),
        maxsize=(1 << 31) - 1,
        modules=modules,
        path=path,
        platform="Espressif",
        stdin=host_sys.stdin,
        stdout=output,
        stderr=output,
        version="3.4.0; CircuitPython {}.{}.{}".format(*_VERSION),
        version_info=(3, 4, 0),
    )
    return module
