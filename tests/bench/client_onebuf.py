"""onebuf: a publish to AWS IoT through queue and uplink, as firmware/main.py wires it."""

from load import BODY, HOST, TOPIC, ca
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.micropython import Transport, random16, tls_context
from onebuf.queue import Queue
from onebuf.uplink import Uplink

uplink = None


def wire(port, secure):
    global uplink
    queue = Queue(512)
    buf = bytearray(512)
    transport = Transport(tls_context(ca()) if secure else None, "127.0.0.1")
    cloud = AWS(HOST, TOPIC, port=port)
    client = Client(transport, buf, cloud.host, cloud.port)
    uplink = Uplink(client, cloud, queue, Backoff(1000, 300_000), random16)
    uplink.connect()


def publish():
    uplink.queue.push(BODY)
    uplink.forward()
    return uplink.result
