"""The response parser: every case of http1_cases in every way that octets can arrive."""

from http1_cases import (
    CUT,
    GROUPS,
    NOTHING,
    PROTO,
    TOO_BIG,
    deliver,
    fields,
    head_start,
    needed,
    parts,
)
from onebuf.http1 import Response

H = b"HTTP/1.1 200 OK\r\n"
HELLO = H + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"
_AT = 7  # where the response begins when it is not at the beginning


def _cases(good):
    for group in GROUPS:
        for case in group:
            if (case[2] > 0) == good:
                yield case


def _ways(data):
    """How the octets may arrive: whole, one by one, in two pieces of any length."""
    yield ()
    yield range(len(data))
    for cut in range(len(data)):
        yield (cut,)


class Sink:
    """Takes content piece by piece and says answer to each."""

    def __init__(self, answer=None):
        self.content = bytearray()
        self.answer = answer

    def take(self, buf, off, n):
        assert n > 0, "called with nothing"
        self.content.extend(buf[off : off + n])
        return self.answer


def _read(case, size, cuts, at=0, through_sink=False):
    """What is read in a buffer of size octets, behind at octets that the parser may not touch."""
    _, data, _, _, keep_alive, no_content = parts(case)
    buf = bytearray(b"\xa5" * at + b"\x00" * size)
    response = Response(buf)
    sink = Sink() if through_sink else None
    response.start(at, no_content, sink.take if sink else None)
    result, kept, delivered = deliver(response, data, cuts)
    assert buf[:at] == b"\xa5" * at, "written in front of the response"
    assert response.end <= at + size, "more octets than the buffer has"
    got = bytes(sink.content if sink else buf[response.off : response.off + response.n])
    if result > 0:
        assert response.n == len(got) and response.status == result
    if result > 0 and delivered < len(data):
        kept = keep_alive  # nobody could see what is behind the response
    return result, got, kept


def _wrong(case, size, cuts, at=0, through_sink=False):
    """None where a case is read as the table says, otherwise a line that says what is wrong."""
    name, _, result, content, keep_alive, _ = parts(case)
    got = _read(case, size, cuts, at, through_sink)
    if result in (PROTO, TOO_BIG):
        content, keep_alive = got[1], False  # what came before the error is of no use
    if got == (result, content, keep_alive) or (result in (CUT, NOTHING) and got[0] == result):
        return None
    return "{} (size {}, cuts {}, at {}): {}".format(name, size, cuts, at, got)


def _none(wrong):
    found = [line for line in wrong if line]
    assert not found, "\n".join(found[:9])


def test_every_case_fed_whole_is_read_as_the_table_says():
    _none(_wrong(case, len(case[1]) + 32, ()) for good in (True, False) for case in _cases(good))


def test_every_case_fed_octet_by_octet_is_read_as_the_table_says():
    _none(
        _wrong(case, len(case[1]) + 32, range(len(case[1])))
        for good in (True, False)
        for case in _cases(good)
    )


def test_every_case_split_at_any_place_is_read_as_the_table_says():
    _none(
        _wrong(case, len(case[1]) + 32, (cut,), _AT)
        for good in (True, False)
        for case in _cases(good)
        for cut in range(len(case[1]))
    )


def test_good_case_is_read_in_a_buffer_that_just_fits():
    _none(
        _wrong(case, needed(case), cuts, at)
        for case in _cases(True)
        for at in (0, _AT)
        for cuts in _ways(case[1])
    )


def test_good_case_is_too_big_for_a_buffer_one_octet_smaller():
    for case in _cases(True):
        size = needed(case) - 1
        for cuts in _ways(case[1]):
            got = _read(case, size, cuts, _AT)
            assert got[0] == TOO_BIG, (case[0], size, cuts, got)


def test_good_case_is_too_big_for_every_smaller_buffer():
    for case in _cases(True):
        for size in range(needed(case)):
            got = _read(case, size, ())
            assert got[0] == TOO_BIG, (case[0], size, got)


