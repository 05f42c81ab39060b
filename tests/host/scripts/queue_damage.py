"""Damage to a flash queue's files and file system, each on a copy of the same image.

argv[1] as in powercut.py, whose flash and readings these are.
"""

import os

import vfs
from onebuf.flash_queue import FlashQueue
from powercut import _PAYLOADS, BLOCK, QUEUE, formatted, number, run, say
from powercut_flash import Flash

FOLDER = "/f/queue"
STORED = 120  # readings
SENT = 30  # of them


class Mounted:
    """A file system on a copy of image, for a with statement."""

    def __init__(self, image):
        self.flash = Flash(bytearray(image), BLOCK)

    def __enter__(self):
        vfs.mount(vfs.VfsLfs2(self.flash), "/f")
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


def every(step, changes):
    """Try changes(size, step) of each file: a tally, with [file, where, what is wrong] of each."""
    image = stored()
    tally = {"tried": 0, "lost": 0, "faults": []}
    for name, size in sizes(image):
        for at, change in changes(size, step):
            fault, n = tried(image, name, change)
            tally["tried"] += 1
            tally["lost"] = max(tally["lost"], STORED - SENT - n)
            if fault:
                tally["faults"].append([name, at, fault])
    say(tally)


def bit_flips(step):
    """Flip a bit, at every step-th of each file."""
    every(step, lambda size, step: [(at, flipped(at)) for at in range(0, size * 8, step)])


def truncations(step):
    """Cut each file short, to every step-th length."""
    every(step, lambda size, step: [(n, lambda c, n=n: c[:n]) for n in range(0, size, step)])


def full():
    """Fill the file system: push refuses or says why; the rest comes out, and makes room."""
    with Mounted(stored()) as flash:
        with open("/f/large", "wb") as file:
            try:
                while True:
                    file.write(bytes(256))
                    file.flush()
            except OSError:
                pass
        queue = FlashQueue(FOLDER, **QUEUE)
        pushed, error = pushes(queue)
        numbers = drained(queue)
        os.remove("/f/large")
        fault = outlived(numbers)
        say(
            {
                "pushed": pushed,
                "error": error,
                "out": numbers,
                "fault": fault or survives(flash)[0],
            }
        )


def pushes(queue):
    """Push until the queue will not: how many it took, and its -errno."""
    n = STORED
    while n < len(_PAYLOADS) and queue.push(_PAYLOADS[n]):
        n += 1
    return n - STORED, queue.error


def read_only():
    """Flash that takes no writes any more: what waits can still be read and sent."""
    with Mounted(stored()) as flash:
        flash.read_only = True
        queue = FlashQueue(FOLDER, **QUEUE)
        pushed, error = pushes(queue)
        numbers = drained(queue)
        flash.read_only = False
        say({"pushed": pushed, "error": error, "out": numbers, "fault": outlived(numbers)})


def store(name):
    """Write the image of stored() to a file, as a dump of a board's flash."""
    with open(name, "wb") as file:
        file.write(stored())


def drain(folder):
    """What a queue in a folder of this computer gives out."""
    queue = FlashQueue(folder, **QUEUE)
    say(drained(queue))


if __name__ == "__main__":
    run((bit_flips, truncations, full, read_only, store, drain))
