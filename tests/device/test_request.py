"""The request head writer: its octets, its limits, and what it refuses to send."""

from onebuf.http1 import Request

HEAD = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length:       0\r\n\r\n"
SECRET = "hunter2"


def _raises(call, *args):
    """The text of the ValueError that call(*args) raises."""
    try:
        call(*args)
    except ValueError as e:
        return str(e)
    raise AssertionError("no ValueError: {}".format(args))


def _request(size=256, method=b"GET", host=b"h", path=b"/a"):
    request = Request(bytearray(size))
    request.start(method, host, path)
    return request


def _head(request):
    return bytes(request.buf[: request.n])


def _ended(request):
    request.end()
    return _head(request)


def test_head_is_request_line_and_host():
    assert _ended(_request()) == HEAD


def test_path_that_is_empty_or_not_given_is_the_root():
    root = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert _ended(_request(path=b"")) == root
    assert _ended(_request(path=None)) == root
    request = Request(bytearray(64))
    request.start(b"GET", b"h")
    assert _ended(request) == root


def test_host_may_have_a_port():
    request = _request(host=b"a1b2-ats.iot.us-east-1.amazonaws.com:8443", path=b"/topics/t?qos=1")
    assert _ended(request) == (
        b"GET /topics/t?qos=1 HTTP/1.1\r\nHost: a1b2-ats.iot.us-east-1.amazonaws.com:8443\r\n\r\n"
    )


def test_host_may_be_an_ipv6_address():
    assert b"\r\nHost: [::1]:80\r\n" in _ended(_request(host=b"[::1]:80"))


def test_path_may_hold_every_visible_character():
    path = b"/" + bytes(range(33, 127))
    assert _ended(_request(path=path)).startswith(b"GET " + path + b" HTTP/1.1\r\n")


def test_method_may_be_any_token():
    for method in (b"G", b"M-SEARCH", b"!#$%&'*+-.^_`|~09AZaz"):
        assert _ended(_request(method=method)).startswith(method + b" /a HTTP/1.1\r\n")


def test_fields_follow_in_their_order():
    request = _request()
    request.field(b"X", b"y")
    request.field(b"A", b"1")
    request.field(b"A", b"2")
    assert _ended(request) == HEAD[:-2] + b"X: y\r\nA: 1\r\nA: 2\r\n\r\n"


def test_field_value_may_be_empty_or_any_text():
    for value in (b"", b"a:b", b"  pad  ", b"a\tb", b"caf\xc3\xa9", b"\x80\xff", b"~ !"):
        request = _request()
        request.field(b"A", value)
        assert _ended(request) == HEAD[:-2] + b"A: " + value + b"\r\n\r\n"


def test_field_value_may_be_a_bytearray():
    request = _request()
    request.field(b"A", bytearray(b"token"))
    assert _ended(request) == HEAD[:-2] + b"A: token\r\n\r\n"


def test_connection_keep_alive_and_user_agent_are_fields_like_others():
    request = _request()
    request.field(b"User-Agent", b"my-platform-name")
    request.field(b"Connection", b"keep-alive")
    fields = b"User-Agent: my-platform-name\r\nConnection: keep-alive\r\n\r\n"
    assert _ended(request) == HEAD[:-2] + fields


def test_fields_that_frame_the_request_are_refused_in_any_letters():
    for name in (b"Host", b"HOST", b"Content-Length", b"content-length", b"Transfer-Encoding"):
        request = _request()
        _raises(request.field, name, b"5")
        assert _ended(request) == HEAD


def test_head_fits_a_buffer_of_its_length():
    assert _ended(_request(len(HEAD))) == HEAD
    assert _ended(_request(len(POST), b"POST")) == POST
    request = _request(len(HEAD) + 6)
    request.field(b"X", b"y")
    assert _ended(request) == HEAD[:-2] + b"X: y\r\n\r\n"


def test_head_longer_than_the_buffer_is_refused_with_the_number_of_octets():
    for method, whole in ((b"GET", HEAD), (b"POST", POST)):
        for size in range(len(whole)):
            text = _raises(lambda size, method: _request(size, method).end(), size, method)
            assert str(size) in text


def test_head_that_did_not_fit_stays_unsendable_until_start():
    request = _request(len(HEAD) + 6)
    _raises(request.field, b"X", b"too long")
    _raises(request.field, b"X", b"")
    _raises(request.end)
    request.start(b"GET", b"h", b"/a")
    request.field(b"X", b"y")
    assert _ended(request) == HEAD[:-2] + b"X: y\r\n\r\n"


def test_octets_behind_the_head_are_untouched():
    request = Request(bytearray(b"\xa5" * (len(POST) + 9)))
    request.start(b"POST", b"h", b"/a")
    request.end()
    request.length(9999999)
    assert request.buf[len(POST) :] == b"\xa5" * 9


def test_character_that_ends_a_line_is_refused_everywhere():
    for c in (b"\r", b"\n", b"\x00", b"\r\nX: y", b"\r\n\r\n"):
        for method, host, path in (
            (b"GE" + c + b"T", b"h", b"/"),
            (b"GET", b"h" + c, b"/"),
            (b"GET", c + b"h", b"/"),
            (b"GET", b"h", b"/a" + c + b"b"),
            (b"GET", b"h", b"/" + c),
            (b"GET" + c, b"h", b"/"),
        ):
            _raises(_request, 256, method, host, path)
        request = _request()
        for name, value in ((b"A" + c, b"b"), (b"A", b"b" + c), (b"A", c + b"b"), (c, b"")):
            _raises(request.field, name, value)
        assert _ended(request) == HEAD


