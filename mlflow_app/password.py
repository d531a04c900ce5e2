"""The database's password: from the settings, or from Secret Manager, read again when the database rejects it."""

import base64
import binascii
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

import google.auth
import google.auth.exceptions
import google_crc32c
import requests
from google.auth.transport.requests import Request

from .settings import Settings

_untyped: Any = google_crc32c

_TIMEOUT_SECONDS = 10.0
# The minimum between two reads after a rejection: a login that fails for another reason must not read the secret for
# each connection.
_MIN_REFRESH_INTERVAL_SECONDS = 5.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class PasswordError(Exception):
    """The password cannot be read; the message contains the reason."""


class PasswordSource(Protocol):
    """The source of the database's password."""

    def current(self) -> bytes:
        """The last known password. Raises PasswordError."""
        ...

    def newer_than(self, rejected: bytes) -> bytes | None:
        """A password other than one that the database rejected; None if there is none. Raises PasswordError."""
        ...


def password_source(settings: Settings) -> PasswordSource:
    """The source that the settings select."""
    if settings.database_password_secret:
        return SecretPassword(settings.secret_manager_url, settings.database_password_secret)
    return StaticPassword(settings.database_password)


class StaticPassword:
    """A password that does not change."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()

    def current(self) -> bytes:
        """The password."""
        return self._password

    def newer_than(self, rejected: bytes) -> bytes | None:
        """None for the password itself."""
        return None if rejected == self._password else self._password


def google_access_token() -> str:
    """An access token of this process's Google account. Raises GoogleAuthError.

    google-auth's own session is not used: it looks up allowed locations of the account, at another Google host and in a
    thread.
    """
    untyped: Any = google.auth
    credentials, _ = untyped.default(scopes=[_SCOPE])
    with requests.Session() as session:
        credentials.refresh(Request(session))
    return cast("str", credentials.token)


class SecretPassword:
    """A version of a secret in Secret Manager, read at first use in each process. Thread-safe."""

    def __init__(self, secret_manager_url: str, version: str, token: Callable[[], str] = google_access_token) -> None:
        self._token = token
        self._url = f"{secret_manager_url}/v1/{version}:access"
        self._version = version
        self._lock = threading.Lock()
        self._known: bytes | None = None
        self._refreshed_at = -_MIN_REFRESH_INTERVAL_SECONDS

    def current(self) -> bytes:
        """The last value that was read. Raises PasswordError."""
        with self._lock:
            return self._read() if self._known is None else self._known

    def newer_than(self, rejected: bytes) -> bytes | None:
        """Read the secret again if the last value was rejected. Raises PasswordError."""
        with self._lock:
            if self._known == rejected and time.monotonic() - self._refreshed_at >= _MIN_REFRESH_INTERVAL_SECONDS:
                self._refreshed_at = time.monotonic()
                self._read()
            return None if self._known == rejected else self._known

    def _read(self) -> bytes:
        try:
            headers = {"Authorization": f"Bearer {self._token()}"}
            response = requests.get(self._url, headers=headers, timeout=_TIMEOUT_SECONDS)
        except (google.auth.exceptions.GoogleAuthError, requests.RequestException) as error:
            raise PasswordError(f"Reading {self._version} failed: {error}") from error
        if response.status_code != 200:
            raise PasswordError(f"Reading {self._version} failed: {_reason(response)}")
        self._known = self._parse(response)
        return self._known

    def _parse(self, response: requests.Response) -> bytes:
        """https://cloud.google.com/secret-manager/docs/reference/rest/v1/SecretPayload"""
        try:
            payload = response.json()["payload"]
            data = base64.b64decode(payload["data"], validate=True)
            actual: int = _untyped.value(data)
            checksum = int(payload.get("dataCrc32c", actual))
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise PasswordError(f"Reading {self._version} failed: the response is not Secret Manager's") from None
        if checksum != actual:
            raise PasswordError(f"Reading {self._version} failed: the checksum does not match")
        # Editors and echo append a newline, which is not part of the password.
        return data.removesuffix(b"\n").removesuffix(b"\r")


def _reason(response: requests.Response) -> str:
    """The status and Google's message, which names the missing permission."""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text
    return f"{response.status_code} {str(message)[:500]}"
