#!/usr/bin/env python3
"""Get a real MicroPython, 64-bit or 32-bit, without root, and say how to start it.

One that ONEBUF_MICROPYTHON32 / ONEBUF_MICROPYTHON64 names is used, else one on PATH, else
Debian's, unpacked below `.cache/micropython/`. None is returned before it has passed the probe.
The standard library suffices, because this runs before the project's venv exists.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools import debian

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "micropython"
_ETC_APT = Path("/etc/apt")
_ARCH = {32: "i386", 64: "amd64"}
_SUITES = ("forky", "trixie")  # MicroPython 1.26 and 1.25; the libraries are trixie's for both
_LIBRARIES = ("libc6", "libffi8", "libmbedcrypto16", "libmbedtls21", "libmbedx509-7")
_PROBE = """\
import sys, struct, tls, socket, select, hashlib, vfs
v = sys.implementation
print(v.name, struct.calcsize("P") * 8, "%d.%d.%d" % tuple(v.version[:3]))
"""
_PROBE_TIMEOUT_S = 10
_LOCK_TIMEOUT_S = 1800
_STAMP = "checked.json"


class Runtime(NamedTuple):
    """A MicroPython that passed the probe; `argv` is the command prefix that starts it."""

    bits: int
    argv: tuple[str, ...]
    version: str


class RuntimeMissing(Exception):
    """There is no such MicroPython; str() is the one line that says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))


def find(bits: int, cache: Path | None = None) -> Runtime:
    """Return a MicroPython with words of `bits` (32 or 64), fetched if need be.

    Raises RuntimeMissing where there is none and none can be fetched.
    """
    if bits not in _ARCH:
        raise ValueError(f"bits is 32 or 64, not {bits}")
    named = os.environ.get(f"ONEBUF_MICROPYTHON{bits}")
    if named:
        return _named(bits, named)
    on_path = shutil.which("micropython")
    if on_path:
        with contextlib.suppress(debian.Failed):
            return _probe((os.path.abspath(on_path),), bits)
    return _cached(bits, (cache or _CACHE).absolute())


def _named(bits: int, name: str) -> Runtime:
    binary = shutil.which(os.path.expanduser(name))
    try:
        if binary is None:
            raise debian.Failed("is not an executable file")
        return _probe((os.path.abspath(binary),), bits)
    except debian.Failed as e:
        variable = f"ONEBUF_MICROPYTHON{bits}"
        raise RuntimeMissing(
            f"{variable}={name} {e}: name a {bits}-bit MicroPython with tls, or unset {variable}"
        ) from e


