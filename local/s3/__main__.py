"""`python -m local.s3 --data DIR [--port N]`: S3 on loopback until SIGTERM."""

import argparse
import signal
import sys
from pathlib import Path

from local.announce import announce
from local.s3 import BUCKET
from local.s3.server import make
from local.s3.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.s3")
    parser.add_argument("--data", type=Path, required=True, help="where the objects are kept")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    store = Store(arguments.data)
    print(f"{store.load()} objects in {arguments.data}", flush=True)
    store.ensure_bucket(BUCKET)
    server = make(store, arguments.port)
    announce(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def _stop(*_: object) -> None:
    sys.exit(0)


main()
