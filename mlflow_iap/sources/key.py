"""A service account's key."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.auth import crypt, jwt
from google.oauth2 import service_account

from ..jwt import own_claims
from .google import explained, request_of, session


@dataclasses.dataclass(frozen=True)
class Key:
    """The file is read for each token, once an hour: a new key takes over without a restart."""

    path: Path
    audience: str
    self_signed: bool
    now: Callable[[], float]

    def __str__(self) -> str:
        return f"the key {self.path}"

    def fetch(self) -> str:
        with explained(f"No token by the key {self.path}"):
            info = json.loads(self.path.read_text(encoding="utf-8"))
            if self.self_signed:
                claims = own_claims(info["client_email"], self.audience, self.now())
                return _untyped(jwt).encode(_untyped(crypt.RSASigner).from_service_account_info(info), claims).decode()
            credentials = _untyped(service_account.IDTokenCredentials).from_service_account_info(
                info, target_audience=self.audience
            )
            with session() as made:
                credentials.refresh(request_of(made))
            return str(credentials.token)


def _untyped(thing: Any) -> Any:
    return thing
