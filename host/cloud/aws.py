"""AWS IoT Core's data endpoint over HTTPS, as far as publishing goes (PROTOCOLS 1.1 to 1.3).

Invariant: what the real endpoint refuses is refused here with its status, error name and body
form. Where no source settles a point, the choice is strict and stands beside the code.

A listener has one login, as a port of the real service has: `x509` (port 8443: the handshake
asks for a client certificate of our authority and fails without one) or `sigv4` (port 443: no
client certificate, the Authorization field or the presigned query is verified).
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import ssl
import uuid
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from host.certs import LOCAL_HOSTS, Authority, Pair
from host.cloud import aws_publish, sigv4
from host.cloud.aws_publish import Refused
from host.cloud.aws_registry import EVERYTHING, Registry
from host.cloud.http import Answer, Call
from host.cloud.store import Store
from host.cloud.tls import server_context

ENDPOINT = "a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com"
PORT = 8443

_SERVICES = ("iotdata", "iotdevicegateway")  # both are seen to work, PROTOCOLS 1.3 item 9
_REGION = re.compile(r"[^.]+\.iot\.([a-z0-9-]+)\.amazonaws\.com")
_ERRORS: Mapping[int, str] = MappingProxyType(
    {
        400: "InvalidRequestException",
        401: "UnauthorizedException",
        403: "ForbiddenException",
        404: "ResourceNotFoundException",
        405: "MethodNotAllowedException",
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
        if login not in ("x509", "sigv4") or region is None:
            raise ValueError(f"login {login!r} is not x509 or sigv4, or endpoint {endpoint!r}")
        self.authority = authority
        self.store = store or Store()
        self.login = login
        self.endpoint = endpoint
        self.region = region[1]
        self.registry = Registry(self.store)
        self._server = server or authority.server((*LOCAL_HOSTS, self._wildcard()))

    def add_thing(self, thing: str, allow: Iterable[str] = EVERYTHING) -> Pair:
        """Register `thing`'s certificate with a policy of topic filters; return its files."""
        pair = self.authority.device(thing)
        self.registry.add_certificate(pair.fingerprint, thing, allow)
        return pair

    def curl_line(self, port: int, thing: str, host: str = "127.0.0.1") -> str:
        """Return the AWS documentation's curl command for `thing`, led to `host:port`."""
        pair = self.authority.device(thing)
        lines = (
            "curl --tlsv1.2",
            f"--connect-to {self.endpoint}:{PORT}:{host}:{port}",
            f"--cacert {_quoted(self.authority.ca_pem)}",
            f"--cert {_quoted(pair.cert_pem)}",
            f"--key {_quoted(pair.key_pem)}",
            "--request POST",
            r'--data "{ \"message\": \"Hello, world\" }"',
            f'"https://{self.endpoint}:{PORT}/topics/topic?qos=1"',
        )
        return " \\\n    ".join(lines)

    def tls(self) -> ssl.SSLContext:
        return server_context(
            self._server, self.authority.ca_pem if self.login == "x509" else None
        )

    def answer(self, call: Call) -> Answer:
        """Check the size, who calls, the path, the publish and the policy, in this order."""
        try:
            self._publish(call)
        except Refused as refused:
            return self.error(refused.status, refused.message)
        trace = str(uuid.uuid4())
        fields = (("content-type", "application/json"), ("x-amzn-RequestId", trace))
        return Answer(200, _body("OK", trace), fields)

    def error(self, status: int, message: str | None = None) -> Answer:
        """Return the error answer; the colon that ends the error name is really sent."""
        trace = str(uuid.uuid4())
        name = _ERRORS.get(status, "InternalFailureException")
        fields = (
            ("content-type", "application/json"),
            ("x-amzn-RequestId", trace),
            ("x-amzn-ErrorType", f"{name}:"),
        )
        return Answer(status, _body(message, trace), fields)

    def _publish(self, call: Call) -> None:
        if len(call.body) > self.body_limit:
            raise Refused(413, "The payload exceeds the maximum size allowed")
        principal, device = self._caller(call)
        message = aws_publish.message(call, device)
        if not self.registry.allows(principal, message.topic):
            raise Refused(403, None)
        self.store.add(message)

    def _caller(self, call: Call) -> tuple[str, str]:
        """Return the principal and the thing (or access key) that it stands for."""
        if self.login == "sigv4":
            access_key = self._signer(call)
            return access_key, access_key
        fingerprint = hashlib.sha256(call.certificate or b"").hexdigest()
        thing = self.registry.thing(fingerprint)
        if thing is None:
            raise Refused(403, None)
        return fingerprint, thing

    def _signer(self, call: Call) -> str:
        request = sigv4.Request(call.method, call.target, call.fields, call.body)
        secret_of = self.registry.secret
        try:
            return sigv4.verify(request, secret_of, call.now, self.region, _SERVICES)
        except sigv4.SignatureError as error:
            raise Refused(403, str(error)) from None

    def _wildcard(self) -> str:
        return "*." + self.endpoint.partition(".")[2]


def _body(message: str | None, trace: str) -> bytes:
    text = json.dumps({"message": message, "traceId": trace}, separators=(",", ":"))
    return text.encode()


def _quoted(path: object) -> str:
    return shlex.quote(str(path))
