"""The local S3 persists acknowledged writes, and rejects requests from web pages."""

import http.client
import io
import os
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local import s3, services
from local.processes import Child
from tests.doubles.fixtures import Server, s3_client

BUCKET = s3.BUCKET


class RunningS3:
    """S3 as a child process that tests kill and restart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.child: Child = self._start()

    def _start(self) -> Child:
        self.child = services.start_s3(self._directory, self._directory / "data", self._directory / "log")
        self.url = self.child.wait_for_url(60)
        self.client = s3_client(s3.client_environ(self.url))
        return self.child

    def kill_and_restart(self) -> None:
        self.child.kill()
        self.child.stop(5)
        self._start()

    def names(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.fixture
def storage(tmp_path: Path) -> Generator[RunningS3]:
    running = RunningS3(tmp_path)
    yield running
    running.child.stop(5)


def test_acknowledged_writes_survive_kill_9(storage: RunningS3) -> None:
    client = storage.client
    odd = "a b/ü+%2F/it's " + "long" * 100
    client.put_object(Bucket=BUCKET, Key=odd, Body=b"one", ContentType="text/x-odd", Metadata={"who": "me"})
    client.put_object(Bucket=BUCKET, Key="packed", Body=b"two", ContentEncoding="gzip")
    client.put_object(Bucket=BUCKET, Key="empty")
    client.put_object(Bucket=BUCKET, Key="replaced", Body=b"old")
    client.put_object(Bucket=BUCKET, Key="replaced", Body=b"new")
    client.copy_object(Bucket=BUCKET, Key="copied", CopySource={"Bucket": BUCKET, "Key": "replaced"})
    client.put_object(Bucket=BUCKET, Key="deleted", Body=b"gone")
    client.put_object(Bucket=BUCKET, Key="deleted too", Body=b"gone")
    client.delete_object(Bucket=BUCKET, Key="deleted")
    client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "deleted too"}]})
    client.create_bucket(Bucket="another")
    large = os.urandom(9 * 1024 * 1024)  # over boto3's threshold: a multipart upload
    client.upload_fileobj(io.BytesIO(large), BUCKET, "large")
    before = {key: client.head_object(Bucket=BUCKET, Key=key) for key in storage.names()}

    storage.kill_and_restart()

    client = storage.client
    assert set(storage.names()) == set(before) == {odd, "packed", "empty", "replaced", "copied", "large"}
    for key, head in before.items():
        now = client.head_object(Bucket=BUCKET, Key=key)
        for field in ("ETag", "LastModified", "ContentType", "ContentLength", "Metadata"):
            assert now[field] == head[field], (key, field)
    assert client.get_object(Bucket=BUCKET, Key=odd)["Body"].read() == b"one"
    assert client.get_object(Bucket=BUCKET, Key="packed")["ContentEncoding"] == "gzip"
    assert client.get_object(Bucket=BUCKET, Key="replaced")["Body"].read() == b"new"
    assert client.get_object(Bucket=BUCKET, Key="copied")["Body"].read() == b"new"
    assert client.get_object(Bucket=BUCKET, Key="large")["Body"].read() == large
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} == {BUCKET, "another"}


def test_deleted_bucket_stays_deleted(storage: RunningS3) -> None:
    storage.client.create_bucket(Bucket="another")
    storage.client.put_object(Bucket="another", Key="a", Body=b"a")
    storage.client.delete_object(Bucket="another", Key="a")
    storage.client.delete_bucket(Bucket="another")
    storage.kill_and_restart()
    with pytest.raises(ClientError, match="NoSuchBucket"):
        storage.client.list_objects_v2(Bucket="another")


def test_interrupted_write_to_disk_is_discarded(storage: RunningS3, tmp_path: Path) -> None:
    (tmp_path / "data" / BUCKET / "cut.new").write_bytes(b'{"key": "cut"')
    storage.kill_and_restart()
    assert storage.names() == []
    assert list((tmp_path / "data" / BUCKET).iterdir()) == []


def test_truncated_body_returns_400_and_is_not_stored(storage: RunningS3) -> None:
    parts = urlsplit(storage.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("PUT", f"/{BUCKET}/half")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"only this")
    connection.sock.shutdown(1)
    assert connection.getresponse().status == 400
    connection.close()
    assert storage.names() == []


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("PUT", f"/{BUCKET}/a", {"Origin": "https://example.com"}),
        ("PUT", "/a", {"Host": f"{BUCKET}.localhost:1"}),
        ("PUT", f"/{BUCKET}/a", {"Host": "rebound.example.com:80"}),
        ("POST", "/moto-api/reset", {}),
    ],
)
def test_web_pages_and_moto_api_get_403(s3: Server, method: str, path: str, headers: dict[str, str]) -> None:
    parts = urlsplit(s3.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.request(method, path, body=b"x", headers=headers)
    assert connection.getresponse().status == 403
    connection.close()
