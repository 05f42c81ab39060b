"""Run one command of `onebuf` by the function that adds it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def run(add: Callable[[Any], None], *arguments: object) -> int:
    """The command's exit status; SystemExit as on the command line."""
    parser = argparse.ArgumentParser(prog="onebuf")
    add(parser.add_subparsers())
    options = parser.parse_args([str(each) for each in arguments])
    status: int = options.command(options)
    return status
