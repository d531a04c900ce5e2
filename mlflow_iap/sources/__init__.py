"""Sources of tokens: the one that the settings select, or the first that is available on this machine."""

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from google.oauth2 import credentials, service_account

from ..errors import SettingsError, TokenError
from ..settings import Settings
from .gcloud import GcloudLogin, login_path
from .google_api import SCOPES, token_errors
from .impersonation import Impersonation, default_credentials
from .key import ServiceAccountKey
from .metadata import MetadataServer, has_metadata_server
from .static import TokenFile, TokenVariable

Now = Callable[[], float]


class TokenSource(Protocol):
    """A source of tokens; `str()` describes it in messages."""

    def fetch(self) -> str:
        """A new token, a JWT. Raises TokenError."""
        ...


def select_source(settings: Settings, environ: Mapping[str, str], now: Now) -> TokenSource:
    """The source that the settings select, or else the first that is available.

    Raises SettingsError if the audience is missing, TokenError if there is no source.
    """
    if settings.token:
        return TokenVariable()
    if settings.token_file:
        return TokenFile(settings.token_file)
    audience, self_signed = settings.audience, settings.self_signed
    if not audience:
        raise SettingsError(
            "MLFLOW_IAP_AUDIENCE is not set: set it to IAP's OAuth client id (...apps.googleusercontent.com), or to "
            "https://HOST/* for tokens that a service account signs itself."
        )
    if settings.impersonate_service_account:
        # Cached: the search for Application Default Credentials may run gcloud.
        source_credentials = functools.cache(default_credentials)
        return Impersonation(settings.impersonate_service_account, audience, self_signed, now, source_credentials)
    if settings.key_file:
        return ServiceAccountKey(settings.key_file, audience, self_signed, now)
    adc_file = environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if adc_file and not settings.credential_source:
        return _from_file(Path(adc_file), settings, now)
    if settings.credential_source != "gcloud" and (
        settings.credential_source == "metadata" or has_metadata_server(environ)
    ):
        return MetadataServer(audience, self_signed, now)
    login = login_path(environ)
    if login.exists():
        return _from_file(login, settings, now)
    searched = "" if settings.credential_source else "GOOGLE_APPLICATION_CREDENTIALS is not set, no metadata server, "
    raise TokenError(
        f"No credentials for IAP: {searched}no login of gcloud ({login} is missing). Set "
        "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT or MLFLOW_IAP_KEY_FILE, or sign in: gcloud auth application-default "
        "login --client-id-file=FILE."
    )


def _from_file(path: Path, settings: Settings, now: Now) -> TokenSource:
    """The source for a credentials file, by its type; https://google.aip.dev/auth/4110."""
    with token_errors(f"Reading the credentials {path} failed"):
        info = json.loads(path.read_text(encoding="utf-8"))
        kind = info.get("type")
    if kind == "service_account":
        return ServiceAccountKey(path, settings.audience, settings.self_signed, now)
    if kind == "authorized_user":
        if settings.self_signed:
            raise SettingsError(
                f"{path} is a user's login, which cannot sign tokens: set MLFLOW_IAP_AUDIENCE to IAP's OAuth client id."
            )
        return GcloudLogin(path, settings.audience)
    if kind == "impersonated_service_account":
        account = re.search(r"/serviceAccounts/([^/:]+):", str(info.get("service_account_impersonation_url")))
        if account:
            return Impersonation(
                account[1],
                settings.audience,
                settings.self_signed,
                now,
                lambda: _source_credentials(info["source_credentials"]),
                info.get("delegates") or (),
            )
    raise SettingsError(
        f"{path} has credentials of the type {kind}, which can only be used to impersonate: set "
        "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT to a service account that IAP allows."
    )


def _source_credentials(info: Mapping[str, Any]) -> Any:
    """The impersonating account, in a file of `gcloud auth application-default login --impersonate-service-account`."""
    user: Any = credentials.Credentials
    account: Any = service_account.Credentials
    if info.get("type") == "service_account":
        return account.from_service_account_info(info, scopes=SCOPES)
    return user.from_authorized_user_info(info)
