"""The CircuitPython path against circuitpython-stubs: real mypy, and the API of its 10.3.1."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from devices import FIRMWARE, ROOT

from tools import circuitpython_bundle

PORT = FIRMWARE / "onebuf" / "port" / "circuitpython.py"
# Python 3.12 is for the stubs, which have its syntax. What is disabled is so in pyproject.toml for
# MicroPython's port too: attributes that begin as None, and what CPython's select has not.
CONFIG = f"""\
[mypy]
python_version = 3.12
mypy_path = {FIRMWARE}
explicit_package_bases = True
check_untyped_defs = True

[mypy-adafruit_connection_manager,adafruit_requests]
ignore_missing_imports = True

[mypy-onebuf.port.*,onebuf.clock,onebuf.sntp,onebuf.flash_files]
disable_error_code = attr-defined, assignment, union-attr
"""


def check(folder: Path, *files: Path) -> str:
    """What mypy says of the files."""
    config = folder / "mypy.ini"
    config.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", config, "--no-incremental", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_library_application_and_examples_when_checked_with_the_stubs_have_no_error(
    tmp_path: Path,
) -> None:
    shipped = [FIRMWARE / name for name in circuitpython_bundle.sources()]
    examples = [path for path in circuitpython_bundle.examples() if path.suffix == ".py"]
    assert len(examples) >= 5
    told = check(tmp_path, *shipped, FIRMWARE / "code.py", *examples)
    assert told.startswith("Success"), told


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ('has no attribute "recv"', "SocketPool(wifi.radio).socket().recv(1)"),
        ('has no attribute "ticks_us"', "supervisor.ticks_us()"),
        ('has no attribute "native"', "micropython.native"),
        ('incompatible type "int"', "wifi.radio.connect(1)"),
    ],
)
def test_use_of_what_a_board_has_not_when_checked_with_the_stubs_is_an_error(
    told: str, line: str, tmp_path: Path
) -> None:
    program = tmp_path / "code.py"
    imports = (
        "import micropython\nimport supervisor\nimport wifi\nfrom socketpool import SocketPool"
    )
    program.write_text(f"{imports}\n\n{line}\n")
    assert told in check(tmp_path, program)


def used(tree: ast.AST, *receivers: str) -> Iterator[str]:
    """The attributes that are asked for of the expressions receivers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in receivers:
            yield node.attr


def members(stub: Path, name: str) -> set[str]:
    """The methods and attributes of a class in a stub file."""
    tree = ast.parse(stub.read_text())
    found = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    functions = {node.name for node in found.body if isinstance(node, ast.FunctionDef)}
    fields = [node.target for node in found.body if isinstance(node, ast.AnnAssign)]
    return functions | {field.id for field in fields if isinstance(field, ast.Name)}


def test_port_uses_of_pool_and_sockets_what_the_stubs_have() -> None:
    """It takes them as arguments, of any radio, so that mypy does not see what they are."""
    stub = Path(str(distribution("circuitpython-stubs").locate_file("socketpool-stubs")))
    tree = ast.parse(PORT.read_text())
    of_pool = set(used(tree, "pool", "self._pool"))
    of_sockets = set(used(tree, "s", "sock", "self._sock", "self._io"))
    assert {"getaddrinfo", "socket"} <= of_pool <= members(stub / "__init__.pyi", "SocketPool")
    assert {"send", "recv_into", "settimeout"} <= of_sockets
    assert of_sockets <= members(stub / "__init__.pyi", "Socket")
