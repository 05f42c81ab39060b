"""A folder for a web server, from which mip installs the package on any board: .mpy or source.

`python -m tools.mip_index FOLDER` makes it, with an index for each processor, laid out as that of
micropython-lib: package/<.mpy version, or py>/<name>/<version>.json has the hashes of the files,
which are file/<first two digits>/<hash>. On the board:

    mip.install("onebuf-aws", index="https://<server>/xtensawin")

The lists in firmware/ name their files by relative addresses, which mip knows from MicroPython
1.25 on; this works with every mip. One index for all would not do: there is native code in
the .mpy files, and mip asks only for their version.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from host import boards
from tools import packages
from tools.size import compile_package

_DIGITS = 16  # of SHA-256, as names of files; mip compares as many as it is given


def write(folder: Path, march: str) -> None:
    """Write the index for the processor that mpy-cross calls march."""
    with tempfile.TemporaryDirectory(prefix="onebuf-mip-") as name:
        compile_package(Path(name), march)
        for package, files in packages.lists().items():
            title = "onebuf" if package == "package" else f"onebuf-{package}"
            compiled = [str(Path(file).with_suffix(".mpy")) for file in files]
            octets = {file: Path(name, file).read_bytes() for file in compiled}
            _add(folder, str(octets["onebuf/__init__.mpy"][1]), title, octets)
            sources = {file: (packages.FIRMWARE / file).read_bytes() for file in files}
            _add(folder, "py", title, sources)


def _add(folder: Path, kind: str, title: str, files: Mapping[str, bytes]) -> None:
    hashes = []
    for file, octets in files.items():
        hashes.append((file, hashlib.sha256(octets).hexdigest()[:_DIGITS]))
        path = folder / "file" / hashes[-1][1][:2] / hashes[-1][1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
    version = packages.version()
    text = json.dumps({"v": 1, "version": version, "hashes": hashes, "deps": []})
    place = folder / "package" / kind / title
    place.mkdir(parents=True, exist_ok=True)
    for name in (version, "latest"):
        (place / f"{name}.json").write_text(text)


def main() -> None:
    """Write an index for every processor that a board has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for march in sorted({board.mpy_arch for board in boards.all_boards()}):
        write(folder / march, march)
        print(folder / march)


if __name__ == "__main__":
    main()
