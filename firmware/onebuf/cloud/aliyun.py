"""Alibaba Cloud IoT Platform: publish over HTTPS ("Establish communication over HTTPS").

POST /auth gives a token, POST /topic/{topic} wants it. The code in the answer's content decides,
not its status.
"""

import json

from onebuf import outcome, sign, span


class Aliyun:
    max_payload = 131072  # octets
    signs = False

    def __init__(
        self,
        product_key,
        device_name,
        device_secret,
        topic,
        client_id=None,
        signmethod="hmacsha256",
        host="iot-as-http.cn-shanghai.aliyuncs.com",
        port=443,
    ):
        """topic: as with MQTT, "/{product_key}/{device_name}/user/update". All but port are str.

        signmethod: hmacmd5, hmacsha1 or hmacsha256. ValueError: what the platform would refuse.
        """
        client_id = client_id or product_key + "." + device_name
        if not (product_key and device_name and len(client_id) <= 64 and topic[:1] == "/"):
            raise ValueError("product_key, device_name; client_id: 64 characters; topic: /...")
        for c in topic.encode():
            if not 32 < c < 127 or c in b"?#%+":
                raise ValueError("topic: no wildcard, no query, no space")
        self.host = host
        self.port = port
        self.login = None
        self._authority = span.authority(host, port)
        self._path = b"/topic" + topic.encode()
        self._ids = (client_id, device_name, product_key)
        self._method = signmethod
        self._hmac = sign.HMAC(signmethod[4:], device_secret.encode())
        self._token = b""

    def refresh(self, head, now: int) -> int:
        """Write the head of a publish, or of the login where there is no token; good for ever.

        The token's life is not documented: its end shows in the answer to a publish.
        """
        if self._token:
            self.login = None
            head.start(b"POST", self._authority, self._path)
            head.field(b"password", self._token)
            head.field(b"Content-Type", b"application/octet-stream")
        else:
            self.login = self._request(now)
            head.start(b"POST", self._authority, b"/auth")
            head.field(b"Content-Type", b"application/json")
        head.end()
        return 0

    def outcome(self, reply) -> int:
        """Judge the answer by its code (the document's tables): 20001 to 20003 want a login."""
        if reply.status != 200:
            return outcome.from_status(reply.status)
        a = reply.off
        e = a + reply.n
        at = member(reply.buf, a, e, 1, b"code")
        code = span.number(reply.buf, at, _digits_end(reply.buf, at, e)) if at >= 0 else -1
        if self.login:
            return self._logged_in(reply.buf, a, e) if code == 0 else outcome.RETRY
        if code == 0:
            return outcome.ACCEPTED
        if 20001 <= code <= 20003:
            self._token = b""
            return outcome.REAUTH
        return outcome.REJECTED if code == 10001 else outcome.RETRY

    def _logged_in(self, buf, a, e):
        at = member(buf, a, e, 2, b"token") + 1
        end = buf.find(b'"', at, e) if at > 0 else -1
        if end <= at or not span.is_text(buf, at, end):
            return outcome.RETRY
        self._token = bytes(buf[at:end])
        return outcome.ACCEPTED

    def _request(self, now):
        """The body of a login. timestamp may be left out, and is where no clock is set."""
        fields = {"version": "default", "signmethod": self._method}
        content = ""
        fields["clientId"], fields["deviceName"], fields["productKey"] = self._ids
        if now:
            fields["timestamp"] = "%d000" % now
        for name in ("clientId", "deviceName", "productKey", "timestamp"):
            content += name + fields[name] if name in fields else ""
        mac = self._hmac.digest(content.encode())
        text = bytearray(2 * len(mac))
        sign.put_hex(mac, text, 0)
        fields["sign"] = text.decode()
        return json.dumps(fields).encode()


def member(buf, a: int, e: int, depth: int, name: bytes) -> int:
    """Where in the JSON of a..e the value of the first such member stands, objects deep; or -1."""
    level = 0
    while a < e:
        c = buf[a]
        if c == 34:
            start = a + 1
            a = _string_end(buf, start, e)
            if level == depth and a - start == len(name) and buf.find(name, start, a) == start:
                at = _skip(buf, a + 1, e)
                if at < e and buf[at] == 58:
                    return _skip(buf, at + 1, e)
        elif c == 123 or c == 91:
            level += 1
        elif c == 125 or c == 93:
            level -= 1
        a += 1
    return -1


def _string_end(buf, a, e):
    while a < e and buf[a] != 34:
        a += 2 if buf[a] == 92 else 1
    return a


def _skip(buf, a, e):
    while a < e and buf[a] <= 32:
        a += 1
    return a


def _digits_end(buf, a, e):
    while a < e and 48 <= buf[a] <= 57:
        a += 1
    return a


CLOUD = Aliyun
