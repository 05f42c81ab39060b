"""Deep sleep: a wake takes one reading to flash, and only some wakes use the radio.

config.json, beside what main.py says; "queue" is wanted, and "period_ms" goes from wake to wake:

    sleep                        {"forward_every": n}: forward at every n-th wake; sooner if what
                                 waits would fill three quarters of the queue

Until all has been forwarded each wake tries again, unless the backoff bids to wait: that too is
remembered, in periods. What passes from wake to wake lies in RTC memory, 12 octets, little-endian:

    wakes (2) since all was forwarded   failures (2) in a row   wait (4) in ms   CRC-32 (4)

Anything else that is found there counts as zeros. A reset in the middle of forwarding counts as a
failure: a battery that cannot feed the radio must not be tried without end.

"wifi" belongs with it, else boot.py is to bring the network up, and does so in every wake; so does
"clock": TLS wants the time, which is asked for once and then goes on in deep sleep. The period
leaves out how long the board takes to start.
"""

import binascii
import struct
import sys
import time

import machine
from micropython import const

_INTACT = const(0x2144DF1C)  # the CRC-32 of anything that ends with its own CRC-32
_CAP_MS = const(3600000)  # of the backoff
_MOST = const(16)  # failures after which that is reached, whatever the period
_FRAME = const(10)  # octets that flash_queue adds to a record


def wake(config, feed, measure, forward):
    """One wake: it ends in deep sleep. ValueError: settings that cannot work.

    measure(n) gives the reading of that number; forward(config, feed, queue, backoff) does what
    its name says and returns how long to leave the cloud alone, in ms. What goes wrong in here is
    printed, and does not keep the device awake.
    """
    begin = time.ticks_ms()
    if "queue" not in config or config["sleep"].get("forward_every", 0) < 1:
        raise ValueError("sleep: wants a queue on flash, and forward_every of 1 or more")
    period = config.get("period_ms", 60_000)
    memory = machine.RTC().memory
    wakes, failures, wait = load(memory())
    wakes += 1
    wait = max(0, wait - period)
    save(memory, wakes, failures, wait)
    try:
        queue = open_queue(config)
        full = take(queue, measure) > config["queue"].get("size", 65536) * 3 // 4
        if len(queue) and not wait and (full or wakes >= config["sleep"]["forward_every"]):
            send(config, feed, queue, forward, memory, wakes, failures)
    except Exception as e:
        sys.print_exception(e)
    machine.deepsleep(max(1, period - time.ticks_diff(time.ticks_ms(), begin)))


def open_queue(config):
    from onebuf.flash_queue import FlashQueue

    return FlashQueue(**config["queue"])


def take(queue, measure):
    """Take a reading to flash: how many octets all that wait take there, if they are like it."""
    try:
        payload = measure(queue.next)
        kept = queue.push(payload) and queue.sync()
        outcome = "kept" if kept else "lost -> %d" % queue.error
        print(str(payload, "utf-8"), outcome + ",", len(queue), "queued")
        return len(queue) * (len(payload) + _FRAME)
    except Exception as e:  # a sensor that fails does not hold up what waits
        sys.print_exception(e)
        return 0


def send(config, feed, queue, forward, memory, wakes, failures):
    """Forward, and remember how that went."""
    from onebuf.backoff import Backoff

    backoff = Backoff(min(config.get("period_ms", 60_000), _CAP_MS), _CAP_MS)
    for _ in range(min(failures, _MOST)):
        backoff.next_ms(0)
    save(memory, wakes, failures + 1, backoff.bound_ms)
    try:
        wait = forward(config, feed, queue, backoff)
    finally:
        queue.close()  # so that what was accepted does not go out again
    save(memory, wakes if len(queue) else 0, backoff.done, wait)


def load(octets):
    """wakes, failures and wait in what RTC memory holds."""
    if len(octets) != 12 or binascii.crc32(octets) != _INTACT:
        return 0, 0, 0
    return struct.unpack("<HHI", octets[:8])


def save(memory, wakes, failures, wait):
    octets = struct.pack("<HHI", min(wakes, 0xFFFF), min(failures, 0xFFFF), wait)
    memory(octets + struct.pack("<I", binascii.crc32(octets)))
