"""IBM Watson IoT Platform's HTTP messaging: events, commands (seed 003, PROTOCOLS section 4).

Invariant: the checks are made in the order of Eclipse Amlen's server, which is this service's
open-sourced front end: HTTP first, then the path and the body, and only then the token. Where no
source settles a point, the choice is strict and stands beside the code.

The service listens on 443 and 8883 with TLS and on 1883 without: serve one on each port, all on
one store. It was withdrawn on 1 December 2023, so nothing newer can be captured.
"""

from __future__ import annotations

import re
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from host.certs import LOCAL_HOSTS, Authority, Pair
from host.cloud import watson_request as request
from host.cloud.http import Answer, Call
from host.cloud.store import Message, Store
from host.cloud.tls import server_context
from host.cloud.watson_access import Access
from host.cloud.watson_registry import Command, Registry
from host.cloud.watson_request import DOMAINS, QUICKSTART, Credentials, Path, Refused

ORG = "myorg1"
HOST = f"{ORG}.{DOMAINS[0]}"
PORT = 443
PLAIN_PORT = 1883

_ORG = re.compile(r"[a-z0-9]{6}")
_TEXT = "text/plain;charset=utf-8"
_REASONS: Mapping[int, str] = MappingProxyType(
    {
        200: "OK",
        204: "No content",
        400: "Bad request",
        401: "Unauthorized",  # this one and 429 are in no source
        403: "Not allowed",
        404: "Not found",
        405: "Method not allowed",
        413: "Request too large",
        415: "Unsupported media type",
        429: "Too many requests",
        500: "Server error",
        503: "Server unavailable",
    }
)
# The code is the server's, the text ours: whether the service sent any is not known.
_NOT_FOUND = b'{ "Code":"CWLNA0404", "Message":"There is no such object." }'


