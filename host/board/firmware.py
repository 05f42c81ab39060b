"""A firmware file for an emulated board: what one looks like from outside, without a program."""

from __future__ import annotations

import struct
from typing import Any

from host import partitions
from host.boards import Board
from host.partitions import Partition

_NVS, _PHY, _APP = (0x9000, 0x6000), (0xF000, 0x1000), 0x10000
_VERSION = b"MicroPython v1.26.1 on 2025-09-11"
_DESCRIPTION = struct.Struct("<I108x32s112x")  # esp_app_desc_t of ESP-IDF
_DESCRIPTION_MAGIC = 0xABCD5432


def stand_in(board: Board) -> bytes:
    """Return boot loader, partition table and application as a download has them."""
    from esptool.targets import CHIP_DEFS  # type: ignore[import-untyped]  # takes 0.2 s

    place = board.filesystem
    table = partitions.build(
        (
            Partition("nvs", partitions.DATA, 2, *_NVS),
            Partition("phy_init", partitions.DATA, 1, *_PHY),
            Partition("factory", partitions.APP, 0, _APP, place.offset - _APP),
            Partition(place.name, partitions.DATA, partitions.FAT, place.offset, place.size),
        )
    )
    rom = CHIP_DEFS[board.chip]
    described = _DESCRIPTION.pack(_DESCRIPTION_MAGIC, b"stand-in") + _VERSION.ljust(64, b"\0")
    parts = (
        (rom.BOOTLOADER_FLASH_OFFSET, _image(rom, board, rom.IROM_MAP_START, b"\0" * 64)),
        (partitions.OFFSET, table),
        (_APP, _image(rom, board, rom.DROM_MAP_START, described)),
    )
    firmware = b""
    for at, octets in parts:
        firmware = firmware.ljust(at - board.firmware_offset, b"\xff") + octets
    return firmware


def _image(rom: Any, board: Board, address: int, octets: bytes) -> bytes:
    from esptool.bin_image import ImageSegment  # type: ignore[import-untyped]

    image = rom.BOOTLOADER_IMAGE()
    image.chip_id = board.chip_id
    image.min_rev_full, image.max_rev_full = 0, 0xFFFF
    image.flash_mode = 2  # DIO
    image.flash_size_freq = rom.FLASH_SIZES[f"{board.flash_bytes >> 20}MB"]
    image.segments = [ImageSegment(address + 32, octets, 0)]
    saved: bytes = image.save(None)
    return saved
