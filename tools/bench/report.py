"""docs/bench.md: the figures as tables, and how each is obtained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tools.bench.build import CLIENTS

NAMES = {
    "onebuf": "onebuf",
    "requests": "`requests`",
    "adafruit": "`adafruit_requests`",
    "floor": "floor",
}
FIGURES = (  # as in docs/bench.json; False: higher is better
    ("heap bytes/publish", True),
    ("write calls/publish", True),
    ("TLS records up/publish", True),
    ("bytes up/publish", True),
    ("bytes down/publish", True),
    ("instructions/publish", True),
    ("CPU us/publish", True),
    ("publishes/s", False),
    ("smallest heap", True),
    ("working set", True),
    ("largest free block lost", True),
)
_HOW = """\
## How each figure is obtained

Everyone posts the same 88 bytes of JSON to `/topics/fleet/dev-0001/telemetry?qos=1` and gets the
same answer, 253 bytes as AWS IoT's: five fields and 65 bytes of JSON. The server is a process of
its own with TCP_NODELAY; TLS is 1.2 with ECDSA P-256 and no client certificate. The connection is
kept where the client can (`requests` cannot).

- **onebuf**: `queue.push()` and `uplink.forward()`, with a buffer of 512 bytes and a queue of 512.
- **`requests`**: micropython-lib's, frozen into the runtime, so that its code takes no RAM. It
  cannot verify the server; all others do. Over TLS its small writes meet Nagle's algorithm and the
  delayed ACK: it has no option for TCP_NODELAY, with which (patched in) it was 14 times as fast.
- **`adafruit_requests`**: PyPI's, with its connection manager, over a thin `socketpool` of ours,
  which sets TCP_NODELAY.
- **floor**: prebuilt bytes written whole, the reply read into a fixed buffer, nothing parsed.

"""
_OBTAINED = (
    ("figure", "how"),
    ("heap bytes/publish", "`gc.mem_alloc()` with the collector off, over 20 publishes"),
    ("write calls/publish", "the kernel's count in `/proc/self/io`"),
    (
        "TLS records, bytes up and down",
        "counted by the server; the bytes include the handshake of each new connection",
    ),
    (
        "instructions/publish",
        "callgrind: 105 publishes less 5, without the handshake; `requests` over TLS: 10 less 5, "
        "with theirs. The server waits 20 ms before it answers, so that everyone waits for it. "
        "x86 instructions: they compare clients",
    ),
    ("CPU us/publish, publishes/s", "the best of three stretches of 0.7 s; never checked"),
    (
        "smallest heap",
        "`-X heapsize`, bisected in steps of 256 bytes: 100 publishes, all from `.mpy`",
    ),
    ("working set", "smallest heap less what importing the client and all it needs holds"),
    (
        "largest free block lost",
        "`micropython.mem_info()` before and after 10,000 publishes (`requests` over TLS: 500) in "
        "64 KiB (64-bit: 128 KiB)",
    ),
    ("RAM after import", "`gc.mem_alloc()` after a collection, before and after the import"),
    ("`.mpy`", "`mpy-cross -O3`"),
)
_LAST = """\
mbedTLS's own memory is not in these figures. `make bench` measures all of it anew, `make
bench-check` fails when a counted figure of onebuf has become worse (instructions: by more than
2 %), `make soak` is the soak.
"""


def markdown(bench: Mapping[str, Any]) -> str:
    """The whole of docs/bench.md."""
    versions = ", ".join(f"{name} {version}" for name, version in bench["versions"].items())
    parts = ["# Side by side", f"{bench['date']}; {versions}.", "![Chart](bench.png)"]
    for bits in (32, 64):
        for wire in ("TLS", "plain"):
            parts += [f"## {bits}-bit, {wire}", table(bench, bits, wire)]
    parts += ["## RAM after import, bytes", _ram(bench), "## `.mpy` of the AWS path, bytes"]
    parts += [_modules(bench)]
    if bench.get("soak"):
        parts += ["## Soak", _soak(bench["soak"])]
    obtained = "\n".join(f"| {name} | {how} |" for name, how in _OBTAINED)
    obtained = obtained.replace("\n", "\n|---|---|\n", 1)
    return "\n\n".join([*parts, _HOW + obtained, _LAST])


def table(bench: Mapping[str, Any], bits: int, wire: str) -> str:
    """The figures of one runtime; behind those of a peer, how many times onebuf's they are."""
    rows = [["bytes, unless named otherwise", *(NAMES[client] for client in CLIENTS)]]
    cells = [bench["cells"].get(f"{client}, {bits}-bit, {wire}", {}) for client in CLIENTS]
    for figure, less_is_better in FIGURES:
        if wire == "plain" and figure.startswith("TLS"):
            continue
        ours = cells[0].get(figure)
        row = [figure, f"**{number(ours)}**"]
        for cell in cells[1:]:
            value = cell.get(figure)
            row.append(number(value) + _ratio(value, ours, less_is_better))
        rows.append(row)
    return _lines(rows)


def ratios(bench: Mapping[str, Any]) -> list[str]:
    """How onebuf compares with each peer, a line for each figure of the 32-bit runtime, TLS."""
    ours = bench["cells"].get("onebuf, 32-bit, TLS", {})
    lines = []
    for figure, _ in FIGURES:
        told = []
        for client in CLIENTS[1:]:
            value = bench["cells"].get(f"{client}, 32-bit, TLS", {}).get(figure)
            told.append(f"{client} {number(ours.get(figure))} : {number(value)}")
        lines.append(f"{figure + ', onebuf :':<38}{'; '.join(told)}")
    return lines


def number(value: float | None) -> str:
    """A figure for people; what could not be measured is a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.1f}"


def _ratio(value: float | None, ours: float | None, less_is_better: bool) -> str:
    if not value or not ours:
        return ""
    times = value / ours if less_is_better else ours / value
    return f" ({times:.3g} ×)" if times < 1000 else f" ({times:,.0f} ×)"


def _ram(bench: Mapping[str, Any]) -> str:
    rows = [["", "32-bit, `.mpy`", "32-bit, `.py`", "64-bit, `.mpy`", "64-bit, `.py`"]]
    for client in CLIENTS:
        row = [NAMES[client]]
        for bits in (32, 64):
            figures = bench["ram"].get(f"{client}, {bits}-bit", {})
            row += [number(figures.get(f"RAM after import, {kind}")) for kind in ("mpy", "py")]
        rows.append(row)
    return _lines(rows)


def _modules(bench: Mapping[str, Any]) -> str:
    rows = [["module", "bytes"]]
    rows += [[f"`{name}`", number(octets)] for name, octets in bench["modules"].items()]
    rows.append(["onebuf, all of it", f"**{number(sum(bench['modules'].values()))}**"])
    rows += [[f"`{name}`", number(octets)] for name, octets in bench["peer modules"].items()]
    return _lines(rows)


def _soak(soaks: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, soak in soaks.items():
        first = soak["first sample"]
        told = "; ".join(soak["complaints"]) or (
            f"at each of {soak['samples']} samples {first['heap']:,} bytes in use, "
            f"{first['block']:,} in the largest free block, {first['descriptors']} descriptors"
        )
        lines.append(
            f"{name}, {soak['date']}: {soak['accepted']:,} publishes over TLS, "
            f"{soak['connects']} connections, heap locked while publishing: {told}."
        )
    return "\n\n".join(lines)


def _lines(rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    columns = lines[0].count("|") - 2
    return "\n".join([lines[0], "|---|" + "---:|" * columns, *lines[1:]])
