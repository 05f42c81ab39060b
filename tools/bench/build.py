"""What the bench lays on the device's flash: the package, the peers, and a client for each."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from host.certs import Authority, Pair
from tools import native, size

CLIENTS = ("onebuf", "requests", "adafruit", "floor")
# What a program imports of each. requests is frozen into the runtime: its code takes no RAM there.
IMPORTS = {
    "onebuf": tuple(f"onebuf.{name}" for name in size.AWS_IMPORTS),
    "requests": ("requests",),
    "adafruit": ("adafruit_requests",),
    "floor": (),
}
ADAFRUIT = ("adafruit_requests", "adafruit_connection_manager")
_DEVICE = Path(__file__).parents[2] / "tests" / "bench"  # like a test it may import all
_NOT_ON_A_BOARD = 'if not sys.implementation.name == "circuitpython":'  # imports for type checkers


@dataclass(frozen=True)
class Flash:
    """Folders with the same modules as .mpy, for words of 32 and 64 bits, and as .py.

    The sizes are those of .mpy for 32 bits; besides there are a server's files.
    """

    mpy: dict[int, Path]
    py: Path
    sizes: dict[str, int]
    device: Path
    server: Pair


def build(folder: Path) -> Flash:
    """Make it all in folder, which is empty."""
    py, device = (folder / name for name in ("py", "device"))
    mpy = {bits: folder / f"mpy{bits}" for bits in (64, 32)}
    for made in (*mpy.values(), device):
        made.mkdir()
    for bits, made in mpy.items():
        sizes = size.compile_package(made, native.MARCH[bits])
    shutil.copytree(size.FIRMWARE / "onebuf", py / "onebuf")
    for source in _DEVICE.glob("*.py"):
        shutil.copy(source, py)
    for name in ADAFRUIT:
        (py / f"{name}.py").write_text(_adafruit(name))
    for source in py.glob("*.py"):
        for bits, made in mpy.items():
            target = made / f"{source.stem}.mpy"
            text, march = source.read_text(), native.MARCH[bits]
            sizes[source.stem] = size.compile_source(text, source.stem, target, march)
    authority = Authority(folder / "certificates")
    shutil.copy(authority.ca_der, device / "ca.der")
    return Flash(mpy, py, sizes, device, authority.server())


def _adafruit(name: str) -> str:
    """The module's source as PyPI has it, without the imports that are for type checkers only."""
    found = importlib.util.find_spec(name)
    if not found or not found.origin:
        raise ModuleNotFoundError(f"no {name} here: it comes with the extra `test`")
    source = Path(found.origin).read_text()
    assert _NOT_ON_A_BOARD in source, f"{name} is not as it was"
    return source.replace(_NOT_ON_A_BOARD, "if False:")
