"""Preview a stack without a cloud account: resources, network exposure, permissions, outputs and `pulumi destroy`."""

import argparse
import dataclasses
import json
import os
import re
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # There is nothing to clean up, and a traceback from an import would not help.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import pulumi

from .aws.mock_outputs import REGION
from .console import Style
from .diagram import mermaid
from .recorder import SECRET, Graph, MissingMockOutputError, record
from .report import report
from .stack_files import Stack, StackError, read_stack

FORMATS = ("text", "mermaid", "json")
_MISSING_SECRET = re.compile(r"`pulumi config set --secret ([\w-]+:[\w-]+)`")


def graph_of(stack: Stack, folder: Path) -> Graph:
    """Return the graph that the program in ``folder`` registers with this stack's config.

    A stack file in version control holds no secrets. If the program fails because a secret is missing, and names the
    command that sets it, the program runs again with a placeholder and the graph has a warning. Other errors of the
    program propagate.
    """
    try:
        return _record_program(stack, folder)
    except pulumi.RunError as error:
        missing = tuple(dict.fromkeys(key for key in _MISSING_SECRET.findall(str(error)) if key not in stack.config))
        if not missing:
            raise
        try:
            graph = _record_program(_with_secrets(stack, missing), folder)
        except pulumi.RunError:
            raise error from None
    graph.messages += [("WARNING", f"{key} is not set: run `pulumi config set --secret {key}`.") for key in missing]
    return graph


def _record_program(stack: Stack, folder: Path) -> Graph:
    program = folder / "__main__.py"
    return record(
        lambda: runpy.run_path(str(program), run_name="__main__") and None,
        project=stack.project,
        stack_name=stack.name,
        config=stack.config,
        secret_keys=stack.secret_keys,
    )


def _with_secrets(stack: Stack, keys: Sequence[str]) -> Stack:
    config = {**stack.config, **dict.fromkeys(keys, SECRET)}
    return dataclasses.replace(stack, config=config, secret_keys=(*stack.secret_keys, *keys))


def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Run the command and return its exit code: 1 if `pulumi preview` would fail, except for missing secrets."""
    parser = argparse.ArgumentParser(prog="make preview", description=__doc__)
    parser.add_argument("--stack", default="dev", help="name of the stack: reads Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--format", default="text", help=f"one of {', '.join(FORMATS)} (default: text)")
    options = parser.parse_args(arguments)
    folder = folder or Path.cwd()
    if options.format not in FORMATS:
        return _fail(f"unknown FORMAT: got {options.format}, expected {', '.join(FORMATS)}.")
    try:
        stack = read_stack(folder, options.stack)
    except StackError as error:
        return _fail(str(error))
    try:
        graph = graph_of(stack, folder)
    except (pulumi.RunError, MissingMockOutputError) as error:
        return _fail(str(error))
    except Exception:  # noqa: BLE001 - the engine shows the whole traceback, too
        return _fail(traceback.format_exc())
    if "mlflow:aws" in stack.config and "aws:region" not in stack.config:
        graph.messages.append(("WARNING", f"aws:region is not set; this preview uses {REGION}."))
    for level, message in graph.messages:
        print(f"{level.lower()}: {message}", file=sys.stderr)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    writers: dict[str, Callable[[], str]] = {
        "text": lambda: report(stack, graph, Style(colours)),
        "mermaid": lambda: mermaid(graph),
        "json": lambda: json.dumps(dataclasses.asdict(graph, dict_factory=_omit_read_false), indent=2) + "\n",
    }
    print(writers[options.format](), end="")
    return 0


def _omit_read_false(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Omit the field `read` where it is false: few resources are read (`get`)."""
    return {name: value for name, value in fields if (name, value) != ("read", False)}


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
