"""Read-only requests to Google's REST APIs with Application Default Credentials."""

import os
import re
import threading
from collections.abc import Mapping
from typing import Any, cast

# google-auth reads it at import: without credentials it asks the metadata server three times.
os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")

import google.auth
import google.auth.exceptions
import requests
from google.auth import impersonated_credentials
from google.auth.transport.requests import AuthorizedSession, Request

from ..errors import Unchecked

_SECONDS = 15
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_PERMISSION = re.compile(r"['\s]([a-z][\w-]*\.[a-zA-Z]\w*\.[a-zA-Z]\w+)['\s]")
_LOG_IN = "run `gcloud auth application-default login`"


class GoogleError(Exception):
    """An error response of Google's APIs: HTTP status, message and reason (google.rpc.ErrorInfo)."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        """``reason`` is such as SERVICE_DISABLED; empty without details."""
        super().__init__(message)
        self.status = status
        self.reason = reason


class RejectedError(Unchecked):
    """Google issues no token for the credentials."""


class Gcp:
    """Requests for the project of the stack, with the quota project that the Google Cloud provider sends."""

    def __init__(
        self,
        config: Mapping[str, str],
        project: str,
        session: AuthorizedSession | None = None,
    ) -> None:
        """``config`` is the stack's. ``session``: default is one with Application Default Credentials."""
        self.config = config
        self.project = project
        self._given = session
        self._lock = threading.Lock()
        self._number_lock = threading.Lock()
        self._number: str | None = None

    def _session(self) -> AuthorizedSession:
        """A session that adds the token. Raises Unchecked without credentials."""
        with self._lock:
            if self._given is None:
                try:
                    credentials = cast("Any", google.auth).default(
                        scopes=_SCOPES, quota_project_id=self._quota_project()
                    )
                except google.auth.exceptions.GoogleAuthError as error:
                    raise Unchecked(_no_credentials(error)) from None
                self._given = AuthorizedSession(self._impersonated(credentials[0]), refresh_timeout=_SECONDS)
            return self._given

    def _impersonated(self, credentials: Any) -> Any:
        """Credentials of the service account that the Google Cloud provider impersonates, if the stack names one."""
        principal = self.config.get("gcp:impersonateServiceAccount")
        if not principal:
            return credentials
        found: Any = impersonated_credentials.Credentials(credentials, principal, list(_SCOPES))
        quota_project = self._quota_project()
        return found.with_quota_project(quota_project) if quota_project else found

    def _quota_project(self) -> str | None:
        if self.config.get("gcp:userProjectOverride") != "true":
            return None
        return self.config.get("gcp:billingProject") or self.project

    def principal(self) -> str:
        """Return the service account of the credentials, or their kind, with a new token. Raises Unchecked."""
        credentials = cast("Any", self._session()).credentials
        try:
            credentials.refresh(Request())
        except google.auth.exceptions.GoogleAuthError as error:
            raise RejectedError(_no_credentials(error)) from None
        return str(getattr(credentials, "service_account_email", None) or "credentials of a user")

    def number(self) -> str:
        """Return the project's number, looked up once. Raises Unchecked."""
        with self._number_lock:
            if self._number is None:
                self._number = str(self.resource()["name"]).removeprefix("projects/")
            return self._number

    def resource(self) -> dict[str, Any]:
        """Return the project."""
        return self.get(
            f"https://cloudresourcemanager.googleapis.com/v3/projects/{self.project}", "resourcemanager.projects.get"
        )

    def enabled(self, api: str) -> bool:
        """Whether an API, such as compute.googleapis.com, is enabled in the project."""
        name = f"projects/{self.project}/services/{api}"
        url = f"https://serviceusage.googleapis.com/v1/projects/{self.project}/services:batchGet"
        return self.get(url, "serviceusage.services.get", names=[name])["services"][0].get("state") == "ENABLED"

    def get(self, url: str, permission: str, **parameters: Any) -> dict[str, Any]:
        """Return the response of a GET request. ``permission`` is what it requires, by Google's
        documentation; empty for none.

        Raises Unchecked without credentials, connection, permission or API, and GoogleError for other errors.
        """
        return self._send("GET", url, permission, params=parameters)

    def query(self, url: str, permission: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the response of a POST request that changes nothing."""
        return self._send("POST", url, permission, json=body)

    def exists(self, url: str, permission: str) -> bool:
        """Whether there is a resource with this URL."""
        try:
            self.get(url, permission)
        except GoogleError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _send(self, method: str, url: str, permission: str, **arguments: Any) -> dict[str, Any]:
        try:
            response: requests.Response = cast("Any", self._session()).request(
                method, url, timeout=_SECONDS, **arguments
            )
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unchecked(_no_credentials(error)) from None
        except requests.RequestException as error:
            raise Unchecked(f"no response from {url.split('/')[2]}: {type(error).__name__}") from None
        if response.ok:
            return cast("dict[str, Any]", response.json() if response.content else {})
        raise _error(response, permission)


def _error(response: requests.Response, permission: str) -> Exception:
    try:
        error = cast("dict[str, Any]", response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return GoogleError(response.status_code, f"HTTP {response.status_code} of {response.url.split('?')[0]}")
    message = str(error.get("message", ""))
    details = [cast("dict[str, Any]", detail) for detail in error.get("details", [])]
    infos = [detail for detail in details if str(detail.get("@type", "")).endswith("ErrorInfo")]
    info = infos[0] if infos else dict[str, Any]()
    reason, metadata = str(info.get("reason", "")), cast("dict[str, str]", info.get("metadata") or {})
    if response.status_code == 401:
        return Unchecked(f"Google rejects the credentials: {_LOG_IN}")
    if reason == "SERVICE_DISABLED":
        api = metadata.get("service", response.url.split("/")[2])
        return Unchecked(f"the API {api} is disabled until `up`; to check before: `gcloud services enable {api}`")
    if response.status_code == 403:
        named = _PERMISSION.search(f" {message} ")
        return Unchecked("access denied", metadata.get("permission") or (named[1] if named else permission))
    return GoogleError(response.status_code, message, reason)


def _no_credentials(error: Exception) -> str:
    if isinstance(error, google.auth.exceptions.DefaultCredentialsError):
        return f"no Google credentials: {_LOG_IN}"
    return f"Google rejects the credentials: {_LOG_IN} ({str(error).splitlines()[0]})"
