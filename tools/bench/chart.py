"""docs/bench.png: onebuf and its peers on the 32-bit runtime over TLS, readable at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.bench.build import CLIENTS
from tools.bench.report import number

_PANELS = (  # figure, title, logarithmic
    ("heap bytes/publish", "Heap per publish, bytes", False),
    ("TLS records up/publish", "TLS records per publish", False),
    ("instructions/publish", "Instructions per publish (log)", True),
    ("smallest heap", "Smallest heap, code included, bytes", False),
    ("working set", "Smallest heap less the code, bytes", False),
    ("publishes/s", "Publishes per second (log; more is better)", True),
)
_LABELS = {"adafruit": "adafruit_\nrequests", "floor": "floor\n(no parsing)"}
_COLOURS = {"onebuf": "#0b6e4f", "floor": "#9aa0a6"}
_OTHERS = "#c9713f"


def draw(bench: Mapping[str, Any], path: Path) -> None:
    """Write the chart; ImportError: no matplotlib, which is the extra `bench`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.6), dpi=110, layout="constrained")
    figure.suptitle(
        f"A publish of 88 bytes over TLS, MicroPython {bench['versions']['MicroPython']} 32-bit "
        f"({bench['date']})",
        fontweight="bold",
    )
    axes = figure.subplots(2, 3).flat
    for axis, (name, title, logarithmic) in zip(axes, _PANELS, strict=True):
        _panel(axis, bench, name, title, logarithmic)
    figure.savefig(path)


def _panel(axis: Any, bench: Mapping[str, Any], name: str, title: str, logarithmic: bool) -> None:
    values = [bench["cells"][f"{client}, 32-bit, TLS"].get(name) or 0 for client in CLIENTS]
    colours = [_COLOURS.get(client, _OTHERS) for client in CLIENTS]
    labels = [_LABELS.get(client, client) for client in CLIENTS]
    bars = axis.barh(labels, values, color=colours)
    axis.bar_label(bars, [number(value) for value in values], padding=4, fontsize=9)
    axis.set_title(title, fontsize=10)
    axis.invert_yaxis()
    axis.set_xticks([])
    if logarithmic and all(values):
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 8, max(values) * 12)
        axis.minorticks_off()
        axis.set_xticks([])
    else:
        axis.set_xlim(0, max(values) * 1.3 or 1)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
