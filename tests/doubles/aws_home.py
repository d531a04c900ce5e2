"""A test process without AWS credentials, and moto's server for AWS's APIs."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer


def empty_aws_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove AWS's and proxy variables, use an empty home folder, and disable the instance metadata service."""
    for name in [*os.environ]:
        if name.startswith(("AWS_", "BOTO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # botocore reads the home folder on import.
    cache = str(home / ".aws" / "sso" / "cache")
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", cache)
    monkeypatch.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", cache)
    (home / ".aws").mkdir()


@contextlib.contextmanager
def moto_server() -> Generator[str]:
    """Run moto's server on a free loopback port; yields its origin."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
