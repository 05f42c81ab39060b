"""The texts for results."""

from onebuf.errno import strerror

NAMES = {
    -2: "ENOENT",
    -5: "EIO",
    -6: "ENXIO",
    -7: "E2BIG",
    -12: "ENOMEM",
    -13: "EACCES",
    -28: "ENOSPC",
    -30: "EROFS",
    -32: "EPIPE",
    -61: "ENODATA",
    -64: "ENONET",
    -71: "EPROTO",
    -84: "EILSEQ",
    -90: "EMSGSIZE",
    -99: "EADDRNOTAVAIL",
    -101: "ENETUNREACH",
    -104: "ECONNRESET",
    -107: "ENOTCONN",
    -108: "ESHUTDOWN",
    -110: "ETIMEDOUT",
    -111: "ECONNREFUSED",
    -113: "EHOSTUNREACH",
    -125: "ECANCELED",
    -126: "ENOKEY",
    -127: "EKEYEXPIRED",
    -129: "EKEYREJECTED",
}


def test_every_result_of_ours_has_a_name_and_a_meaning():
    for result in NAMES:
        text = strerror(result)
        assert text.startswith(NAMES[result] + ": ") and len(text) > len(NAMES[result]) + 10


def test_no_other_small_number_has_a_name():
    for n in range(1, 256):
        if -n not in NAMES:
            assert strerror(-n) == "errno %d" % n


def test_a_number_of_mbedtls_is_shown_as_its_headers_write_it():
    assert strerror(-0x7780) == "mbedTLS error -0x7780"
    assert strerror(-0x2700) == "mbedTLS error -0x2700"
    assert strerror(-256) == "mbedTLS error -0x0100"


def test_a_status_is_shown_as_it_is():
    assert strerror(200) == "status 200"
    assert strerror(2) == "status 2"
    assert strerror(0) == "status 0"
