"""Native code for the functions of the device package that say how they are to be compiled.

A comment before the function gives the types that MicroPython's viper needs, those of its
arguments and of its result: `# viper: ptr8 int int ptr32 -> int`. As they stand such functions run
anywhere; where the processor of the board is known they are compiled for it.
"""

from __future__ import annotations

import re

# The processor that mpy-cross calls so, for the ports on this computer; ESP32 is xtensawin.
MARCH = {32: "x86", 64: "x64"}

_TYPED = re.compile(r"^# viper: (.+) -> (\w+)\ndef (\w+)\(([^)]*)\):", re.MULTILINE)


def typed(source: str) -> str:
    """Return source with these functions as viper's; as it is if there are none."""
    made, count = _TYPED.subn(_function, source)
    if not count:
        return source
    first = re.search(r"^(from|import) ", made, re.MULTILINE)
    assert first is not None, "a module with viper functions imports const"
    return f"{made[: first.start()]}import micropython\n{made[first.start() :]}"


def _function(match: re.Match[str]) -> str:
    types, result, name, arguments = match.groups()
    pairs = zip(arguments.split(", "), types.split(), strict=True)
    signature = ", ".join(f"{argument}: {kind}" for argument, kind in pairs)
    return f"@micropython.viper\ndef {name}({signature}) -> {result}:"
