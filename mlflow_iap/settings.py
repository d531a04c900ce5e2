"""The client's settings: environment variables and their descriptions, in one table.

The reader is separate from proxy_app/setting_table.py because this package is installed without the proxy, next to the
user's MLflow, and supports Python 3.10.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .hosts import Host, host_of, parse_hosts

_PREFIX = "MLFLOW_IAP_"


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


_AUDIENCE = re.compile(r"\d+-\S+\.apps\.googleusercontent\.com|https://\S+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def _audience(text: str) -> str:
    if text and not _AUDIENCE.fullmatch(text):
        raise ValueError("IAP's OAuth client id, NUMBER-....apps.googleusercontent.com, or https://HOST/*")
    return text


def _service_account(text: str) -> str:
    if text and not _EMAIL.fullmatch(text):
        raise ValueError("a service account's e-mail address, NAME@PROJECT.iam.gserviceaccount.com")
    return text


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(" or ".join(value for value in values if value))
        return text

    return parse


def _bytes(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number of bytes")
    return int(text)


def _setting(
    name: str, default: str, description: str, parse: Callable[[str], Any] = str, *, secret: bool = False
) -> Any:
    return dataclasses.field(
        default_factory=lambda: parse(default),
        repr=not secret,
        metadata={"env": _PREFIX + name, "description": description, "parse": parse},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The client's settings; each field is an environment variable."""

    audience: str = _setting(
        "AUDIENCE",
        "",
        "The tokens' audience: IAP's OAuth client id, or https://HOST/* for tokens that a service account signs "
        "itself.",
        _audience,
    )
    hosts: frozenset[Host] = _setting(
        "HOSTS",
        "",
        "The only hosts to which the token is sent, separated by commas; default: the host of an audience "
        "https://HOST/*, or that of MLFLOW_TRACKING_URI at the first request.",
        parse_hosts,
    )
    impersonate_service_account: str = _setting(
        "IMPERSONATE_SERVICE_ACCOUNT",
        "",
        "Impersonate this service account, with Application Default Credentials.",
        _service_account,
    )
    key_file: Path | None = _setting("KEY_FILE", "", "A service account's key, a JSON file.", _path)
    token: str = _setting("TOKEN", "", "A token, for a short test: it is valid for an hour at most.", secret=True)
    token_file: Path | None = _setting(
        "TOKEN_FILE", "", "A file with a token that another program renews; it is read again before it expires.", _path
    )
    credential_source: str = _setting(
        "CREDENTIAL_SOURCE",
        "",
        "Where to find credentials if none of the four variables above is set: metadata (the metadata server only) or "
        "gcloud (the login of gcloud only); default: GOOGLE_APPLICATION_CREDENTIALS, then the metadata server, then "
        "the login of gcloud.",
        _one_of("", "metadata", "gcloud"),
    )
    header: str = _setting(
        "HEADER",
        "",
        "The token's header; default: Authorization, or Proxy-Authorization if the request already has an "
        "Authorization header.",
        _one_of("", "Authorization", "Proxy-Authorization"),
    )
    max_request_bytes: int = _setting(
        "MAX_REQUEST_BYTES",
        "32000000",
        "The largest request body; a larger one is not sent, and files from half of it on are uploaded in parts. App "
        "Engine refuses requests above 32 MB. 0: no limit.",
        _bytes,
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings. Raises SettingsError with one line for each invalid variable."""
        problems: list[str] = []
        values: dict[str, Any] = {}
        known = {field.metadata["env"]: field for field in dataclasses.fields(cls)}
        for name in sorted(environ):
            if name.startswith(_PREFIX) and name not in known:
                close = difflib.get_close_matches(name, known, 1)
                problems.append(f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "."))
        for name, field in known.items():
            text = environ.get(name, "").strip()
            if not text:
                continue
            try:
                values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                problems.append(f"{name}: got {text!r}, expected {error}.")
        sources = [_PREFIX + name for name in ("TOKEN", "TOKEN_FILE", "IMPERSONATE_SERVICE_ACCOUNT", "KEY_FILE")]
        selected = [name for name in sources if environ.get(name, "").strip()]
        if len(selected) > 1:
            problems.append(f"Set only one of {', '.join(selected)}: each selects a source of tokens.")
        if problems:
            raise SettingsError("\n".join(problems))
        settings = cls(**values)
        default_host = host_of(settings.audience) or host_of(environ.get("MLFLOW_TRACKING_URI", ""))
        if settings.hosts or default_host is None:
            return settings
        return dataclasses.replace(settings, hosts=frozenset({default_host}))

    @property
    def self_signed(self) -> bool:
        """Whether the audience requires a JWT that the service account signs, instead of Google's ID token."""
        return self.audience.startswith("https://")

    @classmethod
    def table(cls) -> list[tuple[str, str]]:
        """(environment variable, description) of every setting, in the order of the documentation."""
        return [(field.metadata["env"], field.metadata["description"]) for field in dataclasses.fields(cls)]
