"""Runs a command that ends with its parent process: `python watchdog.py COMMAND...`, with a pipe as stdin.

When the other end of the pipe closes, however the parent ended, the watchdog kills its process group. This works on
every POSIX system and includes the command's own children; PR_SET_PDEATHSIG is Linux-only and cleared by fork.
It runs as a script with -S -I, to start in a few milliseconds; it imports no module of this project.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the command; returns its exit code, or 128 plus the number of the signal that ended it."""
    # Signals go to the whole group and end the command; the watchdog reports its exit code.
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_kill_group_when_stdin_closes, daemon=True).start()
    code = child.wait()
    os.killpg(0, signal.SIGTERM)  # processes that the command left running
    return code if code >= 0 else 128 - code


def _kill_group_when_stdin_closes() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


sys.exit(main())
