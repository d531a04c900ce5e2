"""Which deployment is tried, and with which token."""

import argparse
import dataclasses
import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from urllib.parse import SplitResult, urlsplit

from verify.failures import plain

ROLE = "admin"
EXAMPLE = "make verify URL=https://mlflow.example.com TOKEN=..."
HELP = f"""\
Try an MLflow deployment from outside: over plain HTTP, then with the MLflow Python client.

  {EXAMPLE}
  URL=https://mlflow.example.com TOKEN=... make verify    `ps` shows the token to nobody
  URL=https://mlflow.example.com TOKEN=... python -m verify

The token comes from the environment (TOKEN, or MLFLOW_TRACKING_TOKEN), never from a flag: `ps` shows flags to everyone.
Its role must be {ROLE}, because what is made here is marked as deleted at the end. One experiment is made over HTTP
and one with the client, named verify-<time>-<random>-http and -client, each with one run.
"""
EXIT_CODES = "exit code: 0 all steps passed, 1 a step failed, 2 wrong usage, 130 interrupted"

# What the AWS libraries in MLflow need to reach S3; every other MLFLOW_* of the user's would change what is tried.
KEPT = ("MLFLOW_S3_", "MLFLOW_BOTO_")
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "MLFLOW_TRACKING_SERVER_CERT_PATH")


class UsageError(Exception):
    """The command was given something wrong; the message says what, and what is right."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """url: scheme://host[:port][/prefix], without a trailing slash. timeout: seconds for one answer."""

    url: str
    token: str = dataclasses.field(repr=False)
    timeout: float

    @property
    def exposes_token(self) -> bool:
        """The token would cross a network that others can read."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        return parts.scheme == "http" and host not in {"localhost", "::1"} and not host.startswith("127.")


def read_target(arguments: Sequence[str], environ: Mapping[str, str]) -> Target:
    """Flags win over URL and TOKEN, and these over MLflow's own two variables.

    UsageError, or argparse's own exit (with 2; with 0 after --help).
    """
    if any(argument.split("=")[0] == "--token" for argument in arguments):
        raise UsageError(
            "There is no --token: `ps` shows flags to everyone on the machine. "
            "Give the token in the environment: TOKEN=... python -m verify"
        )
    # What was given to make on its command line; it hands that on, but under the name that was typed.
    for typed in re.findall(r"(?:^|\s)(\w+)=", environ.get("MAKEFLAGS", "")):
        if typed.upper() in {"URL", "TOKEN"} and typed != typed.upper():
            raise UsageError(f"{typed}=... is written in capitals: {EXAMPLE}")
    parser = argparse.ArgumentParser(
        prog="python -m verify",
        description=HELP,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--url", help="where the deployment is (default: URL or MLFLOW_TRACKING_URI in the environment)"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="for one answer (default: %(default)g)"
    )
    flags = parser.parse_args(arguments)
    if not 0 < flags.timeout <= 3600:
        raise UsageError("--timeout takes seconds above 0 and up to 3600.")
    token_name, token = _first(environ, "TOKEN", "MLFLOW_TRACKING_TOKEN")
    url_name, url = ("--url", flags.url) if flags.url else _first(environ, "URL", "MLFLOW_TRACKING_URI")
    own = url.rstrip("/") == environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if token_name == "MLFLOW_TRACKING_TOKEN" and not own:  # noqa: S105 - a variable's name
        raise UsageError(
            "MLFLOW_TRACKING_TOKEN is for MLFLOW_TRACKING_URI, and another deployment was named: "
            "give that one's token as TOKEN=..."
        )
    return Target(url=_checked_url(url_name, url), token=_checked_token(token_name, token), timeout=flags.timeout)


def prepare_environment(target: Target, environ: MutableMapping[str, str]) -> None:
    """Let only the target decide what is tried: for this process, and before MLflow is imported.

    A user name wins over a token, a .netrc over both (mlflow.utils.rest_utils and requests), and MLflow sends a
    request again for minutes. requests knows no SSL_CERT_FILE, so it is handed on under the name that it knows.
    """
    if authorities := next((environ[name] for name in AUTHORITIES if environ.get(name)), None):
        environ["REQUESTS_CA_BUNDLE"] = authorities
    for name in list(environ):
        if name.startswith(("MLFLOW_", "_MLFLOW_", "DATABRICKS_")) and not name.startswith(KEPT):
            del environ[name]
    environ.update(
        NETRC=os.devnull,
        DO_NOT_TRACK="true",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_LOGGING_LEVEL="ERROR",
        MLFLOW_TRACKING_URI=target.url,
        MLFLOW_TRACKING_TOKEN=target.token,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_HTTP_REQUEST_TIMEOUT=str(max(1, round(target.timeout))),
    )


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    return next(((name, environ[name]) for name in names if environ.get(name, "").strip()), (names[0], ""))


def _checked_url(name: str, text: str) -> str:
    text = text.strip()
    if not text:
        raise UsageError(f"Which deployment? {EXAMPLE}")
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, valid = SplitResult("", "", "", "", ""), False
    if parts.username is not None or parts.password is not None:
        # Not shown: it holds a password.
        raise UsageError(f"{name} holds a user name or password, which would win over the token: leave it out.")
    shown = plain(text)
    if not valid or any(character.isspace() or not character.isprintable() for character in text):
        hint = f" Is http://{shown} meant?" if text.partition("/")[0].partition(":")[2].isdecimal() else ""
        raise UsageError(
            f"{name}={shown} is not the address of a deployment, such as https://mlflow.example.com.{hint}"
        )
    if parts.query or parts.fragment:
        raise UsageError(f"{name}={shown} is a page of MLflow's UI: leave out what follows the host (from # or ? on).")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_token(name: str, text: str) -> str:
    text = text.strip()
    if not text:
        raise UsageError(
            f"With which token? make verify URL=... TOKEN=... (its role must be {ROLE}); "
            "one is made with `python -m proxy_app token new --help`, and `make up` prints its own."
        )
    if text.lower().startswith("bearer "):
        raise UsageError(f"{name}: leave out the word Bearer; only the token itself is needed.")
    if not all("!" <= character <= "~" for character in text):
        raise UsageError(
            f"{name} holds a space, a line break or a letter that no token has: was it pasted whole, and alone?"
        )
    return text
