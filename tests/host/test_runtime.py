"""The tools that fetch MicroPython: the real one once, every mishap with a pretended apt."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import debian, micropython
from tools.micropython import RuntimeMissing, find

ROOT = Path(__file__).resolve().parents[2]
ARCH = {32: "i386", 64: "amd64"}
REAL_DPKG = Path("/usr/bin/dpkg-deb")

DEB822 = """\
Types: deb
# a comment within
URIs: http://one.invalid/debian
  http://two.invalid/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc=
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://one.invalid/debian-security
Suites: bookworm-security
Components: main
"""

FAKE_APT = """\
#!/bin/sh
echo "$3" >> {log}/calls
case "$3" in
update)
    /bin/cat {log}/../cache/*.tmp/sources/debian.sources > {log}/sources
    /bin/sleep "${{FAKE_SLEEP:-0}}"
    if [ -n "$FAKE_ERROR" ]; then
        echo "Reading package lists..."; echo "E: $FAKE_ERROR"; echo "E: Some files failed"
        exit 100
    fi;;
download)
    if /bin/grep -q "$FAKE_LACKS" {log}/sources && [ -n "$FAKE_LACKS" ]; then
        echo "E: Release '$FAKE_LACKS' for 'micropython' was not found"; exit 100
    fi
    echo "$@" > {log}/packages; : > one.deb;;
esac
"""
FAKE_DPKG = '#!/bin/sh\n/bin/cp -R {log}/../tree/. "$3"\n'
FAKE_LOADER = '#!/bin/sh\nshift 2\nexec "$@"\n'
NO_TLS = "#!/bin/sh\necho \"ImportError: no module named 'tls'\" >&2\nexit 1\n"


def answers(bits: int, version: str = "1.99.0") -> str:
    return f"#!/bin/sh\necho micropython {bits} {version}\n"


def write(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


class Machine:
    """A Debian machine in a folder: its apt, its sources, its PATH, its cache."""

    def __init__(self, home: Path) -> None:
        self.bin, self.cache, self.log = home / "bin", home / "cache", home / "log"
        self.etc_apt, self.tree = home / "etc", home / "tree"
        self.log.mkdir()
        write(self.bin / "apt-get", FAKE_APT.format(log=self.log))
        write(self.bin / "dpkg", FAKE_DPKG.format(log=self.log))
        write(self.etc_apt / "sources.list.d" / "debian.sources", DEB822)

    def packages_answer(self, bits: int, script: str | None = None) -> None:
        write(self.tree / "usr/lib/some-linux-gnu/ld-linux.so.2", FAKE_LOADER)
        write(self.tree / "usr/lib/some-linux-gnu/libc.so.6", "a library")
        write(self.tree / "usr/bin/micropython", script or answers(bits))

    def calls(self) -> list[str]:
        calls = self.log / "calls"
        return calls.read_text().split() if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(machine.bin))
    for name in ("ONEBUF_MICROPYTHON32", "ONEBUF_MICROPYTHON64", "FAKE_ERROR", "FAKE_LACKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(micropython, "_ETC_APT", machine.etc_apt)
    on(monkeypatch, "Linux", "x86_64", {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    return machine


def on(
    monkeypatch: pytest.MonkeyPatch, system: str, cpu: str, release: dict[str, str] | None = None
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: cpu)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release or {})


def refusal(bits: int, machine: Machine) -> str:
    """Return the one line that the user sees when there is no MicroPython."""
    with pytest.raises(RuntimeMissing) as caught:
        find(bits, machine.cache)
    text = str(caught.value)
    assert text and "\n" not in text and "Traceback" not in text
    assert not list(machine.cache.glob("*.tmp"))
    return text


# The real one


@pytest.mark.parametrize("bits", (32, 64))
def test_real_runtime_when_found_runs_with_its_word_size_and_tls(bits: int) -> None:
    runtime = find(bits)
    script = "import sys, tls; tls.SSLContext(tls.PROTOCOL_TLS_CLIENT); print(sys.maxsize)"
    done = subprocess.run(
        [*runtime.argv, "-c", script], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr) == (f"{2 ** (bits - 1) - 1}\n", "")
    assert runtime.bits == bits
    assert tuple(map(int, runtime.version.split("."))) >= (1, 22, 0)


def test_command_line_with_bits_starts_that_one_with_the_arguments() -> None:
    script = "import sys; print(sys.implementation.name, sys.maxsize, sys.argv[1:])"
    command = [sys.executable, "tools/micropython.py", "--bits", "32", "-X", "heapsize=64k"]
    done = subprocess.run(
        [*command, "-c", script, "a", "--bits"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "micropython 2147483647 ['a', '--bits']\n"
    assert done.returncode == 0


# Which one is taken


@pytest.mark.parametrize("bits", (32, 64))
def test_one_on_path_with_tls_and_the_word_size_is_preferred(bits: int, machine: Machine) -> None:
    program = write(machine.bin / "micropython", answers(bits))
    assert find(bits, machine.cache) == (bits, (str(program),), "1.99.0")
    assert machine.calls() == []


@pytest.mark.parametrize("script", (NO_TLS, answers(32), "#!/bin/sh\necho hello\n", "garbage"))
def test_one_on_path_that_fails_the_probe_is_passed_over(script: str, machine: Machine) -> None:
    program = write(machine.bin / "micropython", script)
    machine.packages_answer(64)
    assert str(program) not in find(64, machine.cache).argv


def test_one_on_path_that_hangs_is_passed_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micropython, "_PROBE_TIMEOUT_S", 0.5)
    write(machine.bin / "micropython", "#!/bin/sh\nexec /bin/sleep 30\n")
    machine.packages_answer(64)
    assert find(64, machine.cache).version == "1.99.0"


def test_one_that_the_environment_names_wins(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(machine.bin / "micropython", answers(32))
    named = write(machine.bin / "mine", answers(32, "1.27.0"))
    monkeypatch.setenv("ONEBUF_MICROPYTHON32", str(named))
    assert find(32, machine.cache) == (32, (str(named),), "1.27.0")


@pytest.mark.parametrize(
    ("script", "reason"),
    ((NO_TLS, "no module named 'tls'"), (answers(64), "64-bit"), (None, "not an executable")),
)
def test_one_that_the_environment_names_when_unfit_is_refused_in_one_line(
    script: str | None, reason: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        write(machine.bin / "mine", script)
    monkeypatch.setenv("ONEBUF_MICROPYTHON32", str(machine.bin / "mine"))
    text = refusal(32, machine)
    assert reason in text and "ONEBUF_MICROPYTHON32" in text


# Fetching


def test_fetch_says_its_steps_once_and_a_second_call_is_silent_and_needs_no_apt(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.packages_answer(32)
    first = find(32, machine.cache)
    said = capfd.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 4 and "\b" not in said.err
    monkeypatch.setenv("PATH", str(machine.cache))
    assert find(32, machine.cache) == first
    assert capfd.readouterr() == ("", "")
    assert sorted(p.name for p in machine.cache.iterdir()) == ["i386", "i386.lock"]


@pytest.mark.skipif(not REAL_DPKG.exists(), reason="apt and dpkg are Debian's")
def test_fetch_by_the_real_apt_from_a_small_archive_gets_the_newer_suites_program(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath + ":/usr/sbin:/sbin")
    archive = tmp_path / "debian"
    machine.packages_answer(32, answers(32, "1.26.1"))
    publish(archive, "forky", machine.tree, ["micropython"])
    machine.packages_answer(32, answers(32, "1.25.0"))
    publish(archive, "trixie", machine.tree, ["micropython", *micropython._LIBRARIES])
    write(
        machine.etc_apt / "sources.list.d" / "debian.sources",
        f"Types: deb\nURIs: copy:{archive}\nSuites: bookworm\nComponents: main\nTrusted: yes\n",
    )
    monkeypatch.setattr("shutil.which", without_micropython(shutil.which))
    assert find(32, machine.cache).version == "1.26.1"


def without_micropython(which: Callable[[str], str | None]) -> Callable[[str], str | None]:
    return lambda name: None if name == "micropython" else which(name)


def publish(archive: Path, suite: str, tree: Path, names: list[str]) -> None:
    """Put a package for each of `names` into an archive; the first holds `tree`."""
    index = []
    for name in names:
        package = archive.parent / suite / name
        if name == names[0]:
            shutil.copytree(tree, package)
        control = f"Package: {name}\nVersion: 1-{suite}\nArchitecture: i386\nMaintainer: a\n"
        write(package / "DEBIAN" / "control", f"{control}Description: a\n")
        deb = archive / f"{name}-{suite}.deb"
        deb.parent.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "-b", package, deb], check=True, timeout=20)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        size = deb.stat().st_size
        index.append(f"{control}Filename: {deb.name}\nSize: {size}\nSHA256: {digest}\n")
    text = "\n".join(index)
    write(archive / "dists" / suite / "main/binary-i386/Packages", text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write(
        archive / "dists" / suite / "Release",
        f"Codename: {suite}\nDate: Sat, 15 Nov 2025 00:00:00 UTC\nComponents: main\n"
        f"Architectures: i386\nSHA256:\n {digest} {len(text)} main/binary-i386/Packages\n",
    )


def test_fetch_when_the_newer_suite_lacks_it_takes_the_older(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_LACKS", "forky")
    machine.packages_answer(64)
    find(64, machine.cache)
    assert "micropython/trixie" in (machine.log / "packages").read_text()


def test_fetch_by_two_processes_at_once_downloads_once(machine: Machine) -> None:
    machine.packages_answer(64)
    script = (
        "import platform, sys; from pathlib import Path; from tools import micropython as m;"
        "platform.system = lambda: 'Linux'; platform.machine = lambda: 'x86_64';"
        "m._ETC_APT = Path(sys.argv[1]); print(m.find(64, Path(sys.argv[2])).version)"
    )
    command = [sys.executable, "-c", script, str(machine.etc_apt), str(machine.cache)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FAKE_SLEEP": "0.5"}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in "12"]
    try:
        assert [p.communicate(timeout=30)[0] for p in both] == ["1.99.0\n"] * 2
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert machine.calls() == ["update", "download"]


def test_remains_of_a_killed_fetch_are_removed(machine: Machine) -> None:
    write(machine.cache / "i386.x.tmp" / "half", "")
    machine.packages_answer(32)
    find(32, machine.cache)
    assert not list(machine.cache.glob("*.tmp"))


@pytest.mark.parametrize("name", ("usr/bin/micropython", "usr/lib/some-linux-gnu/libc.so.6"))
def test_cached_one_when_broken_or_incomplete_is_fetched_again(
    name: str, machine: Machine
) -> None:
    machine.packages_answer(32)
    whole = find(32, machine.cache)
    (machine.cache / "i386" / name).unlink()
    write(machine.cache / "i386/usr/bin/micropython", "")
    assert find(32, machine.cache) == whole
    assert machine.calls() == ["update", "download"] * 2
    assert (machine.cache / "i386" / name).exists()


def test_cached_one_when_broken_and_apt_gone_is_reported_in_one_line(machine: Machine) -> None:
    machine.packages_answer(32)
    find(32, machine.cache)
    write(machine.cache / "i386/usr/bin/micropython", NO_TLS)
    (machine.bin / "apt-get").unlink()
    assert "no apt-get here" in refusal(32, machine)


def test_cached_one_when_only_its_dates_changed_is_checked_not_fetched(machine: Machine) -> None:
    machine.packages_answer(32)
    runtime = find(32, machine.cache)
    os.utime(runtime.argv[-1], (1, 1))
    assert find(32, machine.cache) == runtime
    assert machine.calls() == ["update", "download"]


# Where it cannot


@pytest.mark.parametrize(
    ("bits", "system", "cpu", "words"),
    (
        (64, "Darwin", "arm64", "run `brew install micropython`"),
        (32, "Darwin", "arm64", "64-bit only"),
        (64, "Windows", "AMD64", "WSL 2"),
        (32, "Linux", "aarch64", "this is aarch64"),
    ),
)
def test_other_system_or_cpu_is_told_in_one_line_what_to_do(
    bits: int,
    system: str,
    cpu: str,
    words: str,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on(monkeypatch, system, cpu)
    assert words in refusal(bits, machine)
    assert machine.calls() == []


def _no_apt(machine: Machine) -> None:
    (machine.bin / "apt-get").unlink()


def _no_dpkg(machine: Machine) -> None:
    (machine.bin / "dpkg").unlink()


def _ubuntu(machine: Machine) -> None:
    ubuntu = DEB822.replace("bookworm", "noble").replace("/debian", "/ubuntu")
    write(machine.etc_apt / "sources.list.d" / "debian.sources", ubuntu)


def _not_a_program(machine: Machine) -> None:
    machine.packages_answer(64, NO_TLS)


def _cache_is_a_file(machine: Machine) -> None:
    write(machine.cache, "")


@pytest.mark.parametrize(
    ("spoil", "words"),
    (
        (_no_apt, "no apt-get here"),
        (_no_dpkg, "no dpkg here"),
        (_ubuntu, "no Debian source"),
        (_not_a_program, "no module named 'tls'"),
        (_cache_is_a_file, "File exists"),
    ),
)
def test_linux_without_the_means_is_told_to_install_one(
    spoil: Callable[[Machine], None], words: str, machine: Machine
) -> None:
    spoil(machine)
    text = refusal(64, machine)
    assert words in text and "with your package manager so that it is on PATH" in text


@pytest.mark.parametrize("word", ("Temporary failure resolving 'a'", "Could not connect to a:80"))
def test_offline_is_told_to_connect_and_no_password_is_shown(
    word: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_ERROR", f"Failed to fetch http://me:secret@a/debian {word}")
    text = refusal(32, machine)
    assert "connect and run this again" in text and word in text and "secret" not in text
    assert machine.calls() == ["update"]


def test_machine_that_cannot_run_32_bit_programs_is_told_so(machine: Machine) -> None:
    machine.packages_answer(32)
    write(machine.tree / "usr/lib/some-linux-gnu/ld-linux.so.2", "\x7fELF of another machine")
    assert "runs no 32-bit programs" in refusal(32, machine)


def test_command_line_where_there_is_none_prints_one_line_and_fails(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    on(monkeypatch, "Darwin", "arm64")
    assert micropython.main(["--bits", "32"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1


# apt's two source formats

ONE_LINE = [
    ("deb http://a/debian bookworm main", ["http://a/debian"]),
    ("  deb\thttp://a/debian/  bookworm   main contrib # note", ["http://a/debian/"]),
    ("deb [arch=amd64 signed-by=/k.gpg] http://a/debian bookworm main", ["http://a/debian"]),
    ("deb [ trusted=yes ] mirror+file:/etc/m bookworm main", ["mirror+file:/etc/m"]),
    ("deb http://a/debian stable main", ["http://a/debian"]),
    ("deb http://v/code stable main\ndeb http://a/debian trixie main", ["http://a/debian", "http://v/code"]),
    ("deb http://a/debian bookworm main\ndeb http://a/debian trixie main", ["http://a/debian"]),
    ("# deb http://a/debian bookworm main", []),
    ("deb-src http://a/debian bookworm main", []),
    ("deb http://a/debian-security bookworm-security main", []),
    ("deb http://a/debian bookworm-updates main", []),
    ("deb http://a/debian bookworm contrib non-free", []),
    ("deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main", []),
    ("deb http://v/apt cloud-sdk main", []),
    ("deb http://a/flat ./", []),
    ("nonsense", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "uris"), ONE_LINE)
def test_one_line_source_is_chosen_only_if_it_is_debians(
    text: str, uris: list[str], machine: Machine
) -> None:
    (machine.etc_apt / "sources.list.d" / "debian.sources").unlink()
    write(machine.etc_apt / "sources.list", text)
    assert chosen(machine) == uris


STANZA = "Types: deb\nURIs: http://a/debian\nSuites: bookworm\nComponents: main\n"


@pytest.mark.parametrize(
    ("text", "uris"),
    (
        (DEB822, ["http://one.invalid/debian\n  http://two.invalid/debian/"]),
        (STANZA, ["http://a/debian"]),
        (STANZA.lower(), ["http://a/debian"]),
        (STANZA + "Enabled: yes\n", ["http://a/debian"]),
        (STANZA + "Enabled: no\n", []),
        (STANZA.replace("deb\n", "deb-src\n"), []),
        (STANZA.replace("bookworm", "bookworm-security"), []),
        (STANZA.replace("main", "non-free"), []),
        (STANZA.replace("URIs", "#URIs"), []),
        ("", []),
    ),
)
def test_deb822_source_is_chosen_only_if_it_is_debians(
    text: str, uris: list[str], machine: Machine
) -> None:
    write(machine.etc_apt / "sources.list.d" / "debian.sources", text)
    write(machine.etc_apt / "sources.list.d" / "x.sources.disabled", STANZA)
    assert chosen(machine) == uris


def chosen(machine: Machine) -> list[str]:
    try:
        return [source["uris"] for source in debian.archives(machine.etc_apt)]
    except debian.Failed:
        return []


@pytest.mark.parametrize(
    "source",
    (
        debian.parse_deb822(STANZA + "Architectures: arm64\nsigned-by: /k\nTrusted: no\n")[0],
        debian.parse_one_line("deb [arch=arm64 signed-by=/k trusted=no] http://a/debian b main")[
            0
        ],
    ),
)
def test_source_keeps_keys_and_options_when_suite_and_architecture_change(
    source: dict[str, str],
) -> None:
    stanza = debian.render(source, ("forky", "trixie"), "i386")
    assert set(stanza.splitlines()) == {
        "types: deb",
        "uris: http://a/debian",
        "suites: forky trixie",
        "components: main",
        "architectures: i386",
        "targets: Packages",
        "signed-by: /k",
        "trusted: no",
    }


def test_source_with_an_embedded_key_keeps_it_whole() -> None:
    stanza = debian.render(debian.parse_deb822(DEB822)[0], ("forky",), "i386")
    assert "signed-by: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END" in stanza
