"""Alibaba Cloud IoT Platform: publish over HTTPS ("Establish communication over HTTPS").

POST /auth gives a token, POST /topic/{topic} wants it. The code in the answer's content decides,
not its status.
"""

import json
from binascii import hexlify

from micropython import const

from onebuf import outcome, scan, sign, span

_TOKEN = const(192)  # octets: what the platform's C SDK takes


class Aliyun:
    max_payload = 131072  # octets
    signs = False
    login = None
    _token = b""

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

        The client's buffer has to hold the answers, 300 octets, behind the head: of one that is
        cut off the beginning is judged, and where that has no code the record is sent again.

        signmethod: hmacmd5, hmacsha1 or hmacsha256. ValueError: what the platform would refuse.
        """
        client_id = client_id or product_key + "." + device_name
        good = product_key and device_name and device_secret and len(client_id) <= 64
        for c in topic.encode():
            if not 32 < c < 127 or c in b"?#%+":
                good = False
        if not good or topic[:1] != "/" or "//" in topic + "/" or signmethod[:4] != "hmac":
            raise ValueError("client_id: 1 to 64 characters; topic: /a/b without ?#%+; signmethod")
        self.host = host
        self.port = port
        self._authority = span.authority(host, port)
        self._path = b"/topic" + topic.encode()
        self._ids = {"clientId": client_id, "deviceName": device_name, "productKey": product_key}
        self._method = signmethod
        self._hmac = sign.HMAC(signmethod[4:], device_secret.encode())

    def refresh(self, head, now: int) -> int:
        """Write the head of a publish, or of the login where there is no token; good for ever.

        The token's life is not documented: its end shows in the answer to a publish.
        """
        token = self._token
        self.login = None if token else self._request(now)
        head.start(b"POST", self._authority, self._path if token else b"/auth")
        if token:
            head.field(b"password", token)
        head.field(b"Content-Type", b"application/octet-stream" if token else b"application/json")
        head.end()
        return 0

    def outcome(self, reply) -> int:
        """Judge the answer by its code (the document's tables); without one, by its status.

        20001 to 20003 want a login; 10001 is the caller's mistake; any other is "not now".
        """
        buf = reply.buf
        a = reply.off
        e = a + reply.n
        at = member(buf, a, e, b'"code"')
        end = span.token_end(buf, at, e) if at >= 0 else e
        code = scan.number(buf, at, end) if end < e else -1
        if code > 0:
            reply.status = code
        elif reply.status >= 300:  # not the platform, but what stands before it
            return outcome.REJECTED if reply.status == 413 else outcome.RETRY
        if code == 0:
            at = member(buf, a, e, b'"info"')
            return self._logged_in(buf, at, e) if self.login else outcome.ACCEPTED
        if 20001 <= code <= 20003:
            self._token = b""
            return outcome.REAUTH
        return outcome.REJECTED if code == 10001 else outcome.RETRY

    def _logged_in(self, buf, at, e):
        at = member(buf, at, e, b'"token"') + 1
        end = buf.find(b'"', at, e) if at > 0 and buf[at - 1] == 34 else -1
        if not at < end <= at + _TOKEN or not span.is_text(buf, at, end):
            return outcome.RETRY
        if buf.find(b"\\", at, end) >= 0:
            return outcome.RETRY
        self._token = bytes(buf[at:end])
        return outcome.ACCEPTED

    def _request(self, now):
        """The body of a login. timestamp, milliseconds, is left out where no clock is set."""
        fields = self._ids.copy()
        if now:
            fields["timestamp"] = "%d000" % now
        content = ""
        for name in sorted(fields):
            content += name + fields[name]
        fields["signmethod"] = self._method
        fields["sign"] = hexlify(self._hmac.digest(content.encode())).decode()
        return json.dumps(fields).encode()


def member(buf, a: int, e: int, name: bytes) -> int:
    """Where the value of name, quotes included, stands in the JSON object from a on; or -1.

    It never raises and takes no heap, whatever a..e is; a < 0 is no object.
    """
    level = 0  # objects and arrays that are open
    seen = 0  # 1: the name, 2: the colon after it
    while 0 <= a < e:
        c = buf[a]
        if c > 32:
            if seen == 2:
                return a
            seen = 2 if seen and c == 58 else 0
            if c == 34:
                seen = level == 1 and buf.find(name, a, a + len(name)) == a
                a = _string_end(buf, a + 1, e)
            level += (c | 32 == 123) - (c | 32 == 125)  # { and [, } and ]
            if level < 1:
                return -1
        a += 1
    return -1


def _string_end(buf, a, e):
    while a < e and buf[a] != 34:
        a += 2 if buf[a] == 92 else 1
    return a


CLOUD = Aliyun
