"""Azure IoT Hub: cloud-to-device messages over HTTPS ("Receive Device Bound Notification").

Standard tier; Azure wants 25 minutes or more between two looks.
"""


class CloudToDevice:
    """Receives over an uplink's connection; a message is locked until it is settled, a minute.

    The calls return the status, or -errno. Settling: 204; 412: the lock was lost, and the message
    will come again.
    """

    def __init__(self, uplink):
        self._uplink = uplink
        self._token = ""

    def receive(self, timeout_ms: int = 30000) -> int:
        """Look for a message: 200: uplink.client.response has it, 204: there is none.

        Its properties are fields of the response, iothub-app-... and iothub-messageid among them.
        """
        self._token = ""
        status = self._request(b"GET", "", timeout_ms)
        if status == 200:
            reply = self._uplink.client.response
            a = reply.field(b"etag")
            if a >= 0:
                self._token = bytes(reply.buf[a : a + reply.field_n]).decode().strip('"')
        return status

    def complete(self, timeout_ms: int = 30000) -> int:
        """The message that was received is done with. ValueError: none was."""
        return self._settle(b"DELETE", "", timeout_ms)

    def reject(self, timeout_ms: int = 30000) -> int:
        """It cannot be processed: a dead letter. ValueError: none was received."""
        return self._settle(b"DELETE", "?reject", timeout_ms)

    def abandon(self, timeout_ms: int = 30000) -> int:
        """Back into the queue with it. ValueError: none was received."""
        return self._settle(b"POST", "/abandon", timeout_ms)

    def _settle(self, method, path, timeout_ms):
        if not self._token:
            raise ValueError("no message was received")
        status = self._request(method, "/" + self._token + path, timeout_ms)
        if status == 204 or status == 412:
            self._token = ""
        return status

    def _request(self, method, path, timeout_ms):
        uplink = self._uplink
        clock = uplink.clock
        uplink.signed = False
        head = uplink.client.head
        uplink.cloud.start(
            head, method, "/messages/deviceBound" + path, clock.now() if clock else 0
        )
        head.end()
        return uplink.client.request(None, 0, 0, timeout_ms)
