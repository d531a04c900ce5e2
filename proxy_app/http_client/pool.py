"""Pooled connections to one origin, and which requests may be sent again after an error."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..background import background_task
from .connection import READ_SIZE, Body, ClientError, ConnectError, Connection, ReadError, ReadTimeout, Response

# Together with the retry budget this bounds the load that retries add to a failing server.
_RETRIES = 2
_RETRY_PAUSE = 0.05
_RETRY_SHARE = 0.1
_RETRY_RESERVE = 10.0

Headers = Sequence[tuple[bytes, bytes]]


class CertificateError(ClientError):
    """The server's certificate is not trusted; the message is OpenSSL's."""


class InvalidHeaderError(ClientError):
    """A header contains a line break, and would be sent as another header or request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """In seconds. ``connect`` includes the TLS handshake; ``read`` is the longest wait for the server, by default.

    ``keepalive`` is how long an idle connection is reused.
    """

    connect: float
    read: float
    keepalive: float


class RetryBudget:
    """Limits retries to a tenth of all requests, plus a reserve of ten."""

    def __init__(self) -> None:
        self._left = _RETRY_RESERVE

    def earn(self) -> None:
        """Count a request, which adds a tenth of a retry."""
        if self._left < _RETRY_RESERVE:
            self._left += _RETRY_SHARE

    def spend(self) -> bool:
        """Take one retry; False if the budget is exhausted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ConnectionPool:
    """Sends requests to one origin, ``scheme://host[:port]``. ``host`` is the value of the Host header.

    ``tls`` creates the TLS context when the pool starts; its errors are raised there.
    """

    def __init__(self, origin: str, timeouts: Timeouts, tls: Callable[[], ssl.SSLContext]) -> None:
        parts = urlsplit(origin)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        default_port = self._port == (443 if self._secure else 80)
        name = f"[{self._host}]" if ":" in self._host else self._host
        self.host = name if default_port else f"{name}:{self._port}"
        self._timeouts = timeouts
        self._create_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._budget = RetryBudget()
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._all: set[Connection] = set()
        # The last one used is taken first, so that the others become idle for long and are closed.
        self._idle: list[Connection] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Connections can be made in this block; at its end they are closed."""
        if self._secure:
            self._tls = self._create_tls()
        async with background_task(self._expire_connections()):
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
        idempotent: bool,
        body_replayable: bool = True,
        read_timeout: float | None = None,
        sending: Callable[[int], None] = lambda attempt: None,
    ) -> tuple[Response, int]:
        """(response with its head read, number of attempts).

        ``headers`` contain neither Host nor framing. ``body`` is called for each attempt and returns the body of
        ``length`` bytes, None if unknown; ``body_replayable`` is False if it can be called only once. ``idempotent``:
        the request may be sent again even if the server received it. ``read_timeout`` replaces ``Timeouts.read``.
        ``sending`` is called with the number of each attempt before its first byte is sent. Raises ClientError with
        ``attempts`` set.
        """
        head = self._head(method, path_and_query, headers, length)
        head_only = method == "HEAD"
        timeout = self._timeouts.read if read_timeout is None else read_timeout
        self._budget.earn()
        attempt = 0
        while True:
            attempt += 1
            try:
                connection = self._take_idle() or await self._connect()
                sending(attempt)
                response = await connection.exchange(
                    head, body(), read_timeout=timeout, head_only=head_only, chunked=length is None
                )
            except (ReadTimeout, CertificateError) as error:
                failure, may_repeat = error, False
            except ConnectError as error:
                # Nothing was sent, so every request may be sent again, also one with a streamed body.
                failure, may_repeat = error, True
            except ReadError as error:
                failure, may_repeat = error, idempotent and body_replayable
            else:
                return response, attempt
            if not (may_repeat and attempt <= _RETRIES and self._budget.spend()):
                failure.attempts = attempt if not isinstance(failure, CertificateError) else 0
                raise failure
            await asyncio.sleep(_RETRY_PAUSE * attempt)

    def _head(self, method: str, path_and_query: str, headers: Headers, length: int | None) -> bytes:
        lines = [f"{method} {path_and_query} HTTP/1.1\r\nhost: {self.host}".encode("utf-8", "surrogateescape")]
        lines += [b"%b: %b" % header for header in headers]
        if length is None:
            lines.append(b"transfer-encoding: chunked")
        elif length or method not in {"GET", "HEAD", "OPTIONS"}:
            lines.append(b"content-length: %d" % length)
        head = b"\r\n".join(lines)
        # The proxy's own parser rejects line breaks in headers; this check does not depend on it.
        if head.count(b"\n") != len(lines):
            raise InvalidHeaderError("a header holds a line break")
        return head + b"\r\n\r\n"

    def _take_idle(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._timeouts.keepalive
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeouts.connect):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._buffer, self._put_idle, self._all.discard),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._secure else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(error.verify_message) from error
        except (OSError, TimeoutError) as error:
            raise ConnectError(str(error)) from error
        self._all.add(connection)
        return connection

    def _put_idle(self, connection: Connection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def _expire_connections(self) -> None:
        """Close expired connections; one periodic pass costs less than a timer for each request."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._timeouts.read / 4))
            now = loop.time()
            oldest = now - self._timeouts.keepalive
            for connection in [idle for idle in self._idle if idle.idle_since < oldest or not idle.usable]:
                self._idle.remove(connection)
                connection.abort()
            for connection in list(self._all):
                if connection.deadline is not None and connection.deadline <= now:
                    connection.expire()
