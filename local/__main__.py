"""`python -m local --port 8080`: what `make up` runs."""

import os
import signal
import sys

# Before the slow imports: no child process exists yet, so a signal can end this process at once.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, lambda *_: os._exit(0))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


def _port(text: str) -> int:
    import argparse

    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"got {text}, expected a port number from 0 to 65535")
    return int(text)


def main() -> int:
    """Parse the command line and run until a signal; returns the exit code."""
    import argparse
    from pathlib import Path

    from local.processes import ROOT

    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Run MLflow behind the proxy on this machine, with a fake SageMaker and a local S3. "
        "Runs in the foreground; Ctrl-C stops it.",
    )
    parser.add_argument(
        "--port", type=_port, default=8080, help="port of the proxy on 127.0.0.1 (default: 8080; 0: any free port)"
    )
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".local", help="folder for data and logs (default: .local in the project)"
    )
    parser.add_argument(
        "--app", action="store_true", help="fake a serverless MLflow app instead of an MLflow tracking server"
    )
    arguments = parser.parse_args()

    from local.ports import free_port
    from local.up import Options, run

    return run(Options(port=arguments.port or free_port(), home=arguments.home.absolute(), app=arguments.app))


if __name__ == "__main__":
    sys.exit(main())
