"""`onebuf certs`: judged by openssl, curl, Python's ssl server and MicroPython's own TLS."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from devices import MICROPYTHONS, ROOT, command

from host import cli, x509_files
from host.certs import LOCAL_HOSTS, Authority
from host.x509_files import Issuer

ROOT_CERT = "certs/azure-iot-test-only.root.ca.cert.pem"
INTERMEDIATE = "certs/azure-iot-test-only.intermediate.cert.pem"
FULL_CHAIN = "certs/device-01-full-chain.cert.pem"
DEVICE_KEY = "private/device-01.key.pem"
USAGE = 2
BASIC = ExtensionOID.BASIC_CONSTRAINTS.dotted_string
KEY_USAGE = ExtensionOID.KEY_USAGE.dotted_string
EXTENDED_USAGE = ExtensionOID.EXTENDED_KEY_USAGE.dotted_string
KEY_ID = ExtensionOID.SUBJECT_KEY_IDENTIFIER.dotted_string
ISSUER_KEY_ID = ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string
NETSCAPE_COMMENT = "2.16.840.1.113730.1.13"
NETSCAPE_TYPE = "2.16.840.1.113730.1.1"
TIMEOUT_S = 20

DEVICE = """\
import json, socket, sys, tls
with open("task.json") as file:
    port, ca, loads, key = json.load(file)
def read(name):
    with open(name, "rb") as file:
        return file.read()
context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.verify_mode = tls.CERT_REQUIRED
context.load_verify_locations(read(ca))
for name in loads:
    context.load_cert_chain(read(name), read(key))
sock = socket.socket()
sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
try:
    print(context.wrap_socket(sock, server_hostname="localhost").read(5).decode())
except OSError:
    print("refused")
"""


def certs(*words: object) -> None:
    assert cli.main(["certs", *map(str, words)]) == 0


def refused(*words: object) -> str:
    """Why the command does not do it."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["certs", *map(str, words)])
    return str(stopped.value)


