"""`python -m host.shim.circuitpython [-p FOLDER]... [--usb] FILE`: run a file as a board would."""

from __future__ import annotations

import argparse
from pathlib import Path

from host.shim.circuitpython import Device

FIRMWARE = Path(__file__).parents[3] / "firmware"


def main() -> None:
    """Run the named file as `__main__`; the current folder is the CIRCUITPY drive."""
    parser = argparse.ArgumentParser(
        prog="python -m host.shim.circuitpython", description=main.__doc__
    )
    parser.add_argument(
        "-p",
        "--path",
        type=Path,
        action="append",
        default=[],
        help="a folder to import from, before the drive, its lib and this tree's firmware",
    )
    parser.add_argument("--usb", action="store_true", help="USB owns the drive: code only reads")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    drive = Path.cwd()
    path = (*options.path, drive, drive / "lib", FIRMWARE)
    Device(*path, cwd=drive, usb=options.usb).run(options.file)


if __name__ == "__main__":
    main()
