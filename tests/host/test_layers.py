"""Who may import whom (DESIGN.md section 3): any other edge is a failure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from devices import FIRMWARE, ROOT

from host.shim import Device
from tools import size

PACKAGE = FIRMWARE / "onebuf"
MODULES = sorted(PACKAGE.rglob("*.py"))
LEAVES = ("errno", "span", "outcome", "backoff")

# Who: the modules of onebuf that it may import. The first pattern that fits counts; whatever fits
# none has no place in the house yet.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "__init__": (),
    "errno": (),
    "span": (),
    "outcome": (),
    "backoff": (),
    "queue": ("span",),
    "flash_queue": ("span", "flash_files"),
    "flash_files": ("span",),
    "dead_letters": ("outcome",),
    "message": (*LEAVES, "scan"),
    "scan": (),
    "sign": ("span",),
    "http1": (*LEAVES, "message", "scan"),
    "client": (*LEAVES, "http1"),
    "uplink": LEAVES,
    "publish": (*LEAVES, "uplink"),
    "aio": LEAVES,
    "cloud/aws_*": ("span", "sign", "cloud/aws"),  # the same cloud, another way to log in
    "cloud/watson_*": ("cloud/watson",),
    "cloud/aliyun_*": ("span", "outcome", "cloud/aliyun"),
    "cloud/*": ("span", "scan", "sign", "outcome"),
    "provision/*": ("span", "sign", "outcome"),
    "port/circuitpython_clock": ("clock", "sntp", "port/circuitpython"),
    "port/adafruit_session": ("http1",),
    "port/*": (),
    "clock": ("sntp",),
    "sntp": (),
    "wifi": (),
}

# Time, chance and sockets are the port's; what a runtime lacks or names otherwise is too.
PORTS_ONLY = {"errno", "machine", "network", "os", "random", "select", "socket", "socketpool"}
PORTS_ONLY |= {"ssl", "sys", "time", "tls", "wifi"}
HAVE_HARDWARE = (
    "clock",
    "sntp",
    "flash_files",
    "dead_letters",
    "wifi",
    "flash_queue",
    "aio",
)  # by their nature

PYTHON = [*sorted((ROOT / "host").rglob("*.py")), *sorted((ROOT / "tools").rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE).with_suffix(""))


def imports(tree: ast.AST) -> Iterator[str]:
    """The full name of every module or attribute that tree imports; relative ones with dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> list[str]:
    return list(imports(ast.parse(path.read_text())))


def module_within(full: str) -> str:
    """The module of onebuf that an imported name belongs to, as a path: "cloud/aws"."""
    parts = full.split(".")[1:]
    while parts and not (PACKAGE.joinpath(*parts).with_suffix(".py")).is_file():
        parts.pop()
    return "/".join(parts) or "__init__"


def allowed_for(name: str) -> tuple[str, ...] | None:
    for pattern, allowed in MAY_IMPORT.items():
        if fnmatch(name, pattern):
            return allowed
    return None


def wrong_edges(name: str, imported: Iterable[str]) -> list[str]:
    allowed = allowed_for(name)
    assert allowed is not None, f"{name} has no place in DESIGN.md section 3"
    ours = [full for full in imported if full.split(".")[0] == "onebuf"]
    return [full for full in ours if module_within(full) not in allowed]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_device_module_imports_only_what_stands_below_it(path: Path) -> None:
    imported = imports_of(path)
    assert not [full for full in imported if full.startswith(".")], "say the full name"
    assert wrong_edges(name_of(path), imported) == []


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("client", "onebuf.uplink.Uplink"),
        ("client", "onebuf.port.micropython.Transport"),
        ("span", "onebuf.errno"),
        ("cloud/aws", "onebuf.http1.Request"),
        ("cloud/azure", "onebuf.cloud.aws"),
        ("port/micropython", "onebuf.span"),
        ("http1", "onebuf.client"),
    ],
)
def test_edge_that_points_upwards_or_sideways_is_found(name: str, imported: str) -> None:
    assert wrong_edges(name, [imported]) == [imported]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_device_module_outside_port_knows_no_runtime_no_clock_and_no_socket(path: Path) -> None:
    name = name_of(path)
    if name.startswith("port/"):
        return
    tree = ast.parse(path.read_text())
    tried = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    assert not [full for node in tried for full in imports(node)], "an import that may fail"
    if name not in HAVE_HARDWARE:
        assert PORTS_ONLY.isdisjoint(full.split(".")[0] for full in imports(tree))


