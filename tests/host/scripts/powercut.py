"""An application in the power-cut laboratory: it measures, queues on flash, forwards, and is cut.

argv[1]: a command in JSON, [name, argument...]; the commands are the functions in COMMANDS. Each
prints lines of JSON. LittleFS is the runtime's own, on host/powercut_flash.py.
"""

import gc
import json
import os
import sys

import vfs
from onebuf.backoff import Backoff
from onebuf.flash_queue import FlashQueue
from onebuf.uplink import Uplink
from powercut_flash import AFTER, BEFORE, ERASED, HALF, Flash, PowerCut, apply, half

BLOCK = 4096
BLOCKS = 48
READINGS = 300
QUEUE = {"batch": 10}  # what FlashQueue takes, by name
CHIP = {"kind": Flash, "block": BLOCK, "blocks": BLOCKS}
FORWARD = {"every": 20}  # readings
_RETRY_BOUND = 1000


def unkept(queue):
    """How many of the records pushed a power cut may take."""
    return (queue.next - queue.synced) & 0x1FFFFFFF


def reading(i):
    """What is measured the i-th time: 20 to 89 octets that can be told from all others."""
    return b"%d:" % i + bytes([(i * 31 + k * 7) & 255 for k in range(16 + i * 37 % 70)])


def number(payload):
    """Which reading it is, or -1 if it is none or is not intact."""
    try:
        i = int(payload[: payload.index(b":")])
    except ValueError:
        return -1
    return i if i < READINGS and payload == _PAYLOADS[i] else -1


_PAYLOADS = [reading(i) for i in range(READINGS)]


class Ledger:
    """What a power cut does not touch: the promises to the application, and what the cloud has.

    measured, kept: the number of readings pushed, and of those that push's promise covers.
    sessions: for each start of the device (sequence number, reading) as the cloud accepted them.
    """

    def __init__(self, other=None):
        self.measured = other.measured if other else 0
        self.kept = other.kept if other else 0
        self.spent = other.spent | set() if other else set()  # what a cut was allowed to take
        self.sessions = [list(s) for s in other.sessions] if other else []

    def note(self, name, *values):
        if name == "accepted":
            self.sessions[-1].append(values)
        elif name == "boot":
            self.sessions.append([])
            self.spent.update(range(self.kept, self.measured))
        else:
            setattr(self, name, values[0])

    def fault(self, window, repeats):
        """What of the promise is broken, or "". window: readings that may arrive twice after a
        cut; repeats: whether a reading may be sent again within a session."""
        numbers = {}  # of sequence, and the reading that has it
        arrived = set()
        latest = -1
        for session in self.sessions:
            last = -1
            for seq, i in session:
                if i < 0:
                    return f"corrupt: {seq}"
                if numbers.setdefault(seq, i) != i:
                    return f"sequence number {seq} for {numbers[seq]} and {i}"
                if i < last or (i == last and not repeats):
                    return f"order: {i} after {last}"
                if i < latest and i not in arrived:
                    return f"order: {i} for the first time after {latest}"
                last = i
            new = {i for _, i in session}
            if len(new & arrived) > window:
                return f"window: {len(new & arrived)} twice"
            arrived |= new
            latest = max(latest, last)
        return self._lost(arrived)

    def _lost(self, arrived):
        for i in range(self.kept):
            if i not in arrived and i not in self.spent:
                return f"lost: {i} of {self.kept} kept"
        return ""

    def twice(self):
        """How many readings arrived more than once."""
        every = [i for session in self.sessions for _, i in session]
        return len(every) - len(set(every))


class Response:
    status = 0

    def number(self, name):
        return -1


class Client:
    """Stands for the client and its server: cloud(sequence, payload) gives a status or -errno."""

    head = None
    requests = 0

    def __init__(self, cloud):
        self.response = Response()
        self.cloud = cloud
        self.queue = None
        self.buf = self.room = memoryview(bytearray(256))

    def window(self):
        return self.buf

    def poll(self):
        return 1

    def request(self, body, off, n, timeout_ms):
        status = self.cloud(self.queue.first, bytes(self.buf[:n]))
        self.response.status = max(status, 0)
        return status


class Service:
    """The least that a cloud module is."""

    login = signs = None
    max_payload = 4096

    def refresh(self, head, now):
        return 0

    def outcome(self, reply):
        return 0 if reply.status == 200 else 1


