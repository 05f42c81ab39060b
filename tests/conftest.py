"""Runs tests/device through host/shim as ordinary pytest items, and counts tests per runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.shim import Device

ROOT = Path(__file__).parents[1]
FIRMWARE, DEVICE_TESTS = ROOT / "firmware", ROOT / "tests" / "device"

collect_ignore_glob = ["heap/*", "run.py"]  # for MicroPython: tests/host/test_matrix.py runs them


class DeviceFile(pytest.File):
    """A file of tests/device, loaded by an emulated device of its own."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the functions test_* in the order of the file."""
        module = Device(FIRMWARE, DEVICE_TESTS, cwd=ROOT).load(self.path.stem)
        for name, function in vars(module).items():
            if name.startswith("test_") and callable(function):
                yield DeviceItem.from_parent(self, name=name, function=function)


class DeviceItem(pytest.Item):
    """One test function; it passes if it returns."""

    def __init__(self, *, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def runtest(self) -> None:
        """Call the function; SystemExit is a failure too, as on the board."""
        try:
            self.function()
        except SystemExit as error:
            raise AssertionError(f"the test left with SystemExit({error.code!r})") from error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the failure from the test's own file on."""
        excinfo.traceback = excinfo.traceback.cut(path=self.path)
        return super().repr_failure(excinfo, style=style or "short")

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the function stands."""
        return self.path, self.function.__code__.co_firstlineno - 1, self.name


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Keep pytest's own collector away from the device's tests."""
    if module_path.parent == DEVICE_TESTS:
        return DeviceFile.from_parent(parent, path=module_path)
    return None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print one line for each runtime that the device's tests ran on."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", [])]
    ours = sum(node.startswith("tests/device/") for node in passed)
    totals = {"cpython-shim": ours}
    for report in terminalreporter.stats.get("passed", []):
        totals.update(report.user_properties)  # test_matrix says how many tests its runtimes ran
    for runtime in ("cpython-shim", "micropython-64", "micropython-32"):
        ours = sum("end_to_end" in node and runtime in node for node in passed)
        totals[f"{runtime}, end to end"] = ours
    for runtime, number in totals.items():
        if number:
            terminalreporter.line(f"{runtime}: {number} passed")
