"""Connections to a Cloud SQL instance with Google's connector: mutual TLS, with a certificate that lasts an hour.

The connector gets the certificate from the Cloud SQL Admin API when a connection needs one, and a new one when the last
has four minutes left. https://github.com/GoogleCloudPlatform/cloud-sql-python-connector
"""

import asyncio
import logging
import socket
import ssl
import threading
import types
from typing import Any

import aiohttp
import google.auth.exceptions
import pymysql
from google.auth.credentials import Credentials
from google.cloud.sql.connector import Connector, connector
from google.cloud.sql.connector.exceptions import CloudSQLIPTypeError
from pymysql.constants import CR

from .settings import Settings

log = logging.getLogger(__name__)

# Seconds, for each step: TCP and TLS handshake.
_SOCKET_TIMEOUT = 10.0
# Seconds, for everything: API, certificate, handshakes and login.
_TIMEOUT = 20.0


def _create_connection(address: tuple[str, int]) -> socket.socket:
    created = socket.create_connection(address, _SOCKET_TIMEOUT)
    # As PyMySQL does with its own sockets.
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return created


# The connector opens sockets in the thread of its event loop, without a timeout: one that hangs would block all others.
_untyped: Any = connector
_untyped.socket = types.SimpleNamespace(create_connection=_create_connection)


class CloudSql:
    """One instance, for all threads of a process.

    It has threads from the first `connect` on: `close` it before a fork.
    """

    def __init__(self, settings: Settings, credentials: Credentials | None = None) -> None:
        """Without `credentials`, those of the container's Google account are used."""
        self._settings = settings
        self._credentials = credentials
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def connect(self, **options: Any) -> Any:
        """A PyMySQL connection; `options` are PyMySQL's user, password, database and so on.

        Raises pymysql.err.OperationalError within 20 seconds.
        """
        try:
            with self._lock:
                if self._running is None:
                    self._running = _Running(self._settings, self._credentials)
                running = self._running
            # TLS is the connector's: PyMySQL must not start it again on this socket.
            return running.connect(self._settings.database_instance, {**options, "ssl_disabled": True})
        except pymysql.MySQLError:
            raise
        except Exception as error:
            # MLflow maps an OperationalError to 503, which clients retry.
            raise pymysql.err.OperationalError(
                CR.CR_CONN_HOST_ERROR,
                f"No connection to the Cloud SQL instance {self._settings.database_instance}: "
                f"{_explanation(error, self._settings)}",
            ) from error

    def close(self) -> None:
        """End the threads. Open connections stay open, and the next `connect` starts anew."""
        with self._lock:
            if self._running is not None:
                self._running.close()
            self._running = None


class _SlowError(Exception):
    """The total timeout has passed."""


class _Running:
    """A connector and the thread of its event loop."""

    def __init__(self, settings: Settings, credentials: Credentials | None) -> None:
        self._loop = asyncio.new_event_loop()
        # By default asyncio logs the error of a task that is not awaited, such as the second of two failed requests.
        # aiohttp's errors contain the request's headers, and so the access token.
        self._loop.set_exception_handler(_log_unhandled)
        self._connector = Connector(
            ip_type=settings.database_ip_type,
            enable_iam_auth=settings.database_iam_login,
            credentials=credentials,
            loop=self._loop,
            sqladmin_api_endpoint=settings.sql_admin_url,
            refresh_strategy="lazy",
        )
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="cloud-sql")
        self._thread.start()

    def connect(self, instance: str, options: dict[str, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(
            self._connector.connect_async(instance, "pymysql", **options), self._loop
        )
        try:
            return future.result(_TIMEOUT)
        except TimeoutError:
            # The coroutine's own errors can be of this type, too.
            if future.done():
                raise
            future.cancel()
            raise _SlowError from None

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._connector.close_async()
        await self._loop.shutdown_default_executor()


def _log_unhandled(_: object, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.debug("%s (%s)", context["message"], type(error).__name__)


def _explanation(error: Exception, settings: Settings) -> str:
    """The problem and what to do, on one line."""
    kind = settings.database_ip_type
    match error:
        case google.auth.exceptions.GoogleAuthError():
            # Its second argument is a response.
            return f"no access token of this container's Google account: {error.args[0] if error.args else error}"
        case aiohttp.ClientResponseError(status=403) if "has not been used" in error.message:
            # https://cloud.google.com/apis/docs/getting-started#enabling_apis
            return f"{error.message} (gcloud services enable sqladmin.googleapis.com)"
        case aiohttp.ClientResponseError(status=403):
            return f"{error.message} Grant roles/cloudsql.client on the project to this container's service account"
        case aiohttp.ClientResponseError(status=404):
            return f"{error.message} MLFLOW_APP_DATABASE_INSTANCE must be that of an existing instance"
        case aiohttp.ClientResponseError():
            return f"the Cloud SQL Admin API returned {error.status} {error.message}"
        case aiohttp.ClientError():
            return f"no response from the Cloud SQL Admin API at {settings.sql_admin_url}: {error}"
        case _SlowError():
            return f"neither it nor the Cloud SQL Admin API has answered within {_TIMEOUT:g} s"
        case CloudSQLIPTypeError():
            return f"it has no {kind} address: set MLFLOW_APP_DATABASE_IP_TYPE to the type of address that it has"
        case ssl.SSLError():
            return f"TLS with its {kind} address failed: {error}"
        case TimeoutError() if kind == "private":
            return "its private address does not answer. This container must be in the VPC network of the instance"
        case TimeoutError():
            return f"its {kind} address does not answer"
        case ValueError() if "region was mismatched" in str(error):
            return f"MLFLOW_APP_DATABASE_INSTANCE names a wrong region: {error}"
        case _:
            return f"{type(error).__name__}: {error}"
