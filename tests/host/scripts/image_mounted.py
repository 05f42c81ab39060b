"""What real MicroPython finds in images: mounts one, or makes one. Started by host/powercut.py."""

import gc
import hashlib
import json
import os
import sys

import vfs
from powercut_flash import Flash

MOUNTED = "/board"


def mounted(name):
    """The flash with the image in that file, mounted as the ESP32 port does."""
    with open(name, "rb") as file:
        flash = Flash(bytearray(file.read()))
    vfs.mount(vfs.VfsLfs2(flash), MOUNTED)
    return flash


def files(name):
    """Print name, size and SHA-256 of every file."""
    mounted(name)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in os.ilistdir(MOUNTED + folder):
            path = folder + "/" + entry[0]
            if entry[1] == 0x4000:
                waiting.append(path)
                continue
            with open(MOUNTED + path, "rb") as file:
                octets = file.read()
            digest = hashlib.sha256(octets).digest().hex()
            print(json.dumps([path[1:], len(octets), digest]))


def imported(name, *modules):
    """Import modules from the image, and print where each of the package comes from."""
    mounted(name)
    sys.path[:] = [MOUNTED, MOUNTED + "/lib", ".frozen"]
    for module in modules:
        __import__(module)
    for module in modules:
        print(json.dumps([module, sys.modules[module].__file__]))


def written(name, target):
    """Add a file on the board, and keep the image: what it was given is not in the way."""
    flash = mounted(name)
    with open(MOUNTED + "/log.txt", "w") as file:
        file.write("here" * 2000)
    os.rename(MOUNTED + "/main.py", MOUNTED + "/old.py")
    vfs.umount(MOUNTED)
    with open(target, "wb") as file:
        file.write(flash.image)


def formatted(size, target):
    """Write what a new file system of this size is to target."""
    flash = Flash(bytearray(b"\xff" * size))
    vfs.VfsLfs2.mkfs(flash)
    with open(target, "wb") as file:
        file.write(flash.image)


if __name__ == "__main__":
    gc.threshold(-1)
    action, *arguments = json.loads(sys.argv[1])
    {"files": files, "imported": imported, "written": written, "formatted": formatted}[action](
        *arguments
    )
