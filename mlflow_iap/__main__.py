"""The command line: a token for curl, and what is wrong when access fails."""

import argparse
import dataclasses
import logging
import os
import sys
import textwrap

from .auth import IapAuth
from .check import Exit, Problem, check
from .errors import IapError, SettingsError
from .hosts import host_of
from .settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mlflow_iap",
        description="Access to an MLflow behind Google's Identity-Aware Proxy (IAP).",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "token", help='print a token: curl -H "Authorization: Bearer $(python -m mlflow_iap token)" ...'
    )
    check_parser = commands.add_parser("check", help="try access to MLflow, and say what is wrong")
    check_parser.add_argument("url", metavar="URL", help="MLflow's tracking URI")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    return _token() if arguments.command == "token" else _check(arguments.url)


def _token() -> int:
    try:
        print(IapAuth().token().text)
    except IapError as error:
        print(error, file=sys.stderr)
        return Exit.SETTINGS if isinstance(error, SettingsError) else Exit.NO_TOKEN
    return Exit.OK


def _check(url: str) -> int:
    try:
        settings = Settings.from_env(os.environ)
        host = host_of(url)
        if not settings.hosts and host:
            settings = dataclasses.replace(settings, hosts=frozenset({host}))
        check(url, IapAuth(settings), lambda step, what: print(f"ok    {step:<11} {what}"))
    except SettingsError as error:
        print(f"WRONG settings    {error}")
        return Exit.SETTINGS
    except Problem as problem:
        print(f"WRONG {problem.step:<11} {problem}")
        return problem.code
    return Exit.OK


def _epilog() -> str:
    lines = ["environment variables:"]
    for name, sentence in Settings.table():
        lines += [f"  {name}", textwrap.fill(sentence, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    lines += ["", "exit codes:", *(f"  {code.value:>2}  {code.meaning}" for code in Exit)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
