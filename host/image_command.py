"""`onebuf image`: a board's file system as one file to flash, behind the firmware if wanted."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from host import boards, firmware_file, image, partitions
from host.certs import write_file
from host.firmware_file import Firmware
from host.image import Image
from tools.packages import CLOUDS

_REFUSED = (
    boards.BoardError,
    image.ImageError,
    firmware_file.FirmwareError,
    partitions.TableError,
)


def add_image(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "make the image of a board's file system: package, application, settings, credentials"
    command = commands.add_parser("image", help=text, description=text)
    command.add_argument("--board", required=True, metavar="NAME", help="see `onebuf boards`")
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="write it there")
    help = "only what this one needs (what config.json says; without one, all)"
    command.add_argument("--cloud", choices=CLOUDS, default="", help=help)
    command.add_argument("--config", type=Path, metavar="FILE", help="the board's config.json")
    help = "folder with the files that config.json names as ca, cert and key, in DER"
    command.add_argument("--credentials", type=Path, metavar="DIR", help=help)
    help = "another file for /, as boot.py; main.py instead of ours. May be repeated"
    command.add_argument("--add", type=Path, action="append", metavar="FILE", help=help)
    command.add_argument("--source", action="store_true", help="the package as .py, not as .mpy")
    where = command.add_mutually_exclusive_group()
    help = "partition table that the board has, binary or CSV (that of stock firmware)"
    where.add_argument("--partitions", type=Path, metavar="TABLE", help=help)
    help = "put this firmware before it, whose partition table then counts"
    where.add_argument("--merge", type=Path, metavar="FIRMWARE", help=help)
    command.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        board = boards.load(options.board)
        firmware = firmware_file.read(options.merge.read_bytes()) if options.merge else None
        made = image.build(
            board,
            cloud=options.cloud,
            config=options.config.read_bytes() if options.config else b"",
            credentials=options.credentials,
            added={file.name: file.read_bytes() for file in options.add or ()},
            source=options.source,
            table=options.partitions.read_bytes() if options.partitions else b"",
            firmware=firmware,
        )
    except _REFUSED as error:
        raise SystemExit(f"onebuf: {error}") from None
    write_file(options.out, made.data, 0o600)  # a key may be in it
    _report(options.out, board, made, firmware)
    return 0


def _report(path: Path, board: boards.Board, made: Image, firmware: Firmware | None) -> None:
    octets = sum(map(len, made.files.values()))
    place = made.filesystem
    print(f"{path}: {len(made.data)} octets, SHA-256 {hashlib.sha256(made.data).hexdigest()}")
    print(
        f"{len(made.files)} files, {octets} octets, in {place.name}: {place.size} octets", end=""
    )
    print(f" at {place.offset:#x} of {board.name}'s flash")
    if firmware is not None:
        print(f"behind {firmware.runtime or 'a firmware'} {firmware.version}")
    if made.missing:
        print(f"without {', '.join(made.missing)}, which config.json names: see --credentials")
    print(f"flash it: esptool --chip {board.chip} write-flash {made.offset:#x} {path}")
