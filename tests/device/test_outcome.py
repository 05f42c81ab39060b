"""Statuses judged where a cloud says nothing beyond HTTP."""

from onebuf.outcome import ACCEPTED, REAUTH, REJECTED, RETRY, from_status

RETRIED = (401, 403, 408, 429)


def test_the_outcomes_are_four():
    assert sorted((ACCEPTED, RETRY, REAUTH, REJECTED)) == [0, 1, 2, 3]


def test_every_2xx_is_accepted():
    for status in range(200, 300):
        assert from_status(status) == ACCEPTED


def test_what_passes_by_itself_or_speaks_of_the_device_is_retried():
    for status in RETRIED:
        assert from_status(status) == RETRY
    for status in range(500, 1000):
        assert from_status(status) == RETRY


def test_everything_else_is_the_request_s_own_fault():
    for status in range(300, 500):
        if status not in RETRIED:
            assert from_status(status) == REJECTED
