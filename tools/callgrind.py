"""Count the instructions that a MicroPython executes, with valgrind's callgrind.

The machine's own valgrind may be missing, or too old for the runtime's libc: Debian's is unpacked
below `.cache/callgrind/` on first use, with a libc and that libc's symbols, which valgrind cannot
do without. No root; the system stays untouched. What cannot be had is reported as Missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tools import debian, micropython
from tools.micropython import Runtime

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "callgrind"
_ETC_APT = Path("/etc/apt")
_SUITE = "trixie"  # whose libraries tools/micropython.py unpacks too
_PACKAGES = ("valgrind", "libc6", "libc6-dbg")
_ARCH = {32: "i386", 64: "amd64"}
_TOOL = {32: "callgrind-x86-linux", 64: "callgrind-amd64-linux"}
_PROBE_TIMEOUT_S = 60
_COLLECTED = re.compile(r"^==\d+== Collected : (\d+)", re.MULTILINE)


class Missing(Exception):
    """There is no callgrind for this MicroPython; str() says why, one line."""


class Callgrind(NamedTuple):
    """A callgrind that has counted the runtime's instructions once; it is an argv prefix."""

    bits: int
    tree: Path
    runtime: Runtime

    @property
    def version(self) -> str:
        """Valgrind's version, as it says it itself."""
        done = subprocess.run(
            (str(self._tool), "--version"),
            env=_environment(self._tool.parent),
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
        )
        return done.stdout.strip().removeprefix("valgrind-")

    def argv(self, log: Path, without: str = "") -> tuple[str, ...]:
        """The command that starts MicroPython and writes to log what counted() reads.

        without: the name of a function whose instructions are not to be counted.
        """
        loader = next(self.tree.glob("usr/lib/*/ld-linux*.so.2"), None)
        loader = loader or next(self.tree.glob("usr/lib*/ld-linux*.so.2"))
        libraries = next(self.tree.glob("usr/lib/*/libc.so.6")).parent
        paths = [str(libraries)]
        if "--library-path" in self.runtime.argv:
            paths.append(self.runtime.argv[self.runtime.argv.index("--library-path") + 1])
        return (
            "/usr/bin/env",  # of valgrind's launcher, itself linked to a libc, only this is needed
            *(f"{name}={value}" for name, value in _environment(self._tool.parent).items()),
            str(self._tool),
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            *((f"--toggle-collect={without}",) if without else ()),
            "--collect-atstart=yes",  # after it, because it switches that off
            f"--log-file={log}",
            f"--extra-debuginfo-path={self.tree / 'usr/lib/debug'}",
            str(loader),
            "--library-path",
            ":".join(paths),
            self.runtime.argv[-1],
        )

    @property
    def _tool(self) -> Path:
        return self.tree / "usr/libexec/valgrind" / _TOOL[self.bits]


def find(bits: int, cache: Path | None = None) -> Callgrind:
    """Return the callgrind for tools.micropython's runtime of bits; Missing, with the reason."""
    try:
        runtime = micropython.find(bits)
        tree = _tree(bits, (cache or _CACHE).absolute())
        found = Callgrind(bits, tree, runtime)
        _probe(found)
        return found
    except (debian.Failed, micropython.RuntimeMissing, OSError, StopIteration) as e:
        raise Missing(f"no callgrind for {bits}-bit MicroPython: {e}") from e


def counted(log: Path) -> int:
    """The number of instructions that log tells of; Missing: it has none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    found = _COLLECTED.search(text)
    if not found:
        raise Missing(f"callgrind counted nothing: {debian.last_words(text, 1)}")
    return int(found[1])


def _environment(library: Path) -> dict[str, str]:
    return {"VALGRIND_LIB": str(library), "VALGRIND_LAUNCHER": os.devnull}


def _tree(bits: int, cache: Path) -> Path:
    """The folder with valgrind and libc, unpacked if it is not there yet."""
    root = cache / _ARCH[bits]
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with micropython.lock(root.with_suffix(".lock")):
            if not root.is_dir():
                _fetch(root, bits)
    return root


def _fetch(root: Path, bits: int) -> None:
    packages = [f"{name}/{_SUITE}" for name in _PACKAGES]
    failures: list[debian.Failed] = []
    for source in debian.archives(_ETC_APT):
        with tempfile.TemporaryDirectory(".tmp", f"{root.name}.", root.parent) as name:
            try:
                tree = debian.unpack(Path(name), _ARCH[bits], source, (_SUITE,), packages)
            except debian.Offline:
                raise
            except debian.Failed as e:
                failures.append(e)
                continue
            shutil.rmtree(tree / "usr/share", ignore_errors=True)
            tree.rename(root)
            return
    raise failures[0]


def _probe(found: Callgrind) -> None:
    """Run it before trusting it; raises Failed."""
    with tempfile.TemporaryDirectory(prefix="onebuf-callgrind-") as name:
        log = Path(name) / "log"
        try:
            subprocess.run(
                (*found.argv(log), "-c", "pass"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
            counted(log)
        except (subprocess.TimeoutExpired, Missing) as e:
            raise debian.Failed(" ".join(str(e).split())) from e
