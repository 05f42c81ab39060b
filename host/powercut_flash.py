"""Block devices for MicroPython's VfsLfs2 and VfsFat, whose power goes at a chosen operation.

They run on the device's runtime; host/powercut.py lays this beside the program. An operation is
one program (writeblocks) or one erase. As on the chip, programming clears bits and sets none.
"""

BEFORE, HALF, AFTER = 0, 1, 2
ERASED = b"\xff"


class PowerCut(BaseException):
    """The power has gone. It is raised once; what still runs then works on a copy of the image.

    That is the closing of files, on the way out and by the collector, whose finalizers run with
    the heap locked: then nothing may be allocated.
    """


def apply(image: bytearray, at: int, data: "bytes | int", replace: bool = False) -> None:
    """Change image from octet `at` on: program data, or erase as many octets as data says.

    replace: data stands there afterwards whatever did before, as on a card.
    """
    if isinstance(data, int):
        image[at : at + data] = ERASED * data
        return
    if replace or image[at : at + len(data)] == ERASED * len(data):
        image[at : at + len(data)] = data
        return
    for i in range(len(data)):
        image[at + i] &= data[i]


def half(data: "bytes | int") -> "bytes | int":
    """What of an operation is done when the power goes half-way through it."""
    return data // 2 if isinstance(data, int) else data[: len(data) // 2]


class Flash:
    """A chip with the contents `image`, which is changed in place, for VfsLfs2.

    cut is the index of the operation at which the power goes, how whether before it, half-way or
    after it. journal: a list that is given each operation, as arguments of apply(). file: an open
    one that is kept the same as image. Counters: operations, erases, programmed octets.
    """

    replaces = sectors = False

    def __init__(self, image: bytearray, block_size: int = 4096, journal=None, file=None):
        self.image = image
        self._view = memoryview(image)
        self.block_size = block_size
        self.journal = journal
        self.file = file
        self.cut = -1
        self.how = BEFORE
        self.dead = self.read_only = False
        self.operations = self.erases = self.programmed = 0

    def readblocks(self, block: int, buf, off: int = 0) -> None:
        """Fill buf."""
        at = block * self.block_size + off
        if self.dead:
            for i in range(len(buf)):
                buf[i] = self._view[at + i]
            return
        buf[:] = self._view[at : at + len(buf)]

    def writeblocks(self, block: int, buf, off: int = 0) -> None:
        """Program buf; raises PowerCut when the power goes, OSError (EROFS) if read_only."""
        at = block * self.block_size + off
        if self.dead:
            for i in range(len(buf)):
                self._view[at + i] = buf[i]
            return
        data = bytes(buf)
        self.programmed += len(data)
        self._operate(at, data)

    def ioctl(self, op: int, arg: int) -> int:
        """Erase a block, or tell their number and size: what VfsLfs2 asks for."""
        if op == 4:
            return len(self.image) // self.block_size
        if op == 5:
            return self.block_size
        if op == 6 and not self.dead:
            self.erases += 1
            self._operate(arg * self.block_size, self.block_size)
        return 0

    def power_cut(self) -> None:
        """What is called when the power goes: unplug(), and PowerCut. May be replaced."""
        self.unplug()
        raise PowerCut

    def unplug(self) -> None:
        """From now on nothing reaches the image."""
        if not self.dead:
            self.dead = True
            self._view = memoryview(bytearray(self.image))

    def _operate(self, at: int, data: "bytes | int") -> None:
        if self.read_only:
            raise OSError(30)
        now = self.operations == self.cut
        self.operations += 1
        if now and self.how == BEFORE:
            self.power_cut()
        self._change(at, half(data) if now and self.how == HALF else data)
        if now:
            self.power_cut()

    def _change(self, at: int, data: "bytes | int") -> None:
        change = (at, data, self.replaces)
        apply(self.image, *change)
        if self.journal is not None:
            self.journal.append(change)
        if self.file is not None:
            n = data if isinstance(data, int) else len(data)
            self.file.seek(at)
            self.file.write(self.image[at : at + n])
            self.file.flush()


class Sectors(Flash):
    """A chip for VfsFat: to write a sector is to erase its block and to program it.

    So do the ESP32's Partition and others behind the simple interface of block devices:
    https://docs.micropython.org/en/v1.26.0/library/vfs.html
    """

    sectors = True

    def writeblocks(self, block: int, buf, off: int = 0) -> None:
        """Write the sector buf; raises as Flash's."""
        self.ioctl(6, block)
        Flash.writeblocks(self, block, buf)


class Card(Flash):
    """An SD card for VfsFat: to write a sector is one operation, and replaces what was there."""

    replaces = sectors = True
