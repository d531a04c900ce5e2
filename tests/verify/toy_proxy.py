"""A proxy as small as the tests allow: checks a bearer token and its role, passes on, and misbehaves as told."""

import asyncio
import dataclasses
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

# Sees a request before it is passed on; a response, when it gives one, is the answer.
Before = Callable[["Seen", web.Request], Awaitable[web.StreamResponse | None]]
# Gives the body that is passed on instead of the caller's.
Rewrite = Callable[["Seen"], bytes]
# Sees the upstream's answer and may change it; it may also keep the caller waiting.
After = Callable[["Seen", bytes], Awaitable[bytes]]


@dataclasses.dataclass(frozen=True)
class Seen:
    """One request: route is what follows /api/2.0/mlflow/."""

    method: str
    route: str
    authorization: str | None
    body: bytes


class ToyProxy:
    """Runs on a thread of its own, so that a test can wait for a process that talks to it."""

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
        self.seen: list[Seen] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._loop.close()

    async def die(self) -> None:
        """Close the door, and hang up on everyone inside."""
        await self._site.stop()
        for transport in list(self._transports):
            transport.abort()

    async def _serve(self) -> None:
        self._transports: set[asyncio.Transport] = set()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        self._site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls)
        await self._site.start()
        port: int = runner.addresses[0][1]
        self.url = f"{'https' if self.tls else 'http'}://localhost:{port}"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            self._started.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if isinstance(request.transport, asyncio.Transport):
            self._transports.add(request.transport)
        seen = Seen(
            request.method,
            request.path.removeprefix("/api/2.0/mlflow/"),
            request.headers.get("Authorization"),
            await request.read(),
        )
        self.seen.append(seen)
        if self.before and (response := await self.before(seen, request)):
            return response
        if refusal := self._refusal(seen):
            return refusal
        body = self.rewrite(seen) if self.rewrite else seen.body
        async with self._session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            data=body or None,
            headers={"Content-Type": "application/json"},
        ) as answer:
            body = await answer.read()
            if self.after:
                body = await self.after(seen, body)
            return web.Response(status=answer.status, body=body, content_type=answer.content_type)

    def _refusal(self, seen: Seen) -> web.Response | None:
        if not self.auth:
            return None
        role = ROLES.get((seen.authorization or "").removeprefix("Bearer "))
        if role is None:
            return error(401, "UNAUTHENTICATED", "Send a token: Authorization: Bearer ...")
        last = seen.route.rpartition("/")[2]
        needed = "viewer" if last.startswith(READS) else "admin" if last.startswith("delete") else "editor"
        ranks = ["viewer", "editor", "admin"]
        if ranks.index(role) < ranks.index(needed):
            return error(403, "PERMISSION_DENIED", f"This needs the role {needed}; yours is {role}.")
        return None


def error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)


def page(status: int, title: str, **headers: str) -> web.Response:
    text = f"<!doctype html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)
