"""Exponential backoff with full jitter: FreeRTOS backoffAlgorithm's contract, without modulo bias.

Neither clock nor chance in here: the caller passes a random number and waits.
"""

_CAP_MS = 4_194_303  # 2**22 - 1: more than an hour, and the products below stay small ints


class Backoff:
    """Delays for up to attempts retries, or for ever with attempts < 0.

    The first lies in 0..base_ms, and that bound doubles after each until it is cap_ms.
    """

    def __init__(self, base_ms: int, cap_ms: int, attempts: int = -1):
        """ValueError: base_ms or cap_ms beyond 0..4,194,303 ms."""
        if not (0 <= base_ms <= _CAP_MS and 0 <= cap_ms <= _CAP_MS):
            raise ValueError("backoff")
        self.base_ms = base_ms
        self.cap_ms = cap_ms
        self.attempts = attempts
        self.reset()

    def reset(self):
        """Begin anew: after a success."""
        self.bound_ms = self.base_ms
        self.done = 0

    def next_ms(self, random: int) -> int:
        """How long to wait, 0..bound_ms inclusive; -1: the attempts are exhausted.

        random: 16 bits. It is scaled by a multiplication: each delay has its share of the 65,536
        numbers, give or take one.
        """
        if 0 <= self.attempts <= self.done:
            return -1
        n = self.bound_ms + 1
        ms = (n * (random >> 8) + (n * (random & 255) >> 8)) >> 8
        self.done += 1
        self.bound_ms = 2 * self.bound_ms if self.bound_ms < self.cap_ms // 2 else self.cap_ms
        return ms
