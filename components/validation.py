"""Validation of settings before any resource is created.

A model is built from a component's arguments or from the stack's config, where names are in camel case. Each field
declares its expected value; error messages and the settings pages (settings_page.py) use the same description.
"""

import json
import typing
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, Union, cast

import annotated_types
import pulumi
from pydantic import AliasChoices, AliasGenerator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic import WrapValidator as Wrap
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


class SettingsError(Exception):
    """Settings are invalid. The message has one line for each problem: setting, value, expected value."""

    def __init__(self, problems: list[str]) -> None:
        """``problems`` are the lines of the message, each a setting and its problem."""
        self.problems = problems
        count = "One setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        super().__init__("\n  ".join([f"{count} invalid; nothing was created.", *problems]))


class Expected(str):
    """The description of a field's expected value, where its type alone does not determine it."""

    __slots__ = ()


class AcceptsOutput:
    """Marks a field that also accepts another resource's Output."""


def _unless_output(value: Any, check: Callable[[Any], Any]) -> Any:
    # The value of another resource's output may be unknown in a preview.
    unknown = isinstance(value, pulumi.Output)
    return cast("Any", value) if unknown else check(value)


def text_type(pattern: str, expected: str) -> Any:
    """The type of a string that matches a regular expression as a whole; ``expected`` describes it in errors."""
    return Annotated[str, StringConstraints(pattern=f"^(?:{pattern})$"), Expected(expected)]


def input_type(pattern: str, expected: str) -> Any:
    """Like text_type, for a field that also accepts another resource's Output, which is not validated."""
    return Annotated[
        str, StringConstraints(pattern=f"^(?:{pattern})$"), Wrap(_unless_output), AcceptsOutput(), Expected(expected)
    ]


if TYPE_CHECKING:
    InputText = pulumi.Input[str]
    Cidr = Email = Host = Text = str
else:
    Cidr = text_type(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}", "an IPv4 CIDR block, such as 10.42.0.0/16")
    Email = text_type(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")
    Host = text_type(
        r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", "a lowercase host name, such as mlflow.example.com"
    )
    InputText = input_type(r".+", "a string")
    Text = text_type(r".+", "a string")


class ValidatedArgs(BaseModel):
    """A group of settings. Unknown names, wrong types and values out of range are errors; nothing is coerced."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        arbitrary_types_allowed=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(to_camel(name), name)),
        use_attribute_docstrings=True,
    )

    # Defaults with environment: production, where they differ from the fields' own defaults.
    production_defaults: ClassVar[Mapping[str, Any]] = {}
    # Fields that a stack's config keeps outside the object, each as a secret with this key.
    config_secrets: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def spellings(cls, field: str) -> tuple[str, str]:
        """The accepted spellings of a field's name: camel case and snake case."""
        return to_camel(field), field

    def as_arguments(self) -> Any:
        """The values that are set, as a component's arguments: mappings, lists and plain values."""
        return _plain(self)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (dotted name of a field, message) for each problem that no single field's type can express."""
        return iter(())


Model = TypeVar("Model", bound=ValidatedArgs)


def validate_args(
    model: type[Model], values: Mapping[str, Any] | ValidatedArgs, prefix: str, *, production: bool
) -> Model:
    """Validate ``values`` and fill in the defaults of the environment.

    Raises SettingsError with all problems at once; each starts with ``prefix`` and the setting's name.
    """
    completed = _with_defaults(model, _plain(values), production=production)
    problems: list[str] = []
    invalid: list[Path] = []
    settings: Model | None = None
    try:
        settings = model.model_validate(completed)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            path = _without_branches(problem["loc"], completed)
            invalid.append(path)
            problems.append(f"{_dotted(prefix, path)}: {_message(model, path, problem)}")
    # Conflicts between the valid settings are reported in the same run.
    skipped = [_dotted(prefix, path) for path in invalid]
    for path, message in _conflicts(model, _without(completed, invalid)):
        full = _dotted(prefix, path)
        if not any(full.startswith(other) or other.startswith(full + ".") for other in skipped):
            problems.append(f"{full}: {message}")
    if problems or settings is None:
        raise SettingsError(list(dict.fromkeys(problems)))
    return settings


def _plain(values: Any) -> Any:
    if isinstance(values, ValidatedArgs):
        return {name: _plain(getattr(values, name)) for name in values.model_fields_set}
    if isinstance(values, Mapping):
        return {name: _plain(value) for name, value in cast("Mapping[str, Any]", values).items()}
    return values


def _with_defaults(model: type[ValidatedArgs], values: Any, *, production: bool) -> Any:
    if not isinstance(values, dict):
        return values
    completed = dict(cast("dict[str, Any]", values))
    for name, field in model.model_fields.items():
        key = next((key for key in model.spellings(name) if key in completed), None)
        inner = nested_model(field.annotation)
        if inner is not None and (key is not None or isinstance(field.get_default(call_default_factory=True), inner)):
            completed[key or name] = _with_defaults(inner, completed[key] if key else {}, production=production)
        elif key is None and production and name in model.production_defaults:
            completed[name] = model.production_defaults[name]
    return completed


def config_name(name: str) -> str:
    """A field's dotted name in the spelling of a stack's config (camel case)."""
    return ".".join(to_camel(part) for part in name.split("."))


def nested_model(annotation: Any) -> type[ValidatedArgs] | None:
    """The model of a field that holds a group of settings; None for other fields."""
    options = typing.get_args(annotation) or (annotation,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, ValidatedArgs)), None)


