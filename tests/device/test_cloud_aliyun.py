"""Alibaba Cloud: login, token, publish, and what each code means (PROTOCOLS.md 2)."""

import json

from checks import check_cloud, lcg, raises, status
from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.cloud.aliyun import Aliyun, member
from onebuf.dead_letters import DeadLetters
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, REAUTH, REJECTED, RETRY
from onebuf.publish import NotNow, Publisher, Refused
from onebuf.queue import Queue
from onebuf.uplink import Uplink
from script_transport import EOF, REQUEST, ScriptTransport

HOST = "iot-as-http.cn-shanghai.aliyuncs.com"
TOPIC = "/pk/device/user/update"
NOW = 1736944496
TOKEN = b"6944e5bfb92e4d4ea3918d1eda3942f6"
TAKEN = b'{"code":0,"info":{"messageId":892687627916247040},"message":"success"}'
GIVEN = b'{"code":0,"info":{"token":"%s"},"message":"success"}'
# HMACs of Python's own hmac, and of Alibaba's C code (vectors.json) without a clock.
WITHOUT_CLOCK = {
    "hmacmd5": "2ce7304ec0ddd548eb1492d65ac0b334",
    "hmacsha1": "3504e4df7ce4766d30f796ee973c9ce7fc5425cb",
    "hmacsha256": "c8cb3dcb7159682438e5fd9a9c34f398e41bb8edb6f222795e307bafee151090",
}
WITH_CLOCK = {
    "hmacmd5": "8af691f340da28f5a30441c7bfe9520d",
    "hmacsha1": "870b90325039d2ffbaf7c1095149bddf92d93a8a",
    "hmacsha256": "a23b97ce97488375966be9e56caaa96c066ab759194b1cf001e2f3fb4db25a60",
}

_EACCES = -13
_EMSGSIZE = -90


def device(**settings):
    return Aliyun("pk", "device", "secret", TOPIC, "12345", **settings)


def head(cloud, now=0, size=512):
    request = Request(bytearray(size))
    assert cloud.refresh(request, now) == 0
    return bytes(request.buf[: request.n])


def refusal(code):
    return b'{"code":%d,"info":{"messageId":1207967842654323713},"message":"?"}' % code


def logged_in(token=TOKEN):
    cloud = device()
    head(cloud)
    assert cloud.outcome(status(200, b"", GIVEN % token)) == ACCEPTED
    head(cloud)
    assert cloud.login is None
    return cloud


# -- What is sent ---------------------------------------------------------------------------------


def test_the_contract_of_a_cloud_is_kept_before_and_after_the_login():
    check_cloud(device(), GIVEN % TOKEN)
    check_cloud(logged_in(), TAKEN)


