"""The figures in docs/flash-queue.md are those that tools/flash_figures.py measures."""

from __future__ import annotations

from pathlib import Path

import pytest
from devices import ROOT

from tools import flash_figures, size

DOCUMENT = (ROOT / "docs" / "flash-queue.md").read_text()
TIMED, RAM = "pushes in a second", "RAM of the "
OCTETS = 64  # by which RAM may differ


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as .mpy."""
    folder = tmp_path_factory.mktemp("mpy")
    size.compile_package(folder)
    return folder


def said(label: str) -> str:
    """The line of the document that begins so."""
    return next(
        line for line in DOCUMENT.splitlines() if line.removeprefix("| ").startswith(label)
    )


def numbers(line: str) -> list[int]:
    return [int(word) for word in line.replace(",", "").replace(".", "").split() if word.isdigit()]


def test_table_of_the_document_is_what_is_measured(folder: Path) -> None:
    figures = [flash_figures.measure(folder, batch) for batch in flash_figures.BATCHES]
    for line in flash_figures.table(figures, flash_figures.code_ram(folder)):
        label = line.removeprefix("| ").partition("|")[0].partition(":")[0]
        if label.startswith(RAM):
            pairs = zip(numbers(said(label)), numbers(line), strict=True)
            assert all(abs(old - new) <= OCTETS for old, new in pairs), line
        elif not label.startswith(TIMED):
            assert line in DOCUMENT.splitlines()


def test_arithmetic_of_the_life_of_the_flash_is_that_of_the_figures(folder: Path) -> None:
    wear = flash_figures.measure(folder, 1).forwarded
    erases = flash_figures.BLOCKS * flash_figures.CYCLES
    a_year = flash_figures.READINGS_A_YEAR * wear.erases_per_1000 // 1000
    assert f"{erases:,} / {a_year:,} = {wear.years} years" in " ".join(DOCUMENT.split())


def test_blocks_wear_as_evenly_as_the_document_says(folder: Path) -> None:
    worn = flash_figures.spread(folder)
    sentence = f"after {flash_figures.WORN:,} readings a block had {worn.mean} erases in the mean"
    assert f"{sentence}, and {worn.most} at most" in " ".join(DOCUMENT.split())
