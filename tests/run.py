"""Run the device tests without pytest: micropython tests/run.py [-v] [--heap] [NAME]...

Runs every function `test_*` of tests/device/test_*.py (with --heap: tests/heap/) in the order of
the file, with the package in ../firmware or in --firmware=FOLDER; a NAME keeps the tests whose
"test_file.test_function" contains it. The last line is
`N passed, N failed`; the exit status is 0 only if tests ran and none failed.
"""

import gc
import os
import sys

import micropython

HERE = __file__[: __file__.rfind("/")] if "/" in __file__ else "."


def functions(path):
    """Return the names of the tests in a file, in its order: MicroPython's modules keep none."""
    names = []
    with open(path) as lines:
        for line in lines:
            if line.startswith("def test_"):
                name = line[4 : line.find("(")]
                if name in names:
                    raise ValueError("two tests are called " + name)
                names.append(name)
    return names


def unlock_heap():
    """Undo the heap locks that a failed test left behind."""
    micropython.heap_lock()
    while micropython.heap_unlock():
        pass


def report(label, error):
    unlock_heap()
    print("FAIL", label)
    sys.print_exception(error)


def passes(label, function, verbose):
    """Run one test; return whether it passed. SystemExit is a failure too."""
    gc.collect()
    try:
        function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        report(label, error)
        return False
    if verbose:
        print("ok", label)
    return True


def run_file(folder, name, wanted, verbose):
    """Run the tests of one file; return [passed, failed]."""
    counts = [0, 0]
    try:
        labels = [(f, name + "." + f) for f in functions(folder + "/" + name + ".py")]
        labels = [(f, label) for f, label in labels if not wanted or matches(label, wanted)]
        module = __import__(name) if labels else None
        for function, label in labels:
            counts[0 if passes(label, getattr(module, function), verbose) else 1] += 1
    except Exception as error:
        report(name, error)
        counts[1] += 1
    sys.modules.pop(name, None)
    gc.collect()
    return counts


def matches(label, wanted):
    return any(part in label for part in wanted)


def main(arguments):
    options = [a for a in arguments if a.startswith("-")]
    wanted = [a for a in arguments if not a.startswith("-")]
    for option in options:
        if option not in ("-v", "--heap") and not option.startswith("--firmware="):
            print(__doc__ or "see the head of tests/run.py")
            return 2
    folder = HERE + ("/heap" if "--heap" in options else "/device")
    firmware = [option[11:] for option in options if option.startswith("--firmware=")]
    sys.path[:0] = [folder, HERE + "/device"] + (firmware or [HERE + "/../firmware"])
    passed = failed = 0
    for file in sorted(os.listdir(folder)):
        if file.startswith("test_") and file.endswith(".py"):
            good, bad = run_file(folder, file[:-3], wanted, "-v" in options)
            passed += good
            failed += bad
            if good or bad:
                print(f"{file}: {good} passed, {bad} failed")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
