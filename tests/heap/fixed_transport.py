"""A transport that allocates nothing, and the lock under which everything here runs."""

import gc

import micropython


def locked(function):
    """Call function() with the heap locked: what it allocates is a MemoryError."""
    gc.collect()
    before = gc.mem_alloc()
    micropython.heap_lock()
    try:
        function()
    finally:
        micropython.heap_unlock()
    after = gc.mem_alloc()
    assert after == before, "%d bytes taken" % (after - before)


class FixedTransport:
    """Answers each request with the same octets, in pieces, waiting before each of them."""

    def __init__(self, answer, piece=1000, most=1000):
        self.answer = answer
        self.piece = piece  # octets that arrive at once
        self.most = most  # octets that a write takes
        self.written = self.waits = self.sleeps = self.connects = 0
        self.error = 0  # what readinto() returns instead
        self.errors = 0  # how often
        self._at = -1  # what of the answer was read; -1: nothing was asked
        self._ready = False

    def start(self, timeout_ms):
        self._ready = False

    def connect(self, host, port):
        self.connects += self._ready
        return self._turn()

    def write(self, buf, off, n):
        if not self._turn():
            return 0
        self._at = 0
        self.written += min(n, self.most)
        return min(n, self.most)

    def readinto(self, view):
        if self._at < 0:
            return 0
        if self.errors:
            self.errors -= 1
            return self.error
        if not self._turn():
            return 0
        n = min(self.piece, len(view), len(self.answer) - self._at)
        for i in range(n):
            view[i] = self.answer[self._at + i]
        self._at += n
        if self._at == len(self.answer):
            self._at = -1
        return n

    def wait_readable(self):
        self.waits += 1
        return 0

    def wait_writable(self):
        self.waits += 1
        return 0

    def sleep_ms(self, ms):
        self.sleeps += 1

    def close(self):
        self._at = -1

    def _turn(self):
        """Every second call would block."""
        self._ready = not self._ready
        return 0 if self._ready else 1
