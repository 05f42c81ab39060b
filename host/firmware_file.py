"""A firmware file as it is downloaded: which chip it is for, what is in it, whether it is whole.

It holds boot loader, partition table and application, each where it lies in the flash. The images'
format is in esptool's documentation, "Firmware Image Format"; esptool itself takes them apart.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any

from host import partitions
from host.boards import CIRCUITPYTHON, MICROPYTHON, Board, BoardError
from host.partitions import Partition, TableError

_MAGIC = 0xE9
_HEADER_BYTES = 24
_CHIP_ID = struct.Struct("<12xH")
_SECTORS = (0, 0x1000, 0x2000)  # where in any chip's flash the boot loader may lie
_MODES = {0: "qio", 1: "qout", 2: "dio", 3: "dout"}
_DESCRIPTION = struct.Struct("<I108x32s")  # esp_app_desc_t of ESP-IDF: the magic, its own version
_DESCRIPTION_AT = _HEADER_BYTES + 8  # the first of the first segment
_DESCRIPTION_MAGIC = 0xABCD5432
_DATED = rb"([0-9]+\.[0-9]+[ -~]{0,40}? on [0-9-]{10})"
_VERSIONS = (
    (CIRCUITPYTHON, re.compile(rb"CircuitPython " + _DATED)),
    (MICROPYTHON, re.compile(rb"MicroPython v" + _DATED)),
)


class FirmwareError(Exception):
    """That is no firmware for this board, or it is damaged; str() says which and what to do."""


@dataclass(frozen=True)
class Firmware:
    """A firmware file that is whole.

    offset: where in the flash it begins. flash_bytes, flash_mode: what the boot loader's header
    says. runtime: `micropython`, `circuitpython` or empty; version: its own, with the date;
    idf_version: that of the ESP-IDF it was built with.
    """

    data: bytes = field(repr=False)
    chip: str
    chip_id: int
    offset: int
    flash_bytes: int
    flash_mode: str
    partitions: tuple[Partition, ...]
    runtime: str
    version: str
    idf_version: str

    def check(self, board: Board) -> None:
        """Raise FirmwareError unless the board can run it."""
        if self.chip_id != board.chip_id:
            raise FirmwareError(
                f"the firmware is for the chip {self.chip}, but {board.name} has the "
                f"{board.chip}: take the firmware for that board"
            )
        try:
            partitions.checked(self.partitions, board.flash_bytes)
            wanted = board.runtime(self.runtime).firmware_offset if self.runtime else self.offset
        except (BoardError, TableError) as error:
            raise FirmwareError(f"the firmware is for another board: {error}") from None
        if self.offset != wanted:
            raise FirmwareError(
                f"the firmware file begins at {self.offset:#x} of the flash, "
                f"but that of {self.runtime} for {board.name} at {wanted:#x}"
            )


def read(data: bytes) -> Firmware:
    """Return what a firmware file is, all checksums and digests in it checked; FirmwareError."""
    at = _boot_loader(data)
    (chip_id,) = _CHIP_ID.unpack_from(data, at)
    name, chip = _chip(chip_id)
    boot = _image(name, data[at:], "boot loader")
    offset = chip.BOOTLOADER_FLASH_OFFSET - at
    table = _table(data, offset)
    idf_version = _application(name, data, offset, table)
    runtime, version = _version(data)
    sizes = {code: size for size, code in chip.FLASH_SIZES.items()}
    return Firmware(
        data=data,
        chip=name,
        chip_id=chip_id,
        offset=offset,
        flash_bytes=int(sizes[boot.flash_size_freq & 0xF0].removesuffix("MB")) << 20,
        flash_mode=_MODES.get(boot.flash_mode, "unknown"),
        partitions=table,
        runtime=runtime,
        version=version,
        idf_version=idf_version,
    )


def _boot_loader(data: bytes) -> int:
    """Return where in the file the boot loader begins."""
    for at in _SECTORS:
        if data[at : at + 1] == bytes((_MAGIC,)) and len(data) >= at + _HEADER_BYTES:
            return at
        if data[at : at + 0x1000].strip(b"\xff"):
            break
    raise FirmwareError(
        "that is no firmware for an ESP32: it does not begin with E9. Take the .bin file, "
        "neither .uf2 nor .zip"
    )


def _chip(chip_id: int) -> tuple[str, Any]:
    """Return esptool's name of the chip, and what it knows of it."""
    from esptool.targets import CHIP_DEFS  # type: ignore[import-untyped]  # takes 0.2 s

    for name, chip in CHIP_DEFS.items():
        if getattr(chip, "IMAGE_CHIP_ID", None) == chip_id:
            return name, chip
    raise FirmwareError(f"the firmware is for a chip that esptool does not know, ID {chip_id}")


def _image(chip: str, data: bytes, what: str) -> Any:
    """Return the image as esptool reads it, whole."""
    from esptool.bin_image import LoadFirmwareImage  # type: ignore[import-untyped]
    from esptool.util import FatalError  # type: ignore[import-untyped]

    try:
        image = LoadFirmwareImage(chip, data)
        whole = image.checksum == image.calculate_checksum()
        if image.append_digest:
            whole = whole and image.stored_digest == image.calc_digest
    except (FatalError, struct.error, TypeError):  # TypeError: the file ends before the checksum
        whole = False
    if not whole:
        raise FirmwareError(f"the firmware is damaged: its {what} is cut off or changed")
    return image


def _table(data: bytes, offset: int) -> tuple[Partition, ...]:
    try:
        return partitions.parse(data[partitions.OFFSET - offset :])
    except TableError as error:
        raise FirmwareError(
            f"{error}, at {partitions.OFFSET:#x}: take the .bin file, not the .app-bin, "
            "which is for updates over the air"
        ) from None


def _application(chip: str, data: bytes, offset: int, table: tuple[Partition, ...]) -> str:
    """Return the version of the ESP-IDF it was built with, empty if it does not say."""
    place = next((each for each in table if each.type == partitions.APP), None)
    if place is None:
        raise FirmwareError("the firmware's partition table has no application")
    octets = data[place.offset - offset : place.end - offset]
    _image(chip, octets, "application")
    magic, idf_version = _DESCRIPTION.unpack_from(octets, _DESCRIPTION_AT)
    if magic != _DESCRIPTION_MAGIC:
        return ""
    return str(idf_version.partition(b"\0")[0], "ascii", "replace")


def _version(data: bytes) -> tuple[str, str]:
    """Return runtime and version, both empty where neither can be told."""
    for runtime, pattern in _VERSIONS:
        found = pattern.search(data)
        if found:
            return runtime, found[1].decode("ascii")
    return "", ""
