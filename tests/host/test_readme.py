"""README is true: its program runs, its commands exist, its figures are those of `make size`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from devices import FIRMWARE, ROOT, RUNTIMES, running

from host import demo
from host.certs import Authority
from host.cloud.aws import ENDPOINT, AWSCloud
from host.cloud.server import serve
from host.device_files import provision
from tools import size

README = (ROOT / "README.md").read_text()
ADDRESS = ("Transport(tls)", 'Transport(tls, "127.0.0.1")')


def number(row: str) -> int:
    """The first number in the row of README's table that begins so."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {row}"))
    figure = re.search(r"[\d,]+", line.rsplit(" | ", 1)[1])
    assert figure is not None
    return int(figure[0].replace(",", ""))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_program_publishes_once_it_is_told_the_address(runtime: str, tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None and ENDPOINT in block[1] and ADDRESS[0] in block[1]
    aws = AWSCloud(Authority(tmp_path / "certificates"))
    with serve(aws) as cloud:
        topic = '"fleet/dev-0001/telemetry"'
        program = block[1].replace(*ADDRESS).replace(topic, f"{topic}, port={cloud.port}")
        device = tmp_path / "device"
        provision(device, aws, aws.add_thing("dev-0001"), "unused", cloud.port)
        (device / "program.py").write_text(program)
        with running(runtime, str(device / "program.py"), device) as process:
            process.lines()
        assert [message.payload for message in cloud.messages()] == [b'{"temperature":21.5}']


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "size", "cloud"} <= named <= targets


def test_the_table_of_the_demo_has_its_columns() -> None:
    assert demo.table([]).split() in [line.split() for line in README.splitlines()]


def test_the_demo_shows_as_many_ways_to_log_in_as_it_is_said_to() -> None:
    said = re.search(r"a row for each of (\d+) ways to log in", README)
    assert said is not None and int(said[1]) == len(demo.WAYS)


def test_the_figures_are_those_of_make_size(tmp_path: Path) -> None:
    sizes = size.compile_package(tmp_path)
    ram, modules = size.ram_after_import(tmp_path)
    assert number("`.mpy` on flash") == sum(sizes.get(module, 0) for module in modules)
    assert near(number("RAM after import from"), ram)
    from_source = re.search(r"RAM after import .*\(([\d,]+)\) \|", README)
    assert from_source is not None
    source = int(from_source[1].replace(",", ""))
    assert near(source, size.ram_after_import(FIRMWARE)[0])
    for way, octets in size.ram_by_cloud(tmp_path).items():
        assert near(number(f"{way} |"), octets), (way, octets)
    with size.emulated_device() as device:
        assert (
            number("heap held by the open") == size.publish(tmp_path, device, publishes=1).connect
        )
        assert near(number("smallest heap that"), size.smallest_heap(tmp_path, device))


def near(said: int, measured: int) -> bool:
    return abs(said - measured) <= max(64, measured // 50)
