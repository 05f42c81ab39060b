"""What gets onto a board: every list names files that exist, all that is needed, and one cloud."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from host.shim import Device
from tools import packages

FIRMWARE = Path(__file__).parents[2] / "firmware"
PACKAGE = FIRMWARE / "onebuf"
LISTS = sorted(FIRMWARE.glob("*.json"))


def _files(package: Path) -> list[str]:
    return [source for _, source in json.loads(package.read_text())["urls"]]


def _imports(file: Path) -> set[str]:
    """The modules of onebuf that a file imports, as paths below firmware."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onebuf"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.replace(".", "/") for name in [node.module or "", *names]}
    return {f"{name}.py" for name in found if (FIRMWARE / f"{name}.py").is_file()}


def test_there_is_a_list_for_each_cloud_and_one_of_all_as_the_tool_writes_them() -> None:
    clouds = {file.stem.split("_")[0] for file in (PACKAGE / "cloud").glob("[a-z]*.py")}
    assert {package.stem for package in LISTS} == clouds | {"package"}
    written = {package.stem: package.read_text() for package in LISTS}
    assert written == {name: packages.content(files) for name, files in packages.lists().items()}


def test_the_list_of_all_has_every_module_that_has_code_and_no_other_runtimes_port() -> None:
    modules = {str(file.relative_to(FIRMWARE)) for file in PACKAGE.rglob("*.py")}
    empty = {f"onebuf/{folder}/__init__.py" for folder in ("cloud", "port")}
    others = {name for name in modules if "circuitpython" in name or "adafruit" in name}
    assert set(_files(FIRMWARE / "package.json")) == modules - empty - others and len(others) == 3


@pytest.mark.parametrize("package", LISTS, ids=lambda package: package.stem)
def test_a_list_names_what_exists_under_its_own_name_and_in_this_version(package: Path) -> None:
    content = json.loads(package.read_text())
    assert all(target == source for target, source in content["urls"])
    assert all((FIRMWARE / source).is_file() for source in _files(package))
    assert content["version"] == Device(FIRMWARE).load("onebuf").__version__


@pytest.mark.parametrize("package", LISTS, ids=lambda package: package.stem)
def test_a_list_has_all_that_its_modules_import(package: Path) -> None:
    files = _files(package)
    for file in files:
        assert _imports(FIRMWARE / file) <= set(files)


@pytest.mark.parametrize("package", LISTS, ids=lambda package: package.stem)
def test_a_list_of_a_cloud_has_no_other_cloud(package: Path) -> None:
    clouds = [file for file in _files(package) if file.startswith("onebuf/cloud/")]
    if package.stem != "package":
        own = (PACKAGE / "cloud").glob(f"{package.stem}*.py")
        assert clouds == sorted(str(file.relative_to(FIRMWARE)) for file in own)
