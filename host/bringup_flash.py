"""What is in a board's flash: whose it is, and whether that is this firmware."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from host import flash, partitions
from host.boards import Board
from host.firmware_file import Firmware

_TABLE = 0xC00  # octets


@dataclass(frozen=True)
class Found:
    """The chip in esptool's words, its MAC address, and whether its flash holds the firmware."""

    chip: str
    mac: str
    flash_bytes: int
    same: bool


def examine(board: Board, port: str, firmware: Firmware) -> Found:
    """Look at the board, and start it again; flash.FlashFailed.

    What runs changes the partitions between, NVS above all, so only what is run is compared.
    """
    try:
        with flash.connected(board, port, 0) as loader:
            same = all(
                loader.flash_md5sum(at, len(octets)) == _md5(octets)
                for at, octets in _run(firmware)
            )
            mac = ":".join(f"{octet:02x}" for octet in loader.read_mac("BASE_MAC"))
            found = Found(flash.chip_name(loader), mac, flash.flash_size(loader), same)
            flash.start(board, loader, port)
            return found
    except flash.LOST as error:
        raise flash.FlashFailed(flash.advice(port, error)) from error


def _run(firmware: Firmware) -> Iterator[tuple[int, bytes]]:
    """The boot loader with the partition table, and the applications, by offset in the flash."""
    begin = firmware.offset
    yield begin, firmware.data[: partitions.OFFSET + _TABLE - begin]
    for each in firmware.partitions:
        if each.type == partitions.APP:
            octets = firmware.data[each.offset - begin : each.end - begin]
            if octets:
                yield each.offset, octets


def _md5(octets: bytes) -> str:
    return hashlib.md5(octets, usedforsecurity=False).hexdigest()
