"""`python -m host.shim [-p FOLDER]... FILE [ARGUMENT]...`: run one file as a device would."""

from __future__ import annotations

import argparse
from pathlib import Path

from host.shim import Device

FIRMWARE = Path(__file__).parents[2] / "firmware"


def main() -> None:
    """Run the named file as `__main__`; its SystemExit is ours."""
    parser = argparse.ArgumentParser(prog="python -m host.shim", description=main.__doc__)
    parser.add_argument("-p", "--path", type=Path, action="append", default=[])
    parser.add_argument("file", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    argv = [str(options.file), *options.arguments]
    Device(FIRMWARE, *options.path, argv=argv).run(options.file)


if __name__ == "__main__":
    main()
