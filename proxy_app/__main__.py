"""The command line: serve, manage tokens, check the health of a running proxy."""

import argparse
import contextlib
import http.client
import os
import sys

from . import __version__
from .setting_table import SettingsError
from .settings import Settings, listen_address

_ABOUT = """\
MLflow auth proxy: authenticates each request, enforces the role of its user, and
forwards it to SageMaker's managed MLflow (signed with SigV4) or to a plain MLflow
server. Without a command it serves until SIGTERM.

A first run in front of an MLflow server on this machine:

  python -m proxy_app token new --name me --role admin --file tokens.json
  export MLFLOW_PROXY_UPSTREAM_URL=http://127.0.0.1:5000 MLFLOW_PROXY_TOKENS_FILE=tokens.json
  python -m proxy_app
"""


def main() -> int:
    """Run the command line in ``sys.argv``; returns the exit code.

    0: success; 1: the health check or the token command failed; 2: invalid settings, or an address is in use. argparse
    raises SystemExit for invalid arguments.
    """
    parser = argparse.ArgumentParser(
        prog="python -m proxy_app",
        description=_ABOUT,
        epilog=Settings.help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mlflow-proxy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve (the default)")
    commands.add_parser("healthcheck", help="check the proxy on MLFLOW_PROXY_LISTEN; exit code 0 if it runs")
    token = commands.add_parser("token", help="create, list and revoke tokens")

    # The health check runs every few seconds in a container: it loads only what it needs.
    if sys.argv[1:] == ["healthcheck"]:
        return _healthcheck()
    from .auth import token_command

    token_command.add_arguments(token)
    arguments = parser.parse_args()
    if arguments.command == "token":
        return token_command.run(arguments)
    return _serve()


def _serve() -> int:
    from .auth.token_store import StoreError
    from .auth.tokens import TokenError
    from .logs import log_as_json
    from .server import ListenError, run
    from .target import TargetError

    log_as_json()
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore
    try:
        run(Settings.from_env(os.environ))
    except (SettingsError, TargetError, TokenError, StoreError, ListenError) as error:
        print(f"The proxy cannot start.\n{error}", file=sys.stderr)
        return 2
    return 0


def _healthcheck() -> int:
    try:
        address = listen_address(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, address.port, timeout=3)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/healthz")
            return 0 if connection.getresponse().status == 200 else 1
        except OSError as error:
            print(f"no response from {address}: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ModuleNotFoundError as error:
        # Most likely the wrong virtual environment.
        print(
            f"{error.name} is not installed here: pip install --require-hashes -r proxy_app/requirements.txt",
            file=sys.stderr,
        )
        sys.exit(2)
