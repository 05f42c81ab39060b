"""MicroPython's `random`, `hashlib` and `os`, as far as a board has them."""

from __future__ import annotations

import hashlib as host_hashlib
import os as host_os
import random as host_random
from pathlib import Path
from types import ModuleType
from typing import Any

from host.shim.errnos import device_error


def make_random() -> ModuleType:
    """Return a module `random` with a generator of its own."""
    source = host_random.Random()

    def getrandbits(bits: int) -> int:
        if bits > 32:
            raise ValueError("bits must be 32 or less")
        return source.getrandbits(bits)

    module = ModuleType("random")
    vars(module).update(
        getrandbits=getrandbits,
        seed=source.seed,
        random=source.random,
        uniform=source.uniform,
        randint=source.randint,
        randrange=source.randrange,
        choice=source.choice,
    )
    return module


class _Hash:
    """A hash that is over once it gave its digest, as MicroPython's are."""

    algorithm: str

    def __init__(self, data: bytes | bytearray | memoryview = b"") -> None:
        self._hash = host_hashlib.new(self.algorithm, data)
        self._final = False

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes; raises ValueError after digest()."""
        self._refuse_final()
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the hash; a second call raises ValueError."""
        self._refuse_final()
        self._final = True
        return self._hash.digest()

    def _refuse_final(self) -> None:
        if self._final:
            raise ValueError("hash is final")


def make_hashlib() -> ModuleType:
    """Return a module `hashlib`."""
    module = ModuleType("hashlib")
    for algorithm in ("md5", "sha1", "sha256"):
        setattr(module, algorithm, type(algorithm, (_Hash,), {"algorithm": algorithm}))
    return module


class Files:
    """The file system of a device: relative names belong to its own current folder."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd

    def path(self, name: str = "") -> Path:
        """Return the host's path of `name`."""
        return self.cwd / name

    def open(self, name: str | int, mode: str = "r", **options: Any) -> Any:
        """Open a file; the `open` of the device's builtins."""
        return open(name if isinstance(name, int) else self.path(name), mode, **options)

    def chdir(self, name: str) -> None:
        """Change the current folder; raises ENOENT."""
        target = self.path(name).resolve()
        if not target.is_dir():
            raise device_error(FileNotFoundError(2, "no such folder"))
        self.cwd = target


def make_os(files: Files) -> ModuleType:
    """Return a module `os` over `files`."""
    at = files.path
    module = ModuleType("os")
    vars(module).update(
        sep="/",
        urandom=host_os.urandom,
        getcwd=lambda: str(files.cwd),
        chdir=files.chdir,
        listdir=lambda name="": host_os.listdir(at(name)),
        stat=lambda name: tuple(host_os.stat(at(name))),
        remove=lambda name: host_os.remove(at(name)),
        unlink=lambda name: host_os.remove(at(name)),
        rename=lambda old, new: host_os.replace(at(old), at(new)),
        mkdir=lambda name: host_os.mkdir(at(name)),
        rmdir=lambda name: host_os.rmdir(at(name)),
        sync=lambda: None,
    )
    return module
