"""Backoff: the sequences of FreeRTOS backoffAlgorithm, and fair shares (PROTOCOLS.md 5.5)."""

from checks import raises
from onebuf.backoff import Backoff

_LIMIT = 4194303
_TOP = 65535

# base, cap, attempts, the bound after each attempt; from the C code (vectors.json, "backoff")
SEQUENCES = (
    (1000, 10000, 5, (2000, 4000, 8000, 10000, 10000)),
    (500, 5000, 6, (1000, 2000, 4000, 5000, 5000, 5000)),
    (5000, 1000, 3, (1000, 1000, 1000)),
    (0, 1000, 3, (0, 0, 0)),
    (5000, 10001, 2, (10001, 10001)),
    (5000, 9999, 2, (9999, 9999)),
    (4999, 10000, 2, (9998, 10000)),
    (1, 1, 2, (1, 1)),
    (_LIMIT, _LIMIT, 2, (_LIMIT, _LIMIT)),
    (2097151, _LIMIT, 2, (_LIMIT, _LIMIT)),
    (2097150, _LIMIT, 2, (4194300, _LIMIT)),
)


def test_bounds_follow_the_c_library_until_the_attempts_are_exhausted():
    for base, cap, attempts, bounds in SEQUENCES:
        backoff = Backoff(base, cap, attempts)
        bound = base
        for n in range(attempts):
            assert backoff.bound_ms == bound and backoff.done == n
            assert backoff.next_ms(_TOP) == (bound + 1) * _TOP >> 16
            bound = bounds[n]
        assert backoff.bound_ms == bound and backoff.done == attempts
        for _ in range(3):
            assert backoff.next_ms(0) == -1
            assert backoff.bound_ms == bound and backoff.done == attempts


def test_the_bound_doubles_whatever_was_drawn():
    backoff = Backoff(1000, 10000, 5)
    for bound in (1000, 2000, 4000, 8000, 10000):
        assert backoff.bound_ms == bound
        assert backoff.next_ms(0) == 0


def test_no_attempts_are_exhausted_at_once():
    assert Backoff(1000, 10000, 0).next_ms(5) == -1


def test_negative_attempts_go_on_for_ever():
    backoff = Backoff(10, 40)
    for _ in range(1000):
        assert 0 <= backoff.next_ms(_TOP) <= 40
    assert backoff.next_ms(_TOP) == 40


def test_reset_begins_anew():
    backoff = Backoff(10, 100, 2)
    backoff.next_ms(0)
    backoff.next_ms(0)
    assert backoff.next_ms(0) == -1
    backoff.reset()
    assert backoff.next_ms(_TOP) == 10
    assert backoff.next_ms(_TOP) == 20
    assert backoff.next_ms(0) == -1


def _shares(bound):
    backoff = Backoff(bound, bound)
    counts = [0] * (bound + 1)
    last = 0
    for random in range(_TOP + 1):
        ms = backoff.next_ms(random)
        assert ms >= last, "a greater number gives no smaller delay"
        last = ms
        counts[ms] += 1
    return counts


def test_every_delay_has_the_same_share_of_the_random_numbers_give_or_take_one():
    for bound in (0, 1, 2, 999, 4095):
        counts = _shares(bound)
        assert min(counts) > 0 and max(counts) - min(counts) <= 1, bound


def test_delays_beyond_16_bits_are_spread_evenly_from_0_to_the_bound():
    for bound in (65535, 65536, 300000, _LIMIT):
        backoff = Backoff(bound, bound)
        n = bound + 1
        for random in range(0, _TOP + 1, 97):
            assert backoff.next_ms(random) == n * random >> 16
        assert backoff.next_ms(0) == 0
        assert backoff.next_ms(_TOP) == n * _TOP >> 16 <= bound


def test_the_widest_delay_reaches_its_inclusive_end_up_to_16_bits():
    for bound in (1, 1000, 65535):
        assert Backoff(bound, bound).next_ms(_TOP) == bound


def test_bounds_that_would_need_big_ints_are_refused():
    Backoff(0, 0)
    Backoff(_LIMIT, 0)
    for base, cap in ((-1, 10), (10, -1), (_LIMIT + 1, 10), (10, _LIMIT + 1)):
        raises(ValueError, Backoff, base, cap)
