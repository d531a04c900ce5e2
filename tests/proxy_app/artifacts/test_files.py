"""Files through the proxy: upload, download, list and delete, on moto and on versitygw."""

import asyncio
import gzip
import io
import os
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from proxy_app.artifacts.uploads import MIB, PART

from .conftest import ARTIFACTS, ArtifactProxy

NAMES = [
    "model.pkl",
    "with space.txt",
    "plus+sign.bin",
    "100%.csv",
    "%41.txt",
    "ünïcode-日本語.json",
    ".hidden",
    "..two-dots",
    "a&b=c;d,e'f(g)!*~@$:.txt",
    'quote".txt',
    "tab-separated.tsv",
    "back\\slash.bin",
]


@pytest.mark.parametrize("name", NAMES)
async def test_file_with_any_name_is_stored_listed_downloaded_and_deleted(artifacts: ArtifactProxy, name: str) -> None:
    path = f"1/run/artifacts/{name}"
    # MLflow decodes until nothing changes: a client that encodes the percent sign of %41 twice means %41.
    encoded = quote(path)
    expected = path.replace("%41", "A")
    assert (await artifacts.put(encoded, b"content")).status == 200
    assert artifacts.store.paths() == [expected]
    listed = await artifacts.list("1/run/artifacts")
    assert listed.json == {"files": [{"path": expected.rpartition("/")[2], "is_dir": False, "file_size": 7}]}
    downloaded = await artifacts.get(quote(expected))
    assert (downloaded.status, downloaded.body) == (200, b"content")
    assert (await artifacts.send("DELETE", f"{ARTIFACTS}/{quote(expected)}")).status == 200
    assert artifacts.store.paths() == []


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 5])
@pytest.mark.parametrize("chunked", [False, True])
async def test_upload_of_any_size_is_stored_whole(artifacts: ArtifactProxy, size: int, chunked: bool) -> None:
    content = os.urandom(size)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, MIB):
            yield content[start : start + MIB]

    answer = await artifacts.put("1/file.bin", chunks() if chunked else io.BytesIO(content))
    assert (answer.status, answer.json) == (200, {})
    assert artifacts.store.read("1/file.bin") == content
    downloaded = await artifacts.get("1/file.bin")
    assert downloaded.body == content
    assert artifacts.store.unfinished_uploads() == []


@pytest.mark.parametrize("name", ["table.csv.gz", "archive.tar.gz", "x.gz"])
async def test_compressed_file_comes_back_as_it_went(artifacts: ArtifactProxy, name: str) -> None:
    content = gzip.compress(b"rows" * 1000)
    await artifacts.put(name, content)
    stored = artifacts.store.client.head_object(Bucket=artifacts.store.root.bucket, Key=artifacts.store.key(name))
    assert not stored.get("ContentEncoding")
    downloaded = await artifacts.get(name, headers={"Accept-Encoding": "gzip"})
    assert downloaded.body == content
    assert "Content-Encoding" not in downloaded.headers


async def test_file_that_a_client_stored_with_a_content_encoding_is_not_unpacked(artifacts: ArtifactProxy) -> None:
    content = gzip.compress(b"rows" * 1000)
    artifacts.store.write("x.csv.gz", content, ContentEncoding="gzip", ContentType="text/csv")
    downloaded = await artifacts.get("x.csv.gz", headers={"Accept-Encoding": "gzip"})
    assert downloaded.body == content
    assert "Content-Encoding" not in downloaded.headers


async def test_last_complete_upload_of_a_path_wins(artifacts: ArtifactProxy) -> None:
    contents = [bytes([number]) * (2 * PART + number) for number in range(4)]

    async def slow(content: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(content), 4 * MIB):
            yield content[start : start + 4 * MIB]
            await asyncio.sleep(0.05)

    answers = await asyncio.gather(*(artifacts.put("1/model.bin", slow(content)) for content in contents))
    assert {answer.status for answer in answers} == {200}
    assert artifacts.store.read("1/model.bin") in contents
    await artifacts.put("1/model.bin", b"last")
    assert artifacts.store.read("1/model.bin") == b"last"


async def test_list_has_folders_and_files_in_order_without_markers(artifacts: ArtifactProxy) -> None:
    for path in ("1/b.txt", "1/a-b", "1/a/deep/file", "1/a/other", "1/c/", "10/x"):
        artifacts.store.write(path, b"" if path.endswith("/") else b"12")
    listed = await artifacts.list("1")
    assert listed.json["files"] == [
        {"path": "a", "is_dir": True},
        {"path": "a-b", "is_dir": False, "file_size": 2},
        {"path": "b.txt", "is_dir": False, "file_size": 2},
        {"path": "c", "is_dir": True},
    ]
    assert (await artifacts.list("1/b.txt")).json == {}
    assert (await artifacts.list("none")).json == {}
    root = await artifacts.send("GET", ARTIFACTS)
    assert [entry["path"] for entry in root.json["files"]] == ["1", "10"]


async def test_list_of_more_than_one_page_is_complete(
    artifacts: ArtifactProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.artifacts.objects._PAGE", 3)
    names = [f"file {number:02}+x" for number in range(11)]
    for name in names:
        artifacts.store.write(f"1/{name}", b"x")
    assert [entry["path"] for entry in (await artifacts.list("1")).json["files"]] == names
    assert (await artifacts.send("DELETE", f"{ARTIFACTS}/1")).status == 200
    assert artifacts.store.paths() == []


async def test_delete_removes_a_folder_and_no_sibling(artifacts: ArtifactProxy) -> None:
    for path in ("1/model/a", "1/model/b/c d", "1/model2", "1/modelx/a"):
        artifacts.store.write(path, b"x")
    deleted = await artifacts.send("DELETE", f"{ARTIFACTS}/1/model/")
    assert (deleted.status, deleted.json) == (200, {})
    assert artifacts.store.paths() == ["1/model2", "1/modelx/a"]


async def test_download_of_parts_and_conditions(artifacts: ArtifactProxy) -> None:
    await artifacts.put("1/f.bin", b"0123456789")
    whole = await artifacts.get("1/f.bin")
    etag = whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    part = await artifacts.get("1/f.bin", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert (await artifacts.get("1/f.bin", headers={"Range": "bytes=-3"})).body == b"789"
    assert (await artifacts.get("1/f.bin", headers={"Range": "bytes=20-"})).status == 416
    unchanged = await artifacts.get("1/f.bin", headers={"If-None-Match": etag})
    assert (unchanged.status, unchanged.body) == (304, b"")
    resumed = await artifacts.get("1/f.bin", headers={"Range": "bytes=5-", "If-Range": etag})
    assert (resumed.status, resumed.body) == (206, b"56789")
    changed = await artifacts.get("1/f.bin", headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (changed.status, changed.body) == (200, b"0123456789")
    head = await artifacts.send("HEAD", f"{ARTIFACTS}/1/f.bin")
    assert (head.status, head.headers["Content-Length"], head.headers["ETag"]) == (200, "10", etag)


async def test_missing_file_and_folder_are_told_apart(artifacts: ArtifactProxy) -> None:
    artifacts.store.write("1/model/MLmodel", b"x")
    missing = await artifacts.get("1/none")
    assert (missing.status, missing.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    folder = await artifacts.get("1/model")
    assert (folder.status, folder.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert folder.json["message"] == "Artifact path refers to a directory, not a file: 'model'"
    assert (await artifacts.send("HEAD", f"{ARTIFACTS}/1/none")).status == 404
