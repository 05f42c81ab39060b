"""Unpack Debian packages into a folder: any architecture, no root, the system left untouched.

apt and dpkg do the work, with all of this machine's own settings (archive, keys, proxies, logins);
only apt's state, cache, sources and architecture are private.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_DOWNLOAD_TIMEOUT_S = 900
_UNPACK_TIMEOUT_S = 60
_CODENAMES = frozenset(("bullseye", "bookworm", "trixie", "forky"))
_RELATIVE_NAMES = frozenset(("oldstable", "stable", "testing", "unstable", "sid"))
_OFFLINE = re.compile(r"resolv|connect|unreachable|timed out", re.IGNORECASE)
_ONE_LINE = re.compile(r"\s*deb\s+(?:\[([^]]*)]\s*)?(\S+)\s+(\S+)\s+(.+)")
_DROPPED = re.compile(r"(types|suites|components|enabled|arch|lang|target)", re.IGNORECASE)

# Read after the machine's own settings, so it wins where both speak. The machine's hooks are for
# the system's package lists, and these are not those.
_APT_CONF = """\
Dir::State "{scratch}/state";
Dir::State::lists "lists";
Dir::State::status "{scratch}/state/status";
Dir::Cache "{scratch}/cache";
Dir::Cache::archives "archives";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{scratch}/sources";
#clear APT::Architectures;
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Default-Release "";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Failed(Exception):
    """A step did not work; str() is the reason, one line without secrets."""


class Offline(Failed):
    """The archive could not be reached, so another try of the same kind is pointless."""


def archives(etc_apt: Path) -> list[dict[str, str]]:
    """Return the sources (deb822 fields, lower-case) that are Debian's archive, likeliest first.

    Other vendors name their suites like Debian's too; but rarely is their folder `debian`.
    Raises Failed if there is none, or nothing to fetch with.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise Failed(f"no {tool} here")
    names = _suite_names()
    found = [source for source in _sources(etc_apt) if _is_archive(source, names)]
    if not found:
        raise Failed("apt has no Debian source here")
    by_uri = {source["uris"]: source for source in found}  # one line per suite is common
    return sorted(by_uri.values(), key=lambda source: not _in_debian_folder(source))


def _suite_names() -> frozenset[str]:
    """Return what Debian's archive may be called here; `stable` means Debian's only on Debian."""
    os_release: dict[str, str] = {}
    with contextlib.suppress(OSError):
        os_release = platform.freedesktop_os_release()
    if os_release.get("ID") != "debian":
        return _CODENAMES
    return _CODENAMES | _RELATIVE_NAMES | {os_release.get("VERSION_CODENAME", "")}


def _is_archive(source: Mapping[str, str], names: frozenset[str]) -> bool:
    return (
        "deb" in source.get("types", "").split()
        and "main" in source.get("components", "").split()
        and source.get("enabled", "yes").lower() not in ("no", "false", "off", "disable", "0")
        and not names.isdisjoint(source.get("suites", "").split())
        and "uris" in source
    )


def _in_debian_folder(source: Mapping[str, str]) -> bool:
    return any(uri.rstrip("/").endswith("/debian") for uri in source["uris"].split())


def _sources(etc_apt: Path) -> list[dict[str, str]]:
    """Return every source of this machine, from both of apt's formats (sources.list(5))."""
    parts = etc_apt / "sources.list.d"
    sources: list[dict[str, str]] = []
    lists = (etc_apt / "sources.list", *sorted(parts.glob("*.list")))
    for path in (*sorted(parts.glob("*.sources")), *lists):
        with contextlib.suppress(OSError):  # absent, or not ours to read
            text = path.read_text(encoding="utf-8", errors="replace")
            sources += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return sources


