"""Runs a command that must not outlive who started it: `python guard.py COMMAND...`, stdin being a pipe.

When the pipe's other end closes, however its owner died, the whole process group is killed. This works wherever
there are pipes, and also for the command's own children; PR_SET_PDEATHSIG is Linux's alone and stops at a fork.
Used as a script with -S -I, so that it starts in a few milliseconds; it imports nothing of ours.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    # The group gets the signals that end the command; the guard reports how it ended.
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_watch, daemon=True).start()
    code = child.wait()
    os.killpg(0, signal.SIGTERM)  # whatever the command left behind
    return code if code >= 0 else 128 - code


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


sys.exit(main())
