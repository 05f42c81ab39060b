"""IBM Watson IoT Platform: commands for a device, asked for over HTTPS.

The platform keeps commands from the first request on, for 30 hours after the latest one.
"""


class Commands:
    """Asks over an uplink's connection, whose cloud is a Watson."""

    def __init__(self, uplink):
        self._uplink = uplink

    def request(self, command: str = "+", wait_s: int = 0, timeout_ms: int = 30000) -> int:
        """Ask for a command, any with "+": the status, or -errno. wait_s: 0 to 3600.

        200: its content is in uplink.client.response, and its name in the field x-commandid if any
        was asked for; 204: there is none. ValueError: no such wait.
        """
        if not 0 <= wait_s <= 3600 or timeout_ms <= wait_s * 1000:
            raise ValueError("wait_s: 0 to 3600, and less than timeout_ms")
        uplink = self._uplink
        uplink.signed = False
        head = uplink.client.head
        uplink.cloud.start(head, "/commands/" + command + "/request", b"application/json")
        head.end()
        body = b'{"waitTimeSecs":%d}' % wait_s
        return uplink.client.request(body, 0, len(body), timeout_ms)
