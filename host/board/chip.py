"""What an emulated chip's registers hold, as far as esptool looks at them."""

from __future__ import annotations

import struct
from typing import Any

_MAGIC_AT = 0x40001000  # a word of the ROM by which esptool tells the older chips
_ROM_BAUD = 115200
_VENDOR = 0xC8  # GigaDevice
_RUN = 1 << 18  # SPI_USR of the register SPI_CMD
_READ_ID, _READ_SFDP = 0x9F, 0x5A
_SFDP = int.from_bytes(b"SFDP", "little")
_WORD = 0xFFFFFFFF
# Of the first eFuse block, where the revision is: late ones, that run every firmware.
_REVISIONS = {"esp32s2": 1 << 18, "esp32s3": 2 << 18, "esp32c3": 4 << 18, "esp32c6": 1 << 18}


class Chip:
    """A chip by esptool's name (`esp32s3`), with its MAC address and the size of its flash."""

    def __init__(self, name: str, mac: bytes, flash_bytes: int) -> None:
        from esptool.targets import CHIP_DEFS  # type: ignore[import-untyped]  # takes 0.2 s

        self.name, self.mac, self.flash_bytes = name, mac, flash_bytes
        self.rom: Any = CHIP_DEFS[name]
        self.boot_loader: int = self.rom.BOOTLOADER_FLASH_OFFSET
        self.banner = f"ESP-ROM:{name}\r\nrst:0x1 (POWERON)"

    def security_info(self) -> bytes | None:
        """The answer to GET_SECURITY_INFO, None where the ROM does not know it."""
        if not self.rom.SECURITY_INFO_SUPPORTED:
            return None
        flags = struct.pack("<I8x", 0)
        return flags if self.rom.USES_MAGIC_VALUE else flags + struct.pack("<II", self._id, 0)

    @property
    def _id(self) -> int:
        return int(self.rom.IMAGE_CHIP_ID)


class Registers:
    """The chip's registers after a reset. A write may run a command of the flash, or reset."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._values = _after_reset(chip)
        self.reset = False  # the watchdog was told to

    def read(self, address: int) -> int:
        """Return what a register holds."""
        return self._values.get(address, 0)

    def write(self, address: int, value: int, mask: int = _WORD) -> None:
        """Change the bits of a register that mask has."""
        rom = self._chip.rom
        self._values[address] = (self.read(address) & ~mask | value & mask) & _WORD
        if address == rom.SPI_REG_BASE and value & _RUN:
            self._values[address] = 0
            self._values[rom.SPI_REG_BASE + rom.SPI_W0_OFFS] = self._flash_answers()
        elif address == getattr(rom, "RTC_CNTL_WDTCONFIG0_REG", -1) and value >> 31:
            self.reset = True

    def _flash_answers(self) -> int:
        base = self._chip.rom.SPI_REG_BASE
        command = self.read(base + self._chip.rom.SPI_USR2_OFFS) & 0xFF
        if command == _READ_ID:
            size = self._chip.flash_bytes.bit_length() - 1
            return size << 16 | 0x40 << 8 | _VENDOR
        if command == _READ_SFDP:
            return _VENDOR if self.read(base + 4) else _SFDP
        return 0


def _after_reset(chip: Chip) -> dict[int, int]:
    rom = chip.rom
    high, low = struct.unpack(">HI", chip.mac)
    if chip.name == "esp32":
        fuses = rom.EFUSE_RD_REG_BASE
        return {
            _MAGIC_AT: rom.MAGIC_VALUE,
            rom.UART_CLKDIV_REG: 40_000_000 // _ROM_BAUD,  # a crystal of 40 MHz
            fuses + 4: low,
            fuses + 8: high,
            fuses + 12: 1 << 15 | 1 << 9,  # revision 3, ESP32-D0WD
            fuses + 20: 1 << 20,
            rom.APB_CTL_DATE_ADDR: 1 << rom.APB_CTL_DATE_S,
        }
    found = {
        rom.MAC_EFUSE_REG: low,
        rom.MAC_EFUSE_REG + 4: high,
        rom.EFUSE_BLOCK1_ADDR + 12: _REVISIONS.get(chip.name, 0),
    }
    if rom.USES_MAGIC_VALUE:
        found[_MAGIC_AT] = rom.MAGIC_VALUE
    return found
