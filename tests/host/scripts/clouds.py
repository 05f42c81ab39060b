"""As driver.py, with whatever cloud config.json names, a clock, and the heap locked."""

import gc
import json
import sys

import main
import micropython
from onebuf.clock import Clock


class Device:
    """The commands are its methods; each returns what the reply has to say beyond report()."""

    uplink = None
    heap = 0  # octets that forwarding took

    def wire(self, settings, clock):
        """Build everything anew; settings win over the cloud's in config.json.

        clock: s seconds are added to the right time; None: there is no clock.
        """
        with open("config.json") as file:
            config = json.load(file)
        config["settings"].update(settings)
        self.uplink = main.wire(config)
        if clock is not None:
            self.uplink.clock = Clock()
            self.uplink.clock.set(self.uplink.clock.now() + clock)

    def connect(self, timeout_ms):
        return {"connect": self.uplink.connect(timeout_ms)}

    def forward(self, timeout_ms, lock):
        gc.collect()
        before = gc.mem_alloc()
        if lock:
            micropython.heap_lock()
        self.uplink.forward(timeout_ms=timeout_ms)
        if lock:
            micropython.heap_unlock()
            self.heap += gc.mem_alloc() - before

    def push(self, *texts):
        for text in texts:
            assert self.uplink.queue.push(text.encode())

    def exchange(self, n, timeout_ms):
        """Publish n octets, past the queue, from where they lie."""
        return {"outcome": self.uplink.exchange(b"x" * n, timeout_ms)}

    def now(self):
        return {"now": self.uplink.clock.now()}

    def ask(self, type_id, device_id, command, timeout_ms, wait_s=0):
        """Watson: ask for a command."""
        from onebuf.cloud.watson_commands import Commands

        status = Commands(self.uplink, type_id, device_id).request(command, wait_s, timeout_ms)
        r = self.uplink.client.response
        reply = {"status": status, "content": str(bytes(r.buf[r.off : r.off + r.n]), "utf-8")}
        for name in ("x-commandid", "x-devicetype", "x-deviceid"):
            a = r.field(name.encode())
            if a >= 0:
                reply[name] = str(bytes(r.buf[a : a + r.field_n]), "utf-8")
        return reply

    def report(self):
        if not self.uplink:
            return {}
        u = self.uplink
        return {
            "accepted": u.accepted,
            "rejected": u.rejected,
            "result": u.result,
            "wait_ms": u.wait_ms,
            "queued": len(u.queue),
            "connects": u.client.connects,
            "heap": self.heap,
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
