"""IBM Watson IoT Platform: events over HTTPS ("Connecting applications, devices, and gateways").

POST /api/v0002/device/types/{type}/devices/{id}/events/{event}, as device, gateway or application.
Commands: watson_commands; identifiers for MQTT: watson_mqtt.
"""

from binascii import b2a_base64

from onebuf import outcome, span

_TYPES = {
    "json": b"application/json",
    "xml": b"application/xml",
    "text": b"text/plain",
    "bin": b"application/octet-stream",
}


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
        for name in (type_id, device_id, event):
            check_id(name)
        if (token is None) != (org == "quickstart") or ":" in user or fmt not in _TYPES:
            raise ValueError("a token, but not for quickstart; user without colon; fmt: json, ...")
        if insecure_plain_text:
            print("onebuf: WARNING: the token and the events are sent in plain text")
        elif port == 1883:
            raise ValueError("port 1883 is not encrypted: 443 or 8883")
        self.host = host or org + ".messaging.internetofthings.ibmcloud.com"
        self.port = port
        self.tls = not insecure_plain_text
        self._authority = span.authority(self.host, port, 443 if self.tls else 80)
        kind = "application" if user[:2] == "a-" else "device"
        self.path = "/api/v0002/%s/types/%s/devices/%s" % (kind, type_id, device_id)
        self._event = "/events/" + event
        self._type = _TYPES[fmt]
        self._login = None
        if token is not None:
            login = b2a_base64((user + ":" + token).encode(), newline=False)
            self._login = b"Basic " + login

    def start(self, head, path: str, content_type: bytes):
        """Begin the head of a POST to a path below the device's; end() is the caller's."""
        head.start(b"POST", self._authority, (self.path + path).encode())
        if self._login:
            head.field(b"Authorization", self._login)
        head.field(b"Content-Type", content_type)

    def refresh(self, head, now: int) -> int:
        """Write the head; it is good for ever. ValueError: there is no room for it."""
        self.start(head, self._event, self._type)
        head.end()
        return 0

    def outcome(self, reply) -> int:
        """Judge the answer to an event, by its status; the platform closes after most refusals."""
        return outcome.from_status(reply.status)


def check_id(text: str):
    """ValueError: no type, device, event or application identifier (1 to 36 characters)."""
    octets = text.encode()
    if not 0 < len(octets) <= 36 or span.quote(octets) != octets or "~" in text:
        raise ValueError("identifiers: 1 to 36 of A-Z a-z 0-9 - _ .")


CLOUD = Watson
