"""A service account that somebody else may act as, by the IAM Service Account Credentials API.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts. google-auth has no signJwt,
and its generateIdToken waits two minutes, does not try again, and stumbles over an answer that is not JSON.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import google.auth

from ..jwt import own_claims
from .google import SCOPES, explained, post, request_of, session

_API = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"


@dataclasses.dataclass(frozen=True)
class Impersonation:
    """`by` is the credentials of whoever impersonates; they are asked for an access token for each of ours."""

    account: str
    audience: str
    self_signed: bool
    now: Callable[[], float]
    by: Callable[[], Any]
    delegates: Sequence[str] = ()

    def __str__(self) -> str:
        return f"impersonation of {self.account}"

    def fetch(self) -> str:
        with explained(f"{self.account} cannot be impersonated"):
            credentials = self.by()
            with session() as made:
                credentials.refresh(request_of(made))
            if self.self_signed:
                return sign_jwt(self.account, self.audience, credentials, self.now(), self.delegates)
            body: dict[str, Any] = {"audience": self.audience, "includeEmail": True, "delegates": list(self.delegates)}
            return str(_call(self.account, "generateIdToken", credentials, body)["token"])


def sign_jwt(account: str, audience: str, credentials: Any, now: float, delegates: Sequence[str] = ()) -> str:
    """A JWT that `account` signs for itself; `credentials` are fresh and may have it do so. Raises TokenError."""
    payload = json.dumps(own_claims(account, audience, now))
    with explained(f"{account} cannot be made to sign"):
        answer = _call(account, "signJwt", credentials, {"payload": payload, "delegates": list(delegates)})
        return str(answer["signedJwt"])


def default_credentials() -> Any:
    """Whatever Google's own clients would find on this machine."""
    untyped: Any = google.auth
    return untyped.default(scopes=SCOPES)[0]


def _call(account: str, method: str, credentials: Any, body: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, str] = {}
    credentials.apply(headers)
    return post(f"{_API}/{account}:{method}", f"{method} of {account}", json=body, headers=headers)
