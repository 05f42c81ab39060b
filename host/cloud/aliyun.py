"""Alibaba Cloud IoT Platform over HTTPS: authenticate a device, publish (seed 001; PROTOCOLS 2).

Invariant: a business error comes in HTTP 200 with its code in the body, as captured from the real
service; any other status is the front server's (Tengine) and says nothing about the message.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
from collections import deque
from http.client import responses

from host.certs import LOCAL_HOSTS, Authority, Pair
from host.cloud import aliyun_rules as rules
from host.cloud.aliyun_registry import Registry
from host.cloud.aliyun_rules import Refused
from host.cloud.http import Answer, Call
from host.cloud.store import Message, Store
from host.cloud.tls import server_context

HOST = "iot-as-http.cn-shanghai.aliyuncs.com"
PORT = 443
TOKEN_LIFE_S = 7 * 86400  # the newer page; an older one and the C SDK v3.1 have 48 hours

_WILDCARD = "*.cn-shanghai.aliyuncs.com"
_PRODUCT_KEY = re.compile(r"[A-Za-z0-9]{1,20}")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,32}")
# Both message ids in the sources are milliseconds since this one, above 22 bits of their own:
# the seed's is half a second later than the timestamp of its authentication request.
_ID_EPOCH_MS = 1288834974657
_ID_BITS = 22


class AliyunCloud:
    """The emulated endpoint; one listener takes both requests."""

    body_limit = rules.LIMIT

    def __init__(
        self,
        authority: Authority,
        store: Store | None = None,
        host: str = HOST,
        token_life_s: float = TOKEN_LIFE_S,
        server: Pair | None = None,
    ) -> None:
        """Make the service; `server` takes the place of the right server certificate."""
        self.authority = authority
        self.store = store or Store()
        self.host = host
        # As captured; the newer page speaks of short-lived connections. The C SDKs can keep one
        # open over several requests, so a test may set this to False.
        self.closes = True
        self._token_life_s = token_life_s
        self._registry = Registry(self.store)
        self._server = server or authority.server((*LOCAL_HOSTS, _WILDCARD), "_aliyun")
        self._failures: deque[int] = deque()
        self._last_id = 1 << 53  # what a clock far in the past must not undercut

    def add_device(self, product_key: str, device_name: str, secret: str | None = None) -> str:
        """Register an enabled device and return its secret, a random one unless given.

        ValueError for names that the platform does not have.
        """
        if not _PRODUCT_KEY.fullmatch(product_key) or not _DEVICE_NAME.fullmatch(device_name):
            raise ValueError(f"device {product_key!r}/{device_name!r}: A-Z a-z 0-9, _.:@- in name")
        secret = secret or secrets.token_hex(16)
        self._registry.add_device(product_key, device_name, secret)
        return secret

    def disable_device(self, product_key: str, device_name: str) -> None:
        """Make authentication fail with 20000 and the device's tokens with 20003."""
        self._registry.set_enabled(product_key, device_name, False)

    def enable_device(self, product_key: str, device_name: str) -> None:
        """Undo `disable_device`."""
        self._registry.set_enabled(product_key, device_name, True)

    def remove_device(self, product_key: str, device_name: str) -> None:
        """Forget a device and its tokens."""
        self._registry.remove_device(product_key, device_name)

    def expire_tokens(self) -> None:
        """Make every token given so far an expired one (20001)."""
        self._registry.expire_tokens()

    def forget_tokens(self) -> None:
        """Make every token given so far an unknown one (20003)."""
        self._registry.forget_tokens()

    def fail_next(self, code: int, times: int = 1) -> None:
        """Answer the next requests whose table has `code` with it, and do nothing else.

        They strike in the order of the calls; ValueError for a code that is in neither table.
        """
        if code not in rules.AUTH_CODES + rules.TOPIC_CODES:
            raise ValueError(f"code {code} is not an error code of /auth or /topic")
        self._failures.extend([code] * times)

    def tls(self) -> ssl.SSLContext:
        return server_context(self._server, None)

    def answer(self, call: Call) -> Answer:
        """Authenticate a device or take its message; the answer's body has the outcome."""
        host = call.fields.get("Host", "").partition(":")[0].lower()
        if not host:  # RFC 9112 section 3.2
            return self.error(400)
        # The documents name one Host; what answers another is not known.
        if host != self.host:
            return self.error(404)
        if call.path != rules.AUTH and not call.path.startswith(f"{rules.TOPIC}/"):
            return self.error(404)
        if call.method != "POST":  # "only POST" is all that is documented
            return self.error(405)
        code = rules.SUCCESS
        info: dict[str, str | int] = {}
        try:
            if call.path == rules.AUTH:
                info["token"] = self._authenticate(call)
            else:
                info["messageId"] = self._new_id(call.now)  # captured with an error, too
                self._publish(call, self._last_id)
        except Refused as refused:
            code = refused.code
        return self._business(code, info)

    def error(self, status: int) -> Answer:
        """Return the error answer of `status`: throttling in HTTP 200, all others the front's.

        Which others exist is undocumented; a proxy's own page is not JSON and has a reason phrase.
        """
        if status == 429:
            return self._business(rules.TOO_MANY, {})
        title = f"{status} {responses.get(status, '')}".strip()
        body = f"<html><head><title>{title}</title></head><body>{title}</body></html>\r\n"
        fields = [("Content-Type", "text/html"), ("Server", "Tengine")]
        if status == 405:
            fields.append(("Allow", "POST"))
        return Answer(status, body.encode(), tuple(fields), closes=True)

    def _business(self, code: int, info: dict[str, str | int]) -> Answer:
        """Return a business answer with the head and the order of members as captured."""
        body = {"code": code, "info": info, "message": rules.MESSAGES[code]}
        fields = (
            ("Content-Type", "application/json"),
            ("Server", "Tengine"),
            ("EagleEye-TraceId", secrets.token_hex(15)),
            ("Timing-Allow-Origin", "*"),
        )
        text = json.dumps(body, separators=(",", ":"))
        return Answer(200, text.encode(), fields, reason="", closes=self.closes)

    def _authenticate(self, call: Call) -> str:
        self._fail_if_asked(rules.AUTH_CODES)
        login = rules.login(call)
        secret = self._registry.secret(login.product_key, login.device_name)
        if secret is None or not login.is_signed_with(secret) or not login.is_timely(call.now):
            raise Refused(rules.AUTH_CHECK_ERROR)
        expires = call.now + self._token_life_s
        return self._registry.new_token(login.product_key, login.device_name, expires)

    def _publish(self, call: Call, message_id: int) -> None:
        """Check the form, the token and the topic, in this order, and keep the message."""
        self._fail_if_asked(rules.TOPIC_CODES)
        topic = rules.topic_of(call)
        device = self._token_owner(call)
        # Whether the real service has another code for another device's topic is unknown.
        if not topic.startswith((f"/{device}/", f"/sys/{device}/")):
            raise Refused(rules.PUBLISH_ERROR)
        properties = {"messageId": message_id}
        message = Message(device, topic, call.body, properties=properties, received=call.now)
        self.store.add(message)

    def _token_owner(self, call: Call) -> str:
        """Return the `{productKey}/{deviceName}` that the password field stands for."""
        token = call.fields.get("password", "")
        if not token:
            raise Refused(rules.TOKEN_NULL)
        owner = self._registry.owner(token)
        if owner is None:
            raise Refused(rules.CHECK_TOKEN_ERROR)
        product_key, device_name, expires = owner
        if call.now >= expires:
            raise Refused(rules.TOKEN_EXPIRED)
        return f"{product_key}/{device_name}"

    def _new_id(self, now: float) -> int:
        """Return a message id that is above 2**53 and above every earlier one."""
        timed = (int(now * 1000) - _ID_EPOCH_MS) << _ID_BITS
        self._last_id = max(self._last_id + 1, timed)
        return self._last_id

    def _fail_if_asked(self, codes: tuple[int, ...]) -> None:
        if self._failures and self._failures[0] in codes:
            raise Refused(self._failures.popleft())
