"""IBM Watson IoT Platform: events over HTTPS ("Connecting applications, devices, and gateways").

POST /api/v0002/device/types/{type}/devices/{id}/events/{event}, as device, gateway or application.
Commands: watson_commands; identifiers for MQTT: watson_mqtt.
"""

from binascii import b2a_base64

from onebuf import outcome, span


class Watson:
    max_payload = 131072  # octets
    login = None
    signs = False

    def __init__(
        self,
        org,
        type_id,
        device_id,
        event,
        token=None,
        user="use-token-auth",
        fmt="json",
        host=None,
        port=443,
        insecure_plain_text=False,
    ):
        """user: "use-token-auth"; "g/{org}/{type}/{id}" of a gateway; or an application's API key.

        token belongs to the user; the organisation "quickstart" has none. fmt: json, xml, text or
        bin. port: 443 or 8883; 1883 goes only with insecure_plain_text, and with a Transport
        without TLS: whoever listens reads the token. ValueError: what the platform would refuse.
        """
        check_ids(org, type_id, device_id, event)
        _check(org, token, user, fmt, port, insecure_plain_text)
        self.host = host or org + ".messaging.internetofthings.ibmcloud.com"
        self.port = port
        self.tls = not insecure_plain_text
        self._authority = span.authority(self.host, port, 443 if self.tls else 80)
        kind = "application" if user[:2] == "a-" else "device"
        path = "/api/v0002/%s/types/%s/devices/%s/events/%s" % (kind, type_id, device_id, event)
        self._path = path.encode()
        form = {"text": "text/plain", "bin": "application/octet-stream"}
        self._type = form.get(fmt, "application/" + fmt).encode()
        self._login = token and b2a_base64((user + ":" + token).encode(), newline=False)

    def start(self, head, path: bytes, content_type: bytes):
        """Write the head of a POST, here and in watson_commands."""
        head.start(b"POST", self._authority, path)
        if self._login:
            head.field(b"Authorization", b"Basic " + self._login)
        head.field(b"Content-Type", content_type)
        head.end()

    def refresh(self, head, now: int) -> int:
        """Write the head; it is good for ever. ValueError: there is no room for it."""
        self.start(head, self._path, self._type)
        return 0

    def outcome(self, reply) -> int:
        """Judge the answer to an event, by its status; the platform closes after most refusals."""
        return outcome.from_status(reply.status)


def _check(org, token, user, fmt, port, insecure_plain_text):
    good = (not token) == (org == "quickstart") and ":" not in user
    good = good and (len(org) == 6 or not token)
    if not good or fmt not in ("json", "xml", "text", "bin"):
        raise ValueError("org of six, and token; or quickstart; user; fmt: json, xml, text or bin")
    if port in ((443, 8883) if insecure_plain_text else (1883,)):
        raise ValueError("port: 443 or 8883; with insecure_plain_text 1883")
    if insecure_plain_text:
        print("onebuf: WARNING: the token and the events are sent in plain text")


def check_ids(*ids):
    """ValueError: one is no type, device, event or application identifier."""
    for text in ids:
        octets = text.encode()
        if not 0 < len(octets) <= 36 or span.quote(octets) != octets or "~" in text:
            raise ValueError("identifiers: 1 to 36 of A-Z a-z 0-9 - _ .")


CLOUD = Watson
