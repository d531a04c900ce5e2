"""Request bodies: buffered within a memory budget where they are hashed or rewritten, streamed everywhere else."""

import asyncio
import mmap
from collections.abc import AsyncIterator, Hashable
from hashlib import sha256

from aiohttp import HttpVersion11, web

from . import errors
from .limits.fair_pool import FairPool
from .sigv4 import EMPTY_SHA256

# A body up to this size is sent in one write; a larger one in chunks, so that no second copy of it is ever buffered.
_CHUNK = 128 * 1024
# Up to this size a body needs no share of the budget: a request in flight has as much memory for its response.
_UNCOUNTED = 64 * 1024
# One owner may hold this part of the budget, or one body of the largest size.
_OWNERS_PART = 4
# In bytes per second. A client may pause for the timeout; what it sends gives it time for more pauses.
LEAST_RATE = 16 * 1024


class BufferedBody:
    """A whole body and its SHA-256 in hex; it can be sent more than once."""

    __slots__ = ("content", "sha256")

    def __init__(self, content: bytes | bytearray | mmap.mmap, digest: str | None = None) -> None:
        self.content = content
        self.sha256 = digest or sha256(content).hexdigest()

    def payload(self) -> bytes | AsyncIterator[bytes]:
        """The bytes of a body of up to 128 KiB, else an iterator over its chunks."""
        if len(self.content) <= _CHUNK:
            return bytes(self.content)
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        view = memoryview(self.content)
        for start in range(0, len(view), _CHUNK):
            yield bytes(view[start : start + _CHUNK])


EMPTY_BODY = BufferedBody(b"", EMPTY_SHA256)


