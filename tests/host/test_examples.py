"""The examples publish, on every runtime, once their settings are those of an emulated cloud."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from devices import FIRMWARE, RUNTIMES, running

from host import sntp
from host.certs import Authority
from host.cloud.aliyun import AliyunCloud
from host.cloud.aws import AWSCloud
from host.cloud.azure import HUB, AzureCloud
from host.cloud.server import serve
from host.cloud.sigv4 import Secret
from host.cloud.watson import WatsonCloud
from host.device_files import lay

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PRODUCT_KEY = "a1B2c3D4e5F"


def aws(authority: Authority) -> tuple[Any, dict[str, object]]:
    return AWSCloud(authority), {}


def azure(authority: Authority) -> tuple[Any, dict[str, object]]:
    cloud = AzureCloud(authority)
    cloud.add_device(HUB, "dev-0001", key=KEY)
    return cloud, {"KEY": KEY}


def aliyun(authority: Authority) -> tuple[Any, dict[str, object]]:
    cloud = AliyunCloud(authority)
    return cloud, {"DEVICE_SECRET": cloud.add_device(PRODUCT_KEY, "dev-0001")}


def watson(authority: Authority) -> tuple[Any, dict[str, object]]:
    cloud = WatsonCloud(authority)
    return cloud, {"TOKEN": cloud.add_device("sensor", "dev-0001")}


CLOUDS: dict[str, Callable[[Authority], tuple[Any, dict[str, object]]]] = {
    "aliyun": aliyun,
    "aws": aws,
    "azure": azure,
    "watson": watson,
}


def test_there_is_an_example_for_each_cloud() -> None:
    found = {path.name for path in (FIRMWARE / "examples").glob("*.py")}
    ours = {name for name in found if not name.startswith("onebuf_")}  # those are CircuitPython's
    assert ours == {f"{name}_simpletest.py" for name in (*CLOUDS, "aws_shadow")}


def set_to(program: str, settings: dict[str, object]) -> str:
    """The program with these settings."""
    for name, value in settings.items():
        line = f"{name} = {value!r}"
        program, found = re.subn(rf"^{name} = .*$", line, program, flags=re.MULTILINE)
        assert found == 1, name
    return program


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", CLOUDS)
def test_example_when_given_its_settings_publishes(
    name: str, runtime: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certificates")
    cloud, settings = CLOUDS[name](authority)
    with serve(cloud) as served, sntp.serve() as time:
        settings |= {"ADDRESS": served.host, "PORT": served.port}
        if name == "azure":
            settings["TIME"] = {"servers": [time.host], "port": time.port}
        program = (FIRMWARE / "examples" / f"{name}_simpletest.py").read_text()
        program = set_to(program, settings)
        device = tmp_path / "device"
        pair = cloud.add_thing("dev-0001") if name == "aws" else None
        lay(device, authority, {}, pair)
        (device / "program.py").write_text(program)
        with running(runtime, str(device / "program.py"), device) as process:
            assert process.lines() == ["published"]
        assert [message.payload for message in served.messages()] == [b'{"temperature":21.5}']


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_shadow_example_reports_what_the_cloud_desires(runtime: str, tmp_path: Path) -> None:
    aws = AWSCloud(Authority(tmp_path / "certificates"), login="sigv4")
    aws.registry.add_key("AK", Secret("secret"))
    device = AWSCloud(aws.authority, aws.store)
    with serve(device) as served, serve(aws) as keys:
        lay(tmp_path / "device", aws.authority, {}, device.add_thing("dev-0001"))
        program = (FIRMWARE / "examples" / "aws_shadow_simpletest.py").read_text()
        settings: dict[str, object] = {"ADDRESS": served.host, "PORT": served.port}
        (tmp_path / "device" / "program.py").write_text(set_to(program, settings))
        operator = boto3.client(
            "iot-data",
            region_name=aws.region,
            endpoint_url=f"https://localhost:{keys.port}",
            aws_access_key_id="AK",
            aws_secret_access_key="secret",
            verify=str(aws.authority.ca_pem),
        )
        said = []
        for desired in ({}, {"period": 60}, {"period": 60}):
            document = json.dumps({"state": {"desired": desired}})
            operator.update_thing_shadow(thingName="dev-0001", payload=document)
            with running(
                runtime, str(tmp_path / "device" / "program.py"), tmp_path / "device"
            ) as it:
                said.append(it.lines())
        shadow = json.load(operator.get_thing_shadow(thingName="dev-0001")["payload"])
    assert said == [[f"wanted {text}", "reported 200"] for text in ("{}", '{"period": 60}', "{}")]
    assert shadow["state"] == {"desired": {"period": 60}, "reported": {"period": 60}}