def _probe(argv: tuple[str, ...], bits: int) -> Runtime:
    """Run `argv` before trusting it; raises Failed unless it has `bits` and all modules."""
    try:
        done = subprocess.run(
            (*argv, "-c", _PROBE),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as e:
        raise debian.Failed(f"gives no answer within {_PROBE_TIMEOUT_S} s") from e
    except OSError as e:
        raise debian.Failed(f"cannot be run ({e.strerror})") from e
    told = re.fullmatch(r"micropython (32|64) (\d+\.\d+\.\d+)\n", done.stdout)
    if done.returncode or not told:
        reason = debian.last_words(done.stderr, done.returncode)
        raise debian.Failed(f"fails the check ({reason})")
    if int(told[1]) != bits:
        raise debian.Failed(f"is a {told[1]}-bit one")
    return Runtime(bits, argv, told[2])


def _cached(bits: int, cache: Path) -> Runtime:
    """Return the unpacked one, fetched on first use; later calls neither lock nor start it."""
    _refuse_platform(bits)
    root = cache / _ARCH[bits]
    known = _stamped(root, bits)
    if known:
        return known
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with lock(root.with_suffix(".lock")):
            return _stamped(root, bits) or _rechecked(root, bits) or _fetch(root, bits)
    except debian.Offline as e:
        raise RuntimeMissing(
            f"{bits}-bit MicroPython is not here yet and the network is not there ({e}): "
            "connect and run this again"
        ) from e
    except (debian.Failed, OSError) as e:
        raise RuntimeMissing(
            f"{bits}-bit MicroPython cannot be fetched ({e}): {_by_hand(bits)}"
        ) from e


def _by_hand(bits: int) -> str:
    """Return what to do where this tool cannot help."""
    how = " with your package manager" if bits == 64 else ""
    return (
        f"install a {bits}-bit MicroPython{how} so that it is on PATH as `micropython`, "
        f"or name one in ONEBUF_MICROPYTHON{bits}"
    )


def _refuse_platform(bits: int) -> None:
    system, cpu = platform.system(), platform.machine()
    if system == "Darwin" and bits == 64:
        raise RuntimeMissing("no MicroPython with tls on PATH: run `brew install micropython`")
    if system == "Darwin":
        raise RuntimeMissing(
            "macOS runs no 32-bit MicroPython (`brew install micropython` is 64-bit only): "
            "use x86-64 Linux for the 32-bit runs"
        )
    if system != "Linux":
        raise RuntimeMissing(f"no {bits}-bit MicroPython for {system}: use Linux, or WSL 2")
    if cpu != "x86_64":
        raise RuntimeMissing(
            f"{bits}-bit MicroPython can be fetched for the CPU x86_64 only, and this is {cpu}: "
            f"{_by_hand(bits)}"
        )


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock on `path`, so that of several processes one fetches and the others wait."""
    import fcntl  # absent on Windows, which _refuse_platform has sent away

    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as e:
                if time.monotonic() > deadline:
                    raise debian.Failed(f"another process holds {path.name}") from e
            time.sleep(0.1)
        yield


def _argv(root: Path) -> tuple[str, ...]:
    """Return the command that starts what lies below `root` through its own loader and libc."""
    loader = next(root.glob("usr/lib/*/ld-linux*.so.2"), None)
    if loader is None:
        raise debian.Failed("lacks its loader")
    return (str(loader), "--library-path", str(loader.parent), str(root / "usr/bin/micropython"))


def _fingerprint(root: Path) -> dict[str, list[int]]:
    """Return size and mtime (ns) of the program and its libraries: cheap, and tells a change."""
    _, _, libraries, program = _argv(root)
    stats = {path: path.stat() for path in (Path(program), *Path(libraries).glob("*.so.*"))}
    return {str(p.relative_to(root)): [s.st_size, s.st_mtime_ns] for p, s in stats.items()}


def _stamp(root: Path, version: str) -> None:
    stamp = {"version": version, "files": _fingerprint(root)}
    (root / _STAMP).write_text(json.dumps(stamp), encoding="utf-8")


def _stamped(root: Path, bits: int) -> Runtime | None:
    """Return what passed the probe earlier if its files are still the same, else None."""
    try:
        stamp = json.loads((root / _STAMP).read_text(encoding="utf-8"))
        if stamp["files"] == _fingerprint(root):
            return Runtime(bits, _argv(root), stamp["version"])
    except (debian.Failed, OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _rechecked(root: Path, bits: int) -> Runtime | None:
    """Return what lies in the cache if it passes the probe (say, after a copy), else None."""
    try:
        runtime = _probe(_argv(root), bits)
        _stamp(root, runtime.version)
    except (debian.Failed, OSError):
        return None
    return runtime


def _fetch(root: Path, bits: int) -> Runtime:
    """Download, unpack and check, and only then put it at `root`; the lock is held."""
    sources = debian.archives(_ETC_APT)
    for left in root.parent.glob(f"{root.name}.*.tmp"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    failures: list[debian.Failed] = []
    with tempfile.TemporaryDirectory(".tmp", f"{root.name}.", root.parent) as name:
        scratch = Path(name)
        for source in sources:
            for first, suite in enumerate(_SUITES):
                packages = [f"micropython/{suite}", *(f"{lib}/trixie" for lib in _LIBRARIES)]
                try:
                    tree = debian.unpack(scratch, _ARCH[bits], source, _SUITES[first:], packages)
                    return _install(tree, root, bits)
                except debian.Offline:
                    raise
                except debian.Failed as e:
                    failures.append(e)
    raise failures[0]  # the likeliest source's first choice tells most


def _install(tree: Path, root: Path, bits: int) -> Runtime:
    """Move `tree` to `root` if it passes the probe; raises Failed, or RuntimeMissing."""
    with debian.step(f"checking ({_ARCH[bits]})"):
        try:
            version = _probe(_argv(tree), bits).version
        except debian.Failed as e:
            if getattr(e.__cause__, "errno", None) == errno.ENOEXEC:
                raise RuntimeMissing(
                    f"this machine runs no {bits}-bit programs: use x86-64 Linux with a kernel "
                    f"that does, or name a MicroPython in ONEBUF_MICROPYTHON{bits}"
                ) from e
            raise
    _stamp(tree, version)
    if root.exists():
        root.rename(tree.parent / "broken")
    tree.rename(root)
    return Runtime(bits, _argv(root), version)


def _report() -> int:
    """Fetch both and print one line each; returns the exit status."""
    status = 0
    for bits in (64, 32):
        try:
            runtime = find(bits)
            print(f"{bits}-bit MicroPython {runtime.version} from {runtime.argv[-1]}")
        except RuntimeMissing as e:
            print(f"micropython: {e}", file=sys.stderr)
            status = 1
    return status


def main(args: list[str]) -> int:
    """Fetch both, or replace this process by the one asked for; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Fetch MicroPython, both word sizes; with --bits, start that one with ARGS.",
        usage="%(prog)s [-h] [--bits {32,64} [ARGS...]]",
    )
    parser.add_argument("--bits", type=int, choices=sorted(_ARCH))
    bits = parser.parse_args(args[:2]).bits  # what follows is for MicroPython
    if bits is None:
        return _report()
    try:
        argv = find(bits).argv
    except RuntimeMissing as e:
        print(f"micropython: {e}", file=sys.stderr)
        return 1
    os.execv(argv[0], (*argv, *args[2:]))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