class BodyReader:
    """Reads request bodies. ``limit`` (of one body) and ``budget`` (of all) are bytes, ``timeout`` is seconds.

    The owners of the budget are those of requests (``RequestContext.owner``).
    """

    def __init__(self, limit: int, budget: int, timeout: float) -> None:
        self.limit = limit
        self.budget = FairPool(budget, max(limit, budget // _OWNERS_PART))
        self._timeout = timeout

    async def acquire(self, owner: Hashable, size: int) -> None:
        """Take ``size`` bytes of the budget. ApiError 503 if they are not free within the timeout."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.budget.acquire(owner, size)
        except TimeoutError:
            raise errors.unavailable(
                "The proxy's memory for request bodies is exhausted (MLFLOW_PROXY_BODY_BUDGET_MIB). Try again shortly.",
                reason="body-budget",
            ) from None

    async def buffer(self, request: web.BaseRequest, owner: Hashable) -> tuple[BufferedBody, int]:
        """(the whole body, the number of bytes that it holds of the budget).

        ApiError: 413 above the limit, before a byte is read if Content-Length exceeds it; 408 for a body that arrives
        too slowly; 503 when the budget stays exhausted.
        """
        announced = request.content_length
        if announced is not None and announced > self.limit:
            raise errors.body_too_large(self.limit)
        held = 0
        if announced is not None and announced > _UNCOUNTED:
            await self.acquire(owner, announced)
            held = announced
        try:
            if (small := small_body(request)) is not None:
                return BufferedBody(small), held
            digest = sha256()
            # A large one in pages of its own, which are returned to the system at once; malloc would keep and split
            # them.
            content = mmap.mmap(-1, announced) if announced and announced > _CHUNK else bytearray()
            length = 0
            async for chunk in self.stream(request):
                end = length + len(chunk)
                if end > self.limit:
                    raise errors.body_too_large(self.limit)
                if not held and end > _UNCOUNTED:
                    # The largest share at once: growing a share could block for ever.
                    await self.acquire(owner, self.limit)
                    held = self.limit
                digest.update(chunk)
                # aiohttp accepts no body that is longer than announced; a bytearray grows by this assignment.
                content[length:end] = chunk
                length = end
        except BaseException:
            if held:
                self.budget.release(owner, held)
            raise
        if held > length:
            self.budget.release(owner, held - length)
        return BufferedBody(content, digest.hexdigest()), min(held, length)

    async def stream(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The chunks of the body as they arrive.

        ApiError 408 if it pauses for longer than the timeout, or arrives at less than LEAST_RATE on average; 400 if it
        is malformed.
        """
        await _send_continue(request)
        loop = asyncio.get_running_loop()
        patience = self._timeout
        while True:
            started = loop.time()
            try:
                async with asyncio.timeout(patience):
                    chunk = await request.content.readany()
            except TimeoutError:
                raise errors.body_timeout(
                    f"The request body paused for {self._timeout:g} seconds, or arrived at less than "
                    f"{LEAST_RATE // 1024} KiB per second."
                ) from None
            except web.RequestPayloadError as error:
                raise errors.bad_request(
                    f"The request body does not match its headers: {error}", reason="malformed-body"
                ) from None
            if not chunk:
                return
            patience = min(self._timeout, patience - (loop.time() - started) + len(chunk) / LEAST_RATE)
            yield chunk


class RequestBody:
    """The body of one request: streamed once, or buffered, replaced and sent as often as needed.

    ``owner`` holds its share of the budget.
    """

    __slots__ = ("_buffered", "_reader", "_request", "_reserved", "owner")

    def __init__(self, request: web.BaseRequest, reader: BodyReader, owner: Hashable) -> None:
        self._request = request
        self._reader = reader
        self.owner = owner
        self._buffered: BufferedBody | None = None
        # Bytes of the budget that this body holds.
        self._reserved = 0

    @property
    def exists(self) -> bool:
        """Whether the request has a body."""
        return self._buffered is not None or self._request.body_exists

    @property
    def length(self) -> int | None:
        """The length in bytes; None for a chunked body that was not buffered."""
        if self._buffered is not None:
            return len(self._buffered.content)
        return self._request.content_length if self._request.body_exists else 0

    async def buffer(self) -> BufferedBody:
        """The whole body, in the memory budget until ``release``. Raises ApiError as ``BodyReader.buffer`` does."""
        if self._buffered is None:
            if not self._request.body_exists:
                self._buffered = EMPTY_BODY
            else:
                self._buffered, self._reserved = await self._reader.buffer(self._request, self.owner)
        return self._buffered

    async def replace(self, content: bytes) -> None:
        """Send ``content`` instead of the body. ApiError 413 or 503 as for ``buffer``."""
        if len(content) > self._reader.limit:
            raise errors.body_too_large(self._reader.limit)
        self.release()
        if len(content) > _UNCOUNTED:
            await self._reader.acquire(self.owner, len(content))
            self._reserved = len(content)
        self._buffered = BufferedBody(content)

    def small(self) -> bytes | None:
        """The content of a body of up to 128 KiB that has already arrived, or was buffered; else None."""
        if self._buffered is not None:
            return bytes(self._buffered.content) if len(self._buffered.content) <= _CHUNK else None
        return small_body(self._request) if self._request.body_exists else b""

    def stream(self) -> AsyncIterator[bytes]:
        """The chunks as they arrive, once; ApiError as for ``BodyReader.stream``."""
        if self._buffered is not None:
            return _chunks_of(self._buffered)
        return self._reader.stream(self._request)

    def release(self) -> None:
        """Return the memory to the budget; the body must not be sent after this."""
        if self._reserved:
            self._reader.budget.release(self.owner, self._reserved)
            self._reserved = 0


async def _chunks_of(body: BufferedBody) -> AsyncIterator[bytes]:
    payload = body.payload()
    if isinstance(payload, bytes):
        yield payload
    else:
        async for chunk in payload:
            yield chunk


def small_body(request: web.BaseRequest) -> bytes | None:
    """The content of a body of up to 128 KiB that has already arrived; else None."""
    announced = request.content_length
    if announced is None or announced > _CHUNK or not request.content.is_eof():
        return None
    return request.content.read_nowait()


async def _send_continue(request: web.BaseRequest) -> None:
    """Send 100 Continue if the client expects it.

    aiohttp would send it before the handler runs, also for a request whose body is never read.
    """
    if request.version < HttpVersion11 or request.content.total_bytes:
        return
    if request.headers.get("Expect", "").lower() == "100-continue":
        writer = request.writer
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The bytes of an interim response do not count as the response's.
        writer.output_size = 0
