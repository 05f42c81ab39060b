"""The application on CircuitPython: measure, queue, forward. It is set up in settings.toml:

    CIRCUITPY_WIFI_SSID, CIRCUITPY_WIFI_PASSWORD
    ONEBUF_CLOUD        a module of onebuf.cloud: "aws", "azure", "aliyun", "watson"
    ONEBUF_ENDPOINT, ONEBUF_TOPIC, ...  what its class takes, by name: see _SETTINGS
    ONEBUF_CA           a PEM file, one certificate; without it the public CAs in the firmware
    ONEBUF_CERT, ONEBUF_CERT_KEY  PEM files, where the cloud wants a certificate
    ONEBUF_ADDRESS      connect there instead of to the cloud's host (an emulated cloud)
    ONEBUF_BUFFER       octets of the one buffer, 1024
    ONEBUF_QUEUE        a folder, made if need be, in which readings wait; without it 2 KB of RAM
    ONEBUF_NTP, ONEBUF_NTP_PORT   pool.ntp.org, 123: SAS and SigV4 need the time
    ONEBUF_PERIOD_S, ONEBUF_READINGS  how often, 60, and how many; 0: for ever

All are strings, in quotes, but for the numbers.
"""

import json
import os
import sys
import time

import socketpool
import wifi
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.port.circuitpython import Transport, random16, ticks_add, ticks_diff, tls_context
from onebuf.uplink import Uplink
from supervisor import ticks_ms

_SETTINGS = (
    "endpoint topic access_key secret_key authorizer token_key signature "
    "hub device_id key product_key device_name device_secret signmethod "
    "org type_id event token user host"
).split(" ")
_BUDGET_MS = 60_000
_WIFI_S = 20


def get(name, default=None):
    """A setting, str, or what default is."""
    return os.getenv("ONEBUF_" + name, default)


def number(name, default):
    return int(get(name, default))


def load(name):
    """The module of that name: no other is imported."""
    __import__(name)
    return sys.modules[name]


def join():
    """Join the Wi-Fi network if that is not done. OSError: no such network, or key."""
    if not wifi.radio.connected:
        ssid, key = os.getenv("CIRCUITPY_WIFI_SSID", ""), os.getenv("CIRCUITPY_WIFI_PASSWORD", "")
        wifi.radio.connect(ssid, key, timeout=_WIFI_S)


def make_cloud():
    """The cloud of the settings, with those that are set."""
    settings = {}
    for name in _SETTINGS:
        value = get(name.upper())
        if value is not None:
            settings[name] = value
    if get("PORT"):
        settings["port"] = number("PORT", 0)
    return load("onebuf.cloud." + get("CLOUD", "aws")).CLOUD(**settings)


def make_transport(pool):
    ca = None
    if get("CA"):
        with open(get("CA")) as file:
            ca = file.read()
    context = tls_context(ca, get("CERT"), get("CERT_KEY"))
    return Transport(pool, context, get("ADDRESS", ""))


def make_queue():
    """The readings wait in RAM, or on flash, where a reset and a power cut leave them."""
    folder = get("QUEUE")
    if not folder:
        return load("onebuf.queue").Queue(2048)
    load("onebuf.port.circuitpython").writable()  # or an error that says how to make it so
    return load("onebuf.flash_queue").FlashQueue(folder)


def make_clock(pool, cloud):
    """The clock, set, where the cloud needs it to sign."""
    if not cloud.signs and not get("KEY"):
        return None
    servers = (get("NTP", "pool.ntp.org"),)
    port = number("NTP_PORT", 123)
    clock = load("onebuf.port.circuitpython_clock").Clock(pool, servers, port=port)
    print("clock ->", clock.sync())
    return clock


def wire():
    """The application's wiring."""
    pool = socketpool.SocketPool(wifi.radio)
    buf = bytearray(number("BUFFER", 1024))
    queue = make_queue()
    cloud = make_cloud()
    client = Client(make_transport(pool), buf, cloud.host, cloud.port)
    clock = make_clock(pool, cloud)
    return Uplink(client, cloud, queue, Backoff(1000, 300_000), random16, clock)


def measure(n):
    """One reading. Put your sensor here. n: its number."""
    return b'{"seq":%d,"uptime_ms":%d}' % (n, time.monotonic_ns() // 1_000_000)


def attempt(uplink):
    """Connect, and send what is queued: the result in words."""
    try:
        join()
    except OSError as e:
        uplink.wait_ms = uplink.backoff.next_ms(uplink.random())
        return "Wi-Fi -> %s" % e
    if uplink.clock and uplink.clock.seconds() < 0:  # there was no network when it was to be set
        uplink.clock.sync()
    if uplink.connect() >= 0:
        uplink.forward(_BUDGET_MS)
    return "-> %d" % uplink.result


def run(uplink):
    """Take a reading every period, publish it, or keep it while the cloud bids to wait."""
    readings = number("READINGS", 0)
    n = 0
    due = ticks_ms()
    while not readings or n < readings:
        payload = measure(getattr(uplink.queue, "next", n))
        taken = uplink.queue.push(payload)  # not if too long, or if the flash takes no more
        n += 1
        outcome = "kept"
        if ticks_diff(ticks_ms(), due) >= 0:
            outcome = attempt(uplink)
            due = ticks_add(ticks_ms(), uplink.wait_ms)
        outcome = outcome if taken else "lost"
        print(str(payload, "utf-8"), outcome + ",", len(uplink.queue), "queued")
        uplink.client.transport.sleep_ms(int(float(get("PERIOD_S", "60")) * 1000))


def main():
    try:
        join()
    except OSError as e:  # the access point may start later than the board
        print("Wi-Fi -> %s" % e)
    uplink = wire()
    run(uplink)
    uplink.client.close()
    print("summary", json.dumps({"accepted": uplink.accepted, "queued": len(uplink.queue)}))


if __name__ == "__main__":
    main()
