"""`python -m verify`."""

import sys

if __name__ == "__main__":
    try:
        # Loaded here, so that Ctrl-C shows no traceback while it loads.
        from verify.command import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
