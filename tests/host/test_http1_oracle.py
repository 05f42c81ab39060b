"""The response parser against h11, on responses made from a grammar and on the table of cases.

Both must give the same status and content, or both must refuse. Where they do not, the reason
stands in DISAGREEMENTS; anything else fails.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.host.fuzz_http1 import CASES, Reader, cuts, fuzzer, made, mutated, run_chunk

Answer = tuple[int, bytes] | None  # status and content; None: refused, or not complete

READER = Reader()
H = b"HTTP/1.1 200 OK\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def ours(data: bytes, no_content: bool, pieces: list[int], through_sink: bool) -> Answer:
    """Return what the device's parser makes of data and the end of the connection behind it."""
    result, content, _ = READER.read(
        data, pieces, no_content=no_content, through_sink=through_sink
    )
    return (result, content) if result > 0 else None


def theirs(data: bytes, no_content: bool, pieces: list[int]) -> Answer:
    """Return what h11 makes of it, as the client that sent a GET or (no_content) a HEAD."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    method = "HEAD" if no_content else "GET"
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    status, content = 0, b""
    try:
        for event in _events(client, data, pieces):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, content
    except h11.RemoteProtocolError:
        pass
    return None


def _events(client: h11.Connection, data: bytes, pieces: list[int]) -> Iterator[object]:
    """Yield what h11 reports for the pieces of data and then the end of the connection."""
    ends = [0, *pieces, len(data)]
    fed = [data[a:e] for a, e in itertools.pairwise(ends) if a < e]
    for piece in [*fed, b""]:
        client.receive_data(piece)
        while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            yield event
            if isinstance(event, h11.ConnectionClosed):
                return


_HEADS = re.compile(rb"(?:HTTP/\d\.\d 1\d\d.*?\n\r?\n)*.*?(?:\n\r?\n|\Z)", re.DOTALL)


def _heads(data: bytes) -> bytes:
    """The heads of data, those of 1xx responses too, as far as a lenient reader sees them."""
    match = _HEADS.match(data)
    return match[0] if match else b""


def in_heads(pattern: bytes) -> Callable[[bytes], bool]:
    """Return a predicate: the pattern is found in the heads, letters compared without case."""
    found = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    return lambda data: found.search(_heads(data)) is not None


def in_chunks(pattern: bytes) -> Callable[[bytes], bool]:
    """Return a predicate: the content is chunked and the pattern is found in it."""
    found = re.compile(pattern, re.MULTILINE)
    chunked = in_heads(rb"^transfer-encoding:")
    return lambda data: chunked(data) and found.search(data[len(_heads(data)) :]) is not None


class Disagreement(NamedTuple):
    """A class of inputs that one of the two accepts and the other refuses, and why that is so."""

    name: str
    h11_accepts: bool  # and we refuse; or the other way round
    applies: Callable[[bytes], bool]
    example: bytes
    reason: str


DISAGREEMENTS = (
    Disagreement(
        "LF alone ends a line of a head",
        True,
        in_heads(rb"(?<!\r)\n"),
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "RFC 9112 2.2: a recipient MAY take it; we do not, as it helps response splitting",
    ),
    Disagreement(
        "LF alone ends a line of the trailers",
        True,
        in_chunks(rb"(?<!\r)\n"),
        CHUNKED + b"0\r\nX: v\n\r\n",
        "RFC 9112 2.2: a recipient MAY take it; we do not",
    ),
    Disagreement(
        "control character in a head",
        True,
        in_heads(rb"[\x01-\x08\x0e-\x1f\x7f]"),
        H + b"A: \x01\r\nContent-Length: 0\r\n\r\n",
        "RFC 9110 5.5: CTL is not field content; a recipient MAY keep it, only in a safe context",
    ),
    Disagreement(
        "control character in a chunk extension or a trailer",
        True,
        in_chunks(rb"[;:][^\n]*([\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]|\r(?!\n))"),
        CHUNKED + b"0;\x00\r\n\r\n",
        "RFC 9112 7.1.1: an extension is tokens and quoted strings, which hold no CTL",
    ),
    Disagreement(
        "major version other than 1",
        True,
        in_heads(rb"^HTTP/[02-9]\.\d "),
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "RFC 9112 2.3: the syntax of another major version is not this one",
    ),
    Disagreement(
        "Transfer-Encoding in HTTP/1.0",
        True,
        in_heads(rb"^HTTP/1\.0 (?s:.)*^transfer-encoding:"),
        CHUNKED.replace(b"/1.1", b"/1.0") + LAST,
        "RFC 9112 6.1: a client MUST treat the framing as faulty",
    ),
    Disagreement(
        "Transfer-Encoding beside Content-Length",
        True,
        lambda data: (
            in_heads(rb"^transfer-encoding:")(data) and in_heads(rb"^content-length:")(data)
        ),
        H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
        "RFC 9112 6.3: might be response splitting, ought to be handled as an error",
    ),
    Disagreement(
        "Content-Length is a list of equal numbers",
        True,
        in_heads(rb"^content-length:\s*\d+\s*,"),
        H + b"Content-Length: 5, 5\r\n\r\nhello",
        "RFC 9110 8.6: to be rejected or replaced by the one number",
    ),
    Disagreement(
        "fold in a trailer",
        True,
        in_chunks(rb"\r\n[ \t]"),
        CHUNKED + b"0\r\nX: v\r\n w\r\n\r\n",
        "RFC 9112 5.2: a sender MUST NOT; no trailer is read here",
    ),
    Disagreement(
        "more than eight 1xx responses",
        True,
        lambda data: len(re.findall(rb"^HTTP/\d\.\d 1\d\d", _heads(data), re.MULTILINE)) > 8,
        b"HTTP/1.1 100 \r\n\r\n" * 9 + H + b"\r\n",
        "RFC 9110 15.2 names no limit; without one a server could keep a device for ever",
    ),
    Disagreement(
        "more than a hundred fields",
        True,
        lambda data: _heads(data).count(b"\r\n") > 100,
        H + b"A: b\r\n" * 101 + b"\r\n",
        "RFC 9110 5.4: a recipient has limits of its own",
    ),
    Disagreement(
        "line or trailers of a chunked content over the limit",
        True,
        in_chunks(rb"(?s).{256}"),
        CHUNKED + b"0;" + b"x" * 300 + b"\r\n\r\n",
        "RFC 9112 7.1.1: a recipient ought to limit extensions",
    ),
    Disagreement(
        "chunk size of more than twenty digits",
        False,
        in_chunks(rb"[0-9A-Fa-f]{21}"),
        CHUNKED + b"0" * 21 + b"\r\n\r\n",
        "RFC 9112 7.1: 1*HEXDIG, a recipient must prepare for large ones; these are zeros",
    ),
    Disagreement(
        "white space between chunk size and extension",
        False,
        in_chunks(rb"[0-9A-Fa-f][ \t]+;"),
        CHUNKED + b"0 ;a\r\n\r\n",
        "RFC 9112 7.1.1: BWS is part of chunk-ext, a recipient MUST parse it",
    ),
    Disagreement(
        "field of framing in a trailer",
        False,
        in_chunks(rb"(?i)^(content-length|transfer-encoding):"),
        CHUNKED + b"0\r\nTransfer-Encoding: x\r\n\r\n",
        "RFC 9110 6.5.1: a trailer does not frame; RFC 9112 7.1.2: it may be discarded",
    ),
    Disagreement(
        "Content-Length of more than twenty digits",
        False,
        in_heads(rb"^content-length:\s*[0-9]{21}"),
        H + b"Content-Length: " + b"0" * 21 + b"\r\n\r\n",
        "RFC 9110 8.6: any number of digits; these are zeros, or no content follows at all",
    ),
    Disagreement(
        "one Content-Length in two fields, spelled in two ways",
        False,
        in_heads(rb"^content-length:\s*0\d(?s:.)*^content-length:|^content-length:(?s:.)*:\s*0\d"),
        H + b"Content-Length: 5\r\nContent-Length: 05\r\n\r\nhello",
        "RFC 9110 8.6: the same decimal value may be taken once",
    ),
)


def justified(data: bytes, mine: Answer, other: Answer) -> bool:
    """Return whether a known disagreement explains why only one of the two accepts data."""
    if (mine is None) == (other is None):
        return False
    return any(d.h11_accepts == (mine is None) and d.applies(data) for d in DISAGREEMENTS)


def compare(data: bytes, no_content: bool, pieces: list[int], through_sink: bool) -> None:
    """Fail unless both agree on data, or are known to disagree."""
    mine = ours(data, no_content, pieces, through_sink)
    other = theirs(data, no_content, pieces)
    assert mine == other or justified(data, mine, other), (data, no_content, mine, other)


@settings(max_examples=2500, deadline=None, database=None)
@given(st.randoms(use_true_random=True), st.booleans(), st.booleans(), st.booleans())
def test_response_of_the_grammar_is_read_as_h11_reads_it(
    random: Random, mutate: bool, no_content: bool, through_sink: bool
) -> None:
    data = made(random)
    if mutate:
        data = mutated(random, data, made(random))
    compare(data, no_content, cuts(random, len(data)), through_sink)


@settings(max_examples=1500, deadline=None, database=None)
@given(st.binary(max_size=60), st.booleans(), st.lists(st.integers(0, 60), max_size=3).map(sorted))
@example(b"", False, [])
def test_any_octets_behind_a_head_are_read_as_h11_reads_them(
    octets: bytes, chunked: bool, pieces: list[int]
) -> None:
    data = (CHUNKED if chunked else H) + octets
    compare(data, False, [min(cut, len(data)) for cut in pieces], chunked)


@pytest.mark.parametrize(
    "case", [case for group in CASES["GROUPS"] for case in group], ids=lambda case: case[0]
)
def test_case_of_the_table_is_read_as_h11_reads_it(case: tuple[str, bytes]) -> None:
    *_, no_content = CASES["parts"](case)
    compare(case[1], no_content, [], False)


@pytest.mark.parametrize("known", DISAGREEMENTS, ids=lambda known: known.name)
def test_known_disagreement_still_exists(known: Disagreement) -> None:
    mine, other = ours(known.example, False, [], False), theirs(known.example, False, [])
    assert known.applies(known.example)
    assert (mine is None, other is None) == (known.h11_accepts, not known.h11_accepts)


def test_fuzzer_finds_no_exception_and_no_dependence_on_the_pieces() -> None:
    counts, _, steps = run_chunk(seed=1, n=6000)
    assert counts.total() == 6000
    assert steps > 300
    assert {200, 204, -71, -90, -61} <= set(counts)
    fuzzer.cache_clear()
