"""Partition tables and firmware files, on a stock MicroPython 1.27 that ESP-IDF's tools made."""

from __future__ import annotations

import struct

import pytest

from host import boards, firmware_file, partitions
from host.firmware_file import Firmware, FirmwareError
from host.partitions import APP, DATA, FAT, Partition, TableError
from tools import firmware_sample

MIB = 1 << 20
BOARD = boards.load("ESP32_GENERIC")
VFS = Partition("vfs", DATA, FAT, 0x200000, 0x200000)
# Its CSV in MicroPython: ports/esp32/partitions-4MiBplus.csv of 1.27.
CSV = """\
# Name,   Type, SubType, Offset,  Size, Flags
nvs,      data, nvs,     0x9000,  0x6000,
phy_init, data, phy,     0xf000,  0x1000,
factory,  app,  factory, 0x10000, 0x1F0000,
"""


@pytest.fixture(scope="module")
def stock() -> bytes:
    """The firmware file, from a package on PyPI: without it there is nothing to test."""
    return firmware_sample.find().read_bytes()


@pytest.fixture(scope="module")
def firmware(stock: bytes) -> Firmware:
    return firmware_file.read(stock)


def table_in(stock: bytes) -> bytes:
    """The table as ESP-IDF made it; the file begins at 0x1000 of the flash."""
    return stock[0x7000:0x7C00]


def test_stock_firmware_when_read_then_it_is_what_its_name_says(firmware: Firmware) -> None:
    assert (firmware.chip, firmware.offset, firmware.flash_bytes) == ("esp32", 0x1000, 4 * MIB)
    assert (firmware.runtime, firmware.version) == ("micropython", "1.27.0 on 2025-12-09")
    assert (firmware.flash_mode, firmware.idf_version) == ("dio", "v5.5.1")
    assert [each.name for each in firmware.partitions] == ["nvs", "phy_init", "factory"]
    firmware.check(BOARD)


def test_stock_table_has_no_file_system_when_read_then_it_is_the_rest_of_the_flash(
    firmware: Firmware,
) -> None:
    assert partitions.filesystem(firmware.partitions, 4 * MIB) == VFS
    assert partitions.filesystem(firmware.partitions, 8 * MIB).size == 6 * MIB
    own = BOARD.filesystem
    assert (own.name, own.offset, own.size) == (VFS.name, VFS.offset, VFS.size)


def test_table_when_built_then_it_has_the_octets_of_esp_idf_s_own_tool(stock: bytes) -> None:
    assert partitions.build(partitions.parse(table_in(stock))) == table_in(stock)


def test_csv_when_read_then_it_is_the_table_that_was_built_from_it(stock: bytes) -> None:
    assert partitions.read(CSV.encode(), 4 * MIB) == partitions.read(table_in(stock), 4 * MIB)


def test_csv_without_offsets_and_with_units_when_read_then_they_follow_aligned() -> None:
    text = "nvs,data,nvs,,24K\nfactory,app,factory,,1M\nvfs,data,0x81,,0x10000,encrypted\n"
    found = partitions.parse_csv(text)
    assert [each.offset for each in found] == [0x9000, 0x10000, 0x110000]
    assert found[2] == Partition("vfs", DATA, FAT, 0x110000, 0x10000, 1)


def test_file_system_that_the_table_names_is_taken_before_the_rest() -> None:
    app = Partition("factory", APP, 0, 0x10000, MIB)
    user = Partition("ffat", DATA, FAT, 0x180000, 0x80000)
    assert partitions.filesystem((app, user), 4 * MIB) == user
    assert partitions.filesystem((app, user, VFS), 4 * MIB) == VFS


