"""What the firmware relies on in its runtime, and what CPython through the shim must do alike."""

import errno
import hashlib
import random
import select
import socket
import struct
import time

from checks import raises
from micropython import const

_LIMIT = const(1 << 30)

# 2**30, but 2**62 on a 64-bit runtime.
PERIOD = time.ticks_add(0, -1) + 1


def fail(number):
    raise OSError(number)


def listener():
    """Return (listening socket, address) at a free port: MicroPython cannot ask which it got."""
    for _ in range(100):
        address = socket.getaddrinfo("127.0.0.1", 20000 + random.getrandbits(15))[0][-1]
        server = socket.socket()
        try:
            server.bind(address)
        except OSError:
            server.close()
            continue
        server.listen(1)
        return server, address
    raise AssertionError("no free port")


def pair():
    """Return two connected TCP sockets, both non-blocking."""
    server, address = listener()
    left = socket.socket()
    left.connect(address)
    right = server.accept()[0]
    server.close()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


def wait(stream, event):
    poller = select.poll()
    poller.register(stream, event)
    for _, events in poller.ipoll(2000):
        return events
    return 0


def test_a_whole_view_of_a_buffer_is_laid_into_the_same_buffer():
    buf = bytearray(b"abcdefgh0123")
    window = memoryview(buf)[8:]
    buf[2 : 2 + len(window)] = window
    assert buf == b"ab0123gh0123"


def test_a_view_is_laid_over_itself_as_if_copied_first():
    buf = bytearray(b"abcdefgh")
    window = memoryview(buf)[2:]
    buf[0 : len(window)] = window
    assert buf == b"cdefghgh"


def test_find_keeps_to_its_bounds():
    buf = bytearray(b"a\r\nb\r\nc")
    assert buf.find(b"\r\n", 2, 7) == 4
    assert buf.find(b"\r\n", 2, 5) == -1
    assert buf.find(b"\r\n", 4, 6) == 4


def test_startswith_takes_an_offset():
    assert bytearray(b"HTTP/1.1 200").startswith(b"1.1", 5)


def test_pack_into_writes_at_an_offset():
    buf = bytearray(6)
    struct.pack_into(">H", buf, 2, 258)
    assert buf == b"\0\0\1\2\0\0"


def test_a_constant_is_its_value():
    assert _LIMIT == 1073741824


def test_an_oserror_made_of_a_number_has_it_as_errno():
    number = -5
    error = raises(OSError, fail, number)
    assert error.errno == -5 and error.args[0] == -5
    assert raises(OSError, open, "no-such-file").errno == errno.ENOENT


def test_getrandbits_refuses_more_than_32_bits():
    assert 0 <= random.getrandbits(16) < 65536
    raises(ValueError, random.getrandbits, 33)


def test_a_hash_is_over_after_its_digest():
    h = hashlib.sha256(b"a")
    h.update(memoryview(b"bc")[1:])
    assert h.digest() == hashlib.sha256(b"ac").digest()
    raises(ValueError, h.update, b"d")
    raises(ValueError, h.digest)


def test_ticks_stay_below_their_period():
    assert PERIOD >= _LIMIT
    assert 0 <= time.ticks_ms() < PERIOD


def test_ticks_differences_go_round_the_wrap():
    before = PERIOD - 5
    after = time.ticks_add(before, 8)
    assert after == 3
    assert time.ticks_diff(after, before) == 8
    assert time.ticks_diff(before, after) == -8


def test_ticks_differences_are_negative_from_half_the_period_on():
    half = PERIOD // 2
    assert time.ticks_diff(half - 1, 0) == half - 1
    assert time.ticks_diff(half, 0) == -half


