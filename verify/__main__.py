"""`python -m verify`."""

import sys

if __name__ == "__main__":
    try:
        # Imported here, so that Ctrl-C during the import shows no traceback.
        from verify.command import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
