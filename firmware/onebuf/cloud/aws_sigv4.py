"""AWS IoT Core with an access key: Signature Version 4, on port 443 (General Reference, "SigV4").

The signature covers the body and the time, so each publish is signed: uplink.connect() does that
for the oldest record, because hashes take heap. The clock has to be right within five minutes.
"""

from binascii import hexlify

from onebuf import sign
from onebuf.cloud import aws


class AWSSigV4(aws.AWS):
    signs = True

    def __init__(
        self, endpoint, topic, access_key, secret_key, session_token="", qos=1, region="", port=443
    ):
        """region: as in the endpoint, unless given. ValueError: what AWS IoT would refuse."""
        super().__init__(endpoint, topic, qos, port)
        region = region or endpoint.partition(".iot.")[2].partition(".")[0]
        if not region or not access_key:
            raise ValueError("region, which this endpoint does not name, and access_key")
        self._region = region.encode()
        self._key_id = access_key.encode()
        self._secret = secret_key.encode()
        self._token = session_token.encode()
        self._day = b""  # of the signing key, which is made when the day is known

    def start(self, head, method, path, now):
        """As of AWS; what depends on time and body is zeros until sign() fills it in."""
        super().start(head, method, path, now)
        signed = b"host;x-amz-date"
        head.field(b"X-Amz-Date", b"0" * 16)
        if self._token:
            signed += b";x-amz-security-token"
            head.field(b"X-Amz-Security-Token", self._token)
        head.field(
            b"Authorization",
            b"AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%064d"
            % (self._key_id, self._scope(b"00000000"), signed, 0),
        )
        path, _, query = path.partition(b"?")  # of one parameter at most: it is in order
        # The path is signed escaped once more than it is sent, and % alone is left to escape.
        self._request = (method, path.replace(b"%", b"%25"), query, signed)

    def sign(self, head, buf, n, now):
        """Sign the request whose head is written, and whose body is buf[:n]."""
        date = stamp(now)
        day = date[:8]
        method, path, query, signed = self._request
        text = b"%s\n%s\n%s\nhost:%s\nx-amz-date:%s\n" % (
            method,
            path,
            query,
            self._authority,
            date,
        )
        if self._token:
            text += b"x-amz-security-token:%s\n" % self._token
        text += b"\n%s\n%s" % (signed, _digest(memoryview(buf)[:n]))
        text = b"AWS4-HMAC-SHA256\n%s\n%s\n%s" % (date, self._scope(day), _digest(text))
        if day != self._day:
            self._make_key(day)
        octets = head.buf
        at = octets.find(b"\r\nX-Amz-Date: ") + 14
        octets[at : at + 16] = date
        at = octets.find(b"\r\nAuthorization: ", at) + 46 + len(self._key_id)
        octets[at : at + 8] = day
        at = octets.find(b"Signature=", at) + 10
        sign.put(self._hmac.digest(text), octets, at)

    def _scope(self, day):
        return b"%s/%s/iotdata/aws4_request" % (day, self._region)

    def _make_key(self, day):
        """The day's key: an HMAC of each part of the scope, keyed with the one before."""
        key = b"AWS4" + self._secret
        for part in self._scope(day).split(b"/"):
            key = sign.HMAC("sha256", key).digest(part)
        self._hmac = sign.HMAC("sha256", key)
        self._day = day


def _digest(data):
    return hexlify(sign.hasher("sha256")(data).digest())


def stamp(now: int) -> bytes:
    """Unix time as YYYYMMDDTHHMMSSZ, without the runtime's calendar, whose epoch varies."""
    days = now // 86400
    s = now % 86400
    days += 719468  # from 0000-03-01: a year that begins in March ends with its leap day
    era = days // 146097
    day = days % 146097
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month += 3 if month < 10 else -9
    year += 400 * era + (month < 3)
    return b"%04d%02d%02dT%02d%02d%02dZ" % (year, month, day, s // 3600, s // 60 % 60, s % 60)


CLOUD = AWSSigV4
