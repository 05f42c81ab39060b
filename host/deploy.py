"""Copy to a board what has changed, so that a pulled cable leaves the old version or the new one.

What has changed is written to the folder /onebuf_deploy and verified there by its SHA-256; the old
version is untouched so far. Beside it lies a program that puts each file in its place. Its
renaming to /onebuf_deploy.py decides for the new version: LittleFS renames at once or not at all.
Who then finds /onebuf_deploy.py runs it, as often as need be until it has deleted itself: the
deployment, after a power cut the first line of boot.py, or the next deployment.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from host import repl

OWNED = ("/lib/onebuf",)
BOOT = "/boot.py"
# The first line of boot.py. It goes with any other boot.py, and defines nothing but os.
HOOK = (
    b'import os; "onebuf_deploy.py" in os.listdir("/")'
    b' and exec(open("/onebuf_deploy.py").read(), {})  # finishes a deployment that was cut\n'
)

_STAGE = "/onebuf_deploy"
_PENDING = "/onebuf_deploy.py"
_COMMIT = f"{_STAGE}/commit"
_BOOT_STAGE = f"{_STAGE}/boot"
_ROUNDS = 3  # times that what arrived damaged is sent again
_SPARE_BLOCKS = 4  # of the flash: renaming may take some
_TWINS = {".py": ".mpy", ".mpy": ".py"}  # MicroPython takes the first that it finds

_TOOLS = f"""\
import binascii, hashlib, os
buf = memoryview(bytearray(512))
def digest(path):
    h = hashlib.sha256()
    with open(path, 'rb') as file:
        n = file.readinto(buf)
        while n:
            h.update(buf[:n])
            n = file.readinto(buf)
    return binascii.hexlify(h.digest()).decode()
def there(call, path, other=()):
    try:
        return call(path)
    except OSError as e:
        if e.errno != 2:
            raise
        return other
def entries(path):
    return list(os.ilistdir(path))
def walk(folder):
    for entry in there(entries, folder):
        path = folder + '/' + entry[0]
        if entry[1] & 0x4000:
            print((path, ''))
            walk(path)
        else:
            print((path, digest(path)))
def look(path):
    found = there(digest, path, '')
    if found:
        print((path, found))
def own(path):
    found = there(os.stat, path)
    if found:
        (walk if found[0] & 0x4000 else look)(path)
def folder(path):
    if not there(os.stat, path):
        os.mkdir(path)
    if not os.stat(path)[0] & 0x4000:
        raise OSError(20)
def finish():
    # A renaming that was cut is settled by littlefs when it next changes something; until then a
    # listing of that folder lacks an entry too many.
    there(os.remove, '{_STAGE}.none')
    if there(os.stat, '{_PENDING}'):
        exec(open('{_PENDING}').read(), {{}})
def clear():
    if there(os.stat, '{_PENDING}'):
        return
    for entry in there(entries, '{_STAGE}'):
        os.remove('{_STAGE}/' + entry[0])
    there(os.rmdir, '{_STAGE}')
"""
# What it does not find it has done before; so it does not matter how often, or how far, it ran.
# It lists no folder: see finish().
_FINISH = f"""\
import os
for call, arguments in ((os.rename, %r), (os.remove, %r), (os.rmdir, %r)):
    for each in arguments:
        try:
            call(*each)
        except OSError as e:
            if e.errno != 2:
                raise
os.remove('{_PENDING}')
os.rmdir('{_STAGE}')
"""


@dataclass(frozen=True)
class Report:
    """What a deployment did; paths on the board."""

    copied: tuple[str, ...]
    octets: int
    unchanged: int
    removed: tuple[str, ...]
    clock_set: bool = False

    def __str__(self) -> str:
        copied = f"{len(self.copied)} files copied, {self.octets:,} octets"
        return f"{copied}; {self.unchanged} unchanged, {len(self.removed)} removed"


@dataclass(frozen=True)
class _Plan:
    changed: Mapping[str, bytes]
    files: tuple[str, ...]  # to be removed
    folders: tuple[str, ...]  # likewise, the lower ones first

    @property
    def empty(self) -> bool:
        return not (self.changed or self.files or self.folders)


def deploy(
    port: str,
    files: Mapping[str, bytes],
    owned: Sequence[str] = OWNED,
    say: Callable[[str], None] = lambda line: None,
    baud: int = repl.BAUD,
) -> Report:
    """Make the board have files, set its clock and reset it; repl.Failed.

    files: content by absolute path. owned: folders in which all else is deleted, and files that
    are deleted unless they are among files; as is always the other of x.py and x.mpy. say: is
    given a line for each file that is copied.
    """
    with repl.opened(port, baud) as board:
        return install(board, files, owned, say)


def install(
    board: repl.Board,
    files: Mapping[str, bytes],
    owned: Sequence[str] = OWNED,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """As deploy(), for a board that is open; it is closed afterwards."""
    report = update(board, files, owned, say)
    report = replace(report, clock_set=board.set_clock())
    board.reset()
    return report


def update(
    board: repl.Board,
    files: Mapping[str, bytes],
    owned: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Make the board have files, as deploy(); its program stays stopped. repl.Failed."""
    if BOOT in files:
        files = {**files, BOOT: with_hook(files[BOOT])}
    try:
        board.run(f"{_TOOLS}finish()")
        plan = _plan(_survey(board, files, owned), files)
        if not plan.empty:
            _hook(board)
            _stage(board, plan, say)
            board.run("finish()")
        board.run("clear()")
    except OSError:
        board.run("f = w = None\nclear()")  # mpremote's open file
        raise repl.Failed(f"{board.port}: the flash of the board is full") from None
    octets = sum(map(len, plan.changed.values()))
    unchanged = len(files) - len(plan.changed)
    return Report(tuple(plan.changed), octets, unchanged, plan.files + plan.folders)


