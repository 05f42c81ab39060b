"""A stock MicroPython 1.27 for ESP32_GENERIC, which lies inside a package on PyPI (MIT).

`python -m tools.firmware_sample` downloads it if need be and prints where it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.wheel_file import Missing, WheelFile

_SAMPLE = WheelFile(
    "ironharness==0.9.0",
    "ironbench/tasks/_firmware/ESP32_GENERIC-20251209-v1.27.0.bin",
    "aa4be80ec695911ba0f13f7558e559ce540f90efbf40c23b853ca49162136b9f",
)


def find() -> Path:
    """Return the path of the firmware file, downloaded on first use; wheel_file.Missing."""
    return _SAMPLE.find()


def main() -> int:
    """Print the path; the exit status."""
    try:
        print(find())
    except Missing as error:
        print(f"firmware_sample: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
