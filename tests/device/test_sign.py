"""HMAC against RFC 2202 and RFC 4231; hex and base64 into a buffer; Azure's SAS."""

import hashlib
from binascii import hexlify, unhexlify

import onebuf.sign as module
from checks import raises
from onebuf.sign import HMAC, put, sas

JEFE = b"what do ya want for nothing?"
LONG = b"Test Using Larger Than Block-Size Key - Hash Key First"
LONGER = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data"
LONGEST = (
    b"This is a test using a larger than block-size key and a larger than block-size data. "
    b"The key needs to be hashed before being used by the HMAC algorithm."
)
COUNTED = bytes(range(1, 26))
KEY32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
KEY64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
UNTIL = 1735736400

MD5 = (  # RFC 2202 section 2: key, data, digest
    (b"\x0b" * 16, b"Hi There", "9294727a3638bb1c13f48ef8158bfc9d"),
    (b"Jefe", JEFE, "750c783e6ab0b503eaa86e310a5db738"),
    (b"\xaa" * 16, b"\xdd" * 50, "56be34521d144c88dbb8c733f0e8b3f6"),
    (COUNTED, b"\xcd" * 50, "697eaf0aca3a3aea3a75164746ffaa79"),
    (b"\x0c" * 16, b"Test With Truncation", "56461ef2342edc00f9bab995690efd4c"),
    (b"\xaa" * 80, LONG, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"),
    (b"\xaa" * 80, LONGER, "6f630fad67cda0ee1fb1f562db3aa53e"),
)
SHA1 = (  # RFC 2202 section 3
    (b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
    (b"Jefe", JEFE, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    (b"\xaa" * 20, b"\xdd" * 50, "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
    (COUNTED, b"\xcd" * 50, "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
    (b"\x0c" * 20, b"Test With Truncation", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"),
    (b"\xaa" * 80, LONG, "aa4ae5e15272d00e95705637ce8a3b55ed402112"),
    (b"\xaa" * 80, LONGER, "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"),
)
SHA256 = (  # RFC 4231 section 4; of the fifth it gives half
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (b"Jefe", JEFE, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        COUNTED,
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (b"\xaa" * 131, LONG, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    (b"\xaa" * 131, LONGEST, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
)


def test_every_vector_of_the_rfcs_is_reproduced():
    for name, vectors in (("md5", MD5), ("sha1", SHA1), ("sha256", SHA256)):
        for key, data, digest in vectors:
            found = HMAC(name, key).digest(data)
            assert hexlify(found[: len(digest) // 2]) == digest.encode(), (name, data)
            for octets in (bytearray(data), memoryview(data)):
                assert HMAC(name, bytearray(key)).digest(octets) == found


def test_a_key_made_ready_signs_as_often_as_wanted():
    hmac = HMAC("sha256", b"Jefe")
    for _ in range(3):
        assert hexlify(hmac.digest(JEFE)) == SHA256[1][2].encode()
        assert hmac.digest(b"") != hmac.digest(b"\0")


def test_keys_around_the_length_of_a_block_are_filled_up_or_hashed():
    for n in (0, 1, 63, 64):
        assert HMAC("sha256", b"k" * n).digest(b"x") == HMAC(
            "sha256", b"k" * n + b"\0" * (64 - n)
        ).digest(b"x")
    hashed = hashlib.sha256(b"k" * 65).digest()
    assert HMAC("sha256", b"k" * 65).digest(b"x") == HMAC("sha256", hashed).digest(b"x")


class _NoMD5:
    """The hashlib of a runtime that was built without MD5."""

    def __init__(self):
        self.sha256 = hashlib.sha256


class _CircuitPython:
    """The hashlib of CircuitPython, whose hashes go by name."""

    def new(self, name, data=b""):
        if name == "md5":
            raise ValueError("Unsupported hash algorithm")
        return getattr(hashlib, name)(data)


def test_a_hash_that_is_none_or_that_the_runtime_lacks_is_refused():
    for name in ("", "sha512", "MD5", "__name__", "new"):
        raises(ValueError, HMAC, name, b"key")
    module.hashlib = _NoMD5()
    try:
        raises(ValueError, HMAC, "md5", b"key")
        HMAC("sha256", b"key")
    finally:
        module.hashlib = hashlib


def test_hashes_that_go_by_name_sign_the_same():
    module.hashlib = _CircuitPython()
    try:
        raises(ValueError, HMAC, "md5", b"key")
        for name, vectors in (("sha1", SHA1), ("sha256", SHA256)):
            for key, data, digest in vectors:
                found = HMAC(name, key).digest(data)
                assert hexlify(found[: len(digest) // 2]) == digest.encode(), (name, data)
    finally:
        module.hashlib = hashlib


def test_hex_and_base64_are_laid_where_they_belong():
    for base64, text in ((False, b"00ff10"), (True, b"AP8Q")):
        n = len(text)
        for make in (bytearray, lambda b: memoryview(bytearray(b))):
            buf = make(b"." * 10)
            assert put(b"\x00\xff\x10", buf, 2, base64) == 2 + n
            assert bytes(buf) == b".." + text + b"." * (8 - n)
            assert put(b"\x00\xff\x10", buf, 10 - n, base64) == 10, "it just fits"
            assert put(b"", buf, 10, base64) == 10


def test_base64_is_padded_and_has_no_line_end():
    for data, text in ((b"f", b"Zg=="), (b"fo", b"Zm8="), (b"\xfb\xff", b"+/8=")):
        buf = bytearray(4)
        assert put(data, buf, 0, True) == 4 and buf == text
    buf = bytearray(136)
    assert put(bytes(100), buf, 0, True) == 136 and b"\n" not in buf


def test_what_does_not_fit_is_refused_and_the_buffer_is_as_it_was():
    buf = bytearray(b"." * 10)
    for base64, n in ((False, 6), (True, 4)):
        for off in (11 - n, 10, 11, 1000, -1, -n):
            raises(ValueError, put, b"abc", buf, off, base64)
    assert buf == b"." * 10


def test_a_token_is_the_one_that_azure_documents():
    sample = (
        "18RQk/hOPJR9EbsJlk2j8WA6vWaj/yi+oaYg7zmxfQNdOyMSu+SJ8O7TSlZhDJCYmn4rzEiVKIzNiVAWjLxrGA=="
    )
    found = sas(sample, "MyExampleHub.azure-devices.net/devices/my-symkey-device", 1663119026)
    assert found == (
        b"SharedAccessSignature sr=MyExampleHub.azure-devices.net%2Fdevices%2Fmy-symkey-device"
        b"&sig=f%2BwW8XOKeJOtiPc9Iwjc4OpExvPM7NlhM9qxN2a1aAM%3D&se=1663119026"
    )


def test_a_token_escapes_what_is_signed_and_the_signature():
    for key, uri, policy, sr, signature in (
        (
            KEY32,
            "myhub.azure-devices.net/devices/dev-01",
            "",
            b"myhub.azure-devices.net%2Fdevices%2Fdev-01",
            b"ZZtxco4pmcodfL9W7uWe%2BTiSnlPrQHGCczEfp2e80zI%3D",
        ),
        (
            KEY32,
            "myhub.azure-devices.net/devices/dev:01@x=y",
            "",
            b"myhub.azure-devices.net%2Fdevices%2Fdev%3A01%40x%3Dy",
            b"QclPfBsf4Nk7PsoLfGdYFoQqWuseEYvmBJYRUQabtNQ%3D",
        ),
        (
            KEY64,
            "myhub.azure-devices.net",
            "device",
            b"myhub.azure-devices.net",
            b"VzTsFwiLOgH4d1Q2onPoDslLKENh8Yl61yOX%2FzyNIVk%3D",
        ),
        (
            KEY32,
            "0ne00111111/registrations/my-x509-device",
            "registration",
            b"0ne00111111%2Fregistrations%2Fmy-x509-device",
            b"Xw%2BBd9mm1TUiXt78vHvaC2TQdNeKWBwg%2BNmVJ4VQpuw%3D",
        ),
        (
            KEY64,
            "0ne00111111/registrations/sn-007:888.abc_mac",
            "registration",
            b"0ne00111111%2Fregistrations%2Fsn-007%3A888.abc_mac",
            b"wm6FVm%2B4LKYjixHBnOGHvyScgWzdZcmcKNkqxYexozA%3D",
        ),
    ):
        skn = b"&skn=" + policy.encode() if policy else b""
        token = b"SharedAccessSignature sr=" + sr + b"&sig=" + signature + b"&se=1735736400" + skn
        assert sas(key, uri, UNTIL, policy) == token


def test_a_key_of_another_length_or_in_no_base64_is_refused_and_not_told():
    for key in ("", "c2hvcnQ=", "c2VjcmV0IG9mIDE1IG8=", "A" * 88, "no base64: secret", "c2VjcmV0"):
        error = raises(ValueError, sas, key, "hub/devices/d", UNTIL)
        assert "secret" not in str(error) and (not key or key not in str(error))


def test_keys_of_16_and_of_64_octets_are_taken():
    for key in ("MDEyMzQ1Njc4OWFiY2RlZg==", KEY64):
        assert sas(key, "hub/devices/d", UNTIL).startswith(b"SharedAccessSignature sr=hub%2F")


def test_unhexlify_and_put_are_each_others_inverse():
    octets = bytes(range(256))
    buf = bytearray(512)
    assert put(octets, buf, 0) == 512
    assert unhexlify(buf) == octets and bytes(buf).lower() == bytes(buf)
