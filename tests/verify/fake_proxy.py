"""A fake of the proxy: it checks a bearer token and its role, forwards requests, and injects faults."""

import asyncio
import dataclasses
import io
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

ADMIN, EDITOR, VIEWER = "token-of-an-admin", "token-of-an-editor", "token-of-a-viewer"
ROLES = {ADMIN: "admin", EDITOR: "editor", VIEWER: "viewer"}
READS = ("search", "get", "list")

# Called before a request is forwarded; may return the response instead.
Before = Callable[["RecordedRequest", web.Request], Awaitable[web.StreamResponse | None]]
# Returns the body to forward instead of the client's.
Rewrite = Callable[["RecordedRequest"], bytes]
# Called with the upstream's response body; returns the body to send, and may delay it.
After = Callable[["RecordedRequest", bytes], Awaitable[bytes]]


@dataclasses.dataclass(frozen=True)
class RecordedRequest:
    """A request; `route` is the path after /api/2.0/mlflow/."""

    method: str
    route: str
    authorization: str | None
    body: bytes


class FakeProxy:
    """Runs in a thread, so that a test can wait for a child process that uses it.

    `requests` are those received. `auth`: whether it requires a token; without, it forwards the client's.
    """

    def __init__(
        self,
        upstream: str,
        *,
        auth: bool = True,
        before: Before | None = None,
        rewrite: Rewrite | None = None,
        after: After | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.upstream = upstream
        self.auth = auth
        self.before = before
        self.rewrite = rewrite
        self.after = after
        self.tls = tls
        self.requests: list[RecordedRequest] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._loop.close()

    async def crash(self) -> None:
        """Stop listening and close all connections."""
        await self._site.stop()
        for transport in list(self._transports):
            transport.abort()

    async def _serve(self) -> None:
        self._transports: set[asyncio.Transport] = set()
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        self._site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls)
        await self._site.start()
        port: int = runner.addresses[0][1]
        self.url = f"{'https' if self.tls else 'http'}://localhost:{port}"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            self._started.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if isinstance(request.transport, asyncio.Transport):
            self._transports.add(request.transport)
        recorded = RecordedRequest(
            request.method,
            request.path.removeprefix("/api/2.0/mlflow/"),
            request.headers.get("Authorization"),
            await request.read(),
        )
        self.requests.append(recorded)
        if self.before and (response := await self.before(recorded, request)):
            return response
        if rejection := self._rejection(recorded):
            return rejection
        body = self.rewrite(recorded) if self.rewrite else recorded.body
        async with self._session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            data=io.BytesIO(body) if body else None,
            headers={
                "Content-Type": "application/json",
                **({"Authorization": recorded.authorization} if recorded.authorization and not self.auth else {}),
            },
        ) as upstream_response:
            body = await upstream_response.read()
            if self.after:
                body = await self.after(recorded, body)
            return web.Response(status=upstream_response.status, body=body, content_type=upstream_response.content_type)

    def _rejection(self, recorded: RecordedRequest) -> web.Response | None:
        if not self.auth:
            return None
        role = ROLES.get((recorded.authorization or "").removeprefix("Bearer "))
        if role is None:
            return error(401, "UNAUTHENTICATED", "Send a token: Authorization: Bearer ...")
        last = recorded.route.rpartition("/")[2]
        needed = "viewer" if last.startswith(READS) else "admin" if last.startswith("delete") else "editor"
        ranks = ["viewer", "editor", "admin"]
        if ranks.index(role) < ranks.index(needed):
            return error(403, "PERMISSION_DENIED", f"Requires the role {needed}; got the role {role}.")
        return None


def error(status: int, code: str, message: str) -> web.Response:
    """An error response in MLflow's format."""
    return web.json_response({"error_code": code, "message": message}, status=status)


def page(status: int, title: str, **headers: str) -> web.Response:
    """An HTML response."""
    text = f"<!doctype html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)
