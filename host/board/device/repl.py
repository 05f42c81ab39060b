# mypy: ignore-errors
# ruff: noqa: SIM105, SIM115
"""The board's Python side: boot.py and main.py from its flash, and the REPL.

It runs on MicroPython's unix port, which has neither raw REPL nor soft reset; here they are as
shared/runtime/pyexec.c and ports/esp32/main.c have them. What only the host can do is asked for
on the descriptor `control`, a line each: `x`: code runs, and Ctrl-C is a signal from now on;
`r N`: it ended, which the host acknowledges with the octet N on the descriptor `heard`; `repl`:
Ctrl-C is an octet while no code runs; `raw`: it is one, and what is printed is not for a
terminal; `cooked`: it is again; `rtc S`: the clock is S seconds ahead of the host's; `reset`,
`soft raw`, `soft friendly`.
"""

import gc
import io
import json
import os
import sys
import time

from micropython import const

_RAW = b"raw REPL; CTRL-B to exit\r\n"
_WINDOW = const(2048)  # octets of raw paste mode before it wants an acknowledgement
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_A, _B, _C, _D, _E = 1, 2, 3, 4, 5  # with Ctrl

settings = json.loads(os.getenv("ONEBUF_BOARD"))
_control = open(settings["control"], "wb")
_heard = open(settings["heard"], "rb")
_stdin = sys.stdin.buffer
_out = sys.stdout.buffer.write
_main = {"__name__": "__main__"}  # what boot.py, main.py and the REPL share
_said = []  # the exception that ended the code
_ends = [0]  # of code so far, modulo 256


def tell(text):
    """Tell the host."""
    _control.write(text + "\n")


def leave(text):
    """Have the host end this process, as a reset does: without a word to what runs in it."""
    tell(text)
    for _ in range(10):
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            pass
    sys.exit()  # the host is gone


def run(source, name, mode):
    """Run the user's code; an exception is kept for show(). True: it asked for a soft reset."""
    reset = False
    _ends[0] = (_ends[0] + 1) & 255
    try:
        try:
            tell("x")
            exec(compile(source, name, mode), _main)
        except SystemExit:
            reset = True
        except BaseException as error:
            _said.append(error)
        ended()
    except KeyboardInterrupt:  # it came as the code ended
        ended()
    return reset


def ended():
    """Tell it, and wait until the host has heard: a signal before that costs the REPL nothing.

    It may cost the answer, so it is told again; what was heard twice has another end's number.
    """
    while True:
        try:
            tell(f"r {_ends[0]}")
            heard = _heard.read(1)
            while heard and heard[0] != _ends[0]:
                heard = _heard.read(1)
            time.sleep_ms(0)  # here a signal is raised that came with the answer
            return
        except KeyboardInterrupt:
            pass


def show():
    """Print the exception that ended the code, without the lines of this file."""
    while _said:
        text = io.StringIO()
        sys.print_exception(_said.pop(), text)
        lines = [line for line in text.getvalue().split("\n") if __file__ not in line]
        _out("\r\n".join(lines).encode())


def run_file(name):
    """Run a file if it is there. True: it asked for a soft reset."""
    try:
        with open(name) as file:
            source = file.read()
    except OSError:
        return False
    reset = run(source, name, "exec")
    show()
    return reset


def octet():
    """Wait for the next one from the line."""
    got = _stdin.read(1)
    if not got:
        sys.exit()  # the host is gone
    return got[0]


def raw_repl():
    """Run what is sent, each piece ended by Ctrl-D. False after Ctrl-B, True for a soft reset."""
    _out(_RAW + b">")
    while True:
        source, c = raw_source()
        if c == _B:
            _out(b"\r\n")
            return False
        if c == _A:
            _out(_RAW)
        elif answer(source):
            return True
        _out(b">")