class Application:
    """One start of the device, with Client's server for a cloud.

    note() is told what happens; answer() is the cloud's to a request: status or -errno, recorded.
    """

    def __init__(self, note, answer=None):
        self.note = note
        self.answer = answer
        note("boot")

    def run(self, first):
        """Measure the readings from first on, forward now and then, and at the end all."""
        queue = FlashQueue("/f/queue", **QUEUE)
        uplink = self.wire(queue)
        for i in range(first, READINGS):
            self.note("measured", i + 1)
            if not queue.push(_PAYLOADS[i]):
                raise RuntimeError(f"refused: {queue.error}")
            self.note("kept", i + 1 - unkept(queue))
            if i % FORWARD["every"] == FORWARD["every"] - 1:
                self.forward(uplink)
        if not queue.sync():
            raise RuntimeError(f"sync: {queue.error}")
        self.note("kept", READINGS)
        for _ in range(_RETRY_BOUND):
            if not len(queue):
                return
            self.forward(uplink)
        raise RuntimeError("never empty")

    def wire(self, queue):
        client = Client(self.accept)
        client.queue = queue
        return Uplink(client, Service(), queue, Backoff(1, 1, 1), lambda: 0)

    def forward(self, uplink):
        uplink.forward()

    def accept(self, sequence, payload):
        status, recorded = self.answer() if self.answer else (200, True)
        if recorded:
            self.note("accepted", sequence, number(payload))
        return status


class OnCloud(Application):
    """The same at the cloud that config.json names, wired by firmware/main.py."""

    def wire(self, queue):
        import main

        with open("config.json") as file:
            uplink = main.wire(json.load(file))
        uplink.queue = queue
        return uplink

    def forward(self, uplink):
        uplink.connect()
        uplink.forward()


def chip(image, *arguments):
    """A chip with the contents image; arguments as Flash's after block_size."""
    return CHIP["kind"](image, CHIP["block"], *arguments)


def file_system(flash, mtime=True):
    """What is on it: LittleFS, or FAT on a chip that has sectors."""
    return vfs.VfsFat(flash) if flash.sectors else vfs.VfsLfs2(flash, mtime=mtime)


def start(application, flash, first, mtime=True):
    """Start the device and let it run to its end: whether it came there. Else the power went.

    mtime: LittleFS keeps the time of files, as on boards; without it each run is the same.
    """
    try:
        vfs.mount(file_system(flash, mtime), "/f")
        application.run(first)
        return True
    except PowerCut:
        return False
    finally:
        if "f" in os.listdir("/"):
            vfs.umount("/f")
        flash.unplug()


def formatted():
    """A chip as the factory delivers it, with an empty file system."""
    image = bytearray(ERASED * (CHIP["block"] * CHIP["blocks"]))
    flash = chip(image)
    (vfs.VfsFat if flash.sectors else vfs.VfsLfs2).mkfs(flash)
    return image


def journalled(image, ledger, application=Application):
    """Run to the end from image; then give what a cut at each operation would have left.

    Yields [index, how, image, ledger], for a cut before it, half-way, and right after it. The
    journal has operations and events in one list: up to there it says what is on the chip and
    what was promised and sent.
    """
    journal = []

    def note(*event):
        journal.append(event)

    start(application(note), chip(bytearray(image), journal), ledger.measured)
    image = bytearray(image)
    ledger = type(ledger)(ledger)
    index = 0
    for entry in journal:
        if isinstance(entry[0], str):
            ledger.note(*entry)
            continue
        for how in (BEFORE, HALF, AFTER):
            yield index, how, Left(image, entry, how), ledger
        apply(image, *entry)
        index += 1


class Left:
    """What a cut leaves of image when an operation comes; a copy is made of it when asked for."""

    def __init__(self, image, operation, how):
        self.image = image
        self.operation = operation
        self.how = how
        self.erases = isinstance(operation[1], int)

    def copy(self):
        left = bytearray(self.image)
        if self.how != BEFORE:
            at, data, replace = self.operation
            apply(left, at, half(data) if self.how == HALF else data, replace)
        return left


class Tally:
    """Counts the positions that were tried, and what went wrong there."""

    def __init__(self, window, application=Application):
        self.window = window
        self.application = application
        self.positions = self.operations = self.erases = self.twice = 0
        self.faults = []

    def try_on(self, where, image, ledger):
        """Start with what the cut left, and run to the end: the ledger of it."""
        ledger = type(ledger)(ledger)
        try:
            start(self.application(ledger.note), chip(image), ledger.measured)
            fault = ledger.fault(self.window, False)
        except Exception as error:
            fault = repr(error)
        self.positions += 1
        self.twice = max(self.twice, ledger.twice())
        if fault:
            self.faults.append([where, fault])
        return ledger

    def count(self, how, left):
        if how == BEFORE:
            self.operations += 1
            self.erases += left.erases


