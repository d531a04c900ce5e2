"""Find what would make the first `pulumi up` of a stack fail: read-only, with your own credentials."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    # There is nothing to clean up, and a traceback from an import would not help.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import pulumi
import requests

from preview.__main__ import graph_of
from preview.console import Style
from preview.recorder import MissingMockOutputError
from preview.stack_files import Stack, StackError, read_stack

from .aws.api import Aws
from .checks import CHECKS, applying
from .gcp.api import Gcp
from .machine import Machine
from .model import Check
from .report import as_json, exit_code, text
from .runner import run
from .subject import Subject

FORMATS = ("text", "json")


class Tool(NamedTuple):
    """A command: as the user types it, what it does, and its checks."""

    name: str
    description: str | None
    checks: Sequence[Check]


PREFLIGHT = Tool("make preflight", __doc__, CHECKS)


def subject_of(stack: Stack, folder: Path) -> Subject:
    """Return the subject of a stack with the credentials of the environment. Errors of the program propagate."""
    return Subject(
        stack=stack,
        graph=graph_of(stack, folder),
        folder=folder,
        machine=Machine(folder),
        aws=Aws(stack.config),
        gcp=Gcp(stack.config, stack.config.get("gcp:project", "")),
        web=requests.Session(),
    )


def main(
    arguments: Sequence[str] | None = None,
    folder: Path | None = None,
    make: Callable[[Stack, Path], Subject] = subject_of,
    tool: Tool = PREFLIGHT,
) -> int:
    """Run the command and return its exit code, see report.exit_code; 1 for errors of the stack's file."""
    parser = argparse.ArgumentParser(prog=tool.name, description=tool.description)
    parser.add_argument("--stack", default="dev", help="name of the stack: reads Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--format", default="text", help=f"one of {', '.join(FORMATS)} (default: text)")
    options = parser.parse_args(arguments)
    folder = folder or Path.cwd()
    if options.format not in FORMATS:
        return _fail(f"unknown FORMAT: got {options.format}, expected {', '.join(FORMATS)}.")
    try:
        subject = make(read_stack(folder, options.stack), folder)
    except (StackError, pulumi.RunError, MissingMockOutputError) as error:
        return _fail(str(error))
    except Exception:  # noqa: BLE001 - the engine shows the whole traceback, too
        return _fail(traceback.format_exc())
    results = run(applying(subject, tool.checks), subject)
    if options.format == "json":
        print(as_json(subject.stack.name, results), end="")
    else:
        colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        title = f"{subject.stack.project}, stack {subject.stack.name} ({subject.stack.file.name})"
        print(text(title, results, Style(colours)), end="")
    return exit_code(results)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads that still wait for a response must not delay the exit.
    os._exit(code)
