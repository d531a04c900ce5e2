"""Placeholders of the example stack files, which no account, project or domain can have."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

# RFC 2606 reserves example.com and the top-level domain example.
_PLACEHOLDERS = (
    (re.compile(r"0{8}-0{4}-0{4}-0{4}-0{12}"), "a resource ID of zeros", "the ARN of a resource of yours"),
    (re.compile(r"(?<!\d)123456789012(?!\d)"), "the account or project number of AWS's and Google's examples", "yours"),
    (re.compile(r"(?<![\w-])my-project(?![\w-])"), "the project of the example files", "your project's ID"),
    (re.compile(r"(?<![\w-])example\.(?:com|net|org)(?![\w.-])|\.example(?![\w.-])"), "a reserved domain", "yours"),
)


def placeholders(config: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (setting, problem) for each placeholder in a stack's config.

    ``config`` has full keys, such as aws:region, and objects as JSON. Only keys of this program and of the Google Cloud
    provider are read.
    """
    for key, text in sorted(config.items()):
        if key.startswith(("mlflow:", "gcp:")):
            for setting, value in _leaves(key, _parsed(text)):
                for pattern, meaning, remedy in _PLACEHOLDERS:
                    found = pattern.search(value)
                    if found:
                        yield setting, f"got {value}: {found[0]} is a placeholder ({meaning}), expected {remedy}."
                        break


def _parsed(text: str) -> Any:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return text
    return cast("Any", value) if isinstance(value, dict | list) else text


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, inner_value in cast("dict[str, Any]", value).items():
            yield from _leaves(f"{name}.{inner}", inner_value)
    elif isinstance(value, list):
        for number, inner_value in enumerate(cast("list[Any]", value)):
            yield from _leaves(f"{name}[{number}]", inner_value)
    elif isinstance(value, str):
        yield name, value
