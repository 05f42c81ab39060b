"""Does as it is told: one JSON list per line on stdin, [command, argument...]; one JSON line back.

The device is wired by firmware/main.py from config.json. It runs until stdin ends.
"""

import gc
import json
import os
import sys
import time

import main


class Driver:
    """The commands are its methods; each returns what the reply has to say beyond report().

    A ValueError is said too: it is how the device package refuses what may not be sent.
    """

    def do(self, name, *arguments):
        try:
            return getattr(self, name)(*arguments) or {}
        except ValueError as error:
            return {"refused": str(error)}

    uplink = None

    def wire(self, settings):
        """Build everything anew; settings win over config.json and over the cloud's in it."""
        with open("config.json") as file:
            config = json.load(file)
        for name in settings:
            of_cloud = name in config["settings"]
            (config["settings"] if of_cloud else config)[name] = settings[name]
        self.uplink = main.wire(config)

    def connect(self, timeout_ms):
        return {"result": self.uplink.connect(timeout_ms)}

    def request(self, text, timeout_ms):
        """One publish past the queue, so that the client's own result is seen."""
        client = self.uplink.client
        begin = time.ticks_ms()
        result = client.request(text.encode(), timeout_ms=timeout_ms)
        ms = time.ticks_diff(time.ticks_ms(), begin)
        return {"result": result, "ms": ms, "body": self.body() if result > 0 else ""}

    def large(self, octets, timeout_ms):
        """One publish of so many octets, made by pattern() in the test too."""
        body = bytearray(octets)
        for i in range(octets):
            body[i] = (i * 7 + i // 251) & 255
        return {"result": self.uplink.client.request(body, timeout_ms=timeout_ms)}

    def body(self):
        r = self.uplink.client.response
        return str(bytes(r.buf[r.off : r.off + r.n]), "utf-8")

    def push(self, text):
        return {"pushed": self.uplink.queue.push(text.encode())}

    def forward(self, timeout_ms):
        forwarded = self.uplink.forward(timeout_ms=timeout_ms)
        return {"forwarded": forwarded, "result": self.uplink.result}

    def close(self):
        self.uplink.client.close()

    def held(self):
        """Octets of heap and file descriptors in use."""
        gc.collect()
        return {"heap": gc.mem_alloc(), "descriptors": len(os.listdir("/dev/fd"))}

    def report(self):
        if not self.uplink:
            return {}
        u, c = self.uplink, self.uplink.client
        return {
            "accepted": u.accepted,
            "rejected": u.rejected,
            "retries": u.retries,
            "wait_ms": u.wait_ms,
            "queued": len(u.queue),
            "requests": c.requests,
            "connects": c.connects,
            "resends": c.resends,
        }


def wipe(depth):
    """Overwrite what earlier calls left on the C stack: the collector takes it for references."""
    return depth and 1 + wipe(depth - 1)


def run():
    driver = Driver()
    while True:
        line = sys.stdin.readline()
        if not line:
            break
        command = json.loads(line)
        wipe(20)
        reply = driver.do(*command)
        reply.update(driver.report())
        print(json.dumps(reply))
        line = command = reply = None  # so that held() finds the same each time


run()
