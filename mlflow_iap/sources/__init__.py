"""Where tokens come from: what a setting names, or what is found on the machine."""

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from google.oauth2 import credentials, service_account

from ..errors import SettingsError, TokenError
from ..settings import Settings
from . import login, metadata
from .explicit import File, Variable
from .google import SCOPES, explained
from .impersonation import Impersonation, default_credentials
from .key import Key
from .login import Login
from .metadata import Metadata

Now = Callable[[], float]


class Source(Protocol):
    """Its text says what it is."""

    def fetch(self) -> str:
        """A new token, a JWT. Raises TokenError."""
        ...


def choose(settings: Settings, environ: Mapping[str, str], now: Now) -> Source:
    """What the settings name, or else the first that there is.

    Raises SettingsError when the audience is missing, TokenError when there is no source.
    """
    if settings.token:
        return Variable()
    if settings.token_file:
        return File(settings.token_file)
    audience, self_signed = settings.audience, settings.self_signed
    if not audience:
        raise SettingsError(
            "MLFLOW_IAP_AUDIENCE is not set: IAP's OAuth client id (...apps.googleusercontent.com), or https://HOST/* "
            "for tokens that a service account signs itself."
        )
    if settings.service_account:
        # Once: Google's search for them may run gcloud, and asks about the project too.
        by = functools.cache(default_credentials)
        return Impersonation(settings.service_account, audience, self_signed, now, by)
    if settings.key_file:
        return Key(settings.key_file, audience, self_signed, now)
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if named and not settings.source:
        return _of_file(Path(named), settings, now)
    if settings.source != "login" and (settings.source == "metadata" or metadata.present(environ)):
        return Metadata(audience, self_signed, now)
    signed_in = login.path(environ)
    if signed_in.exists():
        return _of_file(signed_in, settings, now)
    raise TokenError(
        "There are no credentials for IAP: "
        + (
            ""
            if settings.source
            else "GOOGLE_APPLICATION_CREDENTIALS is not set, there is no metadata server here, and "
        )
        + f"nobody has signed in by gcloud ({signed_in} is missing). Set MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT to impersonate, or "
        "MLFLOW_IAP_KEY_FILE, or sign in: gcloud auth application-default login --client-id-file=FILE."
    )


def _of_file(path: Path, settings: Settings, now: Now) -> Source:
    """The source for a file of credentials, by its type; https://google.aip.dev/auth/4110."""
    with explained(f"The credentials {path} cannot be read"):
        info = json.loads(path.read_text(encoding="utf-8"))
        kind = info.get("type")
    if kind == "service_account":
        return Key(path, settings.audience, settings.self_signed, now)
    if kind == "authorized_user":
        if settings.self_signed:
            raise SettingsError(
                f"{path} is a person's login, which signs no tokens: set MLFLOW_IAP_AUDIENCE to IAP's OAuth client id."
            )
        return Login(path, settings.audience)
    if kind == "impersonated_service_account":
        account = re.search(r"/serviceAccounts/([^/:]+):", str(info.get("service_account_impersonation_url")))
        if account:
            return Impersonation(
                account[1],
                settings.audience,
                settings.self_signed,
                now,
                lambda: _inner_credentials(info["source_credentials"]),
                info.get("delegates") or (),
            )
    raise SettingsError(
        f"{path} holds credentials of the type {kind}, which can only impersonate: "
        "set MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT to the service account that IAP knows."
    )


def _inner_credentials(info: Mapping[str, Any]) -> Any:
    """Who impersonates, in a file of `gcloud auth application-default login --impersonate-service-account`."""
    user: Any = credentials.Credentials
    account: Any = service_account.Credentials
    if info.get("type") == "service_account":
        return account.from_service_account_info(info, scopes=SCOPES)
    return user.from_authorized_user_info(info)
