"""Azure IoT Hub: telemetry over HTTPS, by client certificate or SAS ("Send Device Event").

POST /devices/{id}/messages/events on port 443. What else a device does there: azure_c2d receives,
provision/azure_dps finds out the hub and the device's ID.
"""

from onebuf import outcome, span

_API = b"?api-version=2020-03-13"
_JSON = {"iothub-contenttype": "application/json", "iothub-contentencoding": "utf-8"}


class Azure:
    login = None
    signs = False

    def __init__(
        self, hub, device_id, key=None, properties=None, system=_JSON, life_s=3600, port=443
    ):
        """hub: host name; key: the device's symmetric key in base64, None with a certificate.

        device_id: 1 to 128 of A-Z a-z 0-9 - . + % _ # * ? ! ( ) , : = @ $ '. properties:
        application properties of every message, str to str, of letters, digits and
        !#$%&'*+-.^_`|~; system: its system properties, named as the fields of the request are.
        life_s: seconds that a SAS token is good for; a key wants an uplink with a clock.
        ValueError: what IoT Hub would refuse.
        """
        octets = device_id.encode()
        for c in octets:
            if not 32 < c < 127 or c in b'"&/;<>[\\]^`{|}~':
                octets = b""
        if not 0 < len(octets) <= 128:
            raise ValueError("device_id")
        if life_s < 1:
            raise ValueError("life_s")
        self.host = hub
        self.port = port
        self.gone = False  # the hub, or the device there: provision it again
        self.max_payload = 262144  # octets, less what the properties take of them
        self._authority = span.authority(hub, port)
        self._path = b"/devices/" + span.quote(octets)
        self._uri = hub + "/devices/" + device_id
        self._key = key
        self._life_s = life_s
        self._fields = []
        self._add("iothub-app-", properties or {})
        self._add("", system)
        if key is not None:
            self._token(0)  # refuses what is no key

    def start(self, head, method: bytes, path: bytes, now: int, query: bytes = b""):
        """Begin the head of a request to a path below the device's; end() is the caller's."""
        head.start(method, self._authority, self._path + path + _API + query)
        if self._key is not None:
            head.field(b"Authorization", self._token(now))

    def refresh(self, head, now: int) -> int:
        """Write the head, good as long as its SAS token. ValueError: there is no room for it."""
        self.start(head, b"POST", b"/messages/events", now)
        for name, value in self._fields:
            head.field(name, value)
        head.end()
        return 0 if self._key is None else self._life_s

    def outcome(self, reply) -> int:
        """Judge the answer to a publish, by its status (PROTOCOLS.md 3.7).

        401: a new token may help. 404: the device is not, or no longer, at this hub; the record is
        kept for the hub where it will be. 400 with "Invalid Hostname", as http.sys has it, or
        "Requested Host is not supported": the hub itself is not there any more, so likewise.
        """
        status = reply.status
        e = reply.off + reply.n
        self.gone = status == 404 or (status == 400 and reply.buf.find(b"Host", reply.off, e) > 0)
        if status == 401 and self._key is not None:
            return outcome.REAUTH
        return outcome.RETRY if self.gone else outcome.from_status(status)

    def _token(self, now):
        from onebuf import sign  # a device with a certificate does without it

        return sign.sas(self._key, self._uri, now + self._life_s)

    def _add(self, prefix, properties):
        """Application properties, which have a prefix, are tokens, and their names count too."""
        for name in properties:
            key = (prefix + name).encode()
            value = properties[name].encode()
            n = len(value)
            good = span.token_end(value, 0, n) == n if prefix else span.is_text(value, 0, n)
            if not name or not good or span.token_end(key, 0, len(key)) < len(key):
                raise ValueError("properties")
            self.max_payload -= n + len(name) if prefix else n
            self._fields.append((key, value))


CLOUD = Azure
