"""The files of `onebuf certs`: certificates and keys, read, or written unless they are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509

from host import x509_files
from host.certs import write_file
from host.secret_input import PassPhrase
from host.x509_files import PrivateKey


def load_certificates(path: Path) -> Sequence[x509.Certificate]:
    """Return those in the file, PEM or DER; ValueError if there is none, OSError."""
    try:
        found = x509_files.read_certificates(path.read_bytes())
    except x509_files.BROKEN:
        found = []
    if not found:
        raise ValueError(f"{path}: no certificate, PEM or DER")
    return found


def load_key(path: Path, pass_phrase: PassPhrase) -> PrivateKey:
    """Return the private key in the file; ValueError, OSError."""
    data = path.read_bytes()
    try:
        return x509_files.read_key(data, lambda: pass_phrase.of(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def refuse_existing(paths: Iterable[Path], force: bool) -> None:
    """ValueError for the first one that is there, unless it may be overwritten."""
    for path in paths:
        if path.exists() and not force:
            raise ValueError(f"{path} exists: not overwritten without --force")


def write_certificates(path: Path, *certificates: x509.Certificate) -> None:
    """Write them as PEM, one after the other, and print the path."""
    write(path, x509_files.certificate_pem(*certificates), 0o644)


def write(path: Path, data: bytes, mode: int) -> None:
    """Write the file with this mode, and print its path."""
    write_file(path, data, mode)
    print(path)
