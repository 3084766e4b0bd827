"""Runs a program on a terminal of its own and plays a person: reads what comes, types, changes the window, hangs up.

Usage: python3 -c SOURCE STEPS WORD...   with STEPS as JSON: [["expect", "regex"], ["send", "text"], ...]
Prints JSON: how the program ended (negative: by that signal), what stood on the terminal, and what the steps noted.
"""

import fcntl
import json
import os
import re
import select
import signal
import struct
import sys
import termios
import time

# Only a failure takes as long: a busy machine is slow, or stands still for a while.
LIMIT_SECONDS = 60

steps = json.loads(sys.argv[1])
master, slave = os.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.close(slave)
    os.execv(sys.argv[2], sys.argv[2:])

shown = ""
unread = ""
notes = []
ended = None


def take(seconds):
    """Whatever comes within so long. The slave stays open here, so its end is never an error."""
    global shown, unread
    ready, _, _ = select.select([master], [], [], seconds)
    if not ready:
        return False
    text = os.read(master, 65536).decode("latin-1")
    shown += text
    unread += text
    return True


def fail(why):
    print(json.dumps({"end": why, "shown": shown, "notes": notes}))
    os.kill(child, signal.SIGKILL)
    sys.exit(1)


def wait():
    global ended
    deadline = time.monotonic() + LIMIT_SECONDS
    while ended is None:
        if master is not None:
            take(0.01)
        else:
            time.sleep(0.01)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > deadline:
            fail("never ended")


for op, argument in steps:
    if op == "expect":
        deadline = time.monotonic() + LIMIT_SECONDS
        while (found := re.search(argument, unread)) is None:
            if time.monotonic() > deadline:
                fail("never came: " + argument)
            take(0.05)
        unread = unread[found.end():]
    elif op == "send":
        os.write(master, argument.encode("latin-1"))
    elif op == "pause":
        time.sleep(argument)
    elif op == "size":
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *argument, 0, 0))
    elif op == "modes":
        notes.append("as before" if termios.tcgetattr(slave) == before else "changed")
    elif op == "flags":
        flags = fcntl.fcntl(slave, fcntl.F_GETFL)
        notes.append("waits" if flags & os.O_NONBLOCK == 0 else "does not wait")
    elif op == "rights":
        notes.append(oct(os.fstat(slave).st_mode & 0o777))
    elif op == "signal":
        os.kill(child, argument)
    elif op == "hang up":
        os.close(slave)
        os.close(master)
        master = None
    elif op == "wait":
        wait()
wait()
while master is not None and take(0):
    pass
print(json.dumps({"end": ended, "shown": shown, "notes": notes}))
