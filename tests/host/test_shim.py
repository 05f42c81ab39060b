"""host/shim against the real MicroPython, and what it promises beside: devices kept apart."""

from __future__ import annotations

import builtins
import contextlib
import io
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from host.shim import Device
from tools.micropython import find

TIMEOUT_S = 10

# The device's side: one exchange over TLS, told as lines that do not depend on the TLS library.
TLS_CLIENT = """
import select, socket, sys, time, tls

folder, port, ca, identity, non_blocking = sys.argv[1:6]

def data(name):
    with open(folder + "/" + name, "rb") as f:
        return f.read()

def result(call, *arguments):
    try:
        return call(*arguments)
    except Exception as e:
        kind = "OSError" if isinstance(e, OSError) else type(e).__name__
        return "%s %r" % (kind, e.args[0] if e.args else None)

def until(stream, call, *arguments):
    poller = select.poll()
    poller.register(stream, select.POLLIN)
    for _ in range(100):
        r = result(call, *arguments)
        if r is not None:
            return r
        for _ in poller.ipoll(100):
            pass

def connect():
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(data(ca))
    if identity:
        context.load_cert_chain(data(identity + ".der"), data(identity + "-key.der"))
    s = socket.socket()
    s.connect(socket.getaddrinfo("127.0.0.1", int(port))[0][-1])
    if non_blocking:
        s.setblocking(False)
    return s, context.wrap_socket(
        s, server_hostname="localhost", do_handshake_on_connect=not non_blocking
    )

def main():
    s, t = connect()
    if non_blocking:
        print("certificate before", t.getpeercert(True))
    buf = bytearray(5)
    print("write", until(t, t.write, b"a hello", 2, 5))
    if non_blocking == "late":
        time.sleep_ms(200)
        print("at once", result(t.readinto, bytearray(20)), result(t.readinto, buf))
        print("end", until(t, t.readinto, buf))
        return
    first = until(t, t.readinto, buf)
    print("read", first, bytes(buf))
    if first == 5:
        print("certificate after", len(t.getpeercert(True)) > 100)
        print("end", until(t, t.readinto, buf))
    if first == 5 and non_blocking:
        print("close", t.close(), result(s.write, b"x"), result(t.readinto, buf))

print("connection", result(main))
"""


class Peer(NamedTuple):
    """A TLS server for one connection."""

    certificate: str = "good"
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ask_for_certificate: bool = False
    act: str = "answer"  # with close_notify; "fin" without; "reset"; "garbage", "drop" at once
    patience_s: float = TIMEOUT_S  # how long it waits for the client's close_notify


