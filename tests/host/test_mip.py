"""The package as MicroPython's tools take it: mip on real MicroPython, and the manifest tool."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from devices import FIRMWARE
from mpremote.mip import do_mip
from mpremote.transport import Transport, TransportExecError

from tools import manifest_tool, mip_index, packages
from tools.micropython import find
from tools.native import MARCH

BITS = pytest.mark.parametrize("bits", (32, 64))
TIMEOUT_S = 60


class Served(SimpleHTTPRequestHandler):
    """The files of a folder; what is asked for is noted, not printed."""

    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        self.asked.append(self.path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index for each word size of this computer's MicroPython."""
    folder = tmp_path_factory.mktemp("site")
    for march in MARCH.values():
        mip_index.write(folder / march, march)
    return folder


@pytest.fixture
def asked() -> list[str]:
    """The paths that the server is asked for."""
    return []


@contextmanager
def serving(folder: Path, asked: list[str]) -> Iterator[str]:
    """Serve folder, and note in asked what is asked for: the address."""
    noting = type("Noting", (Served,), {"asked": asked})
    handler = functools.partial(noting, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def url(site: Path, asked: list[str]) -> Iterator[str]:
    """Where the folder is served."""
    with serving(site, asked) as address:
        yield address


def micropython(bits: int, folder: Path, code: str) -> str:
    """What code prints on MicroPython, that finds nothing of ours but in folder/lib."""
    done = subprocess.run(
        [*find(bits).argv, "-c", code],
        cwd=folder,
        env={"MICROPYPATH": f"{folder}/lib:.frozen"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(bits: int, folder: Path, index: str, package: str, mpy: bool) -> str:
    """What mip prints; it installs to the first folder of sys.path that is called lib."""
    code = f"import mip; mip.install({package!r}, index={index!r}, mpy={mpy})"
    return micropython(bits, folder, code)


def installed(folder: Path) -> set[str]:
    lib = folder / "lib"
    return {path.relative_to(lib).as_posix() for path in lib.rglob("*") if path.is_file()}


class Piped(Transport):
    """mpremote's view of a board: a real MicroPython at a pipe, where a board has its raw REPL."""

    _LOOP = """\
import sys
names = {}
while True:
    line = sys.stdin.readline()
    if not line:
        break
    try:
        exec(eval(line), names)
        print("\\x04")
    except Exception as error:
        sys.print_exception(error)
        print("\\x04\\x04")
"""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def on(cls, bits: int, folder: Path) -> Iterator[Piped]:
        """Start one in that folder."""
        with subprocess.Popen(
            [*find(bits).argv, "-c", cls._LOOP],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            watch = threading.Timer(TIMEOUT_S, process.kill)
            watch.start()
            try:
                yield cls(process)
            finally:
                process.kill()
                watch.cancel()

    def exec(self, command: str | bytes, data_consumer: Any = None) -> bytes:
        assert self._process.stdin and self._process.stdout
        print(repr(command), file=self._process.stdin, flush=True)
        said = ""
        for line in self._process.stdout:
            if line.startswith("\x04"):
                break
            said += line
        if line == "\x04\x04\n":
            raise TransportExecError(1, said)
        return said.encode()

    def eval(self, expression: str) -> Any:
        return ast.literal_eval(self.exec(f"print(repr({expression}))").decode())


@BITS
@pytest.mark.parametrize("mpy", (True, False), ids=("mpy", "source"))
def test_package_for_a_cloud_when_installed_by_mip_then_it_is_all_there_and_imports(
    bits: int, mpy: bool, url: str, tmp_path: Path
) -> None:
    out = install(bits, tmp_path, f"{url}/{MARCH[bits]}", "onebuf-aws", mpy)
    assert out.endswith("Done\n")
    suffix = ".mpy" if mpy else ".py"
    assert installed(tmp_path) == {
        str(Path(file).with_suffix(suffix)) for file in packages.lists()["aws"]
    }
    if not mpy:
        for file in packages.lists()["aws"]:
            assert (tmp_path / "lib" / file).read_bytes() == (FIRMWARE / file).read_bytes()
    code = "import onebuf.publish, onebuf.client, onebuf.cloud.aws as aws; print(aws.__file__)"
    assert micropython(bits, tmp_path, code) == f"{tmp_path}/lib/onebuf/cloud/aws{suffix}\n"


def test_whole_package_when_installed_then_every_cloud_imports(url: str, tmp_path: Path) -> None:
    install(32, tmp_path, f"{url}/x86", "onebuf", True)
    clouds = ", ".join(f"onebuf.cloud.{cloud}" for cloud in packages.CLOUDS)
    assert micropython(32, tmp_path, f"import {clouds}; print(1)") == "1\n"


def test_second_install_when_nothing_changed_then_no_file_is_fetched_again(
    url: str, asked: list[str], tmp_path: Path
) -> None:
    install(32, tmp_path, f"{url}/x86", "onebuf-azure", True)
    assert len(asked) == 1 + len(installed(tmp_path))
    asked.clear()
    out = install(32, tmp_path, f"{url}/x86", "onebuf-azure", True)
    assert asked == ["/x86/package/6/onebuf-azure/latest.json"]
    assert out.count("Exists:") == len(installed(tmp_path))


def test_version_that_is_there_installs_and_another_does_not(url: str, tmp_path: Path) -> None:
    template = "import mip; mip.install('onebuf-aws', index='%s/x64', version='%s')"
    assert "Done" in micropython(64, tmp_path, template % (url, packages.version()))
    out = micropython(64, tmp_path, template % (url, "9.9"))
    assert "Package not found" in out


@pytest.mark.parametrize("package", ("package.json", "watson.json", ""))
def test_list_with_relative_addresses_when_mpremote_installs_it_then_it_is_all_there(
    package: str, tmp_path: Path
) -> None:
    with Piped.on(32, tmp_path) as board, serving(FIRMWARE, []) as url:
        state = SimpleNamespace(
            transport=board, did_action=lambda: None, ensure_raw_repl=lambda: None
        )
        where = {"index": None, "target": "lib", "mpy": True}
        do_mip(state, SimpleNamespace(command=["install"], packages=[f"{url}/{package}"], **where))
    files = packages.lists()[(package or "package.json").removesuffix(".json")]
    assert installed(tmp_path) == set(files)
    for file in files:
        assert (tmp_path / "lib" / file).read_bytes() == (FIRMWARE / file).read_bytes()
    code = "import onebuf.publish, onebuf.cloud.watson; print(1)"
    assert micropython(32, tmp_path, code) == "1\n"


def outputs(mode: str) -> list[dict[str, object]]:
    """What MicroPython's manifest tool makes of firmware/manifest.py: its ManifestOutput items."""
    argv = [sys.executable, str(manifest_tool.find()), mode, str(FIRMWARE / "manifest.py")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    calls = [line for line in done.stdout.splitlines() if line.startswith("ManifestOutput(")]
    found = []
    for line in calls:
        cut = line.replace(line[line.index(", metadata=") : line.index(", opt=")], "")
        [call] = (node for node in ast.walk(ast.parse(cut)) if isinstance(node, ast.Call))
        found.append({word.arg or "": ast.literal_eval(word.value) for word in call.keywords})
    return found


@pytest.mark.parametrize("mode", ("--freeze", "--compile"))
def test_manifest_when_given_to_micropython_s_tool_then_every_module_is_taken(mode: str) -> None:
    found = outputs(mode)
    modules = {path.relative_to(FIRMWARE).as_posix() for path in packages.PACKAGE.rglob("*.py")}
    assert {file["target_path"] for file in found} == modules
    for file in found:
        assert file["full_path"] == str(FIRMWARE / str(file["target_path"]))
        assert file["opt"] == 3
