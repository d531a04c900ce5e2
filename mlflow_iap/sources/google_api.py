"""Calls to Google's APIs: sessions, POST requests, and errors with a remedy."""

import contextlib
from collections.abc import Generator
from typing import Any, cast

import requests
from google.auth import exceptions
from google.auth.transport.requests import Request

from ..errors import TokenError

_TIMEOUT_SECONDS = 20
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_CLOCK_ERROR = "short-lived token"
_GCLOUD_LOGIN = "Sign in again: gcloud auth application-default login --client-id-file=FILE."
# A part of Google's message, and the remedy.
_ADVICE = (
    ("Invalid JWT Signature", "The key was deleted or has expired: create a new one, or impersonate the account."),
    ("account not found", "The service account does not exist: create it and a key for it."),
    (_CLOCK_ERROR, "This machine's clock is wrong: set it."),
    ("expired or revoked", _GCLOUD_LOGIN),
    ("invalid_rapt", _GCLOUD_LOGIN),
    ("getOpenIdToken", "Grant the impersonating account roles/iam.serviceAccountOpenIdTokenCreator on it."),
    (
        "signJwt",
        "Grant the calling account, which may be the account itself, roles/iam.serviceAccountTokenCreator on it.",
    ),
    ("has not been used in project", "Enable iamcredentials.googleapis.com in that project."),
    (
        "invalid_audience",
        "The desktop client must be in the same project as IAP's client, or be IAP's audience itself.",
    ),
    (
        "invalid_client",
        "The desktop client was deleted or its secret has changed: download its file again and sign in with it.",
    ),
    ("default credentials were not found", "Sign in: gcloud auth application-default login."),
    ("service-accounts/default", "This machine has no service account: attach one, or set MLFLOW_IAP_KEY_FILE."),
)


def create_session(*, use_proxies: bool = True) -> requests.Session:
    """A session for one exchange: threads and forked processes share no connection."""
    session = requests.Session()
    session.trust_env = use_proxies
    # Without an auth object `requests` would replace the Authorization header with credentials from .netrc.
    session.auth = _unchanged
    return session


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def auth_request(session: requests.Session) -> Any:
    """The session as google-auth's transport, which is untyped."""
    return Request(session)


def post(url: str, operation: str, **body: Any) -> dict[str, Any]:
    """The JSON object that a POST returns. Raises TokenError with `operation` and Google's reason."""
    with create_session() as session:
        response = session.post(url, timeout=_TIMEOUT_SECONDS, allow_redirects=False, **body)
    try:
        result: Any = response.json()
    except ValueError:
        result = None
    if response.status_code == 200 and isinstance(result, dict):
        return cast("dict[str, Any]", result)
    reason = _reason(result) or response.text[:200]
    transient = response.status_code >= 500 or response.status_code in {408, 429}
    raise _token_error(f"{operation}: Google responds {response.status_code}: {reason}", transient=transient)


def _reason(result: Any) -> str:
    """From an OAuth error ({"error": "...", "error_description"}) or a Google API's ({"error": {"message"}})."""
    try:
        error = result["error"]
        return f"{error}: {result.get('error_description', '')}" if isinstance(error, str) else str(error["message"])
    except (KeyError, TypeError, AttributeError):
        return ""


@contextlib.contextmanager
def token_errors(message: str) -> Generator[None]:
    """Convert errors of google-auth, the network and files to TokenError; its text starts with `message`."""
    try:
        yield
    except exceptions.GoogleAuthError as error:
        # The first argument is the message; errors of a token endpoint have Google's response as the second.
        reason = str(error.args[0]) if error.args else type(error).__name__
        untyped: Any = error
        transient = isinstance(error, exceptions.TransportError) or bool(untyped.retryable)
        raise _token_error(f"{message}: {reason}", transient=transient) from error
    except requests.RequestException as error:
        raise TokenError(f"{message}: Google is unreachable: {error}", transient=True) from error
    except (OSError, ValueError, KeyError) as error:
        raise TokenError(f"{message}: {type(error).__name__}: {error}") from error


def _token_error(message: str, *, transient: bool) -> TokenError:
    """A TokenError; the remedy is added if the message has a known part."""
    advice = next((f" {advice}" for part, advice in _ADVICE if part in message), "")
    return TokenError(message + advice, transient=transient, time_related=_CLOCK_ERROR in message)
