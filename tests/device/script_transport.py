"""The scripted transport: what a peer does, as a list of events for each connection; no time.

The events of a connection are what readinto() meets, one by one:

    bytes      arrive
    0          would block, once
    REQUEST    nothing more comes before something is written
    EOF        the peer has closed its side, for good; another negative int is -errno, once
    (the end)  silence: wait_readable() sees the deadline pass

dialling and accepting do the same for connect() and write(), a result for each call; in write()
the most octets that it takes. SILENCE is a peer that never gets ready. Afterwards all is well.
"""

EOF = -108
SILENCE = -110
REQUEST = "request"
_REFUSED = -111
_BOUND = 20000  # calls; more is a loop without end


class ScriptTransport:
    """The contract of onebuf.port.micropython; each connection beyond the given ones is refused.

    dials and closes count attempts to connect and their ends: equal once all is closed.
    """

    def __init__(self, *connections):
        self._connections = list(connections)
        self.dialling = []
        self.accepting = []
        self.sent = bytearray()
        self.writes = []  # octets taken, write by write
        self.sleeps = []
        self.addresses = []
        self.timeouts = []
        self.budgets = []  # what within() was given
        self.lefts = []  # what within() says under a budget, call by call
        self.left = []
        self.dials = self.connects = self.closes = self.calls = 0
        self._faults = {}
        self._dead = 0  # what every call returns after a fault
        self._open = self._connected = False
        self._events = []
        self._at = self._off = self._seen = 0

    def fail_at(self, index, result):
        """The call of that index (from 0; start, sleep_ms and close do not count) goes wrong.

        A positive result is the most that a write takes, 0 would block, SILENCE lasts until the
        next start(), another negative int until close().
        """
        self._faults[index] = result

    def start(self, timeout_ms):
        self.timeouts.append(timeout_ms)
        self._dead = 0 if self._dead == SILENCE else self._dead

    def within(self, ms=None):
        if ms is None:
            return self.left.pop(0) if self.left else 1 << 27
        self.budgets.append(ms)
        self.left = self.lefts if ms >= 0 else []

    def connect(self, host, port):
        if not self._open:
            self._open = True
            self.dials += 1
            self.addresses.append((host, port))
        r = self._call(1)
        if r == 1:
            r = self._next(self.dialling, 1 if self._connections else _REFUSED)
        if r == 1:
            assert not self._connected, "connect() on an open connection"
            self._connected = True
            self.connects += 1
            self._events = self._connections.pop(0)
            self._at = self._off = 0
            self._seen = len(self.sent)
        return 0 if r == SILENCE and not self._dead else r

    def write(self, buf, off, n):
        most = self._call(n)
        if most == n:
            most = self._next(self.accepting, n)
        if most <= 0:
            return 0 if most == SILENCE and not self._dead else most
        assert self._connected and 0 <= off and 0 < n and off + n <= len(buf)
        n = min(n, most)
        self.sent.extend(bytes(memoryview(buf)[off : off + n]))
        self.writes.append(n)
        return n

    def readinto(self, view):
        if self._call(1) <= 0:
            return self._dead
        assert self._connected and len(view)
        event = self._event()
        if event is None or event == EOF:
            return event or 0
        if isinstance(event, int):
            self._at += 1
            return event
        n = min(len(view), len(event) - self._off)
        view[:n] = event[self._off : self._off + n]
        self._off += n
        if self._off == len(event):
            self._at += 1
            self._off = 0
        return n

    def wait_readable(self):
        r = self._call(1)
        return min(r, 0) if r <= 0 or self._event() is not None else self._time_out()

    def wait_writable(self):
        script = self.accepting if self._connected else self.dialling
        r = self._call(1)
        return min(r, 0) if r <= 0 or script[:1] != [SILENCE] else self._time_out()

    def sleep_ms(self, ms):
        self.sleeps.append(ms)

    def close(self):
        self.closes += self._open
        self._open = self._connected = False
        self._dead = self._dead if self._dead == SILENCE else 0

    def _call(self, well):
        """Count the call: well, or its fault."""
        fault = self._faults.get(self.calls, self._dead or well)
        self.calls += 1
        assert self.calls < _BOUND, "a loop without end"
        if fault < 0:
            self._dead = fault
        return fault

    def _time_out(self):
        self._dead = SILENCE
        return SILENCE

    def _next(self, script, otherwise):
        if not script:
            return otherwise
        return SILENCE if script[0] == SILENCE else script.pop(0)

    def _event(self):
        """The event that comes next, or None: silence so far."""
        if self._at < len(self._events) and self._events[self._at] is REQUEST:
            if len(self.sent) == self._seen:
                return None
            self._seen = len(self.sent)
            self._at += 1
        return self._events[self._at] if self._at < len(self._events) else None
