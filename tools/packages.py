"""mip's lists of what a board is given: package.json with everything, <cloud>.json for one cloud.

A list holds the cloud's modules, what every board needs, and all that these import.
`python -m tools.packages` writes them to firmware/.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

FIRMWARE = Path(__file__).parents[1] / "firmware"
PACKAGE = FIRMWARE / "onebuf"
CLOUDS = ("aliyun", "aws", "azure", "watson")
# What main.py, examples and the README's program import, whatever the cloud.
SHARED = (
    *("backoff", "client", "clock", "dead_letters", "flash_queue", "publish", "queue"),
    *("uplink", "wifi", "port/micropython"),
)
# Docstrings only, as a folder is a package too; and CircuitPython's, which circup brings.
_NOT_SHIPPED = (
    *("cloud/__init__", "port/__init__"),
    *("port/adafruit_session", "port/circuitpython", "port/circuitpython_clock"),
)


def lists() -> dict[str, list[str]]:
    """The files of each list, as paths below firmware/, by the list's name without .json."""
    everything = [module for module in _modules("**/*") if module not in _NOT_SHIPPED]
    found = {"package": everything}
    for cloud in CLOUDS:
        own = [module for module in _modules(f"*/{cloud}*") if module in everything]
        found[cloud] = sorted(_closure(["__init__", *SHARED, *own]))
    return {name: [f"onebuf/{module}.py" for module in modules] for name, modules in found.items()}


def content(files: Iterable[str]) -> str:
    """The text of the list that has these files."""
    urls = ",\n".join(f'    ["{file}", "{file}"]' for file in files)
    return f'{{\n  "version": "{version()}",\n  "urls": [\n{urls}\n  ],\n  "deps": []\n}}\n'


def _modules(pattern: str) -> list[str]:
    paths = PACKAGE.glob(f"{pattern}.py")
    return sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in paths)


def _closure(modules: Iterable[str]) -> set[str]:
    known: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in known:
            known.add(module)
            waiting += _imports(module)
    return known


def _imports(module: str) -> Iterator[str]:
    """The modules of onebuf that module imports."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onebuf"):
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                parts = name.split(".")[1:]
                while parts and not PACKAGE.joinpath(*parts).with_suffix(".py").is_file():
                    parts.pop()
                if parts:
                    yield "/".join(parts)


def version() -> str:
    """The version of the package."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assigned = next(node for node in tree.body if isinstance(node, ast.Assign))
    return str(ast.literal_eval(assigned.value))


def main() -> None:
    """Write the lists."""
    for name, files in lists().items():
        (FIRMWARE / f"{name}.json").write_text(content(files))


if __name__ == "__main__":
    main()
