"""`python -m local --port 8080`: what `make up` runs."""

import os
import signal
import sys

# Before anything that takes time: there is nothing yet that would have to be ended.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, lambda *_: os._exit(0))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


def _port(text: str) -> int:
    import argparse

    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text} is no port: a number from 0 to 65535")
    return int(text)


def main() -> int:
    import argparse
    from pathlib import Path

    from local.processes import ROOT

    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="MLflow behind the proxy on this machine, with a fake SageMaker and a local S3. Ctrl-C ends it.",
    )
    parser.add_argument(
        "--port", type=_port, default=8080, help="the proxy's, on 127.0.0.1 (default: 8080; 0: any free)"
    )
    parser.add_argument("--home", type=Path, default=ROOT / ".local", help="where everything is kept")
    parser.add_argument("--app", action="store_true", help="act as a serverless app, not a tracking server")
    arguments = parser.parse_args()

    from local.lock import free_port
    from local.up import Options, run

    return run(Options(port=arguments.port or free_port(), home=arguments.home.absolute(), app=arguments.app))


if __name__ == "__main__":
    sys.exit(main())
