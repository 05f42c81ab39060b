"""The files of a folder or of a LittleFS image, never changed; and a new image from files."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

_MAGIC = b"littlefs"  # littlefs/SPEC.md, "superblock": at octet 8 of blocks 0 and 1
_LARGEST_BLOCK = 1 << 20
_MAX_DEPTH = 8
_NO_SPACE = -28  # LFS_ERR_NOSPC
# What MicroPython mounts with on every port (extmod/vfs_lfs.c, vfs_lfsx.c). It cannot be chosen
# freely: what fits into the cache lies in its folder, and is not found with a smaller one.
_PIECE = 32
_BLOCK_CYCLES = 100


class Unreadable(Exception):
    """There is no such folder, or no such file system in the image; str() says why."""


def files(path: Path, offset: int = 0, block_size: int = 0) -> dict[str, bytes]:
    """Return all files below path by name, relative and with slashes.

    path: a folder, or an image whose file system begins at octet offset; block_size 0: what its
    superblock says. Raises Unreadable, OSError.
    """
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.is_file())
        return {each.relative_to(path).as_posix(): each.read_bytes() for each in found}
    octets = path.read_bytes()[offset:]
    stated, blocks = superblock(octets)
    return _mounted(octets, block_size or stated, blocks)


class Full(Exception):
    """The files do not fit; str() has how much it is and how much there is."""


def pack(files: Mapping[str, bytes], size: int, block_size: int) -> bytes:
    """Return a new file system of `size` octets with these files, by name with slashes.

    It is as MicroPython formats and mounts it, and the same files give the same octets: neither
    their order nor the time counts. Raises Full.
    """
    system = LittleFS(
        context=UserContext(size),
        block_size=block_size,
        block_count=size // block_size,
        block_cycles=_BLOCK_CYCLES,
        read_size=_PIECE,
        prog_size=_PIECE,
        lookahead_size=_PIECE,
        cache_size=4 * _PIECE,
    )
    try:
        for name in sorted(files):
            system.makedirs(str(PurePosixPath("/", name).parent), exist_ok=True)
            with system.open(f"/{name}", "wb") as file:
                file.write(files[name])
    except LittleFSError as error:
        if error.code != _NO_SPACE:
            raise
        octets = sum(map(len, files.values()))
        raise Full(f"{len(files)} files, {octets} octets, do not fit into {size}") from None
    return bytes(system.context.buffer)


def superblock(octets: bytes) -> tuple[int, int]:
    """Return size and number of the blocks of the file system that begins here, or Unreadable."""
    at = -1
    while (at := octets.find(_MAGIC, at + 1)) >= 0:
        version, size, count = struct.unpack_from("<III", octets.ljust(at + 24, b"\0"), at + 12)
        plausible = version >> 16 == 2 and 128 <= size <= _LARGEST_BLOCK and not size & (size - 1)
        if plausible and at - len(_MAGIC) in (0, size):
            return size, count
    raise Unreadable("no LittleFS begins here: is --offset that of the partition?")


def _mounted(octets: bytes, block_size: int, blocks: int) -> dict[str, bytes]:
    wanted = block_size * blocks
    if len(octets) < wanted:
        raise Unreadable(f"the image ends after {len(octets)} of {wanted} octets")
    context = UserContext(buffer=bytearray(octets[:wanted]))
    try:
        system = LittleFS(context, block_size=block_size, block_count=blocks, mount=True)
        return _below(system, PurePosixPath("/"), _MAX_DEPTH)
    except LittleFSError as error:
        raise Unreadable(f"LittleFS: {error}") from error


def _below(system: LittleFS, folder: PurePosixPath, depth: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in system.scandir(str(folder)):
        name = folder / entry.name
        if entry.type == 2:  # LFS_TYPE_DIR
            if depth:
                found |= _below(system, name, depth - 1)
            continue
        with system.open(str(name), "rb") as file:
            found[str(name)[1:]] = file.read()
    return found
