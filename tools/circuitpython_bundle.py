"""onebuf as a CircuitPython library bundle, laid out as circup and CIRCUITPY want it.

`python -m tools.circuitpython_bundle OUT` writes, named as circuitpython-build-tools names them
(its scripts/build_bundles.py), VERSION being the package's:

    onebuf-py-VERSION.zip         lib/onebuf, examples, requirements, README.txt, VERSIONS.txt
    onebuf-10.x-mpy-VERSION.zip   the same compiled, with --mpy-cross
    onebuf-VERSION.json           what the bundle has, for tools

CircuitPython's mpy-cross comes from no package registry, and MicroPython's makes files that the
board refuses: `--mpy-cross PATH` is your own (`circuitpython-mpy-cross` of
circuitpython-build-tools downloads or builds it). Without it circup installs the sources.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tools import circuitpython_language, packages

LIBRARY = "onebuf"
PYPI = "onebuf"
DESCRIPTION = "Telemetry to an IoT cloud over HTTPS, out of one fixed buffer"
# The other runtime's port, and what only it uses.
NOT_SHIPPED = frozenset(["onebuf/port/micropython.py", "onebuf/wifi.py"])
# It imports that where no socket pool is given, which the clock for CircuitPython does.
_NEVER_REACHED = ("onebuf/sntp.py", "no module socket")
# Named as pip names them, as in the requirements.txt of the Community Bundle's libraries.
REQUIREMENTS = ("adafruit-circuitpython-connectionmanager",)
_EXAMPLES = packages.FIRMWARE / "examples"
_APPLICATION = packages.FIRMWARE / "code.py"
_SETTINGS = packages.FIRMWARE / "settings.toml"
_MAGIC = b"C\x06"  # circup, shared.py: what .mpy files of CircuitPython 9 and later begin with
_VERSION = re.compile(r"CircuitPython (\d+)\.")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # no time: the same sources give the same octets
_README = """\
onebuf {version}: {description}.

Copy lib/onebuf to the folder lib of CIRCUITPY, and the libraries that
requirements/onebuf/requirements.txt names, or have circup do it. Begin with
examples/onebuf/onebuf_simpletest.py, as code.py, and settings.toml beside it.
"""


class BundleError(Exception):
    """The bundle cannot be made; str() says why."""


def sources(cloud: str = "") -> dict[str, bytes]:
    """The library's files by their path below lib; BundleError if CircuitPython lacks something.

    cloud: one of tools.packages.CLOUDS, whose modules alone are wanted; empty: all.
    """
    others = [name for name in packages.CLOUDS if cloud not in ("", name)]
    found = {}
    for path in sorted(packages.PACKAGE.rglob("*.py")):
        name = path.relative_to(packages.FIRMWARE).as_posix()
        if name not in NOT_SHIPPED and path.stem.split("_")[0] not in others:
            found[name] = path.read_bytes()
            _check(name, found[name].decode())
    return found


def drive(cloud: str = "", settings: bytes | None = None) -> dict[str, bytes]:
    """What makes CIRCUITPY one of a board that publishes, by path; BundleError.

    cloud: as for sources(). settings: settings.toml; None: the template.
    """
    files = {f"lib/{name}": data for name, data in sources(cloud).items()}
    files["code.py"] = _APPLICATION.read_bytes()
    _check("code.py", files["code.py"].decode())
    files[_SETTINGS.name] = _SETTINGS.read_bytes() if settings is None else settings
    return files


def version() -> str:
    """The package's version, as mip's list names it."""
    text = (packages.FIRMWARE / "package.json").read_text(encoding="utf-8")
    return str(json.loads(text)["version"])


def _check(name: str, source: str) -> None:
    for line in circuitpython_language.findings(source):
        if not (name == _NEVER_REACHED[0] and line.endswith(_NEVER_REACHED[1])):
            raise BundleError(f"{name}, {line}")


def compiled(files: Mapping[str, bytes], mpy_cross: Path) -> dict[str, bytes]:
    """The files as .mpy; BundleError for a compiler that is not CircuitPython's, or fails."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="onebuf-bundle-") as folder:
        source, target = Path(folder, "module.py"), Path(folder, "module.mpy")
        for name, data in files.items():
            source.write_bytes(data)
            _run(mpy_cross, "-O3", "-s", name, "-o", str(target), str(source))
            octets = target.read_bytes()
            if octets[: len(_MAGIC)] != _MAGIC:
                raise BundleError(f"{mpy_cross} makes no .mpy of CircuitPython 9 or later")
            made[str(Path(name).with_suffix(".mpy"))] = octets
    return made


def platform(mpy_cross: Path) -> str:
    """What the bundle for this compiler is called, "10.x-mpy"; BundleError if it is another's."""
    told = _run(mpy_cross, "--version").strip()
    found = _VERSION.match(told)
    if found is None:
        raise BundleError(f"{mpy_cross} is not CircuitPython's: it says {told!r}")
    return f"{found[1]}.x-mpy"


def bundle(library: Mapping[str, bytes], kind: str) -> tuple[str, dict[str, bytes]]:
    """The name of the zip file for this kind of files, "py" or "10.x-mpy", and what it holds."""
    top = f"{LIBRARY}-{kind}-{version()}"
    texts = {
        f"requirements/{LIBRARY}/requirements.txt": "".join(f"{each}\n" for each in REQUIREMENTS),
        "README.txt": _README.format(version=version(), description=DESCRIPTION),
        "VERSIONS.txt": f"{version()}\r\n",
    }
    files = {f"lib/{name}": data for name, data in library.items()}
    files |= {f"examples/{LIBRARY}/{path.name}": path.read_bytes() for path in examples()}
    files |= {name: text.encode() for name, text in texts.items()}
    return f"{top}.zip", {f"{top}/{name}": files[name] for name in sorted(files)}


def examples() -> list[Path]:
    """The programs for CircuitPython, named as its ecosystem names them, and their settings."""
    return [*sorted(_EXAMPLES.glob(f"{LIBRARY}_*.py")), _SETTINGS]


def metadata() -> str:
    """The JSON that describes the bundle, in the fields of circuitpython-build-tools."""
    about = {
        "package": True,
        "pypi_name": PYPI,
        "version": version(),
        "repo": "",
        "path": f"lib/{LIBRARY}",
        "dependencies": [],
        "external_dependencies": sorted(REQUIREMENTS),
        "pypi_description": DESCRIPTION,
    }
    return json.dumps({LIBRARY: about}, sort_keys=True)


def write(folder: Path, mpy_cross: Path | None = None) -> list[Path]:
    """Write the bundle's files to folder and return them; BundleError."""
    library = sources()
    kinds = [bundle(library, "py")]
    if mpy_cross is not None:
        kind = platform(mpy_cross)
        kinds.append(bundle(compiled(library, mpy_cross), kind))
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in kinds:
        _zip(folder / name, files)
    description = folder / f"{LIBRARY}-{version()}.json"
    description.write_text(metadata(), encoding="utf-8")
    return [*(folder / name for name, _ in kinds), description]


def _zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)


def _run(program: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    except subprocess.CalledProcessError as error:
        raise BundleError(f"{program}: {error.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"{program}: {error}") from None
    return done.stdout


def main() -> int:
    """Write the bundle."""
    parser = argparse.ArgumentParser(prog="python -m tools.circuitpython_bundle")
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument("--mpy-cross", type=Path, help="CircuitPython's own compiler")
    options = parser.parse_args()
    try:
        for path in write(options.folder, options.mpy_cross):
            print(path)
    except BundleError as error:
        print(f"circuitpython_bundle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
