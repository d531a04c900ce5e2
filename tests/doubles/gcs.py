"""A fake Cloud Storage: the emulator `gcp-storage-emulator`, for tests that use Google's client library."""

import contextlib
import logging
import socket
from collections.abc import Generator
from typing import Any

import gcp_storage_emulator.server as emulator

BUCKET = "team-artifacts"


@contextlib.contextmanager
def running() -> Generator[dict[str, str]]:
    """Run the emulator with the bucket BUCKET; yields the environment variables that a client process needs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The emulator logs every request.
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    untyped: Any = emulator
    server: Any = untyped.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
    finally:
        server.stop()
