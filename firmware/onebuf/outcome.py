"""What a cloud makes of a reply, and so what becomes of the record that was sent."""

ACCEPTED = 0  # the cloud has it: forget it
RETRY = 1  # not now: keep it, wait, send it again
REAUTH = 2  # the credentials in the head are spent: write a new head, send it again
REJECTED = 3  # never as it is: another try would end the same


def from_status(status: int) -> int:
    """The outcome where a cloud says nothing beyond HTTP (RFC 9110 section 15, RFC 6585).

    408, 429 and 5xx pass by themselves. 401 and 403 speak of the device, not of the record: the
    record is kept until someone has put the device's rights in order. All else is the request's
    own fault.
    """
    if status // 100 == 2:
        return ACCEPTED
    if status >= 500 or status in (401, 403, 408, 429):
        return RETRY
    return REJECTED
