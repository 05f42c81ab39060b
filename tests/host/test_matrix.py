"""The device's tests on real MicroPython, 64 and 32 bit; a missing runtime is a failure."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import native, size
from tools.micropython import find

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300


def run_tests(bits: int, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `folder`/run.py on MicroPython; stderr goes with stdout."""
    return subprocess.run(
        [*find(bits).argv, f"{folder}/run.py", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
    )


def compiled(bits: int, folder: Path) -> Path:
    """Compile the package to folder/firmware as a board gets it; the tests, with its names."""
    size.compile_package(folder / "firmware", native.MARCH[bits])
    names = size.private_names_of_package()
    copy = folder / "tests"
    shutil.copytree(ROOT / "tests" / "device", copy / "device")
    shutil.copy(ROOT / "tests" / "run.py", copy)
    attributes = re.compile(r"(?<=\.)_[A-Za-z]\w*|(?<=    def )_[a-z]\w*")
    for path in (copy / "device").glob("*.py"):  # some look inside
        text = path.read_text()
        theirs = {name: name for name in re.findall(r"self\.(_\w+)", text)}
        known = {**names, **theirs}
        path.write_text(attributes.sub(lambda m, known=known: known.get(m[0], m[0]), text))
    return copy


@pytest.mark.parametrize("suite", ["device", "heap", "compiled"])
@pytest.mark.parametrize("bits", [64, 32])
def test_the_device_tests_pass_on_micropython(
    bits: int, suite: str, record_property: Callable[[str, int], None], tmp_path: Path
) -> None:
    options = ["--heap"] if suite == "heap" else []
    tests = ROOT / "tests"
    if suite == "compiled":
        tests = compiled(bits, tmp_path)
        options = [f"--firmware={tmp_path / 'firmware'}"]
    done = run_tests(bits, tests, *options)
    closing = re.search(r"^(\d+) passed, (\d+) failed\n\Z", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout[-20000:]
    assert closing is not None, done.stdout[-2000:]
    assert int(closing[1]) > 0 and int(closing[2]) == 0
    label = f"micropython-{bits}"
    label += {
        "device": "",
        "heap": ", heap locked",
        "native": ", native code",
        "compiled": ", .mpy",
    }[suite]
    record_property(label, int(closing[1]))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def test_a():\n    assert 1 == 2\n", "line 2, in test_a"),
        ("def test_a():\n    raise SystemExit(0)\n", "FAIL test_bad.test_a"),
        ("import nothing_there\ndef test_a():\n    pass\n", "no module named 'nothing_there'"),
        ("def test_a():\n    pass\ndef test_a():\n    pass\n", "two tests are called test_a"),
        (
            "import micropython\ndef test_a():\n    micropython.heap_lock()\n    [1, 2]\n",
            "MemoryError",
        ),
        ("", "0 passed, 0 failed"),
    ],
    ids=["assertion", "exit", "import", "same name twice", "heap left locked", "no test"],
)
def test_the_runner_fails_and_says_why_when_a_test_file_is_bad(
    source: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "device").mkdir()
    shutil.copy(ROOT / "tests" / "run.py", tmp_path)
    (tmp_path / "device" / "test_bad.py").write_text(source)
    done = run_tests(32, tmp_path)
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
    expected = "0 passed, 1 failed\n" if source else "0 passed, 0 failed\n"
    assert done.stdout.endswith(expected)


def test_the_runner_copes_with_a_thousand_tests_in_the_default_heap(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    shutil.copy(ROOT / "tests" / "run.py", tmp_path)
    body = "".join(
        f"def test_case_{n}_when_it_has_a_rather_long_name_then_it_passes():\n"
        f"    assert b'{n:0200}'.find(b'x') == -1\n"
        for n in range(250)
    )
    for n in range(4):
        (tmp_path / "device" / f"test_many_{n}.py").write_text(body)
    done = run_tests(32, tmp_path)
    assert done.stdout.endswith("\n1000 passed, 0 failed\n"), done.stdout[-2000:]
    assert run_tests(32, tmp_path, "many_2.test_case_7_").stdout.endswith("\n1 passed, 0 failed\n")
