"""docs/bringup.md followed as a new user would: each command says what stands there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from host import boards, cli
from host.board import EmulatedBoard
from host.board.firmware import stand_in
from host.certs import Authority

CHAPTER = Path(__file__).parents[2] / "docs" / "bringup.md"
PORT = "/dev/ttyUSB0"
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(r"[-+]?[\da-f.,:]*\d[\da-f.,:]*")


def commands() -> list[tuple[str, list[str]]]:
    """Each command of the chapter, and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in _CONSOLE.findall(CHAPTER.read_text()):
        for line in block.splitlines():
            if line.startswith("$ onebuf "):
                found.append((line.removeprefix("$ onebuf "), []))
            elif line:
                found[-1][1].append(line)
    return found


def skeleton(line: str) -> str:
    """The line without its figures and its spacing."""
    return " ".join(_FIGURE.sub("#", line).split())


def says(lines: list[str], printed: str) -> bool:
    """Whether these lines were printed in this order; `...` stands for anything."""
    wanted = r"\n(?:.*\n)*?".join(
        re.escape(skeleton(line)).replace(re.escape("..."), ".*") for line in lines
    )
    text = "\n".join(skeleton(line) for line in printed.splitlines())
    return re.search(wanted, text) is not None


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedBoard]:
    """A board, and a folder with what the user has downloaded."""
    monkeypatch.chdir(tmp_path)
    kind = boards.load("ESP32_GENERIC_S3")
    Path("ESP32_GENERIC_S3.bin").write_bytes(stand_in(kind))
    shutil.copy(Authority(tmp_path / "amazon").ca_pem, "AmazonRootCA1.pem")
    with EmulatedBoard(kind, "24:0a:c4:00:00:99") as made:
        yield made


def test_every_command_of_the_chapter_does_what_the_chapter_says(
    board: EmulatedBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    done = commands()
    assert len(done) >= 8
    for command, lines in done:
        assert cli.main(command.replace(PORT, board.port).split()) == 0, command
        printed = capsys.readouterr().out.replace(board.port, PORT)
        assert says(lines, printed), f"{command}\n{printed}"