def parse_deb822(text: str) -> list[dict[str, str]]:
    """Return the stanzas of a `*.sources` file, names in lower case, continuation lines kept."""
    stanzas: list[dict[str, str]] = [{}]
    name = ""
    for line in text.splitlines():
        if not line.strip():
            stanzas.append({})
        elif line[0] in " \t" and name in stanzas[-1]:
            stanzas[-1][name] += "\n" + line
        elif ":" in line and not line.startswith("#"):
            name, _, value = line.partition(":")
            name = name.strip().lower()
            stanzas[-1][name] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def parse_one_line(text: str) -> list[dict[str, str]]:
    """Return the `deb` lines of a `*.list` file as deb822 fields; options keep their names."""
    sources = []
    for line in text.splitlines():
        found = _ONE_LINE.fullmatch(line.partition("#")[0].rstrip())
        if found:
            options, uri, suite, components = found.groups()
            source = {
                key.lower(): value
                for key, value in re.findall(r"([\w-]+)\s*[+-]?=\s*(\S+)", options or "")
            }
            source.update(types="deb", uris=uri, suites=suite, components=components)
            sources.append(source)
    return sources


def render(source: Mapping[str, str], suites: Sequence[str], arch: str) -> str:
    """Return `source` as a stanza for other suites and one architecture, package lists only."""
    kept = {name: value for name, value in source.items() if not _DROPPED.match(name)}
    own = {"types": "deb", "suites": " ".join(suites), "components": "main"}
    fields = {**own, "architectures": arch, "targets": "Packages", **kept}
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def unpack(
    scratch: Path,
    arch: str,
    source: Mapping[str, str],
    suites: Sequence[str],
    packages: Sequence[str],
) -> Path:
    """Download `packages` (each `name/suite`) and return the new folder that holds their files.

    Everything stays below `scratch`, where a second call finds apt's lists again. Raises Failed.
    """
    apt = ("apt-get", "-c", str(_configure(scratch, arch, source, suites)))
    folder = Path(tempfile.mkdtemp(dir=scratch))
    tree = folder / "tree"
    tree.mkdir()
    with step(f"reading Debian's package lists ({arch}, {10 * len(suites)} MB)"):
        run((*apt, "update"), folder, _DOWNLOAD_TIMEOUT_S)
    with step(f"downloading {len(packages)} packages ({arch})"):
        run((*apt, "download", *packages), folder, _DOWNLOAD_TIMEOUT_S)
    with step(f"unpacking ({arch})"):
        for package in sorted(folder.glob("*.deb")):
            run(("dpkg", "-x", str(package), str(tree)), folder, _UNPACK_TIMEOUT_S)
    return tree


def _configure(scratch: Path, arch: str, source: Mapping[str, str], suites: Sequence[str]) -> Path:
    for name in ("state/lists", "cache", "sources"):
        (scratch / name).mkdir(parents=True, exist_ok=True)
    (scratch / "state" / "status").touch()
    stanza = render(source, suites, arch)
    (scratch / "sources" / "debian.sources").write_text(stanza, encoding="utf-8")
    config = scratch / "apt.conf"
    config.write_text(_APT_CONF.format(scratch=scratch, arch=arch), encoding="utf-8")
    return config


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Say on stderr what is being done, one line."""
    print(f"micropython: {text}", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(file=sys.stderr)


def run(argv: Sequence[str], cwd: Path, timeout_s: float) -> None:
    """Run a program to its end, spinning on a terminal; raises Failed, or Offline."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            code = _wait(process, timeout_s)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{argv[0]} took more than {timeout_s:.0f} s") from e
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        if code:
            reason = last_words(log.read(), code)
            raise (Offline if _OFFLINE.search(reason) else Failed)(f"{argv[0]}: {reason}")


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    frame = 0
    while True:
        try:
            return process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
        if sys.stderr.isatty():
            frame = (frame + 1) % 4
            print("", "|/-\\"[frame], end="\b\b", file=sys.stderr, flush=True)


def last_words(log: str, code: int) -> str:
    """Return the line of a program's output that tells best why it ended, without passwords."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E: ")]  # apt's; the first is specific
    best = (errors or lines[-1:] or [f"exit status {code}"])[0]
    return re.sub(r"//[^/@\s]*@", "//", best.removeprefix("E: "))
