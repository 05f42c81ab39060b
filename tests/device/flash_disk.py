"""Somewhere for a flash queue to live: LittleFS on flash in RAM; on CPython an ordinary folder."""

import gc
import io
import os
import random

from onebuf import flash_files


class Flash:
    """NOR flash that takes no heap to work; what it wrote and erased is counted."""

    def __init__(self, blocks, block_size=4096):
        self.blocks = blocks
        self.block_size = block_size
        self.writes = self.erases = self.octets = 0
        self._erased = b"\xff" * block_size
        gc.collect()
        self._file = io.BytesIO()
        self._file.seek(blocks * block_size)  # takes the memory, once
        self._file.write(b"\0")
        self._file.seek(0)
        for _ in range(blocks):
            self._file.write(self._erased)

    def readblocks(self, block, buf, off=0):
        self._file.seek(block * self.block_size + off)
        self._file.readinto(buf)

    def writeblocks(self, block, buf, off=0):
        self.writes += 1
        self.octets += len(buf)
        self._file.seek(block * self.block_size + off)
        self._file.write(buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self.blocks
        if op == 5:
            return self.block_size
        if op == 6:
            self.erases += 1
            self._file.seek(arg * self.block_size)
            self._file.write(self._erased)
        return 0


class Disk:
    """with Disk() as disk: a file system of its own, at disk.folder, gone afterwards.

    sizes: of reads and programs, in octets. What the queue does with files fails with `number`
    where `faults` has its name: open, update (open to write), make (of a file anew), read, write,
    flush, close, remove; names: those in the folder are no UTF-8.
    """

    def __init__(self, sizes=256, blocks=24):
        self.faults = ()
        self.number = 30
        self.flash = None  # the chip, where there is one
        self.opened = []
        self._sizes = sizes
        self._blocks = blocks

    def __enter__(self):
        self._mount()
        flash_files.open = self._open
        flash_files.os = self
        return self

    def __exit__(self, *why):
        self.abandon()
        flash_files.open = open
        flash_files.os = os
        if self.flash:
            import vfs

            vfs.umount(self.folder)
        else:
            _remove(self.folder)

    def _mount(self):
        try:
            import vfs
        except ImportError:
            self.folder = "/tmp/onebuf-flash-%08x" % random.getrandbits(32)
            os.mkdir(self.folder)
            return
        self.folder = "/onebuf"
        self.flash = Flash(self._blocks)
        vfs.VfsLfs2.mkfs(self.flash, readsize=self._sizes, progsize=self._sizes)
        system = vfs.VfsLfs2(self.flash, readsize=self._sizes, progsize=self._sizes)
        vfs.mount(system, self.folder)

    def abandon(self):
        """Close what was left open: a finalizer may not outlive the file system."""
        while self.opened:
            self.opened.pop().file.close()

    def check(self, name):
        if name in self.faults:
            raise OSError(self.number)

    def listdir(self, folder):
        if "names" in self.faults:
            raise UnicodeError
        return os.listdir(folder)

    def remove(self, path):
        self.check("remove")
        os.remove(path)

    def _open(self, path, mode):
        self.check("make" if mode == "w+b" else "open")
        if mode == "r+b":
            self.check("update")
        file = _File(open(path, mode), self)
        self.opened.append(file)
        return file


class _File:
    def __init__(self, file, disk):
        self.file = file
        self.disk = disk

    def seek(self, *where):
        return self.file.seek(*where)

    def readinto(self, buf):
        self.disk.check("read")
        return self.file.readinto(buf)

    def write(self, data):
        self.disk.check("write")
        return self.file.write(data)

    def flush(self):
        self.disk.check("flush")
        self.file.flush()

    def close(self):
        if self in self.disk.opened:
            self.disk.opened.remove(self)
            self.file.close()
        self.disk.check("close")


def _remove(folder):
    for name in os.listdir(folder):
        try:
            os.remove(folder + "/" + name)
        except OSError:
            _remove(folder + "/" + name)
    os.rmdir(folder)
