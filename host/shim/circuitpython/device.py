"""One emulated CircuitPython board: its modules, its drive, its clock."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TextIO

from host.shim import device
from host.shim.circuitpython import board, errnos, library, sockets, tls
from host.shim.library import make_random


class Device(device.Device):
    """A board in this process; it shares nothing with others but compiled code.

    `path` are the folders to import from, `cwd` is the CIRCUITPY drive, which is read-only to code
    if `usb` owns it; `wraps_in_ms` is how soon after the start supervisor.ticks_ms() wraps.
    """

    def __init__(
        self,
        *path: Path,
        cwd: Path | None = None,
        usb: bool = False,
        stdout: TextIO | None = None,
        wraps_in_ms: int = 3000,
    ) -> None:
        self._usb = usb
        super().__init__(*path, cwd=cwd, stdout=stdout, wraps_in_ms=wraps_in_ms)
        self._builtins["open"] = self.drive.open

    @functools.cached_property
    def drive(self) -> library.Drive:
        """The CIRCUITPY drive."""
        return library.Drive(self.files.cwd, self._usb)

    def run(self, file: Path, name: str = "__main__") -> dict[str, Any]:
        """Run a file of the drive, or of the host, as `__main__`; return its globals."""
        module = ModuleType(name)
        self.modules[name] = module
        self._execute(module, (self.drive.root / file).resolve())
        return vars(module)

    def _makers(self) -> dict[str, Callable[[], ModuleType]]:
        clock, drive = self.clock, self.drive
        shared = {name: functools.partial(library.make_shared, name) for name in library.SHARED}
        return {
            **shared,
            "board": board.make_board,
            "errno": errnos.make_errno,
            "gc": library.make_gc,
            "hashlib": library.make_hashlib,
            "microcontroller": board.make_microcontroller,
            "micropython": library.make_micropython,
            "os": lambda: library.make_os(drive),
            "random": make_random,
            "rtc": lambda: board.make_rtc(clock),
            "select": sockets.make_select,
            "socketpool": sockets.make_socketpool,
            "ssl": lambda: tls.make_ssl(lambda name: drive.path(name).read_bytes()),
            "storage": lambda: board.make_storage(drive, self._usb),
            "supervisor": lambda: board.make_supervisor(clock, self._usb),
            "sys": lambda: library.make_sys(self._path, self.modules, self._output),
            "time": lambda: library.make_time(clock),
            "wifi": board.make_wifi,
        }

    def _execute(self, module: ModuleType, file: Path) -> None:
        namespace = vars(module)
        namespace["__file__"] = str(file)
        namespace["__builtins__"] = self._builtins
        exec(_compiled(file, file.stat().st_mtime_ns), namespace)


@functools.cache
def _compiled(file: Path, mtime_ns: int) -> CodeType:
    """Compile a file as the board does: annotations are not evaluated."""
    tree = device._NumberedErrors().visit(ast.parse(file.read_bytes(), str(file)))
    return compile(tree, str(file), "exec", flags=annotations.compiler_flag, dont_inherit=True)
