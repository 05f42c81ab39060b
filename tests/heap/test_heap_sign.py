"""What a signature takes of the heap, and that a signed record goes out without any."""

import gc
import struct

from fixed_transport import FixedTransport, locked
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws_authorizer import AWSAuthorizer
from onebuf.cloud.aws_sigv4 import AWSSigV4
from onebuf.http1 import Request
from onebuf.port.micropython import random16
from onebuf.queue import Queue
from onebuf.sign import HMAC, put
from onebuf.uplink import Uplink

HMAC_BUDGET = 512  # bytes of heap for one digest where a word has 32 bits
SIGN_BUDGET = 2304  # and for all that one publish with SigV4 takes
ENDPOINT = "a3qjexampleffp-ats.iot.us-west-2.amazonaws.com"
NOW = 1736944496
_ENOMEM = -12
_WORDS = struct.calcsize("P") // 4  # 2: everything that holds pointers is twice as large


class Clock:
    """A clock that is right, and takes no heap as long as nobody asks for Unix time."""

    def seconds(self):
        return 159107696

    def now(self):
        return self.seconds() + 1577836800

    def correct(self, result, reply):
        return False


def taken(function):
    """The bytes that function() takes when nothing is collected meanwhile."""
    function()
    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        function()
        return gc.mem_alloc() - before
    finally:
        gc.enable()


def test_a_signature_takes_no_more_heap_than_its_budget():
    for name in ("md5", "sha1", "sha256"):
        hmac = HMAC(name, b"k" * 32)
        octets = taken(lambda: hmac.digest(b"to be signed"))
        assert 0 < octets <= HMAC_BUDGET * _WORDS, octets


def test_a_signature_of_ten_thousand_octets_takes_as_much_as_a_short_one():
    hmac = HMAC("sha256", b"k" * 32)
    data = bytes(10000)
    assert taken(lambda: hmac.digest(data)) == taken(lambda: hmac.digest(b""))


def test_hex_and_base64_take_little_more_than_the_text():
    buf = bytearray(64)
    digest = bytes(32)
    assert taken(lambda: put(digest, buf, 0)) <= 128 * _WORDS
    assert taken(lambda: put(digest, buf, 0, True)) <= 128 * _WORDS


def test_signing_a_publish_keeps_to_its_budget():
    cloud = AWSSigV4(ENDPOINT, "device/message", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG")
    head = Request(bytearray(512))
    cloud.refresh(head, NOW)
    body = bytearray(b'{"temperature":21.5}')
    octets = taken(lambda: cloud.sign(head, body, len(body), NOW))
    assert 0 < octets <= SIGN_BUDGET * _WORDS, octets


def answer(status, fields=b""):
    return b"HTTP/1.1 %d Any\r\n%sContent-Length: 2\r\n\r\n{}" % (status, fields)


def uplink(cloud, octets):
    client = Client(FixedTransport(octets, 40), bytearray(800), cloud.host, cloud.port)
    u = Uplink(client, cloud, Queue(300), Backoff(1000, 300000), random16, Clock())
    assert u.connect() == 0
    return u


def sigv4(octets):
    return uplink(AWSSigV4(ENDPOINT, "device/message", "AKIDEXAMPLE", "secret"), octets)


def test_a_record_that_connect_signed_goes_out_with_the_heap_locked():
    counts = {200: "accepted", 400: "rejected", 403: "retries", 503: "retries"}
    for status in counts:
        u = sigv4(answer(status))
        for n in range(5):
            u.queue.push(b'{"seq":%d}' % n)
            assert u.connect() == 0
            locked(u.forward)
            assert getattr(u, counts[status]) == n + 1 and u.result == status


def test_a_record_that_nobody_signed_waits_when_the_heap_is_locked_and_is_not_lost():
    u = sigv4(answer(200))
    u.queue.push(b"one")
    u.queue.push(b"two")
    assert u.connect() == 0
    locked(u.forward)
    assert (u.accepted, len(u.queue), u.result) == (1, 1, _ENOMEM)
    assert u.connect() == 0
    locked(u.forward)
    assert (u.accepted, len(u.queue), u.result) == (2, 0, 200)


def _forward(u, times):
    for _ in range(times):
        u.queue.push(b"reading")
        u.forward()


def test_publishes_with_a_custom_authorizer_take_no_heap_whatever_the_answer():
    cloud = AWSAuthorizer(ENDPOINT, "device/message", "authorizer", "X-Token", "token", "c2ln")
    for status in (200, 400, 403, 503):
        u = uplink(cloud, answer(status, b"Date: Wed, 15 Jan 2025 12:34:56 GMT\r\n"))
        locked(lambda: _forward(u, 20))
        assert u.result == status