def _certificate(
    folder: Path, name: str, cn: str, issuer: str = "", days: tuple[int, int] = (-1, 30)
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    signer, signer_key = subject, key
    if issuer:
        signer = x509.load_der_x509_certificate((folder / f"{issuer}.der").read_bytes()).subject
        loaded = serialization.load_der_private_key(
            (folder / f"{issuer}-key.der").read_bytes(), None
        )
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer_key = loaded
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(not issuer, None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(cn)]), False)
        .sign(signer_key, hashes.SHA256())
    )
    der, pem = serialization.Encoding.DER, serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    sec1 = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / f"{name}.der").write_bytes(certificate.public_bytes(der))
    (folder / f"{name}-key.der").write_bytes(key.private_bytes(der, sec1, plain))
    both = key.private_bytes(pem, sec1, plain) + certificate.public_bytes(pem)
    (folder / f"{name}.pem").write_bytes(both)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, good and bad, and the client that runs on either runtime."""
    folder = tmp_path_factory.mktemp("tls")
    _certificate(folder, "ca", "ca.test")
    _certificate(folder, "other-ca", "other.test")
    _certificate(folder, "good", "localhost", "ca")
    _certificate(folder, "elsewhere", "elsewhere.test", "ca")
    _certificate(folder, "expired", "localhost", "ca", (-30, -1))
    _certificate(folder, "future", "localhost", "ca", (1, 30))
    _certificate(folder, "device", "device.test", "ca")
    _certificate(folder, "stranger", "stranger.test", "other-ca")
    (folder / "client.py").write_text(TLS_CLIENT)
    return folder


def _serve(listener: socket.socket, context: ssl.SSLContext, peer: Peer) -> None:
    act = peer.act
    sock, _ = listener.accept()
    sock.settimeout(TIMEOUT_S)
    with sock:
        if act == "garbage":
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(400))
        if act in ("garbage", "drop"):
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
            return
        with context.wrap_socket(sock, server_side=True) as tls:
            tls.sendall(tls.recv(100))
            if act == "fin":
                tls.shutdown(socket.SHUT_WR)
                socket.socket.recv(tls, 1)
            elif act == "reset":
                tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                tls.settimeout(peer.patience_s)
                tls.unwrap()


@pytest.fixture
def served(folder: Path) -> Iterator[Callable[[Peer], int]]:
    """A function that starts a peer for one connection and returns its port."""
    running: list[tuple[socket.socket, threading.Thread]] = []

    def start(peer: Peer) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{peer.certificate}.pem")
        context.minimum_version = context.maximum_version = peer.version
        if peer.ask_for_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=(folder / "ca.der").read_bytes())
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(TIMEOUT_S)

        def run() -> None:
            # A client that refuses is what most of these tests are about.
            with contextlib.suppress(OSError):
                _serve(listener, context, peer)

        thread = threading.Thread(target=run)
        thread.start()
        running.append((listener, thread))
        return int(listener.getsockname()[1])

    yield start
    for listener, thread in running:
        thread.join(2 * TIMEOUT_S)
        listener.close()
        assert not thread.is_alive()


def _real(folder: Path, *argv: str) -> list[str]:
    command = [*find(32).argv, str(folder / "client.py"), str(folder), *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def _shim(folder: Path, *argv: str) -> list[str]:
    out = io.StringIO()
    Device(argv=["client.py", str(folder), *argv], stdout=out).run(folder / "client.py")
    return out.getvalue().splitlines()


V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CASES = {
    "good": (Peer(), "ca.der", ""),
    "end without close_notify": (Peer(act="fin"), "ca.der", ""),
    "client certificate": (Peer(ask_for_certificate=True), "ca.der", "device"),
    "wrong CA": (Peer(), "other-ca.der", ""),
    "no CA": (Peer(), "", ""),
    "wrong host name": (Peer("elsewhere"), "ca.der", ""),
    "expired": (Peer("expired"), "ca.der", ""),
    "not yet valid": (Peer("future"), "ca.der", ""),
    "garbage": (Peer(act="garbage"), "ca.der", ""),
    "dropped in the handshake": (Peer(act="drop"), "ca.der", ""),
}


@pytest.mark.parametrize("non_blocking", ["", "yes"], ids=["blocking", "non-blocking"])
@pytest.mark.parametrize("version", [V2, V3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("case", list(CASES))
def test_tls_tells_on_the_shim_what_it_tells_on_micropython(
    case: str,
    version: ssl.TLSVersion,
    non_blocking: str,
    folder: Path,
    served: Callable[[Peer], int],
) -> None:
    peer, ca, identity = CASES[case]
    peer = peer._replace(version=version)
    real = _real(folder, str(served(peer)), ca, identity, non_blocking)
    assert _shim(folder, str(served(peer)), ca, identity, non_blocking) == real


@pytest.mark.parametrize("version", [V2, V3], ids=["1.2", "1.3"])
def test_a_close_notify_that_comes_with_data_is_not_told_until_tcp_ends(
    version: ssl.TLSVersion, folder: Path, served: Callable[[Peer], int]
) -> None:
    peer = Peer(version=version, patience_s=0.6)
    real = _real(folder, str(served(peer)), "ca.der", "", "late")
    assert real[-3:-1] == ["at once 5 None", "end 0"]
    assert _shim(folder, str(served(peer)), "ca.der", "", "late") == real


# What the kernel decides by timing: an alert that overtakes the reset, or does not.
REFUSED_LATE = ("OSError 32", "OSError 104", "OSError -104", "OSError -30592", "OSError -32")


@pytest.mark.parametrize("run", [_real, _shim], ids=["micropython-32", "shim"])
@pytest.mark.parametrize("version", [V2, V3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("identity", ["", "stranger"], ids=["none", "of another CA"])
def test_a_client_certificate_that_is_refused_is_an_oserror(
    identity: str,
    version: ssl.TLSVersion,
    run: Callable[..., list[str]],
    folder: Path,
    served: Callable[[Peer], int],
) -> None:
    port = served(Peer(version=version, ask_for_certificate=True))
    told = run(folder, str(port), "ca.der", identity, "yes")
    assert any(line.startswith(("write ", "read ")) and _late(line) for line in told), told


@pytest.mark.parametrize("run", [_real, _shim], ids=["micropython-32", "shim"])
def test_a_reset_after_the_handshake_has_a_negative_number(
    run: Callable[..., list[str]], folder: Path, served: Callable[[Peer], int]
) -> None:
    told = run(folder, str(served(Peer(act="reset"))), "ca.der", "", "yes")
    assert any("OSError -104" in line for line in told), told


def _late(line: str) -> bool:
    return any(error in line for error in REFUSED_LATE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device's folder with a package that uses every form of import."""
    package = tmp_path / "pack"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("NAME = __name__\n")
    (package / "deep" / "__init__.py").write_text("")
    (package / "leaf.py").write_text("counter = [0]\n")
    (package / "deep" / "low.py").write_text("from .. import leaf\nfrom ..leaf import counter\n")
    (package / "user.py").write_text(
        "import pack.deep.low\n"
        "import pack.leaf as leaf\n"
        "from pack import leaf as again\n"
        "from . import leaf as third\n"
        "from .deep.low import counter\n"
        "same = leaf is again is third is pack.deep.low.leaf and counter is leaf.counter\n"
    )
    return tmp_path


