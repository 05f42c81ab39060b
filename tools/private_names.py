"""Shorter private names for what is compiled: on the device every name costs RAM, once.

Only names that begin with one underscore change; nobody outside the package may use them. Names
that meet in a module stay different, and others share one short name.
"""

from __future__ import annotations

import io
import re
import string
import tokenize
from collections.abc import Iterable, Iterator, Mapping

_PRIVATE = re.compile(r"_[A-Za-z0-9][A-Za-z0-9_]*")
_LETTERS = string.ascii_letters


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """Return the short name of each private name in these modules' sources."""
    met: dict[str, set[str]] = {}
    for source in sources:
        names = {token.string for token in _private(source)}
        for name in names:
            met.setdefault(name, set()).update(names)
    chosen: dict[str, str] = {}
    for name in sorted(met, key=lambda name: (-len(met[name]), name)):
        taken = {chosen[other] for other in met[name] if other in chosen}
        chosen[name] = next(short for short in _pool() if short not in taken)
    return chosen


def shortened(source: str, names: Mapping[str, str]) -> str:
    """Return source with its private names replaced."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(_private(source))):
        row, column = token.start
        line = lines[row - 1]
        lines[row - 1] = line[:column] + names[token.string] + line[token.end[1] :]
    return "".join(lines)


def _private(source: str) -> Iterator[tokenize.TokenInfo]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and _PRIVATE.fullmatch(token.string):
            yield token


def _pool() -> Iterator[str]:
    yield from ("_" + letter for letter in _LETTERS)
    yield from (f"_{a}{b}" for a in _LETTERS for b in _LETTERS)
