"""Damage to a flash queue's files and file system, each on a copy of the same image.

argv[1] as in powercut.py, whose flash and readings these are.
"""

import os

import vfs
from onebuf.dead_letters import DeadLetters
from onebuf.flash_queue import FlashQueue
from powercut import _PAYLOADS, BLOCK, CHIP, QUEUE, chip, file_system, formatted, number, run, say
from powercut_flash import ERASED, Card, Flash

FOLDER = "/f/queue"
STORED = 120  # readings
SENT = 30  # of them
LETTERS = 80
REASONS = (413, -90, 400)
READS = 20_000


class Endless(Exception):
    """More was read than any work of the queue can want."""


class Bounded(Flash):
    """A chip that gives up after READS, so that a loop in the file system ends."""

    reads = 0

    def readblocks(self, block, buf, off=0):
        self.reads += 1
        if self.reads > READS:
            raise Endless
        Flash.readblocks(self, block, buf, off)


SYSTEMS = {"LittleFS": {}, "FAT": {"kind": Card, "block": 512, "blocks": 384}}


class Mounted:
    """A file system on a copy of image, for a with statement."""

    def __init__(self, image, read_only=False):
        self.flash = chip(bytearray(image))
        self.read_only = read_only

    def __enter__(self):
        vfs.mount(file_system(self.flash), "/f", readonly=self.read_only)
        return self.flash

    def __exit__(self, *why):
        vfs.umount("/f")
        self.flash.unplug()


def stored():
    """An image with so many readings in the queue, some of them already forwarded."""
    with Mounted(formatted()) as flash:
        queue = FlashQueue(FOLDER, **QUEUE)
        for i in range(STORED):
            assert queue.push(_PAYLOADS[i])
        assert queue.sync()
        for _ in range(SENT):
            queue.pop()
        queue.close()
        return flash.image


def drained(queue):
    """Everything that waits, as numbers of readings; -1 is one that is not intact."""
    window = memoryview(bytearray(256))
    numbers = []
    while len(queue):
        n = queue.peek(window)
        if n < 0:  # damage up to the end
            break
        numbers.append(number(bytes(window[:n])))
        queue.pop()
    return numbers


def outlived(numbers):
    """What is wrong with what came out, or ""."""
    if -1 in numbers:
        return "corrupt"
    return "" if numbers == sorted(set(numbers)) else "order"


def survives(flash):
    """Open the damaged queue, drain it, and use it on: (what is wrong, how many came out)."""
    try:
        queue = FlashQueue(FOLDER, **QUEUE)
        numbers = drained(queue)
        fault = outlived(numbers)
        if not (queue.push(_PAYLOADS[STORED]) and queue.sync()):
            fault = fault or f"refused: {queue.error}"
        if drained(queue) != [STORED]:
            fault = fault or "not the same queue any more"
        queue.close()
        return fault, len(numbers)
    except Exception as error:
        return repr(error), 0


def files():
    return sorted(name for name, *_ in os.ilistdir(FOLDER))


def changed(name, change):
    """Write change(content) into a file of the queue."""
    with open(FOLDER + "/" + name, "rb") as file:
        content = bytearray(file.read())
    content = change(content)
    with open(FOLDER + "/" + name, "wb") as file:
        file.write(content)
    return len(content)


def flipped(at):
    def change(content):
        content[at >> 3] ^= 1 << (at & 7)
        return content

    return change


def tried(image, name, change):
    with Mounted(image) as flash:
        changed(name, change)
        return survives(flash)


def sizes(image):
    with Mounted(image):
        return [(name, os.stat(FOLDER + "/" + name)[6]) for name in files()]


def every(shard, shards, changes):
    """Try changes(size) of each file: a tally, with [file, where, what is wrong] of each."""
    image = stored()
    tally = {"tried": 0, "lost": 0, "faults": []}
    for name, size in sizes(image):
        for at, change in changes(size)[shard::shards]:
            fault, n = tried(image, name, change)
            tally["tried"] += 1
            tally["lost"] = max(tally["lost"], STORED - SENT - n)
            if fault:
                tally["faults"].append([name, at, fault])
    say(tally)


def bit_flips(shard, shards, step):
    """Flip a bit, at every step-th of each file."""
    every(shard, shards, lambda size: [(at, flipped(at)) for at in range(0, size * 8, step)])


