"""Download mode: the ROM loader's protocol, and that of the stub which esptool loads into it.

esptool's documentation, "Serial Protocol". What esptool uploads as its stub is not run: from then
on the loader answers as the stub would, with the commands that only that one has.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
import struct
import zlib
from collections.abc import Callable

from host.board.chip import Chip, Registers
from host.board.flash import SECTOR, Flash, OutOfFlash

_END = b"\xc0"
_ESCAPES = ((b"\xdb\xdc", b"\xc0"), (b"\xdb\xdd", b"\xdb"))  # as sent, as meant
_HEADER = struct.Struct("<BBHI")  # 0 for a command and 1 for a response; operation, length, value
_SYNC = re.compile(rb"\xc0\x00\x08\x24\x00....\x07\x07\x12\x20", re.DOTALL)
_INVALID, _FAILED, _CHECKSUM = 0x05, 0x06, 0x07  # why a command failed
_INTERRUPT = b"\r\x03"  # a packet begins with 0
_MAX_FRAME = 0x20000  # more between two ends is noise


class _Refused(Exception):
    """The command fails, with one of the reasons above."""


def find_sync(octets: bytes) -> int:
    """Return where the packet begins with which esptool looks for a loader, or -1."""
    found = _SYNC.search(octets)
    return found.start() if found else -1


class Loader:
    """A loader since a reset; `reset` is set when it is to go on with the application."""

    def __init__(self, chip: Chip, flash: Flash) -> None:
        self._chip, self._flash = chip, flash
        self._registers = Registers(chip)
        self._writing: _Writing | None = None
        self._stub = False
        self._left = False
        self._rest = b""
        self._commands: dict[int, Callable[[int, bytes], bytes]] = {
            0x02: self._begin,
            0x03: self._data,
            0x04: self._finish,
            0x05: self._nothing,  # the stub's upload
            0x06: self._run,
            0x07: self._nothing,
            0x08: self._sync,
            0x09: self._write_register,
            0x0A: self._read_register,
            0x0B: self._nothing,  # flash parameters
            0x0D: self._nothing,  # attach the flash
            0x0E: self._read_slowly,
            0x0F: self._nothing,  # the baud rate: a pseudo-terminal has none
            0x10: self._begin,
            0x11: self._data,
            0x12: self._finish,
            0x13: self._md5,
            0x14: self._security,
        }
        self._of_stub = {0xD0: self._erase_all, 0xD1: self._erase, 0xD2: self._read}

    @property
    def reset(self) -> bool:
        """Whether the chip leaves download mode."""
        return self._left or self._registers.reset

    def knows(self, octets: bytes) -> bool:
        """Whether they can be for a loader, and not from a program that looks for a REPL."""
        return bool(self._rest) or not octets.startswith(_INTERRUPT)

    def feed(self, octets: bytes) -> bytes:
        """Take what has come; return what is to be sent."""
        *frames, self._rest = (self._rest + octets).split(_END)
        if len(self._rest) > _MAX_FRAME:
            self._rest = b""
        return b"".join(self._answer(frame) for frame in frames if len(frame) >= _HEADER.size)

    def _answer(self, frame: bytes) -> bytes:
        for sent, meant in _ESCAPES:
            frame = frame.replace(sent, meant)
        direction, operation, n, value = _HEADER.unpack_from(frame)
        data = frame[_HEADER.size :]
        if direction or n != len(data):
            return b""
        known = {**self._commands, **(self._of_stub if self._stub else {})}
        try:
            return known.get(operation, self._unknown)(operation, self._checked(data, value))
        except _Refused as refused:
            return self._reply(operation, reason=refused.args[0])
        except (OutOfFlash, zlib.error, struct.error):
            return self._reply(operation, reason=_FAILED)

    def _checked(self, data: bytes, value: int) -> bytes:
        """The data, where a checksum came with it only if that is right."""
        if value and functools.reduce(operator.xor, data[16:], 0xEF) != value:
            raise _Refused(_CHECKSUM)
        return data

    def _reply(self, operation: int, value: int = 0, data: bytes = b"", reason: int = 0) -> bytes:
        status = bytes((bool(reason), reason)) + (b"" if self._stub else b"\0\0")
        header = _HEADER.pack(1, operation, len(data) + len(status), value)
        return _framed(header + data + status)

    def _nothing(self, operation: int, data: bytes) -> bytes:
        return self._reply(operation)

    def _unknown(self, operation: int, data: bytes) -> bytes:
        return self._reply(0xFF, reason=_INVALID)

    def _sync(self, operation: int, data: bytes) -> bytes:
        """Eight answers, with a value other than 0 from the ROM."""
        return self._reply(operation, 0 if self._stub else 0x20120707) * 8

    def _security(self, operation: int, data: bytes) -> bytes:
        known = self._chip.security_info()
        return self._unknown(operation, data) if known is None else self._reply(0x14, 0, known)

    def _read_register(self, operation: int, data: bytes) -> bytes:
        return self._reply(operation, self._registers.read(*struct.unpack("<I", data)))

    def _write_register(self, operation: int, data: bytes) -> bytes:
        for address, value, mask, _ in struct.iter_unpack("<IIII", data):
            self._registers.write(address, value, mask)
        return self._reply(operation)

    def _run(self, operation: int, data: bytes) -> bytes:
        """MEM_END: run what was uploaded, which is taken for the stub."""
        stay, _ = struct.unpack("<II", data)
        reply = self._reply(operation)
        if stay:
            return reply
        self._stub = True
        return reply + _framed(b"OHAI")

    def _begin(self, operation: int, data: bytes) -> bytes:
        size, _, _, at = struct.unpack_from("<IIII", data)
        self._writing = _Writing(self._flash, at, size, operation == 0x10)
        if not self._stub:
            self._writing.erase(size)
        return self._reply(operation)

    def _data(self, operation: int, data: bytes) -> bytes:
        if not self._writing:
            raise _Refused(_FAILED)
        self._writing.write(data[16:])
        return self._reply(operation)

    def _finish(self, operation: int, data: bytes) -> bytes:
        """The ROM goes on with the application; the stub stays, or goes back to the ROM."""
        (stay,) = struct.unpack("<I", data)
        reply = self._reply(operation)
        self._writing = None
        self._left = not self._stub
        self._stub = self._stub and bool(stay)
        return reply

    def _md5(self, operation: int, data: bytes) -> bytes:
        at, n = struct.unpack_from("<II", data)
        digest = hashlib.md5(self._flash.read(at, n), usedforsecurity=False)
        found = digest.digest() if self._stub else digest.hexdigest().encode()
        return self._reply(operation, 0, found)

    def _read_slowly(self, operation: int, data: bytes) -> bytes:
        at, n = struct.unpack("<II", data)
        return self._reply(operation, 0, self._flash.read(at, min(n, 64)).ljust(64, b"\0"))

    def _erase_all(self, operation: int, data: bytes) -> bytes:
        self._flash.erase(0, self._flash.size)
        return self._reply(operation)

    def _erase(self, operation: int, data: bytes) -> bytes:
        self._flash.erase(*struct.unpack("<II", data))
        return self._reply(operation)

    def _read(self, operation: int, data: bytes) -> bytes:
        """All frames at once: who reads them acknowledges each, and is not waited for."""
        at, n, block, _ = struct.unpack("<IIII", data)
        octets = self._flash.read(at, n)
        frames = [_framed(octets[i : i + block]) for i in range(0, n, max(block, 1))]
        digest = hashlib.md5(octets, usedforsecurity=False).digest()
        return self._reply(operation) + b"".join(frames) + _framed(digest)


class _Writing:
    """Octets on their way into the flash, which is erased as they come."""

    def __init__(self, flash: Flash, at: int, size: int, compressed: bool) -> None:
        self._flash, self._at, self._end = flash, at, at + size
        self._erased = at - at % SECTOR
        self._inflate = zlib.decompressobj().decompress if compressed else bytes

    def erase(self, size: int) -> None:
        """Erase so many octets from here on, of those that will be written."""
        end = min(self._at + size, self._end)
        if end > self._erased:
            self._flash.erase(self._erased, end - self._erased)
            self._erased = -(-end // SECTOR) * SECTOR

    def write(self, data: bytes) -> None:
        """Write the next ones; what fills up the last block is dropped."""
        octets = self._inflate(data)[: self._end - self._at]
        self.erase(len(octets))
        self._flash.program(self._at, octets)
        self._at += len(octets)


def _framed(octets: bytes) -> bytes:
    for sent, meant in reversed(_ESCAPES):
        octets = octets.replace(meant, sent)
    return _END + octets + _END
