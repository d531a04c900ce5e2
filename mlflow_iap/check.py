"""`python -m mlflow_iap check URL`: what is wrong when access fails, step by step until something is.

What IAP answers: https://cloud.google.com/iap/docs/faq and .../authentication-howto; its own answers have the header
X-Goog-IAP-Generated-Response, the reason of a 401 is in the body (googleapis/google-auth-library-nodejs#792,
GoogleCloudPlatform/professional-services#603, kubeflow/pipelines#4321).
"""

import enum
import json
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import requests

from .auth import IapAuth
from .cache import at
from .errors import IapError, SettingsError, TokenError
from .hosts import gets_token, host_of
from .jwt import Token

# A read that each MLflow has had since 1.0.
_PROBE = "/api/2.0/mlflow/experiments/search?max_results=1"
_TIMEOUT = 20
# Google lets a token's times be off by half a minute; a clock that is more than this off spoils them.
_SKEW = 240.0


class Exit(enum.IntEnum):
    """The exit code, and its meaning as the help shows it."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "MLflow answers through IAP"
    SETTINGS = 2, "a setting is wrong or missing"
    NO_TOKEN = 3, "no token can be had: no credentials, an expired or deleted key, a missing role"
    UNREACHABLE = 4, "the host is not reached: DNS, connection, TLS"
    NO_IAP = 5, "it is not IAP that answers at this URL"
    AUDIENCE = 6, "the token is for somebody else"
    CLOCK = 7, "this machine's clock is wrong, or the token has expired"
    NOT_A_MEMBER = 8, "IAP knows the caller and does not let them in"
    REFUSED = 9, "IAP refuses the token for another reason"
    BEHIND = 10, "IAP lets the caller in, and what is behind it fails"


class Problem(Exception):
    def __init__(self, code: Exit, step: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.step = step


Say = Callable[[str, str], None]


def check(url: str, auth: IapAuth, say: Say, now: Callable[[], float] = time.time) -> None:
    """`say(step, what)` for each step that is right. Raises Problem with the first that is not."""
    url = url.rstrip("/")
    try:
        host, goes = host_of(url), gets_token(url, auth.settings.hosts)
    except SettingsError as error:
        raise Problem(Exit.SETTINGS, "settings", str(error)) from error
    if host is None:
        raise Problem(Exit.SETTINGS, "settings", f"{url} is no URL that begins with https://.")
    if not goes:
        named = ", ".join(sorted(map(str, auth.settings.hosts))) or "none"
        raise Problem(
            Exit.SETTINGS, "settings", f"{host} gets no token: MLFLOW_IAP_HOSTS or MLFLOW_TRACKING_URI names {named}."
        )

    # First, so that somebody who has neither a login nor the host hears of both; what is wrong has to wait for what
    # the host says of its client and of the time.
    token, missing = _token(auth)
    try:
        stranger = _get(url, {})
    except Problem as problem:
        if missing is None:
            raise
        raise Problem(problem.code, problem.step, f"{problem} Besides: {missing}") from problem
    say("connection", f"{host} answers")
    client = _client_of_iap(stranger)
    say("IAP", f"is on{f', and its OAuth client is {client}' if client else ''}")
    skew = _skew(stranger.headers, now())
    if abs(skew) > _SKEW:
        raise Problem(Exit.CLOCK, "clock", f"This machine's clock is {_minutes(skew)}: set it (NTP).")

    if token is None:
        raise _no_token(missing, client)
    good_for = f"good for {(token.expires - now()) / 60:.0f} minutes"
    say("token", f"by {auth.source}, for {token.email or 'nobody'}, {good_for}")
    _compare_audience(token, url)
    answer = _get(url, {"Authorization": f"Bearer {token.text}"})
    _judge(answer, token, client)
    say("access", f"IAP lets {token.email} in, and MLflow answers")


def _token(auth: IapAuth) -> tuple[Token | None, IapError | None]:
    """The token, or why there is none."""
    try:
        return auth.token(), None
    except IapError as error:
        return None, error


def _no_token(error: IapError | None, client: str) -> Problem:
    if isinstance(error, TokenError):
        return Problem(Exit.CLOCK if error.late else Exit.NO_TOKEN, "token", str(error))
    # Only said, never taken from there: whoever has the host would choose whom a token is for.
    hint = f" IAP's OAuth client id here is {client}." if client else ""
    return Problem(Exit.SETTINGS, "settings", f"{error}{hint}")


def _get(url: str, headers: Mapping[str, str]) -> requests.Response:
    try:
        with requests.Session() as session:
            session.auth = lambda request: request  # no .netrc
            # With this Accept IAP redirects to the sign-in page, which names its client; without, it answers 401.
            accept = {"Accept": "text/html,*/*", **headers}
            return session.get(url + _PROBE, headers=accept, allow_redirects=False, timeout=_TIMEOUT)
    except requests.RequestException as error:
        raise Problem(Exit.UNREACHABLE, "connection", _why(error)) from error


def _why(error: requests.RequestException) -> str:
    """The reason below the layers of `requests` and urllib3."""
    text, reason = str(error), getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, requests.exceptions.SSLError):
        advice = (
            " If a proxy of yours opens TLS, set REQUESTS_CA_BUNDLE to its authority." if "CERTIFICATE" in text else ""
        )
        return f"TLS fails: {reason or text}{advice}"
    if "resolve" in text or "getaddrinfo" in text or "Name or service" in text:
        return f"The host's name is not found in DNS: {reason or text}"
    if isinstance(error, requests.Timeout):
        return f"No answer within {_TIMEOUT} s: a firewall or a proxy in between? {reason or text}"
    return f"No connection: {reason or text}"


def _from_iap(response: requests.Response) -> bool:
    return response.headers.get("X-Goog-IAP-Generated-Response", "").lower() == "true"


def _client_of_iap(response: requests.Response) -> str:
    """The OAuth client id of the sign-in page; empty if IAP did not redirect to it."""
    if not _from_iap(response):
        hint = "IAP is off for this service, or this is not its host." if response.ok else "Is this the service's host?"
        raise Problem(
            Exit.NO_IAP, "IAP", f"A request without a token is answered {response.status_code}, not by IAP. {hint}"
        )
    query = parse_qs(urlsplit(response.headers.get("Location", "")).query)
    return query.get("client_id", [""])[0]


def _skew(headers: Mapping[str, str], now: float) -> float:
    """Seconds that this machine's clock is ahead of the server's; 0 without a Date."""
    try:
        return now - parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return 0.0


def _minutes(skew: float) -> str:
    return f"{abs(skew) / 60:.0f} minutes {'ahead' if skew > 0 else 'behind'}"


def _compare_audience(token: Token, url: str) -> None:
    audience = str(token.claims.get("aud", ""))
    if audience.startswith("https://"):
        fits = (url + _PROBE).startswith(audience[:-1]) if audience.endswith("*") else False
        if not fits:
            host = host_of(url)
            raise Problem(
                Exit.AUDIENCE,
                "audience",
                f"The token is for {audience} only: set MLFLOW_IAP_AUDIENCE=https://{host}/*.",
            )
    elif "email" not in token.claims:
        raise Problem(Exit.REFUSED, "token", "The token has no e-mail, which IAP needs: ask for it (--include-email).")
    # Another client may be right: one on IAP's list of programmatic clients. IAP itself decides that below.


def _judge(answer: requests.Response, token: Token, client: str) -> None:
    status, said = answer.status_code, " ".join(answer.text[:300].split())
    if not _from_iap(answer):
        if status == 200 and _is_json(answer):
            return
        raise Problem(
            Exit.BEHIND, "access", f"IAP lets {token.email} in, and what is behind it answers {status}: {said}"
        )
    if status == 403:
        raise Problem(
            Exit.NOT_A_MEMBER,
            "access",
            f"IAP knows {token.email} and does not let them in: add them to the members of the deployment, "
            "that is grant roles/iap.httpsResourceAccessor on the service. A new grant takes some minutes.",
        )
    if "audience" in said:
        meant = f": set MLFLOW_IAP_AUDIENCE={client}" if client else ""
        raise Problem(Exit.AUDIENCE, "audience", f"The token is for {token.claims.get('aud')}{meant}. IAP says: {said}")
    if "expired" in said or "future" in said or "too early" in said:
        raise Problem(
            Exit.CLOCK, "clock", f"The token is good until {at(token)} by this machine's clock. IAP says: {said}"
        )
    hint = "The key that signed it was deleted or has expired." if "signature" in said else ""
    raise Problem(Exit.REFUSED, "access", f"IAP answers {status}: {said} {hint}".strip())


def _is_json(answer: requests.Response) -> bool:
    try:
        json.loads(answer.content)
    except ValueError:
        return False
    return True
