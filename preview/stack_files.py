"""Read a stack's config from Pulumi.yaml and Pulumi.<stack>.yaml as the engine does, without decrypting secrets."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from .graph import SECRET


class StackError(Exception):
    """A stack file is missing or invalid; the message names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """``config`` maps full keys (aws:region) to strings; objects are JSON, and secrets are SECRET."""

    project: str
    name: str
    file: Path
    config: dict[str, str]
    secret_keys: tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """YAML as Pulumi's parser reads it: `yes` and `22:30` are strings."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in the base class


for _tag, _form, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    cast("Any", _Loader).add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))


def read_stack(folder: Path, name: str) -> Stack:
    """Return the config of the stack ``name`` in ``folder``. Raises StackError."""
    project = _read(folder / "Pulumi.yaml")
    file = folder / f"Pulumi.{name}.yaml"
    if not file.is_file():
        existing = sorted(path.name for path in folder.glob("Pulumi.*.yaml"))
        raise StackError(f"Stack file {file.name} does not exist; existing files: {', '.join(existing) or 'none'}.")
    project_name = str(project.get("name", ""))
    values = _defaults(_mapping(project, "config", folder / "Pulumi.yaml"), project_name)
    values |= {_full_key(key, project_name): value for key, value in _mapping(_read(file), "config", file).items()}
    return Stack(
        project=project_name,
        name=name,
        file=file,
        config={key: _as_text(value) for key, value in values.items()},
        secret_keys=tuple(key for key, value in values.items() if _holds_secret(value)),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found: Any = yaml.load(file.read_text(), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise StackError(f"{file.name} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StackError(f"{file.name} is not YAML: {error}") from None
    if not isinstance(found, dict | None):
        raise StackError(f"{file.name}: expected a mapping.")
    return cast("dict[str, Any]", found or {})


def _mapping(values: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    value: Any = values.get(name) or {}
    if not isinstance(value, dict):
        raise StackError(f"{file.name}: {name}: expected a mapping.")
    return cast("dict[str, Any]", value)


def _full_key(key: str, project: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _defaults(declared: Mapping[str, Any], project: str) -> dict[str, Any]:
    """The project's values for all of its stacks: a `value`, a `default`, or the value itself."""
    values: dict[str, Any] = {}
    for key, declaration in declared.items():
        fields = cast("dict[str, Any]", declaration) if isinstance(declaration, dict) else {"value": declaration}
        for name in ("value", "default"):
            if name in fields:
                values[_full_key(key, project)] = fields[name]
    return values


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and list(cast("dict[str, Any]", value)) == ["secure"]


def _holds_secret(value: Any) -> bool:
    if _is_secret(value):
        return True
    if isinstance(value, dict):
        return any(map(_holds_secret, cast("dict[str, Any]", value).values()))
    return isinstance(value, list) and any(map(_holds_secret, cast("list[Any]", value)))


def _without_secrets(value: Any) -> Any:
    if _is_secret(value):
        return SECRET
    if isinstance(value, dict):
        return {str(name): _without_secrets(inner) for name, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in cast("list[Any]", value)]
    # The engine's JSON turns 3.0 into 3.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_text(value: Any) -> str:
    plain = _without_secrets(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
