"""A deployment in the power-cut laboratory: cut at every operation, booted, and looked at.

argv[1]: ["cuts", FILE] in JSON. The file has, in JSON, old, commands, new; old and new: base64 of
each file by its path; commands: what the host has the board run. It prints one object: how many
flash operations that takes, and how often which version is there after a cut and a start ("once"),
and after another cut within that start and one more ("twice"): "old", "new" or something else.
"""

import binascii
import gc
import json
import os
import sys

import vfs
from powercut_flash import ERASED, Flash, apply, half

BLOCK = 4096
BLOCKS = 40


def mounted(flash):
    """Make the file system of flash the root."""
    vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(flash), "/")
    os.chdir("/")


def parents(path):
    """The folders above a file, from the top."""
    return [path[:i] for i in range(1, len(path)) if path[i] == "/"]


def write(files):
    """Write files to what is mounted, which is empty."""
    made = set()
    for path, data in files.items():
        for folder in parents(path):
            if folder not in made:
                made.add(folder)
                os.mkdir(folder)
        with open(path, "wb") as file:
            file.write(data)


def read(folder=""):
    """All files of what is mounted."""
    found = {}
    for entry in os.ilistdir(folder or "/"):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            found.update(read(path))
        else:
            with open(path, "rb") as file:
                found[path] = file.read()
    return found


def boot():
    """What MicroPython does when it starts."""
    if "boot.py" in os.listdir("/"):
        with open("/boot.py") as file:
            exec(file.read(), {})


def version(old, new):
    """Which version the board has; what only a deployment leaves, and boot.py, is of neither."""
    found = read()
    for path in list(found):
        if path == "/boot.py" or path.startswith("/onebuf_deploy/"):
            del found[path]
    return "old" if found == old else "new" if found == new else repr(sorted(found))


def started(image, old, new, journal=None):
    """Which version a board with this image has when it has started."""
    mounted(Flash(image, BLOCK, journal=journal))
    boot()
    return version(old, new)


def after_each(image, journal):
    """What the power's going leaves: before each operation of the journal, and half-way in it."""
    image = bytearray(image)
    for at, data, _ in journal:
        yield bytearray(image)
        partly = bytearray(image)
        apply(partly, at, half(data))
        yield partly
        apply(image, at, data)
        gc.collect()


def count(tally, key):
    tally[key] = tally.get(key, 0) + 1


def cuts(old, commands, new):
    """Deploy once, then start from what each cut would have left; and cut that start, too."""
    image = bytearray(ERASED * (BLOCK * BLOCKS))
    vfs.VfsLfs2.mkfs(Flash(image, BLOCK))
    mounted(Flash(image, BLOCK))
    write(old)
    start = bytearray(image)
    journal = []
    mounted(Flash(image, BLOCK, journal=journal))
    scope = {"print": lambda *args: None}
    for command in commands:
        exec(command, scope)
    assert version(old, new) == "new"
    once, twice, order = {}, {}, ""
    for left in after_each(start, journal):
        finishing = []
        found = started(bytearray(left), old, new, finishing)
        count(once, found)
        order += found[0]
        for again in after_each(left, finishing):
            count(twice, (found, started(again, old, new)))
    twice = [list(versions) + [n] for versions, n in twice.items()]  # noqa: RUF005
    print(json.dumps({"operations": len(journal), "once": once, "twice": twice, "order": order}))


def decoded(files):
    return {path: binascii.a2b_base64(data) for path, data in files.items()}


def main():
    with open(json.loads(sys.argv[1])[1]) as file:
        old, commands, new = json.load(file)
    cuts(decoded(old), commands, decoded(new))


main()
