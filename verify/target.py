"""The deployment to verify and the token, from arguments and environment."""

import argparse
import dataclasses
import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from verify.errors import sanitize

ROLE = "admin"
EXAMPLE = "make verify URL=https://mlflow.example.com TOKEN=..."
HELP = f"""\
Verify an MLflow deployment: over HTTP, then with the MLflow Python client.

  {EXAMPLE}
  URL=https://mlflow.example.com TOKEN=... make verify    keeps the token out of `ps`
  URL=https://mlflow.example.com TOKEN=... python -m verify

The token is read from the environment (TOKEN or MLFLOW_TRACKING_TOKEN), not from a flag, which `ps` would show. Its
role must be {ROLE}: the command creates two experiments with one run each, named verify-<time>-<random>-http and
-client, and files and a model in one of them, and deletes them at the end.

  make verify URL=... TOKEN=... VIEWER_TOKEN=...          also checks that a viewer cannot change anything
  make verify URL=... TOKEN=... FORM=form.md              writes versions, steps and durations, without secrets
"""
EXIT_CODES = "exit code: 0 all steps passed, 1 a step failed, 2 invalid usage, 130 interrupted"

# Required for access to S3. All other MLFLOW_* variables are removed, since they could change what is verified.
KEPT_PREFIXES = ("MLFLOW_S3_", "MLFLOW_BOTO_")
CA_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "MLFLOW_TRACKING_SERVER_CERT_PATH")


class UsageError(Exception):
    """Invalid arguments or environment; the message contains the value and what is expected."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`url`: scheme://host[:port][/prefix], without a trailing slash; `timeout`: of a response, in seconds;
    `viewer_token`: of a viewer, may be empty; `form`: the file of the form (form.py), or None."""

    url: str
    token: str = dataclasses.field(repr=False)
    timeout: float
    viewer_token: str = dataclasses.field(default="", repr=False)
    form: Path | None = None

    @property
    def exposes_token(self) -> bool:
        """Whether the token would cross a network unencrypted."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        return parts.scheme == "http" and host not in {"localhost", "::1"} and not host.startswith("127.")


def read_target(arguments: Sequence[str], environ: Mapping[str, str]) -> Target:
    """Read the target: flags take precedence over URL and TOKEN, and these over MLFLOW_TRACKING_URI and _TOKEN.

    UsageError, or SystemExit from argparse (2; after --help 0).
    """
    if any(argument.split("=")[0] == "--token" for argument in arguments):
        raise UsageError(
            "--token is not supported, since `ps` shows flags to all users. "
            "Set the token in the environment: TOKEN=... python -m verify"
        )
    # Variables from make's command line, which make passes on with their case unchanged.
    for typed in re.findall(r"(?:^|\s)(\w+)=", environ.get("MAKEFLAGS", "")):
        if typed.upper() in {"URL", "TOKEN"} and typed != typed.upper():
            raise UsageError(f"{typed}=... must be upper case: {EXAMPLE}")
    parser = argparse.ArgumentParser(
        prog="python -m verify",
        description=HELP,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--url", help="URL of the deployment (default: URL or MLFLOW_TRACKING_URI in the environment)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="timeout of a response (default: %(default)g)"
    )
    parser.add_argument("--form", help="file for the form of a first deployment, .md or .json (default: FORM)")
    flags = parser.parse_args(arguments)
    if not 0 < flags.timeout <= 3600:
        raise UsageError(f"--timeout: got {flags.timeout:g}, expected seconds above 0 and up to 3600.")
    token_name, token = _first(environ, "TOKEN", "MLFLOW_TRACKING_TOKEN")
    url_name, url = ("--url", flags.url) if flags.url else _first(environ, "URL", "MLFLOW_TRACKING_URI")
    same_url = url.rstrip("/") == environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if token_name == "MLFLOW_TRACKING_TOKEN" and not same_url:  # noqa: S105 - a variable's name
        raise UsageError(
            "MLFLOW_TRACKING_TOKEN is the token of MLFLOW_TRACKING_URI, but another URL was given: "
            "set the token of that deployment with TOKEN=..."
        )
    viewer_token = environ.get("VIEWER_TOKEN", "").strip()
    return Target(
        url=_checked_url(url_name, url),
        token=_checked_token(token_name, token),
        timeout=flags.timeout,
        viewer_token=_checked_token("VIEWER_TOKEN", viewer_token) if viewer_token else "",
        form=_checked_form(flags.form or environ.get("FORM", "")),
    )


def prepare_environment(target: Target, environ: MutableMapping[str, str]) -> None:
    """Remove variables that would change what is verified; call it before MLflow is imported.

    In MLflow's client, a user name takes precedence over a token, and .netrc over both (mlflow.utils.rest_utils,
    requests); it retries requests for minutes. requests ignores SSL_CERT_FILE, so REQUESTS_CA_BUNDLE is set instead.
    """
    if ca_bundle := next((environ[name] for name in CA_BUNDLE_VARIABLES if environ.get(name)), None):
        environ["REQUESTS_CA_BUNDLE"] = ca_bundle
    for name in list(environ):
        if name.startswith(("MLFLOW_", "_MLFLOW_", "DATABRICKS_")) and not name.startswith(KEPT_PREFIXES):
            del environ[name]
    environ.update(
        NETRC=os.devnull,
        DO_NOT_TRACK="true",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_LOGGING_LEVEL="ERROR",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
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
        raise UsageError(f"The URL is missing: {EXAMPLE}")
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, valid = SplitResult("", "", "", "", ""), False
    if parts.username is not None or parts.password is not None:
        # The value is not shown, since it contains a password.
        raise UsageError(f"{name} contains a user name or password. Remove it and use a token.")
    shown = sanitize(text)
    if not valid or any(character.isspace() or not character.isprintable() for character in text):
        hint = f" Did you mean http://{shown}?" if text.partition("/")[0].partition(":")[2].isdecimal() else ""
        raise UsageError(
            f"{name}: got {shown}, expected the URL of a deployment, such as https://mlflow.example.com.{hint}"
        )
    if parts.query or parts.fragment:
        raise UsageError(f"{name}: got {shown}, a page of MLflow's UI. Remove everything from # or ? on.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_form(text: str) -> Path | None:
    if not text:
        return None
    path = Path(text)
    if path.suffix not in (".md", ".json"):
        raise UsageError(f"FORM: got {sanitize(text)}, expected a file that ends in .md or .json.")
    if not path.parent.is_dir():
        raise UsageError(f"FORM: the directory {sanitize(str(path.parent))} does not exist.")
    return path


def _checked_token(name: str, text: str) -> str:
    text = text.strip()
    if not text:
        raise UsageError(
            f"The token is missing: make verify URL=... TOKEN=... (role {ROLE}). `make up` prints its token; "
            "`python -m proxy_app token new --help` creates others."
        )
    if text.lower().startswith("bearer "):
        raise UsageError(f"{name}: remove the word Bearer; expected the token alone.")
    if not all("!" <= character <= "~" for character in text):
        raise UsageError(f"{name} contains a space, a line break or a character that is not valid in a token.")
    return text
