"""`onebuf inventory`: the devices that were provisioned."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from host.inventory import DEFAULT, Device, Inventory

_COLUMNS = ("serial", "mac", "board", "cloud", "identity", "firmware", "provisioned")
_SHOWN = 16  # hex digits of a fingerprint, in the table


def add_inventory(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "list the devices that were provisioned"
    command = commands.add_parser("inventory", help=text, description=text)
    help = f"SQLite file ({DEFAULT})"
    command.add_argument("--inventory", type=Path, default=DEFAULT, metavar="FILE", help=help)
    help = "the records that later ones replaced, too"
    command.add_argument("--history", action="store_true", help=help)
    command.add_argument("--json", action="store_true", help="every field, as JSON")
    command.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    if not options.inventory.is_file():
        raise SystemExit(f"onebuf: {options.inventory}: no such inventory; `onebuf provision`")
    devices = Inventory(options.inventory).devices(options.history)
    if options.json:
        print(json.dumps([asdict(device) for device in devices], indent=2))
    else:
        print(table(devices))
    return 0


def table(devices: Sequence[Device]) -> str:
    """Return the devices as lines of columns, the certificate's fingerprint shortened."""
    rows: list[tuple[str, ...]] = [(*_COLUMNS, "certificate")]
    for each in devices:
        shown = each.fingerprint[:_SHOWN] or "-"
        replaced = f", replaced {each.replaced}" if each.replaced else ""
        rows.append((*(getattr(each, name) or "-" for name in _COLUMNS), shown + replaced))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
