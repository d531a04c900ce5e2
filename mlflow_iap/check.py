"""`python -m mlflow_iap check URL`: tests access step by step and reports the first problem.

IAP's responses: https://cloud.google.com/iap/docs/faq and .../authentication-howto. Responses that IAP generates have
the header X-Goog-IAP-Generated-Response; the reason of a 401 is in the body (googleapis/google-auth-library-nodejs#792,
GoogleCloudPlatform/professional-services#603, kubeflow/pipelines#4321).
"""

import enum
import json
import os
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import requests

from . import uploads
from .auth import IapAuth
from .cache import format_expiry
from .errors import IapError, SettingsError, TokenError
from .hosts import host_of, may_receive_token
from .jwt import Token

# A read request that every MLflow since 1.0 supports.
_PROBE = "/api/2.0/mlflow/experiments/search?max_results=1"
_PARTS = "/api/2.0/mlflow-artifacts/mpu/"
_PROBE_FILE = "mlflow-iap-check"
_TIMEOUT_SECONDS = 20
# Google tolerates half a minute; self-signed tokens are rejected if the clock is off by more than this.
_MAX_CLOCK_SKEW_SECONDS = 240.0


class ExitCode(enum.IntEnum):
    """Exit codes of `check`, with the meaning that `--help` shows."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """A member whose value is the exit code."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "MLflow responds through IAP"
    SETTINGS = 2, "a setting is invalid or missing"
    NO_TOKEN = 3, "no token is available: no credentials, an expired or deleted key, a missing role"
    UNREACHABLE = 4, "the host is unreachable: DNS, connection, TLS"
    NO_IAP = 5, "the response at this URL does not come from IAP"
    AUDIENCE = 6, "the token's audience is wrong"
    CLOCK = 7, "this machine's clock is wrong, or the token has expired"
    NOT_A_MEMBER = 8, "IAP authenticates the account and denies access"
    TOKEN_REJECTED = 9, "IAP rejects the token for another reason"
    BACKEND = 10, "IAP allows access, and the server behind it fails"
    UPLOADS = 11, "large files cannot be uploaded"


