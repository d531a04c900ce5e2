"""The plain way on to the MLflow server: bytes as they are, both ways."""

import asyncio
import io

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local.fake_sagemaker import faults
from local.fake_sagemaker.faults import Fault
from local.fake_sagemaker.refusals import Refusal

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


class Mlflow:
    """The MLflow server behind a fake SageMaker; `url` is its origin."""

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
        await self._session.close()

    async def answer(
        self,
        request: web.BaseRequest,
        body: bytes,
        *,
        strip: frozenset[str],
        extra: dict[str, str],
        fault: Fault | None = None,
    ) -> web.StreamResponse:
        """Send the request on without the headers in `strip`, and stream the answer with those in `extra`.

        Refusal (503) when MLflow cannot be reached. Breaks the connection when MLflow breaks in mid-answer.
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
            raise Refusal("ServiceUnavailable", f"MLflow does not answer: {error}", status=503) from error
        async with upstream:
            if fault is not None and fault.kind == "reset" and fault.after_bytes == 0:
                faults.reset(request)
            response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            response.headers.update(extra)
            await response.prepare(request)
            try:
                await self._stream(upstream, response, request, fault)
            except aiohttp.ClientError:
                faults.reset(request)
            await response.write_eof()
            return response

    async def _stream(
        self,
        upstream: aiohttp.ClientResponse,
        response: web.StreamResponse,
        request: web.BaseRequest,
        fault: Fault | None,
    ) -> None:
        left = fault.after_bytes if fault is not None and fault.kind == "reset" else None
        async for chunk in upstream.content.iter_chunked(_CHUNK):
            if fault is not None:
                await asyncio.sleep(fault.chunk_delay)
            if left is None:
                await response.write(chunk)
                continue
            await response.write(chunk[:left])
            left -= len(chunk[:left])
            if left == 0:
                await _flushed(request)
                faults.reset(request)


async def _flushed(request: web.BaseRequest) -> None:
    """Until all that was written is with the kernel: a reset throws away the rest."""
    async with asyncio.timeout(5):
        while request.transport and request.transport.get_write_buffer_size():  # noqa: ASYNC110 - has no event
            await asyncio.sleep(0.001)
