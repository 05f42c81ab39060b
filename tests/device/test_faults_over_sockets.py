"""A fault at every call of a real transport over a real socket: no descriptor, no heap is lost."""

import gc

from loopback import Peer, Transport, highest_descriptor
from onebuf.client import Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WOULD_BLOCK = 0
SILENCE = -110
FAULTS = (WOULD_BLOCK, -104, -32, -108, SILENCE, -12, -0x7180)
NEVER = -1
_TIMEOUT_MS = 500
_GROWTH = 512  # bytes: the sweep has more exchanges than this has blocks of heap


class Faulty(Transport):
    """Goes wrong at one call, counted from 0 over connect, write, readinto and the waits."""

    def plan(self, at, result):
        self.at = at
        self.result = result
        self.calls = 0

    def strikes(self):
        self.calls += 1
        return self.calls - 1 == self.at

    def connect(self, host, port):
        return self.result if self.strikes() else Transport.connect(self, host, port)

    def write(self, buf, off, n):
        return self.result if self.strikes() else Transport.write(self, buf, off, n)

    def readinto(self, view):
        return self.result if self.strikes() else Transport.readinto(self, view)

    def wait_readable(self):
        return self.result if self.strikes() else Transport.wait_readable(self)

    def wait_writable(self):
        return self.result if self.strikes() else Transport.wait_writable(self)


def exchange(c, peer):
    """One request on a connection of its own to peer, which answers as soon as there is one."""
    c.port = peer.port
    c.start(b"x", timeout_ms=_TIMEOUT_MS)
    r = 0
    while r == 0:
        connects = c.connects
        r = c.poll()
        if c.connects > connects:
            peer.accept()
            peer.send(OK)
        if r == 0:
            r = c.wait()
    c.close()
    peer.close()
    return r


def run(at, result):
    """An exchange with that fault, and one after it: (result, result after it, calls of both)."""
    t = Faulty(None, "127.0.0.1")
    t.plan(at, result)
    c = Client(t, bytearray(128), "localhost", 0)
    c.head.start(b"POST", b"localhost", b"/")
    c.head.end()
    struck = exchange(c, Peer())
    calls = t.calls
    return struck, exchange(c, Peer()), calls


def sweep():
    """Every fault at every call; returns how many exchanges that were."""
    n = 0
    for at in range(run(NEVER, 0)[2]):
        for fault in FAULTS:
            struck, after, _ = run(at, fault)
            assert struck == 200 or struck < 0, (at, fault, struck)
            assert after == 200, (at, fault, after)
            n += 2
    return n


def held():
    highest = highest_descriptor()
    gc.collect()
    return highest, gc.mem_alloc()


def test_no_descriptor_and_no_heap_is_lost_whichever_call_goes_wrong():
    sweep()
    grown = _GROWTH
    for _ in range(3):  # the collector takes stale words on the stack for references, now and then
        if grown >= _GROWTH:
            before = held()
            assert sweep() > _GROWTH // 16
            after = held()
            assert after[0] == before[0]
            grown = after[1] - before[1]
    assert grown < _GROWTH, grown
