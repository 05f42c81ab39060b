"""Responses that are hard to read, and what RFC 9110, RFC 9112 and the clouds say about each.

A case is (name, octets, result[, content[, keep_alive[, no_content]]]): the result after all
octets and then the end of the connection, a status or -errno; content is b"", keep_alive True and
no_content False unless told. A name begins with the section: "9112-4", "9110-8.6", or "5.3" and
the like for PROTOCOLS.md. No imports, so that fuzzers can use the table as their corpus.
"""

PROTO = -71
TOO_BIG = -90
CUT = -61
NOTHING = -104

H = b"HTTP/1.1 200 OK\r\n"
H0 = b"HTTP/1.0 200 OK\r\n"
HELLO = b"Content-Length: 5\r\n\r\nhello"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"

STATUS_LINE = (
    ("9112-4 version, status and reason", H + HELLO, 200, b"hello"),
    ("9112-4 no reason, only the space before it", b"HTTP/1.1 200 \r\n" + HELLO, 200, b"hello"),
    ("2.4 Alibaba: neither reason nor space", b"HTTP/1.1 200\r\n" + HELLO, 200, b"hello"),
    ("9112-4 reason of two words", b"HTTP/1.1 404 Not Found\r\n" + HELLO, 404, b"hello"),
    ("9112-4 reason with HTAB", b"HTTP/1.1 200 O\tK\r\n" + HELLO, 200, b"hello"),
    ("9112-4 reason of spaces", b"HTTP/1.1 200    \r\n" + HELLO, 200, b"hello"),
    ("9112-4 reason with obs-text", b"HTTP/1.1 200 \xe6\x88\x90\xff\r\n" + HELLO, 200, b"hello"),
    ("9112-4 reason that looks like a field", b"HTTP/1.1 200 A: b\r\n" + HELLO, 200, b"hello"),
    ("9112-4 long reason", b"HTTP/1.1 200 " + b"x" * 600 + b"\r\n" + HELLO, 200, b"hello"),
    ("9112-2.3 HTTP/1.0", H0 + HELLO, 200, b"hello", False),
    ("9110-2.5 a later minor version", b"HTTP/1.2 200 OK\r\n" + HELLO, 200, b"hello"),
    ("9110-2.5 the last minor version", b"HTTP/1.9 200 OK\r\n" + HELLO, 200, b"hello"),
    ("9110-15 status nobody knows", b"HTTP/1.1 299 X\r\n" + HELLO, 299, b"hello"),
    ("9110-15 server error", b"HTTP/1.1 599 X\r\n" + HELLO, 599, b"hello"),
    ("9110-15 status above 599", b"HTTP/1.1 999 X\r\n" + HELLO, 999, b"hello"),
    ("9110-15 status of 0", b"HTTP/1.1 000 X\r\n" + HELLO, PROTO),
    ("9110-15 status below 100", b"HTTP/1.1 099 X\r\n" + HELLO, PROTO),
    ("9112-4 four digits", b"HTTP/1.1 1000 X\r\n" + HELLO, PROTO),
    ("9112-4 four digits, no reason", b"HTTP/1.1 2000\r\n" + HELLO, PROTO),
    ("9112-4 two digits", b"HTTP/1.1 20 X\r\n" + HELLO, PROTO),
    ("9112-4 two digits, no reason", b"HTTP/1.1 20\r\n" + HELLO, PROTO),
    ("9112-4 letter in the status", b"HTTP/1.1 2x0 X\r\n" + HELLO, PROTO),
    ("9112-4 sign before the status", b"HTTP/1.1 +20 X\r\n" + HELLO, PROTO),
    ("9112-4 minus before the status", b"HTTP/1.1 -20 X\r\n" + HELLO, PROTO),
    ("9112-4 underscore in the status", b"HTTP/1.1 2_0 X\r\n" + HELLO, PROTO),
    ("9112-4 space in the status", b"HTTP/1.1 2 0 X\r\n" + HELLO, PROTO),
    ("9112-4 no status at all", b"HTTP/1.1\r\n" + HELLO, PROTO),
    ("9112-4 reason without space", b"HTTP/1.1 200OK\r\n" + HELLO, PROTO),
    ("9112-4 HTAB before the reason", b"HTTP/1.1 200\tOK\r\n" + HELLO, PROTO),
    ("9112-4 HTAB before the status", b"HTTP/1.1\t200 OK\r\n" + HELLO, PROTO),
    ("9112-4 two spaces before the status", b"HTTP/1.1  200 OK\r\n" + HELLO, PROTO),
    ("9112-4 NUL in the reason", b"HTTP/1.1 200 O\x00K\r\n" + HELLO, PROTO),
    ("9112-4 control in the reason", b"HTTP/1.1 200 O\x01K\r\n" + HELLO, PROTO),
    ("9112-4 VT in the reason", b"HTTP/1.1 200 O\x0bK\r\n" + HELLO, PROTO),
    ("9112-4 DEL in the reason", b"HTTP/1.1 200 O\x7fK\r\n" + HELLO, PROTO),
    ("9112-2.2 bare CR in the reason", b"HTTP/1.1 200 O\rK\r\n" + HELLO, PROTO),
    ("9112-2.2 CR before CRLF", b"HTTP/1.1 200 OK\r\r\n" + HELLO, PROTO),
    ("9112-2.2 LF alone", b"HTTP/1.1 200 OK\n" + HELLO, PROTO),
    ("9112-2.2 CR alone", b"HTTP/1.1 200 OK\r" + HELLO, PROTO),
    ("9112-2.2 LF CR", b"HTTP/1.1 200 OK\n\r" + HELLO, PROTO),
    ("9112-2.3 version 2.0", b"HTTP/2.0 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 version 0.9", b"HTTP/0.9 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 version 2", b"HTTP/2 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 minor version of two digits", b"HTTP/1.10 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 minor version is a letter", b"HTTP/1.x 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 slash, the octet before 0", b"HTTP/1./ 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 colon, the octet after 9", b"HTTP/1.: 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 no minor version", b"HTTP/1. 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 comma in the version", b"HTTP/1,1 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 name of the protocol in lower case", b"http/1.1 200 OK\r\n" + HELLO, PROTO),
    ("9112-2.3 other protocol", b"ICY 200 OK for it\r\n" + HELLO, PROTO),
    ("9112-2.3 S after HTTP", b"HTTPS/1.1 200 OK\r\n" + HELLO, PROTO),
    ("5.3 CRLF before the status line", b"\r\n" + H + HELLO, PROTO),
    ("9112-2.2 LF before the status line", b"\n" + H + HELLO, PROTO),
    ("9112-4 space before the status line", b" " + H + HELLO, PROTO),
    ("9112-4 NUL before the status line", b"\x00" + H + HELLO, PROTO),
    ("9112-4 byte order mark", b"\xef\xbb\xbf" + H + HELLO, PROTO),
    ("9112-4 digits of another script", b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0\r\n" + HELLO, PROTO),
    ("9112-3 a request", b"GET / HTTP/1.1\r\n" + HELLO, PROTO),
)

FIELDS = (
    ("9112-5 no OWS", H + b"A:b\r\nContent-Length:5\r\n\r\nhello", 200, b"hello"),
    ("9112-5.1 OWS of all kinds", H + b"A: \t b c \t\r\n" + HELLO, 200, b"hello"),
    ("9110-5.5 empty value", H + b"A:\r\n" + HELLO, 200, b"hello"),
    ("9110-5.5 value of OWS", H + b"A: \t  \r\n" + HELLO, 200, b"hello"),
    ("9110-5.5 obs-text", H + b"A: caf\xc3\xa9 \x80\xff\r\n" + HELLO, 200, b"hello"),
    ("9110-5.5 HTAB in the value", H + b"A: b\tc\r\n" + HELLO, 200, b"hello"),
    ("9110-5.5 colons in the value", H + b"X-Err: Forbidden:: :\r\n" + HELLO, 200, b"hello"),
    (
        "9110-5.6.2 every kind of tchar in the name",
        H + b"!#$%&'*+-.^_`|~059AZaz: b\r\n" + HELLO,
        200,
        b"hello",
    ),
    ("9110-5.1 name in other letters", H + b"cOnTeNt-lEnGtH: 5\r\n\r\nhello", 200, b"hello"),
    ("9110-5.1 nearly Content-Length", H + b"Content-Lengt: 9\r\n" + HELLO, 200, b"hello"),
    ("9110-5.1 as long as Content-Length", H + b"Content-Lengtz: 9\r\n" + HELLO, 200, b"hello"),
    ("9110-5.1 as long as Connection", H + b"Connectiox: close\r\n" + HELLO, 200, b"hello"),
    ("9110-5.1 as long as the other", H + b"Transfer-Encodinx: gzip\r\n" + HELLO, 200, b"hello"),
    ("9110-5.1 longer than Content-Length", H + b"Content-Lengths: 9\r\n" + HELLO, 200, b"hello"),
    ("9110-5.3 a name twice", H + b"Set-Cookie: a\r\nSet-Cookie: b\r\n" + HELLO, 200, b"hello"),
    ("9110-5.1 a name that begins another", H + b"A-B: 1\r\nA: 2\r\n" + HELLO, 200, b"hello"),
    ("9110-5.4 hundred fields", H + b"A: b\r\n" * 99 + EMPTY, 200),
    ("9110-5.4 long value", H + b"A: " + b"v" * 900 + b"\r\n" + HELLO, 200, b"hello"),
    ("9110-5.4 long name", H + b"N" * 300 + b": v\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 fold with SP", H + b"A: b\r\n c\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 fold with HTAB", H + b"A: b\r\n\tc\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 two folds", H + b"A: b\r\n c\r\n  d\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 fold after an empty value", H + b"A:\r\n c\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 fold that adds nothing", H + b"A: b\r\n \t\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 fold that looks like a field", H + b"A: b\r\n X: c\r\n" + HELLO, 200, b"hello"),
    ("9112-5.2 fold at the end of the head", H + b"Content-Length: 0\r\nA: b\r\n c\r\n\r\n", 200),
    ("9112-5.2 fold before the length", H + b"Content-Length:\r\n 5\r\n\r\nhello", 200, b"hello"),
    ("9112-5.2 fold after the length", H + b"Content-Length: 5\r\n\t\r\n\r\nhello", 200, b"hello"),
    ("9112-5.2 fold in the length", H + b"Content-Length: 1\r\n 1\r\n\r\nhello", PROTO),
    ("9112-5.2 fold with NUL", H + b"A: b\r\n c\x00\r\n" + HELLO, PROTO),
    ("9112-5.2 fold with bare CR", H + b"A: b\r\n c\rd\r\n" + HELLO, PROTO),
    ("9112-2.2 fold before the first field", H + b" A: b\r\n" + HELLO, PROTO),
    ("9112-2.2 HTAB before the first field", H + b"\tA: b\r\n" + HELLO, PROTO),
    ("9112-2.2 a line of SP before the fields", H + b" \r\n" + HELLO, PROTO),
    ("9112-5.1 SP before the colon", H + b"A : b\r\n" + HELLO, PROTO),
    ("9112-5.1 HTAB before the colon", H + b"A\t: b\r\n" + HELLO, PROTO),
    ("9112-5.1 SP before the length's colon", H + b"Content-Length : 5\r\n\r\nhello", PROTO),
    ("9110-5.1 SP in the name", H + b"A B: c\r\n" + HELLO, PROTO),
    ("9110-5.1 empty name", H + b": b\r\n" + HELLO, PROTO),
    ("9110-5.1 nothing but a colon", H + b":\r\n" + HELLO, PROTO),
    ("9112-5 no colon", H + b"ABC\r\n" + HELLO, PROTO),
    ("9112-5 no colon in the last line", H + b"Content-Length: 0\r\nx\r\n\r\n", PROTO),
    ("9110-5.6.2 obs-text in the name", H + b"caf\xc3\xa9: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 NUL in the name", H + b"A\x00: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 DEL in the name", H + b"A\x7f: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 CR in the name", H + b"A\rB: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 VT before the colon", H + b"A\x0b: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 ( in the name", H + b"A(: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 ) in the name", H + b"A): b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 , in the name", H + b"A,: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 / in the name", H + b"A/: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 ; in the name", H + b"A;: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 < in the name", H + b"A<: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 = in the name", H + b"A=: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 > in the name", H + b"A>: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 ? in the name", H + b"A?: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 @ in the name", H + b"A@: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 [ in the name", H + b"A[: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 backslash in the name", H + b"A\\: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 ] in the name", H + b"A]: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 { in the name", H + b"A{: b\r\n" + HELLO, PROTO),
    ("9110-5.6.2 } in the name", H + b"A}: b\r\n" + HELLO, PROTO),
    ('9110-5.6.2 " in the name', H + b'"A": b\r\n' + HELLO, PROTO),
    ("9110-5.5 NUL in the value", H + b"A: b\x00c\r\n" + HELLO, PROTO),
    ("9110-5.5 0x01 in the value", H + b"A: b\x01c\r\n" + HELLO, PROTO),
    ("9110-5.5 BS in the value", H + b"A: b\x08c\r\n" + HELLO, PROTO),
    ("9110-5.5 VT in the value", H + b"A: b\x0bc\r\n" + HELLO, PROTO),
    ("9110-5.5 FF in the value", H + b"A: b\x0cc\r\n" + HELLO, PROTO),
    ("9110-5.5 ESC in the value", H + b"A: b\x1b[1m\r\n" + HELLO, PROTO),
    ("9110-5.5 0x1F in the value", H + b"A: b\x1fc\r\n" + HELLO, PROTO),
    ("9110-5.5 DEL in the value", H + b"A: b\x7fc\r\n" + HELLO, PROTO),
    ("9112-2.2 bare CR in the value", H + b"A: b\rC: d\r\n" + HELLO, PROTO),
    ("9112-2.2 CR before CRLF of a field", H + b"A: b\r\r\n" + HELLO, PROTO),
    ("9112-2.2 LF alone behind a field", H + b"A: b\n" + HELLO, PROTO),
    ("9112-2.2 LF alone ends the head", H + b"A: b\r\n\nhello", PROTO),
    ("9112-2.2 CR alone ends the head", H + b"Content-Length: 2\r\n\r\r\nhi", PROTO),
    ("9112-2.2 LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", PROTO),
    ("9110-5.4 a field too many", H + b"A: b\r\n" * 100 + EMPTY, TOO_BIG),
)

LENGTH = (
    ("9110-8.6 zero", H + EMPTY, 200),
    ("9110-8.6 one", H + b"Content-Length: 1\r\n\r\nx", 200, b"x"),
    ("5.3 zeros in front", H + b"Content-Length: 0005\r\n\r\nhello", 200, b"hello"),
    (
        "9112-6.3 more zeros than any integer has digits",
        H + b"Content-Length: " + b"0" * 70 + b"5\r\n\r\nhello",
        200,
        b"hello",
    ),
    ("9110-8.6 double zero", H + b"Content-Length: 00\r\n\r\n", 200),
    ("5.3 OWS around", H + b"Content-Length: \t5 \t \r\n\r\nhello", 200, b"hello"),
    (
        "9110-8.6 list of the same, which may be refused",
        H + b"Content-Length: 5, 5\r\n\r\nhello",
        PROTO,
    ),
    ("9110-8.6 list without OWS", H + b"Content-Length: 5,5,5\r\n\r\nhello", PROTO),
    ("9110-8.6 list with OWS", H + b"Content-Length: 5 \t,\t 5\r\n\r\nhello", PROTO),
    ("9110-8.6 twice the same", H + b"Content-Length: 5\r\n" + HELLO, 200, b"hello"),
    (
        "9110-8.6 twice the same, apart",
        H + b"Content-Length: 5\r\nA: b\r\n" + HELLO,
        200,
        b"hello",
    ),
    (
        "9110-8.6 content is any octet",
        H + b"Content-Length: 4\r\n\r\n\x00\r\n\xff",
        200,
        b"\0\r\n\xff",
    ),
    ("9112-6.3 twice, the first zero", H + b"Content-Length: 0\r\n" + HELLO, PROTO),
    ("9112-6.3 twice, different", H + b"Content-Length: 6\r\n" + HELLO, PROTO),
    (
        "9112-6.3 twice, the second shorter",
        H + b"Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
        PROTO,
    ),
    ("9112-6.3 list, different", H + b"Content-Length: 5, 6\r\n\r\nhello", PROTO),
    ("9112-6.3 list, one of three differs", H + b"Content-Length: 5,5,4\r\n\r\nhello", PROTO),
    ("9112-6.3 list ends in a comma", H + b"Content-Length: 5,\r\n\r\nhello", PROTO),
    ("9112-6.3 list begins with a comma", H + b"Content-Length: ,5\r\n\r\nhello", PROTO),
    ("9112-6.3 list with a hole", H + b"Content-Length: 5,,5\r\n\r\nhello", PROTO),
    ("9112-6.3 a comma", H + b"Content-Length: ,\r\n\r\nhello", PROTO),
    ("9112-6.3 empty", H + b"Content-Length:\r\n\r\nhello", PROTO),
    ("9112-6.3 spaces", H + b"Content-Length:    \r\n\r\nhello", PROTO),
    ("9112-6.3 empty beside a good one", H + b"Content-Length:\r\n" + HELLO, PROTO),
    (
        "9112-6.3 a good one beside an empty one",
        H + b"Content-Length: 5\r\nContent-Length:\r\n\r\nhello",
        PROTO,
    ),
    ("9112-6.3 plus", H + b"Content-Length: +5\r\n\r\nhello", PROTO),
    ("9112-6.3 minus", H + b"Content-Length: -5\r\n\r\nhello", PROTO),
    ("9112-6.3 minus zero", H + b"Content-Length: -0\r\n\r\n", PROTO),
    ("9112-6.3 underscore, as int() takes it", H + b"Content-Length: 0_5\r\n\r\nhello", PROTO),
    ("9112-6.3 hexadecimal", H + b"Content-Length: 0x5\r\n\r\nhello", PROTO),
    ("9112-6.3 hexadecimal digit", H + b"Content-Length: a\r\n\r\nhellohello", PROTO),
    ("9112-6.3 fraction", H + b"Content-Length: 5.0\r\n\r\nhello", PROTO),
    ("9112-6.3 exponent", H + b"Content-Length: 5e0\r\n\r\nhello", PROTO),
    ("9112-6.3 two numbers", H + b"Content-Length: 5 5\r\n\r\nhello", PROTO),
    ("9112-6.3 semicolon", H + b"Content-Length: 5;5\r\n\r\nhello", PROTO),
    ("9112-6.3 quoted", H + b'Content-Length: "5"\r\n\r\nhello', PROTO),
    ("9112-6.3 a word", H + b"Content-Length: five\r\n\r\nhello", PROTO),
    ("9112-6.3 VT, as int() takes it", H + b"Content-Length: \x0b5\r\n\r\nhello", PROTO),
    ("9112-6.3 FF behind", H + b"Content-Length: 5\x0c\r\n\r\nhello", PROTO),
    ("9112-6.3 NUL behind", H + b"Content-Length: 5\x00\r\n\r\nhello", PROTO),
    ("9112-6.3 no-break space", H + b"Content-Length: \xa05\r\n\r\nhello", PROTO),
    ("9112-6.3 digit of another script", H + b"Content-Length: \xd9\xa5\r\n\r\nhello", PROTO),
    ("9112-6.3 superscript digit", H + b"Content-Length: \xb2\r\n\r\nhi", PROTO),
    ("9112-6.3 slash, the octet before 0", H + b"Content-Length: /5\r\n\r\nhello", PROTO),
    ("9112-6.3 slash behind a digit", H + b"Content-Length: 5/\r\n\r\nhello", PROTO),
    ("9112-6.3 colon, the octet after 9", H + b"Content-Length: :5\r\n\r\nhello", PROTO),
    ("9112-6.3 2**26 - 2", H + b"Content-Length: 67108862\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 2**26 - 1", H + b"Content-Length: 67108863\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 2**30", H + b"Content-Length: 1073741824\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 2**31 + 5", H + b"Content-Length: 2147483653\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 2**32 + 5", H + b"Content-Length: 4294967301\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 2**63", H + b"Content-Length: 9223372036854775808\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 2**64 + 5", H + b"Content-Length: 18446744073709551621\r\n\r\nhello", TOO_BIG),
    ("9112-6.3 ninety digits", H + b"Content-Length: " + b"9" * 90 + b"\r\n\r\nhello", TOO_BIG),
    (
        "9112-6.3 2**64 + 5 beside 5",
        H + b"Content-Length: 18446744073709551621\r\n" + HELLO,
        PROTO,
    ),
)

CODING = (
    ("9112-7 no content", CHUNKED + LAST, 200),
    (
        "9112-7 name of the coding in capitals",
        H + b"Transfer-Encoding: CHUNKED\r\n\r\n" + LAST,
        200,
    ),
    ("9112-6.1 OWS around", H + b"Transfer-Encoding:\t chunked \t\r\n\r\n" + LAST, 200),
    (
        "9112-6.1 name of the field in capitals",
        H + b"TRANSFER-ENCODING:chunked\r\n\r\n" + LAST,
        200,
    ),
    ("9112-5.2 fold before chunked", H + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + LAST, 200),
    ("9112-5.2 fold inside chunked", H + b"Transfer-Encoding: chun\r\n ked\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 gzip", H + b"Transfer-Encoding: gzip\r\n\r\nhello", PROTO),
    ("9112-6.1 gzip with a length", H + b"Transfer-Encoding: gzip\r\n" + HELLO, PROTO),
    ("9112-6.1 gzip, chunked", H + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 chunked, gzip", H + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST, PROTO),
    (
        "9112-6.1 chunked, chunked",
        H + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST,
        PROTO,
    ),
    (
        "9112-6.1 chunked, identity",
        H + b"Transfer-Encoding: chunked, identity\r\n\r\n" + LAST,
        PROTO,
    ),
    ("9112-6.1 identity", H + b"Transfer-Encoding: identity\r\n" + HELLO, PROTO),
    ("9112-6.1 empty", H + b"Transfer-Encoding:\r\n" + HELLO, PROTO),
    (
        "9112-6.1 chunked with a parameter",
        H + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + LAST,
        PROTO,
    ),
    ("9112-6.1 chunked and a comma", H + b"Transfer-Encoding: chunked,\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 a comma and chunked", H + b"Transfer-Encoding: ,chunked\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 quoted", H + b'Transfer-Encoding: "chunked"\r\n\r\n' + LAST, PROTO),
    ("9112-6.1 nearly chunked", H + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 cut chunked", H + b"Transfer-Encoding: chunke\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 chunked of other letters", H + b"Transfer-Encoding: chunkee\r\n\r\n" + LAST, PROTO),
    ("9112-6.1 VT before chunked", H + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST, PROTO),
    (
        "9112-6.1 chunked in two fields",
        H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
        PROTO,
    ),
    (
        "9112-6.1 gzip and chunked in two fields",
        H + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
        PROTO,
    ),
    ("9112-6.1 chunked in HTTP/1.0", H0 + b"Transfer-Encoding: chunked\r\n\r\n" + LAST, PROTO),
    ("9112-6.3 before a length", H + b"Transfer-Encoding: chunked\r\n" + EMPTY + LAST, PROTO),
    (
        "9112-6.3 behind a length",
        H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
        PROTO,
    ),
    (
        "9112-6.3 with a bad length",
        H + b"Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n" + LAST,
        PROTO,
    ),
)

CHUNKS = (
    ("9112-7.1 one chunk", CHUNKED + b"5\r\nhello\r\n" + LAST, 200, b"hello"),
    (
        "9112-7.1 two chunks",
        CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n" + LAST,
        200,
        b"hello world",
    ),
    (
        "9112-7.1 chunks of one octet",
        CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n" + LAST,
        200,
        b"abc",
    ),
    ("9112-7.1 size in lower case", CHUNKED + b"a\r\n0123456789\r\n" + LAST, 200, b"0123456789"),
    ("9112-7.1 size in upper case", CHUNKED + b"A\r\n0123456789\r\n" + LAST, 200, b"0123456789"),
    (
        "9112-7.1 size of two digits",
        CHUNKED + b"1f\r\n" + b"x" * 31 + b"\r\n" + LAST,
        200,
        b"x" * 31,
    ),
    ("9112-7.1 zeros in front", CHUNKED + b"00005\r\nhello\r\n" + LAST, 200, b"hello"),
    ("9112-7.1 size of 17 digits", CHUNKED + b"0" * 16 + b"5\r\nhello\r\n" + LAST, 200, b"hello"),
    ("9112-7.1 size of 70 digits", CHUNKED + b"0" * 69 + b"5\r\nhello\r\n" + LAST, 200, b"hello"),
    ("9112-7.1 last chunk of zeros", CHUNKED + b"5\r\nhello\r\n0000\r\n\r\n", 200, b"hello"),
    ("9112-7.1 content like framing", CHUNKED + b"5\r\n0\r\n\r\n\r\n" + LAST, 200, b"0\r\n\r\n"),
    ("9112-7.1 content of CRLF", CHUNKED + b"2\r\n\r\n\r\n" + LAST, 200, b"\r\n"),
    ("9112-7.1 content of NUL", CHUNKED + b"2\r\n\x00\xff\r\n" + LAST, 200, b"\x00\xff"),
    ("9112-7.1.1 extension", CHUNKED + b"5;a\r\nhello\r\n" + LAST, 200, b"hello"),
    (
        "9112-7.1.1 extension with a value",
        CHUNKED + b"5;a=b;c=d\r\nhello\r\n" + LAST,
        200,
        b"hello",
    ),
    ("9112-7.1.1 quoted value", CHUNKED + b'5;a="b;\\"c"\r\nhello\r\n' + LAST, 200, b"hello"),
    ("9112-7.1.1 extension of the last", CHUNKED + b"5\r\nhello\r\n0;a=b\r\n\r\n", 200, b"hello"),
    ("9112-7.1.1 BWS", CHUNKED + b"5 \t; a = b\r\nhello\r\n" + LAST, 200, b"hello"),
    ("9112-7.1.1 BWS and nothing", CHUNKED + b"5  \r\nhello\r\n0 \r\n\r\n", 200, b"hello"),
    ("9112-7.1.1 obs-text in quotes", CHUNKED + b'5;a="\xe9"\r\nhello\r\n' + LAST, 200, b"hello"),
    (
        "9112-7.1.1 the longest extension",
        CHUNKED + b"5;" + b"x" * 253 + b"\r\nhello\r\n" + LAST,
        200,
        b"hello",
    ),
    ("9112-7.1.2 trailer", CHUNKED + b"5\r\nhello\r\n0\r\nX-T: v\r\n\r\n", 200, b"hello"),
    (
        "9112-7.1.2 trailers",
        CHUNKED + b"5\r\nhello\r\n0\r\nA:\r\nB: \t\r\nC:d\r\n\r\n",
        200,
        b"hello",
    ),
    (
        "9110-6.5 trailer of framing",
        CHUNKED + b"2\r\nhi\r\n0\r\nContent-Length: 9\r\n\r\n",
        200,
        b"hi",
    ),
    (
        "9110-6.5 trailer of coding",
        CHUNKED + b"2\r\nhi\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
        200,
        b"hi",
    ),
    (
        "9110-6.5 trailer of connection",
        CHUNKED + b"2\r\nhi\r\n0\r\nConnection: close\r\n\r\n",
        200,
        b"hi",
    ),
    ("9112-7.1.2 long trailers", CHUNKED + LAST[:3] + b"A: b\r\n" * 160 + b"\r\n", 200),
    (
        "9112-7.1.2 trailers of 1024 octets",
        CHUNKED + b"0\r\n" + b"A: b\r\n" * 169 + b"A: bcd\r\n\r\n",
        200,
    ),
    ("9112-7.1 size with g", CHUNKED + b"5g\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 octet before a in the size", CHUNKED + b"`\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 octet before A in the size", CHUNKED + b"@\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 octet behind 9 in the size", CHUNKED + b":\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 no size", CHUNKED + b"\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 no size but an extension", CHUNKED + b";a\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 minus", CHUNKED + b"-5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 plus", CHUNKED + b"+5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 0x", CHUNKED + b"0x5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 underscore", CHUNKED + b"0_5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 SP before the size", CHUNKED + b" 5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 two sizes", CHUNKED + b"5 5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 comma", CHUNKED + b"5,5\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 VT behind the size", CHUNKED + b"5\x0b\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 NUL behind the size", CHUNKED + b"5\x00\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 CR CR LF behind the size", CHUNKED + b"5\r\r\nhello\r\n" + LAST, PROTO),
    ("9112-2.2 LF alone behind the size", CHUNKED + b"5\nhello\r\n" + LAST, PROTO),
    ("9112-2.2 LF alone behind an extension", CHUNKED + b"5;a\nhello\r\n" + LAST, PROTO),
    ("9112-2.2 CR alone behind the size", CHUNKED + b"5\rhello\r\n" + LAST, PROTO),
    ("9112-2.2 bare CR in an extension", CHUNKED + b"5;a\rb\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1.1 NUL in an extension", CHUNKED + b"5;a\x00\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1.1 DEL in an extension", CHUNKED + b"5;a\x7f\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 no CRLF behind the data", CHUNKED + b"5\r\nhello" + LAST, PROTO),
    ("9112-7.1 other octets behind the data", CHUNKED + b"5\r\nhelloXX" + LAST, PROTO),
    ("9112-2.2 LF alone behind the data", CHUNKED + b"5\r\nhello\n" + LAST, PROTO),
    ("9112-2.2 CR alone behind the data", CHUNKED + b"5\r\nhello\r" + LAST, PROTO),
    ("9112-7.1 CR and another octet behind the data", CHUNKED + b"5\r\nhello\rX" + LAST, PROTO),
    ("9112-7.1 another octet and LF behind the data", CHUNKED + b"5\r\nhelloX\n" + LAST, PROTO),
    ("9112-7.1 data longer than its size", CHUNKED + b"5\r\nhello!\r\n" + LAST, PROTO),
    ("9112-7.1 data shorter than its size", CHUNKED + b"6\r\nhello\r\n" + LAST, PROTO),
    ("9112-7.1 larger than the buffer", CHUNKED + b"3fffffe\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**26 - 1", CHUNKED + b"3ffffff\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**30", CHUNKED + b"40000000\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**31 - 1", CHUNKED + b"7fffffff\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**31 + 5", CHUNKED + b"80000005\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**32 - 5", CHUNKED + b"fffffffb\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**32 + 5", CHUNKED + b"100000005\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**63", CHUNKED + b"8000000000000000\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**64 + 5", CHUNKED + b"10000000000000005\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 2**64", CHUNKED + b"10000000000000000\r\n\r\n", TOO_BIG),
    (
        "9112-7.1 extension over the limit",
        CHUNKED + b"5;" + b"x" * 254 + b"\r\nhello\r\n" + LAST,
        TOO_BIG,
    ),
    ("9112-7.1 size over the limit", CHUNKED + b"0" * 300 + b"5\r\nhello\r\n" + LAST, TOO_BIG),
    ("9112-7.1 size without end", CHUNKED + b"0" * 300, TOO_BIG),
    ("9112-7.1.2 trailer without colon", CHUNKED + b"0\r\nX\r\n\r\n", PROTO),
    ("9112-7.1.2 trailer with SP before the colon", CHUNKED + b"0\r\nX : v\r\n\r\n", PROTO),
    ("9112-7.1.2 trailer without name", CHUNKED + b"0\r\n: v\r\n\r\n", PROTO),
    ("9112-7.1.2 trailer with NUL", CHUNKED + b"0\r\nX: \x00\r\n\r\n", PROTO),
    ("9112-7.1.2 trailer with bare CR", CHUNKED + b"0\r\nX: v\rw\r\n\r\n", PROTO),
    ("9112-2.2 trailer with LF alone", CHUNKED + b"0\r\nX: v\n\r\n", PROTO),
    ("9112-2.2 trailers end with LF alone", CHUNKED + b"0\r\n\n", PROTO),
    ("9112-7.1.2 SP behind the last chunk", CHUNKED + b"0\r\n \r\n\r\n", PROTO),
    ("9112-7.1.2 data behind the last chunk", CHUNKED + b"0\r\nhello\r\n", PROTO),
    (
        "9112-7.1.2 trailers over the limit",
        CHUNKED + b"0\r\n" + b"A: b\r\n" * 169 + b"A: bcdef\r\n\r\n",
        TOO_BIG,
    ),
    (
        "9112-7.1.2 a trailer over the limit",
        CHUNKED + b"0\r\nA: " + b"b" * 1100 + b"\r\n\r\n",
        TOO_BIG,
    ),
)

CONNECTION = (
    ("9112-9.3 HTTP/1.1 says nothing", H + EMPTY, 200, b"", True),
    ("9112-9.6 close", H + b"Connection: close\r\n" + HELLO, 200, b"hello", False),
    (
        "9112-9.6 close behind the length",
        H + b"Content-Length: 0\r\nConnection: close\r\n\r\n",
        200,
        b"",
        False,
    ),
    ("9110-7.6.1 in other letters", H + b"connection: CLOSE\r\n" + EMPTY, 200, b"", False),
    ("9112-9.3 keep-alive", H + b"Connection: keep-alive\r\n" + EMPTY, 200, b"", True),
    ("9110-7.6.1 empty", H + b"Connection:\r\n" + EMPTY, 200, b"", True),
    ("9110-7.6.1 other option", H + b"Connection: upgrade\r\n" + EMPTY, 200, b"", True),
    ("9110-7.6.1 close in a list", H + b"Connection: foo, Close\r\n" + EMPTY, 200, b"", False),
    (
        "9110-7.6.1 close first in a list",
        H + b"Connection: close,foo\r\n" + EMPTY,
        200,
        b"",
        False,
    ),
    ("9110-7.6.1 close between", H + b"Connection: a ,\tclose\t, b\r\n" + EMPTY, 200, b"", False),
    ("9110-5.6.1 empty elements", H + b"Connection: , ,close,,\r\n" + EMPTY, 200, b"", False),
    (
        "9112-9.3 both, close last",
        H + b"Connection: keep-alive, close\r\n" + EMPTY,
        200,
        b"",
        False,
    ),
    (
        "9112-9.3 both, close first",
        H + b"Connection: close, keep-alive\r\n" + EMPTY,
        200,
        b"",
        False,
    ),
    (
        "9110-5.3 both, in two fields",
        H + b"Connection: close\r\nConnection: keep-alive\r\n" + EMPTY,
        200,
        b"",
        False,
    ),
    ("9110-7.6.1 a space within", H + b"Connection: clo se, close x\r\n" + EMPTY, 200, b"", True),
    ("9110-7.6.1 closed is not close", H + b"Connection: closed\r\n" + EMPTY, 200, b"", True),
    ("9110-7.6.1 part of a word", H + b"Connection: x-close, clos\r\n" + EMPTY, 200, b"", True),
    ("9112-5.2 close behind a fold", H + b"Connection:\r\n close\r\n" + EMPTY, 200, b"", False),
    ("9110-7.6.1 close in another field", H + b"Keep-Alive: close\r\n" + EMPTY, 200, b"", True),
    ("9112-9.3 HTTP/1.0 says nothing", H0 + EMPTY, 200, b"", False),
    ("9112-9.3 HTTP/1.0 keep-alive", H0 + b"Connection: Keep-Alive\r\n" + EMPTY, 200, b"", False),
    ("9112-9.3 HTTP/1.0 close", H0 + b"Connection: close\r\n" + EMPTY, 200, b"", False),
    ("9112-9.3 HTTP/1.0 both", H0 + b"Connection: keep-alive, close\r\n" + EMPTY, 200, b"", False),
    (
        "9112-9.6 close with chunks",
        CHUNKED[:-2] + b"Connection: close\r\n\r\n" + LAST,
        200,
        b"",
        False,
    ),
)

NO_CONTENT = (
    ("9110-9.3.2 HEAD, length", H + b"Content-Length: 500\r\n\r\n", 200, b"", True, True),
    ("9110-9.3.2 HEAD, no length", H + b"A: b\r\n\r\n", 200, b"", True, True),
    ("9110-9.3.2 HEAD, no field", H + b"\r\n", 200, b"", True, True),
    ("9110-9.3.2 HEAD, chunked", CHUNKED, 200, b"", True, True),
    ("9110-9.3.2 HEAD, not found", b"HTTP/1.1 404 \r\n\r\n", 404, b"", True, True),
    ("9110-9.3.2 HEAD, huge", H + b"Content-Length: 99999999999\r\n\r\n", 200, b"", True, True),
    ("9110-9.3.2 HEAD, close", H + b"Connection: close\r\n\r\n", 200, b"", False, True),
    ("9110-9.3.2 HEAD, with content", H + HELLO, 200, b"", False, True),
    ("9110-9.3.2 HEAD, after 100", b"HTTP/1.1 100 \r\n\r\n" + H + b"\r\n", 200, b"", True, True),
    ("9110-9.3.2 HEAD, bad length", H + b"Content-Length: x\r\n\r\n", PROTO, b"", True, True),
    ("9110-9.3.2 HEAD, cut", H + b"Content-Length: 5\r\n", CUT, b"", True, True),
    ("9110-15.3.5 204", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    ("9110-15.3.5 204, fields", b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n", 204),
    ("5.3 204, length of 0", b"HTTP/1.1 204 No content\r\n" + EMPTY, 204),
    ("9112-6.3 204, length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204),
    ("9112-6.3 204, content", b"HTTP/1.1 204 No Content\r\n" + HELLO, 204, b"", False),
    ("9112-6.3 204, chunked", b"HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n", 204),
    ("9112-6.3 204, close", b"HTTP/1.1 204 \r\nConnection: close\r\n\r\n", 204, b"", False),
    ("9110-15.4.5 304", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304),
    ("9110-15.4.5 304, length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304),
    ("9112-6.3 304, chunked", b"HTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n", 304),
    ("9112-6.3 304, content", b"HTTP/1.1 304 \r\n" + HELLO, 304, b"", False),
    ("9110-15.3.6 205 has a length like others", b"HTTP/1.1 205 \r\n" + EMPTY, 205),
    ("9110-15.2.1 100", b"HTTP/1.1 100 Continue\r\n\r\n" + H + HELLO, 200, b"hello"),
    ("9110-15.2 100 without reason", b"HTTP/1.1 100\r\n\r\n" + H + HELLO, 200, b"hello"),
    ("9110-15.2 102", b"HTTP/1.1 102 Processing\r\n\r\n" + H + HELLO, 200, b"hello"),
    ("9110-15.2 103", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + H + HELLO, 200, b"hello"),
    ("9110-15.2 199", b"HTTP/1.1 199 X\r\nA: b\r\n c\r\n\r\n" + H + HELLO, 200, b"hello"),
    (
        "9112-6.3 100 with a length",
        b"HTTP/1.1 100 \r\nContent-Length: 9\r\n\r\n" + H + HELLO,
        200,
        b"hello",
    ),
    (
        "9112-6.3 100, chunked",
        b"HTTP/1.1 100 \r\nTransfer-Encoding: chunked\r\n\r\n" + H + HELLO,
        200,
        b"hello",
    ),
    (
        "9110-15.2 two of them",
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\n\r\n" + H + HELLO,
        200,
        b"hello",
    ),
    ("9110-15.2 eight of them", b"HTTP/1.1 100 \r\n\r\n" * 8 + H + HELLO, 200, b"hello"),
    ("9110-15.2 nine of them", b"HTTP/1.1 100 \r\n\r\n" * 9 + H + HELLO, PROTO),
    ("9110-15.2 and 204", b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 204 \r\n\r\n", 204),
    ("9110-15.2 and chunks", b"HTTP/1.1 100 \r\n\r\n" + CHUNKED + b"1\r\nx\r\n" + LAST, 200, b"x"),
    (
        "9110-15.2 longer than the final head",
        b"HTTP/1.1 103 \r\nLink: " + b"x" * 90 + b"\r\n\r\n" + H + HELLO,
        200,
        b"hello",
    ),
    (
        "9110-15.2 close in an interim response only",
        b"HTTP/1.1 100 \r\nConnection: close\r\n\r\n" + CHUNKED + LAST,
        200,
    ),
    ("9110-15.2 until close", b"HTTP/1.1 100 \r\n\r\n" + H + b"\r\nhi", 200, b"hi", False),
    ("9110-15.2.2 101 was not asked for", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", PROTO),
    (
        "9110-15.2.2 101 behind 100",
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 101 \r\n\r\n" + H + HELLO,
        PROTO,
    ),
    (
        "9112-6.3 100 with a bad length",
        b"HTTP/1.1 100 \r\nContent-Length: x\r\n\r\n" + H + HELLO,
        PROTO,
    ),
    (
        "9112-6.1 100 with gzip",
        b"HTTP/1.1 100 \r\nTransfer-Encoding: gzip\r\n\r\n" + H + HELLO,
        PROTO,
    ),
    ("9110-15.2 100 and garbage", b"HTTP/1.1 100 \r\n\r\nhello\r\n", PROTO),
    ("9110-15.2 100 and CRLF", b"HTTP/1.1 100 \r\n\r\n\r\n" + H + HELLO, PROTO),
    ("9110-15.2 100 and nothing", b"HTTP/1.1 100 Continue\r\n\r\n", CUT),
    ("9110-15.2 100, then cut", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1", CUT),
)

UNTIL_CLOSE = (
    ("9112-6.3 no length", H + b"A: b\r\n\r\nhello", 200, b"hello", False),
    ("9112-6.3 no field", H + b"\r\nhello", 200, b"hello", False),
    ("9112-6.3 no content either", H + b"\r\n", 200, b"", False),
    ("9112-6.3 HTTP/1.0", H0 + b"\r\nhello", 200, b"hello", False),
    (
        "9112-6.3 HTTP/1.0, keep-alive",
        H0 + b"Connection: keep-alive\r\n\r\nhello",
        200,
        b"hello",
        False,
    ),
    ("9112-6.3 close", H + b"Connection: close\r\n\r\nhello", 200, b"hello", False),
    ("9112-6.3 keep-alive", H + b"Connection: keep-alive\r\n\r\nhello", 200, b"hello", False),
    ("9112-6.3 not found", b"HTTP/1.1 404 Not Found\r\n\r\nhello", 404, b"hello", False),
    ("9112-6.3 205", b"HTTP/1.1 205 Reset\r\n\r\n", 205, b"", False),
    ("9112-6.3 content like a response", H + b"\r\n" + H + HELLO, 200, H + HELLO, False),
    (
        "9112-6.3 content like chunks",
        H + b"\r\n" + b"5\r\nhello\r\n0",
        200,
        b"5\r\nhello\r\n0",
        False,
    ),
    ("9112-6.3 content of CRLF", H + b"\r\n" + b"\r\n\r\n", 200, b"\r\n\r\n", False),
    ("9112-6.3 the coding is only TE", H + b"TE: chunked\r\n\r\n" + LAST, 200, LAST, False),
)

CUT_SHORT = (
    ("9112-8 nothing", b"", NOTHING),
    ("9112-8 one octet", b"H", CUT),
    ("9112-8 in the version", b"HTTP/1.", CUT),
    ("9112-8 in the status", b"HTTP/1.1 20", CUT),
    ("9112-8 behind the status", b"HTTP/1.1 200", CUT),
    ("9112-8 in the reason", b"HTTP/1.1 200 O", CUT),
    ("9112-8 behind the CR of the status line", b"HTTP/1.1 200 OK\r", CUT),
    ("9112-8 behind the status line", H, CUT),
    ("9112-8 in a name", H + b"Content-Le", CUT),
    ("9112-8 behind the colon", H + b"Content-Length:", CUT),
    ("9112-8 in the length", H + b"Content-Length: 1", CUT),
    ("9112-8 behind the CR of a field", H + b"Content-Length: 0\r", CUT),
    ("9112-8 behind a field", H + b"Content-Length: 0\r\n", CUT),
    ("9112-8 behind the last CR of the head", H + b"Content-Length: 0\r\n\r", CUT),
    ("9112-8 behind the CR of a head without fields", H + b"\r", CUT),
    ("9112-8 in a fold", H + b"A: b\r\n ", CUT),
    ("9112-8 behind the head", H + b"Content-Length: 5\r\n\r\n", CUT),
    ("9112-8 in the content", H + b"Content-Length: 5\r\n\r\nhell", CUT),
    ("9112-8 HTTP/1.0 in the content", H0 + b"Content-Length: 5\r\n\r\nhell", CUT),
    ("9112-8 before the first chunk", CHUNKED, CUT),
    ("9112-8 in a chunk size", CHUNKED + b"5", CUT),
    ("9112-8 behind the CR of a chunk size", CHUNKED + b"5\r", CUT),
    ("9112-8 behind a chunk size", CHUNKED + b"5\r\n", CUT),
    ("9112-8 in a chunk", CHUNKED + b"5\r\nhell", CUT),
    ("9112-8 behind the data of a chunk", CHUNKED + b"5\r\nhello", CUT),
    ("9112-8 behind the CR of a chunk", CHUNKED + b"5\r\nhello\r", CUT),
    ("9112-8 behind a chunk", CHUNKED + b"5\r\nhello\r\n", CUT),
    ("9112-8 in the last chunk", CHUNKED + b"5\r\nhello\r\n0", CUT),
    ("9112-8 behind the last chunk", CHUNKED + b"5\r\nhello\r\n0\r\n", CUT),
    ("9112-8 behind the last CR", CHUNKED + b"5\r\nhello\r\n0\r\n\r", CUT),
    ("9112-8 in a trailer", CHUNKED + b"0\r\nX: ", CUT),
    ("9112-8 behind a trailer", CHUNKED + b"0\r\nX: v\r\n", CUT),
)

BEHIND = (
    ("9112-9.2 a second response", H + HELLO + b"HTTP/1.1 404 \r\n" + EMPTY, 200, b"hello", False),
    ("9112-9.2 the same again", H + EMPTY + H + EMPTY, 200, b"", False),
    ("9112-6.3 garbage", H + HELLO + b"XYZ", 200, b"hello", False),
    ("9112-6.3 one octet", H + HELLO + b"X", 200, b"hello", False),
    ("9112-6.3 CRLF", H + HELLO + b"\r\n", 200, b"hello", False),
    ("9112-6.3 LF", H + EMPTY + b"\n", 200, b"", False),
    ("9112-6.3 with close", H + b"Connection: close\r\n" + HELLO + b"X", 200, b"hello", False),
    ("9112-7.1 behind chunks", CHUNKED + b"2\r\nhi\r\n" + LAST + b"X", 200, b"hi", False),
    ("9112-7.1 CRLF behind chunks", CHUNKED + b"2\r\nhi\r\n" + LAST + b"\r\n", 200, b"hi", False),
    (
        "9112-7.1 chunks behind chunks",
        CHUNKED + b"2\r\nhi\r\n" + LAST + b"2\r\nho\r\n",
        200,
        b"hi",
        False,
    ),
    ("9112-7.1 behind trailers", CHUNKED + b"0\r\nX: v\r\n\r\nX", 200, b"", False),
    ("9112-9.2 behind 204", b"HTTP/1.1 204 \r\n\r\n" + H + HELLO, 204, b"", False),
    ("9112-9.2 behind 304", b"HTTP/1.1 304 \r\n\r\nX", 304, b"", False),
    (
        "9112-9.2 behind 1xx and final",
        b"HTTP/1.1 100 \r\n\r\n" + H + EMPTY + b"X",
        200,
        b"",
        False,
    ),
    (
        "9112-9.2 HTTP/1.0 keep-alive",
        H0 + b"Connection: keep-alive\r\n" + EMPTY + b"X",
        200,
        b"",
        False,
    ),
)

GARBAGE = (
    ("9112-4 NULs", b"\x00" * 40, PROTO),
    ("9112-4 a LF", b"\n", PROTO),
    ("9112-4 a CRLF", b"\r\n", PROTO),
    ("9112-4 many CRLF", b"\r\n" * 20, PROTO),
    ("9112-4 0xFF and CRLF", b"\xff" * 30 + b"\r\n", PROTO),
    ("8446-6 TLS alert", b"\x15\x03\x03\x00\x02\x02\x28", PROTO),
    (
        "9113-6.5 HTTP/2 settings",
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
        PROTO,
    ),
    ("MQTT CONNACK", b"\x20\x02\x00\x00", PROTO),
    ("1945 HTTP/0.9 answer", b"<html>\r\n<body>hello</body>\r\n</html>\r\n", PROTO),
    ("4253 SSH greeting", b"SSH-2.0-OpenSSH_9.6\r\n", PROTO),
    ("5321 SMTP greeting", b"220 mail ESMTP service ready\r\n", PROTO),
    ("9112-4 JSON", b'{"message":"OK"}', CUT),
    ("9112-4 JSON lines", b'{"message":\r\n"OK"}\r\n', PROTO),
    ("9112-4 letters without end", b"A" * 300, CUT),
    ("9112-4 every octet", bytes(range(256)), PROTO),
)

_TRACE = b"9a2d6d1c-3c74-8f2d-7d2f-0d4b0c5f2a11"
_AWS = (
    b"content-type: application/json\r\nx-amzn-RequestId: "
    + _TRACE
    + b"\r\nconnection: keep-alive\r\n"
)
_OK = b'{"message":"OK","traceId":"' + _TRACE + b'"}'
_NULL = b'{"message":null,"traceId":"' + _TRACE + b'"}'
_LATE = b'{"code":20001,"info":{"messageId":1207967842654323713},"message":"token is expired"}'
_DPS = b'{"operationId":"5.1b2c.7f0e","status":"assigning"}'
_IBM = (
    b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nAccess-Control-Allow-Origin: *\r\n"
    b"Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n"
    b"Content-Type: text/plain;charset=utf-8\r\n"
)

CLOUDS = (
    ("1.2 AWS accepts", H + _AWS + b"content-length: 65\r\n\r\n" + _OK, 200, _OK),
    (
        "1.2 AWS refuses",
        b"HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: ForbiddenException:\r\n"
        + _AWS
        + b"content-length: 65\r\n\r\n"
        + _NULL,
        403,
        _NULL,
    ),
    (
        "2.4 Alibaba, token expired",
        b"HTTP/1.1 200\r\nServer: Tengine\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 84\r\n\r\n" + _LATE,
        200,
        _LATE,
        False,
    ),
    (
        "3.1 DPS, assigning",
        b"HTTP/1.1 202 Accepted\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/json; charset=utf-8\r\n\r\n32\r\n" + _DPS + b"\r\n" + LAST,
        202,
        _DPS,
    ),
    (
        "3.1 DPS, too many requests",
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n",
        429,
    ),
    (
        "3.4 IoT Hub accepts",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nVary: Origin\r\n\r\n",
        204,
    ),
    ("4.3 IBM accepts", H + _IBM + EMPTY, 200),
    ("4.3 IBM has no content", b"HTTP/1.1 204 No content\r\n" + _IBM + EMPTY, 204),
    (
        "4.3 IBM wants a login",
        b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="h"\r\n'
        b"Content-Length: 12\r\n\r\nUnauthorized",
        401,
        b"Unauthorized",
    ),
    (
        "4.3 IBM is saturated",
        b"HTTP/1.1 503 Server unavailable\r\nConnection: close\r\n" + EMPTY,
        503,
        b"",
        False,
    ),
)

GROUPS = (
    STATUS_LINE,
    FIELDS,
    LENGTH,
    CODING,
    CHUNKS,
    CONNECTION,
    NO_CONTENT,
    UNTIL_CLOSE,
    CUT_SHORT,
    BEHIND,
    GARBAGE,
    CLOUDS,
)


def parts(case):
    """A case with what it leaves out: name, octets, result, content, keep_alive, no_content."""
    return case + (b"", True, False)[len(case) - 3 :]


def head_start(data: bytes) -> int:
    """Where the final head of a good case begins: behind the heads of 1xx responses."""
    a = 0
    while data[a + 9 : a + 10] == b"1":
        a = data.find(b"\r\n\r\n", a) + 4
    return a


def fields(head: bytes):
    """The fields of a head, (name in lower case, value) each; a fold has become as many SP."""
    lines = []
    for line in head.split(b"\r\n")[1:-2]:
        if line[:1] in (b" ", b"\t"):
            lines[-1] += b"  " + line
        else:
            lines.append(line)
    pairs = []
    for line in lines:
        name, value = line.split(b":", 1)
        pairs.append((name.lower(), value.strip(b" \t")))
    return pairs


def needed(case, sink: bool = False) -> int:
    """How many octets of buffer a good case needs at least; sink: where no content is kept.

    Room for each 1xx head; and for the final head with, behind it, its content by length, or else
    one octet more than it has: of framing, which is not kept, or that may come until the end.
    """
    _, data, status, content, _, no_content = parts(case)
    start = head_start(data)
    end = data.find(b"\r\n\r\n", start) + 4
    most = size = end - start
    a = 0
    while a < start:
        e = data.find(b"\r\n\r\n", a) + 4
        most = max(most, e - a)
        a = e
    names = [name for name, _ in fields(data[start:end])]
    if no_content or status in (204, 304):
        return most
    if b"content-length" in names:
        return max(most, size + (min(1, len(content)) if sink else len(content)))
    return max(most, size + (1 if sink else len(content) + 1))


def deliver(response, data: bytes, cuts=()):
    """Feed data to response as a transport does, never more than there is room for; then close.

    cuts are the places where a piece ends. Returns (result, keep_alive before the close, octets
    delivered); what does not fit behind a complete response, or follows an error, stays behind.
    """
    result = i = 0
    for cut in cuts:
        i, result = _deliver_to(response, data, i, cut, result)
    i, result = _deliver_to(response, data, i, len(data), result)
    keep_alive = response.keep_alive
    assert response.feed_eof() == result or not result, "the end changes the result"
    return response.feed_eof(), keep_alive, i


def _deliver_to(response, data, i, cut, result):
    while i < cut and result >= 0:
        n = min(cut - i, len(response.buf) - response.end)
        if n <= 0 and result:
            break
        response.buf[response.end : response.end + n] = data[i : i + n]
        i += n
        before, result = result, response.feed(n)
        assert n or result, "no room and no result"
        assert before in (0, result), "the result changes"
    return i, result
