"""Connections to one upstream, and what may be sent again when one breaks."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from .. import errors
from ..background import in_background
from ..settings import Settings
from ..trust import trusting
from .connection import Body, Broken, Connection, Response, Silent, Unreachable, UpstreamError

# Together with the budget this bounds what retries add when an upstream is in trouble.
_RETRIES = 2
_RETRY_PAUSE = 0.05
_RETRY_SHARE = 0.1
_RETRY_RESERVE = 10.0

Headers = Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """The upstream's answer and how many attempts it took. ``body`` is None while it is still to be read."""

    response: Response
    attempts: int
    body: bytes | None = None


class RetryBudget:
    """Retries are a tenth of all requests at most, with a small reserve for a quiet time."""

    def __init__(self) -> None:
        self._left = _RETRY_RESERVE

    def earn(self) -> None:
        if self._left < _RETRY_RESERVE:
            self._left += _RETRY_SHARE

    def spend(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Pool:
    """Sends requests to one origin."""

    def __init__(self, settings: Settings, origin: str) -> None:
        parts = urlsplit(origin)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        usual = self._port == (443 if self._secure else 80)
        name = f"[{self._host}]" if ":" in self._host else self._host
        # What the Host header says.
        self.host = name if usual else f"{name}:{self._port}"
        self._settings = settings
        self._trust: ssl.SSLContext | None = None
        self._budget = RetryBudget()
        self._all: set[Connection] = set()
        # The one used last goes first, so that the others grow old and are closed.
        self._idle: list[Connection] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Connections may be made in this block; at its end they are closed. Raises SettingsError."""
        if self._secure:
            self._trust = trusting(self._settings.ca_bundle)
        async with in_background(self._sweep()):
            try:
                yield
            finally:
                for connection in list(self._all):
                    connection.abort()

    async def send(
        self,
        method: str,
        path_and_query: str,
        headers: Headers,
        body: Callable[[], Body],
        *,
        length: int | None,
        replay: bool,
        once: bool = False,
    ) -> Answer:
        """The answer, its head read.

        ``headers`` hold neither Host nor framing. ``body`` gives the body anew for each attempt, ``length`` bytes of
        it, or None for not known; ``once`` says that it cannot give it twice, ``replay`` that the request may be sent
        again even if it was received. Refusal: 502 or 504 when there is no answer, 409 when there is none to a
        request that may have been carried out and must not be sent again blindly.
        """
        head = self._head(method, path_and_query, headers, length)
        head_only = method == "HEAD"
        self._budget.earn()
        attempt = 0
        while True:
            attempt += 1
            try:
                connection = self._take_idle() or await self._connect()
                response = await connection.exchange(head, body(), head_only=head_only, chunked=length is None)
            except Silent as error:
                failure, may_repeat = error, False
            except Unreachable as error:
                # Nothing was sent, so anything may go again, a streamed body too.
                failure, may_repeat = error, True
            except Broken as error:
                failure, may_repeat = error, replay and not once
            else:
                return Answer(response, attempt)
            if not (may_repeat and attempt <= _RETRIES and self._budget.spend()):
                refusal = self._refusal(failure, replay=replay)
                refusal.attempts = attempt
                raise refusal from failure
            await asyncio.sleep(_RETRY_PAUSE * attempt)

    def _head(self, method: str, path_and_query: str, headers: Headers, length: int | None) -> bytes:
        lines = [f"{method} {path_and_query} HTTP/1.1\r\nhost: {self.host}".encode("utf-8", "surrogateescape")]
        lines += [b"%b: %b" % header for header in headers]
        if length is None:
            lines.append(b"transfer-encoding: chunked")
        elif length or method not in {"GET", "HEAD", "OPTIONS"}:
            lines.append(b"content-length: %d" % length)
        head = b"\r\n".join(lines)
        # The server's parser let none through; a second line in a header would be somebody's own request.
        if head.count(b"\n") != len(lines):
            raise errors.malformed("A header of this request holds a line break.", reason="bad-header")
        return head + b"\r\n\r\n"

    def _take_idle(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._settings.upstream_keepalive
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._settings.upstream_timeout, self._put_idle, self._all.discard),
                    self._host,
                    self._port,
                    ssl=self._trust,
                    server_hostname=self._host if self._secure else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise errors.bad_gateway(
                f"MLflow's certificate is not trusted: {error.verify_message}.", reason="upstream-certificate"
            ) from error
        except (OSError, TimeoutError) as error:
            raise Unreachable(str(error)) from error
        self._all.add(connection)
        return connection

    def _put_idle(self, connection: Connection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def _sweep(self) -> None:
        """End what has waited too long; one look at all of them costs less than a timer for each request."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._settings.upstream_timeout / 4))
            now = loop.time()
            oldest = now - self._settings.upstream_keepalive
            for connection in [idle for idle in self._idle if idle.idle_since < oldest or not idle.usable]:
                self._idle.remove(connection)
                connection.abort()
            for connection in list(self._all):
                if connection.deadline is not None and connection.deadline <= now:
                    connection.expire()

    def _refusal(self, failure: UpstreamError, *, replay: bool) -> errors.Refusal:
        if isinstance(failure, Unreachable):
            return errors.bad_gateway("MLflow cannot be reached from the proxy.", reason="upstream-unreachable")
        if isinstance(failure, Silent):
            seconds = self._settings.upstream_timeout
            if replay:
                return errors.upstream_timeout(seconds)
            return errors.outcome_unknown(f"MLflow did not answer within {seconds:g} seconds.")
        if replay:
            return errors.bad_gateway("The connection to MLflow broke before the answer came.", reason="upstream-broke")
        return errors.outcome_unknown("The connection to MLflow broke before the answer came.")


async def refuse_failing(answer: Answer) -> None:
    """Refusal (502) for an answer of 500 and above, or one that breaks off."""
    status = answer.response.status
    try:
        await answer.response.read()
    except UpstreamError as error:
        raise errors.bad_gateway("The connection to MLflow broke in its answer.", reason="upstream-broke") from error
    if status >= 500:
        raise errors.bad_gateway(f"MLflow answers {status}.", reason="upstream-failing")
