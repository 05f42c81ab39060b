"""IBM Watson IoT Platform: who a client is over MQTT ("MQTT client identifiers").

onebuf does not speak MQTT; these are for the MQTT client beside it. The password is the token.
"""

from onebuf.cloud.watson import check_ids


def client_id(kind: str, org: str, *ids: str) -> str:
    """kind: "d" or "g", with type and device ID; "a", or "A" (scalable), with an application ID.

    ValueError: another kind, or identifiers that the platform does not take.
    """
    if kind not in ("d", "g", "a", "A") or len(ids) != (2 if kind in "dg" else 1):
        raise ValueError("d or g, org, type, id; a or A, org, application")
    _check(org, ids)
    return ":".join((kind, org) + ids)


def user_name(kind: str, api_key: str = "") -> str:
    """What goes with such a client_id(): of an application it is its API key, a-{org}-...

    ValueError: another kind, or a key where none belongs, or none.
    """
    if kind in ("d", "g") and not api_key:
        return "use-token-auth"
    if kind in ("a", "A") and api_key[:2] == "a-":
        return api_key
    raise ValueError("d or g; a or A with an API key")


def gateway_user(org: str, type_id: str, device_id: str) -> str:
    """The user name of a gateway over HTTPS. ValueError: as client_id()."""
    _check(org, (type_id, device_id))
    return "g/%s/%s/%s" % (org, type_id, device_id)


def _check(org, ids):
    check_ids(org, *ids)
    if len(org) != 6 and org != "quickstart":
        raise ValueError("org: six characters, or quickstart")