def test_method_that_is_no_token_is_refused():
    for method in (b"", b" GET", b"GET ", b"G ET", b"GET:", b"G\tT", b"G\xc9T", b"(", b"G\x7fT"):
        _raises(_request, 256, method)


def test_host_that_is_no_host_is_refused():
    for host in (
        b"",
        b"h ",
        b" h",
        b"h h",
        b"h\t",
        b"h/x",
        b"http://h",
        b"h\x7f",
        b"\xc3\xa9.com",
    ):
        _raises(_request, 256, b"GET", host)


def test_path_that_is_no_path_is_refused():
    for path in (
        b"a",
        b"http://h/",
        b"*",
        b" /",
        b"/a b",
        b"/a\tb",
        b"/\x7f",
        b"/\xc3\xa9",
        b"?a",
    ):
        _raises(_request, 256, b"GET", b"h", path)


def test_field_name_that_is_no_token_is_refused():
    request = _request()
    for name in (b"", b"A:B", b"A B", b" A", b"A ", b"A\t", b"A\x7f", b"\xc3\xa9", b"A=", b'"A"'):
        _raises(request.field, name, b"v")
    assert _ended(request) == HEAD


def test_field_value_with_any_control_but_htab_is_refused():
    request = _request()
    for c in range(256):
        if (c < 32 and c != 9) or c == 127:
            _raises(request.field, b"A", b"b" + bytes([c]) + b"c")
    assert _ended(request) == HEAD


def test_refused_secret_is_not_in_the_text_of_the_error():
    secret = bytes(SECRET, "ascii")
    request = _request(60)
    for value in (secret + b"\r\nX: y", b"\x00" + secret, secret * 20):
        assert SECRET not in _raises(request.field, b"password", value)
    for path in (b"/?sig=" + secret + b"\n", b"/?sig=" + secret * 20, secret):
        assert SECRET not in _raises(_request, 60, b"GET", b"h", path)


def test_request_after_a_refused_one_is_whole():
    request = _request()
    request.field(b"X", b"y")
    _raises(request.start, b"GET", b"h\r\n", b"/")
    request.start(b"GET", b"h", b"/a")
    assert _ended(request) == HEAD


def test_range_is_first_to_last_or_to_the_end_or_the_last_octets():
    most = 2**31 - 1
    for first, last, value in (
        (0, 1023, b"0-1023"),
        (5, 5, b"5-5"),
        (0, 0, b"0-0"),
        (256, -1, b"256-"),
        (0, -1, b"0-"),
        (-512, -1, b"-512"),
        (-1, -1, b"-1"),
        (1 - 2**31, -1, b"-2147483647"),
        (most, most, b"2147483647-2147483647"),
    ):
        request = _request()
        request.range(first, last)
        assert _ended(request) == HEAD[:-2] + b"Range: bytes=" + value + b"\r\n\r\n"


def test_range_to_the_end_needs_only_its_first_octet():
    request = _request()
    request.range(7)
    assert b"\r\nRange: bytes=7-\r\n" in _ended(request)


def test_range_that_is_none_is_refused():
    request = _request()
    for first, last in ((6, 5), (-1, 5), (-5, 0), (0, -2), (-5, -2), (1, 0)):
        _raises(request.range, first, last)
    assert _ended(request) == HEAD


def test_method_without_a_body_gets_no_content_length():
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
        request = _request(method=method)
        assert b"Content-Length" not in _ended(request)
        request.length(0)
        assert b"Content-Length" not in _head(request)
        _raises(request.length, 1)
        _raises(request.length, 10000000)


def test_method_with_a_body_has_a_content_length_even_without_one():
    assert _ended(_request(method=b"POST")) == POST
    for method in (b"PUT", b"PATCH", b"post"):
        assert b"\r\nContent-Length:       0\r\n\r\n" in _ended(_request(method=method))


def test_length_rewrites_the_digits_and_nothing_else():
    request = _request(method=b"POST")
    request.end()
    for n in (0, 1, 9, 10, 99, 100, 65536, 128000, 999999, 1000000, 9999999, 5, 5, 0):
        request.length(n)
        digits = b"       " + bytes(str(n), "ascii")
        assert _head(request) == POST[:-11] + digits[-7:] + b"\r\n\r\n", n


def test_length_of_a_fresh_head_is_written_whatever_it_is():
    for n in (0, 1, 5, 12, 9999999):
        request = _request(method=b"POST")
        request.end()
        request.length(n)
        assert int(_head(request).split(b":")[-1]) == n


def test_length_that_has_no_room_is_refused_and_changes_nothing():
    request = _request(method=b"POST")
    request.end()
    request.length(1234567)
    before = _head(request)
    for n in (10000000, 10000001, 2**30, 2**31, 2**64, -1, -5):
        _raises(request.length, n)
        assert _head(request) == before


def test_length_of_the_request_before_is_forgotten():
    request = _request(method=b"POST")
    request.end()
    request.length(5)
    request.start(b"POST", b"h", b"/a")
    assert _ended(request) == POST
    request.length(5)
    assert b" 5\r\n\r\n" in _head(request)


def test_length_of_a_post_does_not_pass_for_a_get_after_it():
    request = _request(method=b"POST")
    request.end()
    request.length(5)
    request.start(b"GET", b"h", b"/a")
    request.end()
    _raises(request.length, 5)
    assert _head(request) == HEAD


def test_field_before_start_or_after_end_is_refused_and_leaves_the_head():
    request = Request(bytearray(256))
    _raises(request.field, b"A", b"b")
    request = _request()
    assert _ended(request) == HEAD
    for late in (request.end, lambda: request.field(b"A", b"b"), lambda: request.range(0, 1)):
        _raises(late)
        assert _head(request) == HEAD