def test_every_form_of_import_gives_the_same_module(root: Path) -> None:
    assert Device(root).load("pack.user").same


def test_two_devices_have_their_own_modules_and_nothing_global_changes(root: Path) -> None:
    before = (set(sys.modules), dict(vars(builtins)), list(sys.meta_path), list(sys.path))
    one, two = Device(root), Device(root)
    one.load("pack.leaf").counter[0] = 7
    assert two.load("pack.leaf").counter == [0]
    assert one.load("time") is not two.load("time")
    assert one.load("sys").modules is one.modules
    assert before == (set(sys.modules), dict(vars(builtins)), list(sys.meta_path), list(sys.path))


@pytest.mark.parametrize("name", ["subprocess", "ssl", "typing", "pack.missing", "os.path"])
def test_a_module_that_a_board_lacks_cannot_be_imported(root: Path, name: str) -> None:
    (root / "main.py").write_text(f"import {name}\n")
    with pytest.raises(ImportError):
        Device(root).run(root / "main.py")


def test_a_failed_import_can_be_tried_again(root: Path) -> None:
    device = Device(root)
    (root / "late.py").write_text("import nothing_yet\n")
    with pytest.raises(ImportError):
        device.load("late")
    (root / "nothing_yet.py").write_text("")
    assert device.load("late").nothing_yet


def test_a_traceback_shows_the_true_file_and_line(root: Path) -> None:
    (root / "main.py").write_text("def f():\n    raise ValueError('here')\n\nf()\n")
    with pytest.raises(ValueError) as caught:
        Device(root).run(root / "main.py")
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(root / "main.py"), 2)


