"""An Azure device that does as it is told: one JSON list per line on stdin, one JSON line back.

It runs until stdin ends. config.json: address, port, ca, cert and key as in firmware/main.py, and
what DPS takes under dps. Waiting between two polls is written down, not done.
"""

import gc
import json
import sys

import main
import micropython
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.clock import Clock
from onebuf.cloud.azure import Azure
from onebuf.cloud.azure_c2d import CloudToDevice
from onebuf.port.micropython import random16
from onebuf.queue import Queue
from onebuf.uplink import Uplink

BUFFER = 1024
TIMEOUT_MS = 5000
FILE = "assignment.json"


class Driver:
    """The commands are its methods; each returns what the reply has to say beyond report()."""

    def __init__(self):
        with open("config.json") as file:
            self.config = json.load(file)
        self.clock = Clock()
        self.sleeps = []
        self.buf = bytearray(BUFFER)
        self.queue = Queue(2048)
        self.transport = main.make_transport(self.config)
        self.transport.sleep_ms = self.sleeps.append
        self.uplink = None

    def provision(self, given):
        """Ask the provisioning service, given wins over config.json; the assignment is kept."""
        dps = main.load("onebuf.provision.azure_dps")
        settings = dict(self.config["dps"])
        settings.update(given)
        if "group_key" in settings:
            group_key = settings.pop("group_key")
            settings["key"] = dps.derived_key(group_key, settings["registration_id"])
        self.config["symmetric"] = settings.get("key")
        client = Client(self.transport, self.buf, dps.HOST, self.config["port"])
        self.sleeps.clear()
        reply = {}
        try:
            found = dps.DPS(client, clock=self.clock, **settings).register(TIMEOUT_MS)
            dps.save(FILE, found)
            reply["assignment"] = found
        except dps.ProvisioningError as error:
            reply.update({"error": str(error), "code": error.code, "again": error.again})
        client.close()
        main.forget("onebuf.provision")
        reply["sleeps"] = self.sleeps
        reply["requests"] = client.requests
        return reply

    def wire(self, settings):
        """Wire the cloud of the kept assignment; the queue stays. settings: what Azure takes."""
        dps = main.load("onebuf.provision.azure_dps")
        found = dps.load(FILE)
        main.forget("onebuf.provision")
        if self.uplink:
            self.uplink.client.close()
        given = {"key": self.config.get("symmetric"), "port": self.config["port"]}
        given.update(settings)
        cloud = Azure(found["hub"], found["device_id"], **given)
        client = Client(self.transport, self.buf, cloud.host, cloud.port)
        self.uplink = Uplink(
            client, cloud, self.queue, Backoff(1000, 300000), random16, self.clock
        )
        self.c2d = CloudToDevice(self.uplink)

    def skew(self, seconds):
        """Set the clock that far off."""
        self.clock.set(self.clock.now() + seconds)

    def connect(self):
        return {"result": self.uplink.connect(TIMEOUT_MS)}

    def push(self, text):
        return {"pushed": self.queue.push(text.encode())}

    def forward(self):
        forwarded = self.uplink.forward(timeout_ms=TIMEOUT_MS)
        return {"forwarded": forwarded, "result": self.uplink.result}

    def locked(self):
        """forward() with the heap locked."""
        gc.collect()
        before = gc.mem_alloc()
        micropython.heap_lock()
        try:
            forwarded = self.uplink.forward(timeout_ms=TIMEOUT_MS)
        finally:
            micropython.heap_unlock()
        heap = gc.mem_alloc() - before
        return {"forwarded": forwarded, "result": self.uplink.result, "heap": heap}

    def receive(self):
        """Look for a message: its body and one property too."""
        status = self.c2d.receive(TIMEOUT_MS)
        r = self.uplink.client.response
        if status != 200:
            return {"result": status}
        a = r.field(b"iothub-app-colour")
        colour = str(bytes(r.buf[a : a + r.field_n]), "utf-8") if a >= 0 else None
        body = str(bytes(r.buf[r.off : r.off + r.n]), "utf-8")
        return {"result": status, "body": body, "colour": colour}

    def settle(self, way):
        """complete, reject or abandon."""
        return {"result": getattr(self.c2d, way)(TIMEOUT_MS)}

    def report(self):
        u = self.uplink
        if not u:
            return {}
        return {
            "accepted": u.accepted,
            "rejected": u.rejected,
            "retries": u.retries,
            "wait_ms": u.wait_ms,
            "queued": len(u.queue),
            "requests": u.client.requests,
            "connects": u.client.connects,
            "gone": u.cloud.gone,
        }


def run():
    driver = Driver()
    while True:
        line = sys.stdin.readline()
        if not line:
            break
        command = json.loads(line)
        reply = getattr(driver, command[0])(*command[1:]) or {}
        for name, value in driver.report().items():
            reply.setdefault(name, value)
        print(json.dumps(reply))


run()
