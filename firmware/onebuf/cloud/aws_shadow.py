"""AWS IoT device shadows over HTTPS ("Device Shadow REST API"), classic and named."""

from onebuf import span


class Shadow:
    """The shadow of a thing, over the connection of an uplink whose cloud is an AWS.

    The calls return the status, or -errno; the document is in uplink.client.response. 409 is a
    version conflict, 404 says that there is no shadow, 403 is all that a custom authorizer gets.
    -EMSGSIZE: the answer is longer than the buffer (a document of 8 KB, its metadata beside); what
    became of an update is in response.status all the same.
    """

    def __init__(self, uplink, thing: str, name: str = ""):
        """name: of a named shadow. ValueError: no thing's or shadow's name."""
        if not _is_name(thing, 128, ":_-") or (name and not _is_name(name, 64, "$:_-")):
            raise ValueError("thing: 1 to 128, shadow: 1 to 64 of A-Z a-z 0-9 : _ -")
        self._uplink = uplink
        self._path = b"/things/" + span.quote(thing.encode()) + b"/shadow"
        if name:
            self._path += b"?name=" + span.quote(name.encode())

    def get(self, timeout_ms: int = 30000) -> int:
        """The whole document: state, metadata, version, timestamp."""
        return self._request(b"GET", b"", timeout_ms)

    def update(self, document, timeout_ms: int = 30000) -> int:
        """Change what document, JSON octets such as b'{"state":{"reported":{"t":21}}}', has."""
        return self._request(b"POST", document, timeout_ms)

    def delete(self, timeout_ms: int = 30000) -> int:
        """Remove the shadow."""
        return self._request(b"DELETE", b"", timeout_ms)

    def _request(self, method, body, timeout_ms):
        uplink = self._uplink
        client = uplink.client
        cloud = uplink.cloud
        clock = uplink.clock
        uplink.signed = False
        for _ in range(2):
            now = clock.now() if clock else 0
            cloud.start(client.head, method, self._path, now)
            client.head.end()
            if cloud.signs:
                cloud.sign(client.head, body, len(body), now)
            r = client.request(body, 0, len(body), timeout_ms)
            # once more if it was refused for the clock, which is right now; no other refusal is
            late = r in (401, 403) or r < 0
            if not late or not clock or not clock.correct(r, client.response):
                break
        return r


def _is_name(text, most, special):
    for c in text:
        if not ("0" <= c <= "9" or "a" <= c <= "z" or "A" <= c <= "Z" or c in special):
            return False
    return 0 < len(text) <= most
