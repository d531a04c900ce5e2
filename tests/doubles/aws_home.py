"""A process in which AWS's credential chain finds nothing, and a server that stands in for AWS's services."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer


def empty_aws_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file of AWS's is left, no instance metadata is asked, and no proxy is in the way."""
    for name in [*os.environ]:
        if name.startswith(("AWS_", "BOTO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # botocore took the home that was there when it was imported.
    cache = str(home / ".aws" / "sso" / "cache")
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", cache)
    monkeypatch.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", cache)
    (home / ".aws").mkdir()


@contextlib.contextmanager
def moto_server() -> Generator[str]:
    """moto's server in this process, on a free port of 127.0.0.1: its origin."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
