"""`onebuf queue`: what waits on a device's flash, read from a folder or an image of it.

With --letters: what the cloud refused for good, which dead_letters keeps beside the queue.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from host import dead_letters_format, flash_image, flash_queue_format
from host.dead_letters_format import Letters
from host.flash_queue_format import Contents, Record
from host.shim import Device

FIRMWARE = Path(__file__).parents[1] / "firmware"
_BROKEN = 1  # exit status of verify


def add_queue(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its four actions."""
    text = "list, verify, export or repair the queue on a device's flash, or its dead letters"
    command = commands.add_parser("queue", help=text, description=text)
    actions = command.add_subparsers(required=True, metavar="action")
    text = "show segments, records, cursor, and how many wait"
    _add(actions, "list", text, _list, _list_letters)
    text = "check CRCs, order and ends; exit status 1 for damage, 0 for numbers that are missing"
    _add(actions, "verify", text, _verify, _verify_letters)
    text = "print the waiting records as JSON Lines"
    export = _add(actions, "export", text, _export, _export_letters)
    export.add_argument("--all", action="store_true", help="those too that have been sent")
    repair = _add(actions, "repair", "write what is intact as a new queue", _repair)
    repair.add_argument("target", type=Path, help="a folder that does not exist yet, or is empty")


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    act: Callable[[argparse.Namespace, Contents], int],
    act_on_letters: Callable[[Letters], int] | None = None,
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text, description=text)
    action.add_argument("source", type=Path, help="folder, or LittleFS image; it is only read")
    where = action.add_mutually_exclusive_group()
    where.add_argument("--folder", help="the queue's in the source, if there are several")
    if act_on_letters:
        help = "the dead letters in the source's file of this name instead, and in that with .old"
        where.add_argument("--letters", metavar="FILE", help=help)
    help = "where in the image the file system begins (0); 0x200000 is understood"
    action.add_argument("--offset", type=_octets, default=0, help=help)
    help = "of the file system's blocks, octets (what the image says)"
    action.add_argument("--block-size", type=_octets, default=0, help=help)
    action.set_defaults(command=lambda options: _run(options, act, act_on_letters), letters=None)
    return action


def _octets(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of octets")
    return value


def _run(
    options: argparse.Namespace,
    act: Callable[[argparse.Namespace, Contents], int],
    act_on_letters: Callable[[Letters], int] | None,
) -> int:
    try:
        found = flash_image.files(options.source, options.offset, options.block_size)
        if act_on_letters and options.letters is not None:
            return act_on_letters(_letters(found, options.letters))
        return act(options, flash_queue_format.read(_queue(found, options.folder)))
    except flash_image.Unreadable as error:
        raise SystemExit(f"onebuf: {options.source}: {error}") from error


def _letters(files: dict[str, bytes], wanted: str) -> Letters:
    letters = dead_letters_format.read(files, str(PurePosixPath(wanted.strip("/"))))
    if letters is None:
        raise flash_image.Unreadable(f"no dead letters in {wanted}")
    return letters


def _queue(files: dict[str, bytes], wanted: str | None) -> dict[str, bytes]:
    """The files of the one queue among files, by their names without the folder."""
    folders: dict[str, dict[str, bytes]] = {}
    for name, octets in files.items():
        path = PurePosixPath(name)
        if flash_queue_format.is_part(path.name):
            folders.setdefault(str(path.parent), {})[path.name] = octets
    if wanted is not None:
        wanted = str(PurePosixPath(wanted.strip("/")))
        folders = {name: parts for name, parts in folders.items() if name == wanted}
    if len(folders) != 1:
        which = f"several, in {', '.join(sorted(folders))}: use --folder" if folders else "none"
        raise flash_image.Unreadable(f"a queue: {which}")
    return folders.popitem()[1]


def _list(options: argparse.Namespace, contents: Contents) -> int:
    print(f"{'segment':<12} {'octets':>6} {'records':>7}  numbers")
    for segment in contents.segments:
        records = segment.records
        numbers = f"{records[0].number}-{records[-1].number}" if records else "-"
        print(f"{segment.name:<12} {segment.octets:>6} {len(records):>7}  {numbers}")
    first = contents.cursor.first if contents.cursor else "none"
    print(f"cursor {first}, {len(contents.waiting)} waiting")
    return _tell(contents)


def _verify(options: argparse.Namespace, contents: Contents) -> int:
    _tell(contents)
    waiting = len(contents.waiting)
    print(f"{waiting} waiting, {len(contents.problems)} problems, {len(contents.gaps)} gaps")
    return _BROKEN if contents.problems else 0


def _tell(contents: Contents) -> int:
    return _complain([*contents.problems, *contents.gaps])


def _complain(lines: Iterable[str]) -> int:
    for line in lines:
        print(f"onebuf: {line}", file=sys.stderr)
    return 0


def _export(options: argparse.Namespace, contents: Contents) -> int:
    for record in contents.records if options.all else contents.waiting:
        print(json.dumps(_as_json(record)))
    return _tell(contents)


def _as_json(record: Record) -> dict[str, int | str]:
    return {"sequence": record.number, **_payload(record.payload)}


def _payload(octets: bytes) -> dict[str, str]:
    try:
        return {"payload": octets.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(octets).decode()}


def _repair(options: argparse.Namespace, contents: Contents) -> int:
    target: Path = options.target
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise SystemExit(f"onebuf: {target}: not empty, and nothing is overwritten")
    files = flash_queue_format.write(contents.waiting, contents.cursor)
    files = flash_queue_format.write(contents.waiting, contents.cursor)
    for name, octets in files.items():
        (target / name).write_bytes(octets)
    _tell(contents)
    print(f"{len(contents.waiting)} records in {target}")
    return 0


def _list_letters(letters: Letters) -> int:
    print(f"{'reason':>6} {'octets':>6}  meaning")
    meaning = _meaning()
    for letter in letters.letters:
        reason = letter.reason
        print(f"{reason:>6} {len(letter.payload):>6}  {meaning(reason)}")
    return _complain(letters.problems)


def _verify_letters(letters: Letters) -> int:
    _complain(letters.problems)
    print(f"{len(letters.letters)} letters, {len(letters.problems)} problems")
    return _BROKEN if letters.problems else 0


def _export_letters(letters: Letters) -> int:
    meaning = _meaning()
    for letter in letters.letters:
        reason = {"reason": letter.reason, "meaning": meaning(letter.reason)}
        print(json.dumps({**reason, **_payload(letter.payload)}))
    return _complain(letters.problems)


def _meaning() -> Callable[[int], str]:
    """What a reason means, in the device's own words."""
    strerror: Callable[[int], str] = Device(FIRMWARE).load("onebuf.errno").strerror
    return strerror
