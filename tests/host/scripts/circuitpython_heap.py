"""Publishes through CircuitPython's port, on MicroPython; prints what each took of the heap."""

import gc
import json

from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.circuitpython import Transport, random16
from onebuf.port.micropython import tls_context
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from socketpool import SocketPool, SSLContext

PUBLISHES = 100


def read(name):
    with open(name, "rb") as file:
        return file.read()


def wire(config):
    aws = AWS(**config["settings"])
    context = tls_context(read("ca.der"), read("cert.der"), read("key.der"))
    transport = Transport(SocketPool(), SSLContext(context), "127.0.0.1")
    client = Client(transport, bytearray(512), aws.host, aws.port)
    return Uplink(client, aws, Queue(512), Backoff(1000, 60_000), random16)


def publish(uplink, bodies):
    """Octets of heap, for all."""
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for i in range(PUBLISHES):
        uplink.queue.push(bodies[i % 2])
        uplink.forward()
    octets = gc.mem_alloc() - before
    gc.enable()
    return octets


with open("config.json") as file:
    uplink = wire(json.load(file))
uplink.connect()
same = (b'{"n":1}', b'{"n":2}')
other = (b'{"n":1}', b'{"n":10}')
publish(uplink, same)
found = [publish(uplink, same), publish(uplink, other)]
print(json.dumps({"accepted": uplink.accepted, "same": found[0], "other": found[1]}))
uplink.client.close()
