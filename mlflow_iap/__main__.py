"""The command line: print a token for curl, or diagnose why access fails."""

import argparse
import dataclasses
import logging
import os
import sys
import textwrap

from .auth import IapAuth
from .check import CheckError, ExitCode, check
from .errors import IapError, SettingsError
from .hosts import host_of
from .settings import Settings


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mlflow_iap",
        description="Access to an MLflow server behind Google's Identity-Aware Proxy (IAP).",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "token", help='print a token: curl -H "Authorization: Bearer $(python -m mlflow_iap token)" ...'
    )
    check_parser = commands.add_parser("check", help="test access to MLflow and report the first problem")
    check_parser.add_argument("url", metavar="URL", help="MLflow's tracking URI")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    return _token() if arguments.command == "token" else _check(arguments.url)


def _token() -> int:
    try:
        print(IapAuth().token().text)
    except IapError as error:
        print(error, file=sys.stderr)
        return ExitCode.SETTINGS if isinstance(error, SettingsError) else ExitCode.NO_TOKEN
    return ExitCode.OK


def _check(url: str) -> int:
    try:
        settings = Settings.from_env(os.environ)
        host = host_of(url)
        if not settings.hosts and host:
            settings = dataclasses.replace(settings, hosts=frozenset({host}))
        check(url, IapAuth(settings), lambda step, result: print(f"ok    {step:<11} {result}"))
    except SettingsError as error:
        print(f"FAIL  settings    {error}")
        return ExitCode.SETTINGS
    except CheckError as error:
        print(f"FAIL  {error.step:<11} {error}")
        return error.code
    return ExitCode.OK


def _epilog() -> str:
    lines = ["environment variables:"]
    for name, description in Settings.table():
        lines += [f"  {name}", textwrap.fill(description, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    lines += ["", "exit codes:", *(f"  {code.value:>2}  {code.meaning}" for code in ExitCode)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
