"""The application: measure, queue, forward. Wired here; what is not imported is not in RAM.

Settings are read from config.json; certificates are DER files beside it:

    endpoint, topic, qos, port   as AWS IoT names them
    address                      connect there instead of to endpoint (an emulated cloud)
    ca, cert, key                file names
    period_ms, readings          how often and how many; 0 readings: for ever
    heap_lock                    forward with the heap locked, which shows that nothing allocates
"""

import gc
import json
import time

import micropython
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.micropython import Transport, random16, tls_context
from onebuf.queue import Queue
from onebuf.uplink import Uplink


def read(name):
    with open(name, "rb") as file:
        return file.read()


def wire(config):
    """The application's wiring; what is large comes first, while the heap is in one piece."""
    queue = Queue(2048)
    buf = bytearray(1024)
    context = tls_context(read(config["ca"]), read(config["cert"]), read(config["key"]))
    transport = Transport(context, config.get("address", ""))
    cloud = AWS(
        config["endpoint"], config["topic"], config.get("qos", 1), config.get("port", 8443)
    )
    client = Client(transport, buf, cloud.host, cloud.port)
    return Uplink(client, cloud, queue, Backoff(1000, 300_000), random16)


def measure(n):
    """One reading. Put your sensor here."""
    return b'{"seq":%d,"ticks_ms":%d}' % (n, time.ticks_ms())


def forward(uplink, lock):
    """Send what is queued. Returns how long it took in microseconds."""
    start = time.ticks_us()
    if lock:
        micropython.heap_lock()
    try:
        uplink.forward()
    finally:
        if lock:
            micropython.heap_unlock()
    return time.ticks_diff(time.ticks_us(), start)


def run(uplink, readings, period_ms, lock):
    """Take a reading every period_ms, publish it, or keep it while the cloud bids to wait."""
    times = []
    heap = n = 0
    due = time.ticks_ms()
    while not readings or n < readings:
        payload = measure(n)
        uplink.queue.push(payload)
        n += 1
        if time.ticks_diff(time.ticks_ms(), due) >= 0:
            if lock and (uplink.result < 0 or not uplink.client.response.keep_alive):
                uplink.connect()  # which allocates
            before = gc.mem_alloc()
            us = forward(uplink, lock)
            heap += gc.mem_alloc() - before
            times.append(us)
            due = time.ticks_add(time.ticks_ms(), uplink.wait_ms)
            print(str(payload, "utf-8"), "->", uplink.result, "in", us, "us")
        else:
            print(str(payload, "utf-8"), "kept,", len(uplink.queue), "queued")
        if not readings:
            times.clear()
        uplink.client.transport.sleep_ms(period_ms)
    return times, heap  # microseconds of each publish, bytes that all of them took


def main():
    with open("config.json") as file:
        config = json.load(file)
    uplink = wire(config)
    gc.collect()
    print("connect ->", uplink.connect())
    times, heap = run(
        uplink,
        config.get("readings", 0),
        config.get("period_ms", 60_000),
        config.get("heap_lock", False),
    )
    uplink.client.close()
    summary = {
        "accepted": uplink.accepted,
        "queued": len(uplink.queue),
        "heap_bytes_per_publish": heap / len(times),
        "median_us": sorted(times)[len(times) // 2],
    }
    print("summary", json.dumps(summary))


if __name__ == "__main__":
    main()
