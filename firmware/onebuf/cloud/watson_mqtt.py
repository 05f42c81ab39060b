"""IBM Watson IoT Platform: who a client is over MQTT ("MQTT client identifiers").

onebuf does not speak MQTT; these are for the MQTT client beside it.
"""

from onebuf.cloud.watson import check_id

USER = "use-token-auth"  # of devices and gateways; an application's is its API key


def client_id(kind: str, org: str, *ids: str) -> str:
    """kind: "d" or "g", with type and device ID; "a", or "A" (scalable), with an application ID.

    ValueError: another kind, or identifiers that the platform does not take.
    """
    if kind not in ("d", "g", "a", "A") or len(ids) != (2 if kind in "dg" else 1):
        raise ValueError("d or g, org, type, id; a or A, org, application")
    for name in (org,) + ids:
        check_id(name)
    return ":".join((kind, org) + ids)


def gateway_user(org: str, type_id: str, device_id: str) -> str:
    """The user name of a gateway over HTTPS. ValueError: as client_id()."""
    for name in (org, type_id, device_id):
        check_id(name)
    return "g/%s/%s/%s" % (org, type_id, device_id)
