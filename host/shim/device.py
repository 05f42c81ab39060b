"""One emulated device: its modules, its files, its clock, and an importer of its own.

Code is compiled under its real file name, so coverage, tracebacks and debuggers see the true
file. It runs with a `__builtins__` of its own, which holds the device's `__import__`, `print` and
`open`; the host's are not touched. One device belongs to one thread at a time.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TextIO

from host.shim.board import make_machine, make_network
from host.shim.clock import Clock, make_time
from host.shim.errnos import make_errno
from host.shim.interpreter import Output, make_gc, make_micropython, make_sys
from host.shim.library import Files, make_hashlib, make_os, make_random
from host.shim.polling import make_select
from host.shim.sockets import make_socket
from host.shim.tls_context import make_tls

# MicroPython's own modules that mean the same in CPython and hold no state.
_SHARED = frozenset(["array", "binascii", "collections", "io", "json", "math", "re", "struct"])


class Device:
    """A MicroPython runtime in this process; devices share nothing but compiled code.

    `path` are the folders to import from, `cwd` is where relative file names start, `wraps_in_ms`
    is how soon after the start `time.ticks_ms()` wraps.
    """

    def __init__(
        self,
        *path: Path,
        cwd: Path | None = None,
        argv: Sequence[str] = (),
        stdout: TextIO | None = None,
        wraps_in_ms: int = 3000,
    ) -> None:
        self.files = Files((cwd or Path.cwd()).resolve())
        self.clock = Clock(wraps_in_ms)
        self.modules: dict[str, ModuleType] = {}
        self._output = Output(stdout)
        self._path = [str(folder.resolve()) for folder in path]
        self._argv = list(argv)
        self._builtins = {
            **vars(builtins),
            "__import__": self._import,
            "open": self.files.open,
            "print": functools.partial(print, file=self._output),
        }
        self._builtin_modules = self._makers()

    def load(self, name: str) -> ModuleType:
        """Import a module by its full name, with its packages; raises ImportError."""
        for parent in _parents(name):
            if parent not in self.modules:
                self._load_one(parent)
        return self.modules[name]

    def run(self, file: Path, name: str = "__main__") -> dict[str, Any]:
        """Run a file, named from `cwd`, as `__main__`; return its globals. SystemExit passes."""
        module = ModuleType(name)
        self.modules[name] = module
        self._execute(module, self.files.path(str(file)).resolve())
        return vars(module)

    def _makers(self) -> dict[str, Callable[[], ModuleType]]:
        sys = functools.partial(make_sys, self._path, self._argv, self.modules, self._output)
        return {
            "errno": make_errno,
            "gc": make_gc,
            "hashlib": make_hashlib,
            "machine": functools.partial(make_machine, self.clock),
            "micropython": make_micropython,
            "network": make_network,
            "os": functools.partial(make_os, self.files),
            "random": make_random,
            "select": make_select,
            "socket": make_socket,
            "sys": sys,
            "time": functools.partial(make_time, self.clock),
            "tls": make_tls,
        }

    def _load_one(self, name: str) -> None:
        if name in self._builtin_modules:
            self.modules[name] = self._builtin_modules[name]()
        elif name in _SHARED:
            self.modules[name] = importlib.import_module(name)
        else:
            self._load_file(name)

    def _load_file(self, name: str) -> None:
        package, _, leaf = name.rpartition(".")
        folders = vars(self.modules[package]).get("__path__", ()) if package else self._path
        file = _find(leaf, folders)
        if file is None:
            raise ImportError(f"no module named '{name}'", name=name)
        module = ModuleType(name)
        if file.name == "__init__.py":
            module.__path__ = [str(file.parent)]
        owner = vars(self.modules[package]) if package else {}
        # Both before the code runs: modules that import each other find what there is so far.
        self.modules[name] = owner[leaf] = module
        try:
            self._execute(module, file)
        except BaseException:
            del self.modules[name], owner[leaf]
            raise

    def _execute(self, module: ModuleType, file: Path) -> None:
        namespace = vars(module)
        namespace["__file__"] = str(file)
        namespace["__builtins__"] = self._builtins
        exec(_compiled(file, file.stat().st_mtime_ns), namespace)

    def _import(
        self,
        name: str,
        globals: dict[str, Any] | None = None,
        locals: object = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The `__import__` of this device's code (the import statement's own contract)."""
        full = _absolute(name, globals or {}, level) if level else name
        module = self.load(full)
        if not fromlist:
            return module if level else self.modules[name.partition(".")[0]]
        if hasattr(module, "__path__"):
            for item in fromlist:
                if item != "*" and not hasattr(module, item):
                    self._load_item(f"{full}.{item}")
        return module

    def _load_item(self, name: str) -> None:
        """Import a submodule if there is one; if not, the import statement says so itself."""
        try:
            self.load(name)
        except ImportError as error:
            if error.name != name:
                raise


def _parents(name: str) -> Iterable[str]:
    """Yield "a", "a.b", "a.b.c" for "a.b.c"."""
    parts = name.split(".")
    return (".".join(parts[: n + 1]) for n in range(len(parts)))


def _absolute(name: str, importer: dict[str, Any], level: int) -> str:
    """Return the full name of a relative import (PEP 328) made by the module `importer`."""
    parts = importer["__name__"].split(".")
    up = level - 1 if "__path__" in importer else level
    if up >= len(parts):
        raise ImportError("can't perform relative import")
    base = parts[: len(parts) - up]
    return ".".join([*base, name] if name else base)


def _find(leaf: str, folders: Iterable[str]) -> Path | None:
    for folder in folders:
        for file in (Path(folder) / leaf / "__init__.py", Path(folder) / f"{leaf}.py"):
            if file.is_file():
                return file
    return None


class _NumberedErrors(ast.NodeTransformer):
    """Gives `OSError(5)` its `errno`, which CPython sets only if there is a second argument."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Add an empty text to OSError(number)."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "OSError" and len(node.args) == 1:
            only = node.args[0]
            if not (isinstance(only, ast.Constant) and isinstance(only.value, str)):
                node.args.append(ast.copy_location(ast.Constant(""), only))
        return node


@functools.cache
def _compiled(file: Path, mtime_ns: int) -> CodeType:
    """Compile a file under its own name, once for all devices and each of its versions."""
    tree = _NumberedErrors().visit(ast.parse(file.read_bytes(), str(file)))
    return compile(tree, str(file), "exec", dont_inherit=True)
