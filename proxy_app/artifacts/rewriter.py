"""Maps the locations in requests and responses of MLflow's API: clients transfer artifacts through the proxy."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from urllib.parse import quote, unquote_plus

from .. import errors
from ..context import RequestContext
from ..http_client import ClientError
from ..limits.fair_pool import FairPool
from ..request_body import BodyReader
from ..rewriting import (
    CODINGS,
    VALIDATORS,
    JsonRewriter,
    accept_known_codings,
    check_coding,
    header_value,
    is_json,
    without_headers,
)
from ..upstream import UpstreamRequest, UpstreamResponse
from .filters import map_filter
from .json_editor import JsonEditor, Paths
from .locations import FILTERS, LOCATION_TAGS, REQUESTS, RESPONSES
from .root import ArtifactRoot

# A response is held until its first location, so that one without a location passes unread: up to this size, and as
# long as all such responses fit in the second size. Otherwise it is read as it passes.
_HELD = 16 * 1024 * 1024
_HELD_BY_ALL = 32 * 1024 * 1024
_DECODED = 64 * 1024
_REQUEST_BODIES = REQUESTS.keys() | FILTERS.keys()


class LocationRewriter:
    """Maps the locations below ``root`` in the fields of ``locations.py``, and nothing else.

    Requests are buffered within the memory budget of ``body_reader``. Responses are streamed, except that the part
    before the first location may be held.
    """

    def __init__(self, root: ArtifactRoot, body_reader: BodyReader) -> None:
        self._root = root
        # It precedes each location, also where a server escapes slashes.
        self._mark = b"/" + root.bucket.encode()
        self._bodies = JsonRewriter(_RequestBodies(root), body_reader)
        self._held = FairPool(_HELD_BY_ALL, _HELD)

    async def rewrite_request(self, context: RequestContext, request: UpstreamRequest) -> None:
        """Map the locations in the body and in the query. ApiError as for ``JsonRewriter.rewrite_request``."""
        template = context.matched_route.template
        if template in RESPONSES:
            accept_known_codings(request)
        if template in FILTERS and "?" in request.target:
            request.target = _map_query(request.target, FILTERS[template], self._map_filter)
        if template in _REQUEST_BODIES:
            await self._bodies.rewrite_request(context, request)

    async def rewrite_response(self, context: RequestContext, response: UpstreamResponse) -> None:
        """Map the locations in the body. ApiError 502 for one that is incomplete or cannot be decoded."""
        paths = RESPONSES.get(context.matched_route.template)
        if paths is None or context.method == "HEAD":
            return
        coding = header_value(response.headers, "content-encoding").lower()
        if response.body is None and response.response.complete:
            response.body = response.response.take()
        if response.body is not None and not coding and self._mark not in response.body:
            return
        if not is_json(response.headers):
            return
        if response.body is not None and not coding:
            editor = JsonEditor(paths, LOCATION_TAGS, self._root.to_client)
            response.body = editor.feed(response.body) + editor.finish()
            response.headers = without_headers(response.headers, *VALIDATORS)
            return
        chunks = response.response.chunks() if response.body is None else _one(response.body)
        if coding:
            check_coding(coding)
            chunks = _decoded(coding, chunks)
            response.headers = without_headers(response.headers, "content-encoding", *VALIDATORS)
        await self._hold(response, chunks, paths, context.owner)

    async def _hold(
        self, response: UpstreamResponse, chunks: AsyncIterator[bytes], paths: Paths, owner: Hashable
    ) -> None:
        """Read up to the first location; set the stream to what was read and the rest, edited if there is one."""
        held: list[bytes] = []
        size, end, whole = 0, b"", True

        def release() -> None:
            if size:
                self._held.release(owner, size)

        response.on_close = release
        try:
            async for chunk in chunks:
                held.append(chunk)
                located = self._mark in chunk or self._mark in end + chunk[: len(self._mark)]
                if located or size + len(chunk) > _HELD or not self._held.try_acquire(owner, len(chunk)):
                    whole = False
                    break
                size += len(chunk)
                end = (end + chunk[-len(self._mark) :])[-len(self._mark) :]
        except ClientError as error:
            raise errors.bad_gateway(
                "The connection to MLflow was lost in its response.", reason="upstream-read-error"
            ) from error
        if whole:
            response.stream, response.length = _each(held), size
        else:
            response.stream = _edited(JsonEditor(paths, LOCATION_TAGS, self._root.to_client), held, chunks)
            response.headers = without_headers(response.headers, *VALIDATORS)

    def _map_filter(self, text: str) -> str:
        return map_filter(text, self._root.to_storage)


class _RequestBodies:
    """The transform of request bodies."""

    def __init__(self, root: ArtifactRoot) -> None:
        self._to_storage = root.to_storage

    def transforms_request(self, context: RequestContext) -> bool:
        return context.matched_route.template in _REQUEST_BODIES

    def transforms_response(self, context: RequestContext) -> bool:
        return False

    def request(self, context: RequestContext, body: bytes) -> bytes:
        # A client may escape any character of the scheme.
        if b"mlflow-artifacts" not in body and b"\\" not in body:
            return body
        template = context.matched_route.template
        for table, edit in ((REQUESTS, self._to_storage), (FILTERS, self._map_filter)):
            if template in table:
                editor = JsonEditor(table[template], LOCATION_TAGS, edit)
                body = editor.feed(body) + editor.finish()
        return body

    def response(self, context: RequestContext, body: bytes) -> bytes:
        return body

    def _map_filter(self, text: str) -> str:
        return map_filter(text, self._to_storage)


def _map_query(target: str, names: Paths, edit: Callable[[str], str]) -> str:
    """The target with the values of the parameters ``names`` edited; any other byte is unchanged."""
    path, _, query = target.partition("?")
    pairs: list[str] = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        text = unquote_plus(value, errors="surrogateescape")
        if unquote_plus(name).encode() in names and (edited := edit(text)) != text:
            value = quote(edited, safe="", errors="surrogateescape")
        pairs.append(name + equals + value)
    return f"{path}?{'&'.join(pairs)}"


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _edited(editor: JsonEditor, held: list[bytes], chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in held:
        yield editor.feed(chunk)
        await asyncio.sleep(0)
    async for chunk in chunks:
        yield editor.feed(chunk)
    yield editor.finish()


async def _decoded(coding: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Raises ClientError for data that is incomplete or not of this coding."""
    decoder = zlib.decompressobj(CODINGS[coding])
    async for chunk in chunks:
        encoded = chunk
        while encoded and not decoder.eof:
            try:
                decoded = decoder.decompress(encoded, _DECODED)
            except zlib.error as error:
                raise ClientError(f"the response is not valid {coding}: {error}") from None
            encoded = decoder.unconsumed_tail
            if decoded:
                yield decoded
    if not decoder.eof:
        raise ClientError(f"the response is incomplete {coding}")
