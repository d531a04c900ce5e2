"""A stack's config as the engine would hand it over: Pulumi.yaml and Pulumi.<stack>.yaml, with nothing decrypted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from .graph import SECRET


class StackError(Exception):
    """There is no such stack, or its files cannot be read; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """``config`` has full keys (aws:region) and texts; objects are JSON. A secret is SECRET, and its key is named."""

    project: str
    name: str
    file: Path
    config: dict[str, str]
    secret_keys: tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """YAML as Pulumi's own parser reads it: `yes` and `22:30` are texts."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the class has it


for _tag, _form, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    cast("Any", _Loader).add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))


def read_stack(folder: Path, name: str) -> Stack:
    """The stack's config. Raises StackError."""
    project = _read(folder / "Pulumi.yaml")
    file = folder / f"Pulumi.{name}.yaml"
    if not file.is_file():
        there = sorted(one.name for one in folder.glob("Pulumi.*.yaml"))
        raise StackError(f"There is no stack file {file.name}; there are {', '.join(there) or 'none'}.")
    given = _read(file)
    named = str(project.get("name", ""))
    values = _defaults(_group(project, "config", folder / "Pulumi.yaml"), named)
    values |= {_full(key, named): value for key, value in _group(given, "config", file).items()}
    return Stack(
        project=named,
        name=name,
        file=file,
        config={key: _as_text(value) for key, value in values.items()},
        secret_keys=tuple(key for key, value in values.items() if _holds_secret(value)),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found: Any = yaml.load(file.read_text(), _Loader)  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        raise StackError(f"{file.name} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StackError(f"{file.name} is not YAML: {error}") from None
    if not isinstance(found, dict | None):
        raise StackError(f"{file.name} has to hold names and values.")
    return cast("dict[str, Any]", found or {})


def _group(values: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    group: Any = values.get(name) or {}
    if not isinstance(group, dict):
        raise StackError(f"{file.name}: {name} has to hold names and values.")
    return cast("dict[str, Any]", group)


def _full(key: str, project: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _defaults(declared: Mapping[str, Any], project: str) -> dict[str, Any]:
    """What the project gives to each of its stacks: a `value`, a `default`, or the value itself."""
    values: dict[str, Any] = {}
    for key, said in declared.items():
        known = cast("dict[str, Any]", said) if isinstance(said, dict) else {"value": said}
        for name in ("value", "default"):
            if name in known:
                values[_full(key, project)] = known[name]
    return values


def _secure(value: Any) -> bool:
    return isinstance(value, dict) and list(cast("dict[str, Any]", value)) == ["secure"]


def _holds_secret(value: Any) -> bool:
    if _secure(value):
        return True
    if isinstance(value, dict):
        return any(map(_holds_secret, cast("dict[str, Any]", value).values()))
    return isinstance(value, list) and any(map(_holds_secret, cast("list[Any]", value)))


def _without_secrets(value: Any) -> Any:
    if _secure(value):
        return SECRET
    if isinstance(value, dict):
        return {str(name): _without_secrets(inner) for name, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in cast("list[Any]", value)]
    # On its way through the engine's JSON, 3.0 becomes 3.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_text(value: Any) -> str:
    plain = _without_secrets(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