@pytest.mark.parametrize("at", [0, 4, 12, 32, 0x60 + 16])
def test_table_with_a_changed_octet_is_refused(at: int, stock: bytes) -> None:
    changed = bytearray(table_in(stock))
    changed[at] ^= 1
    with pytest.raises(TableError, match=r"damaged|no partition table"):
        partitions.parse(bytes(changed))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "the CSV has no partition"),
        (b"\xff" * 0xC00, "neither a partition table"),
        (b"vfs,data,fat,0x10000\n", "line 1 is no partition"),
        (b"# all is well\nvfs,data,cheese,0x10000,1M\n", "line 2 is no partition"),
        (b"a,data,fat,0x10000,1M\nb,data,fat,0x20000,1M\n", "'b' at 0x20000 overlaps another"),
        (b"a,data,fat,0x7000,0x2000\n", "overlaps"),
        (b"vfs,data,fat,0x200000,4M\n", "after the flash of the board, 4 MiB"),
    ],
)
def test_table_that_cannot_be_is_refused_with_its_reason(octets: bytes, words: str) -> None:
    with pytest.raises(TableError) as raised:
        partitions.read(octets, 4 * MIB)
    assert words in str(raised.value)


def test_table_that_fills_the_flash_leaves_no_room_for_files() -> None:
    with pytest.raises(TableError, match="leaves no room"):
        partitions.filesystem((Partition("app", APP, 0, 0x10000, 0x3F0000),), 4 * MIB)


def test_firmware_for_another_chip_when_checked_then_both_chips_are_named(
    firmware: Firmware,
) -> None:
    with pytest.raises(FirmwareError) as raised:
        firmware.check(boards.load("ESP32_GENERIC_S3"))
    assert "chip esp32, but ESP32_GENERIC_S3 has the esp32s3" in str(raised.value)


@pytest.mark.parametrize("end", [30, 0x4000, 0x7010, 0x10000, -40])
def test_firmware_that_was_cut_off_is_refused(end: int, stock: bytes) -> None:
    with pytest.raises(FirmwareError, match=r"cut off|no partition table"):
        firmware_file.read(stock[:end])


@pytest.mark.parametrize("at", [0x200, 0x7040, 0xF100, 0x100000])
def test_firmware_with_a_changed_bit_is_refused(at: int, stock: bytes) -> None:
    changed = bytearray(stock)
    changed[at] ^= 4
    with pytest.raises(FirmwareError, match="damaged"):
        firmware_file.read(bytes(changed))


def test_application_alone_as_for_an_update_is_refused_with_advice(stock: bytes) -> None:
    with pytest.raises(FirmwareError, match=r"not the \.app-bin"):
        firmware_file.read(stock[0xF000:])


@pytest.mark.parametrize("octets", [b"", b"UF2\nWQ]\x9e" + bytes(9000), b"PK\x03\x04", b"<html>"])
def test_file_that_is_no_firmware_is_refused_with_advice(octets: bytes) -> None:
    with pytest.raises(FirmwareError, match=r"Take the \.bin file"):
        firmware_file.read(octets)


def test_chip_that_nobody_knows_is_refused(stock: bytes) -> None:
    with pytest.raises(FirmwareError, match="ID 4660"):
        firmware_file.read(stock[:12] + struct.pack("<H", 0x1234) + stock[14:])


def test_firmware_that_begins_at_0_as_circuitpython_s_do_is_read_and_told_apart(
    stock: bytes,
) -> None:
    shifted = firmware_file.read(b"\xff" * 0x1000 + stock)
    assert (shifted.offset, shifted.partitions[2].name) == (0, "factory")
    with pytest.raises(FirmwareError, match=r"begins at 0x0 of the flash, but .* at 0x1000"):
        shifted.check(BOARD)


def test_circuitpython_is_recognized_by_its_own_words(stock: bytes) -> None:
    words = b"Adafruit CircuitPython 10.0.3 on 2025-10-17; Somebody's board\0"
    circuitpython = firmware_file.read(stock + words)
    assert (circuitpython.runtime, circuitpython.version) == (
        "circuitpython",
        "10.0.3 on 2025-10-17",
    )
    with pytest.raises(FirmwareError, match="circuitpython does not run on it"):
        circuitpython.check(BOARD)


def test_table_for_a_larger_flash_than_the_board_s_is_refused(stock: bytes) -> None:
    parts = (*partitions.parse(table_in(stock)), Partition("vfs", DATA, FAT, 0x200000, 14 * MIB))
    large = stock[:0x7000] + partitions.build(parts) + stock[0x7C00:]
    with pytest.raises(
        FirmwareError, match="for another board: partition 'vfs' ends at 0x1000000"
    ):
        firmware_file.read(large).check(BOARD)