class WatsonCloud:
    """The emulated organisation, and Quickstart beside it, on one port."""

    body_limit = request.BODY_LIMIT

    def __init__(
        self,
        authority: Authority,
        store: Store | None = None,
        org: str = ORG,
        plain: bool = False,
        server: Pair | None = None,
    ) -> None:
        """Make the service; ValueError unless `org` has six lower-case letters or digits.

        `plain` is port 1883, without TLS. `server` takes the place of the right server
        certificate, to present a wrong one.
        """
        if not _ORG.fullmatch(org):
            raise ValueError(f"organisation {org!r}: six of a-z 0-9")
        self.authority = authority
        self.store = store or Store()
        self.org = org
        self.plain = plain
        self._registry = Registry(self.store)
        self._access = Access(self._registry, org)
        hosts = (*LOCAL_HOSTS, *(f"*.{domain}" for domain in DOMAINS))
        self._server = server or authority.server(hosts, "_watson")

    def add_device(self, type_id: str, device_id: str, token: str | None = None) -> str:
        """Register a device and return its token, a random one unless given.

        ValueError for names other than 1 to 36 of A-Z a-z 0-9 . _ -, or an empty token.
        """
        return self._add(type_id, device_id, False, token)

    def add_gateway(self, type_id: str, device_id: str, token: str | None = None) -> str:
        """Register a gateway and return its token; else as `add_device`."""
        return self._add(type_id, device_id, True, token)

    def add_api_key(self, key: str | None = None, token: str | None = None) -> tuple[str, str]:
        """Register an application; return its API key and token, random ones unless given.

        ValueError for a key that is not a-{org}-{more}, or an empty token.
        """
        key = key or f"a-{self.org}-{secrets.token_hex(5)}"
        if not re.fullmatch(rf"a-{self.org}-[A-Za-z0-9]+", key):
            raise ValueError(f"API key {key!r}: a-{self.org}- and letters or digits")
        token = _token(token)
        self._registry.add_key(key, token)
        return key, token

    def remove_device(self, type_id: str, device_id: str) -> None:
        """Forget a device or gateway: 403 from its next request on.

        The server asks for the token only once per connection. Strict: here each request does.
        """
        self._registry.remove_device(type_id, device_id)

    def disable_device(self, type_id: str, device_id: str) -> None:
        """Refuse a device or gateway with 403, also when a gateway or application names it."""
        self._registry.enable_device(type_id, device_id, False)

    def enable_device(self, type_id: str, device_id: str) -> None:
        """Undo `disable_device`."""
        self._registry.enable_device(type_id, device_id, True)

    def remove_api_key(self, key: str) -> None:
        """Forget an application: 403 from its next request on."""
        self._registry.remove_key(key)

    def send_command(
        self, type_id: str, device_id: str, command: str, format: str, payload: bytes
    ) -> int:
        """Send a command as an MQTT application would; return how many clients have asked for it.

        With 0 it is lost: the first command request is what opens a queue, for 30 hours.
        ValueError for a format other than json, xml, text, bin.
        """
        if format not in request.CONTENT_TYPES:
            raise ValueError(f"format {format!r} is none of {', '.join(request.CONTENT_TYPES)}")
        sent = Command(type_id, device_id, command, format, payload)
        return self._send(sent, f"a:{self.org}:onebuf", time.time())

    def tls(self) -> ssl.SSLContext | None:
        """Return TLS 1.2 or later without client certificates, None on port 1883.

        The seed's list of 2017 for HTTP has nothing but RSA key exchange, which TLS 1.3 dropped
        and OpenSSL and Mbed TLS no longer offer by themselves: today's suites take its place,
        those with ECDHE in the seed's list for MQTT among them.
        """
        return None if self.plain else server_context(self._server, None)

    def answer(self, call: Call) -> Answer:
        """Make the server's checks in its order; then publish, queue or fetch."""
        try:
            return self._process(call)
        except Refused as refused:
            return self.error(refused.status)

    def error(self, status: int) -> Answer:
        """Return the answer that refuses; all but 401 close, and 0 closes without an answer.

        429 is a guess: which status answers a rate that is exceeded is documented nowhere.
        """
        reason = _REASONS.get(status)
        if status == 401:
            # The realm's text is in no source.
            fields = (("WWW-Authenticate", f'Basic realm="{self.org}"'), ("Content-Type", _TEXT))
            return Answer(401, b"Unauthorized", fields, reason)
        if status == 404:
            form = (("Content-Type", "application/json"),)
            return Answer(404, _NOT_FOUND, form, reason, closes=True)
        return Answer(status, b"", (), reason, closes=True, silent=status == 0)

    def _process(self, call: Call) -> Answer:
        request.check_line(call)
        org = request.organisation(call)
        given = request.credentials(call)
        if org == QUICKSTART:
            given = None  # what is not asked for is not looked at
        elif given is None:
            raise Refused(401)
        self._check_connection(call, given)
        found = request.path(call, given is not None and given.is_gateway)
        form = "" if found.action == "request" else request.content_format(call)
        if not form:
            request.wait_seconds(call)
        client = self._access.client(org, given, found)
        if call.connection.setdefault("client", client) != client:
            raise Refused(403)  # another device, class of client or organisation
        call.connection["user"] = given and given.user
        self._access.check_target(client, found)
        if found.action == "request":
            return self._fetch(call, client, found)
        return self._publish(call, client, found, form)

    def _check_connection(self, call: Call, given: Credentials | None) -> None:
        """Refuse another user and a request sent before the last one's answer (rows 6 and 7).

        In the server the second request closes the connection, and the first may or may not have
        been published by then. Strict: it has not.
        """
        user = given and given.user
        if call.connection.get("user", user) != user:
            raise Refused(403)
        if call.connection.get("behind"):
            raise Refused(0)

    def _fetch(self, call: Call, client: str, found: Path) -> Answer:
        command = self._registry.take(client, found.type, found.id, found.name, call.now)
        if command is None:
            better = partial(self._fetch_later, call, client, found)
            return replace(_good(204), wait_s=request.wait_seconds(call), better=better)
        named = (
            ("X-deviceType", found.type, command.type),
            ("X-deviceId", found.id, command.id),
            ("X-commandId", found.name, command.command),
        )
        # A field has octets: a name goes out in UTF-8, as it came in a path.
        fields = [(n, v.encode().decode("latin-1")) for n, asked, v in named if asked == "+"]
        return _good(200, command.payload, request.CONTENT_TYPES[command.format], fields)

    def _fetch_later(self, call: Call, client: str, found: Path) -> Answer | None:
        """Return the command that has come by now; a request meanwhile closes (row 7)."""
        if call.connection.get("behind"):
            return self.error(0)
        answer = self._fetch(call, client, found)
        return answer if answer.status == 200 else None

    def _publish(self, call: Call, client: str, found: Path, form: str) -> Answer:
        if found.action == "commands":
            command = Command(found.type, found.id, found.name, form, call.body)
            self._send(command, client, call.now)
        else:
            self._keep(found, "evt", form, call.body, client, call.now)
        return _good(200)

    def _send(self, command: Command, client: str, now: float) -> int:
        path = Path(True, command.type, command.id, "commands", command.command)
        self._keep(path, "cmd", command.format, command.payload, client, now)
        return self._registry.send(command)

    def _keep(
        self, found: Path, kind: str, form: str, payload: bytes, client: str, now: float
    ) -> None:
        device = f"{found.type}/{found.id}"
        topic = f"iot-2/type/{found.type}/id/{found.id}/{kind}/{found.name}/fmt/{form}"
        properties = {"clientId": client}
        self.store.add(Message(device, topic, payload, properties=properties, received=now))

    def _add(self, type_id: str, device_id: str, gateway: bool, token: str | None) -> str:
        for name in (type_id, device_id):
            if not request.IDENTIFIER.fullmatch(name):
                raise ValueError(f"identifier {name!r}: 1 to 36 of A-Z a-z 0-9 . _ -")
        token = _token(token)
        self._registry.add_device(type_id, device_id, gateway, token)
        return token


def _good(
    status: int, body: bytes = b"", form: str = _TEXT, more: list[tuple[str, str]] | None = None
) -> Answer:
    """Return 200 or 204; the server writes a Content-Type and a length of 0 with 204, too."""
    fields = (
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Keep-Alive", "timeout=60"),
        ("Cache-Control", "no-cache"),
        *(more or ()),
        ("Content-Type", form),
    )
    return Answer(status, body, fields, _REASONS[status])


def _token(given: str | None) -> str:
    if given == "":
        raise ValueError("the token is empty")
    return given or secrets.token_urlsafe(13)  # 18 characters, as the platform's own