def positions(shard, shards, window, batch=10, every=20, segment=4096):
    """Cut at every operation of a run of READINGS; of several shards this one's.

    window: as in Ledger.fault(). every: so many readings from one forward() to the next.
    """
    QUEUE.update(batch=batch, segment=segment)
    FORWARD["every"] = every
    tally = Tally(window)
    for index, how, left, ledger in journalled(formatted(), Ledger()):
        tally.count(how, left)
        if index % shards == shard:
            tally.try_on([index, how], left.copy(), ledger)
    say(vars_of(tally))


def positions_after_a_cut(shard, shards, window, step, bound):
    """Cut half-way through each step-th operation, and again at the first ones after the start."""
    tally = Tally(window)
    for index, how, left, ledger in journalled(formatted(), Ledger()):
        if how != HALF or index % (step * shards) != step * shard:
            continue
        for again, then, left_again, ledger_again in journalled(left.copy(), ledger):
            if again >= bound:
                break
            tally.count(then, left_again)
            tally.try_on([index, how, again, then], left_again.copy(), ledger_again)
    say(vars_of(tally))


def boasted(shards, window):
    """The same with an application that believes every push durable at once: it must show."""
    global unkept
    unkept = lambda queue: 0  # noqa: E731
    positions(0, shards, window)


def vars_of(tally):
    names = ("positions", "operations", "erases", "twice", "faults")
    return {name: getattr(tally, name) for name in names}


class Chance:
    """The same numbers for the same seed on every runtime."""

    def __init__(self, seed):
        self.state = seed * 2654435761 % 0x7FFFFFFF or 1

    def below(self, n):
        self.state = self.state * 48271 % 0x7FFFFFFF
        return self.state % n


def random_run(seed, window):
    """Cuts by chance, and a cloud with faults, through several starts to the end."""
    chance = Chance(seed)
    image = formatted()
    ledger = Ledger()
    tally = {"seed": seed, "cuts": 0, "faults": 0}

    def answer():
        tally["faults"] += 1
        kind = chance.below(12)
        if kind == 0:
            return 429, False
        if kind == 1:
            return -104, False  # reset before the cloud had it
        if kind == 2:
            return -104, True  # after: the answer is lost
        tally["faults"] -= 1
        return 200, True

    ended = False
    while not ended:
        flash = chip(image)
        if tally["cuts"] < 12:
            flash.cut = chance.below((20, 200, 2000)[chance.below(3)])
            flash.how = chance.below(3)
        ended = start(Application(ledger.note, answer), flash, ledger.measured)
        tally["cuts"] += not ended
    tally["fault"] = ledger.fault(window, True)
    tally["twice"] = ledger.twice()
    return tally


def random_runs(first, end, window):
    for seed in range(first, end):
        say(random_run(seed, window))
        gc.collect()


def live(name, cut, how, first, at_cloud=False):
    """A device on an image in a file that stops dead: says what happens, waits to be killed."""
    with open(name, "r+b") as file:
        image = bytearray(file.read())
        flash = chip(image, None, file)
        flash.cut = cut
        flash.how = how
        flash.power_cut = stop_dead
        kind = OnCloud if at_cloud else Application
        start(kind(lambda *event: say(event)), flash, first, mtime=False)
    say(["end"])


def stop_dead():
    say(["cut"])
    while True:
        sys.stdin.read()


def rehearsed(name, cut, how):
    """The same as live(), and again after the cut, in one process; the image goes to the file."""
    image = formatted()
    ledger = Ledger()

    def note(*event):
        ledger.note(*event)
        say(event)

    flash = chip(image)
    flash.cut = cut
    flash.how = how
    while not start(Application(note), flash, ledger.measured, mtime=False):
        say(["cut"])
        with open(name, "wb") as file:
            file.write(image)
        flash = chip(image)
    say(["end"])


def factory(name):
    """Write the image of an empty file system to a file."""
    with open(name, "wb") as file:
        file.write(formatted())


def say(value):
    print(json.dumps(value))


COMMANDS = (positions, positions_after_a_cut, boasted, random_runs, live, rehearsed, factory)


def run(functions=COMMANDS):
    """Call the one of functions that argv names."""
    name, *arguments = json.loads(sys.argv[-1])
    {function.__name__: function for function in functions}[name](*arguments)


if __name__ == "__main__":
    run()
