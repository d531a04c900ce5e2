"""Request bodies: held whole where they must be hashed before they are sent, streamed everywhere else."""

import asyncio
import contextlib
import mmap
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

from aiohttp import HttpVersion11, web

from . import errors
from .settings import Settings
from .sigv4 import EMPTY_SHA256

# A body up to this size is sent in one write; a larger one in pieces, so that no second copy of it is ever buffered.
_PIECE = 128 * 1024


@dataclass(frozen=True, slots=True)
class HeldBody:
    """A whole body and its SHA-256 in hex; it can be sent more than once."""

    content: bytes | bytearray | mmap.mmap
    sha256: str

    def payload(self) -> bytes | AsyncIterator[bytes]:
        """The bytes if they are few, else their pieces."""
        if len(self.content) <= _PIECE:
            return bytes(self.content)
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        view = memoryview(self.content)
        for start in range(0, len(view), _PIECE):
            yield bytes(view[start : start + _PIECE])


NO_BODY = HeldBody(b"", EMPTY_SHA256)


class Budget:
    """So many bytes for everyone; who finds too few left waits, first come, first served."""

    def __init__(self, size: int) -> None:
        self.free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        place = (size, turn)
        self._waiting.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)  # its turn had come in the same moment
            else:
                with contextlib.suppress(ValueError):  # whoever served the others has seen that it had given up
                    self._waiting.remove(place)
                self._serve()  # it may have stood before smaller ones
            raise

    def give(self, size: int) -> None:
        self.free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.free -= size
                turn.set_result(None)


class Bodies:
    """Takes callers' request bodies, within the limits that the settings give."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.body_limit
        self._timeout = settings.body_timeout
        self.budget = Budget(settings.body_budget)

    async def hold(self, request: web.BaseRequest) -> HeldBody:
        """The whole body; ``release`` it when it has been sent, since others may wait for its share of the budget.

        Refusal: 413 over the cap, before a byte is read where Content-Length tells; 408 for a body that stands still;
        503 when the budget stays taken.
        """
        if not request.body_exists:
            return NO_BODY
        announced = request.content_length
        if announced is not None and announced > self._limit:
            raise errors.too_large(self._limit)
        # A body of unknown length takes the largest share first: taking more as it grows could block for ever.
        share = announced if announced is not None else self._limit
        try:
            async with asyncio.timeout(self._timeout):
                await self.budget.take(share)
        except TimeoutError:
            raise errors.unavailable(
                "The proxy is holding as many request bodies as it may. Try again shortly.", reason="body-budget"
            ) from None
        try:
            body = await self._read(request, announced)
        except BaseException:
            self.budget.give(share)
            raise
        self.budget.give(share - len(body.content))
        return body

    def release(self, body: HeldBody) -> None:
        """The body is not needed any more."""
        self.budget.give(len(body.content))

    def short(self, request: web.BaseRequest) -> bytes | None:
        """A body that is small and has come as a whole already: it can be sent more than once."""
        announced = request.content_length
        if announced is None or announced > _PIECE or not request.content.is_eof():
            return None
        return request.content.read_nowait()

    async def _read(self, request: web.BaseRequest, announced: int | None) -> HeldBody:
        if (content := self.short(request)) is not None:
            return HeldBody(content, sha256(content).hexdigest())
        digest = sha256()
        # Large ones in pages of their own, which go back to the system at once: malloc keeps and splits such pieces.
        content = mmap.mmap(-1, announced) if announced and announced > _PIECE else bytearray()
        length = 0
        async for piece in self.stream(request):
            end = length + len(piece)
            if end > self._limit:
                raise errors.too_large(self._limit)
            digest.update(piece)
            # aiohttp lets no body be longer than announced; a bytearray grows as this appends.
            content[length:end] = piece
            length = end
        return HeldBody(content, digest.hexdigest())

    async def stream(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The body's pieces as they come; Refusal (408) when none comes for too long."""
        await _say_continue(request)
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    piece = await request.content.readany()
            except TimeoutError:
                raise errors.too_slow(f"No more of the request body came for {self._timeout:g} seconds.") from None
            except web.RequestPayloadError as error:
                raise errors.malformed(
                    f"The request body is not framed as its head says: {error}", reason="bad-body"
                ) from None
            if not piece:
                return
            yield piece


async def _say_continue(request: web.BaseRequest) -> None:
    """What aiohttp would say before the handler runs; here only to a request that is going to be read."""
    if request.version < HttpVersion11 or request.content.total_bytes:
        return
    if request.headers.get("Expect", "").lower() == "100-continue":
        writer = request.writer
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The bytes of an interim response are not the answer's.
        writer.output_size = 0