class CheckError(Exception):
    """A step of `check` failed; the message contains the reason and the remedy."""

    def __init__(self, code: ExitCode, step: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.step = step


Report = Callable[[str, str], None]


def check(url: str, auth: IapAuth, report: Report, now: Callable[[], float] = time.time) -> None:
    """Test access to the MLflow server at `url`.

    Calls `report(step, result)` for each step that succeeds. Raises CheckError for the first step that fails.
    """
    url = url.rstrip("/")
    try:
        host, allowed = host_of(url), may_receive_token(url, auth.settings.hosts)
    except SettingsError as error:
        raise CheckError(ExitCode.SETTINGS, "settings", str(error)) from error
    if host is None:
        raise CheckError(ExitCode.SETTINGS, "settings", f"{url} is not a URL that starts with https://.")
    if not allowed:
        configured = ", ".join(sorted(map(str, auth.settings.hosts))) or "none"
        raise CheckError(
            ExitCode.SETTINGS,
            "settings",
            f"No token is sent to {host}: MLFLOW_IAP_HOSTS or MLFLOW_TRACKING_URI is {configured}.",
        )

    # The token is fetched first, so that a missing token and an unreachable host are reported together. A token error
    # is raised only after the request: the response has the OAuth client and the time, which may explain it.
    token, token_error = _fetch_token(auth)
    try:
        unauthenticated = _get(url, {})
    except CheckError as error:
        if token_error is None:
            raise
        raise CheckError(error.code, error.step, f"{error} In addition: {token_error}") from error
    report("connection", f"{host} responds")
    client = _client_of_iap(unauthenticated)
    report("IAP", f"is on{f', with the OAuth client {client}' if client else ''}")
    skew = _clock_skew(unauthenticated.headers, now())
    if abs(skew) > _MAX_CLOCK_SKEW_SECONDS:
        raise CheckError(ExitCode.CLOCK, "clock", f"This machine's clock is {_minutes(skew)}: set it (NTP).")

    if token is None:
        raise _no_token(token_error, client)
    validity = f"valid for {(token.expires - now()) / 60:.0f} minutes"
    report("token", f"from {auth.source}, of {token.email or 'no account'}, {validity}")
    _check_audience(token, url)
    response = _get(url, {"Authorization": f"Bearer {token.text}"})
    _check_access(response, token, client)
    report("access", f"IAP allows {token.email}, and MLflow responds")
    report("uploads", check_uploads(url, token, auth.settings.max_request_bytes))


def _fetch_token(auth: IapAuth) -> tuple[Token | None, IapError | None]:
    """The token, or the reason why there is none."""
    try:
        return auth.token(), None
    except IapError as error:
        return None, error


def _no_token(error: IapError | None, client: str) -> CheckError:
    if isinstance(error, TokenError):
        return CheckError(ExitCode.CLOCK if error.time_related else ExitCode.NO_TOKEN, "token", str(error))
    # Shown only, never used: otherwise the server at the URL could choose the token's audience.
    hint = f" IAP's OAuth client id at this URL is {client}." if client else ""
    return CheckError(ExitCode.SETTINGS, "settings", f"{error}{hint}")


def _get(url: str, headers: Mapping[str, str]) -> requests.Response:
    try:
        with requests.Session() as session:
            session.auth = lambda request: request  # no .netrc
            # With this Accept header IAP redirects to the sign-in page, whose URL has the client; else it sends 401.
            accept = {"Accept": "text/html,*/*", **headers}
            return session.get(url + _PROBE, headers=accept, allow_redirects=False, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise CheckError(ExitCode.UNREACHABLE, "connection", _cause(error)) from error


def _cause(error: requests.RequestException) -> str:
    """The underlying error, without the wrappers of `requests` and urllib3."""
    text, reason = str(error), getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, requests.exceptions.SSLError):
        advice = (
            " If an intercepting proxy terminates TLS, set REQUESTS_CA_BUNDLE to its CA certificate."
            if "CERTIFICATE" in text
            else ""
        )
        return f"TLS failed: {reason or text}{advice}"
    if "resolve" in text or "getaddrinfo" in text or "Name or service" in text:
        return f"The host name does not resolve: {reason or text}"
    if isinstance(error, requests.Timeout):
        return f"No response within {_TIMEOUT_SECONDS} s: is there a firewall or a proxy? {reason or text}"
    return f"No connection: {reason or text}"


def _is_from_iap(response: requests.Response) -> bool:
    return response.headers.get("X-Goog-IAP-Generated-Response", "").lower() == "true"


def _client_of_iap(response: requests.Response) -> str:
    """The OAuth client id of the sign-in page; empty if IAP did not redirect to it."""
    if not _is_from_iap(response):
        hint = "IAP is off for this service, or the host is wrong." if response.ok else "Is the host right?"
        raise CheckError(
            ExitCode.NO_IAP,
            "IAP",
            f"The response to a request without a token is {response.status_code}, not from IAP. {hint}",
        )
    query = parse_qs(urlsplit(response.headers.get("Location", "")).query)
    return query.get("client_id", [""])[0]


def _clock_skew(headers: Mapping[str, str], now: float) -> float:
    """Seconds by which this machine's clock is ahead of the server's; 0 without a Date header."""
    try:
        return now - parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return 0.0


def _minutes(skew: float) -> str:
    return f"{abs(skew) / 60:.0f} minutes {'ahead' if skew > 0 else 'behind'}"


def _check_audience(token: Token, url: str) -> None:
    audience = str(token.claims.get("aud", ""))
    if audience.startswith("https://"):
        matches = (url + _PROBE).startswith(audience[:-1]) if audience.endswith("*") else False
        if not matches:
            host = host_of(url)
            raise CheckError(
                ExitCode.AUDIENCE,
                "audience",
                f"The token's audience is {audience}: set MLFLOW_IAP_AUDIENCE=https://{host}/*.",
            )
    elif "email" not in token.claims:
        raise CheckError(
            ExitCode.TOKEN_REJECTED,
            "token",
            "The token has no claim `email`, which IAP requires: request it (--include-email).",
        )
    # Another OAuth client may be valid: one of IAP's programmatic clients. IAP's response decides.


def _check_access(response: requests.Response, token: Token, client: str) -> None:
    status, body = response.status_code, " ".join(response.text[:300].split())
    if not _is_from_iap(response):
        if status == 200 and _is_json(response):
            return
        raise CheckError(
            ExitCode.BACKEND, "access", f"IAP allows {token.email}, and the server behind it responds {status}: {body}"
        )
    if status == 403:
        raise CheckError(
            ExitCode.NOT_A_MEMBER,
            "access",
            f"IAP authenticates {token.email} and denies access: add the account to the deployment's members, which "
            "grants roles/iap.httpsResourceAccessor on the service. A new grant takes a few minutes.",
        )
    if "audience" in body:
        advice = f": set MLFLOW_IAP_AUDIENCE={client}" if client else ""
        raise CheckError(
            ExitCode.AUDIENCE,
            "audience",
            f"The token's audience is {token.claims.get('aud')}{advice}. IAP's message: {body}",
        )
    if "expired" in body or "future" in body or "too early" in body:
        raise CheckError(
            ExitCode.CLOCK,
            "clock",
            f"By this machine's clock the token is valid until {format_expiry(token)}. IAP's message: {body}",
        )
    hint = "The key that signed it was deleted or has expired." if "signature" in body else ""
    raise CheckError(ExitCode.TOKEN_REJECTED, "access", f"IAP responds {status}: {body} {hint}".strip())


def check_uploads(url: str, token: Token, limit: int) -> str:
    """Upload a part of one byte, then abort the upload, which leaves nothing. Returns the result for the report."""
    if not limit:
        return "not checked: MLFLOW_IAP_MAX_REQUEST_BYTES is 0"
    if found := uploads.problem({uploads.ENABLE: "true", uploads.MINIMUM: str(limit // 2), **os.environ}, limit):
        raise CheckError(ExitCode.SETTINGS, "uploads", found)
    created = _post(f"{url}{_PARTS}create/{_PROBE_FILE}", token, {"path": _PROBE_FILE, "num_parts": 1})
    body = " ".join(created.text[:300].split())
    if created.status_code == 501:
        raise CheckError(
            ExitCode.UPLOADS,
            "uploads",
            "The server does not take files in parts, so files above 32 MB cannot be uploaded. MLflow's log says why: "
            "usually its service account lacks roles/iam.serviceAccountTokenCreator on itself.",
        )
    try:
        upload, part = created.json()["upload_id"], created.json()["credentials"][0]["url"]
    except (ValueError, KeyError, TypeError, IndexError):
        # Such as a viewer, who may not upload, or a server without artifacts.
        return f"not checked: the server responds {created.status_code}: {body}"
    host = host_of(part)
    try:
        response = requests.put(part, data=b"x", timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise CheckError(ExitCode.UPLOADS, "uploads", f"Parts are sent to {host}. {_cause(error)}") from error
    finally:
        _post(f"{url}{_PARTS}abort/{_PROBE_FILE}", token, {"path": _PROBE_FILE, "upload_id": upload})
    if response.status_code != 200:
        reason = " ".join(response.text[:300].split())
        raise CheckError(
            ExitCode.UPLOADS, "uploads", f"Parts are sent to {host}, which responds {response.status_code}: {reason}"
        )
    return f"large files go to {host} in parts"


def _post(url: str, token: Token, body: Mapping[str, object]) -> requests.Response:
    try:
        with requests.Session() as session:
            session.auth = lambda request: request  # no .netrc
            headers = {"Authorization": f"Bearer {token.text}"}
            return session.post(url, json=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise CheckError(ExitCode.UNREACHABLE, "uploads", _cause(error)) from error


def _is_json(response: requests.Response) -> bool:
    try:
        json.loads(response.content)
    except ValueError:
        return False
    return True