def with_hook(boot: bytes) -> bytes:
    """Return that boot.py so that it finishes a deployment, before all else that it does."""
    return boot if boot.startswith(HOOK) else HOOK + boot


def _survey(board: repl.Board, files: Iterable[str], owned: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of what the board has of files, their twins and in owned; "" for a folder."""
    single = {path for path in files if not path.startswith(tuple(f"{each}/" for each in owned))}
    single |= {str(PurePosixPath(path).with_suffix(twin)) for path, twin in _twins(single)}
    calls = [f"own({path!r})" for path in owned if path not in single]
    return dict(board.lines("\n".join(calls + [f"look({path!r})" for path in sorted(single)])))


def _twins(paths: Iterable[str]) -> list[tuple[str, str]]:
    found = [(path, _TWINS.get(PurePosixPath(path).suffix)) for path in paths]
    return [(path, twin) for path, twin in found if twin is not None]


def _plan(found: Mapping[str, str], files: Mapping[str, bytes]) -> _Plan:
    needed = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    gone = [path for path, digest in found.items() if digest and path not in files]
    empty = [path for path, digest in found.items() if not digest and path not in needed]
    changed = {path: data for path, data in files.items() if found.get(path) != _digest(data)}
    return _Plan(changed, tuple(gone), tuple(sorted(empty, reverse=True)))


def _hook(board: repl.Board) -> None:
    """See to it that boot.py finishes a deployment; the version stays what it is."""
    there = board.lines(f"print(bool(there(os.stat, {BOOT!r})))")[-1]
    boot = board.read(BOOT) if there else b""
    if not boot.startswith(HOOK):
        _write(board, {_BOOT_STAGE: with_hook(boot)})
        board.run(f"os.rename({_BOOT_STAGE!r}, {BOOT!r})")


def _stage(board: repl.Board, plan: _Plan, say: Callable[[str], None]) -> None:
    """Write what changes beside the old version, verify it, and decide for it.

    OSError: no room for it.
    """
    # The names differ, also for equal contents, and are the same when an unplugged one goes on.
    moves = {f"{_STAGE}/{_digest(p.encode() + d)[:16]}": p for p, d in plan.changed.items()}
    gone = tuple(tuple((path,) for path in paths) for paths in (plan.files, plan.folders))
    staged = {place: plan.changed[path] for place, path in moves.items()}
    staged[_COMMIT] = (_FINISH % (tuple(moves.items()), *gone)).encode()

    def tell(place: str) -> None:
        if place in moves:
            say(f"{moves[place]} {len(staged[place]):,}")

    _write(board, staged, tell)
    parents = {str(parent) for path in plan.changed for parent in PurePosixPath(path).parents}
    board.run("\n".join(f"folder({path!r})" for path in sorted(parents - {"/"})))
    if board.lines("print(os.statvfs('/')[3])")[-1] < _SPARE_BLOCKS:
        raise OSError(errno.ENOSPC)
    board.run(f"os.rename({_COMMIT!r}, {_PENDING!r})")


def _write(
    board: repl.Board,
    staged: Mapping[str, bytes],
    tell: Callable[[str], None] = lambda place: None,
) -> None:
    """Make the staging folder hold these files and no other, verified; OSError: no room."""
    board.run(f"folder({_STAGE!r})")
    for _ in range(_ROUNDS):
        found = dict(board.lines(f"walk({_STAGE!r})"))
        stale = [path for path in found if path not in staged]
        board.run("\n".join(f"os.remove({path!r})" for path in stale))
        missing = {path: data for path, data in staged.items() if found.get(path) != _digest(data)}
        if not missing:
            return
        for path, data in missing.items():
            board.write(path, data)
            tell(path)
    raise repl.Failed(f"{board.port}: what is written does not read back the same; a bad line?")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
