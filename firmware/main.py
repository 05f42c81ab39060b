"""The application: measure, queue, forward. Wired here; what is not imported is not in RAM.

Settings are read from config.json; certificates are DER files beside it:

    cloud, settings              a module of onebuf.cloud, and what its class takes, by name
    address                      connect there instead of to the cloud's host (an emulated cloud)
    ca, cert, key                file names; cert and key only where the cloud wants a certificate,
                                 cert a list where it wants the whole chain, the device's first
    alpn                         a protocol to offer, where the runtime can (AWS IoT on port 443)
    tls                          false: in plain text, which the cloud has to allow as well
    buffer                       octets of the one buffer, 1024
    queue                        what FlashQueue takes, {"folder": "queue"}; without it 2 KB of RAM
    clock                        what Clock takes: {} for pool.ntp.org; SAS and SigV4 need the time
    dps                          Azure: what DPS takes, or group_key instead of key; and port
    period_ms, readings          how often and how many; 0 readings: for ever
    heap_lock                    forward with the heap locked, which shows that nothing allocates
"""

import gc

gc.threshold(512)  # so that what is imported lies close together: it saves 4 KB of heap
import json
import sys
import time

import machine
import micropython
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.port.micropython import Transport, random16, tls_context
from onebuf.queue import Queue
from onebuf.uplink import Uplink

_ENOMEM = -12
_PATIENCE = 8  # attempts, with backoff some ten minutes
ASSIGNMENT = "azure.json"  # the hub that Azure's provisioning service assigned


def read(name):
    with open(name, "rb") as file:
        return file.read()


def wire(config):
    """The application's wiring; what is large comes first, while the heap is in one piece."""
    if "dps" in config and not config.get("tls", True):
        raise ValueError("tls: provisioning wants it")
    queue = make_queue(config)
    buf = bytearray(config.get("buffer", 1024))
    clock = make_clock(config["clock"]) if "clock" in config else None
    transport = make_transport(config)
    cloud = make_cloud(config, assignment(config, transport, buf, clock))
    client = Client(transport, buf, cloud.host, cloud.port)
    return Uplink(client, cloud, queue, Backoff(1000, 300_000), random16, clock)


def make_queue(config):
    """The readings wait in RAM, or on flash, where a reset and a power cut leave them."""
    if "queue" in config:
        return load("onebuf.flash_queue").FlashQueue(**config["queue"])
    return Queue(2048)


def make_cloud(config, assigned):
    """The cloud of the settings; assigned: what provisioning adds to them."""
    settings = dict(config["settings"])
    settings.update(assigned)
    cloud = load("onebuf.cloud." + config.get("cloud", "aws")).CLOUD(**settings)
    if config.get("tls", True) != getattr(cloud, "tls", True):
        raise ValueError("tls: the cloud was told otherwise")
    if "clock" not in config and (cloud.signs or settings.get("key")):
        raise ValueError("clock: SAS and SigV4 need the time")
    return cloud


def load(name):
    """The module of that name: no other is imported."""
    __import__(name)
    return sys.modules[name]


def make_transport(config):
    if not config.get("tls", True):
        return Transport(None, config.get("address", ""))
    cert = key = None
    if "key" in config:
        names = config["cert"]
        cert = [read(name) for name in ([names] if isinstance(names, str) else names)]
        key = read(config["key"])
    context = tls_context(read(config["ca"]), cert, key, alpn=config.get("alpn"))
    return Transport(context, config.get("address", ""))


def make_clock(settings):
    """The clock, set: TLS compares certificates with the board's time, which begins in 2000."""
    from onebuf.clock import Clock

    rtc = getattr(machine, "RTC", None)
    clock = Clock(rtc() if rtc else None, **settings)
    print("clock ->", clock.sync())
    forget("onebuf.sntp")
    return clock


def assignment(config, transport, buf, clock):
    """Hub and device ID, from the file or else from Azure's provisioning service."""
    if "dps" not in config:
        return {}
    found = load("onebuf.provision.azure_dps").load(ASSIGNMENT)
    backoff = Backoff(2000, 300_000)
    while not found:
        found = provision(config, transport, buf, clock)
        if not found:
            transport.sleep_ms(backoff.next_ms(random16()))
    forget("onebuf.provision")
    return found