def test_bad_case_is_refused_in_smaller_buffers():
    for case in _cases(False):
        n = len(case[1])
        for size in range(0, n, 1 + n // 300):  # every size, but of the few long cases
            whole = _read(case, size, (), _AT)
            assert whole[0] in (TOO_BIG, case[2]), (case[0], size, whole)
            assert _read(case, size, range(n))[0] == whole[0], (case[0], size)


def test_good_case_is_read_through_a_sink():
    _none(
        _wrong(case, len(case[1]) + 32, cuts, _AT, True)
        for case in _cases(True)
        for cuts in ((), range(len(case[1])))
    )


def test_good_case_is_read_through_a_sink_in_a_buffer_that_just_fits():
    _none(
        _wrong(case, needed(case, True), cuts, _AT, True)
        for case in _cases(True)
        for cuts in _ways(case[1])
    )


def test_good_case_through_a_sink_is_too_big_for_a_buffer_one_octet_smaller():
    for case in _cases(True):
        size = needed(case, True) - 1
        for cuts in ((), range(len(case[1]))):
            got = _read(case, size, cuts, _AT, True)
            assert got[0] == TOO_BIG, (case[0], size, got)


def test_content_that_cannot_fit_is_refused_as_soon_as_its_length_is_known():
    chunks = CHUNKED + b"5\r\nhello\r\n4\r\n"
    for data, size in (
        (H + b"Content-Length: 5\r\n\r\n", len(HELLO) - 1),
        (CHUNKED + b"4\r\n", len(CHUNKED) + 3),
        (chunks, len(CHUNKED) + 8),
    ):
        response = Response(bytearray(size))
        last = 0
        for octet in data:
            assert last == 0
            response.buf[response.end] = octet
            last = response.feed(1)
        assert last == TOO_BIG


def _parsed(data, no_content=False, room=32, at=0, sink=None):
    response = Response(bytearray(at + len(data) + room))
    response.start(at, no_content, sink)
    deliver(response, data)
    return response


def test_every_field_of_a_good_case_is_found_with_its_value():
    for case in _cases(True):
        name, data, _, _, _, no_content = parts(case)
        response = _parsed(data, no_content, 32, _AT)
        start = head_start(data)
        pairs = fields(data[start : data.find(b"\r\n\r\n", start) + 4])
        seen = []
        for field, value in pairs:
            if field not in seen:
                seen.append(field)
                at = response.field(field)
                got = response.buf[at : at + response.field_n]
                assert at > _AT and got == value, (name, field, at, got)


def test_every_field_of_a_good_case_is_a_number_only_if_it_is_one():
    for case in _cases(True):
        name, data, _, _, _, no_content = parts(case)
        response = _parsed(data, no_content)
        start = head_start(data)
        seen = []
        for field, value in fields(data[start : data.find(b"\r\n\r\n", start) + 4]):
            if field not in seen:
                seen.append(field)
                number = int(value) if value.isdigit() else -1
                assert response.number(field) == min(number, 2**26 - 1), (name, field, value)


def test_field_that_is_absent_is_not_found():
    for case in _cases(True):
        _, data, _, _, _, no_content = parts(case)
        response = _parsed(data, no_content)
        for name in (b"nope", b"http/1.1 200 ok", b"x-t", b"5", b"content", b"h"):
            assert response.field(name) == -2, (case[0], name)
            assert response.number(name) == -1, (case[0], name)


def test_field_is_not_found_before_the_head_is_complete():
    response = Response(bytearray(64))
    assert response.field(b"a") == -2
    response.buf[:24] = H + b"A: b\r\n\r"
    assert response.feed(24) == 0
    assert response.field(b"a") == -2


def test_field_of_the_response_before_is_not_found_after_start():
    response = _parsed(HELLO)
    response.start(0)
    assert response.field(b"content-length") == -2
    assert (response.status, response.n, response.keep_alive) == (0, 0, True)


def test_field_is_not_found_in_the_content():
    response = _parsed(H + b"Content-Length: 8\r\n\r\nA: b\r\n\r\n")
    assert response.field(b"a") == -2


def test_field_of_a_1xx_response_is_not_found_in_the_final_one():
    response = _parsed(b"HTTP/1.1 103 \r\nLink: x\r\nRetry-After: 9\r\n\r\n" + HELLO)
    assert response.field(b"link") == -2 and response.number(b"retry-after") == -1


def test_number_is_the_value_of_a_field_of_digits():
    response = _parsed(H + b"Retry-After: 120\r\nB: 12a\r\nC: 99999999999\r\n\r\n", True)
    assert response.number(b"retry-after") == 120
    assert response.number(b"b") == -1
    assert response.number(b"c") == 2**26 - 1


def test_content_length_is_known_where_no_content_follows():
    assert _parsed(H + b"Content-Length: 500\r\n\r\n", True).number(b"content-length") == 500
    assert _parsed(H + b"\r\n", True).number(b"content-length") == -1
    not_modified = _parsed(b"HTTP/1.1 304 \r\nContent-Length: 7\r\n\r\n")
    assert not_modified.number(b"content-length") == 7


def test_content_is_in_the_one_buffer_behind_the_head():
    response = _parsed(HELLO)
    assert (response.off, response.n) == (len(HELLO) - 5, 5)
    assert response.buf[response.off : response.off + response.n] == b"hello"


def test_octets_after_the_result_change_only_keep_alive():
    response = _parsed(HELLO)
    response.start(0)
    response.buf[: len(HELLO)] = HELLO
    assert response.feed(len(HELLO)) == 200 and response.keep_alive
    assert response.feed(0) == 200 and response.keep_alive
    response.buf[response.end : response.end + 3] = b"XYZ"
    assert response.feed(3) == 200 and not response.keep_alive
    assert response.buf[response.off : response.off + response.n] == b"hello"


def test_close_after_a_complete_response_keeps_its_result():
    response = Response(bytearray(HELLO))
    assert response.feed(len(HELLO)) == 200 and response.keep_alive
    assert response.feed_eof() == 200 and not response.keep_alive


def test_error_stays_whatever_is_fed_after_it():
    response = Response(bytearray(b"HTTP/2.0 200 OK\r\n" + HELLO))
    assert response.feed(17) == -71
    assert response.feed(len(HELLO)) == -71
    assert response.feed_eof() == -71


def test_feeding_nothing_changes_nothing():
    response = Response(bytearray(64))
    for i in range(len(HELLO)):
        assert response.feed(0) == 0
        response.buf[response.end] = HELLO[i]
        result = response.feed(1)
    assert result == 200


def test_one_parser_reads_many_responses():
    response = Response(bytearray(128))
    for status in (b"200", b"404", b"503"):
        for data in (
            b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.0 " + status + b"\r\n\r\nhi",
            b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ):
            response.start(3)
            assert deliver(response, b"HTTP/1.1 100 \r\n\r\n" + data)[0] == int(status)
            assert response.buf[response.off : response.off + response.n] == b"hi"


def test_parser_reads_again_after_an_error():
    response = Response(bytearray(64))
    for data in (b"HTTP/1.1 099 \r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"):
        assert deliver(response, data)[0] < 0
        response.start(0)
        assert deliver(response, HELLO)[0] == 200
        response.start(0)


def test_no_content_holds_for_one_response_only():
    response = _parsed(H + b"Content-Length: 5\r\n\r\n", True)
    assert response.feed_eof() == 200
    response.start(0)
    assert deliver(response, HELLO[:-5])[0] == -61


def test_sink_that_gives_up_ends_the_response():
    for data in (HELLO, H + b"\r\nhello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"):
        sink = Sink(-1)
        response = Response(bytearray(len(data) + 9))
        response.start(0, False, sink.take)
        assert deliver(response, data, (data.find(b"hello") + 2,))[0] == -125
        assert sink.content == b"he"


def test_sink_may_return_any_number_but_a_negative_one():
    for answer in (None, 0, 5):
        response = Response(bytearray(len(HELLO)))
        response.start(0, False, Sink(answer).take)
        assert deliver(response, HELLO)[0] == 200


def test_sink_is_never_called_with_nothing():
    for data in (H + b"Content-Length: 0\r\n\r\n", CHUNKED + b"0\r\n\r\n", H + b"\r\n"):
        sink = Sink()
        assert _parsed(data, sink=sink.take).feed_eof() == 200
        assert not sink.content


def test_content_far_larger_than_the_buffer_goes_through_a_sink():
    block = bytes(range(256)) * 4
    chunk = b"400;ext=1\r\n" + block + b"\r\n"
    for head, part, end in (
        (H + b"Content-Length: 65536\r\n\r\n", block, b""),
        (H + b"\r\n", block, b""),
        (CHUNKED, chunk, b"0\r\n\r\n"),
    ):
        sink = Sink()
        response = Response(bytearray(64))
        response.start(0, False, sink.take)
        data = head + part * 64 + end
        assert deliver(response, data)[0] == 200
        assert response.n == 65536
        assert sink.content == block * 64


def test_sink_does_not_take_what_no_counter_can_hold():
    sink = Sink()
    for data in (
        H + b"Content-Length: 67108863\r\n\r\nhello",
        CHUNKED + b"3ffffff\r\nhello",
        H + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    ):
        response = Response(bytearray(99))
        response.start(0, False, sink.take)
        assert deliver(response, data)[0] == TOO_BIG
    assert not sink.content


def test_sink_takes_as_much_as_a_counter_can_hold():
    for data in (
        H + b"Content-Length: 67108862\r\n\r\nhello",
        CHUNKED + b"3fffffe\r\nhello",
    ):
        sink = Sink()
        response = Response(bytearray(99))
        response.start(0, False, sink.take)
        assert deliver(response, data)[0] == -61
        assert sink.content == b"hello"


def test_sink_does_not_take_more_chunks_than_a_counter_can_hold():
    response = Response(bytearray(99))
    response.start(0, False, Sink().take)
    response.buf[: len(CHUNKED) + 5] = CHUNKED + b"5\r\nhe"
    assert response.feed(len(CHUNKED) + 5) == 0
    response._m[12] = 2**26 - 4  # as after 64 MiB of chunks
    response.buf[response.end : response.end + 3] = b"llo"
    assert response.feed(3) == TOO_BIG


def test_table_has_enough_cases_each_of_its_own_name():
    names = [case[0] for group in GROUPS for case in group]
    assert len(names) >= 400
    assert len(set(names)) == len(names)
