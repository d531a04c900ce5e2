"""The command line: serve, make tokens, ask a running proxy how it is."""

import argparse
import contextlib
import http.client
import os
import sys

from .setting_table import SettingsError
from .settings import Settings

_ABOUT = """\
The proxy in front of MLflow: it knows who is calling, decides what they may do,
and passes requests on, signed for SageMaker's managed MLflow (SigV4) or as they
are to a plain MLflow server. Without a command it serves until SIGTERM.

A first run in front of an MLflow server on this machine:

  python -m proxy_app token new --name me --role admin --file tokens.json
  export MLFLOW_PROXY_UPSTREAM_URL=http://127.0.0.1:5000 MLFLOW_PROXY_TOKENS_FILE=tokens.json
  python -m proxy_app
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m proxy_app",
        description=_ABOUT,
        epilog=Settings.help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve; what happens without a command, too")
    commands.add_parser("healthcheck", help="ask the proxy on MLFLOW_PROXY_LISTEN how it is; exit code 0 if it runs")
    token = commands.add_parser("token", help="make, list and revoke callers' tokens")

    # The health check runs every few seconds in a container: it loads nothing that it does not need.
    if sys.argv[1:] == ["healthcheck"]:
        return _healthcheck()
    from .callers import token_command

    token_command.add_arguments(token)
    arguments = parser.parse_args()
    if arguments.command == "token":
        return token_command.run(arguments)
    return _serve()


def _serve() -> int:
    from .callers.token_store import StoreError
    from .callers.tokens import TokenError
    from .observe import log_as_json
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
        address = Settings.from_env(os.environ).listen
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
            print(f"no answer on {address}: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ModuleNotFoundError as error:
        # Another project's environment, most likely.
        print(
            f"{error.name} is not installed here: pip install --require-hashes -r proxy_app/requirements.txt",
            file=sys.stderr,
        )
        sys.exit(2)
