"""The board's end of the serial line: a pseudo-terminal, and what can go wrong with it."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import dataclass

_PATIENCE_MS = 1000  # then what the host does not take is lost, as on a UART


@dataclass(frozen=True)
class Faults:
    """What goes wrong until the board is plugged in again.

    unplug_at: how many octets from the host it receives before the cable is pulled;
    unplug_after_s: or after how many seconds; noise_every: each that many octets, in either
    direction, one arrives changed; deaf: it does not enter download mode, whatever comes.
    """

    unplug_at: int | None = None
    unplug_after_s: float | None = None
    noise_every: int = 0
    deaf: bool = False


class Unplugged(Exception):
    """The cable was pulled."""


class Line:
    """A new pseudo-terminal; `port` is what a serial program opens."""

    def __init__(self, faults: Faults) -> None:
        import tty  # here: Windows has neither this nor pseudo-terminals

        self.descriptor, terminal = os.openpty()
        tty.setraw(terminal)  # or what is written would come back as if the host had sent it
        self.port = os.ttyname(terminal)
        os.close(terminal)
        os.set_blocking(self.descriptor, False)
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)
        self._faults = faults
        self._left = faults.unplug_at
        self._passed = 0
        self._name = -1

    def opened(self) -> bool:
        """Whether a program has the port open."""
        return not any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def read(self) -> bytes:
        """Return what has come, if anything; Unplugged."""
        if self._left == 0:
            raise Unplugged
        try:
            got = os.read(self.descriptor, 65536 if self._left is None else min(self._left, 65536))
        except OSError:  # EAGAIN: nothing; EIO: nobody has it open
            return b""
        if self._left is not None:
            self._left -= len(got)
        return self._disturbed(got)

    def write(self, octets: bytes) -> None:
        """Send; lost without a reader."""
        rest = memoryview(self._disturbed(octets))
        ready = select.poll()
        ready.register(self.descriptor, select.POLLOUT)
        while rest and self.opened():
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                if not ready.poll(_PATIENCE_MS):
                    return
            except OSError:
                return

    def close(self) -> None:
        """Pull the cable: the port is gone, and its name nobody else's until release()."""
        with suppress(OSError):
            self._name = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
        os.close(self.descriptor)

    def release(self) -> None:
        """Let the system give the port's name away."""
        if self._name >= 0:
            os.close(self._name)
            self._name = -1

    def _disturbed(self, octets: bytes) -> bytes:
        every = self._faults.noise_every
        if not every:
            return octets
        changed = bytearray(octets)
        for i in range(every - 1 - self._passed % every, len(changed), every):
            changed[i] ^= 0x55
        self._passed += len(octets)
        return bytes(changed)
