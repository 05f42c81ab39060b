"""The application of powercut.py while its queue is full, dropping or refusing.

It forwards so seldom that most readings come when there is no room. argv[1] as in powercut.py.
"""

import powercut
from onebuf.flash_queue import FlashQueue
from powercut import QUEUE, READINGS, Application, Ledger, Tally, run, say

FORWARD_EVERY = 120  # readings
SIZE, SEGMENT = 4096, 1024
SEGMENT_HOLDS = SEGMENT // (20 + 10)  # readings of the shortest kind


class Losses(Ledger):
    """What may be lost besides: refused readings; dropped ones; and at a cut those that the push
    under way was dropping, which are the oldest ones, and no more than a segment holds."""

    def __init__(self, other=None):
        Ledger.__init__(self, other)
        self.numbers = dict(other.numbers) if other else {}  # the reading of each that waits
        self.pushing = other.pushing if other else False
        self.dropped = other.dropped if other else 0
        self.refused = other.refused if other else 0
        self.unreported = other.unreported if other else 0
        self.broken = other.broken if other else ""

    def note(self, name, *values):
        if name == "opened":
            self.open(*values)
        elif name == "pushed":
            number, i = values
            self.numbers[number] = i
        elif name == "refused":
            self.spent.add(values[0])
            self.refused += 1
        elif name == "dropped":
            first, told = values
            n = self.drop(first)
            self.dropped += n
            if n > told:
                self.broken = f"{n} gone, {told} told"
        else:
            self.pushing = name == "measured" or (self.pushing and name == "boot")
            if name == "accepted":
                self.numbers.pop(values[0], None)
            Ledger.note(self, name, *values)

    def open(self, first):
        """The queue was opened: first is its oldest number, so those before it have gone."""
        n = self.drop(first)
        self.unreported = max(self.unreported, n)
        if n > (SEGMENT_HOLDS if self.pushing else 0):
            self.broken = f"{n} gone unreported"
        self.pushing = False

    def drop(self, first):
        gone = {self.numbers.pop(n) for n in list(self.numbers) if n < first} - self.spent
        self.spent.update(gone)
        return len(gone)

    def fault(self, window, repeats):
        return self.broken or Ledger.fault(self, window, repeats)


class Overflowing(Application):
    """One start of the device: what is refused is not measured again."""

    def run(self, first):
        queue = FlashQueue("/f/queue", **QUEUE)
        self.note("opened", queue.first)
        self.pushed = {}  # the reading of each number since the start
        uplink = self.wire(queue)
        for i in range(first, READINGS):
            self.note("measured", i + 1)
            self.push(queue, i)
            if i % FORWARD_EVERY == FORWARD_EVERY - 1:
                self.forward(uplink)
        while len(queue):
            if queue.sync():
                self.note("kept", READINGS)
            self.forward(uplink)
        self.note("kept", READINGS)

    def push(self, queue, i):
        number = queue.next
        dropped = queue.dropped
        self.pushed[number] = i
        if queue.push(powercut._PAYLOADS[i]):
            self.note("pushed", number, i)
        elif queue.error or queue.drop_oldest:
            raise RuntimeError(f"refused: {i}: {queue.error}")
        else:
            self.note("refused", i)
        if queue.dropped != dropped:
            self.note("dropped", queue.first, queue.dropped - dropped)
        in_ram = queue.next != queue.synced
        self.note("kept", self.pushed[queue.synced] if in_ram else i + 1)


def full(shard, shards, window, batch, drop_oldest):
    """Cut at every operation, before it, half-way and after it; of several shards this one's."""
    QUEUE.update(batch=batch, drop_oldest=drop_oldest, size=SIZE, segment=SEGMENT)
    tally = Tally(window, Overflowing)
    unreported = 0
    for index, how, left, ledger in powercut.journalled(
        powercut.formatted(), Losses(), Overflowing
    ):
        tally.count(how, left)
        if index % shards == shard:
            after = tally.try_on([index, how], left.copy(), ledger)
            unreported = max(unreported, after.unreported)
    told = powercut.vars_of(tally)
    told.update(dropped=ledger.dropped, refused=ledger.refused, unreported=unreported)
    say(told)


if __name__ == "__main__":
    run((full,))
