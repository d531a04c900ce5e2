"""The schema of resources from the installed SDKs: inputs, their types, required inputs, and outputs.

Names are in camel case, as in requests. Nested values are checked as deep as the SDK's types go.
"""

import functools
import importlib
import importlib.resources
import inspect
import json
import sys
import types
import typing
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, cast

import pulumi

from .wire import UNKNOWN, is_asset

# Names in the wrapper pulumi.Input, which is removed.
_OF_INPUT = {"Output": pulumi.Output, "T": types.NoneType}
# The SDKs' packages by the name in their tokens.
_PACKAGES = {"aws": "pulumi_aws", "gcp": "pulumi_gcp", "random": "pulumi_random", "docker-build": "pulumi_docker_build"}


@dataclass(frozen=True, slots=True)
class Field:
    """``types`` are the alternative types of the value."""

    types: tuple[Any, ...]
    required: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of a type. ``outputs`` includes the inputs, as everywhere in Pulumi."""

    inputs: Mapping[str, Field]
    outputs: frozenset[str]


class UnknownTypeError(Exception):
    """The installed SDKs have no such type."""


def package_version(package: str) -> str:
    """Return the version of a package's installed SDK."""
    folder = importlib.import_module(_PACKAGES[package])
    text = (importlib.resources.files(folder) / "pulumi-plugin.json").read_text(encoding="utf-8")
    return json.loads(text)["version"]


@functools.cache
def schema_of(kind: str) -> Schema:
    """Return the schema of a token such as aws:ec2/vpc:Vpc. Raises UnknownTypeError."""
    resource = _resource_class(kind)
    return Schema(inputs=_fields(_arguments(resource)), outputs=frozenset({"id", *_names(resource)}))


def documentation_of(kind: str) -> dict[str, str]:
    """Return the SDK's documentation of each input."""
    return {name: found.fget.__doc__ or "" for name, found in _names(_arguments(_resource_class(kind))).items()}


def _arguments(resource: type) -> type:
    module = vars(sys.modules[resource.__module__])
    # InitArgs where a nested type has taken the other name.
    return module.get(f"{resource.__name__}InitArgs") or module[f"{resource.__name__}Args"]


def result_fields(token: str) -> set[str]:
    """Return the fields of a function's result, such as aws:index/getRegion:getRegion."""
    package, middle, name = token.split(":")
    folder = middle.split("/")[0]
    parent = importlib.import_module(_PACKAGES[package] + ("" if folder == "index" else f".{folder}"))
    return set(_names(getattr(parent, f"{name[0].upper()}{name[1:]}Result")))


def problems(kind: str, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (path, reason) of each violation of the SDK's types."""
    yield from _object_problems(schema_of(kind).inputs, inputs, "")


@functools.cache
def _tokens(package: str) -> dict[str, tuple[str, str]]:
    """The module and class of each token, from the SDK's registration."""
    source = inspect.getsource(importlib.import_module(_PACKAGES[package]))
    listed = source.split('resource_modules="""')[1].split('"""')[0]
    return {
        token: (module["fqn"], name)
        for module in json.loads(listed)
        for token, name in cast("dict[str, str]", module["classes"]).items()
    }


def _resource_class(kind: str) -> type:
    package = kind.split(":")[0]
    if package not in _PACKAGES or kind not in _tokens(package):
        raise UnknownTypeError(f"The installed SDKs have no {kind}.")
    module, name = _tokens(package)[kind]
    return getattr(importlib.import_module(module), name)


def _names(cls: type) -> dict[str, property]:
    """Properties by their camel-case names."""
    return {
        getattr(found.fget, "_pulumi_name"): found  # noqa: B009 - the mark of pulumi.getter
        for base in reversed(cls.__mro__)
        for found in vars(base).values()
        if isinstance(found, property) and hasattr(found.fget, "_pulumi_name")
    }


@functools.cache
def _fields(arguments: type) -> dict[str, Field]:
    module = sys.modules[arguments.__module__]
    found: dict[str, Field] = {}
    for name, getter in _names(arguments).items():
        hint = _resolved(cast("Any", getter.fget).__annotations__["return"], module)
        alternatives = tuple(_alternatives(hint))
        found[name] = Field(
            types=tuple(kind for kind in alternatives if kind is not types.NoneType),
            required=types.NoneType not in alternatives,
        )
    return found


def _resolved(hint: Any, module: ModuleType) -> Any:
    def annotated() -> None: ...

    annotated.__annotations__ = {"return": hint}
    # Names of the SDK's module, and those in pulumi.Input.
    return typing.get_type_hints(annotated, globalns={**vars(module), **_OF_INPUT})["return"]


def _alternatives(hint: Any) -> Iterator[Any]:
    """The members of a union, without wrappers such as Output."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from _alternatives(member)
    elif origin not in (Awaitable, pulumi.Output) and not typing.is_typeddict(hint):
        yield hint


def _object_problems(fields: Mapping[str, Field], inputs: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, value in inputs.items():
        if name == "__defaults":
            continue
        if name not in fields:
            yield _join(path, name), f"unknown field; expected one of {', '.join(sorted(fields))}"
        elif value is not None:
            yield from _value_problems(fields[name].types, value, _join(path, name))
    for name, field in fields.items():
        if field.required and inputs.get(name) is None:
            yield _join(path, name), "required, but missing"


def _value_problems(kinds: Sequence[Any], value: Any, path: str) -> Iterator[tuple[str, str]]:
    if value is UNKNOWN:
        return
    found: list[tuple[str, str]] = []
    for kind in kinds:
        found = list(_problems_as(kind, value, path))
        if not found:
            return
    yield from found


def _problems_as(kind: Any, value: Any, path: str) -> Iterator[tuple[str, str]]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Sequence:
        if not isinstance(value, list):
            yield path, f"got {_short(value)}, expected a list"
            return
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _value_problems(tuple(_alternatives(arguments[0])), item, f"{path}[{index}]")
    elif origin is Mapping:
        if not isinstance(value, dict):
            yield path, f"got {_short(value)}, expected an object"
            return
        for name, item in cast("dict[str, Any]", value).items():
            yield from _value_problems(tuple(_alternatives(arguments[1])), item, _join(path, name))
    elif inspect.isclass(kind) and hasattr(kind, "_pulumi_input_type"):
        if not isinstance(value, dict):
            yield path, f"got {_short(value)}, expected an object"
            return
        yield from _object_problems(_fields(kind), cast("dict[str, Any]", value), path)
    elif not _is_plain(kind, value):
        yield path, f"got {_short(value)}, expected {_expected(kind)}"


def _is_plain(kind: Any, value: Any) -> bool:
    if kind is Any:
        return True
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and (kind is float or value == int(value))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return any(value == member.value for member in kind)
    if inspect.isclass(kind) and issubclass(kind, pulumi.Asset | pulumi.Archive):
        return is_asset(value)
    return isinstance(value, str)


def _expected(kind: Any) -> str:
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    words: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    return words.get(kind, str(kind))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
