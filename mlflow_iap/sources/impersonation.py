"""Impersonates a service account by the IAM Service Account Credentials API.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts. google-auth has no signJwt,
and its generateIdToken has a timeout of two minutes, no retries, and fails on responses that are not JSON.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import google.auth

from ..jwt import self_signed_claims
from .google_api import SCOPES, auth_request, create_session, post, token_errors

_API = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"


@dataclasses.dataclass(frozen=True)
class Impersonation:
    """Tokens of `account`. `source_credentials` returns those of the impersonating account, refreshed at each fetch."""

    account: str
    audience: str
    self_signed: bool
    now: Callable[[], float]
    source_credentials: Callable[[], Any]
    delegates: Sequence[str] = ()

    def __str__(self) -> str:
        return f"impersonation of {self.account}"

    def fetch(self) -> str:
        """A new token. Raises TokenError."""
        with token_errors(f"Impersonating {self.account} failed"):
            credentials = self.source_credentials()
            with create_session() as session:
                credentials.refresh(auth_request(session))
            if self.self_signed:
                return sign_jwt(self.account, self.audience, credentials, self.now(), self.delegates)
            body: dict[str, Any] = {"audience": self.audience, "includeEmail": True, "delegates": list(self.delegates)}
            return str(_call(self.account, "generateIdToken", credentials, body)["token"])


def sign_jwt(account: str, audience: str, credentials: Any, now: float, delegates: Sequence[str] = ()) -> str:
    """A JWT signed as `account`; `credentials` must be fresh and permitted to call signJwt. Raises TokenError."""
    payload = json.dumps(self_signed_claims(account, audience, now))
    with token_errors(f"Signing a token as {account} failed"):
        result = _call(account, "signJwt", credentials, {"payload": payload, "delegates": list(delegates)})
        return str(result["signedJwt"])


def default_credentials() -> Any:
    """Application Default Credentials. Raises DefaultCredentialsError."""
    untyped: Any = google.auth
    return untyped.default(scopes=SCOPES)[0]


def _call(account: str, method: str, credentials: Any, body: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, str] = {}
    credentials.apply(headers)
    return post(f"{_API}/{account}:{method}", f"{method} for {account}", json=body, headers=headers)
