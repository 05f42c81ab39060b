"""IBM Watson IoT Platform: commands for a device, asked for over HTTPS.

The platform keeps commands from the first request on, for 30 hours after the latest one.
"""

from onebuf.cloud.watson import check_ids


class Commands:
    """Asks over an uplink's connection, whose cloud is a Watson: of a device, or a gateway."""

    def __init__(self, uplink, type_id: str, device_id: str):
        """The names are the device's own, or "+", any, which only a gateway may ask for.

        ValueError: no such names.
        """
        self._uplink = uplink
        self._path = "/api/v0002/device/types/%s/devices/%s/commands/" % (
            _checked(type_id),
            _checked(device_id),
        )

    def request(self, command: str = "+", wait_s: int = 0, timeout_ms: int = 30000) -> int:
        """Ask for a command, any with "+": the status, or -errno. wait_s: 0 to 3600.

        200: its content is in uplink.client.response, and what "+" stood for in the fields
        x-commandid, x-devicetype, x-deviceid; 204: there is none. -EMSGSIZE: it is longer than the
        room behind the head, and lost: the platform hands each out once. ValueError: no such
        command or wait.
        """
        if not 0 <= wait_s <= 3600 or timeout_ms <= wait_s * 1000:
            raise ValueError("wait_s: 0 to 3600, and less than timeout_ms")
        path = self._path + _checked(command) + "/request"
        uplink = self._uplink
        uplink.signed = False
        uplink.cloud.start(uplink.client.head, path.encode(), b"application/json")
        body = b'{"waitTimeSecs":%d}' % wait_s
        return uplink.client.request(body, 0, len(body), timeout_ms)


def _checked(name):
    if name != "+":
        check_ids(name)
    return name