def provision(config, transport, buf, clock):
    """Ask the service once, and keep its answer in the file: that; or None, and why is printed."""
    dps = load("onebuf.provision.azure_dps")
    given = dict(config["dps"])
    client = Client(transport, buf, dps.HOST, given.pop("port", 443))
    if "group_key" in given:
        given["key"] = dps.derived_key(given.pop("group_key"), given["registration_id"])
    try:
        found = dps.DPS(client, clock=clock, **given).register()
        make_cloud(config, found)  # refuses what it cannot work with
        if found != dps.load(ASSIGNMENT):
            dps.save(ASSIGNMENT, found)
        return found
    except (dps.ProvisioningError, ValueError) as error:
        print("provisioning:", error)
    finally:
        client.close()


def forget(package):
    """Drop a package that has done its work: its RAM is free again."""
    for name in list(sys.modules):
        if name == package or name.startswith(package + "."):
            del sys.modules[name]
    parent, _, child = package.rpartition(".")
    if hasattr(sys.modules[parent], child):
        delattr(sys.modules[parent], child)
    gc.collect()


def measure(n):
    """One reading. Put your sensor here."""
    return b'{"seq":%d,"ticks_ms":%d}' % (n, time.ticks_ms())


def forward(uplink, lock):
    """Send what is queued. Returns how long it took in microseconds, and the heap in bytes."""
    before = gc.mem_alloc()
    start = time.ticks_us()
    if lock:
        micropython.heap_lock()
    try:
        uplink.forward()
    finally:
        if lock:
            micropython.heap_unlock()
    us = time.ticks_diff(time.ticks_us(), start)
    return us, gc.mem_alloc() - before


def run(uplink, config):
    """Take a reading every period_ms, publish it, or keep it while the cloud bids to wait."""
    readings = config.get("readings", 0)
    times = []
    heap = n = 0
    due = time.ticks_ms()
    while not readings or n < readings:
        payload = measure(n)
        uplink.queue.push(payload)
        n += 1
        outcome = "kept"
        if time.ticks_diff(time.ticks_ms(), due) >= 0:
            us, octets, outcome = attempt(uplink, config)
            if us:
                times.append(us)
            heap += octets
            due = time.ticks_add(time.ticks_ms(), uplink.wait_ms)
        print(str(payload, "utf-8"), outcome + ",", len(uplink.queue), "queued")
        if not readings:
            times.clear()
        uplink.client.transport.sleep_ms(config.get("period_ms", 60_000))
    return times, heap  # microseconds of each publish, bytes that all of them took


def attempt(uplink, config):
    """Connect, and send what is queued: microseconds, bytes of heap, and the result in words.

    With the heap locked a record that has to be signed, or a connection that the cloud closes
    after each, lets only one through at a time: then the next one is -ENOMEM.
    """
    us = heap = 0
    if "dps" in config and lost(uplink):
        move(uplink, config)
    accepted = -1
    while accepted < 0 or (uplink.result == _ENOMEM and accepted < uplink.accepted):
        accepted = uplink.accepted
        r = uplink.connect()
        if r < 0:
            return us, heap, "-> %d" % r
        us, octets = forward(uplink, config.get("heap_lock", False))
        heap += octets
    return us, heap, "-> %d in %d us" % (uplink.result, us)


def lost(uplink):
    """Whether the hub does not know the device any more, or has not been heard of for long."""
    return uplink.cloud.gone or (uplink.result < 0 and uplink.backoff.done > _PATIENCE)


def move(uplink, config):
    """The hub does not know the device any more: ask which one does, and go on there."""
    client = uplink.client
    client.close()
    assigned = provision(config, client.transport, client.buf, uplink.clock)
    forget("onebuf.provision")
    uplink.signed = False  # the buffer was another's meanwhile
    if assigned:
        uplink.cloud = make_cloud(config, assigned)
        client.host = uplink.cloud.host
        client.port = uplink.cloud.port


def main():
    with open("config.json") as file:
        config = json.load(file)
    uplink = wire(config)
    gc.collect()
    gc.threshold(-1)  # from here on next to nothing is allocated
    print("connect ->", uplink.connect())
    times, heap = run(uplink, config)
    uplink.client.close()
    summary = {
        "accepted": uplink.accepted,
        "queued": len(uplink.queue),
        "heap_bytes_per_publish": heap / max(1, len(times)),
        "median_us": sorted(times)[len(times) // 2] if times else 0,
    }
    print("summary", json.dumps(summary))


if __name__ == "__main__":
    main()
