"""Downloads from S3, streamed to the client."""

import time
from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from aiohttp import web

from .. import errors, responses
from ..context import RequestContext
from ..errors import ApiError
from ..http_client import ClientError, ReadError, Response
from .objects import is_folder, reading_error
from .paths import content_disposition, content_type
from .s3 import S3, S3Request

_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
# Not Content-Encoding: a client that uploads x.gz to S3 itself sets it, and others would unpack the file.
_PASSED_ON = (b"ETag", b"Last-Modified", b"Content-Range")
_REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified"}
# How often a download continues after the connection to S3 was lost, without progress in between.
_CONTINUATIONS = 2
_ACTION = "s3:GetObject"


async def download(context: RequestContext, s3: S3, key: str) -> web.StreamResponse:
    """Stream the object ``key``, or the part that the request asks for. Raises ApiError."""
    started = time.perf_counter()
    response = await _open(context, s3, key)
    context.upstream_seconds = time.perf_counter() - started
    headers = [(name, value.encode()) for name in _PASSED_ON if (value := response.header(name.lower()))]
    name = PurePosixPath(key).name
    headers += [
        (b"Content-Type", content_type(name).encode()),
        (b"Content-Disposition", content_disposition(name).encode()),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Accept-Ranges", b"bytes"),
        (b"Cache-Control", b"no-cache"),
    ]
    status = response.status
    if status == 304:
        response.close()
        return await responses.send(context, status, _REASONS[status], headers, b"")
    chunks = _continued(s3, key, response)
    return await responses.stream(context, status, _REASONS[status], headers, response.content_length, chunks)


async def _open(context: RequestContext, s3: S3, key: str) -> Response:
    sent = context.request.headers
    conditions = [(name.lower(), sent[name]) for name in _CONDITIONS if name in sent]
    ranges = sent.get("Range", "")
    method = "HEAD" if context.method == "HEAD" else "GET"
    request = S3Request(method=method, action=_ACTION, key=key, headers=conditions)
    try:
        # S3 has no responses with several ranges, and no If-Range: a changed object is sent from its start.
        if ranges and "," not in ranges:
            unchanged = sent.get("If-Range", "")
            condition = [("if-match" if '"' in unchanged else "if-unmodified-since", unchanged)] if unchanged else []
            headers = [("range", ranges), *(condition or conditions)]
            partial = S3Request(method=method, action=_ACTION, key=key, headers=headers)
            response = await s3.send(partial, accept={304, 412} if condition else {304})
            if response.status != 412:
                return response
            response.close()
        return await s3.send(request, accept={304})
    except ApiError as failed:
        error = await reading_error(s3, key, failed)
        if error.status == 404 and error.error_code == "RESOURCE_DOES_NOT_EXIST" and await is_folder(s3, key):
            name = PurePosixPath(key).name
            raise errors.bad_request(
                f"Artifact path refers to a directory, not a file: '{name}'", reason="artifact-is-folder"
            ) from None
        raise error from None


async def _continued(s3: S3, key: str, response: Response) -> AsyncIterator[bytes]:
    """The chunks of the body; a lost connection to S3 is replaced by one that continues with the same object."""
    length, etag = response.content_length or 0, response.header(b"etag")
    content_range = response.header(b"content-range").removeprefix("bytes ")
    first = int(content_range.partition("-")[0]) if content_range else 0
    done = failures = 0
    try:
        while True:
            try:
                async for chunk in response.chunks():
                    done += len(chunk)
                    failures = 0
                    yield chunk
                return
            except ClientError as error:
                failures += 1
                if failures > _CONTINUATIONS or not etag or done >= length:
                    raise
                headers = [("range", f"bytes={first + done}-{first + length - 1}"), ("if-match", etag)]
                try:
                    response = await s3.send(S3Request(method="GET", action=_ACTION, key=key, headers=headers))
                except ApiError as failure:
                    raise ReadError(failure.message) from error
    finally:
        response.close()
