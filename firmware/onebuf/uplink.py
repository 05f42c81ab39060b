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
_ENOMEM = const(-12)
_EACCES = const(-13)  # the cloud refused the login
_EMSGSIZE = const(-90)
_TIMEOUT_MS = const(30000)
_DAY_S = const(86400)
_FRESH_S = const(120)  # so long a signature waits in connect() for its forward()
_NEVER = const(-1000)  # longer ago than _FRESH_S, whatever the time is


class Uplink:
    """Wires a client, a cloud, a queue and a backoff.

    random() gives 16 bits; clock, a Clock, where the cloud needs the time. accepted, rejected and
    retries count records; result is what the client said last, a status or -errno, or the code of
    a cloud that has its own. signed says that the publish's head is in the buffer: who uses the
    client for something else clears it.
    dead_letters, a DeadLetters, if it is set, keeps the records refused for good.
    """

    def __init__(self, client, cloud, queue, backoff, random, clock=None):
        self.client = client
        self.cloud = cloud
        self.queue = queue
        self.backoff = backoff
        self.random = random
        self.clock = clock
        self.accepted = self.rejected = self.retries = 0
        self.result = self.wait_ms = 0
        self.dead_letters = None
        self.signed = False
        self._until = 0  # when the head is to be written anew, in the clock's seconds; 0: never
        self._peeked = -1  # which record of the queue was sent last, or is to be sent
        self._sealed = _NEVER  # when the cloud signed that record, in the clock's seconds

    def connect(self, timeout_ms: int = _TIMEOUT_MS) -> int:
        """Do what allocates, so that forward() does not: 0, or -errno.

        The head is written where it is due, the cloud's login done, the oldest record signed where
        the cloud wants that, and the connection opened if it is closed. After a failure wait_ms
        says how long to wait. ValueError: the buffer has no room for the head.
        """
        if self.dead_letters:
            self.dead_letters.connect(self)
        if self._exchange(None, timeout_ms, True) == _ACCEPTED:
            return 0
        if self.backoff:
            self._hold()
        return self.result if self.result < 0 else _EACCES

    def forward(self, budget_ms: int = -1, timeout_ms: int = _TIMEOUT_MS) -> int:
        """Send what is queued, oldest first, until the cloud bids to wait: how many it accepted.

        timeout_ms bounds each exchange, and budget_ms all of them; negative: nothing does. Call it
        again after wait_ms, which is 0 when the queue is empty or the time was up between two.
        """
        before = self.accepted
        bounded = budget_ms >= 0
        if bounded:
            self.client.transport.within(budget_ms)
        try:
            while len(self.queue) and (not bounded or self.client.transport.within()):
                if self.step(timeout_ms) == _RETRY:
                    break
        finally:
            if bounded:
                self.client.transport.within(-1)
        return self.accepted - before

    def step(self, timeout_ms: int = _TIMEOUT_MS) -> int:
        """Send the oldest record of the queue, which must not be empty: its outcome."""
        judgement = self._exchange(None, timeout_ms, False)
        stands = self.queue.first == self._peeked  # else it was dropped meanwhile, to make room
        if judgement == _REJECTED and stands and self.dead_letters:
            judgement = self.dead_letters.step(self)
        if judgement == _RETRY:
            self.retries += 1
            self._hold()
            return _RETRY
        if stands:
            self.queue.pop()
        if self.result > 0 and self.backoff.done:
            self.backoff.reset()
        self.wait_ms = 0
        if judgement == _ACCEPTED:
            self.accepted += 1
        else:
            self.rejected += 1
        return judgement

    def exchange(self, body, timeout_ms: int) -> int:
        """One publish of body, or of the oldest record if it is None: ACCEPTED, RETRY or REJECTED.

        With spent credentials or a wrong clock it is sent once more behind a new head.
        """
        return self._exchange(body, timeout_ms, False)

    def _exchange(self, body, timeout_ms, dry):
        """The same; dry: all but the publish itself."""
        judgement = self._try(body, timeout_ms, dry)
        if judgement != _ACCEPTED and judgement != _REJECTED and self._healed(judgement):
            judgement = self._try(body, timeout_ms, dry)
            if judgement == _RETRY or judgement == _REAUTH:
                self._healed(judgement)
                judgement = _RETRY
        return judgement

    def _healed(self, judgement):
        """Whether a new head may help: the credentials are spent, or the clock was wrong."""
        reply = self.client.response
        r = self.result if self.result != _EMSGSIZE else reply.status
        if self.clock and self.clock.correct(r, reply) and (r < 429 or r > 599):
            judgement = _REAUTH  # else it was not because of the clock
        if judgement == _REAUTH:
            self.signed = False
        return judgement == _REAUTH

    def _try(self, body, timeout_ms, dry):
        client = self.client
        try:
            if (not self.signed or self._until) and self._begin(timeout_ms) != _ACCEPTED:
                return _RETRY
            n = -1
            if body is not None:
                n = len(body)
            elif self.queue is not None:
                n = self.queue.peek(client.room)
            if self.cloud.signs and n >= 0:
                self._seal(body, n)
        except MemoryError:  # also where the heap is locked and connect() would have had to sign
            self.result = _ENOMEM
            return _RETRY
        if dry:
            return self._open(timeout_ms)
        return self._ask(body, n, timeout_ms)

    def _open(self, timeout_ms):
        r = self.client.poll()
        self.result = r if r > 0 else self.client.connect(timeout_ms)
        return _RETRY if self.result < 0 else _ACCEPTED

    def _ask(self, body, n, timeout_ms):
        self._sealed = _NEVER
        if body is None:
            self._peeked = self.queue.first
        if not 0 <= n <= self.cloud.max_payload:
            self.result = _E2BIG
            return _REJECTED
        self.result = self.client.request(body, 0, n, timeout_ms)
        return self._judged(self.result, self.client.response)

    def _judged(self, r, reply):
        """The outcome of an exchange that ended with r.

        A function of its own: a frame of more than eleven words would be taken from the heap.
        """
        if r == _EMSGSIZE:  # too long for us, but its beginning says what becomes of the record
            r = reply.status
            reply.n = reply.end - reply.off
        if r < 200:
            return _RETRY
        judgement = self.cloud.outcome(reply)
        if self.result > 0:
            self.result = reply.status
        return judgement

    def _begin(self, timeout_ms):
        """Write the head if it is due, with a login before it where the cloud wants one."""
        self._write()
        login = self.cloud.login
        if not login:
            return _ACCEPTED
        self.signed = False
        judgement = self._ask(login, len(login), timeout_ms)
        if judgement == _ACCEPTED:
            self._write()
        return judgement

    def _seal(self, body, n):
        """Have the cloud sign body, or the oldest record, unless it has done so just now."""
        clock = self.clock
        s = clock.seconds() if clock else 0
        first = self.queue.first if body is None else -1
        if first < 0 or first != self._peeked or not 0 <= s - self._sealed < _FRESH_S:
            buf = self.client.room if body is None else body
            self.cloud.sign(self.client.head, buf, n, clock.now() if clock else 0)
            self._peeked = first
            self._sealed = s

    def _write(self):
        clock = self.clock
        s = clock.seconds() if clock else 0
        if self.signed and (not self._until or s < self._until):
            return
        self.signed = False
        self._sealed = _NEVER
        life = self.cloud.refresh(self.client.head, clock.now() if clock else 0)
        self._until = s + life * 4 // 5 if clock and life else 0
        self.client.window()
        self.signed = True

    def _hold(self):
        """Not now: Retry-After wins over the backoff, which it leaves as it is."""
        s = self.client.response.number(b"retry-after") if self.result > 0 else -1
        if s >= 0:
            self.wait_ms = min(s, _DAY_S) * 1000
            return
        ms = self.backoff.next_ms(self.random())
        self.wait_ms = ms if ms >= 0 else self.backoff.cap_ms
