"""A device at AWS: does as it is told, one JSON list per line on stdin, one JSON line back.

Wired here from config.json: cloud, settings, address, ca, cert, key as in firmware/main.py, and
alpn. It runs until stdin ends.
"""

import gc
import json
import sys

import micropython
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.clock import Clock
from onebuf.cloud.aws_shadow import Shadow
from onebuf.port.micropython import Transport, random16, tls_context
from onebuf.publish import Publisher, PublishError
from onebuf.queue import Queue
from onebuf.uplink import Uplink


def read(name):
    with open(name, "rb") as file:
        return file.read()


class Device:
    """The commands are its methods; each returns what the reply has to say beyond report()."""

    uplink = None

    def wire(self, settings, clock, sntp=0):
        """Build everything anew; settings win over those in config.json.

        clock: it is that many seconds fast; None: there is none. sntp: the port of whom it asks.
        """
        with open("config.json") as file:
            config = json.load(file)
        cert = read(config["cert"]) if "cert" in config else None
        key = read(config["key"]) if "key" in config else None
        try:
            context = tls_context(read(config["ca"]), cert, key, alpn=config.get("alpn"))
        except ValueError as error:
            return {"refused": str(error)}
        name = "onebuf.cloud." + config["cloud"]
        __import__(name)
        config["settings"].update(settings)
        cloud = sys.modules[name].CLOUD(**config["settings"])
        client = Client(
            Transport(context, config["address"]), bytearray(2048), cloud.host, cloud.port
        )
        watch = None
        if clock is not None:
            watch = Clock(None, ("127.0.0.1",), 2000, sntp)
            watch.set(watch.now() + clock)
        self.uplink = Uplink(client, cloud, Queue(1024), Backoff(1000, 300000), random16, watch)

    def cycle(self, timeout_ms, lock, *texts):
        """What an application does with readings: queue them, connect, forward."""
        u = self.uplink
        for text in texts:
            assert u.queue.push(text.encode())
        connected = u.connect(timeout_ms)
        if connected < 0:
            return {"connect": connected}
        gc.collect()
        before = gc.mem_alloc()
        if lock:
            micropython.heap_lock()
        u.forward(timeout_ms=timeout_ms)
        if lock:
            micropython.heap_unlock()
        heap = gc.mem_alloc() - before
        return {"connect": 0, "heap": heap}

    def publish(self, text, timeout_ms):
        """The same in three lines: what Publisher raises, if it does, and its status."""
        publisher = Publisher(self.uplink.client, self.uplink.cloud, self.uplink.clock)
        try:
            publisher.publish(text.encode(), timeout_ms)
        except PublishError as error:
            return {"raised": type(error).__name__, "status": error.status, "text": str(error)}
        return {"raised": None, "status": publisher.result}

    def shadow(self, call, thing, name, document, timeout_ms):
        shadow = Shadow(self.uplink, thing, name)
        arguments = [document.encode()] if call == "update" else []
        status = getattr(shadow, call)(*arguments, timeout_ms=timeout_ms)
        r = self.uplink.client.response
        return {"status": status, "document": str(bytes(r.buf[r.off : r.off + r.n]), "utf-8")}

    def report(self):
        if not self.uplink:
            return {}
        u = self.uplink
        return {
            "accepted": u.accepted,
            "rejected": u.rejected,
            "retries": u.retries,
            "result": u.result,
            "wait_ms": u.wait_ms,
            "queued": len(u.queue),
            "requests": u.client.requests,
            "connects": u.client.connects,
            "now": u.clock.now() if u.clock else 0,
        }


def run():
    device = Device()
    while True:
        line = sys.stdin.readline()
        if not line:
            break
        name, *arguments = json.loads(line)
        reply = getattr(device, name)(*arguments) or {}
        reply.update(device.report())
        print(json.dumps(reply))


run()
