"""The command line: serve, upgrade the schema once, ask a running container how it is."""

import argparse
import asyncio
import os
import sys

from proxy_app.setting_table import SettingsError

from . import logs
from .settings import Settings, proxy_environment, read

_ABOUT = """\
MLflow behind the proxy, in one container for Google Cloud: without a command it
serves until SIGTERM. The proxy's own settings (MLFLOW_PROXY_...) go to the proxy; they are
in docs/settings.md, and `python -m proxy_app --help` lists them.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mlflow_app",
        description=_ABOUT,
        epilog=Settings.help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve; what happens without a command, too")
    commands.add_parser("upgrade", help="make or upgrade the database's schema, and end")
    commands.add_parser("healthcheck", help="ask the proxy on MLFLOW_PROXY_LISTEN how it is; exit code 0 if it runs")
    command = parser.parse_args().command
    if command == "healthcheck":
        environ = proxy_environment(os.environ, Settings(), 1)
        os.execve(sys.executable, [sys.executable, "-m", "proxy_app", "healthcheck"], environ)  # noqa: S606
    try:
        return _upgrade() if command == "upgrade" else _serve()
    except SettingsError as error:
        # One entry for each: the log's reader shows a line of them.
        for line in ["The container cannot start.", *str(error).splitlines()]:
            sys.stdout.write(logs.entry("CRITICAL", line, "container"))
        return 2


def _serve() -> int:
    from .supervisor import supervise

    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore
    settings, proxy_settings = read(os.environ)
    return asyncio.run(supervise(settings, proxy_settings, os.environ))


def _upgrade() -> int:
    settings = Settings.from_env({**os.environ, "MLFLOW_APP_SCHEMA_UPGRADE": "on"})
    logs.log_as_json("mlflow")
    os.environ["MLFLOW_CONFIGURE_LOGGING"] = "false"
    from .connect import log_in_as
    from .server import make_schema_ready

    log_in_as(settings)
    return make_schema_ready(settings)


if __name__ == "__main__":
    sys.exit(main())