def raw_source():
    """What is sent until an octet ends it, and that: Ctrl-A, Ctrl-B, or Ctrl-D for its being run.

    Nothing before Ctrl-D is a soft reset; Ctrl-E A Ctrl-A announces raw paste mode.
    """
    source = bytearray()
    while True:
        c = octet()
        if c == _A and source == b"\x05A":
            return paste(), _D
        if c == _D:
            _out(b"OK" if source else b"OK\r\n")
            return source or None, c
        if c in (_A, _B):
            return source, c
        if c == _C:
            source = bytearray()
        else:
            source.append(c)


def answer(source):
    """Run source, and mark where its output and its exception end. True: soft reset."""
    if source is None:
        return True
    reset = run(bytes(source), "<stdin>", "exec")
    _out(b"\x04")
    show()
    _out(b"\x04")
    return reset


def paste():
    """The source in raw paste mode, which has flow control (MicroPython's reference, repl)."""
    _out(b"R\x01" + _WINDOW.to_bytes(2, "little") + b"\x01")
    source = bytearray()
    while True:
        c = octet()
        if c == _D:
            _out(b"\x04")
            return source
        source.append(c)
        if len(source) % _WINDOW == 0:
            _out(b"\x01")


def friendly_repl():
    """Read and run what a person types. False after Ctrl-A, True for a soft reset."""
    _out(settings["banner"].encode() + b'\r\nType "help()" for more information.\r\n')
    while True:
        source = statement()
        if source in (b"\x01", b"\x04"):
            return source == b"\x04"
        pasted = source == b"\x05"
        if pasted:
            source = paste_mode()
        if source.strip():
            reset = run(source, "<stdin>", "exec" if pasted else "single")
            show()
            if reset:
                return True


def statement():
    """What is typed as one statement, of as many lines as it has; or Ctrl-A, Ctrl-D, Ctrl-E."""
    source = line(b">>> ")
    if source.rstrip()[-1:] != b":":
        return source
    while True:
        more = line(b"... ")
        if not more.strip():
            return source + b"\n"
        source += b"\n" + more


def line(prompt):
    """A line without its end; or the octet that ended it, with Ctrl. Ctrl-C empties it."""
    _out(prompt)
    typed = bytearray()
    while True:
        c = octet()
        if c in (13, 10):
            _out(b"\r\n")
            return bytes(typed)
        if c in (_A, _D, _E) and not typed:
            _out(b"\r\n")
            return bytes([c])
        if c == _C:
            _out(b"\r\n" + prompt)
            typed = bytearray()
        elif c in (8, 127) and typed:
            _out(b"\b \b")
            typed = typed[:-1]
        elif c >= 32:
            _out(bytes([c]))
            typed.append(c)


def paste_mode():
    """What is pasted until Ctrl-D; nothing after Ctrl-C."""
    _out(b"paste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
    typed = bytearray()
    while True:
        c = octet()
        if c in (_C, _D):
            _out(b"\r\n")
            return bytes(typed) if c == _D else b""
        _out(b"\r\n=== " if c == 13 else bytes([c]))
        typed.append(10 if c == 13 else c)


def serve(raw):
    """Boot, and serve the raw or the friendly REPL until a soft reset."""
    reset = run_file("boot.py") or (not raw and run_file("main.py"))
    tell("repl")
    while not reset:
        reset = raw_repl() if raw else friendly_repl()
        if not reset:
            raw = not raw
    _out(b"MPY: soft reboot\r\n")
    leave("soft raw" if raw else "soft friendly")


def die_with_host():
    """Have Linux end this process when the thread that started it ends, however that is."""
    try:
        import ffi

        ffi.open("libc.so.6").func("i", "prctl", "ii")(_PR_SET_PDEATHSIG, _SIGKILL)
    except (ImportError, OSError):
        pass  # another system: it ends when it next reads


def main():
    """Become the board."""
    import standins
    import storage

    die_with_host()
    standins.install(settings, tell, leave)
    storage.mount(settings)
    del sys.modules["standins"], sys.modules["storage"]  # names that are the user's
    gc.collect()
    serve(settings["raw"])


main()
