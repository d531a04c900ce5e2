"""S3 servers for tests: moto, and versitygw where it is installed, which checks signatures and stores real files."""

import contextlib
import dataclasses
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from local import s3 as local_s3
from proxy_app.artifacts.root import ArtifactRoot
from proxy_app.credentials import Loaded
from proxy_app.sigv4 import Credentials
from tests.doubles.running_proxy import ARN

REGION = ARN.split(":")[3]
NEEDS_VERSITYGW = "needs versitygw on PATH: go install github.com/versity/versitygw/cmd/versitygw@latest"


def credentials() -> Loaded:
    """The source of credentials that both servers accept."""
    return Loaded(Credentials(local_s3.ACCESS_KEY, local_s3.SECRET_KEY), None)


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectStore:
    """A bucket of a running S3 server, with a boto3 client; `root` is a prefix of its own for each test."""

    url: str
    client: Any
    root: ArtifactRoot

    @classmethod
    def at(cls, url: str, region: str = REGION) -> "ObjectStore":
        import boto3
        from botocore.config import Config

        untyped: Any = boto3
        client = untyped.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=local_s3.ACCESS_KEY,
            aws_secret_access_key=local_s3.SECRET_KEY,
            region_name=region,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        return cls(url, client, ArtifactRoot(local_s3.BUCKET, f"team/{uuid.uuid4().hex}"))

    def key(self, path: str) -> str:
        return f"{self.root.prefix}/{path}"

    def read(self, path: str) -> bytes:
        return self.client.get_object(Bucket=self.root.bucket, Key=self.key(path))["Body"].read()

    def write(self, path: str, content: bytes, **options: Any) -> None:
        self.client.put_object(Bucket=self.root.bucket, Key=self.key(path), Body=content, **options)

    def paths(self) -> list[str]:
        """The paths of all objects below the root."""
        prefix = self.root.prefix + "/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.root.bucket, Prefix=prefix)
        return [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())]

    def unfinished_uploads(self) -> list[str]:
        """The keys of multipart uploads that were neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=self.root.bucket, Prefix=self.root.prefix)
        return [upload["Key"] for upload in found.get("Uploads", ())]


@contextlib.contextmanager
def versitygw(folder: Path) -> Generator[str]:
    """Run versitygw with its objects in `folder`; yields its URL. Skips the test if it is not installed."""
    if shutil.which("versitygw") is None:
        pytest.skip(NEEDS_VERSITYGW)
    (folder / local_s3.BUCKET).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["versitygw", "--quiet", "--keep-alive", "--port", f"127.0.0.1:{port}", "--region", REGION]
    command += ["--access", local_s3.ACCESS_KEY, "--secret", local_s3.SECRET_KEY, "posix", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(500):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
