"""Watson IoT: client identifiers and user names for MQTT, as the seed document has them."""

from checks import raises
from onebuf.cloud.watson_mqtt import client_id, gateway_user, user_name


def test_each_kind_of_client_has_its_identifier():
    assert client_id("d", "myorg1", "model.1", "serial-1") == "d:myorg1:model.1:serial-1"
    assert client_id("g", "myorg1", "gwtype", "gw_01") == "g:myorg1:gwtype:gw_01"
    assert client_id("a", "myorg1", "app") == "a:myorg1:app"
    assert client_id("A", "myorg1", "app") == "A:myorg1:app"
    assert client_id("d", "quickstart", "t", "d") == "d:quickstart:t:d"


def test_each_kind_of_client_has_its_user_name():
    assert user_name("d") == user_name("g") == "use-token-auth"
    for kind in ("a", "A"):
        assert user_name(kind, "a-myorg1-a84ps90Ajs") == "a-myorg1-a84ps90Ajs"
    for kind, key in (("d", "a-myorg1-x"), ("a", ""), ("A", "myorg1"), ("x", ""), ("dg", "")):
        raises(ValueError, user_name, kind, key)


def test_a_gateway_over_https_names_itself_as_user():
    assert gateway_user("myorg1", "gwtype", "gw01") == "g/myorg1/gwtype/gw01"
    raises(ValueError, gateway_user, "myorg1", "gw/type", "gw01")


def test_another_kind_or_number_of_names_is_refused():
    for kind, names in (
        ("x", ("t", "d")),
        ("", ("t", "d")),
        ("dg", ("t", "d")),
        ("d", ("d",)),
        ("g", ("t", "d", "x")),
        ("a", ("t", "d")),
        ("A", ()),
    ):
        raises(ValueError, client_id, kind, "myorg1", *names)


def test_identifiers_that_the_platform_does_not_take_are_refused():
    for org in ("", "myorg", "myorg12", "myorg:", "myorg/"):
        raises(ValueError, client_id, "a", org, "app")
        raises(ValueError, gateway_user, org, "t", "d")
    for text in ("", "x" * 37, "a:b", "a/b", "a b", "\u00e9"):
        raises(ValueError, client_id, "d", text, "t", "d")
        raises(ValueError, client_id, "d", "myorg1", text, "d")
        raises(ValueError, client_id, "a", "myorg1", text)
        raises(ValueError, gateway_user, "myorg1", "t", text)
