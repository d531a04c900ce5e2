"""What the sources share: sessions, and Google's errors in words that say what to do."""

import contextlib
from collections.abc import Generator
from typing import Any, cast

import requests
from google.auth import exceptions
from google.auth.transport.requests import Request

from ..errors import TokenError

TIMEOUT = 20
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_LATE = "short-lived token"
# Google's words, and the remedy.
_ADVICE = (
    ("Invalid JWT Signature", "The key was deleted or has expired: make another, or impersonate, which needs none."),
    ("account not found", "The service account is gone: make another and a key for it."),
    (_LATE, "This machine's clock is wrong: set it."),
    ("expired or revoked", "Sign in again: gcloud auth application-default login --client-id-file=FILE."),
    ("invalid_rapt", "Sign in again: gcloud auth application-default login --client-id-file=FILE."),
    ("getOpenIdToken", "Grant roles/iam.serviceAccountOpenIdTokenCreator on the account to whoever impersonates it."),
    ("signJwt", "Grant roles/iam.serviceAccountTokenCreator on the account to whoever has it sign, itself included."),
    ("has not been used in project", "Enable iamcredentials.googleapis.com in that project."),
    (
        "invalid_audience",
        "The desktop client must be of the same project as IAP's client, or be IAP's audience itself.",
    ),
    ("invalid_client", "The desktop client is gone or its secret changed: get its file again, and sign in by it."),
    ("default credentials were not found", "Sign in: gcloud auth application-default login."),
    ("service-accounts/default", "This machine has no service account: give it one, or set MLFLOW_IAP_KEY_FILE."),
)


def session(*, proxies: bool = True) -> requests.Session:
    """A session for one exchange: none outlives it, so that threads and forks share no connection."""
    made = requests.Session()
    made.trust_env = proxies
    # Without an auth of its own `requests` would put what a .netrc has, `default` lines too, over ours.
    made.auth = _as_it_is
    return made


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def request_of(made: requests.Session) -> Any:
    """google-auth's way to call, which it wants untyped."""
    return Request(made)


def post(url: str, what: str, **body: Any) -> dict[str, Any]:
    """The JSON answer to a POST. Raises TokenError with Google's own reason."""
    with session() as made:
        response = made.post(url, timeout=TIMEOUT, allow_redirects=False, **body)
    try:
        answer: Any = response.json()
    except ValueError:
        answer = None
    if response.status_code == 200 and isinstance(answer, dict):
        return cast("dict[str, Any]", answer)
    reason = _reason(answer) or response.text[:200]
    transient = response.status_code >= 500 or response.status_code in {408, 429}
    raise failed(f"{what}: Google answers {response.status_code}: {reason}", transient=transient)


def _reason(answer: Any) -> str:
    """Of OAuth's errors ({"error": "...", "error_description"}) and of Google's APIs' ({"error": {"message"}})."""
    try:
        error = answer["error"]
        return f"{error}: {answer.get('error_description', '')}" if isinstance(error, str) else str(error["message"])
    except (KeyError, TypeError, AttributeError):
        return ""


@contextlib.contextmanager
def explained(what: str) -> Generator[None]:
    """Turns the errors of google-auth, of the network and of files into a TokenError that begins with `what`."""
    try:
        yield
    except exceptions.GoogleAuthError as error:
        # A failure of a token endpoint has Google's answer as a second argument.
        reason = str(error.args[0]) if error.args else type(error).__name__
        untyped: Any = error
        transient = isinstance(error, exceptions.TransportError) or bool(untyped.retryable)
        raise failed(f"{what}: {reason}", transient=transient) from error
    except requests.RequestException as error:
        raise TokenError(f"{what}: Google cannot be reached: {error}", transient=True) from error
    except (OSError, ValueError, KeyError) as error:
        raise TokenError(f"{what}: {type(error).__name__}: {error}") from error


def failed(message: str, *, transient: bool) -> TokenError:
    """The message with the remedy, if one is known for Google's words in it."""
    advice = next((f" {advice}" for words, advice in _ADVICE if words in message), "")
    return TokenError(message + advice, transient=transient, late=_LATE in message)
