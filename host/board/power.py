"""What an emulated board does from the plugging in of its cable to the pulling of it.

A pseudo-terminal has no DTR and RTS (the ioctl fails with ENOTTY, which esptool reports and
mpremote passes over), so the lines that reset a board are replaced by what can be seen on it:
the loader's SYNC packet puts the application into download mode, and closing the port after a
session there resets it into the application. So `esptool --before no-reset` and mpremote run
unchanged; esptool's `default-reset` works as well, and warns.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable

from host import partitions
from host.board.application import Application, Settings
from host.board.chip import Chip
from host.board.flash import Flash
from host.board.line import Faults, Line, Unplugged
from host.board.rom import Loader, find_sync
from host.boards import Board

_EPOCH = 946684800  # 2000-01-01, where the chip's clock begins
_POWER_ON, _BY_SOFTWARE = 1, 2  # machine.reset_cause()
_TICK_MS = 20
_AGAIN_S = 0.3  # between two attempts to boot
_JOIN_S = 10.0
_INVALID = "invalid header: 0xffffffff"
_WAITS = "waiting for download"


class Power:
    """One power-on, in a thread of its own, which ends with Unplugged or by stop()."""

    def __init__(self, board: Board, chip: Chip, flash: Flash, faults: Faults) -> None:
        self._board, self._chip, self._flash, self._faults = board, chip, flash, faults
        self._line = Line(faults)
        self.port = self._line.port
        self._application: Application | None = None
        self._loader: Loader | None = None
        self._session = False  # somebody has talked to the loader
        self._recent = b""
        self._ahead = _EPOCH - int(time.time())
        self._again = 0.0
        self._asked: Callable[[], None] | None = None
        self._wake, self._waker = os.pipe()
        self._stop = self._pulled = False
        self._until = time.monotonic() + (faults.unplug_after_s or 1e9)
        self._thread = threading.Thread(target=self._run, name=self.port, daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Whether the cable is in."""
        return not self._pulled

    def started(self) -> bool:
        """Whether the program that is in the flash, if one is, has mounted its file system."""
        if self._asked or self._loader:
            return False
        there = self._application
        return there.started if there else bool(self._again)

    @property
    def process(self) -> int:
        """The ID of the process that runs the program, 0 where none does."""
        there = self._application
        return there.process if there else 0

    def stop(self) -> None:
        """Pull the cable."""
        self._stop = True
        self._notify()
        self._thread.join(_JOIN_S)
        os.close(self._waker)

    def release(self) -> None:
        """After stop(): let the system give the port's name away."""
        self._line.release()

    def reset(self, download: bool) -> None:
        """Press the reset button, with or without that named BOOT."""
        self._asked = self._download if download else self._boot
        self._notify()

    def _notify(self) -> None:
        with contextlib.suppress(OSError):  # it has been unplugged meanwhile
            os.write(self._waker, b"!")

    def _run(self) -> None:
        try:
            self._boot()
            while not self._stop and time.monotonic() < self._until:
                self._step()
        except Unplugged:
            pass
        finally:
            self._pulled = True  # before anybody can notice it at the port
            self._halt()
            self._line.close()
            os.close(self._wake)

    def _step(self) -> None:
        for descriptor in self._ready():
            if descriptor == self._wake:
                os.read(self._wake, 64)
        if self._asked:
            asked, self._asked = self._asked, None
            asked()
        octets = self._line.read()
        if octets:
            self._received(octets)
        if self._application:
            self._serve(self._application)
        elif self._due():
            self._boot()

    def _due(self) -> bool:
        """Whether it leaves download mode, or tries again to boot."""
        if self._loader:
            return self._loader.reset or (self._session and not self._line.opened())
        return time.monotonic() > self._again

    def _ready(self) -> list[int]:
        poll = select.poll()
        for descriptor in (self._wake, *self._program()):
            poll.register(descriptor, select.POLLIN)
        if self._line.opened():
            poll.register(self._line.descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(_TICK_MS)]

    def _program(self) -> tuple[int, ...]:
        there = self._application
        return (there.output, there.control) if there else ()

    def _received(self, octets: bytes) -> None:
        if self._loader and self._session and not self._loader.knows(octets):
            self._boot()  # the port was closed, and opened again before it was looked at
        if not self._loader:
            self._recent = self._recent[-64:] + octets
            at = find_sync(self._recent)
            if at < 0 or self._faults.deaf:
                if self._application:
                    self._application.write(octets)
                return
            octets = self._recent[at:]
            self._enter()
        assert self._loader
        self._session = True
        self._line.write(self._loader.feed(octets))

    def _download(self) -> None:
        """Reset while BOOT is held."""
        self._enter()
        self._say(f"\r\n{self._chip.banner}\r\n{_WAITS}\r\n")

    def _enter(self) -> None:
        self._halt()
        self._session = False
        self._loader = Loader(self._chip, self._flash)

    def _boot(self, cause: int = _POWER_ON, raw: bool = False) -> None:
        """Start what lies in the flash, after a reset."""
        self._halt()
        place = self._place()
        self._say(f"\r\n{self._chip.banner}\r\n")
        if isinstance(place, str):
            self._again = time.monotonic() + _AGAIN_S
            return self._say(place + "\r\n")
        self._start(place, cause, raw)

    def _start(self, place: partitions.Partition, cause: int, raw: bool) -> None:
        board = self._board
        settings = Settings(
            flash=str(self._flash.path),
            offset=place.offset,
            size=place.size,
            flash_size=self._flash.size,
            mac=self._chip.mac.hex(),
            machine=f"{board.product} with {board.chip.upper()}",
            build=board.name,
            cause=cause,
            rtc=self._ahead,
            raw=raw,
        )
        self._application = Application(settings, board.heap_bytes)

    def _place(self) -> partitions.Partition | str:
        """The file system's partition; or what the boot loader says when it cannot boot."""
        if self._flash.read(self._chip.boot_loader, 1) != b"\xe9":
            return _INVALID
        try:
            table = partitions.parse(self._flash.read(partitions.OFFSET, 0xC00))
            return partitions.filesystem(
                partitions.checked(table, self._flash.size), self._flash.size
            )
        except partitions.TableError as error:
            return f"E (51) boot: {error}"

    def _serve(self, application: Application) -> None:
        """Pass on what the program says, and do what it asks for."""
        asked = application.told()
        said = application.read()  # in this order: what it said before it asked is there by now
        if application.cooked:
            said = said.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self._line.write(said)
        for what in asked:
            self._do(what)
        if not asked and application.ended():  # it crashed
            self._halt()
            self._again = time.monotonic() + _AGAIN_S

    def _do(self, what: str) -> None:
        word, _, rest = what.partition(" ")
        if word == "rtc":
            self._ahead = int(rest)
        elif word == "soft":
            place = self._place()
            self._halt()
            if not isinstance(place, str):
                self._start(place, 5, rest == "raw")
        else:
            self._boot(_BY_SOFTWARE)

    def _halt(self) -> None:
        if self._application:
            self._application.close()
        self._application = self._loader = None
        self._recent = b""

    def _say(self, text: str) -> None:
        self._line.write(text.encode())
