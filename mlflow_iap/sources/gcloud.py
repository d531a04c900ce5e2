"""Tokens by a user's login with a desktop client: `gcloud auth application-default login --client-id-file=FILE`."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import TokenError
from .google_api import post, token_errors

_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - a URL
# The project number of gcloud's own OAuth client, the default without --client-id-file. Its tokens are not for IAP.
_GCLOUD_CLIENT = "764086051850-"


def login_path(environ: Mapping[str, str]) -> Path:
    """gcloud's credentials file; https://cloud.google.com/docs/authentication/application-default-credentials."""
    if folder := environ.get("CLOUDSDK_CONFIG"):
        return Path(folder) / "application_default_credentials.json"
    base = Path(environ["APPDATA"]) if os.name == "nt" else Path.home() / ".config"
    return base / "gcloud" / "application_default_credentials.json"


@dataclasses.dataclass(frozen=True)
class GcloudLogin:
    """A user's refresh token, in a credentials file of gcloud."""

    path: Path
    audience: str

    def __str__(self) -> str:
        return f"the login {self.path}"

    def fetch(self) -> str:
        """A new token. Raises TokenError.

        The exchange of a refresh token, which google-auth implements without the parameter `audience`.
        https://cloud.google.com/iap/docs/authentication-howto, "Refresh token": without `audience` the token is for the
        desktop client itself, which IAP accepts if it is one of its programmatic clients; with it, the token is for
        IAP's client in the same project.
        """
        with token_errors(f"The login {self.path} gives no token"):
            info = json.loads(self.path.read_text(encoding="utf-8"))
            client = str(info["client_id"])
            if client.startswith(_GCLOUD_CLIENT):
                raise TokenError(
                    f"The login {self.path} uses gcloud's own OAuth client, which IAP rejects: create a desktop OAuth "
                    "client in IAP's project, then: gcloud auth application-default login --client-id-file=FILE."
                )
            form = {
                "grant_type": "refresh_token",
                "client_id": client,
                "client_secret": info["client_secret"],
                "refresh_token": info["refresh_token"],
            }
            if self.audience != client:
                form["audience"] = self.audience
            result = post(_TOKEN_URL, str(self), data=form)
            if "id_token" not in result:
                raise TokenError(f"{self} lacks the scopes openid and email: sign in again with them.")
            return str(result["id_token"])
