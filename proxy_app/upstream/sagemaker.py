"""SageMaker's MLflow: each request is held, signed with the proxy's own credentials and sent."""

import contextlib
import time
from collections.abc import AsyncGenerator

from aiohttp import web

from .. import headers
from ..bodies import NO_BODY, Bodies, HeldBody
from ..credentials import CredentialKeeper
from ..routes import Route
from ..settings import Settings
from ..sigv4 import Credentials, canonical_path, encoded_query, signed_headers
from ..target import SageMakerTarget
from .aws_error import aws_error, read_short_error
from .pool import Answer, Headers, Pool, refuse_failing
from .ui_link import ui_link


class SageMakerUpstream:
    """Signs for a tracking server or an app."""

    def __init__(
        self, settings: Settings, target: SageMakerTarget, bodies: Bodies, credentials: CredentialKeeper
    ) -> None:
        self.origin = target.origin
        self._target = target
        self._arn_header = (target.arn_header.encode(), target.arn.encode())
        self._pool = Pool(settings, target.origin)
        self._bodies = bodies
        self._credentials = credentials

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._pool.running(), self._credentials.running():
            yield

    async def send(self, request: web.BaseRequest, route: Route) -> Answer:
        kept = headers.to_upstream(request)
        path, _, query = request.raw_path.partition("?")
        path, query = canonical_path(path), encoded_query(query)
        body = await self._bodies.hold(request)
        try:
            return await self._signed(request.method, path, query, kept, body, replay=route.replay)
        finally:
            self._bodies.release(body)

    async def probe(self) -> None:
        # An experiment that always exists, and an action that the weakest role of a proxy has.
        path, query = "/api/2.0/mlflow/experiments/get", "experiment_id=0"
        await refuse_failing(await self._signed("GET", path, query, (), NO_BODY, replay=True))

    async def ui_link(self) -> str:
        """A fresh link into MLflow's own UI, for one use within a minute. It carries the proxy's rights."""
        return await ui_link(self._target, self._credentials.current())

    async def _signed(
        self, method: str, path: str, query: str, kept: Headers, body: HeldBody, *, replay: bool
    ) -> Answer:
        credentials = self._credentials.current()
        answer = await self._send(method, path, query, kept, body, credentials, replay=replay)
        refused = aws_error(answer)
        # Stale credentials are refused at the door: nothing was carried out, so any request may be sent again.
        if refused and refused.stale and await self._credentials.renew(credentials):
            answer = await self._send(method, path, query, kept, body, self._credentials.current(), replay=replay)
            refused = aws_error(answer)
        if refused:
            refusal = refused.refusal()
            refusal.attempts = answer.attempts
            raise refusal
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: str,
        kept: Headers,
        body: HeldBody,
        credentials: Credentials,
        *,
        replay: bool,
    ) -> Answer:
        target = self._target
        signed = [("host", self._pool.host), (target.arn_header, target.arn)]
        types = [value for name, value in kept if name.lower() == b"content-type"]
        if types:
            # One of them, since a second would be signed as a part of the first.
            kept = [header for header in kept if header[0].lower() != b"content-type"]
            kept.append((b"content-type", types[0]))
            signed.append(("content-type", types[0].decode("utf-8", "surrogateescape")))
        added = signed_headers(
            method,
            path,
            query,
            signed,
            body.sha256,
            credentials=credentials,
            region=target.region,
            service=target.service,
            now=time.time(),
        )
        sent = [*kept, self._arn_header, *[(name.encode(), value.encode()) for name, value in added]]
        answer = await self._pool.send(
            method,
            f"{path}?{query}" if query else path,
            sent,
            body.payload,
            length=len(body.content),
            replay=replay,
        )
        return answer if answer.response.status < 400 else await read_short_error(answer)
