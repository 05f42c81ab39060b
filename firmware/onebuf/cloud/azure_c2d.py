"""Azure IoT Hub: cloud-to-device messages over HTTPS ("Receive Device Bound Notification").

Standard tier; Azure wants 25 minutes or more between two looks.

    messages = CloudToDevice(uplink)
    if messages.receive() == 200:
        r = uplink.client.response
        act(r.buf, r.off, r.n)
        messages.complete()

The publish's head is written anew afterwards, which takes heap: by connect(), if it is locked.
"""

from micropython import const

from onebuf import span

_EMSGSIZE = const(-90)
_LOCK = const(128)  # octets of a lock token; the service's have 36


class CloudToDevice:
    """Receives over an uplink's connection; a message is locked until it is settled, a minute.

    The calls return the status, or -errno. Settling: 204; 412: the lock was lost, and the message
    will come again.
    """

    def __init__(self, uplink):
        self._uplink = uplink
        self._lock = b""

    def receive(self, timeout_ms: int = 30000) -> int:
        """Look for a message: 200: uplink.client.response has it; 204: there is none.

        Its properties are fields of the response, iothub-app-... and iothub-messageid among them.
        -EMSGSIZE: it is too long for the buffer, and comes again unless it is rejected.
        """
        self._lock = b""
        status = self._request(b"GET", b"", timeout_ms)
        reply = self._uplink.client.response
        a = reply.field(b"etag") if status == 200 or status == _EMSGSIZE else -1
        if a >= 0 and reply.field_n <= _LOCK:
            token = bytes(reply.buf[a : a + reply.field_n]).strip(b'"')
            self._lock = token and b"/" + span.quote(token)
        return status

    def complete(self, timeout_ms: int = 30000) -> int:
        """The message that was received is done with. ValueError: none was."""
        return self._settle(b"DELETE", b"", timeout_ms)

    def reject(self, timeout_ms: int = 30000) -> int:
        """It cannot be processed: a dead letter. ValueError: none was received."""
        return self._settle(b"DELETE", b"", timeout_ms, b"&reject")

    def abandon(self, timeout_ms: int = 30000) -> int:
        """Back into the queue with it. ValueError: none was received."""
        return self._settle(b"POST", b"/abandon", timeout_ms)

    def _settle(self, method, path, timeout_ms, query=b""):
        if not self._lock:
            raise ValueError("no message was received")
        status = self._request(method, self._lock + path, timeout_ms, query)
        if status in (204, 404, 412):
            self._lock = b""
        return status

    def _request(self, method, path, timeout_ms, query=b""):
        """One exchange; a second one where a wrong clock spoilt the token of the first."""
        uplink = self._uplink
        client = uplink.client
        clock = uplink.clock
        uplink.signed = False
        for _ in range(2):
            now = clock.now() if clock else 0
            uplink.cloud.start(client.head, method, b"/messages/deviceBound" + path, now, query)
            client.head.end()
            status = client.request(None, 0, 0, timeout_ms)
            if status != 401 or not clock or not clock.correct(status, client.response):
                break
        return status
