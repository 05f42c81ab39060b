"""A Client over an adafruit_requests Session, for radios without socket pools of the usual kind.

That is what ESP32SPI leaves: the co-processor does TLS. It publishes, and its outcomes, queue and
backoff are the usual ones. What is lost:

    heap      5 KB of garbage for each publish
    deadline  the Session applies timeout_ms to each step, and tries twice; forward()'s budget_ms
              is not kept
    doubles   it tries again after a read timeout too: then the record arrives twice
    poll()    there is only request(), which waits; nothing feeds a watchdog meanwhile
"""

import errno

from micropython import const

from onebuf.http1 import Request, Response

_EIO = const(-5)
_EMSGSIZE = const(-90)
_ETIMEDOUT = const(-110)
_LONGEST_MS = const(0x0FFFFFFF)


class Client:
    """What Uplink, Publisher and the clouds use of onebuf.client.Client, which see.

    session: an adafruit_requests.Session. It is its own transport.
    """

    def __init__(self, session, buf: bytearray, host: str, port: int, secure: bool = True):
        self.transport = self
        self.buf = buf
        self.host = host
        self.port = port
        self.head = Request(buf)
        self.response = Response(buf)
        self.room = memoryview(buf)
        self._session = session
        self._url = "%s://%s:%d" % ("https" if secure else "http", host, port)

    def window(self):
        if len(self.room) + self.head.n != len(self.buf):
            self.room = memoryview(self.buf)[self.head.n :]
        return self.room

    def poll(self) -> int:
        """1: the connection is the Session's business."""
        return 1

    def close(self):
        pass

    def within(self, ms=None):
        """There is no bound: what is left is three days."""
        return _LONGEST_MS

    def request(self, body=None, off=0, n=-1, timeout_ms=30000, sink=None) -> int:
        if n < 0:
            n = len(body) - off if body is not None else 0
        room = self.window()
        data = bytes(room[:n] if body is None else memoryview(body)[off : off + n])
        method, path, fields = _parsed(bytes(self.buf[: self.head.n]))
        self.response.start(self.head.n, method == "HEAD", sink)
        try:
            timeout = timeout_ms / 1000
            octets = self._ask(method, path, data=data, headers=fields, timeout=timeout)
        except Exception as e:  # OutOfRetries is of no kind
            n = abs(getattr(e, "errno", None) or _EIO)
            return _ETIMEDOUT if n == errno.ETIMEDOUT else -n
        n = min(len(octets), len(room))
        room[:n] = octets[:n]
        return self.response.feed(n) or _EMSGSIZE

    def _ask(self, method, path, **options):
        url = self._url + path
        reply = self._session.request(method, url, allow_redirects=False, **options)
        try:
            return _octets(reply)
        finally:
            reply.close()


def _parsed(head):
    """Method, path and fields of a head; the Session makes two of the fields itself."""
    lines = str(head, "utf-8").split("\r\n")
    method, path, _ = lines[0].split(" ")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name and name.lower() not in ("host", "content-length"):
            fields[name] = value.strip()
    return method, path, fields


def _octets(reply):
    """The response as it would have come, but whole: so it is judged as any other."""
    content = reply.content
    head = "HTTP/1.1 %d -\r\n" % reply.status_code
    for name in reply.headers:
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            head += "%s: %s\r\n" % (name, reply.headers[name])
    return ("%sContent-Length: %d\r\n\r\n" % (head, len(content))).encode() + content