def truncations(shard, shards, step):
    """Cut each file short, to every step-th length."""
    every(shard, shards, lambda size: [(n, lambda c, n=n: c[:n]) for n in range(0, size, step)])


def metadata(image):
    """The blocks with LittleFS's own data: those used, but not for readings."""
    blocks = [image[at : at + BLOCK] for at in range(0, len(image), BLOCK)]
    used = [i for i in range(len(blocks)) if blocks[i] != ERASED * BLOCK]
    return [i for i in used if not any(payload in blocks[i] for payload in _PAYLOADS[:STORED])]


def metadata_flips(shard, step):
    """Flip a bit of LittleFS's own data, every step-th from that of the number shard on."""
    CHIP["kind"] = Bounded
    image = stored()
    tally = {"tried": 0, "refused": {}, "again": 0, "lost": 0, "faults": []}
    for block in metadata(image):
        for bit in range(shard, BLOCK * 8, step):
            at = block * BLOCK + (bit >> 3)
            image[at] ^= 1 << (bit & 7)
            _metadata_flip(image, tally, [block, bit])
            image[at] ^= 1 << (bit & 7)
    say(tally)


def _metadata_flip(image, tally, where):
    tally["tried"] += 1
    try:
        with Mounted(image):
            numbers, fault = _outlives()
    except OSError as error:
        told = str(error.errno)
        tally["refused"][told] = tally["refused"].get(told, 0) + 1
        return
    except Exception as error:
        numbers, fault = [], repr(error)
    tally["again"] += SENT in numbers and numbers[0] < SENT
    tally["lost"] += STORED - 1 not in numbers
    if fault:
        tally["faults"].append([where, fault])


def _outlives():
    """Drain the queue, and use it on: the readings, and what may not be. OSError: it refuses."""
    queue = FlashQueue(FOLDER, **QUEUE)
    numbers = drained(queue)
    fault = outlived(numbers)
    if not (queue.push(_PAYLOADS[STORED]) and queue.sync()):
        raise OSError(-queue.error)
    if drained(queue) != [STORED]:
        fault = fault or "not the same queue any more"
    queue.close()
    return numbers, fault


def full(system):
    """Fill the file system: push refuses or says why; the rest comes out, and makes room."""
    CHIP.update(SYSTEMS[system])
    with Mounted(stored()) as flash:
        fill("/f/large")
        queue = FlashQueue(FOLDER, **QUEUE)
        pushed, error = pushes(queue)
        numbers = drained(queue)
        os.remove("/f/large")
        fault = outlived(numbers) or survives(flash)[0]
        say({"pushed": pushed, "error": error, "out": numbers, "fault": fault})


def fill(name):
    with open(name, "wb") as file:
        try:
            while True:
                file.write(bytes(256))
                file.flush()
        except OSError:
            pass


def pushes(queue):
    """Push until the queue will not: how many it took, and its -errno."""
    n = STORED
    while n < len(_PAYLOADS) and queue.push(_PAYLOADS[n]):
        n += 1
    return n - STORED, queue.error


def read_only(system, mounted):
    """A file system mounted to read only, or flash that refuses writes: what waits comes out.

    Where FAT has not yet written what it should it reads no more, so that some comes out later.
    """
    CHIP.update(SYSTEMS[system])
    with Mounted(stored(), mounted) as flash:
        flash.read_only = True
        queue = FlashQueue(FOLDER, **QUEUE)
        pushed, error = pushes(queue)
        numbers = drained(queue)
        flash.read_only = False
        numbers += drained(queue)
        say({"pushed": pushed, "error": error, "out": numbers, "fault": outlived(numbers)})


def store(name):
    """Write the image of stored() to a file, as a dump of a board's flash."""
    with open(name, "wb") as file:
        file.write(stored())


def letters(name):
    """The same of a board with the first LETTERS readings as dead letters, REASONS in turn."""
    with Mounted(formatted()) as flash:
        dead = DeadLetters("/f/dead", 8192)
        for i in range(LETTERS):
            assert dead.add(_PAYLOADS[i], len(_PAYLOADS[i]), REASONS[i % len(REASONS)])
    with open(name, "wb") as file:
        file.write(flash.image)


def drain(folder):
    """What a queue in a folder of this computer gives out."""
    queue = FlashQueue(folder, **QUEUE)
    say(drained(queue))


if __name__ == "__main__":
    run((metadata_flips, bit_flips, truncations, full, read_only, store, letters, drain))
