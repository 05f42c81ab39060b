"""The policy: what becomes of a record, and how long the cloud is left alone."""

from checks import lcg, raises
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.outcome import ACCEPTED, REAUTH, REJECTED, RETRY
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import EOF, REQUEST, ScriptTransport

_E2BIG = -7
_ENOMEM = -12
_EACCES = -13
_EMSGSIZE = -90
_ETIMEDOUT = -110
_ECONNREFUSED = -111
_EKEYEXPIRED = -127
_DAY_MS = 86400000


def answer(status, fields=b""):
    return b"HTTP/1.1 %d Any\r\n%sContent-Length: 0\r\n\r\n" % (status, fields)


_2020 = 1577836800


class Clock:
    """onebuf.clock's contract; correct() says what it is told to, and sets the time right."""

    def __init__(self, now, right=0):
        self.time = now
        self.right = right
        self.asked = []  # the results that correct() was asked about

    def seconds(self):
        return self.time - _2020

    def now(self):
        return self.time

    def correct(self, result, reply):
        self.asked.append(result)
        wrong = self.right and self.right != self.time
        self.time = self.right or self.time
        return bool(wrong)


class Cloud:
    """200: accepted, 400: rejected, 401: spent credentials, else not now."""

    host = "h"
    port = 8443
    max_payload = 100
    login = None
    signs = False

    def __init__(self):
        self.heads = []  # the time that each head was written for
        self.signed = []  # the bodies that were signed, and when
        self.life = 60

    def refresh(self, head, now):
        self.heads.append(now)
        head.start(b"POST", b"h", b"/%d" % len(self.heads))
        head.end()
        return self.life

    def sign(self, head, buf, n, now):
        self.signed.append((bytes(buf[:n]), now))

    def outcome(self, reply):
        return {200: ACCEPTED, 400: REJECTED, 401: REAUTH}.get(reply.status, RETRY)


def uplink(*connections, size=200, queue=None, attempts=-1):
    cloud = Cloud()
    c = Client(ScriptTransport(*connections), bytearray(size), cloud.host, cloud.port)
    backoff = Backoff(1000, 4000, attempts)
    queue = Queue(500) if queue is None else queue
    return Uplink(c, cloud, queue, backoff, lambda: 65535)


def exchanges(*statuses):
    events = []
    for status in statuses:
        events += [REQUEST, answer(status)]
    return events


def bodies(u):
    """Return what the server was sent, request by request."""
    found = []
    for request in bytes(u.client.transport.sent).split(b"POST ")[1:]:
        found.append(request[request.find(b"\r\n\r\n") + 4 :])
    return found


def state(u):
    return u.accepted, u.rejected, u.retries, len(u.queue)


def test_accepted_records_leave_the_queue_in_order():
    u = uplink(exchanges(200, 200, 200))
    for data in (b"one", b"two", b"three"):
        u.queue.push(data)
    assert u.forward() == 3
    assert bodies(u) == [b"one", b"two", b"three"]
    assert state(u) == (3, 0, 0, 0) and u.result == 200 and u.wait_ms == 0
    assert u.client.connects == 1 and u.cloud.heads == [0]


def test_nothing_is_done_when_the_queue_is_empty():
    u = uplink()
    assert u.forward() == 0
    assert u.client.transport.calls == 0 and state(u) == (0, 0, 0, 0)


def test_one_step_sends_one_record():
    u = uplink(exchanges(200, 400, 503))
    for data in (b"1", b"2", b"3"):
        u.queue.push(data)
    assert [u.step() for _ in range(3)] == [ACCEPTED, REJECTED, RETRY]
    assert state(u) == (1, 1, 1, 1)


def test_a_rejected_record_leaves_and_does_not_block_the_next():
    u = uplink(exchanges(400, 200))
    u.queue.push(b"bad")
    u.queue.push(b"good")
    assert u.forward() == 1
    assert state(u) == (1, 1, 0, 0) and u.wait_ms == 0


def test_not_now_keeps_the_record_and_backs_off():
    u = uplink(exchanges(503, 503, 503, 503, 200))
    u.queue.push(b"x")
    u.queue.push(b"y")
    for wait_ms in (1000, 2000, 4000, 4000):
        assert u.forward() == 0
        assert u.wait_ms == wait_ms and len(u.queue) == 2
    u.queue.pop()
    assert u.forward() == 1
    assert bodies(u) == [b"x"] * 4 + [b"y"]
    assert u.wait_ms == 0 and u.backoff.bound_ms == 1000


