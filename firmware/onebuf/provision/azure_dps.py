"""Azure Device Provisioning Service: which hub is mine, and what is my name there (REST API).

PUT .../register, then GET .../operations/{id} as often as Retry-After says. Import it, register,
and drop it: the result is kept in a file, and a reboot reads that.
"""

import json

from micropython import const
from onebuf import span

HOST = "global.azure-devices-provisioning.net"
_API = "?api-version=2021-06-01"
_POLLS = const(40)
_WAIT_S = const(2)  # where no Retry-After says otherwise
_LONGEST_S = const(300)
_LIFE_S = const(3600)  # of a SAS token


class ProvisioningError(Exception):
    """The service did not assign a hub; str() says why, in its words.

    code: its error code, six digits; else the HTTP status, or -errno. again: whether another
    attempt, later, may end better.
    """

    def __init__(self, text, code=0, again=False):
        super().__init__(text)
        self.code = code
        self.again = again


class DPS:
    def __init__(self, client, id_scope, registration_id, key=None, payload=None, clock=None):
        """client: one for HOST, whose TLS has the certificate, with its whole chain for a group.

        key: the device's symmetric key in base64 instead, for a group derived_key(); it wants a
        clock. payload: for custom allocation, whatever JSON can say. ValueError: the ID is none.
        """
        self._id = registration_id.lower()  # the service does not mind case, a signature does
        check_registration_id(self._id)
        self._client = client
        self._path = "/%s/registrations/%s" % (id_scope, span.quote(self._id.encode()).decode())
        self._uri = "%s/registrations/%s" % (id_scope, self._id)
        self._key = key
        self._clock = clock
        body = {"registrationId": self._id}
        if payload is not None:
            body["payload"] = payload
        self._body = json.dumps(body).encode()

    def register(self, timeout_ms: int = 30000) -> dict:
        """The assignment: {"hub", "device_id"}, waited for. Raises ProvisioningError.

        timeout_ms bounds each exchange; there are up to 40, and the waits between them.
        """
        path = "/register"
        tries = 2  # the clock is corrected once
        for _ in range(_POLLS):
            status = self._exchange(path, timeout_ms)
            answer = self._answer()
            if status == 200 or status == 202:
                if answer.get("status") != "assigning":
                    return _assignment(answer)
                path = "/operations/" + str(answer.get("operationId"))
            elif tries and self._clock and self._clock.correct(status, self._client.response):
                tries -= 1
                continue
            elif status != 429 and status < 500:
                raise _refusal(status, answer)
            s = self._client.response.number(b"retry-after")
            self._client.transport.sleep_ms(1000 * (min(s, _LONGEST_S) if s >= 0 else _WAIT_S))
        raise ProvisioningError("it is still assigning", again=True)

    def _exchange(self, path, timeout_ms):
        head = self._client.head
        put = path == "/register"
        authority = span.authority(self._client.host, self._client.port)
        head.start(b"PUT" if put else b"GET", authority, (self._path + path + _API).encode())
        if self._key is not None:
            from onebuf import sign

            now = self._clock.now() if self._clock else 0
            head.field(
                b"Authorization", sign.sas(self._key, self._uri, now + _LIFE_S, "registration")
            )
        head.field(b"Content-Type", b"application/json")
        head.end()
        body = self._body if put else b""
        return self._client.request(body, 0, len(body), timeout_ms)

    def _answer(self):
        """The content as a dict; an empty one if it is none."""
        reply = self._client.response
        try:
            answer = json.loads(bytes(reply.buf[reply.off : reply.off + reply.n]))
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}


def _assignment(answer):
    """What a final answer says; the statuses come with HTTP's 200."""
    state = answer.get("registrationState")
    state = state if isinstance(state, dict) else {}
    hub = state.get("assignedHub")
    device_id = state.get("deviceId")
    if answer.get("status") == "assigned" and hub and device_id:
        return {"hub": hub, "device_id": device_id}
    text = "%s: %s" % (answer.get("status"), state.get("errorMessage") or "no hub")
    raise ProvisioningError(text, state.get("errorCode") or 0)


def _refusal(status, answer):
    if status < 0:
        return ProvisioningError("no answer: %d" % status, status, True)
    text = "%d %s" % (status, answer.get("message") or "without a message")
    return ProvisioningError(text, answer.get("errorCode") or status)


def check_registration_id(text: str):
    """ValueError: no registration ID (1 to 128 of a-z 0-9 - . _ :, the last one a-z 0-9 -)."""
    octets = text.replace(":", "_").encode()
    if not 0 < len(octets) <= 128 or span.quote(octets) != octets or "~" in text:
        raise ValueError("registration ID: 1 to 128 of a-z 0-9 - . _ :")
    if text[-1] in "._:":
        raise ValueError("registration ID: the last character is one of a-z 0-9 -")


def derived_key(group_key: str, registration_id: str) -> str:
    """The key of one device of an enrolment group, in base64, from the group's."""
    from binascii import a2b_base64, b2a_base64

    from onebuf import sign

    mac = sign.HMAC("sha256", a2b_base64(group_key)).digest(registration_id.lower().encode())
    return b2a_base64(mac, newline=False).decode()


def save(path: str, assignment):
    """Keep an assignment in a file; None: forget the one in it."""
    with open(path, "w") as file:
        json.dump(assignment, file)


def load(path: str):
    """The assignment in a file; None without one, and where a power cut left half of one."""
    try:
        with open(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("hub") else None
