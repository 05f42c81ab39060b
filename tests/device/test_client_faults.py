"""A fault at every call of the transport: the exchange ends, nothing leaks, the next works."""

from checks import lcg
from onebuf.client import Client
from onebuf.errno import strerror
from script_transport import EOF, REQUEST, SILENCE, ScriptTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SMALL = b"<reading>"
LARGE = b"<" + b"r" * 300 + b">"
EXCHANGE = [REQUEST, 0, OK[:20], 0, OK[20:]]

SHORT = 1  # octets, of a write
WOULD_BLOCK = 0
_EPIPE = -32
_ENOMEM = -12
_ECONNRESET = -104
_ETIMEDOUT = -110
_MBEDTLS = -0x7180
FAULTS = (SHORT, WOULD_BLOCK, _ECONNRESET, _EPIPE, EOF, SILENCE, _MBEDTLS, _ENOMEM)
_MOST_CALLS = 200


def client(kept):
    """Return a client whose next exchange meets short writes and waits, and its transport."""
    t = ScriptTransport(*[EXCHANGE * 3 for _ in range(6)])
    c = Client(t, bytearray(256), "h", 8443)
    c.head.start(b"POST", b"h", b"/t")
    c.head.end()
    if kept:
        assert c.request(b"first") == 200
    t.dialling = [0, 0]
    t.accepting = [10, 0, 100]
    return c, t


def calls(kept, body):
    """Return the indices of the calls that an exchange without a fault makes."""
    c, t = client(kept)
    first = t.calls
    assert c.request(body) == 200
    return range(first, t.calls)


def check_end(c, t, body, result, faults):
    label = "%s -> %d" % (faults, result)
    assert result == 200 or (result < 0 and not strerror(result).startswith("errno")), label
    copies = bytes(t.sent).count(body)
    assert copies <= (2 if c.resends else 1), label
    assert c.resends <= 1, label
    assert result != _ETIMEDOUT or copies <= 1 + c.resends
    assert c.requests == (result == 200) + bytes(t.sent).startswith(t.first), label


def heals(c, t):
    """Whether the next request works and everything is closed in the end."""
    t.accepting = []
    t.dialling = []
    before = t.connects
    assert c.request(b"after") == 200
    assert t.connects <= before + 1
    c.close()
    return t.closes == t.dials


def run(kept, body, faults):
    """One exchange with these faults, a list of (index, result): (client, transport, result)."""
    c, t = client(kept)
    t.first = b"POST" if kept else b"none"
    for index, fault in faults:
        t.fail_at(index, fault)
    before = t.calls
    result = c.request(body)
    assert t.calls - before < _MOST_CALLS, "too many calls"
    check_end(c, t, body, result, faults)
    return c, t, result


def each(kept, body):
    for index in calls(kept, body):
        for fault in FAULTS:
            yield index, fault


def test_a_fault_at_any_call_of_a_first_request_ends_in_a_known_result_and_heals():
    for body in (SMALL, LARGE):
        for index, fault in each(False, body):
            c, t, _ = run(False, body, [(index, fault)])
            assert c.resends == 0, "only a kept connection can be stale"
            assert heals(c, t)


def test_a_fault_at_any_call_on_a_kept_connection_ends_in_a_known_result_and_heals():
    for body in (SMALL, LARGE):
        for index, fault in each(True, body):
            c, t, _ = run(True, body, [(index, fault)])
            assert heals(c, t)


def test_short_writes_and_would_block_change_nothing():
    for kept in (False, True):
        for body in (SMALL, LARGE):
            for index in calls(kept, body):
                for fault in (SHORT, WOULD_BLOCK):
                    c, t, result = run(kept, body, [(index, fault)])
                    assert result == 200 and c.resends == 0
                    assert bytes(t.sent).count(body) == 1


def test_a_fault_ends_the_exchange_with_what_it_was():
    for index in calls(False, SMALL):
        for fault in (_ECONNRESET, SILENCE, _MBEDTLS, _ENOMEM):
            assert run(False, SMALL, [(index, fault)])[2] == fault


def test_nothing_is_sent_twice_when_the_time_was_up():
    for kept in (False, True):
        for body in (SMALL, LARGE):
            for index in calls(kept, body):
                c, t, result = run(kept, body, [(index, SILENCE)])
                assert result == _ETIMEDOUT and c.resends == 0
                assert bytes(t.sent).count(body) <= 1
                assert heals(c, t)


def test_only_a_reset_before_the_response_on_a_kept_connection_is_tried_again():
    for index, fault in each(True, SMALL):
        c, _, result = run(True, SMALL, [(index, fault)])
        if c.resends:
            assert fault in (_ECONNRESET, _EPIPE, EOF) and result == 200
            assert c.connects == 2


def test_several_faults_end_in_a_known_result_and_heal():
    chance = lcg(3)
    for _ in range(600):
        kept = next(chance) & 1 == 1
        body = (SMALL, LARGE)[next(chance) & 1]
        first = calls(kept, body)[0]
        faults = []
        for _ in range(2 + next(chance) % 3):
            faults.append((first + next(chance) % 30, FAULTS[next(chance) % len(FAULTS)]))
        c, t, _ = run(kept, body, faults)
        t._faults = {}
        assert heals(c, t)


def test_a_fault_while_connecting_ends_in_a_known_result_and_heals():
    for index in range(5):
        for fault in FAULTS:
            c, t = client(False)
            t.fail_at(index, fault)
            result = c.connect()
            assert result == (min(fault, 0) if index < t.calls else 0)
            assert heals(c, t)
