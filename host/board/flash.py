"""The flash of an emulated board: a file in which, as on a chip, programming only clears bits."""

from __future__ import annotations

import mmap
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SECTOR = 4096  # the smallest erase
_ERASED = b"\xff"


class OutOfFlash(Exception):
    """The chip has no such address."""


class Flash:
    """A chip of `size` octets, erased when the file is new; MicroPython has the file open, too."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        if not path.exists() or path.stat().st_size != size:
            path.touch(0o600)  # keys will be in it
            with path.open("wb") as new:
                for _ in range(0, size, 1 << 20):
                    new.write(_ERASED * min(size, 1 << 20))
        path.chmod(0o600)
        self._file = path.open("r+b")
        try:
            if fcntl:  # who runs it twice would see one board's messages as the other's
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._octets = mmap.mmap(self._file.fileno(), size)
        except OSError as error:
            self._file.close()
            raise OSError(error.errno, "this emulated board is in use", str(path)) from None

    def read(self, at: int, n: int) -> bytes:
        """Return n octets from `at` on; OutOfFlash."""
        self._check(at, n)
        return self._octets[at : at + n]

    def program(self, at: int, data: bytes) -> None:
        """Clear the bits that data has cleared; OutOfFlash."""
        self._check(at, len(data))
        there = self._octets[at : at + len(data)]
        if there.count(_ERASED) != len(there):
            cleared = int.from_bytes(there, "little") & int.from_bytes(data, "little")
            data = cleared.to_bytes(len(data), "little")
        self._octets[at : at + len(data)] = data

    def erase(self, at: int, n: int) -> None:
        """Set all bits of the sectors that contain these octets; OutOfFlash."""
        end = -(-(at + n) // SECTOR) * SECTOR
        at -= at % SECTOR
        self._check(at, end - at)
        self._octets[at:end] = _ERASED * (end - at)

    def close(self) -> None:
        """Let go of the file, which stays."""
        self._octets.close()
        self._file.close()

    def _check(self, at: int, n: int) -> None:
        if not 0 <= at <= at + n <= self.size:
            raise OutOfFlash(f"{n} octets at {at:#x} of {self.size:#x}")
