"""Runs tests/device through both shims as ordinary pytest items, and counts tests per runtime."""

from __future__ import annotations

import fnmatch
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.shim import Device, circuitpython

ROOT = Path(__file__).parents[1]
FIRMWARE, DEVICE_TESTS = ROOT / "firmware", ROOT / "tests" / "device"
CIRCUITPYTHON_TESTS = DEVICE_TESTS / "circuitpython"  # with its own loopback.py
CIRCUITPYTHON = "[circuitpython]"
# What does not run as CircuitPython, and why. A file that is named has one of its own there.
MICROPYTHON_ONLY = {
    "test_port.py": "MicroPython's port",
    "test_runtime_facts.py": "MicroPython itself",
    "test_clock.py": "it plays MicroPython's module time and an SNTP server on its sockets",
    "test_wifi.py": "MicroPython's module network",
    "test_cloud_aliyun.py::test_the_body_of_a_login_*": "hmacmd5 is among its methods",
    "test_http1.py::test_good_case_is_read_*in_a_buffer_*": "15 s, and nothing of a runtime in it",
    "test_http1.py::test_bad_case_is_refused_in_smaller_*": "3 s, and nothing of a runtime in it",
    "test_sign.py::test_every_vector_of_the_rfcs_is_reproduced": "md5",
    "test_sign.py::test_keys_around_*": "it asks MicroPython's hashlib",
    "test_sign.py::test_a_hash_that_is_none_*": "it makes MicroPython's hashlib smaller",
    "test_sign.py::test_hashes_that_go_by_name_*": "it plays CircuitPython's hashlib",
}

collect_ignore_glob = ["heap/*", "run.py"]  # for MicroPython: tests/host/test_matrix.py runs them


class DeviceFile(pytest.File):
    """A file of tests/device, loaded by an emulated device of its own."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the functions test_* in the order of the file."""
        module = self.load()
        for name, function in vars(module).items():
            if name.startswith("test_") and callable(function) and self.wanted(name):
                yield DeviceItem.from_parent(self, name=name, function=function)

    def load(self) -> Any:
        """Load the file as MicroPython."""
        return Device(FIRMWARE, DEVICE_TESTS, cwd=ROOT).load(self.path.stem)

    def wanted(self, name: str) -> bool:
        """Whether that test runs there: all do."""
        return True


class CircuitPythonFile(DeviceFile):
    """The same as CircuitPython, with a drive of its own; or a file for CircuitPython alone."""

    def load(self) -> Any:
        """Load the file as CircuitPython."""
        drive = tempfile.TemporaryDirectory(prefix="onebuf-circuitpy-")
        self.config.add_cleanup(drive.cleanup)
        (Path(drive.name) / "tmp").mkdir()
        path = (FIRMWARE, CIRCUITPYTHON_TESTS, DEVICE_TESTS)
        return circuitpython.Device(*path, cwd=Path(drive.name)).load(self.path.stem)

    def wanted(self, name: str) -> bool:
        """Whether it is not MicroPython's alone."""
        return not _micropython_only(f"{self.path.name}::{name}")


def _micropython_only(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in MICROPYTHON_ONLY)


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
    if module_path.parent == CIRCUITPYTHON_TESTS:
        return CircuitPythonFile.from_parent(parent, path=module_path)
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a file of tests/device a second time, as CircuitPython."""
    name = file_path.name
    if file_path.parent != DEVICE_TESTS or not fnmatch.fnmatch(name, "test_*.py"):
        return None
    if _micropython_only(name):
        return None
    node = f"{file_path.relative_to(ROOT)}{CIRCUITPYTHON}"
    return CircuitPythonFile.from_parent(
        parent, path=file_path, name=name + CIRCUITPYTHON, nodeid=node
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print one line for each runtime that the device's tests ran on."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", [])]
    device = [node for node in passed if node.startswith("tests/device/")]
    boards = sum(CIRCUITPYTHON in node or "/circuitpython/" in node for node in device)
    totals = {"cpython-shim": len(device) - boards, "circuitpython-shim": boards}
    for report in terminalreporter.stats.get("passed", []):
        totals.update(report.user_properties)  # test_matrix says how many tests its runtimes ran
    for runtime in ("cpython-shim", "micropython-64", "micropython-32"):
        ours = sum("end_to_end" in node and runtime in node for node in passed)
        totals[f"{runtime}, end to end"] = ours
    for runtime, number in totals.items():
        if number:
            terminalreporter.line(f"{runtime}: {number} passed")
