"""docs/bringup.svg: a terminal in which `onebuf bringup` has run.

`python -m tools.terminal_picture` really runs it, in a folder of its own; rich draws the output.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "bringup.svg"
_COLUMNS = 102
_COMMAND = ("bringup", "--board", "ESP32_GENERIC_S3", "--port", "emulated")
_STYLES = {r"\b(done|kept|ok)\b": "green", r"\bFAIL\b": "bold red", r"^\S+ of .* publish$": "bold"}
_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # they would be fetched


def draw(lines: list[str]) -> str:
    """Return the SVG of a terminal with these lines."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        text = Text(line, overflow="ellipsis", no_wrap=True)
        for pattern, style in _STYLES.items():
            text.highlight_regex(pattern, style)
        console.print(text)
    picture = console.export_svg(title="onebuf", theme=SVG_EXPORT_THEME, unique_id="bringup")
    return _FONTS.sub("", picture).replace("Fira Code", "ui-monospace")


def main() -> None:
    """Run the command and write the picture."""
    said = [f"$ onebuf {' '.join(_COMMAND)}"]
    with tempfile.TemporaryDirectory(prefix="onebuf-picture-") as folder:
        argv = [sys.executable, "-m", "host.cli", *_COMMAND]
        root = str(PICTURE.parents[1])
        done = subprocess.run(
            argv, cwd=folder, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
        )
    PICTURE.write_text(draw([*said, *done.stdout.splitlines()]), encoding="utf-8")


if __name__ == "__main__":
    main()
