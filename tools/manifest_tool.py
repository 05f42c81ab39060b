"""MicroPython's own manifest tool, tools/manifestfile.py, which a package on PyPI has (MIT)."""

from __future__ import annotations

from pathlib import Path

from tools.wheel_file import WheelFile

_TOOL = WheelFile(
    "micropython-stubber==1.29.1",
    "stubber/tools/manifestfile.py",
    "5cae2c3304638370500362937a5798c5f78ab1b43fe15c0310db1fba025731d1",
)


def find() -> Path:
    """Return the path of the tool, downloaded on first use; wheel_file.Missing."""
    return _TOOL.find()
