"""Tokens by a service account's key."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.auth import crypt, jwt
from google.oauth2 import service_account

from ..jwt import self_signed_claims
from .google_api import auth_request, create_session, token_errors


@dataclasses.dataclass(frozen=True)
class ServiceAccountKey:
    """A key file. It is read for each token, once an hour: a new key takes effect without a restart."""

    path: Path
    audience: str
    self_signed: bool
    now: Callable[[], float]

    def __str__(self) -> str:
        return f"the key {self.path}"

    def fetch(self) -> str:
        """A new token. Raises TokenError."""
        with token_errors(f"The key {self.path} gives no token"):
            info = json.loads(self.path.read_text(encoding="utf-8"))
            if self.self_signed:
                claims = self_signed_claims(info["client_email"], self.audience, self.now())
                return _untyped(jwt).encode(_untyped(crypt.RSASigner).from_service_account_info(info), claims).decode()
            credentials = _untyped(service_account.IDTokenCredentials).from_service_account_info(
                info, target_audience=self.audience
            )
            with create_session() as session:
                credentials.refresh(auth_request(session))
            return str(credentials.token)


def _untyped(value: Any) -> Any:
    return value
