"""MicroPython's `sys`, `gc` and `micropython`, one set for each device."""

from __future__ import annotations

import sys as host
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import NoReturn, TextIO, TypeVar

T = TypeVar("T")

_VERSION = (1, 26, 1)
_MPY = 1798  # .mpy of version 6.3, as MicroPython 1.26 reports it
_HEAP = 128 * 1024


class Output:
    """Where a device prints: a given stream, or whatever the host's stdout is at that moment."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str | bytes) -> int:
        """Write text, or bytes in UTF-8; return their number."""
        stream = self._stream or host.stdout
        return stream.write(text if isinstance(text, str) else text.decode())

    def flush(self) -> None:
        """Pass on what is buffered."""
        (self._stream or host.stdout).flush()


def _exit(status: object = 0) -> NoReturn:
    raise SystemExit(status)


def make_sys(
    path: list[str], argv: Sequence[str], modules: dict[str, ModuleType], output: Output
) -> ModuleType:
    """Return a module `sys`; the importer searches its `path` and fills its `modules`."""

    def print_exception(error: BaseException, file: Output = output) -> None:
        for line in traceback.format_exception(type(error), error, error.__traceback__):
            file.write(line)

    implementation = SimpleNamespace(
        name="micropython", version=(*_VERSION, ""), _machine="CPython shim", _mpy=_MPY
    )
    module = ModuleType("sys")
    vars(module).update(
        implementation=implementation,
        platform="linux",
        version="3.4.0; MicroPython v{}.{}.{}".format(*_VERSION),
        version_info=(3, 4, 0),
        byteorder=host.byteorder,
        maxsize=(1 << 31) - 1,
        path=path,
        argv=list(argv),
        modules=modules,
        stdin=host.stdin,
        stdout=output,
        stderr=output,
        exit=_exit,
        print_exception=print_exception,
    )
    return module


def make_gc() -> ModuleType:
    """Return a module `gc` with a heap that nothing fills: CPython counts no bytes."""
    state = SimpleNamespace(enabled=True, threshold=-1)

    def threshold(amount: int | None = None) -> int | None:
        if amount is None:
            return state.threshold
        state.threshold = amount
        return None

    module = ModuleType("gc")
    vars(module).update(
        collect=lambda: 0,
        mem_alloc=lambda: 0,
        mem_free=lambda: _HEAP,
        enable=lambda: setattr(state, "enabled", True),
        disable=lambda: setattr(state, "enabled", False),
        isenabled=lambda: state.enabled,
        threshold=threshold,
    )
    return module


def _same(value: T) -> T:
    return value


class _HeapLock:
    """Counts locks; nothing refuses to allocate here, tests/heap does that on MicroPython."""

    def __init__(self) -> None:
        self._depth = 0

    def lock(self) -> None:
        self._depth += 1

    def unlock(self) -> int:
        self._depth -= 1
        return self._depth


def make_micropython() -> ModuleType:
    """Return a module `micropython`: the names of the unix port and of boards."""
    heap = _HeapLock()

    def schedule(function: Callable[[object], object], argument: object) -> None:
        function(argument)

    module = ModuleType("micropython")
    vars(module).update(
        const=_same,
        native=_same,
        viper=_same,
        heap_lock=heap.lock,
        heap_unlock=heap.unlock,
        alloc_emergency_exception_buf=lambda size: None,
        mem_info=lambda verbose=False: None,
        opt_level=lambda level=0: level,
        schedule=schedule,
    )
    return module
