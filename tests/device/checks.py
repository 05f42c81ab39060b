"""The contracts of DESIGN.md section 4, each checked on whatever claims to keep it."""

from onebuf.http1 import Request, Response
from onebuf.outcome import ACCEPTED, REAUTH, REJECTED, RETRY
from script_transport import EOF, ScriptTransport

_EMSGSIZE = -90
_ESHUTDOWN = -108
_ETIMEDOUT = -110
_BOUND = 500


def raises(kind, function, *arguments):
    """Return the exception of that kind which the call must raise."""
    try:
        function(*arguments)
    except kind as error:
        return error
    raise AssertionError("nothing was raised")


def lcg(seed):
    """Return a generator of pseudo-random numbers of 16 bits, small ints on every runtime."""
    while True:
        seed = (seed * 75 + 74) % 65537
        yield seed & 0xFFFF


class ScriptedPeer:
    """A ScriptTransport with what check_transport() lets the other side do."""

    def __init__(self):
        self._events = [[], []]
        self.transport = ScriptTransport(*self._events)
        self.port = 80

    def accept(self):
        self._now = self._events.pop(0)

    def send(self, data):
        self._now.append(data)

    def received(self, n):
        return bytes(self.transport.sent)[-n:]

    def end(self):
        self._now.append(EOF)

    def close(self):
        pass


def connected(transport, port, host="localhost"):
    """Call connect() until it is done: its last result."""
    for _ in range(_BOUND):
        r = transport.connect(host, port)
        if r == 0:
            r = transport.wait_writable()
        if r:
            return r
    raise AssertionError("connect() has no end")


def read(transport, n):
    """Read n octets, or up to a negative result: (result, octets)."""
    view = memoryview(bytearray(n))
    done = bytearray()
    for _ in range(_BOUND):
        r = transport.readinto(memoryview(view)[len(done) :])
        if r > 0:
            done.extend(view[len(done) : len(done) + r])
        elif r == 0:
            r = transport.wait_readable()
        if r < 0 or len(done) == n:
            return r, bytes(done)
    raise AssertionError("readinto() has no end")


def check_transport(make):
    """make() gives a peer such as loopback.Peer, which may be connected to twice."""
    peer = make()
    t = peer.transport
    t.close()
    for _ in range(2):
        t.start(2000)
        assert connected(t, peer.port) == 1
        peer.accept()
        _check_octets(t, peer)
        _check_deadline(t)
        peer.end()
        t.start(2000)
        assert read(t, 1) == (_ESHUTDOWN, b"")
        assert read(t, 1) == (_ESHUTDOWN, b""), "the end of file was not the end"
        t.close()
        t.close()
    t.start(20)
    t.sleep_ms(1)
    peer.close()


def _check_octets(t, peer):
    view = memoryview(bytearray(4))
    assert t.readinto(view) == 0, "nothing has come yet"
    assert t.wait_writable() == 0
    assert t.write(b"0123456789", 3, 4) == 4
    assert peer.received(4) == b"3456"
    peer.send(b"hello")
    assert t.wait_readable() == 0
    assert read(t, 1)[1] + read(t, 4)[1] == b"hello"
    assert t.readinto(view) == 0


def _check_deadline(t):
    t.start(30)
    assert read(t, 1) == (_ETIMEDOUT, b"")
    assert t.readinto(memoryview(bytearray(1))) == _ETIMEDOUT
    assert t.write(b"x", 0, 1) == _ETIMEDOUT
    assert t.wait_readable() == _ETIMEDOUT
    assert t.wait_writable() == _ETIMEDOUT


def reply(octets):
    """Return the Response that octets are, complete."""
    buf = bytearray(len(octets) + 64)
    response = Response(buf)
    buf[: len(octets)] = octets
    assert response.feed(len(octets)) > 0
    return response


def status(number, fields=b"", content=b""):
    head = b"HTTP/1.1 %d Any\r\n%sContent-Length: %d\r\n\r\n" % (number, fields, len(content))
    return reply(head + content)


def check_cloud(cloud, content=b""):
    """A cloud writes whole heads, gives one of four outcomes for anything, and does no more.

    content: of an answer to a publish that was taken.
    """
    assert isinstance(cloud.host, str) and cloud.host
    assert 0 < cloud.port < 65536 and cloud.max_payload > 0
    for now in (0, 1736944496):
        _check_head(cloud, now)
    raises(ValueError, cloud.refresh, Request(bytearray(20)), 0)
    for number in range(200, 600):
        outcome = cloud.outcome(status(number, b"", content))
        assert outcome in (ACCEPTED, RETRY, REAUTH, REJECTED)
        taken = number < 300 and not (number == 204 and content)  # which has no room for any
        assert (outcome == ACCEPTED) == taken, number
        assert number < 500 or outcome == RETRY
    rubbish = b"HTTP/1.1 403 \xff\r\nx-amzn-errortype: \xff\xfe\r\nConnection: close\r\n"
    assert cloud.outcome(reply(rubbish + b"Content-Length: 2\r\n\r\n{\xff")) != ACCEPTED


def _check_head(cloud, now):
    head = Request(bytearray(1024))
    seconds = cloud.refresh(head, now)
    assert seconds >= 0
    octets = bytes(head.buf[: head.n])
    assert octets.endswith(b"\r\n\r\n") and octets.find(b"\r\n\r\n") == head.n - 4
    assert octets.find(b"\r\nHost: " + cloud.host.encode()) > 0
    head.length(7)
    assert cloud.refresh(head, now) == seconds
    assert octets == bytes(head.buf[: head.n]), "a second refresh writes another head"


def check_queue(make):
    """make(size) gives an empty queue with room for size octets, lengths included."""
    q = make(64)
    window = memoryview(bytearray(40))
    assert len(q) == 0 and q.dropped == 0
    records = (b"first", bytearray(b""), memoryview(b"xthirdx")[1:6])
    for n in range(len(records)):
        assert q.push(records[n]) is True
        assert len(q) == n + 1
    first = q.first
    for data in records:
        for _ in range(2):
            assert q.peek(window) == len(data) and bytes(window[: len(data)]) == bytes(data)
            assert q.first == first, "peek() removes nothing"
        q.pop()
        assert q.first != first
        first = q.first
    assert len(q) == 0
    _check_limits(q, window)


def _check_limits(q, window):
    assert q.push(bytes(65)) is False and len(q) == 0 and q.dropped == 0
    assert q.push(b"twenty octets of it.")
    assert q.peek(window[:19]) == _EMSGSIZE
    assert len(q) == 1 and q.peek(window[:20]) == 20
    kept = 0
    for n in range(50):
        before = len(q) + q.dropped
        accepted = q.push(b"%02d" % n)
        kept += accepted
        assert len(q) + q.dropped == before + accepted
    assert len(q) + q.dropped == 1 + kept
    for _ in range(len(q)):
        q.pop()
    assert len(q) == 0
