"""Secrets for a command: from a file, standard input, the environment or a prompt.

Invariant: a secret is never an argument, which the shell's history and `ps` would show, and no
message repeats it.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import warnings
from pathlib import Path

_SHORTEST, _LONGEST = 4, 1023  # octets of a pass phrase: OpenSSL takes no others


def add_source(parser: argparse.ArgumentParser, name: str, what: str, required: bool) -> None:
    """Add --NAME-file, --NAME-stdin and --NAME-env to parser: at most one may be given."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(f"--{name}-file", metavar="FILE", type=Path, help=f"{what}, in a file")
    group.add_argument(f"--{name}-stdin", action="store_true", help="or on standard input")
    group.add_argument(f"--{name}-env", metavar="NAME", help="or in this environment variable")


def read(options: argparse.Namespace, name: str) -> str | None:
    """Return the secret from where `options` say, None if nowhere; ValueError, OSError."""
    given = {
        kind: getattr(options, f"{name}_{kind}".replace("-", "_"))
        for kind in ("file", "stdin", "env")
    }
    if given["file"] is not None:
        return _line(given["file"].read_bytes(), str(given["file"]))
    if given["env"] is not None:
        return _line(os.environb.get(os.fsencode(given["env"]), b""), f"variable {given['env']}")
    return _line(sys.stdin.buffer.read(), "standard input") if given["stdin"] else None


def add_pass_phrase(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --pass-phrase, which asks, and --pass-phrase-file to parser."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--pass-phrase", action="store_true", help=f"ask for {what}")
    add_pass_phrase_file(group, "or read it from there; -: standard input")


def add_pass_phrase_file(parser: argparse._ActionsContainer, what: str) -> None:
    """Add --pass-phrase-file to parser."""
    parser.add_argument("--pass-phrase-file", metavar="FILE", help=what)


class PassPhrase:
    """The pass phrase of a command, asked for at most once; its repr shows nothing."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._ask_new = getattr(options, "pass_phrase", False)
        self._file: str | None = options.pass_phrase_file
        self._known: bytes | None = None

    def new(self) -> bytes | None:
        """Return what protects new keys, asked for twice; None if none is wanted; ValueError."""
        if self._known is None and self._file is not None:
            self._known = _checked(self._read())
        elif self._known is None and self._ask_new:
            typed = _checked(_prompt("Enter PEM pass phrase: "))
            if _prompt("Verifying - Enter PEM pass phrase: ") != typed:
                raise ValueError("the two pass phrases differ")
            self._known = typed
        return self._known

    def of(self, path: Path) -> bytes:
        """Return what opens the key in `path`; ValueError, OSError."""
        if self._known is None:
            prompt = f"Enter pass phrase for {path}: "
            self._known = _prompt(prompt) if self._file is None else self._read()
        return self._known

    def _read(self) -> bytes:
        if self._file == "-":
            return _line(sys.stdin.buffer.read(), "standard input").encode()
        return _line(Path(self._file or "").read_bytes(), self._file or "").encode()


def _line(data: bytes, where: str) -> str:
    """Return the one line in `data`; ValueError."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{where}: no UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or any(octet in text for octet in "\r\n\0"):
        raise ValueError(f"{where}: one line with the secret is wanted")
    return text


def _checked(phrase: bytes) -> bytes:
    if not _SHORTEST <= len(phrase) <= _LONGEST:
        raise ValueError(f"a pass phrase has {_SHORTEST} to {_LONGEST} octets, as for OpenSSL")
    return phrase


def _prompt(text: str) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would show what is typed
            return getpass.getpass(text).encode()
    except (EOFError, getpass.GetPassWarning):
        raise ValueError("no pass phrase: no terminal to ask on, see --pass-phrase-file") from None
