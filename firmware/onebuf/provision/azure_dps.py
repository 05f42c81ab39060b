"""Azure Device Provisioning Service: which hub is mine, and what is my ID there (REST API).

PUT .../register, then GET .../operations/{id} as often as Retry-After says. Import it, register,
and drop it: the result is kept in a file, and a reboot reads that.
"""

import json

from micropython import const

from onebuf import span

HOST = "global.azure-devices-provisioning.net"
_EMSGSIZE = const(-90)
_ECANCELED = const(-125)
_POLLS = const(40)
_SHORTEST_S = const(2)  # the service takes five polls in ten seconds
_PATIENCE_S = const(120)  # of waits, in all
_DAY_S = const(86400)
_OPERATION = const(128)  # octets of an operation ID
_LIFE_S = const(3600)  # of a SAS token
_MOST = const(4096)  # octets of an answer's content; 700 without a payload of its own


class ProvisioningError(Exception):
    """The service did not assign a hub; str() says why, in its words.

    code: its error code, six digits; else the HTTP status, or -errno. again: whether another
    attempt, later, may end better. wait_s: what its Retry-After says, a day at the most; or 0.
    """

    def __init__(self, text, code, again, wait_s=0):
        super().__init__(text.strip())
        self.code = code
        self.again = again
        self.wait_s = wait_s


class DPS:
    def __init__(self, client, id_scope, registration_id, key=None, payload=None, clock=None):
        """client: one for HOST, whose tls_context() has the certificate, for a group its chain.

        Its buffer takes a head and the head of the answer: 1 KiB for IDs of up to 64 characters.
        key: the device's symmetric key in base64 instead, for a group derived_key(); it wants a
        clock. payload: for custom allocation, whatever JSON can say. ValueError: what DPS refuses.
        """
        registration_id = registration_id.lower()  # the service does not mind, a signature does
        check_registration_id(registration_id)
        if key is not None and not clock:
            raise ValueError("a key wants a clock")
        self._client = client
        self._uri = id_scope + "/registrations/" + registration_id
        self._key = key
        self._clock = clock
        body = {"registrationId": registration_id}
        if payload is not None:
            body["payload"] = payload
        self._body = json.dumps(body).encode()
        self._content = bytearray()

    def register(self, timeout_ms: int = 30000) -> dict:
        """The assignment: {"hub", "device_id"}, waited for. Raises ProvisioningError.

        timeout_ms bounds each exchange; there are up to 40, and two minutes of waits between them.
        """
        path = b"/register"
        patience = _PATIENCE_S
        for _ in range(_POLLS):
            status = self._exchange(path, timeout_ms)
            answer = self._answer()
            state = answer.get("status")
            if status == 200 or status == 202:
                if state != "assigning" and state != "unassigned":
                    return _assignment(state, answer.get("registrationState"))
                operation = str(answer.get("operationId") or "")
                if 0 < len(operation) <= _OPERATION:
                    path = b"/operations/" + span.quote(operation.encode())
            elif (status < 0 or status == 401) and self._corrected(status):
                continue
            elif status < 500 and status != 429:
                break
            s = max(self._client.response.number(b"retry-after"), _SHORTEST_S)
            patience -= s
            if patience < 0:
                break
            self._client.transport.sleep_ms(s * 1000)
        raise self._refusal(status, answer)

    def _refusal(self, status, answer):
        """The error for an answer, or none, that ended it."""
        final = status in (_EMSGSIZE, _ECANCELED) or (400 <= status < 500 and status != 429)
        text = "%d %s" % (status, answer.get("message") or answer.get("status") or "")
        wait = self._client.response.number(b"retry-after") if status > 0 else 0
        wait = min(max(wait, 0), _DAY_S)
        return ProvisioningError(text, answer.get("errorCode") or status, not final, wait)

    def _corrected(self, status):
        return self._clock and self._clock.correct(status, self._client.response)

    def _exchange(self, path, timeout_ms):
        client = self._client
        head = client.head
        body = self._body if path == b"/register" else b""
        authority = span.authority(client.host, client.port)
        path = b"/%s%s?api-version=2021-06-01" % (self._uri.encode(), path)
        head.start(b"PUT" if body else b"GET", authority, path)
        if self._key is not None:
            from onebuf import sign

            expiry = self._clock.now() + _LIFE_S
            head.field(b"Authorization", sign.sas(self._key, self._uri, expiry, "registration"))
        head.field(b"Content-Type", b"application/json")
        head.end()
        self._content = bytearray()
        return client.request(body, 0, len(body), timeout_ms, self._take)

    def _take(self, buf, off, n):
        """A sink: so the buffer need not hold an answer whole."""
        if len(self._content) + n > _MOST:
            return -1
        self._content.extend(memoryview(buf)[off : off + n])

    def _answer(self):
        """The content as a dict; an empty one if it is none."""
        try:
            answer = json.loads(self._content)
        except ValueError:
            answer = None
        return answer if isinstance(answer, dict) else {}


def _assignment(status, state):
    """What a final answer says; failed and disabled come with HTTP's 200 too."""
    if not isinstance(state, dict):
        state = {}
    assigned = {"hub": state.get("assignedHub"), "device_id": state.get("deviceId")}
    if status == "assigned" and is_assignment(assigned):
        return assigned
    text = "%s %s" % (status, state.get("errorMessage") or "")
    again = status != "failed" and status != "disabled"
    raise ProvisioningError(text, state.get("errorCode") or 200, again)


def is_assignment(found) -> bool:
    """Whether it has a host name and a device ID, as both come from the network or from flash."""
    try:
        span.authority(found["hub"], 443)
        return 0 < len(found["device_id"]) <= 128 and found["device_id"].strip() != ""
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def check_registration_id(text: str):
    """ValueError: no registration ID (1 to 128 of a-z 0-9 - . _ :, the last one a-z 0-9 -)."""
    good = len(text) <= 128 and text[-1:] not in "._:"  # as the end of no text is
    for c in text:
        if not ("a" <= c <= "z" or "0" <= c <= "9" or c in "-._:"):
            good = False
    if not good:
        raise ValueError("registration ID: 1 to 128 of a-z 0-9 - . _ :, no . _ : at the end")


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
    return found if is_assignment(found) else None
