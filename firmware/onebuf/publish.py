"""For those who write three lines: publish() waits until the cloud has the payload, or raises."""

from onebuf import span
from onebuf.errno import strerror
from onebuf.outcome import ACCEPTED, REJECTED
from onebuf.uplink import Uplink


class PublishError(OSError):
    """errno: 0, or what onebuf.errno.strerror(-errno) explains; status: the answer's, or 0.

    Alibaba Cloud's own code stands for the status.
    """

    def __init__(self, result):
        super().__init__(max(-result, 0), strerror(result))
        self.status = max(result, 0)


class NotNow(PublishError):
    """The cloud could not be reached, or could not take it now: keep it and try again."""


class Refused(PublishError):
    """The cloud, or a limit of ours, refuses this payload for good."""


class Publisher(Uplink):
    """An Uplink without queue."""

    def __init__(self, client, cloud, clock=None):
        super().__init__(client, cloud, None, None, None, clock)

    def publish(self, payload, timeout_ms: int = 30000):
        """Send payload, octets. Raises NotNow, Refused, ValueError.

        timeout_ms bounds each exchange: one, or with spent credentials up to four.
        """
        if not isinstance(payload, span.OCTETS):
            raise ValueError("payload: bytes")
        judgement = self.exchange(payload, timeout_ms)
        if judgement != ACCEPTED:
            raise (Refused if judgement == REJECTED else NotNow)(self.result)
        self.accepted += 1
