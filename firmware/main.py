"""The application: measure, queue, forward. Wired here; what is not imported is not in RAM.

Settings are read from config.json, and a mistake in it is told in one line; certificates are DER
files beside it:

    cloud, settings              a module of onebuf.cloud, and what its class takes, by name
    address                      connect there instead of to the cloud's host (an emulated cloud)
    ca, cert, key                file names; cert and key only where the cloud wants a certificate,
                                 cert a list where it wants the whole chain, the device's first
    alpn                         a protocol to offer, where the runtime can (AWS IoT on port 443)
    tls                          false: in plain text, which the cloud has to allow as well
    buffer                       octets of the one buffer, 1024
    queue                        what FlashQueue takes, {"folder": "queue"}; without it 2 KB of RAM
    dead_letters                 what DeadLetters takes, {"path": "dead"}: for what the cloud
                                 refuses for good
    wifi                         what Wifi takes, {"ssid": ..., "key": ...}; without it boot.py is
                                 to bring the network up
    clock                        what Clock takes: {} for pool.ntp.org; SAS and SigV4 need the time
    dps                          Azure: what DPS takes, or group_key instead of key; and port. A
                                 key here is the hub's too
    period_ms, readings          how often and how many; 0 readings: for ever
    budget_ms                    how long one forwarding may take, 60,000
    watchdog_ms                  machine.WDT; longer than what nobody can feed it in: resolving a
                                 name, and the arithmetic of a handshake
    sleep                        {"forward_every": n}: see sleeper.py, to which all this leaves it
    heap_lock                    forward with the heap locked, which shows that nothing allocates
"""

import gc

gc.threshold(512)  # so that what is imported lies close together: it saves 4 KB of heap
import json
import sys
import time

import machine
import micropython

_ENXIO = -6
_ENOMEM = -12
_ETIMEDOUT = -110
_EHOSTUNREACH = -113
_CONNECT_MS = 30_000
_BUDGET_MS = 60_000
_DEAD = 3  # failures in a row, after which the link itself is suspect


def read(name):
    with open(name, "rb") as file:
        return file.read()


def wire(config, transport=None, wifi=None, queue=None):
    """The application's wiring, with the parts that there are already.

    What is large comes first, while the heap is in one piece. The imports stand here, and not
    above, because most wakes from deep sleep do without them.
    """
    from onebuf.backoff import Backoff
    from onebuf.client import Client
    from onebuf.port.micropython import random16
    from onebuf.uplink import Uplink

    if "dps" in config and not config.get("tls", True):
        raise ValueError("tls: provisioning wants it")
    queue = make_queue(config) if queue is None else queue
    buf = bytearray(config.get("buffer", 1024))
    transport = transport or make_transport(config)
    clock = make_clock(config, transport.feed) if "clock" in config else None
    assigned = {}
    if "dps" in config:
        assigned = load("provisioning").assignment(config, transport, wifi, buf, clock, make_cloud)
        forget("onebuf.provision")
    cloud = make_cloud(config, assigned)
    client = Client(transport, buf, cloud.host, cloud.port)
    uplink = Uplink(client, cloud, queue, Backoff(1000, 300_000), random16, clock)
    if "dead_letters" in config:
        letters = load("onebuf.dead_letters").DeadLetters
        uplink.dead_letters = make("dead_letters", letters, config["dead_letters"])
    return uplink


def make_queue(config):
    """The readings wait in RAM, or on flash, where a reset and a power cut leave them."""
    if "queue" in config:
        return make("queue", load("onebuf.flash_queue").FlashQueue, config["queue"])
    return load("onebuf.queue").Queue(2048)


def make_cloud(config, assigned):
    """The cloud of the settings; assigned: what provisioning adds to them."""
    settings = dict(config["settings"], **assigned)
    module = make("cloud", load, {"name": "onebuf.cloud." + config.get("cloud", "aws")})
    cloud = make("settings", getattr(module, "CLOUD", None), settings)
    if config.get("tls", True) != getattr(cloud, "tls", True):
        raise ValueError("tls: the cloud was told otherwise")
    if "clock" not in config and (cloud.signs or settings.get("key")):
        raise ValueError("clock: SAS and SigV4 need the time")
    return cloud


def load(name):
    """The module of that name: no other is imported."""
    __import__(name)
    return sys.modules[name]


def make(part, kind, given, *args):
    """kind(*args, **given): given is what config.json has under part, which ValueError names."""
    try:
        return kind(*args, **given)
    except (AttributeError, ImportError, TypeError, ValueError) as e:
        raise ValueError("%s: %s" % (part, e))


def make_transport(config):
    from onebuf.port.micropython import Transport, tls_context

    if not config.get("tls", True):
        return Transport(None, config.get("address", ""))
    cert = key = None
    if "key" in config:
        names = config["cert"]
        cert = [read(name) for name in ([names] if isinstance(names, str) else names)]
        key = read(config["key"])
    context = tls_context(read(config["ca"]), cert, key, alpn=config.get("alpn"))
    return Transport(context, config.get("address", ""))


def make_wifi(config, transport):
    """The network, asked to come up, where that is not boot.py's to do: a Wifi, or None."""
    if "wifi" not in config:
        return None
    wifi = make("wifi", load("onebuf.wifi").Wifi, config.pop("wifi"), load("network"), transport)
    print("Wi-Fi ->", wifi.connect())
    return wifi