def _without_branches(path: Path, values: Any) -> Path:
    """The path in the user's values: without the names of union branches, which pydantic adds."""
    written: list[str | int] = []
    for part in path:
        if isinstance(values, dict) and part in values:
            values = cast("dict[Any, Any]", values)[part]
        elif isinstance(values, list) and isinstance(part, int) and part < len(cast("list[Any]", values)):
            values = cast("list[Any]", values)[part]
        elif written and not isinstance(values, dict):
            continue
        written.append(part)
    return tuple(written)


def _without(values: Any, invalid: list[Path]) -> Any:
    if not isinstance(values, dict):
        return values
    group = cast("dict[str, Any]", values)
    here = {path[0] for path in invalid if len(path) == 1 or not isinstance(group.get(str(path[0])), dict)}
    return {
        name: _without(value, [path[1:] for path in invalid if path[0] == name])
        for name, value in group.items()
        if name not in here
    }


def _dotted(prefix: str, path: Path) -> str:
    text = prefix
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{to_camel(part)}"
    return text


def _message(model: type[ValidatedArgs], path: Path, error: Any) -> str:
    owner, field = _field_at(model, path)
    if error["type"] == "extra_forbidden":
        twice = next((name for name in owner.model_fields if to_camel(name) == to_camel(str(path[-1]))), None)
        if twice:
            return f"set twice, as {to_camel(twice)} and {twice}: remove one."
        names = ", ".join(to_camel(name) for name in owner.model_fields if name not in owner.config_secrets)
        return f"unknown setting, expected one of {names}."
    expectation = expected(field) if field else "another value"
    if error["type"] == "missing":
        return f"missing, expected {expectation}."
    return f"got {_shown(error['input'])}, expected {expectation}."


def _field_at(model: type[ValidatedArgs], path: Path) -> tuple[type[ValidatedArgs], FieldInfo | None]:
    owner = model
    field = None
    for part in path:
        if isinstance(part, int):
            continue
        known = {key: field for name, field in owner.model_fields.items() for key in (name, to_camel(name))}
        field = known.get(part)
        inner = nested_model(field.annotation) if field else None
        if part == path[-1] or inner is None:
            return owner, field
        owner = inner
    return owner, field


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def expected(field: FieldInfo) -> str:
    """The description of a field's expected value, for error messages and the settings pages."""
    return _describe(field.annotation, list(field.metadata))


def _describe(kind: Any, metadata: list[Any]) -> str:
    description = next((str(item) for item in metadata if isinstance(item, Expected)), None)
    if description:
        return description
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _describe(options[0], [*options[1:], *metadata])
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in options)
    if origin in (Union, UnionType):
        return " or ".join(_describe(option, metadata) for option in options if option is not NoneType)
    if origin is list:
        return f"a list, each {_describe(options[0], [])}"
    if kind in (int, float):
        number = "an integer" if kind is int else "a number"
        least = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
        most = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
        return number if least is None or most is None else f"{number} from {least} to {most}"
    if isinstance(kind, type) and issubclass(kind, ValidatedArgs):
        return "an object with " + ", ".join(to_camel(name) for name in kind.model_fields)
    return "true or false" if kind is bool else "a string" if kind is str else "a map of strings"


def _conflicts(model: type[ValidatedArgs], data: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """(path, message) of the conflicts in each group that is valid by itself."""
    if not isinstance(data, dict):
        return
    values = cast("dict[str, Any]", data)
    for name, field in model.model_fields.items():
        inner = nested_model(field.annotation)
        for key in model.spellings(name):
            if inner is not None and key in values:
                value = values[key]
                below = enumerate(cast("list[Any]", value)) if isinstance(value, list) else [(None, value)]
                for number, group in below:
                    yield from _conflicts(inner, group, (*path, name, *([] if number is None else [number])))
    try:
        settings = model.model_validate(values)
    except ValidationError:
        return
    for name, message in settings.conflicts():
        yield (*path, *name.split(".")), message
