"""Azure IoT Hub: telemetry over HTTPS, by client certificate or SAS ("Send Device Event").

POST /devices/{id}/messages/events on port 443. What else a device does there: azure_c2d receives,
provision/azure_dps finds out the hub and the device's name.
"""

from onebuf import outcome, span

_API = "?api-version=2020-03-13"
_JSON = {"contenttype": "application/json", "contentencoding": "utf-8"}


class Azure:
    login = None
    signs = False

    def __init__(
        self, hub, device_id, key=None, properties=None, system=_JSON, life_s=3600, port=443
    ):
        """hub: host name; key: the device's symmetric key in base64, None with a certificate.

        properties: application properties of every message, str to str; system: its system
        properties, named as the HTTP fields are without "iothub-". life_s: seconds that a SAS
        token is good for. ValueError: what IoT Hub would refuse.
        """
        if not 0 < len(device_id) <= 128:
            raise ValueError("device_id: 1 to 128 characters")
        self.host = hub
        self.port = port
        self._authority = span.authority(hub, port)
        self._path = "/devices/" + span.quote(device_id.encode()).decode()
        self.gone = False  # the hub does not know the device: provision it again
        self.max_payload = 262144  # octets, less what the properties take of them
        self._uri = hub + "/devices/" + device_id
        self._key = key
        self._life_s = life_s
        self._fields = []
        self._add(b"iothub-app-", properties or {})
        self._add(b"iothub-", system)
        if key is not None:
            self._authorization(0)  # refuses what is no key

    def start(self, head, method: bytes, path: str, now: int):
        """Begin the head of a request to a path below the device's; end() is the caller's."""
        path, _, query = path.partition("?")
        path = self._path + path + _API + (query and "&" + query)
        head.start(method, self._authority, path.encode())
        if self._key is not None:
            head.field(b"Authorization", self._authorization(now))

    def refresh(self, head, now: int) -> int:
        """Write the head, good as long as its SAS token. ValueError: there is no room for it."""
        self.start(head, b"POST", "/messages/events", now)
        for name, value in self._fields:
            head.field(name, value)
        head.end()
        return 0 if self._key is None else self._life_s

    def outcome(self, reply) -> int:
        """Judge the answer to a publish, by its status (PROTOCOLS.md 3.7).

        401: a new token may help. 404: the device is not, or no longer, at this hub; the record is
        kept for the hub where it will be.
        """
        status = reply.status
        self.gone = status == 404
        if status == 401 and self._key is not None:
            return outcome.REAUTH
        return outcome.RETRY if self.gone else outcome.from_status(status)

    def _authorization(self, now):
        from onebuf import sign  # a device with a certificate does without it

        return sign.sas(self._key, self._uri, now + self._life_s)

    def _add(self, prefix, properties):
        for name in properties:
            key = prefix + name.encode()
            value = properties[name].encode()
            free = span.is_text(value, 0, len(value))
            if prefix == b"iothub-app-":
                free = span.token_end(value, 0, len(value)) == len(value)
                self.max_payload -= len(name)
            if not name or not free or span.token_end(key, 0, len(key)) < len(key):
                raise ValueError("property: letters, digits and !#$%&'*+-.^_`|~")
            self.max_payload -= len(value)
            self._fields.append((key, value))


CLOUD = Azure