def test_the_head_of_a_login_is_exactly_this():
    assert head(device()) == (
        b"POST /auth HTTP/1.1\r\n"
        b"Host: iot-as-http.cn-shanghai.aliyuncs.com\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_the_head_of_a_publish_is_exactly_this():
    assert head(logged_in()) == (
        b"POST /topic/pk/device/user/update HTTP/1.1\r\n"
        b"Host: iot-as-http.cn-shanghai.aliyuncs.com\r\n"
        b"password: 6944e5bfb92e4d4ea3918d1eda3942f6\r\n"
        b"Content-Type: application/octet-stream\r\n"
        b"Content-Length:       0\r\n"
        b"\r\n"
    )


def test_the_body_of_a_login_without_a_clock_has_no_timestamp_and_is_signed():
    for method in WITHOUT_CLOCK:
        cloud = device(signmethod=method)
        head(cloud)
        assert json.loads(cloud.login) == {
            "clientId": "12345",
            "deviceName": "device",
            "productKey": "pk",
            "signmethod": method,
            "sign": WITHOUT_CLOCK[method],
        }


def test_the_body_of_a_login_with_a_clock_has_milliseconds_and_is_signed():
    for method in WITH_CLOCK:
        cloud = device(signmethod=method)
        head(cloud, NOW)
        body = json.loads(cloud.login)
        assert body["timestamp"] == "1736944496000"
        assert body["sign"] == WITH_CLOCK[method] and body["signmethod"] == method


def test_a_later_login_has_a_later_timestamp_only_if_there_is_a_clock():
    cloud = device()
    head(cloud, NOW)
    head(cloud, NOW + 1)
    assert json.loads(cloud.login)["timestamp"] == "1736944497000"
    head(cloud)
    assert "timestamp" not in json.loads(cloud.login)


def test_the_client_id_is_that_of_the_c_sdk_unless_given():
    cloud = Aliyun("a1pk", "dev1", "mydevicesecret12345", "/a1pk/dev1/user/update")
    head(cloud)
    assert json.loads(cloud.login) == {
        "clientId": "a1pk.dev1",
        "deviceName": "dev1",
        "productKey": "a1pk",
        "signmethod": "hmacsha256",
        "sign": "6d6fc8f69c687e85d2ac92d1ca2f8e548aaf8979603bc7400da81ef57b88ea3d",
    }


def test_another_host_and_port_are_named_in_the_head():
    cloud = device(host="iot.example", port=8443)
    assert (cloud.host, cloud.port) == ("iot.example", 8443)
    assert head(cloud).find(b"\r\nHost: iot.example:8443\r\n") > 0


def test_what_the_platform_would_refuse_is_refused_before_anything_is_sent():
    for ids in (("", "d", "s"), ("p", "", "s"), ("p", "d", "")):
        raises(ValueError, Aliyun, ids[0], ids[1], ids[2], TOPIC)
    for topic in ("", "a/b", "/", "//a", "/a//b", "/a/", "/a/+", "/a/#", "/a?b=c", "/a%2Fb"):
        raises(ValueError, Aliyun, "pk", "d", "s", topic)
    for topic in ("/a b", "/a\r\nb", "/a\0", "/a\x7f", "/\u00e9"):
        raises(ValueError, Aliyun, "pk", "d", "s", topic)
    raises(ValueError, Aliyun, "pk", "d", "s", "/a", "c" * 65)
    Aliyun("pk", "d", "s", "/a", "c" * 64)
    for method in ("", "sha256", "hmac", "hmacsha512", "HMACSHA1", "xxxxsha1", "hmacmd5 "):
        raises(ValueError, Aliyun, "pk", "d", "s", "/a", None, method)
    for host in ("", "https://h", "h/x", "h:1"):
        raises(ValueError, Aliyun, "pk", "d", "s", "/a", None, "hmacmd5", host)


def test_a_secret_is_in_no_exception():
    error = raises(ValueError, Aliyun, "pk", "d", "mysecret", "no topic")
    assert "mysecret" not in str(error)


def test_a_payload_may_have_128_kib():
    assert Aliyun.max_payload == 128 * 1024


# -- What is answered -----------------------------------------------------------------------------


def test_each_code_of_a_publish_is_judged_as_the_document_says():
    for code, outcome in (
        (0, ACCEPTED),
        (10000, RETRY),  # common error
        (10001, REJECTED),  # param error: the caller's mistake
        (20000, RETRY),
        (20001, REAUTH),  # token is expired
        (20002, REAUTH),  # token is null
        (20003, REAUTH),  # check token error
        (20004, RETRY),
        (30001, RETRY),  # publish message error
        (40000, RETRY),  # request too many
        (1, RETRY),
        (-1, RETRY),
        (99999, RETRY),
    ):
        cloud = logged_in()
        assert cloud.outcome(status(200, b"", refusal(code))) == outcome, code
        head(cloud)
        assert bool(cloud.login) == (outcome == REAUTH), code


def test_each_code_of_a_login_keeps_the_record_unless_it_is_0():
    for code in (10000, 10001, 20000, 20001, 20003, 20004, 40000):
        cloud = device()
        head(cloud)
        assert cloud.outcome(status(200, b"", refusal(code))) != ACCEPTED
        head(cloud)
        assert cloud.login, code


def test_the_code_decides_and_not_the_status():
    for number in (200, 202, 400, 401, 403, 404, 429, 500):
        for code, outcome in ((10001, REJECTED), (20001, REAUTH), (40000, RETRY)):
            assert logged_in().outcome(status(number, b"", refusal(code))) == outcome


def test_what_stands_before_the_platform_accepts_nothing_and_refuses_only_what_is_too_long():
    for number, outcome in (
        (200, RETRY),
        (204, RETRY),
        (301, RETRY),
        (400, RETRY),
        (403, RETRY),
        (404, RETRY),
        (413, REJECTED),
        (429, RETRY),
        (500, RETRY),
        (502, RETRY),
    ):
        page = b"<html><body>code: 0</body></html>"
        assert logged_in().outcome(status(number, b"", page)) == outcome
    assert logged_in().outcome(status(500, b"", TAKEN)) == RETRY


def test_a_login_without_a_good_token_is_no_login():
    for info in (
        b',"info":{"token":"%s"}' % (b"t" * 193),
        b',"info":{"token":"ab\\/cd"}',
        b"",
        b',"info":{}',
        b',"info":null',
        b',"info":"token"',
        b',"info":["token"]',
        b',"info":{"token":""}',
        b',"info":{"token":null}',
        b',"info":{"token":12345,"a":"b"}',
        b',"info":{"token":{"token":"x"}}',
        b',"info":{"a":{"token":"x"}}',
        b',"info":{"token":"a\nb"}',
        b',"info":{"token":"a\0b"}',
        b',"info":{"token":"abc',
        b',"info":{"token":',
        b',"info":0,"a":{"token":"x"}',
        b',"token":"x"',
    ):
        cloud = device()
        head(cloud)
        assert cloud.outcome(status(200, b"", b'{"code":0' + info + b"}")) == RETRY, info
        head(cloud)
        assert cloud.login


# -- The scanner of JSON --------------------------------------------------------------------------


def at(text, name=b'"code"'):
    """What stands where the member's value is; None without such a member."""
    buf = bytearray(b"xx" + text + b"}xx")
    i = member(buf, 2, 2 + len(text), name)
    return None if i < 0 else bytes(buf[i : 2 + len(text)])


def test_a_member_is_found_at_any_place_and_in_any_spacing():
    for text in (
        b'{"code":7}',
        b'{"a":1,"code":7}',
        b'{ "code" : 7}',
        b'\r\n{\t"a":\n"b",\n\t"code"\r\n:\r\n7}',
        b'{"a":{"code":1},"code":7}',
        b'{"a":[{"code":1},"code",[]],"code":7}',
        b'{"a":"code","code":7}',
        b'{"a":"\\"code\\":1","code":7}',
        b'{"a":"\\\\","code":7}',
        b'{"a":"}]{[,:","code":7}',
        b'{"code\\"":1,"code":7}',
        b'{"codes":1,"cod":2,"code":7}',
        b'{"a":12345678901234567890,"b":-1.5e+9,"c":true,"code":7}',
        b'{"\xe7\xa0\x81":"\xff\xfe","code":7}',
    ):
        assert at(text) == b"7}", text


def test_a_member_that_is_not_there_is_not_found():
    for text in (
        b"",
        b" ",
        b"{",
        b"{}",
        b"[]",
        b"7",
        b'"code":7',
        b'"code"',
        b'{"code"',
        b'{"code":',
        b'{"code": ',
        b'{"code',
        b'{"code" 7}',
        b'{"a":"code"}',
        b'{"a":{"code":7}}',
        b'[{"code":7}]',
        b'{}{"code":7}',
        b'}{"code":7}',
        b'{"code\\":7}',
        b'{"c\\u006fde":7}',
        b'{"a":"\\',
        b"<html>",
        b"\xff\xfe\x00",
    ):
        assert at(text) is None, text


def test_numbers_are_numbers_and_no_more():
    for text in (b"0.5", b"0e1", b'"0"', b"false", b"null", b"-0", b"0x", b"", b"{}", b"[0]"):
        assert logged_in().outcome(status(200, b"", b'{"code":%s}' % text)) == RETRY, text
    for text in (b"0", b"0 ", b" 0\n", b"0,", b'0,"a":18446744073709551616'):
        assert logged_in().outcome(status(200, b"", b'{"code":%s}' % text)) == ACCEPTED, text
    for text in (b"18446744073709551616", b"9223372036854775807", b"4294967296"):
        assert logged_in().outcome(status(200, b"", b'{"code":%s}' % text)) == RETRY, text


def test_an_answer_cut_off_anywhere_accepts_nothing_it_does_not_say():
    for n in range(len(TAKEN)):
        outcome = logged_in().outcome(status(200, b"", TAKEN[:n]))
        assert outcome == (ACCEPTED if n > len(b'{"code":0') else RETRY), n
    expired = refusal(20001)
    for n in range(len(expired)):
        outcome = logged_in().outcome(status(200, b"", expired[:n]))
        assert outcome == (REAUTH if n > len(b'{"code":20001') else RETRY), n


def test_garbage_never_raises_and_never_accepts():
    chance = lcg(7)
    alphabet = b'{}[]":,\\ 0127codeinfotoken\n\xff'
    for _ in range(300):
        n = next(chance) % 60
        text = bytes([alphabet[next(chance) % len(alphabet)] for _ in range(n)])
        for cloud in (logged_in(), device()):
            head(cloud)
            assert cloud.outcome(status(200, b"", text)) in (RETRY, REAUTH, REJECTED), text


# -- With the uplink ------------------------------------------------------------------------------


def said(content, closes=True):
    """An answer with the head that was captured: no reason, not even the space before it."""
    return (
        b"HTTP/1.1 200\r\nServer: Tengine\r\nContent-Type: application/json\r\n"
        b"Connection: %s\r\nContent-Length: %d\r\n\r\n%s"
    ) % (b"close" if closes else b"keep-alive", len(content), content)


def connections(closes, *contents):
    """The connections on which a server says that: one, or one for each where it closes."""
    if closes:
        return [[REQUEST, said(content), EOF] for content in contents]
    events = []
    for content in contents:
        events += [REQUEST, said(content, False)]
    return [events]


def uplink(closes, *contents):
    cloud = device()
    transport = ScriptTransport(*connections(closes, *contents))
    client = Client(transport, bytearray(512), cloud.host, cloud.port)
    return Uplink(client, cloud, Queue(500), Backoff(1000, 4000), lambda: 65535)


def requests(u):
    """What was sent: (path, token, body) of each request."""
    found = []
    for request in bytes(u.client.transport.sent).split(b"POST ")[1:]:
        lines, body = request.split(b"\r\n\r\n", 1)
        token = [line[10:] for line in lines.split(b"\r\n") if line.startswith(b"password: ")]
        path = lines.split(b" ")[0]
        found.append((path, token, b"" if path == b"/auth" else body))
    return found


class Letters(DeadLetters):
    """Dead letters that are kept here instead of on flash."""

    def __init__(self):
        super().__init__("")
        self.found = []

    def add(self, buf, n, reason):
        self.found.append((bytes(buf[:n]), reason))
        return True


LOGIN = (b"/auth", [], b"")
PATH = b"/topic" + TOPIC.encode()


def test_a_token_is_got_once_and_used_again_whether_the_server_closes_or_not():
    for closes in (True, False):
        u = uplink(closes, GIVEN % b"one", TAKEN, TAKEN, TAKEN)
        for data in (b"a", b"b", b"c"):
            u.queue.push(data)
        assert u.forward() == 3
        publishes = [(PATH, [b"one"], data) for data in (b"a", b"b", b"c")]
        assert requests(u) == [LOGIN] + publishes
        assert u.client.connects == (4 if closes else 1) and u.wait_ms == 0


def test_two_devices_in_one_process_have_a_token_each():
    first, second = logged_in(b"one"), device()
    assert head(second).startswith(b"POST /auth ") and second.login and not first.login
    assert second.outcome(status(200, b"", GIVEN % b"two")) == ACCEPTED
    assert first.outcome(status(200, b"", refusal(20001))) == REAUTH
    assert head(second).find(b"\r\npassword: two\r\n") > 0
    assert head(first).startswith(b"POST /auth ")


def test_connecting_logs_in():
    u = uplink(False, GIVEN % b"one", TAKEN)
    assert u.connect() == 0
    assert requests(u) == [LOGIN]
    u.queue.push(b"a")
    assert u.forward() == 1 and len(requests(u)) == 2


def test_a_spent_token_costs_one_login_and_the_record_is_sent_once_more():
    for code in (20001, 20002, 20003):
        for closes in (True, False):
            u = uplink(closes, GIVEN % b"one", refusal(code), GIVEN % b"two", TAKEN, TAKEN)
            u.queue.push(b"a")
            u.queue.push(b"b")
            assert u.forward() == 2
            assert requests(u) == [
                LOGIN,
                (PATH, [b"one"], b"a"),
                LOGIN,
                (PATH, [b"two"], b"a"),
                (PATH, [b"two"], b"b"),
            ]
            assert (u.accepted, u.rejected, u.retries, len(u.queue)) == (2, 0, 0, 0)


def test_a_token_that_is_never_good_is_asked_for_twice_and_then_later():
    u = uplink(True, GIVEN % b"one", refusal(20003), GIVEN % b"two", refusal(20003))
    u.queue.push(b"a")
    assert u.forward() == 0
    assert len(requests(u)) == 4 and len(u.queue) == 1 and u.wait_ms == 1000


def test_throttling_and_trouble_keep_the_record_and_the_token():
    for code in (10000, 20004, 30001, 40000):
        u = uplink(True, GIVEN % b"one", refusal(code), refusal(code), TAKEN)
        u.queue.push(b"a")
        for wait_ms in (1000, 2000):
            assert u.forward() == 0 and u.wait_ms == wait_ms
            assert u.result == code
        assert u.forward() == 1 and u.result == 200
        assert requests(u) == [LOGIN] + [(PATH, [b"one"], b"a")] * 3


def test_a_mistake_of_the_caller_is_not_sent_again():
    u = uplink(True, GIVEN % b"one", refusal(10001), TAKEN)
    u.queue.push(b"bad")
    u.queue.push(b"good")
    assert u.step() == REJECTED and u.result == 10001
    assert u.step() == ACCEPTED and u.result == 200
    assert (u.accepted, u.rejected, len(u.queue)) == (1, 1, 0)


def test_what_is_refused_for_good_is_a_dead_letter_with_the_code_as_its_reason():
    u = uplink(True, GIVEN % b"one", refusal(10001))
    u.dead_letters = Letters()
    u.queue.push(b"bad")
    assert u.forward() == 0
    assert u.dead_letters.found == [(b"bad", 10001)]


def test_who_writes_three_lines_is_told_the_code():
    for codes, kind in (((20000,), NotNow), ((40000,), NotNow), ((0, 10001), Refused)):
        answers = [refusal(code) if code else GIVEN % b"one" for code in codes]
        u = uplink(True, *answers)
        error = raises(kind, Publisher(u.client, u.cloud).publish, b"a")
        assert error.status == codes[-1] and str(codes[-1]) in str(error)


def test_a_code_is_forgotten_with_the_next_answer():
    u = uplink(True, GIVEN % b"one", refusal(40000), b"<html>", TAKEN)
    u.queue.push(b"a")
    for result in (40000, 200, 200):
        u.forward()
        assert u.result == result


def test_a_login_that_is_refused_keeps_the_record_and_backs_off():
    for code in (10000, 10001, 20000, 20001, 20004, 40000):
        u = uplink(True, refusal(code), refusal(code), GIVEN % b"one", TAKEN)
        u.queue.push(b"a")
        assert u.connect() == _EACCES and u.wait_ms == 1000 and u.result == code
        assert u.forward() == 0 and u.wait_ms == 2000
        assert u.forward() == 1
        assert requests(u) == [LOGIN] * 3 + [(PATH, [b"one"], b"a")]


LONG = b',"data":"%s"}' % (b"x" * 500)


def test_an_answer_longer_than_the_buffer_is_judged_by_the_code_at_its_beginning():
    for closes in (True, False):
        u = uplink(closes, GIVEN % b"one", b'{"code":0' + LONG, TAKEN)
        u.queue.push(b"a")
        assert u.forward() == 1 and u.result == _EMSGSIZE
        assert requests(u) == [LOGIN, (PATH, [b"one"], b"a")], "it is not sent again"
    answers = (GIVEN % b"one", b'{"code":20001' + LONG, GIVEN % b"two", TAKEN)
    u = uplink(True, *answers)
    u.queue.push(b"a")
    assert u.forward() == 1 and requests(u)[-1] == (PATH, [b"two"], b"a")
    u = uplink(True, GIVEN % b"one", b'{"code":10001' + LONG)
    u.queue.push(b"a")
    assert u.step() == REJECTED


def test_a_login_longer_than_the_buffer_is_one_if_its_token_has_come():
    u = uplink(True, b'{"code":0,"info":{"token":"one"}' + LONG, TAKEN)
    u.queue.push(b"a")
    assert u.connect() == 0 and u.forward() == 1
    u = uplink(True, b'{"code":0,"a":"%s","info":{"token":"%s"}}' % (b"x" * 200, b"t" * 190))
    assert u.connect() == _EMSGSIZE


def test_an_answer_longer_than_the_buffer_without_a_code_in_it_keeps_the_record():
    for answer in (b'{"data":"%s","code":0}' % (b"x" * 500), b"<html>" + b" " * 500):
        u = uplink(True, GIVEN % b"one", answer, TAKEN)
        u.queue.push(b"a")
        assert u.forward() == 0 and len(u.queue) == 1
        assert u.forward() == 1


def test_a_record_of_128_kib_is_sent_and_a_longer_one_is_not():
    u = uplink(True, GIVEN % b"one", TAKEN)
    record = bytes(Aliyun.max_payload)
    assert u.exchange(record, 1000) == ACCEPTED
    assert len(requests(u)[1][2]) == 131072
    sent = len(u.client.transport.sent)
    assert u.exchange(record + b"x", 1000) == REJECTED
    assert len(u.client.transport.sent) == sent
