"""Other private names for what is compiled: on the device every name costs RAM, once.

Only names that begin with one underscore change; nobody outside the package may use them. Names
that meet in a module stay different, and others share one. They become names that every
MicroPython has in its ROM and that the package does not use; where these are used up, short ones.
"""

from __future__ import annotations

import ast
import io
import re
import string
import tokenize
from collections.abc import Iterable, Iterator, Mapping

_PRIVATE = re.compile(r"_[A-Za-z0-9][A-Za-z0-9_]*")
_CONSTANT = re.compile(r"^(_\w+) = const\(", re.MULTILINE)  # the compiler leaves no name of it
_PARAMETERS = 8
_LETTERS = string.ascii_letters
# Of the names that the format of .mpy files numbers, and so each runtime has (MicroPython,
# py/makeqstrdata.py, static_qstr_list), those that are not likely to be used.
_IN_ROM = (
    *("rindex", "rsplit", "rstrip", "lstrip", "isupper", "islower", "isspace", "isalpha"),
    *("isdigit", "endswith", "popitem", "setdefault", "staticmethod", "classmethod"),
    *("issubclass", "throw", "zip", "upper", "sorted", "sort", "reverse", "rfind", "divmod"),
    *("eval", "locals", "globals", "bytecode", "builtins", "callable", "dir", "hash", "id"),
    *("iter", "map", "sum", "super", "pow", "round", "repr", "setattr", "extend", "insert"),
    *("items", "keys", "values", "update", "replace", "count", "copy", "clear", "from_bytes"),
    *("to_bytes", "format", "index", "ArithmeticError", "AssertionError", "EOFError"),
    *("GeneratorExit", "IndentationError", "IndexError", "KeyError", "LookupError"),
    *("NameError", "NotImplementedError", "OverflowError", "RuntimeError", "StopIteration"),
    *("SyntaxError", "SystemExit", "TypeError", "ZeroDivisionError"),
)


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """Return the other name of each private name in these modules' sources.

    Under "1", "2" and so on are names for the parameters of private functions.
    """
    sources = list(sources)
    met: dict[str, set[str]] = {}
    used: set[str] = set()
    for source in sources:
        used.update(re.findall(r"\w+", _code(source)))
        names = set().union(*(_names(each) for each in (source, *_bases(source, sources))))
        for name in names:
            met.setdefault(name, set()).update(names)
    pool = [name for name in _IN_ROM if name not in used]
    chosen = {str(n): name for n, name in enumerate(pool[:_PARAMETERS], 1)}
    for name in sorted(met, key=lambda name: (-len(met[name]), name)):
        taken = {chosen[other] for other in met[name] if other in chosen}
        others = _pool(pool[_PARAMETERS:])
        chosen[name] = next(other for other in others if other not in taken)
    return chosen


def shortened(source: str, names: Mapping[str, str]) -> str:
    """Return source with its private names, and their parameters' names, replaced."""
    constants = _CONSTANT.findall(source)
    places = {
        token.start: (token.string, names.get(token.string, token.string))
        for token in _private(source)
        if token.string not in constants
    }
    for place, parameter, number in _parameters(source):
        places[place] = (parameter, names.get(str(number), parameter))
    lines = source.splitlines(keepends=True)
    for (row, column), (old, new) in sorted(places.items(), reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "".join(lines)


def _names(source: str) -> set[str]:
    return {token.string for token in _private(source)} - set(_CONSTANT.findall(source))


def _bases(source: str, sources: Iterable[str]) -> Iterator[str]:
    """The modules whose classes those of source inherit from: an object has the names of both."""
    for base in re.findall(r"^class \w+\((?:\w+\.)*(\w+)\):", source, re.MULTILINE):
        yield from (each for each in sources if re.search(rf"^class {base}\b", each, re.MULTILINE))


def _code(source: str) -> str:
    """Return source without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return ast.unparse(tree)


def _parameters(source: str) -> Iterator[tuple[tuple[int, int], str, int]]:
    """Where the names of private functions' parameters stand, and which parameter it is.

    To those of a module for viper, which knows no keywords, nobody gives a name either.
    """
    viper = "@micropython.viper" in source
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        if not viper and not _PRIVATE.fullmatch(function.name):
            continue
        arguments = [each.arg for each in function.args.args if each.arg != "self"]
        method = len(arguments) < len(function.args.args)
        if method and not _PRIVATE.fullmatch(function.name):
            continue
        for node in ast.walk(function):
            name = getattr(node, "id", "") or getattr(node, "arg", "")
            if isinstance(node, ast.Name | ast.arg) and name in arguments:
                yield (node.lineno, node.col_offset), name, arguments.index(name) + 1


def _private(source: str) -> Iterator[tokenize.TokenInfo]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and _PRIVATE.fullmatch(token.string):
            yield token


def _pool(first: Iterable[str]) -> Iterator[str]:
    yield from first
    yield from ("_" + letter for letter in _LETTERS)
    yield from (f"_{a}{b}" for a in _LETTERS for b in _LETTERS)
