"""AWS IoT Core's data endpoint over HTTPS: publishing, what was retained of it, device shadows
(PROTOCOLS 1.1 to 1.5).

Invariant: what the real endpoint refuses is refused here with its status, error name and body
form. Where no source settles a point, the choice is strict and stands beside the code.

A listener has one login, as a port of the real service has:
`x509` (port 8443): the handshake asks for a client certificate of our authority and fails without
one; `x509-alpn` (port 443): the same if the client offers the ALPN protocol x-amzn-http-ca, else
as `sigv4`, and a certificate counts for nothing; `sigv4` (port 443, but without a certificate
being asked for): the request names a custom authorizer or is signed.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import uuid
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from host.certs import LOCAL_HOSTS, Authority, Pair
from host.cloud import aws_publish, aws_retained, sigv4
from host.cloud.aws_authorizer import Authorizers
from host.cloud.aws_publish import Refused
from host.cloud.aws_registry import EVERYTHING, Principal, Registry
from host.cloud.aws_shadow import Shadows, is_shadow_path
from host.cloud.http import Answer, Call
from host.cloud.store import Store
from host.cloud.tls import server_context

ENDPOINT = "a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com"
PORT = 8443
ALPN = "x-amzn-http-ca"

_LOGINS = ("x509", "x509-alpn", "sigv4")
_SERVICES = ("iotdata", "iotdevicegateway")  # both are seen to work, PROTOCOLS 1.3 item 9
_REGION = re.compile(r"[^.]+\.iot\.([a-z0-9-]+)\.amazonaws\.com")
_ERRORS: Mapping[int, str] = MappingProxyType(
    {
        400: "InvalidRequestException",
        401: "UnauthorizedException",
        403: "ForbiddenException",
        404: "ResourceNotFoundException",
        405: "MethodNotAllowedException",
        409: "ConflictException",
        413: "RequestEntityTooLargeException",
        415: "UnsupportedDocumentEncodingException",
        429: "ThrottlingException",
        500: "InternalFailureException",
        503: "ServiceUnavailableException",
        504: "GatewayTimeoutException",
    }
)


class AWSCloud:
    """The emulated endpoint; two of them on one store are the two ports of one account."""

    body_limit = aws_publish.PAYLOAD_LIMIT

    def __init__(
        self,
        authority: Authority,
        store: Store | None = None,
        login: str = "x509",
        endpoint: str = ENDPOINT,
        server: Pair | None = None,
    ) -> None:
        """Make the service; ValueError for a login or endpoint that AWS does not have.

        `server` takes the place of the right server certificate, to present a wrong one.
        """
        region = _REGION.fullmatch(endpoint)
        if login not in _LOGINS or region is None:
            raise ValueError(f"login {login!r} is none of {_LOGINS}, or endpoint {endpoint!r}")
        self.authority = authority
        self.store = store or Store()
        self.login = login
        self.endpoint = endpoint
        self.region = region[1]
        self.registry = Registry(self.store)
        # The service asks for the account's own endpoint; its stand-ins here are as good.
        self.authorizers = Authorizers(self.store, self.registry, (endpoint, *LOCAL_HOSTS))
        self.shadows = Shadows(self.store, self.registry)
        self._server = server or authority.server((*LOCAL_HOSTS, self._wildcard()))

    def add_thing(self, thing: str, allow: Iterable[str] = EVERYTHING) -> Pair:
        """Register `thing`'s certificate with a policy of topic filters; return its files."""
        pair = self.authority.device(thing)
        self.registry.add_certificate(pair.fingerprint, thing, allow)
        return pair

    def tls(self) -> ssl.SSLContext:
        if self.login == "sigv4":
            return server_context(self._server, None)
        alpn = ALPN if self.login == "x509-alpn" else None
        return server_context(self._server, self.authority.ca_pem, alpn=alpn)

    def answer(self, call: Call) -> Answer:
        """Check the size, who calls, and then what the path asks for."""
        try:
            if len(call.body) > self.body_limit:
                raise Refused(413, "The payload exceeds the maximum size allowed")
            caller = self._caller(call)
            if is_shadow_path(call.path):
                status, document = self.shadows.answer(call, caller)
                return _answer(status, document, _trace())
            if aws_retained.is_retained_path(call.path):
                found = aws_retained.document(call, caller, self.store, self.registry)
                return _answer(200, found, _trace())
            self._publish(call, caller)
        except Refused as refused:
            return self.error(refused.status, refused.message)
        return _message(200, "OK")

    def error(self, status: int, message: str | None = None) -> Answer:
        """Return the error answer; the colon that ends the error name is really sent."""
        return _message(status, message)

    def _publish(self, call: Call, caller: Principal) -> None:
        """Check path, topic and policy, in this order, and keep the message."""
        message = aws_publish.message(call, caller.device)
        if not self.registry.allows(caller.policy, message.topic):
            raise Refused(403, None)
        self.store.add(message)

    def _caller(self, call: Call) -> Principal:
        if self.login == "x509" or call.certificate:
            return self._certified(call.certificate or b"")
        caller = self.authorizers.principal(call)
        if caller is not None:
            return caller
        access_key = self._signer(call)
        return Principal(access_key, access_key)

    def _certified(self, certificate: bytes) -> Principal:
        fingerprint = hashlib.sha256(certificate).hexdigest()
        thing = self.registry.thing(fingerprint)
        if thing is None:
            raise Refused(403, None)
        return Principal(fingerprint, thing, thing)

    def _signer(self, call: Call) -> str:
        request = sigv4.Request(call.method, call.target, call.fields, call.body)
        secret_of = self.registry.secret
        try:
            return sigv4.verify(request, secret_of, call.now, self.region, _SERVICES)
        except sigv4.SignatureError as error:
            raise Refused(403, str(error)) from None

    def _wildcard(self) -> str:
        return "*." + self.endpoint.partition(".")[2]


def _message(status: int, message: str | None) -> Answer:
    trace = _trace()
    return _answer(status, {"message": message, "traceId": trace}, trace)


def _trace() -> str:
    return str(uuid.uuid4())


def _answer(status: int, document: Mapping[str, object], trace: str) -> Answer:
    fields = [("content-type", "application/json"), ("x-amzn-RequestId", trace)]
    if status >= 400:
        name = _ERRORS.get(status, "InternalFailureException")
        fields.append(("x-amzn-ErrorType", f"{name}:"))
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, text.encode(), tuple(fields))
