"""A connected transport takes no heap, also when a socket says that something is wrong."""

import time

from checks import connected
from fixed_transport import locked
from loopback import Peer
from onebuf.client import Client

_EIO = -5
_EPIPE = -32
_ECONNRESET = -104
_ESHUTDOWN = -108
_ETIMEDOUT = -110
BODY = b"reading"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def opened():
    peer = Peer()
    peer.transport.start(5000)
    assert connected(peer.transport, peer.port) == 1
    peer.accept()
    return peer


def _exchange(peer, view, taken):
    t = peer.transport
    for _ in range(50):
        t.start(1000)
        assert t.readinto(view) == 0
        assert t.wait_writable() == 0
        assert t.write(BODY, 1, 4) == 4
        assert peer.sock.readinto(taken) == 4
        assert peer.sock.write(OK) == len(OK)
        assert t.wait_readable() == 0
        assert t.readinto(view) == len(OK)


def test_writing_waiting_and_reading_take_no_heap():
    peer = opened()
    view, taken = memoryview(bytearray(100)), bytearray(4)
    locked(lambda: _exchange(peer, view, taken))
    peer.close()


def _expect(t, view, first, second):
    r = t.readinto(view)
    assert r == first or r == second
    r = t.write(BODY, 0, 1)
    assert r < 0 or r == 1


def _reset(peer):
    peer.transport.write(b"unread", 0, 6)
    time.sleep_ms(20)
    peer.end()
    time.sleep_ms(20)


def test_a_reset_under_the_lock_is_an_int_and_no_exception():
    peer = opened()
    _reset(peer)
    # the runtime raises its OSError without a number when it has no heap for it
    t, view = peer.transport, memoryview(bytearray(10))
    locked(lambda: _expect(t, view, _ECONNRESET, _EIO))
    peer.close()


def _silence(t, view):
    t.start(30)
    r = 0
    while r == 0:
        r = t.wait_readable()
    assert r == _ETIMEDOUT
    assert t.readinto(view) == _ETIMEDOUT
    assert t.write(BODY, 0, 1) == _ETIMEDOUT


def test_silence_takes_no_heap():
    peer = opened()
    t, view = peer.transport, memoryview(bytearray(10))
    locked(lambda: _silence(t, view))
    peer.close()


def _ended(t, view):
    for _ in range(3):
        assert t.readinto(view) == _ESHUTDOWN


def test_the_end_of_file_takes_no_heap():
    peer = opened()
    peer.end()
    time.sleep_ms(20)
    t, view = peer.transport, memoryview(bytearray(10))
    locked(lambda: _ended(t, view))
    peer.close()


def _close(t):
    t.close()
    t.close()


def test_closing_takes_no_heap():
    peer = opened()
    locked(lambda: _close(peer.transport))
    peer.close()


def _request(c):
    assert c.request(BODY, 0, 7, 1000) < 0
    assert c.request(BODY, 0, 7, 1000) < 0  # to connect takes heap, which is an int as well


def test_a_client_gets_ints_when_its_connection_is_reset_under_the_lock():
    peer = opened()
    c = Client(peer.transport, bytearray(200), "localhost", peer.port)
    c.head.start(b"POST", b"localhost", b"/")
    c.head.end()
    c.window()
    peer.transport.close()
    assert c.connect(1000) == 0
    peer.accept()
    _reset(peer)
    locked(lambda: _request(c))
    assert c.request(BODY, 0, 7, 10) == _ETIMEDOUT, "it heals once there is heap again"
    c.close()
    peer.close()
