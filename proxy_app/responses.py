"""Sending responses to the client: a complete one in one write, a stream chunk by chunk, the proxy's own ones."""

import asyncio
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import NoReturn, TypeVar

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from . import aiohttp_internals
from .context import RequestContext
from .http_client import ClientError, ReadTimeout

log = logging.getLogger(__name__)

_BODILESS = frozenset({204, 304})
# A body up to this size is sent together with its head; a larger one in parts, so that no copy of it is buffered.
_ONE_WRITE = 128 * 1024
_Response = TypeVar("_Response", bound=web.StreamResponse)
Headers = Sequence[tuple[bytes, bytes]]


class BufferedResponse(web.StreamResponse):
    """A complete response whose head and body are sent in one write.

    aiohttp's own response parses the head, examines each header and serializes it again, which is an eighth of the
    processor time of a small request (``make bench``). Not for HEAD, 204 and 304, which have no body. ``headers`` are
    sent unchanged and contain none that frames the response. Raises ValueError for a line break in one, as aiohttp
    does.
    """

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes) -> None:
        super().__init__(status=status, reason=reason)
        lines = [b"%b: %b\r\n" % header for header in headers]
        if body and b"content-type" not in [name.lower() for name, _ in headers]:
            # As aiohttp does, so that browsers do not guess.
            lines.append(b"Content-Type: application/octet-stream\r\n")
        self._head = head = b"%d %b\r\n%b" % (status, reason.encode("latin-1"), b"".join(lines))
        # The upstream's parser rejects them; a line break that got here would split the response.
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * (len(lines) + 1):
            raise ValueError("A header of the upstream's response holds a line break")
        self._whole = body
        self._sent = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send head and body, once: a handler calls this before aiohttp does."""
        if self._sent:
            return
        self._sent = True
        if self.keep_alive is None:
            aiohttp_internals.set_keep_alive(self, request.keep_alive)
        newer = request.version >= HttpVersion11
        connection = b""
        if self.keep_alive is not newer:  # not the version's default
            connection = b"Connection: close\r\n" if newer else b"Connection: keep-alive\r\n"
        writer = request.writer
        await writer.write(
            b"HTTP/1.%d %b%bDate: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (newer, self._head, connection, _date(int(time.time())), len(self._whole), self._whole)
        )
        # Also after a short one: a client may send request after request and read no response.
        await writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: ``prepare`` has sent everything."""


async def send(
    context: RequestContext, status: int, reason: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> web.StreamResponse:
    """Send a complete response with the standard headers added. ``body`` is empty or ignored for 204 and 304."""
    if context.method == "HEAD" or status in _BODILESS:
        length = len(body) if context.method == "HEAD" else None
        return await stream(context, status, reason, headers, length, _parts(b""))
    if len(body) > _ONE_WRITE:
        return await stream(context, status, reason, headers, len(body), _parts(body))
    context.status = status
    response = BufferedResponse(status, reason, [*headers, *context.standard_headers()], body)
    close_if_draining(context, response)
    # Here rather than by aiohttp: the client does not wait until the request is recorded.
    await response.prepare(context.request)
    context.bytes_out = len(body)
    return response


async def stream(
    context: RequestContext,
    status: int,
    reason: str,
    headers: Iterable[tuple[bytes, bytes]],
    content_length: int | None,
    chunks: AsyncIterator[bytes],
) -> web.StreamResponse:
    """Send a response chunk by chunk, with the standard headers added; ``content_length`` is None if unknown.

    If ``chunks`` raises, the connection is aborted and CancelledError raised, so that the client detects the incomplete
    response.
    """
    context.status = status
    sent = [*headers, *context.standard_headers()]
    decoded = CIMultiDict([(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in sent])
    response = web.StreamResponse(status=status, reason=reason, headers=decoded)
    response.content_length = content_length
    close_if_draining(context, response)
    request = context.request
    await response.prepare(request)
    try:
        async for chunk in chunks:
            await response.write(chunk)
            context.bytes_out += len(chunk)
        # aiohttp waits above its own buffer limit only, which short chunks never reach.
        await request.writer.drain()
    except ClientError as error:
        context.error = "upstream-read-timeout" if isinstance(error, ReadTimeout) else "upstream-read-error"
        _abort(request)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        log.exception("Internal error in the response of request %s", context.request_id, extra={"event": "error"})
        context.error = "internal-error"
        _abort(request)
    return response


def own(context: RequestContext, response: _Response) -> _Response:
    """Complete a response that a handler created: add the standard headers, and record status and size."""
    context.status = response.status
    body = getattr(response, "body", None)
    if isinstance(body, bytes) and context.method != "HEAD":
        context.bytes_out = len(body)
    for name, value in context.standard_headers():
        if name == b"Set-Cookie":
            response.headers.add("Set-Cookie", value.decode())
        else:
            response.headers[name.decode()] = value.decode()
    return close_if_draining(context, response)


def close_if_draining(context: RequestContext, response: _Response) -> _Response:
    """While the process drains, each response closes its connection, so that clients connect to another one."""
    if context.lifecycle.draining:
        response.force_close()
    return response


async def _parts(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _ONE_WRITE):
        yield body[start : start + _ONE_WRITE]


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


def abort(request: web.BaseRequest) -> None:
    """Abort the client's connection: after an orderly close, an incomplete response could look complete."""
    if request.transport is not None:
        if request.version < HttpVersion11:
            # Such a response may have neither length nor chunks: only a reset marks it as incomplete.
            sock = request.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def _abort(request: web.BaseRequest) -> NoReturn:
    abort(request)
    # As aiohttp does for a client that disconnected.
    raise asyncio.CancelledError
