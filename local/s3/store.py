"""moto's S3 objects on disk, so that they outlive it.

moto has a recorder, and it does not do here: it keeps every request there ever was, so the file and the time to
replay it only grow; a replayed multipart upload gets a new id and fails; and chunked bodies are recorded empty.
So after each write moto's objects are compared with those on disk (by identity: no bytes are read), and the
difference is written before the answer goes out: what was acknowledged survives a kill -9. It does not promise
to survive a power cut. At the start the files are put straight into moto, without requests.

Kept are buckets and the newest version of each object with its metadata, ETag and date; not kept are tags,
access lists, bucket settings and unfinished multipart uploads, of which MLflow uses none.

One file an object, <bucket>/<sha256 of the key>: a line of JSON, then the bytes.
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
    """The objects of moto in this process, and their files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._s3 = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._saved: dict[tuple[str, str], FakeKey] = {}

    def ensure_bucket(self, name: str) -> None:
        if name not in self._s3.buckets:
            self._s3.create_bucket(name, REGION)
        self.sync()

    def load(self) -> int:
        """Put what is on disk into moto; how many objects there were."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for bucket in sorted(path for path in self._directory.iterdir() if path.is_dir()):
            self._s3.create_bucket(bucket.name, REGION)
            for file in bucket.iterdir():
                if file.suffix == ".new":  # a write that was cut off, and so never acknowledged
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
        """Bring the disk to what moto has. Not for two threads at a time."""
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
