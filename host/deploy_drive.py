"""Copy to a CircuitPython board what has changed, by its drive CIRCUITPY.

All of it is written under other names and made durable first, then renamed, code.py last. A cable
pulled while it is written leaves the old version. FAT has no more to promise: one pulled within
the renaming leaves a part of each, and the next run completes it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from host.deploy import Report

OWNED = ("lib/onebuf",)
_MARK = "boot_out.txt"  # CircuitPython writes it to its drive at every start
_NEW = ".onebuf-new"


class Failed(Exception):
    """The drive is not there, or does not take it; str() says what to do."""


def deploy(
    drive: Path,
    files: Mapping[str, bytes],
    owned: Sequence[str] = OWNED,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Make the drive have files, by relative path, and nothing else in the folders owned."""
    _check(drive)
    changed = {path: data for path, data in files.items() if _read(drive / path) != data}
    try:
        _write(drive, changed, say)
        removed = _others(drive, files, owned)
        for path in removed:
            (drive / path).unlink()
        _sync({(drive / path).parent for path in [*changed, *removed]})
    except OSError as error:
        for path in changed:
            with suppress(OSError):
                _new(drive / path).unlink(missing_ok=True)
        raise Failed(f"{drive}: {_advice(error)}") from error
    octets = sum(map(len, changed.values()))
    return Report(tuple(changed), octets, len(files) - len(changed), tuple(removed))


def _check(drive: Path) -> None:
    if not drive.is_dir():
        raise Failed(f"{drive}: no such drive; is the board plugged in, and CIRCUITPY mounted?")
    if not (drive / _MARK).is_file():
        raise Failed(f"{drive}: no {_MARK}, so this is not CIRCUITPY: nothing is written to it")


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _others(drive: Path, files: Mapping[str, bytes], owned: Iterable[str]) -> list[str]:
    there = [path for folder in owned for path in sorted((drive / folder).rglob("*"))]
    names = [path.relative_to(drive).as_posix() for path in there if path.is_file()]
    return [name for name in names if name not in files]


def _write(drive: Path, changed: Mapping[str, bytes], say: Callable[[str], None]) -> None:
    for path, data in changed.items():
        (drive / path).parent.mkdir(parents=True, exist_ok=True)
        with _new(drive / path).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        say(f"{path} {len(data):,}")
    for path in sorted(changed, key=lambda path: path == "code.py"):
        _new(drive / path).replace(drive / path)


def _new(path: Path) -> Path:
    return path.with_name(path.name + _NEW)


def _sync(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(PermissionError):  # Windows opens no folders
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _advice(error: OSError) -> str:
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            "it cannot be written to; has boot.py kept the drive for the program"
            " (storage.remount), or is it mounted read-only after it was pulled out?"
        )
    if error.errno == errno.ENOSPC:
        return "it is full"
    return f"the drive is gone ({error.strerror})"
