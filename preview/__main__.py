"""`make preview STACK=dev FORMAT=text`: a stack before it runs, without a cloud account."""

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
    # Nothing here needs to be tidied up, and a stack trace of half an import helps nobody.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import pulumi

from .aws import answers as aws
from .console import Style
from .drawing import mermaid
from .recorder import SECRET, Graph, MissingAnswer, record
from .report import report
from .stack_files import Stack, StackError, read_stack

FORMATS = ("text", "mermaid", "json")
_TO_SET = re.compile(r"`pulumi config set --secret ([\w-]+:[\w-]+)`")


def graph_of(stack: Stack, folder: Path) -> Graph:
    """What the project's program asks for with this stack's config. The program's errors come through.

    Secrets that the program misses, and says how to set, are taken for set, with a warning: files that are shared
    have none.
    """
    try:
        return _recorded(stack, folder)
    except pulumi.RunError as error:
        missing = tuple(dict.fromkeys(key for key in _TO_SET.findall(str(error)) if key not in stack.config))
        if not missing:
            raise
        try:
            graph = _recorded(_with_secrets(stack, missing), folder)
        except pulumi.RunError:
            raise error from None
    graph.messages += [("WARNING", f"{key} is not set yet: `pulumi config set --secret {key}`.") for key in missing]
    return graph


def _recorded(stack: Stack, folder: Path) -> Graph:
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
    """The exit code: 1 for whatever would have ended `pulumi preview`, too, but secrets that are still to be set."""
    parser = argparse.ArgumentParser(prog="make preview", description=__doc__)
    parser.add_argument("--stack", default="dev")
    parser.add_argument("--format", default="text")
    given = parser.parse_args(arguments)
    folder = folder or Path.cwd()
    if given.format not in FORMATS:
        return _failed(f"FORMAT={given.format} is not known; there are {', '.join(FORMATS)}.")
    try:
        stack = read_stack(folder, given.stack)
    except StackError as error:
        return _failed(str(error))
    try:
        graph = graph_of(stack, folder)
    except (pulumi.RunError, MissingAnswer) as error:
        return _failed(str(error))
    except Exception:  # noqa: BLE001 - shown whole, as the engine would
        return _failed(traceback.format_exc())
    if "mlflow:aws" in stack.config and "aws:region" not in stack.config:
        graph.messages.append(("WARNING", f"aws:region is not set; it is taken for {aws.REGION} here."))
    for level, message in graph.messages:
        print(f"{level.lower()}: {message}", file=sys.stderr)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    written: dict[str, Callable[[], str]] = {
        "text": lambda: report(stack, graph, Style(colours)),
        "mermaid": lambda: mermaid(graph),
        "json": lambda: json.dumps(dataclasses.asdict(graph, dict_factory=_without_read), indent=2) + "\n",
    }
    print(written[given.format](), end="")
    return 0


def _without_read(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Said only of those few resources that are read."""
    return {name: value for name, value in fields if (name, value) != ("read", False)}


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
