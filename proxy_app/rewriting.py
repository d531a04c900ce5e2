"""Rewrites JSON request and response bodies, also compressed ones, within the memory budget."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Protocol

from . import errors
from .context import RequestContext
from .http_client import ClientError, Headers
from .request_body import BodyReader
from .upstream import UpstreamRequest, UpstreamResponse

# A body up to this size is transformed on the event loop; a larger one in a worker thread.
_INLINE = 32 * 1024
# The codings accepted in responses that are rewritten.
_ACCEPTED = (b"accept-encoding", b"gzip, deflate")
CODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
# Validators and digests of a body, which hold for the original one only.
VALIDATORS = ("content-md5", "digest", "content-digest", "repr-digest", "etag")


class Rewriter(Protocol):
    """Rewrites requests before they are sent to the upstream, and responses before they are sent to the client."""

    async def rewrite_request(self, context: RequestContext, request: UpstreamRequest) -> None:
        """Change ``request`` in place. Raises ApiError."""
        ...

    async def rewrite_response(self, context: RequestContext, response: UpstreamResponse) -> None:
        """Change ``response`` in place. Raises ApiError."""
        ...


class JsonTransform(Protocol):
    """The transformation of a JsonRewriter. A method that changes nothing returns the object that it received."""

    def transforms_request(self, context: RequestContext) -> bool:
        """Whether the body of a request of this route may change."""
        ...

    def transforms_response(self, context: RequestContext) -> bool:
        """Whether the body of a response of this route may change."""
        ...

    def request(self, context: RequestContext, body: bytes) -> bytes:
        """The request body to send. Bodies above 32 KiB are transformed in a worker thread."""
        ...

    def response(self, context: RequestContext, body: bytes) -> bytes:
        """The response body to send. Bodies above 32 KiB are transformed in a worker thread."""
        ...


class JsonRewriter:
    """Applies a transform to JSON bodies. ``body_reader`` holds the limit of a body and the memory budget."""

    def __init__(self, transform: JsonTransform, body_reader: BodyReader) -> None:
        self._transform = transform
        self._reader = body_reader

    async def rewrite_request(self, context: RequestContext, request: UpstreamRequest) -> None:
        """Buffer and decode the body, transform it, and replace it if it changed.

        ApiError 400 for malformed compressed data, 413, 415 for another coding than gzip and deflate, 503.
        """
        if self._transform.transforms_response(context):
            accept_known_codings(request)
        if not (request.body.exists and is_json(request.headers) and self._transform.transforms_request(context)):
            return
        coding = header_value(request.headers, "content-encoding").lower()
        buffered = await request.body.buffer()
        body = bytes(buffered.content)
        if coding:
            body = _decompress_request(coding, body, self._reader.limit)
        changed = await _run(self._transform.request, context, body)
        if changed is body:
            return
        if coding:
            # Sent uncompressed: the upstream is near, and compressing again would cost more than it saves.
            request.headers = without_headers(request.headers, "content-encoding")
        await request.body.replace(changed)

    async def rewrite_response(self, context: RequestContext, response: UpstreamResponse) -> None:
        """Read and decode the body, transform it, and replace it if it changed.

        ApiError 502 for a response that is incomplete, too large or not decodable; 503 if the budget is exhausted.
        """
        if context.method == "HEAD" or not (is_json(response.headers) and self._transform.transforms_response(context)):
            return
        # Compressed bodies have no known size, so the largest share is taken.
        limit = self._reader.limit
        length = response.response.content_length
        coding = header_value(response.headers, "content-encoding").lower()
        share = length if length is not None and not coding else limit
        if share > limit:
            raise _response_too_large(limit)
        if not share:
            return
        owner, held = context.owner, share
        await self._reader.acquire(owner, share)
        # Until the response has been sent: clients that do not read it must not make the proxy hold any number.
        context.on_end(lambda: self._reader.budget.release(owner, held))
        encoded = await _read(response, limit)
        body = _decompress_response(coding, encoded, limit) if coding else encoded
        changed = await _run(self._transform.response, context, body)
        sent = len(encoded if changed is body else changed)
        if 0 < sent < held:
            self._reader.budget.release(owner, held - sent)
            held = sent
        if changed is body:
            response.body = encoded
            return
        response.headers = without_headers(list(response.headers), "content-encoding", *VALIDATORS)
        response.body = changed


async def _run(transform: "_Transform", context: RequestContext, body: bytes) -> bytes:
    if len(body) <= _INLINE:
        return transform(context, body)
    return await asyncio.to_thread(transform, context, body)


class _Transform(Protocol):
    def __call__(self, context: RequestContext, body: bytes) -> bytes: ...


def _decompress_request(coding: str, body: bytes, limit: int) -> bytes:
    if coding not in CODINGS:
        raise errors.unsupported_encoding(coding)
    try:
        return _decompress(coding, body, limit)
    except zlib.error as error:
        raise errors.bad_request(f"The request body is not valid {coding}: {error}.", reason="malformed-body") from None
    except _TooLargeError:
        raise errors.body_too_large(limit) from None


def _decompress_response(coding: str, body: bytes, limit: int) -> bytes:
    check_coding(coding)
    try:
        return _decompress(coding, body, limit)
    except zlib.error as error:
        raise errors.bad_gateway(
            f"MLflow's response is not valid {coding}: {error}.", reason="upstream-encoding"
        ) from None
    except _TooLargeError:
        raise _response_too_large(limit) from None


class _TooLargeError(Exception):
    """The decompressed body exceeds the limit."""


def _decompress(coding: str, body: bytes, limit: int) -> bytes:
    """Raises zlib.error, or _TooLargeError as soon as the result is longer than ``limit``."""
    decoder = zlib.decompressobj(CODINGS[coding])
    decoded = decoder.decompress(body, limit + 1)
    if len(decoded) > limit:
        raise _TooLargeError
    if not decoder.eof:
        raise zlib.error("incomplete")
    return decoded


async def _read(response: UpstreamResponse, limit: int) -> bytes:
    if response.body is not None:
        return response.body
    parts: list[bytes] = []
    size = 0
    chunks: AsyncIterator[bytes] = response.response.chunks()
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise _response_too_large(limit)
            parts.append(chunk)
    except ClientError as error:
        raise errors.bad_gateway(
            "The connection to MLflow was lost in its response.", reason="upstream-read-error"
        ) from error
    return b"".join(parts)


def _response_too_large(limit: int) -> errors.ApiError:
    return errors.bad_gateway(
        f"MLflow's response exceeds {limit // (1024 * 1024)} MiB (MLFLOW_PROXY_BODY_LIMIT_MIB): "
        "ask for less, for example with a smaller max_results.",
        reason="response-too-large",
    )


def accept_known_codings(request: UpstreamRequest) -> None:
    """Accept only codings in the response that the proxy can decode, and none if the client accepts none."""
    others = without_headers(request.headers, "accept-encoding")
    if len(others) < len(request.headers):
        request.headers = [*others, _ACCEPTED] if header_value(request.headers, "accept-encoding") else others


def check_coding(coding: str) -> None:
    """Raise ApiError 502 for a Content-Encoding of a response that was not accepted."""
    if coding not in CODINGS:
        raise errors.bad_gateway(
            f"MLflow's response has the Content-Encoding {coding!r}, which the proxy did not accept.",
            reason="upstream-encoding",
        )


def is_json(headers: Headers) -> bool:
    """Whether the Content-Type is JSON."""
    kind = header_value(headers, "content-type").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def header_value(headers: Headers, name: str) -> str:
    """The first value of the header ``name`` (lower case); empty if there is none."""
    wanted = name.encode()
    for key, value in headers:
        if key.lower() == wanted:
            return value.decode("latin-1").strip()
    return ""


def without_headers(headers: Headers, *names: str) -> list[tuple[bytes, bytes]]:
    """The headers that have none of ``names`` (lower case)."""
    dropped = {name.encode() for name in names}
    return [header for header in headers if header[0].lower() not in dropped]
