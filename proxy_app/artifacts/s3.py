"""Requests to the bucket of the artifacts, signed with the proxy's credentials.

Measured against obstore and aiobotocore (docs/artifacts.md): as fast as the first, with the proxy's own credentials,
connections and timeouts, and without another dependency.
"""

import asyncio
import contextlib
import mmap
import random
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from .. import errors
from ..credentials import CredentialKeeper
from ..http_client import (
    CertificateError,
    ClientError,
    ConnectError,
    ConnectionPool,
    ReadTimeout,
    Response,
    Timeouts,
)
from ..request_body import EMPTY_BODY, BufferedBody
from ..settings import Settings
from ..sigv4 import Credentials, presigned_query, signed_headers
from ..tls import create_ssl_context
from .recording import sending
from .root import ArtifactRoot
from .s3_error import S3Error
from .settings import ArtifactSettings

_UNRESERVED = "-_.~"
_UNSIGNED = "UNSIGNED-PAYLOAD"
# S3 answers 503 SlowDown while it adapts to more requests.
_ATTEMPTS = 4
_PAUSE = 0.2
_ERROR_LIMIT = 64 * 1024

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Request:
    """A request for the object ``key``; empty: for the bucket.

    ``action`` is the IAM action that it needs. ``headers`` have lower-case names; those that begin with x-amz-, and
    content-type, are signed. ``idempotent``: it may be sent again after its response was lost.
    """

    method: str
    action: str
    key: str = ""
    query: Pairs = ()
    headers: Pairs = ()
    body: BufferedBody = EMPTY_BODY
    idempotent: bool = True


class S3:
    """The bucket of ``root`` in ``region``, or at MLFLOW_PROXY's ``s3_endpoint``."""

    def __init__(self, settings: Settings, root: ArtifactRoot, region: str, credentials: CredentialKeeper) -> None:
        self.bucket = root.bucket
        self._region = region
        self._credentials = credentials
        origin = settings.section(ArtifactSettings).s3_endpoint
        # With a dot, the name does not match the certificate of *.s3.REGION.amazonaws.com.
        by_path = bool(origin) or "." in self.bucket
        host = f"s3.{region}.amazonaws.com"
        self._origin = origin or f"https://{host if by_path else f'{self.bucket}.{host}'}"
        self._base = f"/{self.bucket}" if by_path else ""
        self._secure = self._origin.startswith("https:")
        timeouts = Timeouts(
            connect=settings.connect_timeout, read=settings.upstream_timeout, keepalive=settings.upstream_keepalive
        )
        self._timeout = settings.upstream_timeout
        self._pool = ConnectionPool(self._origin, timeouts, lambda: create_ssl_context(settings.ca_bundle))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Connections can be made in this block."""
        async with self._pool.running():
            yield

    async def body(self, content: bytes | bytearray | mmap.mmap) -> BufferedBody:
        """``content`` as the body of a request; hashed only where TLS does not protect it."""
        if self._secure:
            return BufferedBody(content, _UNSIGNED)
        return BufferedBody(content, await asyncio.to_thread(lambda: sha256(content).hexdigest()))

    async def send(self, request: S3Request, *, accept: Collection[int] = ()) -> Response:
        """The response with a status below 300 or in ``accept``; its body must be read or closed.

        Expired credentials are renewed once, and temporary failures are repeated. Raises ApiError.
        """
        attempt, renewed = 0, False
        while True:
            attempt += 1
            credentials = self._credentials.current()
            response = await self._send(request, credentials)
            if response.status < 300 or response.status in accept:
                return response
            error = S3Error.parse(response.status, await _read_error(response))
            if error.stale and not renewed and await self._credentials.renew(credentials):
                renewed = True
                continue
            if not error.temporary or attempt == _ATTEMPTS:
                raise error.api_error(self.bucket, request.action)
            await asyncio.sleep(_PAUSE * 2**attempt * random.uniform(0.5, 1))

    async def read(self, request: S3Request) -> tuple[Response, bytes]:
        """The response and its whole body, for answers that are short. Raises ApiError."""
        response = await self.send(request)
        try:
            return response, await response.read()
        except ClientError as error:
            raise connection_error(error, self._timeout) from error

    def presigned(self, method: str, key: str, query: Pairs, seconds: int, headers: Pairs = ()) -> str:
        """A URL that allows ``method`` on an object for ``seconds``. ``headers`` must be sent with it."""
        path = self._path(key)
        signed = presigned_query(
            method,
            path,
            _encoded(query),
            [("host", self._pool.host), *headers],
            credentials=self._credentials.current(),
            region=self._region,
            service="s3",
            now=time.time(),
            seconds=seconds,
        )
        return f"{self._origin}{path}?{signed}"

    def _path(self, key: str) -> str:
        return f"{self._base}/{quote(key, safe='/' + _UNRESERVED)}"

    async def _send(self, request: S3Request, credentials: Credentials) -> Response:
        path, query, body = self._path(request.key), _encoded(request.query), request.body
        signed = [("host", self._pool.host)]
        signed += [pair for pair in request.headers if pair[0] == "content-type" or pair[0].startswith("x-amz-")]
        signature = signed_headers(
            request.method,
            path,
            query,
            signed,
            body.sha256,
            credentials=credentials,
            region=self._region,
            service="s3",
            now=time.time(),
            double_encode_path=False,
        )
        try:
            response, _ = await self._pool.send(
                request.method,
                f"{path}?{query}" if query else path,
                [
                    (name.encode(), value.encode("utf-8", "surrogateescape"))
                    for name, value in (*request.headers, *signature)
                ],
                body.payload,
                length=len(body.content),
                idempotent=request.idempotent,
                sending=sending,
            )
        except ClientError as error:
            raise connection_error(error, self._timeout) from error
        return response


def connection_error(error: ClientError, timeout: float) -> errors.ApiError:
    """The ApiError for a request to S3 without a complete response."""
    match error:
        case CertificateError():
            return errors.bad_gateway(
                f"The certificate of S3 is not trusted: {error}.", reason="s3-certificate-untrusted"
            )
        case ConnectError():
            return errors.bad_gateway("The proxy cannot connect to S3.", reason="s3-connect-error")
        case ReadTimeout():
            return errors.unavailable(f"S3 did not respond within {timeout:g} seconds.", reason="s3-timeout")
        case _:
            return errors.bad_gateway("The connection to S3 was lost.", reason="s3-read-error")


async def _read_error(response: Response) -> bytes:
    parts: list[bytes] = []
    # An error without a body is known by its status.
    with contextlib.suppress(ClientError):
        async for chunk in response.chunks():
            parts.append(chunk)
            if sum(map(len, parts)) > _ERROR_LIMIT:
                break
    response.close()
    return b"".join(parts)


def _encoded(query: Pairs) -> str:
    return "&".join([f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for name, value in query])