def test_no_answer_keeps_the_record_and_backs_off():
    u = uplink([REQUEST], [REQUEST, EOF], [REQUEST, b"SSH-"], exchanges(200))
    u.queue.push(b"x")
    u.client.transport.dialling = [_ECONNREFUSED]
    for result in (_ECONNREFUSED, _ETIMEDOUT, -104, _ETIMEDOUT):
        assert u.forward(timeout_ms=50) == 0
        assert u.result == result and u.wait_ms > 0
    assert u.forward() == 1
    assert state(u) == (1, 0, 4, 0)


def test_retry_after_wins_over_the_backoff_and_leaves_it_as_it_is():
    events = []
    for value in (b"7", b"0", b"100000000"):
        events += [REQUEST, answer(429, b"Retry-After: " + value + b"\r\n")]
    u = uplink(events + exchanges(503))
    u.queue.push(b"x")
    for wait_ms in (7000, 0, _DAY_MS):
        assert u.forward() == 0
        assert u.wait_ms == wait_ms and u.backoff.done == 0
    assert u.forward() == 0
    assert u.wait_ms == 1000 and u.backoff.done == 1


def test_a_retry_after_that_is_no_number_counts_as_not_given():
    events = []
    for value in (b"Wed, 21 Oct 2026 07:28:00 GMT", b"", b"-1", b"1.5", b"soon"):
        events += [REQUEST, answer(503, b"Retry-After: " + value + b"\r\n")]
    u = uplink(events)
    u.queue.push(b"x")
    for wait_ms in (1000, 2000, 4000, 4000, 4000):
        u.forward()
        assert u.wait_ms == wait_ms


def test_the_retry_after_of_an_older_answer_does_not_count():
    u = uplink([REQUEST, answer(503, b"Retry-After: 9\r\n"), REQUEST, EOF])
    u.queue.push(b"x")
    u.forward()
    assert u.wait_ms == 9000
    u.forward()
    assert u.result < 0 and u.wait_ms == 1000


def test_an_exhausted_backoff_waits_its_longest():
    u = uplink(exchanges(*[503] * 5), attempts=2)
    u.queue.push(b"x")
    for wait_ms in (1000, 2000, 4000, 4000):
        u.forward()
        assert u.wait_ms == wait_ms


def test_a_success_begins_the_backoff_anew():
    for good in (200, 400):
        u = uplink(exchanges(503, 503, good, 503))
        u.queue.push(b"x")
        u.queue.push(b"y")
        for wait_ms in (1000, 2000, 1000):
            u.forward()
            assert u.wait_ms == wait_ms


def test_spent_credentials_are_renewed_and_the_record_is_sent_once_more():
    u = uplink(exchanges(401, 200, 200))
    u.clock = Clock(1736944496)
    u.queue.push(b"x")
    u.queue.push(b"y")
    assert u.forward() == 2
    assert bodies(u) == [b"x", b"x", b"y"]
    assert u.cloud.heads == [1736944496] * 2
    assert bytes(u.client.transport.sent).count(b"POST /2 ") == 2
    assert state(u) == (2, 0, 0, 0)


def test_credentials_that_are_spent_again_are_not_now():
    u = uplink(exchanges(401, 401, 401, 200))
    u.queue.push(b"x")
    assert u.forward() == 0
    assert state(u) == (0, 0, 1, 1) and u.wait_ms == 1000 and u.result == 401
    assert u.forward() == 1
    assert bodies(u) == [b"x"] * 4 and len(u.cloud.heads) == 4


