"""Publishes 1,000 records over one TLS connection with the heap locked, and checks each reply.

It says a line of JSON and waits for one on stdin, before and after: the test counts meanwhile.
"""

import gc
import json
import os
import sys

import main
import micropython

PUBLISHES = 1000


def number(payload, n):
    """Write n as the last four digits of payload, without taking memory."""
    for at in range(len(payload) - 2, len(payload) - 6, -1):
        payload[at] = 48 + n % 10
        n //= 10


def good(response):
    """Whether the reply is AWS IoT's to a publish that it took."""
    at = response.buf.find(b'{"message":"OK"', response.off, response.off + response.n)
    return response.status == 200 and at == response.off


def publish(uplink, payload, publishes):
    """How many of the replies were good."""
    replies = 0
    for n in range(publishes):
        number(payload, n)
        uplink.queue.push(payload)
        if uplink.forward() == 1 and uplink.result == 200 and good(uplink.client.response):
            replies += 1
    return replies


def locked(uplink, payload):
    """publish() with the heap locked: good replies, octets of heap that it took."""
    gc.collect()
    before = gc.mem_alloc()
    micropython.heap_lock()
    try:
        replies = publish(uplink, payload, PUBLISHES)
    finally:
        micropython.heap_unlock()
    return replies, gc.mem_alloc() - before


def say(**words):
    words["descriptors"] = len(os.listdir("/dev/fd"))
    print(json.dumps(words))
    sys.stdin.readline()


def run():
    with open("config.json") as file:
        uplink = main.wire(json.load(file))
    payload = bytearray(b'{"seq":0000}')
    say(connect=uplink.connect())
    replies, heap = locked(uplink, payload)
    c = uplink.client
    say(replies=replies, heap=heap, connects=c.connects, resends=c.resends, requests=c.requests)
    c.close()


run()
