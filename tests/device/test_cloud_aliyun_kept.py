"""Alibaba Cloud: the token in a file, which outlives a reset."""

import os
import random

from checks import check_cloud, raises, status
from onebuf.cloud.aliyun_kept import CLOUD, KeptAliyun
from onebuf.http1 import Request
from onebuf.outcome import ACCEPTED, REAUTH, RETRY

FILE = "/tmp/onebuf-token-%08x" % random.getrandbits(32)  # several runs share the machine
TOKEN = b"6944e5bfb92e4d4ea3918d1eda3942f6"
KEPT = b"pk/device " + TOKEN
GIVEN = b'{"code":0,"info":{"token":"%s"}}'


def device(name="device", file=FILE):
    return KeptAliyun("pk", name, "secret", "/pk/device/user/update", token_file=file)


def write(data):
    with open(FILE, "wb") as file:
        file.write(data)


def kept():
    with open(FILE, "rb") as file:
        return file.read()


def remove():
    try:
        os.remove(FILE)
    except OSError:
        pass


def head(cloud):
    request = Request(bytearray(512))
    cloud.refresh(request, 0)
    return bytes(request.buf[: request.n])


def log_in(cloud, token=TOKEN):
    head(cloud)
    assert cloud.login
    return cloud.outcome(status(200, b"", GIVEN % token))


def test_a_token_outlives_a_reset():
    remove()
    try:
        assert log_in(device()) == ACCEPTED
        assert kept() == KEPT
        cloud = device()
        assert head(cloud).find(b"\r\npassword: " + TOKEN + b"\r\n") > 0
        assert cloud.login is None
        check_cloud(cloud, b'{"code":0}')
    finally:
        remove()


def test_a_spent_token_is_followed_by_a_login_which_replaces_it():
    write(KEPT)
    try:
        cloud = device()
        head(cloud)
        assert cloud.outcome(status(200, b"", b'{"code":20001}')) == REAUTH
        assert log_in(cloud, b"another") == ACCEPTED
        assert kept() == b"pk/device another"
    finally:
        remove()


def test_a_login_that_is_refused_writes_nothing():
    remove()
    cloud = device()
    assert log_in(cloud, b"") == RETRY
    raises(OSError, kept)


def test_what_is_no_token_of_this_device_is_not_used():
    try:
        for data in (b"", b"pk/other " + TOKEN, b"pk/device", b"pk/device ", KEPT + b"\r\nX: y"):
            write(data)
            cloud = device()
            assert head(cloud).startswith(b"POST /auth "), data
    finally:
        remove()


def test_a_token_torn_by_a_power_cut_costs_a_refusal_and_no_more():
    try:
        write(KEPT[:20])
        cloud = device()
        assert head(cloud).find(b"\r\npassword: " + TOKEN[:10] + b"\r\n") > 0
        assert cloud.outcome(status(200, b"", b'{"code":20003}')) == REAUTH
        assert log_in(cloud) == ACCEPTED
        assert kept() == KEPT
    finally:
        remove()


def test_a_file_that_cannot_be_written_is_done_without():
    cloud = device(file="no/such/folder/token")
    assert log_in(cloud) == ACCEPTED
    head(cloud)
    assert cloud.login is None


def test_settings_are_those_of_the_cloud():
    assert CLOUD is KeptAliyun
    assert raises(ValueError, KeptAliyun, "pk", "device", "secret", "no topic")
