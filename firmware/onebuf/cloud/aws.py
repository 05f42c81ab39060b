"""AWS IoT Core: publish over HTTPS with a client certificate (developer guide, "HTTPS").

POST /topics/{url-encoded topic}?qos=0|1 on port 8443. Port 443 wants ALPN, which MicroPython's
ESP32 build has not.
"""

from onebuf import outcome, span


class AWS:
    max_payload = 131072  # octets, a hard quota of AWS IoT Core
    login = None
    signs = False

    def __init__(self, endpoint: str, topic: str, qos: int = 1, port: int = 8443):
        """endpoint: the host name of `aws iot describe-endpoint --endpoint-type iot:Data-ATS`.

        ValueError: an endpoint, topic or qos that AWS IoT would refuse.
        """
        host = endpoint.encode()
        if not host or span.token_end(host, 0, len(host)) < len(host):
            raise ValueError("endpoint: a host name, without scheme and port")
        if qos not in (0, 1) or not 0 < port < 65536:
            raise ValueError("qos: 0 or 1; port: 1 to 65535")
        check_topic(topic)
        self.host = endpoint
        self.port = port
        self._path = b"/topics/%s?qos=%d" % (span.quote(topic.encode()), qos)

    def refresh(self, head, now: int) -> int:
        """Write the head; it is good for ever. ValueError: there is no room for it."""
        host = self.host if self.port == 443 else "%s:%d" % (self.host, self.port)
        head.start(b"POST", host.encode(), self._path)
        head.end()
        return 0

    def outcome(self, reply) -> int:
        """Judge the answer to a publish, by its status."""
        return outcome.from_status(reply.status)


def check_topic(topic: str):
    """ValueError: AWS IoT takes no publish to it (developer guide, "MQTT topics"; quotas)."""
    octets = topic.encode()
    parts = topic.split("/")
    good = 0 < len(octets) <= 256 and not topic.startswith("$")
    if topic.startswith("$aws/rules/"):  # Basic Ingest, whose three slashes do not count
        good = len(parts) > 3 and len(parts[2]) > 0 and len(octets) <= 256
        parts = parts[3:]
    for c in octets:
        if c < 32 or c == 127 or c in b"+#":
            good = False
    if not good or len(parts) > 8:
        raise ValueError("topic: 1-256 octets, 7 slashes, no + # controls, of $ only $aws/rules/")
