"""AWS IoT Core: publish over HTTPS with a client certificate (developer guide, "HTTPS").

POST /topics/{url-encoded topic}?qos=0|1 on port 8443. Port 443 wants the ALPN protocol
x-amzn-http-ca, which no MicroPython offers yet: tls_context() says so. Other ways to log in:
aws_sigv4, aws_authorizer; the device shadow: aws_shadow.
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
        if qos not in (0, 1):
            raise ValueError("qos: 0 or 1")
        check_topic(topic)
        self.host = endpoint
        self.port = port
        self._authority = span.authority(endpoint, port)
        self._path = b"/topics/%s?qos=%d" % (span.quote(topic.encode()), qos)

    def start(self, head, method: bytes, path: bytes, now: int):
        """Begin the head of a request, here and in the modules that go further."""
        head.start(method, self._authority, path)

    def refresh(self, head, now: int) -> int:
        """Write the head; it is good for ever. ValueError: there is no room for it."""
        self.start(head, b"POST", self._path, now)
        head.end()
        return 0

    def outcome(self, reply) -> int:
        """Judge the answer to a publish, by its status."""
        return outcome.from_status(reply.status)


def check_topic(topic: str):
    """ValueError: AWS IoT takes no publish to it (developer guide, "MQTT topics"; quotas).

    Nor does it to . and .., which are no names in a path (RFC 3986 section 5.2.4).
    """
    octets = topic.encode()
    parts = topic.split("/")
    good = octets not in b".." and octets[0] != 36
    if topic.startswith("$aws/rules/"):  # Basic Ingest, whose three levels do not count
        good = len(parts) > 3 and len(parts[2]) > 0
        parts = parts[3:]
    for c in octets:
        if c < 32 or c == 127 or c in b"+#":
            good = False
    if not good or len(parts) > 8 or len("/".join(parts).encode()) > 256:
        raise ValueError("topic: 1-256 octets, 7 slashes, no + # controls, of $ only $aws/rules/")


CLOUD = AWS
