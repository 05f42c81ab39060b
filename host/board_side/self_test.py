# mypy: ignore-errors
"""What a board runs for host/self_test.py, which calls these over the raw REPL, one after another.

The last line that each call prints is a literal: whether it came to its end, and what it found or
the exception. Those before are the application's.
"""

import gc
import json
import os
import time

PATH = "/onebuf_selftest"
parts = {}


def call(test, *arguments):
    """Run one of the tests."""
    try:
        print((True, test(*arguments)))
    except Exception as error:
        print((False, type(error).__name__ + ": " + str(error)))


def memory():
    """Octets of heap: free, and in use."""
    gc.collect()
    return gc.mem_free(), gc.mem_alloc()


def files(chunks):
    """Write a file, read it back and erase it: (file system, octets free, ms, whether it held)."""
    import vfs

    pattern = bytes(range(256))
    start = time.ticks_ms()
    with open(PATH, "wb") as file:
        for _ in range(chunks):
            file.write(pattern)
    n = 0
    with open(PATH, "rb") as file:
        while file.read(256) == pattern:
            n += 1
    held = n == chunks == os.stat(PATH)[6] // 256
    os.remove(PATH)
    held = held and PATH[1:] not in os.listdir("/")
    ms = time.ticks_diff(time.ticks_ms(), start)
    stat = os.statvfs("/")
    (system,) = [each[0] for each in vfs.mount() if each[1] == "/"]
    return type(system).__name__, stat[0] * stat[3], ms, held


def wifi(timeout_ms):
    """Scan, and join where config.json says: (networks, best dBm, name to join, joined)."""
    import network

    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    found = wlan.scan()
    wanted = settings().get("wifi", {})
    ssid = wanted.get("ssid", "")
    if ssid and not wlan.isconnected():
        wlan.connect(ssid, wanted.get("key"))
        near = ssid.encode() in [each[0] for each in found]
        end = time.ticks_add(time.ticks_ms(), timeout_ms if near else timeout_ms // 4)
        while not wlan.isconnected() and time.ticks_diff(end, time.ticks_ms()) > 0:
            time.sleep_ms(500)
            print(wlan.status())  # so that the host sees that something goes on
    best = max([each[3] for each in found]) if found else 0
    return len(found), best, ssid, wlan.isconnected()


def clock():
    """Year, month, day, hours, minutes, seconds."""
    return tuple(time.gmtime()[:6])


def tls(stranger):
    """Connect as the application does: (0 or -errno, ms, whether it trusts a stranger).

    stranger: the certificate, DER, of an authority that is not the server's.
    """
    import main

    config = settings()
    parts["uplink"] = uplink = main.wire(config)
    client = uplink.client
    trusting = handshake(main, config, stranger, client.host, client.port) > 0
    start = time.ticks_ms()
    r = uplink.connect()
    return r, time.ticks_diff(time.ticks_ms(), start), trusting


def handshake(main, config, ca, host, port):
    """Connect as the application does, but with another authority: 1 or -errno."""
    with open(PATH, "wb") as file:
        file.write(ca)
    transport = main.make_transport(dict(config, ca=PATH))
    os.remove(PATH)
    transport.start(10000)
    r = 0
    while not r:
        r = transport.connect(host, port) or transport.wait_writable()
    transport.close()
    return r


def publish(payload):
    """Publish over that connection: (status or -errno, how many the cloud accepted, ms)."""
    uplink = parts["uplink"]
    uplink.queue.push(payload)
    start = time.ticks_ms()
    uplink.forward()
    ms = time.ticks_diff(time.ticks_ms(), start)
    uplink.client.close()
    return uplink.result, uplink.accepted, ms


def settings():
    """config.json, but the readings of the application stay where they are."""
    with open("config.json") as file:
        config = json.load(file)
    for name in ("queue", "dead_letters", "sleep"):
        config.pop(name, None)
    return config
