"""Uploads to S3: an object appears when it is whole, or not at all.

A file of up to one part is one PutObject. A longer one is a multipart upload, of which a few parts are sent at once;
it is completed after the last byte has arrived, and aborted after any failure, a client that disconnects included.
S3 keeps the object that was completed last.
"""

import asyncio
import contextlib
import logging
import mmap
from collections.abc import AsyncGenerator, Hashable
from xml.etree import ElementTree as ET

from .. import errors
from ..limits.fair_pool import FairPool
from ..request_body import EMPTY_BODY, BufferedBody, RequestBody
from .s3 import S3, S3Request
from .s3_error import S3Error, parse_xml, text

log = logging.getLogger(__name__)

MIB = 1024 * 1024
PART = 8 * MIB
"""The size of the first parts in bytes."""
PARTS = 10_000
"""S3's limit of parts of an object."""
_GROWTH = 2500
_SMALL = 128 * 1024
_PARALLEL = 4
BUFFER = 64 * MIB
"""Memory for the parts of all uploads, in bytes."""
# Time to abort what is left of uploads when the proxy stops.
_ABORT_TIMEOUT = 4.0


def part_size(number: int) -> int:
    """The size in bytes of part ``number`` (from 1): the parts grow, since the length of a file may be unknown."""
    return PART * (1 + (number - 1) // _GROWTH)


LARGEST = sum(part_size(number) for number in range(1, PARTS + 1))
"""The largest file in bytes, 195 GiB."""


class Uploads:
    """Writes objects. ``timeout`` is the longest pause of a client while others wait for memory, in seconds."""

    def __init__(self, s3: S3, timeout: float, buffer: int = BUFFER) -> None:
        self._s3 = s3
        self._timeout = timeout
        self.budget = FairPool(buffer, max(buffer // 2, part_size(PARTS)))
        self._buffers = _Buffers(self.budget)
        # Tokens of uploads that run, and tasks that abort others.
        self._open: set[object] = set()
        self._settled = asyncio.Event()
        self._settled.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """At the end of the block, wait until unfinished uploads, which are cancelled then, are aborted."""
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ABORT_TIMEOUT):
                    await self._settled.wait()

    async def put(self, key: str, body: RequestBody, content_type: str) -> None:
        """Write the body to the object ``key``; returns when S3 has it. Raises ApiError."""
        length = body.length
        if length is not None and length > LARGEST:
            raise _too_large()
        parts = _Parts(body, length, self._buffers, self._timeout, self._s3)
        upload = object()
        self._begin(upload)
        try:
            first = await parts.next()
            if parts.ended:
                await self._s3.read(
                    S3Request(
                        method="PUT",
                        action="s3:PutObject",
                        key=key,
                        headers=[("content-type", content_type)],
                        body=first.body if first else EMPTY_BODY,
                    )
                )
                return
            # A task: when it is cancelled, S3 may have created the upload, and its id is needed to abort it.
            creating = asyncio.create_task(self.create(key, content_type))
            try:
                upload_id = await asyncio.shield(creating)
                await self.complete(key, upload_id, await self._send_parts(key, upload_id, first, parts))
            except asyncio.CancelledError:
                self._start_abort(key, creating)
                raise
            except BaseException:
                await self._start_abort(key, creating)
                raise
        finally:
            parts.release_all()
            self._end(upload)

    async def create(self, key: str, content_type: str) -> str:
        """Create a multipart upload; returns its id. Raises ApiError."""
        request = S3Request(
            method="POST",
            action="s3:PutObject",
            key=key,
            query=[("uploads", "")],
            headers=[("content-type", content_type)],
        )
        # A second one after a lost response is left to the bucket's lifecycle rule.
        _, body = await self._s3.read(request)
        return text(parse_xml(body), "UploadId")

    async def complete(self, key: str, upload_id: str, parts: list[tuple[int, str]]) -> None:
        """Make the object of its parts, (number, ETag) in order. Raises ApiError."""
        root = ET.Element("CompleteMultipartUpload", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
        for number, etag in parts:
            part = ET.SubElement(root, "Part")
            ET.SubElement(part, "PartNumber").text = str(number)
            ET.SubElement(part, "ETag").text = etag
        request = S3Request(
            method="POST",
            action="s3:PutObject",
            key=key,
            query=[("uploadId", upload_id)],
            headers=[("content-type", "application/xml")],
            body=await self._s3.body(ET.tostring(root)),
            idempotent=False,
        )
        _, body = await self._s3.read(request)
        # S3 may find an error after it has sent the status 200.
        if parse_xml(body).tag == "Error":
            raise S3Error.parse(500, body).api_error(self._s3.bucket, request.action)

    async def abort(self, key: str, upload_id: str) -> None:
        """Delete the parts of an upload. Raises ApiError."""
        await self._s3.read(
            S3Request(method="DELETE", action="s3:AbortMultipartUpload", key=key, query=[("uploadId", upload_id)])
        )

    async def _send_parts(
        self, key: str, upload_id: str, first: "_Part | None", parts: "_Parts"
    ) -> list[tuple[int, str]]:
        slots = asyncio.Semaphore(_PARALLEL)
        sent: list[asyncio.Task[tuple[int, str]]] = []
        part = first
        try:
            async with asyncio.TaskGroup() as group:
                while part is not None:
                    await slots.acquire()
                    sent.append(group.create_task(self._send_part(key, upload_id, len(sent) + 1, part, slots)))
                    part = await parts.next()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in sent]

    async def _send_part(
        self, key: str, upload_id: str, number: int, part: "_Part", slots: asyncio.Semaphore
    ) -> tuple[int, str]:
        request = S3Request(
            method="PUT",
            action="s3:PutObject",
            key=key,
            query=[("partNumber", str(number)), ("uploadId", upload_id)],
            body=part.body,
        )
        response, _ = await self._s3.read(request)
        part.release()
        slots.release()
        return number, response.header(b"etag")

    def _start_abort(self, key: str, creating: asyncio.Task[str]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._abort_created(key, creating))
        self._begin(task)
        task.add_done_callback(self._end)
        return task

    def _begin(self, work: object) -> None:
        self._open.add(work)
        self._settled.clear()

    def _end(self, work: object) -> None:
        self._open.discard(work)
        if not self._open:
            self._settled.set()
            self._buffers.clear()

    async def _abort_created(self, key: str, creating: asyncio.Task[str]) -> None:
        try:
            upload_id = await creating
        except errors.ApiError:
            return
        try:
            await self.abort(key, upload_id)
        except errors.ApiError as error:
            log.warning("The upload of %s could not be aborted: %s", key, error.message, extra={"event": "error"})


class _Buffers:
    """The memory of parts, within ``budget``. Buffers of one part are used again until no upload is left.

    Fresh pages cost as much processor time as the rest of an upload. Unused buffers never take more than what is free
    of the budget.
    """

    def __init__(self, budget: FairPool) -> None:
        self.budget = budget
        self._unused: list[mmap.mmap] = []

    def take(self, size: int) -> bytearray | mmap.mmap:
        """A buffer of ``size`` bytes, for a share of the budget that was acquired."""
        if size == PART and self._unused:
            return self._unused.pop()
        while self._unused and len(self._unused) * PART > self.budget.free:
            self._unused.pop()
        # A large one in pages of its own, which are returned to the system at once; malloc would keep and split them.
        return mmap.mmap(-1, size) if size > _SMALL else bytearray(size)

    def give_back(self, content: object, owner: Hashable, share: int) -> None:
        """Return a buffer and the owner's share of the budget."""
        self.budget.release(owner, share)
        if isinstance(content, mmap.mmap) and len(content) == PART <= self.budget.free - len(self._unused) * PART:
            self._unused.append(content)

    def clear(self) -> None:
        """Return unused buffers to the system."""
        self._unused.clear()


class _Part:
    """A part of a body, and its share of the owner's budget in bytes."""

    __slots__ = ("_buffers", "_owner", "_share", "body")

    def __init__(self, body: BufferedBody, buffers: _Buffers, owner: Hashable, share: int) -> None:
        self.body = body
        self._buffers = buffers
        self._owner = owner
        self._share = share

    def release(self) -> None:
        """Give the memory back; further calls have no effect."""
        content, self.body = self.body.content, EMPTY_BODY
        if self._share:
            self._buffers.give_back(content, self._owner, self._share)
        self._share = 0


class _Parts:
    """Cuts a body into parts. The memory of each is taken from the budget before it is filled.

    ``ended``: no part follows the last one.
    """

    def __init__(self, body: RequestBody, length: int | None, buffers: _Buffers, timeout: float, s3: S3) -> None:
        self._chunks = body.stream()
        self._owner = body.owner
        self._unread = length
        self._buffers = buffers
        self._timeout = timeout
        self._s3 = s3
        self._rest = memoryview(b"")
        self._parts: list[_Part] = []
        self.ended = length == 0

    async def next(self) -> _Part | None:
        """The next part; None at the end. Raises ApiError, as ``RequestBody.stream`` does; 413 above 195 GiB."""
        if self.ended:
            return None
        if len(self._parts) == PARTS:
            raise _too_large()
        size = part_size(len(self._parts) + 1)
        if self._unread is not None:
            size = min(size, self._unread)
        await self._acquire(size)
        try:
            content = await self._fill(size)
            body = await self._s3.body(content)
        except BaseException:
            self._buffers.budget.release(self._owner, size)
            raise
        part = _Part(body, self._buffers, self._owner, size)
        self._parts.append(part)
        return part

    def release_all(self) -> None:
        """Give back the memory of all parts."""
        for part in self._parts:
            part.release()

    async def _acquire(self, size: int) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._buffers.budget.acquire(self._owner, size)
        except TimeoutError:
            raise errors.unavailable(
                "The proxy's memory for uploads is in use. Try again shortly.", reason="upload-budget"
            ) from None

    async def _fill(self, size: int) -> bytes | bytearray | mmap.mmap:
        content = self._buffers.take(size)
        loop = asyncio.get_running_loop()
        started, filled = loop.time(), 0
        while filled < size:
            if not self._rest:
                await self._read()
                if self.ended:
                    break
                if self._buffers.budget.waiting and loop.time() - started > self._timeout:
                    raise errors.body_timeout(
                        f"The request body arrives too slowly: {size // MIB} MiB take more than {self._timeout:g} "
                        "seconds, and other uploads wait."
                    )
            taken = self._rest[: size - filled]
            content[filled : filled + len(taken)] = taken
            filled += len(taken)
            self._rest = self._rest[len(taken) :]
        if self._unread is not None:
            self._unread -= filled
            if filled < size:
                raise errors.bad_request("The request body is shorter than announced.", reason="malformed-body")
            self.ended = self._unread == 0
        elif not self.ended and not self._rest:
            await self._read()
        return content if filled == size else content[:filled]

    async def _read(self) -> None:
        chunk = await anext(self._chunks, b"")
        self._rest = memoryview(chunk)
        self.ended = not chunk


def _too_large() -> errors.ApiError:
    return errors.ApiError(
        413,
        "INVALID_PARAMETER_VALUE",
        f"The file is larger than {LARGEST // (1024 * MIB)} GiB, the largest that the proxy can transfer.",
        reason="body-too-large",
    )