def test_printing_and_files_belong_to_the_device(root: Path) -> None:
    (root / "main.py").write_text(
        "import os, sys\n"
        "with open('note', 'w') as f:\n    f.write('x')\n"
        "os.mkdir('sub')\nos.rename('note', 'sub/note')\n"
        "print(os.listdir('sub'), os.stat('sub/note')[6], sys.argv)\n"
        "sys.stdout.write('done')\n"
        "try:\n    open('gone')\nexcept OSError as e:\n    print(e.args[0])\n"
    )
    for name in ("one", "two"):
        (root / name).mkdir()
        out = io.StringIO()
        Device(root, cwd=root / name, argv=["main.py", name], stdout=out).run(root / "main.py")
        assert out.getvalue() == f"['note'] 1 ['main.py', '{name}']\ndone2\n"
        assert (root / name / "sub" / "note").read_text() == "x"


def test_the_ticks_wrap_soon_after_the_start() -> None:
    clock = Device(wraps_in_ms=30).load("time")
    start = clock.ticks_ms()
    assert start > (1 << 30) - 100
    clock.sleep_ms(40)
    assert clock.ticks_ms() < 1000
    assert 40 <= clock.ticks_diff(clock.ticks_ms(), start) < 2000


def test_setting_the_clock_of_a_device_leaves_the_others_alone() -> None:
    one, two = Device(), Device()
    one.load("machine").RTC().datetime((2000, 1, 2, 6, 3, 4, 5, 0))
    assert one.load("time").gmtime()[:5] == (2000, 1, 2, 3, 4)
    assert two.load("time").gmtime()[0] > 2020


def test_wifi_connects_at_once_and_a_reset_leaves(root: Path) -> None:
    device = Device(root)
    network = device.load("network")
    station = network.WLAN(network.STA_IF)
    with pytest.raises(OSError):
        station.connect("net", "key")
    assert station.active(True)
    station.connect("net", "key")
    assert station.isconnected() and station.status() == network.STAT_GOT_IP
    station.disconnect()
    assert not station.isconnected()
    with pytest.raises(SystemExit):
        device.load("machine").reset()


def _listening(device: Device) -> tuple[Any, int]:
    """Return (a listening socket of the device, its port)."""
    sockets = device.load("socket")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    listener = sockets.socket()
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    listener.bind(sockets.getaddrinfo("127.0.0.1", port)[0][-1])
    listener.listen(1)
    listener.settimeout(TIMEOUT_S)
    return listener, port


def _send_all(device: Device, stream: Any, data: bytes) -> None:
    """Write without blocking, as the firmware does: the same bytes again after None."""
    select = device.load("select")
    poller = select.poll()
    poller.register(stream, select.POLLOUT)
    done = 0
    for _ in range(100_000):
        done += stream.write(data, done, len(data) - done) or 0
        if done == len(data):
            return
        poller.poll(TIMEOUT_S * 1000)
    raise AssertionError(f"sent {done} of {len(data)}")


def test_two_devices_talk_over_tls_in_two_threads(folder: Path) -> None:
    server, client = Device(cwd=folder), Device(cwd=folder)
    tls = server.load("tls")
    context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(
        (folder / "good.der").read_bytes(), (folder / "good-key.der").read_bytes()
    )
    listener, port = _listening(server)
    sent = bytes(range(256)) * 12_000
    seen: list[bytes] = []

    def serve() -> None:
        sock, _ = listener.accept()
        sock.settimeout(TIMEOUT_S)
        wrapped = context.wrap_socket(sock, server_side=True)
        time.sleep(0.2)  # so that the client finds the socket full
        seen.append(wrapped.read(len(sent)))
        wrapped.write(b"bye")
        wrapped.close()

    thread = threading.Thread(target=serve)
    thread.start()
    theirs = client.load("tls").SSLContext(0)
    theirs.load_verify_locations((folder / "ca.der").read_bytes())
    raw = client.load("socket").socket()
    raw.settimeout(TIMEOUT_S)
    raw.connect(client.load("socket").getaddrinfo("127.0.0.1", port)[0][-1])
    wrapped = theirs.wrap_socket(raw, server_hostname="localhost")
    wrapped.setblocking(False)
    _send_all(client, wrapped, sent)
    wrapped.setblocking(True)
    assert wrapped.read() == b"bye"
    thread.join(TIMEOUT_S)
    wrapped.close()
    listener.close()
    assert seen == [sent]
