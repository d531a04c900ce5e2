"""Sizes of parts, and files that are larger than what a test can send."""

import asyncio
import gc
import mmap
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy_app.artifacts import uploads
from proxy_app.artifacts.s3 import S3, S3Request
from proxy_app.artifacts.uploads import LARGEST, MIB, PARTS, Uploads, part_size
from proxy_app.errors import ApiError
from proxy_app.request_body import BufferedBody, RequestBody

GIB = 1024 * MIB


def test_parts_are_within_the_limits_of_s3() -> None:
    sizes = [part_size(number) for number in range(1, PARTS + 1)]
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    assert min(sizes) >= 5 * MIB
    assert max(sizes) <= 5 * GIB
    assert len(sizes) == 10_000
    assert sum(sizes) == LARGEST > 190 * GIB
    # Four parts that are sent and one that is filled fit into the memory of all uploads, unless they are large.
    assert 5 * part_size(5 * GIB // part_size(1)) <= uploads.BUFFER


class _Response:
    def header(self, _: bytes) -> str:
        return '"etag"'


class _RecordingS3:
    """S3 as far as an upload uses it: records the sizes of parts."""

    bucket = "mlflow"

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.completed = 0
        self.completions = 0

    async def body(self, content: bytes) -> BufferedBody:
        return BufferedBody(content, "UNSIGNED-PAYLOAD")

    async def read(self, request: S3Request) -> tuple[Any, bytes]:
        query = dict(request.query)
        if "uploads" in query:
            return None, b"<R><UploadId>1</UploadId></R>"
        if "partNumber" in query:
            self.sizes[int(query["partNumber"])] = len(request.body.content)
        if request.method == "POST":
            self.completions += 1
            self.completed = bytes(request.body.content).count(b"<PartNumber>")
        return _Response(), b"<R/>"


def body_of(length: int, *, announced: bool) -> RequestBody:
    """A body of zeros that needs no memory of its length."""
    chunk = bytes(min(length, 64 * 1024))

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, length, len(chunk)):
            await asyncio.sleep(0)
            yield chunk[: length - start]

    return cast("RequestBody", SimpleNamespace(length=length if announced else None, owner=None, stream=stream))


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("length", [5 * 1024 * 1024 + 17, 27 * 1024 * 1024])
async def test_file_of_gibibytes_is_cut_into_growing_parts(
    monkeypatch: pytest.MonkeyPatch, announced: bool, length: int
) -> None:
    # All sizes divided by 1024: files of 5 GiB and of 27 GiB.
    monkeypatch.setattr(uploads, "PART", 8 * 1024)
    s3 = _RecordingS3()
    await Uploads(cast("S3", s3), 1.0).put("key", body_of(length, announced=announced), "text/plain")
    sizes = [s3.sizes[number] for number in sorted(s3.sizes)]
    assert sum(sizes) == length
    assert s3.completed == len(sizes) == max(s3.sizes)
    assert sizes[:-1] == [part_size(number) for number in range(1, len(sizes))]


async def test_many_uploads_at_once_stay_within_the_memory_and_all_succeed() -> None:
    s3 = _RecordingS3()
    uploading = Uploads(cast("S3", s3), 5.0, buffer=3 * part_size(1))
    least = uploading.budget.free

    async def sample() -> None:
        nonlocal least
        while True:
            least = min(least, uploading.budget.free)
            await asyncio.sleep(0)

    sampler = asyncio.create_task(sample())
    length = 2 * part_size(1) + 5
    await asyncio.gather(
        *(uploading.put(str(number), body_of(length, announced=number % 2 == 0), "a/b") for number in range(8))
    )
    sampler.cancel()
    assert least == 0
    assert uploading.budget.free == 3 * part_size(1)
    assert s3.completions == 8


async def test_buffers_are_used_again_and_returned_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(mmap.mmap):
        def __new__(cls, _: int, size: int) -> "Counted":
            made.append(size)
            return super().__new__(cls, -1, size)

    monkeypatch.setattr(uploads.mmap, "mmap", Counted)
    s3 = _RecordingS3()
    uploading = Uploads(cast("S3", s3), 1.0)
    await uploading.put("key", body_of(20 * part_size(1), announced=True), "a/b")
    assert len(s3.sizes) == 20
    # Four that are sent, one that is filled.
    assert made == [part_size(1)] * len(made)
    assert len(made) <= 5
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Counted)]


async def test_announced_length_above_the_largest_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(ApiError) as error:
        await Uploads(cast("S3", _RecordingS3()), 1.0).put("key", body_of(LARGEST + 1, announced=True), "text/plain")
    assert (error.value.status, "195 GiB" in error.value.message) == (413, True)


async def test_unknown_length_above_the_largest_is_refused_and_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART", 1024)
    monkeypatch.setattr(uploads, "PARTS", 10)
    s3 = _RecordingS3()
    with pytest.raises(ApiError) as error:
        await Uploads(cast("S3", s3), 1.0).put("key", body_of(10 * 1024 + 1, announced=False), "text/plain")
    assert (error.value.status, s3.completed) == (413, 0)
    await Uploads(cast("S3", s3), 1.0).put("key", body_of(10 * 1024, announced=False), "text/plain")
    assert s3.completed == 10
