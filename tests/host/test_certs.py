"""The certificates: fit for OpenSSL's strict rules, private, and the same on the second use."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509

from host.certs import LOCAL_HOSTS, Authority, Pair, write_file

HOSTS = (*LOCAL_HOSTS, "*.iot.us-east-1.amazonaws.com")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


def openssl(*words: object) -> str:
    done = subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def bytes_of(pair: Pair) -> list[bytes]:
    files = (pair.cert_pem, pair.key_pem, pair.cert_der, pair.key_der)
    return [path.read_bytes() for path in files]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict:
    """Shake hands over a socket pair; return the client's certificate as the server sees it."""
    here, there = socket.socketpair()
    seen: list[dict] = []

    def accept() -> None:
        there.settimeout(5)
        try:
            with server.wrap_socket(there, server_side=True) as connection:
                seen.append(connection.getpeercert() or {})
                connection.sendall(b"x")
        except OSError:
            there.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        here.settimeout(5)
        with client.wrap_socket(here, server_hostname=name) as connection:
            connection.recv(1)
    finally:
        here.close()
        thread.join(10)
    return seen[0]


def server_context(authority: Authority, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.cert_pem, pair.key_pem)
    return context


def client_context(authority: Authority, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca_pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(pair.cert_pem, pair.key_pem)
    return context


def test_private_keys_when_made_are_for_the_owner_only(authority: Authority) -> None:
    old = os.umask(0)
    try:
        device, server = authority.device("sensor-1"), authority.server(HOSTS)
    finally:
        os.umask(old)
    assert mode(authority.folder) == 0o700
    keys = (device.key_pem, device.key_der, server.key_pem, server.key_der)
    assert {mode(path) for path in (*keys, authority.folder / "ca.key")} == {0o600}


def test_private_key_when_made_never_stands_open_even_for_a_moment(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    real_open = os.open

    def watching(path: Path, flags: int, mode: int = 0o777) -> int:
        if ".key" in path.name:
            modes.append((mode, bool(flags & os.O_EXCL)))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", watching)
    authority.device("sensor-1")
    assert modes == [(0o600, True)] * 2


def test_private_key_that_cannot_be_put_in_its_place_leaves_no_copy(tmp_path: Path) -> None:
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(OSError):
        write_file(tmp_path / "key.pem", b"secret", 0o600)
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]


def test_file_names_when_made_are_the_documented_ones(authority: Authority) -> None:
    authority.server(HOSTS)
    authority.device("sensor-1")
    assert sorted(path.name for path in authority.folder.iterdir()) == [
        "ca.der",
        "ca.key",
        "ca.pem",
        "sensor-1.der",
        "sensor-1.key.der",
        "sensor-1.key.pem",
        "sensor-1.pem",
        "server.der",
        "server.key",
        "server.key.der",
        "server.pem",
    ]


def test_second_use_of_a_folder_when_all_fits_changes_nothing(authority: Authority) -> None:
    before = bytes_of(authority.device("sensor-1")) + bytes_of(authority.server(HOSTS))
    again = Authority(authority.folder)
    assert bytes_of(again.device("sensor-1")) + bytes_of(again.server(HOSTS)) == before


def test_expired_device_certificate_when_asked_for_is_made_again(authority: Authority) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    expired = authority.device("sensor-1", long_ago, long_ago + timedelta(days=1))
    before = bytes_of(expired)
    new = x509.load_der_x509_certificate(authority.device("sensor-1").cert_der.read_bytes())
    assert bytes_of(expired) != before
    assert new.not_valid_after_utc > datetime.now(timezone.utc)


@pytest.mark.parametrize("broken", ["cert_der", "cert_pem", "key_der", "key_pem"])
def test_damaged_file_when_found_is_made_again(authority: Authority, broken: str) -> None:
    pair = authority.device("sensor-1")
    getattr(pair, broken).write_bytes(b"damaged")
    assert all(content != b"damaged" for content in bytes_of(authority.device("sensor-1")))


def test_other_host_names_when_asked_for_give_a_new_certificate(authority: Authority) -> None:
    before = bytes_of(authority.server(["localhost"]))
    assert bytes_of(authority.server(HOSTS)) != before


def test_new_authority_in_the_folder_when_made_replaces_what_the_old_one_signed(
    authority: Authority,
) -> None:
    before = bytes_of(authority.device("sensor-1"))
    (authority.folder / "ca.key").unlink()
    assert bytes_of(Authority(authority.folder).device("sensor-1")) != before


def test_validity_when_the_clock_is_hours_off_still_holds(authority: Authority) -> None:
    pair = authority.device("sensor-1")
    certificate = x509.load_der_x509_certificate(pair.cert_der.read_bytes())
    now = datetime.now(timezone.utc)
    assert certificate.not_valid_before_utc <= now - timedelta(hours=23)
    assert certificate.not_valid_after_utc >= now + timedelta(days=365)


@pytest.mark.parametrize("thing", ["", "ca", "server", "a/b", "..", "x.key", "ä", "n" * 65])
def test_thing_name_when_it_cannot_be_a_file_is_refused(authority: Authority, thing: str) -> None:
    with pytest.raises(ValueError, match="thing name"):
        authority.device(thing)


def test_fingerprint_is_the_sha256_of_the_der(authority: Authority) -> None:
    import hashlib

    pair = authority.device("sensor-1")
    assert pair.fingerprint == hashlib.sha256(pair.cert_der.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "x-ats.iot.us-east-1.amazonaws.com"])