def test_a_record_too_long_for_the_buffer_or_the_cloud_is_rejected_unsent():
    room = 200 - len(b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length:       0\r\n\r\n")
    for size, n in ((200, room + 1), (1000, 101)):
        u = uplink(exchanges(200), size=size)
        u.queue.push(bytes(n))
        u.queue.push(b"x")
        assert u.step() == REJECTED
        assert u.result == _E2BIG and u.client.transport.calls == 0
        assert u.forward() == 1
        assert state(u) == (1, 1, 0, 0) and bodies(u) == [b"x"]


def test_an_answer_too_long_for_the_buffer_is_judged_by_its_status():
    for rest in (
        b"Content-Length: 500\r\n\r\n" + bytes(90),
        b"A: " + b"b" * 300,
        b"Transfer-Encoding: chunked\r\n\r\n1f4\r\n",
    ):
        for status, outcome in ((200, ACCEPTED), (400, REJECTED), (503, RETRY)):
            u = uplink([REQUEST, b"HTTP/1.1 %d\r\n" % status + rest], exchanges(200))
            u.queue.push(b"x")
            assert u.step() == outcome
            assert u.result == _EMSGSIZE
            assert len(u.queue) == (outcome == RETRY)
            assert bodies(u) == [b"x"]


def test_an_answer_without_end_or_status_is_no_verdict():
    for data in (b"H" * 300, b"HTTP/1.1 100\r\nA: " + b"b" * 300):
        u = uplink([REQUEST, data], exchanges(200))
        u.queue.push(b"x")
        assert u.step() == RETRY
        assert u.result == _EMSGSIZE and len(u.queue) == 1


def test_records_up_to_the_limits_are_sent():
    room = 150 - len(b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length:       0\r\n\r\n")
    for size, n in ((150, room), (1000, 100), (1000, 0)):
        u = uplink(exchanges(200), size=size)
        u.queue.push(b"r" * n)
        assert u.forward() == 1 and bodies(u) == [b"r" * n]


class Busy(ScriptTransport):
    """While the client waits for the answer, something else pushes a record."""

    def wait_readable(self):
        if self.queue and self.waits == 0:
            self.queue.push(b"new record!")
        self.waits -= 1
        return super().wait_readable()


def _busy(waits, *statuses):
    events = []
    for status in statuses:
        events += [REQUEST, 0, answer(status)]
    u = uplink(queue=Queue(26))
    u.client.transport = t = Busy(events)
    t.queue = u.queue
    t.waits = waits
    u.queue.push(b"old record!")
    u.queue.push(b"mid record!")
    return u


def test_a_record_that_was_dropped_while_it_was_sent_does_not_take_another_with_it():
    for status in (200, 400):
        u = _busy(0, status, 200, 200)
        u.step()
        assert u.queue.dropped == 1 and len(u.queue) == 2
        u.forward()
        assert bodies(u) == [b"old record!", b"mid record!", b"new record!"]
        assert state(u)[3] == 0


def test_a_record_that_was_dropped_while_credentials_were_spent_is_not_sent_in_another_s_name():
    u = _busy(0, 401, 200, 200, 200)
    u.forward()
    found = bodies(u)
    assert found.count(b"mid record!") == 1, "sent twice, or lost"
    assert found.count(b"new record!") == 1
    assert len(u.queue) == 0


def test_connect_opens_the_connection_and_writes_the_head():
    u = uplink(exchanges(200))
    assert u.connect(1234) == 0
    assert u.client.transport.timeouts == [1234]
    assert u.cloud.heads == [0] and not u.client.transport.sent
    u.queue.push(b"x")
    assert u.forward() == 1
    assert u.client.connects == 1 and u.cloud.heads == [0]


def test_connect_that_fails_says_why_and_how_long_to_wait():
    u = uplink()
    for wait_ms in (1000, 2000, 4000, 4000):
        assert u.connect() == _ECONNREFUSED
        assert u.wait_ms == wait_ms and state(u) == (0, 0, 0, 0)


def test_each_exchange_has_the_time_that_forward_was_given():
    u = uplink(exchanges(200, 200))
    u.queue.push(b"x")
    u.queue.push(b"y")
    u.forward(timeout_ms=4321)
    assert u.client.transport.timeouts == [4321, 4321]


def test_forward_begins_nothing_more_when_its_budget_is_spent():
    u = uplink(exchanges(200, 200, 200))
    for body in (b"x", b"y", b"z"):
        u.queue.push(body)
    t = u.client.transport
    t.lefts = [900, 20, 0]
    assert u.forward(1000) == 2
    assert t.budgets == [1000, -1] and u.wait_ms == 0 and len(u.queue) == 1
    assert u.forward() == 1
    assert t.budgets == [1000, -1], "without a budget nobody asks"


def test_a_budget_ends_also_with_a_mistake():
    u = uplink(exchanges(200))
    u.cloud.refresh = lambda head, now: head.start(b"POST", b"h", b"/" * 500)
    u.queue.push(b"x")
    raises(ValueError, u.forward, 1000)
    assert u.client.transport.budgets == [1000, -1]


def _weather(chance):
    """Return (the kind of each connection, the connections); 0 accepts, 8 rejects."""
    kinds = (
        [REQUEST, answer(200, b"Connection: close\r\n")],
        [REQUEST, answer(503, b"Connection: close\r\n")],
        [REQUEST, answer(429, b"Retry-After: 1\r\nConnection: close\r\n")],
        [REQUEST, answer(401, b"Connection: close\r\n")],
        [REQUEST],
        [REQUEST, EOF],
        [REQUEST, answer(200)[:20], EOF],
        [REQUEST, 0, b"rubbish\r\n"],
        [REQUEST, answer(400, b"Connection: close\r\n")],
    )
    chosen = [next(chance) % len(kinds) for _ in range(80)]
    return chosen, [list(kinds[k]) for k in chosen]


def test_in_any_weather_no_record_is_lost_accepted_twice_or_out_of_order():
    for seed in range(1, 15):
        chance = lcg(seed)
        chosen, connections = _weather(chance)
        u = uplink(*connections)
        pushed = []
        for n in range(200):
            if next(chance) & 1 and len(u.queue) < 20:
                pushed.append(b"record %d" % n)
                assert u.queue.push(pushed[-1])
            u.forward(timeout_ms=50)
        judged = [(k, body) for k, body in zip(chosen, bodies(u)) if k in (0, 8)]
        assert u.queue.dropped == 0
        assert [body for k, body in judged] == pushed[: len(judged)]
        assert u.accepted == len([1 for k, body in judged if k == 0])
        assert u.rejected == len(judged) - u.accepted
        assert len(u.queue) == len(pushed) - len(judged)
        assert len(judged) > 5


# -- The clock ------------------------------------------------------------------------------------


def test_a_head_is_written_anew_at_80_percent_of_its_life():
    u = uplink(exchanges(*[200] * 5))
    u.clock = Clock(_2020 + 1000)
    for seconds, heads in ((0, 1), (47, 1), (48, 2), (95, 2), (96, 3)):
        u.clock.time = _2020 + 1000 + seconds
        u.queue.push(b"x")
        assert u.forward() == 1
        assert len(u.cloud.heads) == heads, seconds
    assert u.cloud.heads == [_2020 + 1000, _2020 + 1048, _2020 + 1096]


def test_a_head_that_is_good_for_ever_is_written_once_whatever_the_clock_says():
    u = uplink(exchanges(200, 200))
    u.clock = Clock(_2020)
    u.cloud.life = 0
    for seconds in (0, 500_000_000):
        u.clock.time = _2020 + seconds
        u.queue.push(b"x")
        assert u.forward() == 1
    assert u.cloud.heads == [_2020]


def test_a_head_written_before_the_clock_was_set_is_written_anew_when_it_is():
    u = uplink(exchanges(200, 200))
    u.clock = Clock(_2020 - 1)  # seconds() is -1: not set
    for now in (_2020 - 1, 1736944496):
        u.clock.time = now
        u.queue.push(b"x")
        assert u.forward() == 1
    assert u.cloud.heads == [_2020 - 1, 1736944496]


def test_a_refusal_that_a_wrong_clock_caused_corrects_it_and_the_record_is_sent_once_more():
    for refused in (401, 403):  # spent credentials, not now
        u = uplink(exchanges(refused, 200))
        u.clock = Clock(1736944496, right=1736945696)
        u.queue.push(b"x")
        assert u.forward() == 1
        assert u.clock.asked == [refused]
        assert u.cloud.heads == [1736944496, 1736945696] and bodies(u) == [b"x", b"x"]


def test_a_refusal_with_the_clock_right_is_not_repeated():
    u = uplink(exchanges(403, 200))
    u.clock = Clock(1736944496)
    u.queue.push(b"x")
    assert u.forward() == 0 and u.clock.asked == [403]
    assert bodies(u) == [b"x"] and state(u) == (0, 0, 1, 1)


def test_the_clock_is_not_asked_about_what_went_well_or_is_refused_for_good():
    u = uplink(exchanges(200, 400))
    u.clock = Clock(1736944496, right=1)
    u.queue.push(b"x")
    u.queue.push(b"y")
    u.forward()
    assert u.clock.asked == []


def test_a_certificate_that_is_not_valid_now_corrects_the_clock_and_connects_once_more():
    for call in ("connect", "forward"):
        u = uplink(exchanges(200))
        u.client.transport.dialling[:] = [_EKEYEXPIRED]
        u.clock = Clock(_2020 + 5, right=1736945696)
        u.queue.push(b"x")
        assert getattr(u, call)() == (call == "forward")
        assert u.clock.asked == [_EKEYEXPIRED] and u.client.transport.dials == 2


# -- connect() does what allocates ----------------------------------------------------------------


def test_connect_leaves_an_open_connection_and_a_good_head_alone():
    u = uplink(exchanges(200))
    for _ in range(3):
        assert u.connect() == 0
    assert (u.client.connects, len(u.cloud.heads)) == (1, 1)
    u.queue.push(b"x")
    assert u.forward() == 1 and u.client.connects == 1


def test_connect_opens_a_connection_that_broke_and_tells_what_fails():
    u = uplink([REQUEST, EOF], [])
    assert u.connect() == 0
    u.queue.push(b"x")
    u.forward()
    assert u.connect() == _ECONNREFUSED


def test_no_memory_for_a_head_is_not_now_and_the_record_stays():
    u = uplink(exchanges(200))

    def refresh(head, now):
        raise MemoryError

    u.cloud.refresh = refresh
    u.queue.push(b"x")
    assert u.forward() == 0 and u.result == _ENOMEM and state(u) == (0, 0, 1, 1)
    assert u.connect() == _ENOMEM
    del u.cloud.refresh
    assert u.forward() == 1


# -- Clouds that want a login ---------------------------------------------------------------------


class LoginCloud(Cloud):
    """Wants b"login" first; 401 to a publish spends the token."""

    token = False

    def refresh(self, head, now):
        super().refresh(head, now)
        self.login = None if self.token else b"login"
        return 0

    def outcome(self, reply):
        judgement = super().outcome(reply)
        if self.login:
            self.token = judgement == ACCEPTED
        elif judgement == REAUTH:
            self.token = False
        return judgement


def login_uplink(*statuses):
    u = uplink(exchanges(*statuses))
    u.cloud = LoginCloud()
    return u


def test_the_login_comes_first_and_once():
    u = login_uplink(200, 200, 200)
    u.queue.push(b"x")
    u.queue.push(b"y")
    assert u.forward() == 2 and bodies(u) == [b"login", b"x", b"y"]
    assert u.client.connects == 1


def test_connect_logs_in():
    u = login_uplink(200, 200)
    assert u.connect() == 0 and bodies(u) == [b"login"]
    u.queue.push(b"x")
    assert u.forward() == 1 and bodies(u) == [b"login", b"x"]


def test_a_spent_token_logs_in_again_and_the_record_is_sent_once_more():
    u = login_uplink(200, 401, 200, 200)
    u.queue.push(b"x")
    assert u.forward() == 1
    assert bodies(u) == [b"login", b"x", b"login", b"x"] and state(u) == (1, 0, 0, 0)


def test_a_token_that_is_refused_again_is_not_now():
    u = login_uplink(200, 401, 200, 401)
    u.queue.push(b"x")
    assert u.forward() == 0 and state(u) == (0, 0, 1, 1)
    assert bodies(u) == [b"login", b"x", b"login", b"x"]


def test_a_login_that_is_refused_is_not_now_and_the_record_stays():
    for status in (400, 401, 403, 500):
        u = login_uplink(status)
        u.queue.push(b"x")
        assert u.forward() == 0 and state(u) == (0, 0, 1, 1) and u.result == status
        assert bodies(u) == [b"login"]
        assert login_uplink(status).connect() == _EACCES


def test_a_login_that_a_wrong_clock_spoilt_is_repeated_with_the_right_time():
    u = login_uplink(403, 200, 200)
    u.clock = Clock(1736944496, right=1736945696)
    u.queue.push(b"x")
    assert u.forward() == 1 and bodies(u) == [b"login", b"login", b"x"]
    assert u.cloud.heads == [1736944496, 1736945696, 1736945696]


# -- Clouds that sign each publish ----------------------------------------------------------------


def signing_uplink(*statuses):
    u = uplink(exchanges(*statuses))
    u.cloud.signs = True
    u.clock = Clock(1736944496)
    return u


def test_each_publish_is_signed_with_its_body_and_time():
    u = signing_uplink(200, 200)
    for now, data in ((1736944496, b"one"), (1736944500, b"")):
        u.clock.time = now
        u.queue.push(data)
        assert u.forward() == 1
    assert u.cloud.signed == [(b"one", 1736944496), (b"", 1736944500)]


def test_connect_signs_the_oldest_record_so_that_forward_has_only_to_send_it():
    u = signing_uplink(200, 200)
    u.queue.push(b"one")
    u.queue.push(b"two")
    assert u.connect() == 0
    assert u.cloud.signed == [(b"one", 1736944496)]
    u.clock.time += 1
    assert u.forward() == 2
    assert u.cloud.signed == [(b"one", 1736944496), (b"two", 1736944497)]
    assert bodies(u) == [b"one", b"two"]


def test_a_record_that_comes_to_the_front_meanwhile_is_signed_itself():
    u = signing_uplink(200)
    u.queue.push(b"one")
    u.connect()
    u.queue.pop()
    u.queue.push(b"two")
    assert u.forward() == 1
    assert [body for body, _ in u.cloud.signed] == [b"one", b"two"] and bodies(u) == [b"two"]


def test_a_record_that_is_sent_again_is_signed_again():
    u = signing_uplink(500, 200)
    u.queue.push(b"one")
    u.forward()
    u.clock.time += 400
    assert u.forward() == 1
    assert u.cloud.signed == [(b"one", 1736944496), (b"one", 1736944896)]


def once_without_memory(thing, name):
    """The next call of that method raises MemoryError."""
    method = getattr(thing, name)

    def fails(*arguments):
        setattr(thing, name, method)
        raise MemoryError

    setattr(thing, name, fails)


def test_a_record_that_could_not_be_signed_does_not_go_with_the_signature_of_another():
    u = signing_uplink(200)
    u.queue.push(b"one")
    u.connect()
    u.queue.pop()
    u.queue.push(b"two")
    once_without_memory(u.cloud, "sign")
    assert u.forward() == 0 and u.result == _ENOMEM
    assert u.forward() == 1
    assert [body for body, _ in u.cloud.signed] == [b"one", b"two"] and bodies(u) == [b"two"]


def test_a_record_is_not_laid_into_the_head_where_memory_was_short_behind_it():
    u = uplink(exchanges(200))
    u.queue.push(b"record")
    once_without_memory(u.client, "window")
    assert u.forward() == 0 and u.result == _ENOMEM
    assert u.forward() == 1 and bodies(u) == [b"record"]


def test_a_payload_that_publish_is_given_is_signed():
    u = signing_uplink(200)
    assert u.exchange(b"payload", 1000) == ACCEPTED
    assert u.cloud.signed == [(b"payload", 1736944496)]
    u.clock = None
    u.queue.push(b"x")
    u.forward()
    assert u.cloud.signed[1:] == [(b"x", 0)]


def test_a_signature_that_has_waited_too_long_is_made_anew():
    u = signing_uplink(200, 200)
    u.cloud.life = 0
    u.queue.push(b"one")
    for seconds in (0, 119, 120):
        u.clock.time = 1736944496 + seconds
        assert u.connect() == 0
    assert [now for _, now in u.cloud.signed] == [1736944496, 1736944616]
    assert u.forward() == 1 and len(u.cloud.signed) == 2


def test_a_wrong_clock_does_not_make_what_is_throttled_be_sent_at_once():
    for busy in (429, 500, 503):
        u = uplink(exchanges(busy, 200))
        u.clock = Clock(1736944496, right=1736945696)
        u.queue.push(b"x")
        assert u.forward() == 0 and bodies(u) == [b"x"]
        assert u.clock.time == 1736945696, "it is right all the same"
