"""Forwards requests to the MLflow server, with bodies unchanged in both directions."""

import asyncio
import io

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local.fake_sagemaker import faults
from local.fake_sagemaker.errors import AwsError
from local.fake_sagemaker.faults import Fault

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CHUNK = 64 * 1024


class MlflowUpstream:
    """An HTTP client of the MLflow server at the origin `url`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            skip_auto_headers=["Accept", "Accept-Encoding", "Content-Type", "User-Agent"],
            max_line_size=65536,
            max_field_size=65536,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def forward(
        self,
        request: web.BaseRequest,
        body: bytes,
        *,
        strip: frozenset[str],
        extra: dict[str, str],
        fault: Fault | None = None,
    ) -> web.StreamResponse:
        """Forward the request without the headers in `strip`; stream the response with the headers in `extra` added.

        AwsError (503) when MLflow is unreachable. Resets the connection when MLflow fails during the response.
        """
        dropped = _HOP_BY_HOP | strip | {"host", "content-length", "expect"}
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in dropped)
        try:
            upstream = await self._session.request(
                request.method,
                URL(self._url + request.raw_path, encoded=True),
                headers=headers,
                data=io.BytesIO(body) if body or request.method in {"POST", "PUT", "PATCH"} else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AwsError("ServiceUnavailable", f"MLflow is unreachable: {error}", status=503) from error
        async with upstream:
            if fault is not None and fault.kind == "reset" and fault.after_bytes == 0:
                faults.reset_connection(request)
            response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            response.headers.update(extra)
            await response.prepare(request)
            try:
                await self._stream(upstream, response, request, fault)
            except aiohttp.ClientError:
                faults.reset_connection(request)
            await response.write_eof()
            return response

    async def _stream(
        self,
        upstream: aiohttp.ClientResponse,
        response: web.StreamResponse,
        request: web.BaseRequest,
        fault: Fault | None,
    ) -> None:
        remaining = fault.after_bytes if fault is not None and fault.kind == "reset" else None
        async for chunk in upstream.content.iter_chunked(_CHUNK):
            if fault is not None:
                await asyncio.sleep(fault.chunk_delay)
            if remaining is None:
                await response.write(chunk)
                continue
            await response.write(chunk[:remaining])
            remaining -= len(chunk[:remaining])
            if remaining == 0:
                await _wait_until_flushed(request)
                faults.reset_connection(request)


async def _wait_until_flushed(request: web.BaseRequest) -> None:
    """Wait until the kernel has all written data: a reset discards the rest."""
    async with asyncio.timeout(5):
        while request.transport and request.transport.get_write_buffer_size():  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.001)
