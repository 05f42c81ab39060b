"""Who a Watson IoT client is over MQTT, judged by IBM's own clients (ibmiotf)."""

from __future__ import annotations

import importlib
import logging
import sys
import types
from typing import Any

import ibmiotf
import pytest
from devices import FIRMWARE
from hypothesis import given, settings
from hypothesis import strategies as st

from host.shim import Device

MQTT = Device(FIRMWARE).load("onebuf.cloud.watson_mqtt")
ORGS = st.from_regex(r"[a-z0-9]{6}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9_.-]{1,36}", fullmatch=True)
# Each of IBM's clients makes a TLS context in the way of 2017.
THEIRS = settings(max_examples=25, deadline=None)
pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2:DeprecationWarning")
OTHERS = st.text(min_size=1, max_size=40)


def said(client: ibmiotf.AbstractClient) -> tuple[str, str]:
    """The identifier and the user name that the client hands to MQTT."""
    return client.client._client_id.decode(), client.username


@pytest.fixture(scope="module")
def ibm(name: str) -> Any:
    """IBM's module of that name."""
    # It imports a name that it does not use from a module that Python 3.10 dropped.
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "symbol", types.SimpleNamespace(parameters=None))
        return importlib.import_module(f"ibmiotf.{name}")


@pytest.mark.parametrize(("kind", "name"), [("d", "device"), ("g", "gateway")], scope="module")
@THEIRS
@given(org=ORGS, type_id=IDS, device_id=IDS)
def test_device_and_gateway_are_called_as_ibm_calls_them(
    ibm: Any, kind: str, org: str, type_id: str, device_id: str
) -> None:
    options = {"org": org, "type": type_id, "id": device_id}
    options |= {"auth-method": "token", "auth-token": "secret"}
    client = ibm.Client(options, logging.NullHandler())
    assert (MQTT.client_id(kind, org, type_id, device_id), MQTT.user_name(kind)) == said(client)


@pytest.mark.parametrize("name", ["application"], scope="module")
@pytest.mark.parametrize(("kind", "form"), [("a", "standalone"), ("A", "shared")])
@THEIRS
@given(org=ORGS, app=IDS, more=st.from_regex(r"[A-Za-z0-9]{10}", fullmatch=True))
def test_application_is_called_as_ibm_calls_it_also_when_it_is_scalable(
    ibm: Any, kind: str, form: str, org: str, app: str, more: str
) -> None:
    key = f"a-{org}-{more}"
    options = {"id": app, "type": form, "auth-key": key, "auth-token": "secret"}
    client = ibm.Client(options, logging.NullHandler())
    assert (MQTT.client_id(kind, org, app), MQTT.user_name(kind, key)) == said(client)


@given(org=ORGS | OTHERS, name=IDS | OTHERS)
def test_identifiers_are_those_of_the_document_and_no_others(org: str, name: str) -> None:
    kept = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    good = org == "quickstart" or len(org) == 6
    for text in (org, name):
        good = good and len(text) <= 36 and set(text) <= kept
    if good:
        assert MQTT.client_id("a", org, name) == f"a:{org}:{name}"
    else:
        with pytest.raises(ValueError):
            MQTT.client_id("a", org, name)