def openssl(*words: object) -> str:
    done = subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return done.stdout + done.stderr


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def inspected(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> list[dict]:
    capsys.readouterr()
    assert cli.main(["certs", "inspect", "--json", *map(str, words)]) == status
    return json.loads(capsys.readouterr().out)


def made(folder: Path, key: x509_files.PrivateKey, **changes: int) -> Path:
    """A certificate without extensions; `changes` are days from now to begin and end."""
    now = datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no registration ID!")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5)
    builder = builder.not_valid_before(now + timedelta(days=changes.get("begin", -1)))
    builder = builder.not_valid_after(now + timedelta(days=changes.get("end", 9)))
    path = folder / "made.pem"
    path.write_bytes(x509_files.certificate_pem(builder.sign(key, hashes.SHA256())))
    return path


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    path = tmp_path / "phrase"
    path.write_text("1234\n")
    return path


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the chain of device-01, and the same as DER; not to be changed."""
    folder = tmp_path_factory.mktemp("chain")
    certs("chain", "--cn", "device-01", "--out", folder)
    certs("der", folder / ROOT_CERT, folder / FULL_CHAIN, folder / DEVICE_KEY)
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("server") / "certs")


@contextmanager
def server(authority: Authority, trusted: Path) -> Iterator[int]:
    """The port of a server that wants a client certificate and trusts `trusted` alone."""
    pair = authority.server(LOCAL_HOSTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert_pem, pair.key_pem)
    context.load_verify_locations(trusted)
    context.verify_mode = ssl.CERT_REQUIRED
    # A client of TLS 1.3 learns only from its first read that its certificate is refused.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        thread = threading.Thread(target=_answer_one, args=(listener, context))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(TIMEOUT_S)


def _answer_one(listener: socket.socket, context: ssl.SSLContext) -> None:
    try:
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(TIMEOUT_S)
            with context.wrap_socket(accepted, server_side=True) as connection:
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                connection.recv(4096)
    except OSError:
        return


def curl(port: int, ca: Path, folder: Path, *words: str) -> int:
    """The status that curl receives; 0 if the handshake fails."""
    url = f"https://localhost:{port}/"
    argv = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "--cacert", str(ca), *words, url]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    return int(done.stdout)


# -- self-signed ----------------------------------------------------------------------------------


def test_self_signed_certificate_when_openssl_reads_it_is_what_azure_shows(tmp_path: Path) -> None:
    certs("self-signed", "--cn", "my-x509-device", "--out", tmp_path)
    text = openssl("x509", "-in", tmp_path / "device-cert.pem", "-text", "-noout")
    lines = [line.strip() for line in text.splitlines()]
    for line in ("Version: 3 (0x2)", "Subject: CN = my-x509-device", "CA:FALSE"):
        assert line in lines
    assert "Issuer: CN = my-x509-device" in lines
    assert "NIST CURVE: P-256" in lines
    assert lines[lines.index("X509v3 Extended Key Usage:") + 1] == "TLS Web Client Authentication"
    own = lines[lines.index("X509v3 Subject Key Identifier:") + 1]
    assert own == lines[lines.index("X509v3 Authority Key Identifier:") + 1]
    ends = openssl("x509", "-in", tmp_path / "device-cert.pem", "-checkend", 29 * 86400)
    assert "will not expire" in ends
    strict = ("verify", "-x509_strict", "-purpose", "sslclient")
    cert = tmp_path / "device-cert.pem"
    assert openssl(*strict, "-CAfile", cert, cert).endswith("OK\n")


def extensions(certificate: x509.Certificate) -> dict[str, tuple[Any, bool]]:
    """What each extension says, by its OID; whether it is critical."""
    return {each.oid.dotted_string: (each.value, each.critical) for each in certificate.extensions}


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def key_of(path: Path) -> x509_files.PrivateKey:
    return x509_files.read_key(path.read_bytes(), lambda: b"1234")


def test_self_signed_certificate_when_openssl_certifies_the_same_key_has_the_same_extensions(
    tmp_path: Path,
) -> None:
    key_file, cert = tmp_path / "device-key.pem", tmp_path / "device-cert.pem"
    # The words of the seed, but for the size of the key.
    making = "req -outform PEM -x509 -sha256 -newkey rsa:2048 -days 30 -extensions usr_cert"
    usage = ("-addext", "extendedKeyUsage=clientAuth", "-subj", "/CN=my-x509-device")
    openssl(*making.split(), *usage, "-keyout", key_file, "-out", cert, "-passout", "pass:1234")
    theirs, ours = loaded(cert), x509_files.self_signed("my-x509-device", key_of(key_file), 30)
    said, expected = extensions(ours), extensions(theirs)
    expected.pop(NETSCAPE_COMMENT, None)  # OpenSSL 1.1 has it, 3 has not
    # Each names itself as its issuer: in the seed by its key, by OpenSSL 3.0 by its number.
    own, by = said.pop(ISSUER_KEY_ID)[0], expected.pop(ISSUER_KEY_ID)[0]
    assert own.key_identifier == said[KEY_ID][0].digest
    assert by == own or by.authority_cert_serial_number == theirs.serial_number
    assert said == expected and len(said) == 3
    assert ours.subject.public_bytes() == theirs.subject.public_bytes()
    assert ours.version == theirs.version and ours.serial_number.bit_length() > 120
    label = key_file.read_bytes().splitlines()[0]
    assert x509_files.key_pem(key_of(key_file), b"1234").splitlines()[0] == label


# Where ours say less than the tutorial's: how deep the chain may go, and what mail would need.
NARROWER = ({BASIC}, {BASIC}, {KEY_USAGE, EXTENDED_USAGE, NETSCAPE_COMMENT, NETSCAPE_TYPE})
# The sections of azure-iot-sdk-c's tools/CACertificates/openssl_root_ca.cnf, which the tutorial
# that the seed points to has its reader take.
TUTORIAL_CA = """\
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature, cRLSign, keyCertSign
"""
TUTORIAL_DEVICE = """\
basicConstraints = CA:FALSE
nsCertType = client, email
nsComment = "OpenSSL Generated Client Certificate"
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
keyUsage = critical, nonRepudiation, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth, emailProtection
"""


def test_chain_when_openssl_certifies_the_same_keys_as_in_the_tutorial_has_the_same_extensions(
    tmp_path: Path,
) -> None:
    certs("chain", "--cn", "device-01", "--key-type", "rsa2048", "--out", tmp_path)
    device, between, root = x509_files.read_certificates((tmp_path / FULL_CHAIN).read_bytes())
    keys = [
        tmp_path / "private" / f"{name}.key.pem"
        for name in (
            "azure-iot-test-only.root.ca",
            "azure-iot-test-only.intermediate",
            "device-01",
        )
    ]
    sections = (TUTORIAL_CA, TUTORIAL_CA, TUTORIAL_DEVICE)
    above: tuple[object, ...] = ("-signkey", keys[0])
    for ours, key, section, narrower in zip(
        (root, between, device), keys, sections, NARROWER, strict=True
    ):
        request, given, cert = (tmp_path / f"{key.stem}.{end}" for end in ("csr", "ext", "pem"))
        given.write_text(section)
        name = f"/{ours.subject.rfc4514_string()}"
        openssl("req", "-new", "-sha256", "-key", key, "-subj", name, "-out", request)
        words = ("x509", "-req", "-sha256", "-days", 30, "-in", request, "-extfile", given)
        openssl(*words, *above, "-out", cert)
        above = ("-CA", cert, "-CAkey", key, "-CAcreateserial")
        said, expected = extensions(ours), extensions(loaded(cert))
        assert narrower == {
            name for name in {*said, *expected} if said.get(name) != expected.get(name)
        }
    assert [extensions(each)[BASIC][0].path_length for each in (root, between)] == [1, 0]
    assert list(extensions(device)[EXTENDED_USAGE][0]) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extensions(device)[KEY_USAGE][0].digital_signature


@pytest.mark.parametrize(("kind", "bits"), [("rsa2048", 2048), ("rsa4096", 4096)])
def test_rsa_key_when_asked_for_has_its_size_and_signs_with_sha256(
    tmp_path: Path, kind: str, bits: int
) -> None:
    certs("self-signed", "--cn", "d", "--key-type", kind, "--days", 1, "--out", tmp_path)
    text = openssl("x509", "-in", tmp_path / "device-cert.pem", "-text", "-noout")
    assert f"Public-Key: ({bits} bit)" in text and "sha256WithRSAEncryption" in text


def test_key_when_there_is_a_pass_phrase_opens_with_it_alone(tmp_path: Path, phrase: Path) -> None:
    certs("self-signed", "--cn", "d", "--pass-phrase-file", phrase, "--out", tmp_path)
    key = tmp_path / "device-key.pem"
    assert key.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert "PRIVATE KEY" in openssl("pkey", "-in", key, "-passin", "pass:1234")
    assert "PRIVATE KEY" not in openssl("pkey", "-in", key, "-passin", "pass:12345")


def test_self_signed_certificate_when_curl_shows_it_with_the_seeds_words_is_taken(
    tmp_path: Path, phrase: Path, authority: Authority
) -> None:
    certs("self-signed", "--cn", "my-x509-device", "--pass-phrase-file", phrase, "--out", tmp_path)
    with server(authority, tmp_path / "device-cert.pem") as port:
        words = ("--cert", "device-cert.pem:1234", "--key", "device-key.pem")
        assert curl(port, authority.ca_pem, tmp_path, *words) == 204


def typed(folder: Path, *answers: str) -> tuple[int, str]:
    """Status and screen of a run on a terminal that waits for each prompt before it answers."""
    ours, theirs = pty.openpty()
    onebuf = [sys.executable, "-m", "host.cli", "certs", "self-signed", "--cn", "d"]
    argv = [*onebuf, "--pass-phrase", "--out", str(folder / "out")]
    # The child makes the terminal its own: getpass reads /dev/tty.
    child = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    argv = [sys.executable, "-c", f"{child} os.execv(sys.argv[1], sys.argv[1:])", *argv]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    killer = threading.Timer(TIMEOUT_S, process.kill)
    killer.start()
    screen = b""
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        try:
            for count, answer in enumerate(answers, 1):
                while screen.count(b"phrase: ") < count:
                    screen += terminal.read(1024)
                terminal.write(answer.encode() + b"\n")
            while True:
                screen += terminal.read(1024)
        except OSError:  # Linux: EIO when the child has gone
            pass
        finally:
            status = process.wait()
            killer.cancel()
    return status, screen.decode()


def test_pass_phrase_when_asked_for_is_typed_twice_and_not_shown(tmp_path: Path) -> None:
    status, screen = typed(tmp_path, "1234", "1234")
    assert status == 0, screen
    assert screen.count("Enter PEM pass phrase: ") == 2 and "1234" not in screen
    data = (tmp_path / "out" / "device-key.pem").read_bytes()
    assert x509_files.read_key(data, lambda: b"1234")


def test_pass_phrase_when_the_second_differs_is_refused_and_nothing_written(
    tmp_path: Path,
) -> None:
    status, screen = typed(tmp_path, "1234", "1243")
    assert status == 1 and "the two pass phrases differ" in screen
    assert files_in(tmp_path) == {}


def test_pass_phrase_without_a_terminal_to_ask_on_is_told_in_one_line_and_not_read_openly(
    tmp_path: Path, phrase: Path
) -> None:
    certs("self-signed", "--cn", "d", "--pass-phrase-file", phrase, "--out", tmp_path)
    key = tmp_path / "device-key.pem"
    for words in (("self-signed", "--cn", "e", "--pass-phrase", "--out", "out"), ("der", key)):
        done = subprocess.run(
            [sys.executable, "-m", "host.cli", "certs", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input="1234\n1234\n",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            start_new_session=True,  # away from the terminal of whoever runs this
        )
        assert (done.returncode, done.stdout) == (1, "")
        where = f"{key}: " if "der" in words else ""
        said = "no pass phrase: no terminal to ask on, see --pass-phrase-file"
        assert done.stderr == f"onebuf: {where}{said}\n"


@pytest.mark.parametrize("content", ["", "\n", "123\n", "12\n34\n", "x" * 1024])
def test_pass_phrase_when_openssl_would_refuse_it_is_refused_and_not_repeated(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "phrase").write_text(content)
    words = ("--pass-phrase-file", tmp_path / "phrase", "--out", tmp_path / "out")
    reason = refused("self-signed", "--cn", "d", *words)
    assert not (tmp_path / "out").exists()
    assert not content.strip() or content.strip() not in reason.replace("1023", "")


@pytest.mark.parametrize("cn", ["", "a b", "a/b", "ends.", "ends_", "ä", "x" * 65, "a\n", "a,b"])
def test_cn_when_it_is_no_registration_id_is_refused(tmp_path: Path, cn: str) -> None:
    for action in ("self-signed", "chain"):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["certs", action, "--cn", cn, "--out", str(tmp_path)])
        assert stopped.value.code == USAGE
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("cn", ["a", "-", "A:b._c-", "x" * 64])
def test_cn_when_it_is_a_registration_id_becomes_the_subject(tmp_path: Path, cn: str) -> None:
    certs("self-signed", f"--cn={cn}", "--out", tmp_path)
    (certificate,) = x509_files.read_certificates((tmp_path / "device-cert.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == f"CN={cn}"


# -- files ----------------------------------------------------------------------------------------


def test_private_key_when_made_never_stands_open_even_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = {}
    real_open = os.open

    def watching(path: Path, flags: int, mode: int = 0o777) -> int:
        modes[path.name] = (mode, bool(flags & os.O_EXCL))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", watching)
    umask = os.umask(0)
    try:
        certs("self-signed", "--cn", "d", "--out", tmp_path)
        certs("chain", "--cn", "device-01", "--out", tmp_path)
        certs("der", tmp_path / "device-key.pem", tmp_path / DEVICE_KEY)
    finally:
        os.umask(umask)
    keys = {name: seen for name, seen in modes.items() if "key" in name}
    assert len(keys) == 6 and set(keys.values()) == {(0o600, True)}
    left = [path for path in tmp_path.rglob("*key*") if path.is_file()]
    assert len(left) == 6 and {mode(path) for path in left} == {0o600}
    assert mode(tmp_path / "private") == 0o700


def test_existing_file_when_there_is_no_force_is_kept(tmp_path: Path) -> None:
    self_signed = ("self-signed", "--cn", "d", "--out", tmp_path)
    chained = ("chain", "--cn", "device-01", "--out", tmp_path)
    der = ("der", tmp_path / "device-cert.pem", tmp_path / "device-key.pem")
    for words in (self_signed, chained, der):
        certs(*words)
    before = files_in(tmp_path)
    for words in (self_signed, chained, der):
        assert "not overwritten without --force" in refused(*words)
    assert files_in(tmp_path) == before
    certs(*chained, "--force")
    after = files_in(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {FULL_CHAIN, "certs/device-01.cert.pem", DEVICE_KEY}


# -- chain ----------------------------------------------------------------------------------------


def test_chain_when_made_has_the_files_of_the_seed_and_verifies(tmp_path: Path) -> None:
    certs("chain", "--cn", "device-01", "--out", tmp_path)
    names = {name for name in files_in(tmp_path) if "root.ca.key" not in name}
    assert names == {
        ROOT_CERT,
        INTERMEDIATE,
        FULL_CHAIN,
        DEVICE_KEY,
        "certs/device-01.cert.pem",
        "private/azure-iot-test-only.intermediate.key.pem",
    }
    whole = ("certs/device-01.cert.pem", INTERMEDIATE, ROOT_CERT)
    joined = b"".join((tmp_path / name).read_bytes() for name in whole)
    assert (tmp_path / FULL_CHAIN).read_bytes() == joined
    strict = ("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", tmp_path / ROOT_CERT)
    said = openssl(*strict, "-untrusted", tmp_path / INTERMEDIATE, tmp_path / whole[0])
    assert said.endswith("OK\n")


def test_ca_below_the_intermediate_when_verified_exceeds_the_path_length(chain: Path) -> None:
    (below,) = x509_files.read_certificates((chain / INTERMEDIATE).read_bytes())
    key_file = chain / "private/azure-iot-test-only.intermediate.key.pem"
    issuer = Issuer(below, x509_files.read_key(key_file.read_bytes(), bytes))
    key = x509_files.generate("ec")
    rogue = Issuer(x509_files.authority("rogue", key, 9, issuer), key)
    device = x509_files.device("device-01", key, 9, rogue)
    rogue_pem, device_pem = chain / "rogue.pem", chain / "rogue-device.pem"
    rogue_pem.write_bytes(x509_files.certificate_pem(rogue.certificate, below))
    device_pem.write_bytes(x509_files.certificate_pem(device))
    trust = ("-CAfile", chain / ROOT_CERT, "-untrusted", rogue_pem)
    assert "path length constraint exceeded" in openssl("verify", *trust, device_pem)


def test_second_device_when_added_has_the_same_authorities(tmp_path: Path) -> None:
    certs("chain", "--cn", "device-01", "--out", tmp_path)
    before = files_in(tmp_path)
    certs("chain", "--cn", "device-02", "--out", tmp_path)
    after = files_in(tmp_path)
    assert before.items() <= after.items() and len(after) == len(before) + 3
    first, second = (
        x509_files.read_certificates(after[f"certs/{name}-full-chain.cert.pem"])
        for name in ("device-01", "device-02")
    )
    assert first[1:] == second[1:] and first[0] != second[0]
    assert second[0].verify_directly_issued_by(second[1]) is None


def test_device_when_the_roots_key_is_kept_elsewhere_can_still_be_added(tmp_path: Path) -> None:
    certs("chain", "--cn", "device-01", "--out", tmp_path)
    (tmp_path / "private/azure-iot-test-only.root.ca.key.pem").unlink()
    certs("chain", "--cn", "device-02", "--out", tmp_path)


def test_pass_phrase_of_a_chain_protects_the_authorities_and_is_needed_for_the_next_device(
    tmp_path: Path, phrase: Path
) -> None:
    out = tmp_path / "out"
    words = ("--pass-phrase-file", phrase, "--out", out)
    certs("chain", "--cn", "device-01", *words)
    made = files_in(out)
    protected = {name for name, data in made.items() if b"ENCRYPTED" in data}
    assert protected == {name for name in made if name.startswith("private/azure")}
    certs("chain", "--cn", "device-02", *words)
    phrase.write_text("wrong-phrase")
    reason = refused("chain", "--cn", "device-03", *words)
    assert "not its pass phrase" in reason and "wrong-phrase" not in reason


def swap_keys(folder: Path) -> None:
    names = ("root.ca", "intermediate")
    root, below = (folder / f"private/azure-iot-test-only.{name}.key.pem" for name in names)
    below.write_bytes(root.read_bytes())


def foreign_root(folder: Path) -> None:
    certs("chain", "--cn", "other", "--out", folder / "other")
    shutil.copy(folder / "other" / ROOT_CERT, folder / ROOT_CERT)


def lost_certificates(folder: Path) -> None:
    (folder / ROOT_CERT).unlink()
    (folder / INTERMEDIATE).unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (swap_keys, "is not the key of"),
        (foreign_root, "not issued by the root"),
        (lost_certificates, "exists, its certificate"),
    ],
)
def test_authorities_when_they_do_not_fit_together_are_neither_used_nor_replaced(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    certs("chain", "--cn", "device-01", "--out", tmp_path)
    spoil(tmp_path)
    before = files_in(tmp_path)
    assert reason in refused("chain", "--cn", "device-02", "--out", tmp_path)
    assert files_in(tmp_path) == before


def test_device_when_it_would_outlive_the_intermediate_is_refused(chain: Path) -> None:
    reason = refused("chain", "--cn", "d", "--days", 500, "--out", chain)
    assert "364 days left" in reason


@pytest.mark.parametrize("cn", ["azure-iot-test-only.root.ca", "device-01-full-chain"])
def test_cn_when_its_files_would_be_a_cas_or_a_chains_is_refused(tmp_path: Path, cn: str) -> None:
    assert "such names" in refused("chain", "--cn", cn, "--force", "--out", tmp_path)


@pytest.mark.parametrize(("cert", "status"), [(FULL_CHAIN, 204), ("certs/device-01.cert.pem", 0)])
def test_curl_when_the_server_knows_the_root_alone_must_show_the_whole_chain(
    chain: Path, authority: Authority, cert: str, status: int
) -> None:
    with server(authority, chain / ROOT_CERT) as port:
        words = ("--cert", cert, "--key", DEVICE_KEY)
        assert curl(port, authority.ca_pem, chain, *words) == status


# -- der, and what the device does with it --------------------------------------------------------


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        ((FULL_CHAIN,), "HTTP/"),
        (("1.der", "2.der"), "HTTP/"),
        (("1.der", "2.der", "3.der"), "HTTP/"),
        (("1.der",), "refused"),
        (("whole.der",), "refused"),  # several in one file: the first alone is shown
    ],
)
@pytest.mark.parametrize("runtime", MICROPYTHONS)
def test_micropython_when_the_server_knows_the_root_alone_shows_the_chain_it_loaded(
    chain: Path,
    authority: Authority,
    tmp_path: Path,
    runtime: str,
    loads: tuple[str, ...],
    said: str,
) -> None:
    shutil.copytree(chain, tmp_path, dirs_exist_ok=True)
    ders = [tmp_path / FULL_CHAIN.replace(".pem", f"{n}.der") for n in ("", "-2", "-3")]
    for number, path in enumerate(ders, 1):
        (tmp_path / f"{number}.der").write_bytes(path.read_bytes())
    (tmp_path / "whole.der").write_bytes(b"".join(path.read_bytes() for path in ders))
    script = tmp_path / "device.py"
    script.write_text(DEVICE)
    key = DEVICE_KEY.replace(".pem", ".der")
    with server(authority, chain / ROOT_CERT) as port:
        (tmp_path / "task.json").write_text(json.dumps([port, str(authority.ca_der), loads, key]))
        argv, environment = command(runtime, script)
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    assert done.stdout.strip() == said, done.stderr


@pytest.mark.parametrize("kind", ["ec", "rsa2048"])
def test_der_when_made_is_x509_and_the_traditional_form_of_the_key(
    tmp_path: Path, phrase: Path, kind: str
) -> None:
    words = ("--cn", "d", "--key-type", kind, "--pass-phrase-file", phrase, "--out", tmp_path)
    certs("self-signed", *words)
    cert, key = tmp_path / "device-cert.pem", tmp_path / "device-key.pem"
    certs("der", cert, key, "--pass-phrase-file", phrase, "--out", tmp_path / "flash")
    made = files_in(tmp_path / "flash")
    assert set(made) == {"device-cert.der", "device-key.der"}
    certificate = x509.load_der_x509_certificate(made["device-cert.der"])
    assert certificate == x509.load_pem_x509_certificate(cert.read_bytes())
    private = serialization.load_pem_private_key(key.read_bytes(), b"1234")
    form = serialization.PrivateFormat.TraditionalOpenSSL
    plain = serialization.NoEncryption()
    assert made["device-key.der"] == private.private_bytes(serialization.Encoding.DER, form, plain)


def test_der_when_the_key_is_protected_asks_for_the_pass_phrase_once(
    tmp_path: Path, phrase: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "1234"

    certs("self-signed", "--cn", "d", "--pass-phrase-file", phrase, "--out", tmp_path)
    monkeypatch.setattr("getpass.getpass", ask)
    certs("der", tmp_path / "device-key.pem")
    assert asked == [f"Enter pass phrase for {tmp_path / 'device-key.pem'}: "]


def test_der_when_openssl_put_parameters_and_certificate_beside_the_key_takes_each_apart(
    tmp_path: Path, chain: Path
) -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    both = tmp_path / "both.pem"
    both.write_bytes(
        parameters.encode()
        + (chain / DEVICE_KEY).read_bytes()
        + (chain / "certs/device-01.cert.pem").read_bytes()
    )
    certs("der", both)
    assert set(files_in(tmp_path)) == {"both.pem", "both.der", "both.key.der"}
    assert mode(tmp_path / "both.key.der") == 0o600


def test_der_when_a_file_holds_neither_or_two_have_one_name_is_refused(
    tmp_path: Path, chain: Path
) -> None:
    (tmp_path / "x.pem").write_text("-----BEGIN NOTHING-----\n-----END NOTHING-----\n")
    assert "neither" in refused("der", tmp_path / "x.pem")
    (tmp_path / "y.der").write_bytes(b"0\x82")
    assert "no PEM" in refused("der", tmp_path / "y.der")
    one, two = (shutil.copy(chain / ROOT_CERT, tmp_path / f"z.{end}") for end in ("pem", "crt"))
    assert "two files" in refused("der", one, two)
    assert not (tmp_path / "z.der").exists()


# -- inspect --------------------------------------------------------------------------------------


def test_inspect_when_openssl_is_asked_too_says_the_same(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = chain / "certs/device-01.cert.pem"
    (found,) = inspected(capsys, path, "--key", chain / DEVICE_KEY)
    (certificate,) = found["certificates"]
    assert found["warnings"] == [] and found["key_belongs"] is True
    asked = ("x509", "-in", path, "-noout")
    for digest in ("sha1", "sha256"):
        fingerprint = openssl(*asked, "-fingerprint", f"-{digest}").split("=")[1].strip()
        assert certificate[f"{digest}_thumbprint"] == fingerprint.replace(":", "")
    assert certificate["certificate_id"] == certificate["sha256_thumbprint"].lower()
    assert openssl(*asked, "-serial").strip() == f"serial={certificate['serial'].replace(':', '')}"
    assert certificate["subject"] == "CN=device-01"
    assert certificate["issuer"].startswith("CN=azure-iot-test-only intermediate ")
    assert certificate["days_left"] == 29
    assert certificate["extended_key_usage"] == ["clientAuth"]
    assert certificate["key_usage"] == ["digitalSignature"]
    assert certificate["ca"] is False and certificate["key"] == "EC secp256r1"


def test_inspect_when_the_chain_is_whole_says_that_it_links_in_pem_and_text(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = inspected(capsys, chain / FULL_CHAIN)
    assert found["chain"] == ["links"] and found["warnings"] == []
    lengths = [each["path_length"] for each in found["certificates"]]
    assert lengths == [None, 0, 1]
    usages = [each["key_usage"] for each in found["certificates"]]
    assert usages[1] == usages[2] == ["digitalSignature", "keyCertSign", "cRLSign"]
    certs("inspect", chain / FULL_CHAIN)
    text = capsys.readouterr().out
    assert "CA                 yes, path length 0\n" in text and "  chain: links\n" in text


def test_inspect_when_der_is_given_says_the_same_as_of_pem(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem, der = chain / FULL_CHAIN, chain / FULL_CHAIN.replace(".pem", ".der")
    first, second = inspected(capsys, pem, der)
    assert first["certificates"][0] == second["certificates"][0]


def test_inspect_when_the_chain_is_out_of_order_says_where_it_breaks(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, root = x509_files.read_certificates((chain / FULL_CHAIN).read_bytes())
    path = tmp_path / "mixed.pem"
    path.write_bytes(x509_files.certificate_pem(first, root, second))
    (found,) = inspected(capsys, path)
    assert "certificate 1 is not issued by certificate 2" in found["chain"]
    assert "certificate 3 allows 0 CAs below it" in found["chain"]
    assert [text for text in found["warnings"] if text.startswith("chain: ")]


def test_inspect_when_the_key_is_another_says_so_and_fails(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = chain / "private/azure-iot-test-only.root.ca.key.pem"
    (found,) = inspected(capsys, chain / FULL_CHAIN, "--key", key, status=1)
    assert found["key_belongs"] is False
    assert cli.main(["certs", "inspect", str(chain / FULL_CHAIN), "--key", str(key)]) == 1
    assert "key: DOES NOT belong" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("begin", "end", "state", "warning"),
    [(-9, -1, "EXPIRED", "expired"), (1, 9, "not yet", "not yet valid")],
)
def test_inspect_when_the_date_is_not_within_the_validity_warns(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    begin: int,
    end: int,
    state: str,
    warning: str,
) -> None:
    path = made(tmp_path, x509_files.generate("ec"), begin=begin, end=end)
    (found,) = inspected(capsys, path)
    assert found["certificates"][0]["validity"].endswith(state)
    assert f"certificate 1: {warning}" in found["warnings"]


def test_inspect_when_the_clouds_would_refuse_the_certificate_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, ec.generate_private_key(ec.SECP256K1()))
    (found,) = inspected(capsys, path)
    assert found["warnings"] == [
        "certificate 1: curve secp256k1, not P-256, P-384 or P-521",
        "certificate 1: extended key usage has no clientAuth",
        "certificate 1: the CN is no registration ID of DPS",
    ]


def test_inspect_when_a_key_may_not_sign_says_what_openssl_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root_key, root, key, leaf = (tmp_path / name for name in ("rk", "root", "k", "leaf"))
    signs_not = ("-addext", "keyUsage=critical,keyEncipherment", "-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *signs_not, "-keyout", root_key, "-out", root, "-subj", "/CN=root")
    openssl(
        *("req", "-x509", *signs_not, "-addext", "extendedKeyUsage=clientAuth", "-keyout", key),
        *("-out", leaf, "-subj", "/CN=device-01", "-CA", root, "-CAkey", root_key),
        *("-addext", "basicConstraints=CA:FALSE"),
    )
    said = openssl("verify", "-purpose", "sslclient", "-CAfile", root, leaf)
    assert "invalid CA certificate" in said or "unsupported certificate purpose" in said
    both = tmp_path / "both.pem"
    both.write_bytes(leaf.read_bytes() + root.read_bytes())
    (found,) = inspected(capsys, both)
    assert "certificate 2 may not sign certificates" in found["chain"]
    assert "certificate 1: key usage has no digitalSignature" in found["warnings"]


def test_inspect_when_openssl_made_a_weak_certificate_warns_of_sha1_and_rsa_1024(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weak.pem"
    key = ("-newkey", "rsa:1024", "-nodes", "-keyout", tmp_path / "weak.key")
    openssl("req", "-x509", "-sha1", *key, "-out", path, "-subj", "/CN=weak", "-days", 3)
    (found,) = inspected(capsys, path)
    assert "certificate 1: signed with sha1" in found["warnings"]
    assert "certificate 1: RSA key of less than 2048 bits" in found["warnings"]


def test_inspect_when_a_file_is_no_certificate_says_which(tmp_path: Path) -> None:
    for content in (b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"):
        (tmp_path / "x").write_bytes(content)
        assert refused("inspect", tmp_path / "x") == (
            f"onebuf: {tmp_path / 'x'}: no certificate, PEM or DER"
        )


@pytest.mark.parametrize(
    ("right", "broken", "said"),
    [
        ("a003020102", "a003020101", "no certificate, PEM or DER"),  # X.509 version 2
        ("0603551d1304023000", "0603551d1304023001", "error parsing"),  # basic constraints
        ("0603551d25", "0603551d13", "Duplicate 2.5.29.19"),  # basic constraints twice
    ],
)
def test_inspect_when_a_certificate_is_broken_inside_says_which_in_one_line(
    right: str, broken: str, said: str, tmp_path: Path
) -> None:
    key = x509_files.generate("ec")
    made = x509_files.self_signed("d", key, 1).public_bytes(serialization.Encoding.DER)
    assert bytes.fromhex(right) in made
    (tmp_path / "x.der").write_bytes(made.replace(bytes.fromhex(right), bytes.fromhex(broken)))
    told = refused("inspect", tmp_path / "x.der")
    assert told.startswith(f"onebuf: {tmp_path / 'x.der'}: {said}") and "\n" not in told


def test_inspect_when_a_name_has_escape_codes_does_not_print_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\x1b[2J")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    path = tmp_path / "evil.pem"
    path.write_bytes(x509_files.certificate_pem(builder.sign(key, hashes.SHA256())))
    capsys.readouterr()
    certs("inspect", path)
    assert "\x1b" not in capsys.readouterr().out
