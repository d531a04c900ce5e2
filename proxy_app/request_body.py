"""Request bodies: buffered within a memory budget where they are hashed or rewritten, streamed everywhere else."""

import asyncio
import contextlib
import mmap
from collections import deque
from collections.abc import AsyncIterator
from hashlib import sha256

from aiohttp import HttpVersion11, web

from . import errors
from .sigv4 import EMPTY_SHA256

# A body up to this size is sent in one write; a larger one in chunks, so that no second copy of it is ever buffered.
_CHUNK = 128 * 1024


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


class Budget:
    """A number of bytes shared by all requests; a request that needs more than is free waits, first come, first served.

    ``free`` is the number of bytes that no request holds.
    """

    def __init__(self, size: int) -> None:
        self.free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> bool:
        """Take ``size`` bytes if they are free now."""
        if self._waiting or size > self.free:
            return False
        self.free -= size
        return True

    @property
    def contended(self) -> bool:
        """Whether a request waits."""
        return bool(self._waiting)

    async def acquire(self, size: int) -> None:
        """Take ``size`` bytes, waiting until they are free."""
        if self.take(size):
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)  # granted in the same moment
            else:
                with contextlib.suppress(ValueError):  # already skipped
                    self._waiting.remove(entry)
                self._grant()  # smaller ones may have waited behind it
            raise

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self.free += size
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.free -= size
                turn.set_result(None)


class BodyReader:
    """Reads request bodies. ``limit`` (of one body) and ``budget`` (of all) are bytes, ``timeout`` is seconds."""

    def __init__(self, limit: int, budget: int, timeout: float) -> None:
        self.limit = limit
        self.budget = Budget(budget)
        self._timeout = timeout

    async def acquire(self, size: int) -> None:
        """Take ``size`` bytes of the budget. ApiError 503 if they are not free within the timeout."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.budget.acquire(size)
        except TimeoutError:
            raise errors.unavailable(
                "The proxy's memory for request bodies is exhausted (MLFLOW_PROXY_BODY_BUDGET_MIB). Try again shortly.",
                reason="body-budget",
            ) from None

    async def buffer(self, request: web.BaseRequest) -> BufferedBody:
        """The whole body; the length of its content stays taken from the budget.

        ApiError: 413 above the limit, before a byte is read if Content-Length exceeds it; 408 for a body that stalls;
        503 when the budget stays exhausted.
        """
        announced = request.content_length
        if announced is not None and announced > self.limit:
            raise errors.body_too_large(self.limit)
        # For an unknown length the largest share is taken first: growing a share could block for ever.
        share = announced if announced is not None else self.limit
        await self.acquire(share)
        try:
            body = await self._read(request, announced)
        except BaseException:
            self.budget.release(share)
            raise
        self.budget.release(share - len(body.content))
        return body

    async def _read(self, request: web.BaseRequest, announced: int | None) -> BufferedBody:
        if (content := small_body(request)) is not None:
            return BufferedBody(content)
        digest = sha256()
        # A large one in pages of its own, which are returned to the system at once; malloc would keep and split them.
        content = mmap.mmap(-1, announced) if announced and announced > _CHUNK else bytearray()
        length = 0
        async for chunk in self.stream(request):
            end = length + len(chunk)
            if end > self.limit:
                raise errors.body_too_large(self.limit)
            digest.update(chunk)
            # aiohttp accepts no body that is longer than announced; a bytearray grows by this assignment.
            content[length:end] = chunk
            length = end
        return BufferedBody(content, digest.hexdigest())

    async def stream(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The chunks of the body as they arrive.

        ApiError 408 if none arrives within the timeout, 400 if it is malformed.
        """
        await _send_continue(request)
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    chunk = await request.content.readany()
            except TimeoutError:
                raise errors.body_timeout(
                    f"No more of the request body arrived within {self._timeout:g} seconds."
                ) from None
            except web.RequestPayloadError as error:
                raise errors.bad_request(
                    f"The request body does not match its headers: {error}", reason="malformed-body"
                ) from None
            if not chunk:
                return
            yield chunk


class RequestBody:
    """The body of one request: streamed once, or buffered, replaced and sent as often as needed."""

    __slots__ = ("_buffered", "_reader", "_request", "_reserved")

    def __init__(self, request: web.BaseRequest, reader: BodyReader) -> None:
        self._request = request
        self._reader = reader
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
                self._buffered = await self._reader.buffer(self._request)
                self._reserved = len(self._buffered.content)
        return self._buffered

    async def replace(self, content: bytes) -> None:
        """Send ``content`` instead of the body. ApiError 413 or 503 as for ``buffer``."""
        if len(content) > self._reader.limit:
            raise errors.body_too_large(self._reader.limit)
        self.release()
        await self._reader.acquire(len(content))
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
            self._reader.budget.release(self._reserved)
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
