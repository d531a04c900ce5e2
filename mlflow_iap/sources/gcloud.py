"""A person's own login, by a desktop client: `gcloud auth application-default login --client-id-file=FILE`."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import TokenError
from .google import explained, post

_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
# gcloud's own client, by which people sign in without --client-id-file: of no project that has an IAP.
_GCLOUD = "764086051850-"


def path(environ: Mapping[str, str]) -> Path:
    """Where gcloud keeps it; https://cloud.google.com/docs/authentication/application-default-credentials."""
    if folder := environ.get("CLOUDSDK_CONFIG"):
        return Path(folder) / "application_default_credentials.json"
    base = Path(environ["APPDATA"]) if os.name == "nt" else Path.home() / ".config"
    return base / "gcloud" / "application_default_credentials.json"


@dataclasses.dataclass(frozen=True)
class Login:
    path: Path
    audience: str

    def __str__(self) -> str:
        return f"the login {self.path}"

    def fetch(self) -> str:
        """The refresh token's exchange, which google-auth has too, but without a word about the audience.

        https://cloud.google.com/iap/docs/authentication-howto, "Refresh token": what comes is for the desktop client
        itself, which IAP takes if it is on its list of programmatic clients; `audience` asks for one that is for
        IAP's own client, of the same project.
        """
        with explained(f"No token by the login {self.path}"):
            info = json.loads(self.path.read_text(encoding="utf-8"))
            client = str(info["client_id"])
            if client.startswith(_GCLOUD):
                raise TokenError(
                    f"The login {self.path} is by gcloud's own client, which IAP does not take: make a desktop OAuth "
                    "client in IAP's project, and gcloud auth application-default login --client-id-file=FILE."
                )
            form = {
                "grant_type": "refresh_token",
                "client_id": client,
                "client_secret": info["client_secret"],
                "refresh_token": info["refresh_token"],
            }
            if self.audience != client:
                form["audience"] = self.audience
            answer = post(_TOKEN_URL, str(self), data=form)
            if "id_token" not in answer:
                raise TokenError(f"{self} was made without the scopes openid and email: sign in again with them.")
            return str(answer["id_token"])
