"""Find what a destroyed or half-made stack left in the account, and print the commands that remove it: read-only."""

import os
import signal
import sys

if __name__ == "__main__":
    # There is nothing to clean up, and a traceback from an import would not help.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from preflight.__main__ import Tool, main

from .searches import SEARCHES

TOOL = Tool("make leftovers", __doc__, SEARCHES)

if __name__ == "__main__":
    code = main(tool=TOOL)
    sys.stdout.flush()
    # Threads that still wait for a response must not delay the exit.
    os._exit(code)
