"""The policy: queue -> cloud -> client -> outcome -> backoff. It alone acts on outcomes.

A record leaves the queue when the cloud has accepted it or will never do so. Until then it stays,
and wait_ms says how long to leave the cloud alone: what Retry-After says, else the backoff.
"""

from micropython import const

_ACCEPTED = const(0)  # these are outcome's
_RETRY = const(1)
_REAUTH = const(2)
_REJECTED = const(3)
_E2BIG = const(-7)
_EMSGSIZE = const(-90)
_TIMEOUT_MS = const(30000)
_DAY_S = const(86400)


class Uplink:
    """Wires a client, a cloud, a queue and a backoff.

    random() gives 16 bits; now() gives Unix time in seconds, or 0 where no clock is set.
    accepted, rejected and retries count records; result is what the client said last: a status, or
    -errno.
    """

    def __init__(self, client, cloud, queue, backoff, random, now=None):
        self.client = client
        self.cloud = cloud
        self.queue = queue
        self.backoff = backoff
        self.random = random
        self.now = now
        self.accepted = self.rejected = self.retries = 0
        self.result = self.wait_ms = 0
        self._signed = False
        self._peeked = 0  # which record of the queue was sent last

    def connect(self, timeout_ms: int = _TIMEOUT_MS) -> int:
        """Open the connection, one attempt: 0, or -errno. After it forward() allocates nothing.

        ValueError: the buffer has no room for the head.
        """
        self._sign()
        return self.client.connect(timeout_ms)

    def forward(self, timeout_ms: int = _TIMEOUT_MS) -> int:
        """Send what is queued, oldest first, until the cloud bids to wait: how many it accepted.

        timeout_ms bounds each exchange. Call it again after wait_ms, which is 0 when the queue is
        empty.
        """
        before = self.accepted
        while len(self.queue) and self.step(timeout_ms) != _RETRY:
            pass
        return self.accepted - before

    def step(self, timeout_ms: int = _TIMEOUT_MS) -> int:
        """Send the oldest record of the queue, which must not be empty: its outcome."""
        judgement = self.exchange(None, timeout_ms)
        if judgement == _RETRY:
            self._hold()
            return _RETRY
        if self.queue.first == self._peeked:  # else it was dropped meanwhile, to make room
            self.queue.pop()
        if self.result > 0:
            self.backoff.reset()
        self.wait_ms = 0
        if judgement == _ACCEPTED:
            self.accepted += 1
        else:
            self.rejected += 1
        return judgement

    def exchange(self, body, timeout_ms: int) -> int:
        """One publish of body, or of the oldest record if it is None: ACCEPTED, RETRY or REJECTED.

        With spent credentials it is sent once more behind a new head.
        """
        judgement = self._try(body, timeout_ms)
        if judgement == _REAUTH:
            self._signed = False
            judgement = self._try(body, timeout_ms)
        return _RETRY if judgement == _REAUTH else judgement

    def _try(self, body, timeout_ms):
        self._sign()
        if body is None:
            self._peeked = self.queue.first
            n = self.queue.peek(self.client.window())
        else:
            n = len(body)
        if not 0 <= n <= self.cloud.max_payload:
            self.result = _E2BIG
            return _REJECTED
        r = self.result = self.client.request(body, 0, n, timeout_ms)
        reply = self.client.response
        if r == _EMSGSIZE:  # too long for us, but the cloud has said what becomes of the record
            r = reply.status
        return self.cloud.outcome(reply) if r >= 200 else _RETRY

    def _sign(self):
        if not self._signed:
            self.cloud.refresh(self.client.head, self.now() if self.now else 0)
            self.client.window()
            self._signed = True

    def _hold(self):
        """Not now: Retry-After wins over the backoff, which it leaves as it is."""
        self.retries += 1
        s = self.client.response.number(b"retry-after") if self.result > 0 else -1
        if s >= 0:
            self.wait_ms = min(s, _DAY_S) * 1000
            return
        ms = self.backoff.next_ms(self.random())
        self.wait_ms = ms if ms >= 0 else self.backoff.cap_ms
