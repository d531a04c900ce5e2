"""The database's password: given, or read from Secret Manager and read again when it is refused."""

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

_TIMEOUT = 10.0
# Between two reads after a refusal: who is refused for another reason does not ask Secret Manager for each connection.
_PAUSE = 5.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class PasswordError(Exception):
    """There is no password to be had; the message says why."""


class Password(Protocol):
    def current(self) -> bytes:
        """The password as far as is known. Raises PasswordError."""
        ...

    def other_than(self, refused: bytes) -> bytes | None:
        """A newer one than one that was refused; None if there is none. Raises PasswordError."""
        ...


def password_of(settings: Settings) -> Password:
    if settings.database_password_secret:
        return SecretPassword(settings.secret_manager, settings.database_password_secret)
    return GivenPassword(settings.database_password)


class GivenPassword:
    """It is what it is."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()

    def current(self) -> bytes:
        return self._password

    def other_than(self, refused: bytes) -> bytes | None:
        return None if refused == self._password else self._password


def google_token() -> str:
    """An access token for whoever this process is at Google. Raises GoogleAuthError.

    Not by google-auth's own session: that looks up where the account may be used from, at another of Google's hosts
    and in a thread.
    """
    untyped: Any = google.auth
    credentials, _ = untyped.default(scopes=[_SCOPE])
    with requests.Session() as session:
        credentials.refresh(Request(session))
    return cast("str", credentials.token)


class SecretPassword:
    """Read when it is first asked for, in whichever process that is. Threads may share it."""

    def __init__(self, endpoint: str, version: str, token: Callable[[], str] = google_token) -> None:
        self._token = token
        self._url = f"{endpoint}/v1/{version}:access"
        self._version = version
        self._lock = threading.Lock()
        self._known: bytes | None = None
        self._asked_again_at = -_PAUSE

    def current(self) -> bytes:
        with self._lock:
            return self._read() if self._known is None else self._known

    def other_than(self, refused: bytes) -> bytes | None:
        with self._lock:
            if self._known == refused and time.monotonic() - self._asked_again_at >= _PAUSE:
                self._asked_again_at = time.monotonic()
                self._read()
            return None if self._known == refused else self._known

    def _read(self) -> bytes:
        try:
            headers = {"Authorization": f"Bearer {self._token()}"}
            answer = requests.get(self._url, headers=headers, timeout=_TIMEOUT)
        except (google.auth.exceptions.GoogleAuthError, requests.RequestException) as error:
            raise PasswordError(f"{self._version} cannot be read: {error}") from error
        if answer.status_code != 200:
            raise PasswordError(f"{self._version} cannot be read: {_said(answer)}")
        self._known = self._checked(answer)
        return self._known

    def _checked(self, answer: requests.Response) -> bytes:
        """https://cloud.google.com/secret-manager/docs/reference/rest/v1/SecretPayload"""
        try:
            payload = answer.json()["payload"]
            data = base64.b64decode(payload["data"], validate=True)
            actual: int = _untyped.value(data)
            checksum = int(payload.get("dataCrc32c", actual))
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise PasswordError(f"{self._version} cannot be read: that is no answer of Secret Manager's") from None
        if checksum != actual:
            raise PasswordError(f"{self._version} was damaged on its way: its checksum is another one")
        # What an editor or echo has left at the end is no part of it.
        return data.removesuffix(b"\n").removesuffix(b"\r")


def _said(answer: requests.Response) -> str:
    """Google's own sentence, which names the missing permission."""
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text
    return f"{answer.status_code} {str(message)[:500]}"
