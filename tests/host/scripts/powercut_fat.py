"""What the queue on FAT keeps after a cut at each operation: told, for there is no promise.

argv[1] as in powercut.py, whose application this is.
"""

import powercut
from powercut import CHIP, FORWARD, QUEUE, Ledger, Tally, journalled, run, say, vars_of
from powercut_flash import Card, Sectors

CHIPS = {
    "flash": {"kind": Sectors, "block": 4096, "blocks": 48},
    "card": {"kind": Card, "block": 512, "blocks": 384},
}
# What may befall a queue on FAT, by the words with which the fault begins.
KINDS = {
    "unusable": ("OSError", "RuntimeError('refused"),  # to be formatted anew
    "lost": ("lost",),
    "again": ("window",),
    "numbered anew": ("sequence",),
    "order": ("order",),
}


class Loss(Tally):
    """Counts what befell the queue by its kind; what is left in faults may not be at all."""

    def __init__(self, window):
        Tally.__init__(self, window)
        self.kinds = {kind: 0 for kind in KINDS}

    def try_on(self, where, image, ledger):
        Tally.try_on(self, where, image, ledger)
        fault = self.faults[-1][1] if self.faults else ""
        for kind in KINDS:
            if fault.startswith(KINDS[kind]):
                self.kinds[kind] += 1
                self.faults.pop()


def fat(shard, shards, chip, batch, readings, window):
    """Cut at every operation of a run; of several shards this one's."""
    CHIP.update(CHIPS[chip])
    powercut.READINGS = readings
    QUEUE.update(batch=batch, segment=1024)
    FORWARD["every"] = 20
    tally = Loss(window)
    for index, how, left, ledger in journalled(powercut.formatted(), Ledger()):
        tally.count(how, left)
        if index % shards == shard:
            tally.try_on([index, how], left.copy(), ledger)
    told = vars_of(tally)
    told["kinds"] = tally.kinds
    say(told)


if __name__ == "__main__":
    run((fat,))