def test_handshake_when_both_sides_are_right_succeeds(authority: Authority, name: str) -> None:
    server = server_context(authority, authority.server(HOSTS))
    seen = handshake(server, client_context(authority, authority.device("sensor-1")), name)
    assert seen["subject"] == ((("commonName", "sensor-1"),),)


def test_handshake_when_the_server_certificate_expired_is_refused(authority: Authority) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    pair = authority.server(HOSTS, "expired", long_ago, long_ago + timedelta(days=1))
    client = client_context(authority, authority.device("sensor-1"))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(server_context(authority, pair), client, "localhost")


def test_handshake_when_the_server_has_another_name_is_refused(authority: Authority) -> None:
    pair = authority.server(["wrong.example"], "wrong")
    client = client_context(authority, authority.device("sensor-1"))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server_context(authority, pair), client, "localhost")


def test_handshake_when_another_authority_signed_is_refused_on_either_side(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    server = server_context(authority, other.server(HOSTS))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(authority, authority.device("sensor-1")), "localhost")
    server = server_context(authority, authority.server(HOSTS))
    with pytest.raises(ssl.SSLError):
        handshake(server, client_context(authority, other.device("sensor-1")), "localhost")


def test_certificates_when_openssl_is_strict_verify_for_their_purpose(
    authority: Authority,
) -> None:
    device, server = authority.device("sensor-1"), authority.server(HOSTS)
    strict = ("verify", "-x509_strict", "-CAfile", authority.ca_pem, "-purpose")
    assert openssl(*strict, "sslclient", device.cert_pem).endswith("OK\n")
    assert openssl(*strict, "sslserver", server.cert_pem).endswith("OK\n")


def test_der_and_pem_when_read_by_openssl_are_the_same_certificate_and_key(
    authority: Authority,
) -> None:
    pair = authority.device("sensor-1")
    from_der = openssl("x509", "-inform", "DER", "-in", pair.cert_der, "-pubkey", "-noout")
    from_pem = openssl("x509", "-in", pair.cert_pem, "-pubkey", "-noout")
    key_der = openssl("ec", "-inform", "DER", "-in", pair.key_der, "-pubout")
    key_pem = openssl("ec", "-in", pair.key_pem, "-pubout")
    assert from_der == from_pem == key_der == key_pem