def make_clock(config, feed):
    """The clock, set: TLS compares certificates with the board's time, which begins in 2000."""
    rtc = getattr(machine, "RTC", None)
    clock = make("clock", load("onebuf.clock").Clock, config["clock"], rtc() if rtc else None)
    clock.feed = feed
    clock.dates = config.get("tls", True)
    if "sleep" not in config or clock.seconds() < 0:  # the board's clock goes on in deep sleep
        print("clock ->", clock.sync())
        forget("onebuf.sntp")
    return clock


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
    """One reading. Put your sensor here.

    n: its number. With a queue on flash none comes again, not even after a restart: by it the
    receiver can tell, and drop, what it got twice.
    """
    return b'{"seq":%d,"ticks_ms":%d}' % (n, time.ticks_ms())


def forward(uplink, lock, budget_ms):
    """Send what is queued, within budget_ms: how many microseconds it took, and bytes of heap."""
    before = gc.mem_alloc()
    start = time.ticks_us()
    if lock:
        micropython.heap_lock()
    try:
        uplink.forward(budget_ms)
    finally:
        if lock:
            micropython.heap_unlock()
    us = time.ticks_diff(time.ticks_us(), start)
    return us, gc.mem_alloc() - before


def run(uplink, config, wifi=None):
    """Take a reading every period_ms, publish it, or keep it while the cloud bids to wait."""
    readings = config.get("readings", 0)
    times = []
    heap = n = 0
    due = time.ticks_ms()
    while not readings or n < readings:
        payload = measure(getattr(uplink.queue, "next", n))
        taken = uplink.queue.push(payload)  # not if too long, or if the flash takes no more
        n += 1
        outcome = "kept"
        if time.ticks_diff(time.ticks_ms(), due) >= 0:
            us, octets, outcome = attempt(uplink, config, wifi)
            if us:
                times.append(us)
            heap += octets
            due = time.ticks_add(time.ticks_ms(), uplink.wait_ms)
        outcome = outcome if taken else "lost"
        print(str(payload, "utf-8"), outcome + ",", len(uplink.queue), "queued")
        if not readings:
            times.clear()
        uplink.client.transport.sleep_ms(config.get("period_ms", 60_000))
    return times, heap  # microseconds of each publish, bytes that all of them took


def attempt(uplink, config, wifi=None):
    """Connect, and send what is queued: microseconds, bytes of heap, and the result in words.

    With the heap locked a record that has to be signed, or a connection that the cloud closes
    after each, lets only one through at a time: then the next one is -ENOMEM.
    """
    us = heap = 0
    if wifi and wifi.connect() < 0:
        uplink.wait_ms = uplink.backoff.next_ms(uplink.random())
        return us, heap, "Wi-Fi -> %d" % wifi.result
    follow(uplink, config)
    end = time.ticks_add(time.ticks_ms(), config.get("budget_ms", _BUDGET_MS))
    accepted = -1
    while accepted < 0 or (uplink.result == _ENOMEM and accepted < uplink.accepted):
        accepted = uplink.accepted
        if uplink.connect(min(_CONNECT_MS, left(end))) >= 0:
            us, octets = forward(uplink, config.get("heap_lock", False), left(end))
            heap += octets
    if wifi and dead(uplink):
        wifi.reset()
    return us, heap, "-> %d in %d us" % (uplink.result, us) if us else "-> %d" % uplink.result


def follow(uplink, config):
    """Go to another hub, if Azure's provisioning service says so."""
    if "dps" in config and load("provisioning").follow(uplink, config, make_cloud):
        forget("onebuf.provision")


def left(end):
    """Milliseconds from now to end, at least 1."""
    return max(1, time.ticks_diff(end, time.ticks_ms()))


def dead(uplink):
    """Whether the link may be dead, which the Wi-Fi itself need not notice."""
    silent = uplink.result in (_ENXIO, _ETIMEDOUT, _EHOSTUNREACH)
    return silent and uplink.backoff.done % _DEAD == 0


def once(config, feed, queue, backoff):
    """Bring all up, forward, and take it down: how long to leave the cloud alone, in ms.

    That is what a wake from deep sleep does now and then; backoff: as the wakes before left it.
    """
    transport = make_transport(config)
    transport.feed = feed
    wifi = make_wifi(config, transport)
    try:
        if wifi and wifi.result < 0:
            return backoff.next_ms(load("onebuf.port.micropython").random16())
        uplink = wire(config, transport, wifi, queue)
        uplink.backoff = backoff
        gc.threshold(-1)
        print(attempt(uplink, config, wifi)[2])
        follow(uplink, config)
        uplink.client.close()
        return uplink.wait_ms
    finally:
        if wifi:
            wifi.off()


def ready():
    """Wire all as config.json says: that, the network and the uplink. ValueError: it is wrong."""
    config = load("settings").read("config.json")  # which is not imported any more after it
    feed = machine.WDT(timeout=config["watchdog_ms"]).feed if "watchdog_ms" in config else None
    if "sleep" in config:
        load("sleeper").wake(config, feed, measure, once)
    transport = make_transport(config)
    transport.feed = feed
    wifi = make_wifi(config, transport)
    return config, wifi, wire(config, transport, wifi)


def main():
    try:
        config, wifi, uplink = ready()
        gc.collect()
        gc.threshold(-1)  # from here on next to nothing is allocated
        if not (wifi and wifi.result):
            print("connect ->", uplink.connect())
    except ValueError as e:
        return print("config.json:", e)
    times, heap = run(uplink, config, wifi)
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
