"""What CircuitPython's port takes of the heap, measured on MicroPython over a socket pool.

CircuitPython cannot lock its heap; so the port says how much each publish takes, and this is it.
"""

import gc
import sys

from checks import connected
from fixed_transport import locked
from loopback import Peer
from onebuf.port.circuitpython import Transport
from socketpool import SocketPool

WORDS = 1 if sys.maxsize < 1 << 32 else 2  # of 32 bits
PUBLISHES = 50
BODY = b"0123456789" * 10
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def opened():
    peer = Peer()
    peer.transport = Transport(SocketPool(), None, "127.0.0.1")
    peer.transport.start(5000)
    assert connected(peer.transport, peer.port) == 1
    peer.accept()
    return peer


def publish(peer, view, taken, n):
    """What Client does for one publish of n octets: once more or less than for the last."""
    t = peer.transport
    t.start(1000)
    assert t.readinto(view) == 0, "the kept connection is looked at first"
    assert t.write(BODY, 0, n) == n
    assert peer.sock.readinto(taken, n) == n
    assert peer.sock.write(OK) == len(OK)
    assert t.wait_readable() == 0
    assert t.readinto(view) == len(OK)


def taken_by(function):
    """Octets of heap that a call takes, without collecting."""
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    function()
    octets = gc.mem_alloc() - before
    gc.enable()
    return octets


def _publishes(peer, view, taken, lengths):
    for i in range(PUBLISHES):
        publish(peer, view, taken, lengths[i % len(lengths)])


def test_publishes_of_the_same_length_take_no_heap():
    peer = opened()
    view, taken = memoryview(bytearray(100)), bytearray(100)
    lengths = (50,)
    publish(peer, view, taken, 50)
    locked(lambda: _publishes(peer, view, taken, lengths))
    peer.close()


def test_a_publish_of_another_length_takes_at_most_three_blocks():
    peer = opened()
    view, taken = memoryview(bytearray(100)), bytearray(100)
    lengths = (50, 51)
    octets = taken_by(lambda: _publishes(peer, view, taken, lengths))
    assert 0 < octets <= 48 * WORDS * PUBLISHES  # MicroPython 1.26 takes 32
    peer.close()


def _silence(t, view, waits):
    t.start(5000)
    for _ in range(waits):
        assert t.wait_readable() == 0
        assert t.readinto(view) == 0


def test_a_second_of_waiting_takes_one_exception():
    peer = opened()
    view = memoryview(bytearray(10))
    octets = taken_by(lambda: _silence(peer.transport, view, 2))
    assert 0 < octets <= 112 * WORDS * 2  # MicroPython 1.26 takes 80
    peer.close()
