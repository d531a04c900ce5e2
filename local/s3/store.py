"""Persists moto's S3 objects on disk.

moto's own recorder is not suitable: it keeps all requests, so that its file and the replay time only grow; replayed
multipart uploads get a new id and fail; chunked bodies are recorded empty. Instead, after each write, moto's objects
are compared with those on disk (by identity, without reading them), and the difference is written before the response
is sent: acknowledged writes survive kill -9, but not necessarily a power failure. At startup the files are loaded
into moto directly.

Persisted: buckets, and the latest version of each object with metadata, ETag and modification time. Not persisted, and
not used by MLflow: tags, ACLs, bucket settings, unfinished multipart uploads.

Format: one file per object, <bucket>/<sha256 of the key>: a line of JSON, then the object's bytes.
"""

import datetime
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeKey, s3_backends

from local.s3 import REGION


class Store:
    """moto's objects in this process, and their files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._s3 = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._saved: dict[tuple[str, str], FakeKey] = {}

    def ensure_bucket(self, name: str) -> None:
        """Create the bucket unless it exists."""
        if name not in self._s3.buckets:
            self._s3.create_bucket(name, REGION)
        self.sync()

    def load(self) -> int:
        """Load the objects on disk into moto; returns their number."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for bucket in sorted(path for path in self._directory.iterdir() if path.is_dir()):
            self._s3.create_bucket(bucket.name, REGION)
            for file in bucket.iterdir():
                if file.suffix == ".new":  # an interrupted write, which was not acknowledged
                    file.unlink()
                else:
                    self._load(bucket.name, file)
        return len(self._saved)

    def _load(self, bucket: str, file: Path) -> None:
        with file.open("rb") as stream:
            header: dict[str, Any] = json.loads(stream.readline())
            body = stream.read()
        key = self._s3.put_object(
            bucket,
            header["key"],
            body,
            storage=header["storage"],
            etag=header["etag"],
            disable_notification=True,
        )
        key.set_metadata(header["metadata"], replace=True)
        key.last_modified = datetime.datetime.fromisoformat(header["modified"])
        self._saved[bucket, header["key"]] = key

    def sync(self) -> None:
        """Write moto's changes to disk. Not thread-safe."""
        present: dict[tuple[str, str], FakeKey] = {}
        for bucket in self._s3.buckets.values():
            keys = cast("Mapping[str, object]", bucket.keys)
            present.update({(bucket.name, name): key for name, key in keys.items() if isinstance(key, FakeKey)})
            (self._directory / bucket.name).mkdir(parents=True, exist_ok=True)
        for at, key in present.items():
            if self._saved.get(at) is not key:
                self._write(at, key)
        for at in self._saved.keys() - present.keys():
            self._file(at).unlink(missing_ok=True)
        for path in self._directory.iterdir():
            if path.name not in self._s3.buckets:
                path.rmdir()
        self._saved = present

    def _write(self, at: tuple[str, str], key: FakeKey) -> None:
        header = {
            "key": key.name,
            "etag": key.etag.strip('"'),
            "modified": key.last_modified.isoformat(),
            "storage": key.storage_class,
            "metadata": dict(key.metadata),
        }
        file = self._file(at)
        new = file.with_suffix(".new")
        with new.open("wb") as stream:
            stream.write(json.dumps(header).encode() + b"\n")
            stream.write(key.value)
        new.replace(file)

    def _file(self, at: tuple[str, str]) -> Path:
        bucket, name = at
        return self._directory / bucket / hashlib.sha256(name.encode()).hexdigest()
