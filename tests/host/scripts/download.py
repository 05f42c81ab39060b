"""Downloads ranges of a file over plain HTTP through a sink, one line of JSON for each.

config.json: port, path, timeout_ms, octets of buffer, ranges as [first, last]. Range n goes to
the file n.bin.
"""

import json
import time

from onebuf.client import Client
from onebuf.port.micropython import Transport


class Sink:
    """Writes what comes to a file, and notes how large the largest piece was."""

    def __init__(self, file):
        self.file = file
        self.largest = 0

    def take(self, buf, off, n):
        self.file.write(memoryview(buf)[off : off + n])
        self.largest = max(self.largest, n)


def download(client, config, first, last, sink):
    client.head.start(b"GET", b"127.0.0.1:%d" % client.port, config["path"].encode())
    client.head.range(first, last)
    client.head.end()
    return client.request(timeout_ms=config["timeout_ms"], sink=sink.take)


def field(response, name):
    a = response.field(name)
    return str(bytes(response.buf[a : a + response.field_n]), "utf-8") if a >= 0 else ""


def run():
    with open("config.json") as file:
        config = json.load(file)
    buf = bytearray(config["buffer"])
    client = Client(Transport(None), buf, "127.0.0.1", config["port"])
    for n, (first, last) in enumerate(config["ranges"]):
        begin = time.ticks_ms()
        with open(str(n) + ".bin", "wb") as file:
            sink = Sink(file)
            status = download(client, config, first, last, sink)
        said = {"status": status, "n": client.response.n, "largest": sink.largest}
        said["range"] = field(client.response, b"content-range") if status > 0 else ""
        said["connects"] = client.connects
        said["ms"] = time.ticks_diff(time.ticks_ms(), begin)
        print(json.dumps(said))
    client.close()


run()