def test_only_applications_tests_and_ports_import_a_port() -> None:
    applications = [FIRMWARE / name for name in ("main.py", "provisioning.py", "code.py")]
    allowed = (*applications, FIRMWARE / "examples", PACKAGE / "port", ROOT / "tests")
    files = [*FIRMWARE.rglob("*.py"), *PYTHON]
    importers = [
        path
        for path in files
        if any(full.startswith("onebuf.port") for full in imports_of(path))
        and not any(path.is_relative_to(place) for place in allowed)
    ]
    assert importers == []


def test_device_package_imports_nothing_of_the_computer() -> None:
    for path in FIRMWARE.rglob("*.py"):
        roots = {full.split(".")[0] for full in imports_of(path)}
        assert roots.isdisjoint({"host", "tools", "tests", "firmware", "typing"}), path


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_host_and_tools_reach_the_device_package_only_through_the_shim(path: Path) -> None:
    roots = {full.split(".")[0] for full in imports_of(path)}
    assert roots.isdisjoint({"onebuf", "firmware"})


def test_emulated_cloud_shares_no_code_with_the_device() -> None:
    ours = ("host", "tools", "tests", "onebuf", "firmware", "main")
    for path in (ROOT / "host" / "cloud").rglob("*.py"):
        for full in imports_of(path):
            if full.split(".")[0] in ours:
                assert full.startswith(("host.cloud.", "host.certs.")), (path, full)
        assert "host.shim" not in path.read_text(), path
    assert not [full for full in imports_of(ROOT / "host" / "certs.py") if full[:4] == "host"]


def constants(path: Path) -> Iterator[tuple[str, int]]:
    """The `_NAME = const(n)` of a module."""
    for node in ast.parse(path.read_text()).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) == "const"
        ):
            yield node.targets[0].id, ast.literal_eval(node.value.args[0])


def test_every_negative_result_has_the_name_and_number_of_the_errno_table() -> None:
    strerror = Device(FIRMWARE).load("onebuf.errno").strerror
    numbers: dict[str, int] = {}
    for path in MODULES:
        for name, value in constants(path):
            if value < 0 and re.fullmatch(r"_E[A-Z0-9]+", name):
                assert strerror(value).split(":")[0] == name[1:], (path, name)
                numbers[name] = value
    assert len(numbers) >= 10 and len(set(numbers.values())) == len(numbers)


def test_outcomes_that_other_modules_repeat_have_the_numbers_of_outcome() -> None:
    outcome = vars(Device(FIRMWARE).load("onebuf.outcome"))
    repeated = {
        name: value
        for path in MODULES
        for name, value in constants(path)
        if name[1:] in outcome and not name.startswith("_E")
    }
    assert repeated == {name: outcome[name[1:]] for name in repeated}


def test_marks_flags_and_steps_have_one_number_in_all_modules_of_the_parser() -> None:
    numbers: dict[str, int] = {}
    for module in ("scan", "message", "http1"):
        own = dict(constants(FIRMWARE / "onebuf" / f"{module}.py"))
        assert {name: numbers.get(name, value) for name, value in own.items()} == own
        numbers.update(own)
    steps = Device(FIRMWARE).load("onebuf.message").STEPS
    called = {name: n for name, n in numbers.items() if name[:4] == "_TO_" and n < len(steps)}
    assert len(called) == len(steps) - 1
    for name, n in called.items():
        assert steps[n].__name__.strip("_") == name[4:].lower()


@pytest.mark.parametrize("way", size.CLOUDS)
def test_importing_what_one_cloud_needs_imports_no_other_on_micropython(way: str) -> None:
    names = size.CLOUDS[way]
    _, modules = size.ram_after_import(FIRMWARE, (*size.SHARED, *names))
    own = {name.split(".")[1].split("_")[0] for name in names if name.startswith("cloud.")}
    clouds = [name.split(".")[2] for name in modules if name.startswith("onebuf.cloud.")]
    assert {cloud.split("_")[0] for cloud in clouds} == own and len(own) == 1
    assert not [name for name in modules if "provision" in name or "errno" in name]
    assert ("onebuf.clock" in modules) is ("clock" in names)


def test_application_imports_one_port_and_no_cloud_but_that_of_its_settings() -> None:
    imported = imports_of(FIRMWARE / "main.py")
    modules = {module_within(full) for full in imported if full.startswith("onebuf.")}
    assert [name for name in modules if name.startswith("port/")] == ["port/micropython"]
    assert not [name for name in modules if name.startswith(("cloud/", "provision/"))]
    assert modules - {"clock"} <= {name.replace(".", "/") for name in size.SHARED}
