# mypy: ignore-errors
# ruff: noqa: SIM115
"""The board's file system, on a part of the flash file."""

import os
import sys
import time

import vfs
from micropython import const

_BLOCK = const(4096)
_ERASED = b"\xff" * _BLOCK


class Storage:
    """A partition of the flash file, as VfsLfs2 wants it; programming only clears bits."""

    def __init__(self, file, offset, size):
        self.file = file
        self.offset = offset
        self.blocks = size // _BLOCK

    def readblocks(self, block, buf, off=0):
        """Fill buf."""
        self.file.seek(self.offset + block * _BLOCK + off)
        self.file.readinto(buf)

    def writeblocks(self, block, buf, off=0):
        """Program buf."""
        at = self.offset + block * _BLOCK + off
        self.file.seek(at)
        there = int.from_bytes(self.file.read(len(buf)), "little")
        self.file.seek(at)
        self.file.write((there & int.from_bytes(buf, "little")).to_bytes(len(buf), "little"))

    def ioctl(self, op, arg):
        """Erase a block, or tell their number and size."""
        if op == 6:
            self.file.seek(self.offset + arg * _BLOCK)
            self.file.write(_ERASED)
        return {4: self.blocks, 5: _BLOCK}.get(op, 0)


def mount(settings):
    """Mount the file system, or make one where the flash is erased, as inisetup.py does."""
    storage = Storage(open(settings["flash"], "r+b"), settings["offset"], settings["size"])
    vfs.umount("/")
    try:
        vfs.mount(vfs.VfsLfs2(storage), "/")
    except OSError:
        first = bytearray(_BLOCK)
        storage.readblocks(0, first)
        set_up(storage, first == _ERASED)
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]


def set_up(storage, erased):
    """Make a file system; but where there is something else, say so for ever: no REPL."""
    while not erased:
        print("The filesystem appears to be corrupted. Erase the flash, and write it again.")
        time.sleep(3)
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(storage)
    vfs.mount(vfs.VfsLfs2(storage), "/")
    with open("/boot.py", "w") as file:
        file.write("# This file is executed on every boot\n")
