"""`python -m local.s3 --data DIR [--port N]`: serve S3 on 127.0.0.1 until SIGTERM."""

import argparse
import signal
import sys
from pathlib import Path

from local.s3 import BUCKET
from local.s3.server import create_server
from local.s3.store import Store
from local.startup_message import print_startup_message


def main() -> None:
    """Load the objects, report the URL, and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.s3")
    parser.add_argument("--data", type=Path, required=True, help="folder of the objects")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    store = Store(arguments.data)
    print(f"{store.load()} objects in {arguments.data}", flush=True)
    store.ensure_bucket(BUCKET)
    server = create_server(store, arguments.port)
    print_startup_message(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def _stop(*_: object) -> None:
    sys.exit(0)


main()
