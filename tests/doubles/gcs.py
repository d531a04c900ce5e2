"""Cloud Storage, played by the emulator `gcp-storage-emulator`, which Google's own client is tested with here."""

import contextlib
import logging
import socket
from collections.abc import Generator
from typing import Any

import gcp_storage_emulator.server as emulator

BUCKET = "team-artifacts"


@contextlib.contextmanager
def running() -> Generator[dict[str, str]]:
    """With the bucket BUCKET; what a process needs in its environment to use it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # It tells of every request.
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    untyped: Any = emulator
    server: Any = untyped.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
    finally:
        server.stop()
