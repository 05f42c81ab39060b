"""The programs that the bench runs on the device. Each is compiled; what it prints is JSON."""

from __future__ import annotations

_PUBLISH = """\
import gc
gc.threshold(512)  # what is imported lies close together, whoever's it is
import client_{client} as client

def publish(n):
    for _ in range(n):
        r = client.publish()
        if r != 200:
            raise OSError(r)

client.wire({port}, {secure})
gc.threshold(-1)
"""

# Wires and publishes, and nothing else.
PUBLISHES = _PUBLISH + "publish({publishes})\nprint(0)\n"

# Heap with the collector off, and the system's count of read() and write() calls; what reading the
# latter takes is measured too and subtracted.
COUNTS = (
    _PUBLISH
    + """\
import gc
import json

def calls():
    try:
        with open("/proc/self/io") as file:
            return [int(line.split()[1]) for line in file if line.startswith("sysc")]
    except OSError:
        return None

publish(3)
gc.collect()
gc.disable()
before = heap = 0
first = calls()
second = calls()
before = gc.mem_alloc()
publish({publishes})
heap = gc.mem_alloc() - before
third = calls()
r = w = None
if first:
    r, w = [c - b - (b - a) for a, b, c in zip(first, second, third)]
print(json.dumps([heap, r, w]))
"""
)

# Three stretches: publishes, microseconds, and seconds of the processor's time for all of them.
TIMES = (
    _PUBLISH
    + """\
import json
import time

def stretch(us):
    n = 0
    cpu = time.clock()
    start = time.ticks_us()
    while time.ticks_diff(time.ticks_us(), start) < us:
        publish(10)
        n += 10
    return [n, time.ticks_diff(time.ticks_us(), start), time.clock() - cpu]

publish(5)
print(json.dumps([stretch({us}) for _ in range(3)]))
"""
)

# The collector's own report of the heap, before and after.
FRAGMENTS = (
    _PUBLISH
    + """\
import gc
import micropython

publish(10)
gc.collect()
micropython.mem_info()
publish({publishes})
gc.collect()
micropython.mem_info()
"""
)

# Publishes with a reconnect now and then; between, what must not change: octets of heap in use,
# the heap's report (its largest free block), file descriptors.
SOAK = (
    _PUBLISH
    + """\
import gc
import micropython
import os

def wipe(depth):
    # Overwrites what earlier calls left on the C stack: the collector takes it for references.
    return depth and 1 + wipe(depth - 1)

def sample():
    wipe(20)
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    gc.collect()
    print("sample", descriptors, gc.mem_alloc())
    micropython.mem_info()

def reconnect():
    client.uplink.client.close()
    gc.collect()  # else old and new connections take turns in two places
    client.uplink.connect()

for _ in range(3):  # until the heap is laid out as it stays
    publish(10)
    gc.collect()
    reconnect()
for _ in range({samples}):
    sample()
    micropython.heap_lock()
    try:
        publish({publishes})
    finally:
        micropython.heap_unlock()
    reconnect()
sample()
print("connects", client.uplink.client.connects, "accepted", client.uplink.accepted)
"""
)

VERSION = """\
import json, sys, tls
version = "%d.%d.%d" % tuple(sys.implementation.version[:3])
print(json.dumps([version, getattr(tls, "MBEDTLS_VERSION", "")]))
"""
