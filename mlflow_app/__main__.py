"""The command line: serve, upgrade the schema, check a running container's health."""

import argparse
import asyncio
import os
import sys

from proxy_app.setting_table import SettingsError, help_text

from . import logs
from .settings import Settings, proxy_environment, read_settings

_DESCRIPTION = """\
MLflow behind the proxy, in one container: with its own database, for Google Cloud,
or in front of SageMaker, for the UI. Without a command it
serves until SIGTERM. Settings of the proxy (MLFLOW_PROXY_...) are passed on to it;
docs/settings.md and `python -m proxy_app --help` list them.
"""


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mlflow_app",
        description=_DESCRIPTION,
        epilog=help_text([Settings]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve; the default")
    commands.add_parser("upgrade", help="create or upgrade the database's schema, then exit")
    commands.add_parser("healthcheck", help="query the proxy at MLFLOW_PROXY_LISTEN; exit code 0 if it is healthy")
    command = parser.parse_args().command
    if command == "healthcheck":
        environ = proxy_environment(os.environ, Settings(), 1)
        os.execve(sys.executable, [sys.executable, "-m", "proxy_app", "healthcheck"], environ)  # noqa: S606
    try:
        return _upgrade() if command == "upgrade" else _serve()
    except SettingsError as error:
        log_format = logs.log_format(os.environ.get("MLFLOW_APP_TARGET_ARN", "").strip())
        # One log entry per line: Cloud Logging's list shows the first line of an entry.
        for line in ["The container cannot start.", *str(error).splitlines()]:
            sys.stdout.write(log_format.entry("CRITICAL", line, "container"))
        return 2


def _serve() -> int:
    from .supervisor import supervise

    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore
    settings, proxy_settings = read_settings(os.environ)
    return asyncio.run(supervise(settings, proxy_settings, os.environ))


def _upgrade() -> int:
    settings = Settings.from_env({**os.environ, "MLFLOW_APP_SCHEMA_UPGRADE": "on"})
    if settings.target_arn:
        raise SettingsError(
            "MLFLOW_APP_TARGET_ARN: SageMaker upgrades its MLflow itself; there is no schema to upgrade."
        )
    logs.log_as_json("mlflow")
    os.environ["MLFLOW_CONFIGURE_LOGGING"] = "false"
    from .database import configure_login
    from .server import make_schema_ready

    configure_login(settings)
    return make_schema_ready(settings)


if __name__ == "__main__":
    sys.exit(main())