def test_ticks_refuse_half_the_period():
    raises(OverflowError, time.ticks_add, 0, PERIOD // 2)


def test_sleep_moves_the_ticks():
    start = time.ticks_ms()
    time.sleep_ms(20)
    assert 15 <= time.ticks_diff(time.ticks_ms(), start) < 2000


def test_reading_nothing_yet_is_none():
    left, right = pair()
    assert left.readinto(bytearray(4)) is None
    assert left.read(4) is None
    assert raises(OSError, left.recv, 4).args[0] == errno.EAGAIN
    left.close()
    right.close()


def test_readinto_returns_what_is_there_and_keeps_to_n():
    left, right = pair()
    buf = bytearray(8)
    assert left.write(b"hello") == 5
    assert wait(right, select.POLLIN) & select.POLLIN
    assert right.readinto(buf, 2) == 2
    assert right.readinto(memoryview(buf)[2:]) == 3
    assert buf == b"hello\0\0\0"
    left.close()
    right.close()


def test_write_takes_offset_and_length():
    left, right = pair()
    buf = bytearray(b"0123456789")
    assert left.write(buf, 2, 3) == 3
    assert left.write(buf, 2) == 2
    assert left.write(buf, 8, 9) == 2
    assert left.write(buf, 11, 1) == 0
    assert wait(right, select.POLLIN)
    time.sleep_ms(20)
    assert right.read(20) == b"2340189"
    left.close()
    right.close()


def test_a_full_socket_takes_a_part_and_then_none():
    left, right = pair()
    block = bytes(65536)
    for _ in range(2000):
        moved = left.write(block)
        if moved is None:
            break
        assert 0 < moved <= len(block)
    assert moved is None
    left.close()
    right.close()


def test_the_end_of_the_stream_is_zero_again_and_again():
    left, right = pair()
    left.write(b"x")
    left.close()
    assert wait(right, select.POLLIN)
    time.sleep_ms(20)
    buf = bytearray(4)
    assert right.readinto(buf) == 1
    assert right.readinto(buf) == 0
    assert right.readinto(buf) == 0
    assert right.read(4) == b""
    right.close()


def test_a_closed_socket_is_a_bad_descriptor():
    left, right = pair()
    right.close()
    left.close()
    left.close()
    assert raises(OSError, left.write, b"x").args[0] == errno.EBADF
    assert raises(OSError, left.readinto, bytearray(1)).args[0] == errno.EBADF


def test_connecting_without_waiting_is_in_progress_then_writable():
    server, address = listener()
    client = socket.socket()
    client.setblocking(False)
    assert raises(OSError, client.connect, address).args[0] == errno.EINPROGRESS
    assert wait(client, select.POLLOUT) == select.POLLOUT
    assert client.write(b"x") == 1
    client.close()
    server.close()


def test_a_refused_connection_shows_in_poll_and_in_write():
    server, address = listener()
    server.close()
    client = socket.socket()
    client.setblocking(False)
    assert raises(OSError, client.connect, address).args[0] == errno.EINPROGRESS
    assert wait(client, select.POLLOUT) & (select.POLLERR | select.POLLHUP)
    assert raises(OSError, client.write, b"x").args[0] == errno.ECONNREFUSED
    client.close()


def test_an_address_is_opaque():
    client = socket.socket()
    raises(TypeError, client.connect, ("127.0.0.1", 80))
    client.close()


def test_an_unknown_host_is_an_oserror():
    raises(OSError, socket.getaddrinfo, "no-such-host.invalid", 80)


def test_poll_gives_the_stream_and_its_events():
    left, right = pair()
    poller = select.poll()
    poller.register(left, select.POLLIN)
    assert [x for x in poller.ipoll(0)] == []
    right.write(b"x")
    found = [(stream is left, events) for stream, events in poller.ipoll(2000)]
    assert found == [(True, select.POLLIN)]
    poller.modify(left, select.POLLOUT)
    assert poller.poll(2000)[0][1] == select.POLLOUT
    poller.unregister(left)
    assert poller.poll(0) == []
    assert raises(OSError, poller.modify, left, select.POLLIN).args[0] == errno.ENOENT
    left.close()
    right.close()


def test_polling_a_closed_socket_returns_at_once():
    left, right = pair()
    poller = select.poll()
    poller.register(left, select.POLLIN)
    left.close()
    right.close()
    assert poller.poll(2000)[0][1] not in (0, select.POLLIN)


def test_a_socket_with_a_timeout_raises_etimedout():
    left, right = pair()
    left.settimeout(0.05)
    assert raises(OSError, left.readinto, bytearray(1)).args[0] == errno.ETIMEDOUT
    left.close()
    right.close()
