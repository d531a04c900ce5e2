"""Every setting of the client: its environment variable and a sentence, in one table."""

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
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def _audience(text: str) -> str:
    if text and not _AUDIENCE.fullmatch(text):
        raise ValueError("IAP's OAuth client id, NUMBER-....apps.googleusercontent.com, or https://HOST/*")
    return text


def _account(text: str) -> str:
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError("a service account's address, NAME@PROJECT.iam.gserviceaccount.com")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(value for value in allowed if value))
        return text

    return parse


def _setting(name: str, default: str, sentence: str, parse: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    return dataclasses.field(
        default_factory=lambda: parse(default),
        repr=not secret,
        metadata={"env": _PREFIX + name, "default": default, "sentence": sentence, "parse": parse},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the client is told."""

    audience: str = _setting(
        "AUDIENCE",
        "",
        "Whom tokens are for: IAP's OAuth client id, or https://HOST/* for tokens that a service account signs itself.",
        _audience,
    )
    hosts: frozenset[Host] = _setting(
        "HOSTS",
        "",
        "The hosts that get the token, and no other ever does, with commas; "
        "empty: the one of an audience https://HOST/*, or of MLFLOW_TRACKING_URI at the first request.",
        parse_hosts,
    )
    service_account: str = _setting(
        "SERVICE_ACCOUNT",
        "",
        "Impersonate this service account, by whatever credentials Google's own clients find.",
        _account,
    )
    key_file: Path | None = _setting("KEY_FILE", "", "The JSON file of a service account's key.", _path)
    token: str = _setting("TOKEN", "", "A ready token, for a short try: it lasts an hour at most.", secret=True)
    token_file: Path | None = _setting(
        "TOKEN_FILE", "", "A file with a ready token that something else keeps fresh; it is read again in time.", _path
    )
    source: str = _setting(
        "SOURCE",
        "",
        "Where to look if none of the four above is set: metadata (the metadata server alone) or login "
        "(gcloud's login alone); empty: GOOGLE_APPLICATION_CREDENTIALS, the metadata server, gcloud's login.",
        _one_of("", "metadata", "login"),
    )
    header: str = _setting(
        "HEADER",
        "",
        "The header of the token; empty: Authorization, or Proxy-Authorization if that one is taken.",
        _one_of("", "Authorization", "Proxy-Authorization"),
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; SettingsError names every one that is wrong."""
        problems: list[str] = []
        values: dict[str, Any] = {}
        known = {field.metadata["env"]: field for field in dataclasses.fields(cls)}
        for name in sorted(environ):
            if name.startswith(_PREFIX) and name not in known:
                close = difflib.get_close_matches(name, known, 1)
                problems.append(f"{name} is not a setting" + (f"; is {close[0]} meant?" if close else "."))
        for name, field in known.items():
            text = environ.get(name, "").strip()
            if not text:
                continue
            try:
                values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                problems.append(f"{name}: {text!r} is not right; it takes {error}.")
        sources = [_PREFIX + name for name in ("TOKEN", "TOKEN_FILE", "SERVICE_ACCOUNT", "KEY_FILE")]
        given = [name for name in sources if environ.get(name, "").strip()]
        if len(given) > 1:
            problems.append(f"Set one of {', '.join(given)}: each says where tokens come from.")
        if problems:
            raise SettingsError("\n".join(problems))
        settings = cls(**values)
        meant = host_of(settings.audience) or host_of(environ.get("MLFLOW_TRACKING_URI", ""))
        if settings.hosts or meant is None:
            return settings
        return dataclasses.replace(settings, hosts=frozenset({meant}))

    @property
    def self_signed(self) -> bool:
        """The audience asks for a JWT that the service account signs, not for Google's ID token."""
        return self.audience.startswith("https://")

    @classmethod
    def table(cls) -> list[tuple[str, str]]:
        """(environment variable, sentence) of every setting, in reading order."""
        return [(field.metadata["env"], field.metadata["sentence"]) for field in dataclasses.fields(cls)]
