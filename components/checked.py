"""Settings that are checked before anything is created: a field says what it takes, and so does its error.

A model is made from a component's arguments, or from the stack's config, where names are in camel case.
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
    """Settings are wrong; the message has a line for each: where, what was given, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "One setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        super().__init__("\n  ".join([f"{count} wrong; nothing was created.", *problems]))


class Takes(str):
    """What a field takes, in words, where its type alone does not tell."""

    __slots__ = ()


def _known(value: Any, check: Callable[[Any], Any]) -> Any:
    # What another resource will say cannot be checked yet.
    unknown = isinstance(value, pulumi.Output)
    return cast("Any", value) if unknown else check(value)


def _text(pattern: str, takes: str) -> Any:
    return Annotated[str, StringConstraints(pattern=f"^(?:{pattern})$"), Takes(takes)]


def _input(pattern: str, takes: str) -> Any:
    return Annotated[str, StringConstraints(pattern=f"^(?:{pattern})$"), Wrap(_known), Takes(takes)]


if TYPE_CHECKING:
    Arn = Certificate = InputText = KmsKey = Policy = ResourceId = ZoneId = pulumi.Input[str]
    Cidr = Email = Host = Text = str
else:
    Arn = _input(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:(\d{12}|aws)?:\S+", "an ARN (arn:aws:...)")
    Certificate = _input(
        r"arn:[a-z-]+:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+", "a certificate's ARN (arn:aws:acm:...:certificate/...)"
    )
    KmsKey = _input(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+", "a key's ARN (arn:aws:kms:...:key/...)")
    Policy = _input(r"arn:[a-z-]+:iam::(\d{12}|aws):policy/\S+", "a policy's ARN (arn:aws:iam::...:policy/...)")
    Cidr = _text(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}", "a range of IPv4 addresses, such as 10.42.0.0/16")
    Email = _text(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")
    Host = _text(
        r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", "a host name in lower case, such as mlflow.example.com"
    )
    InputText = _input(r".+", "a text")
    Text = _text(r".+", "a text")
    ZoneId = _input(r"Z[A-Z0-9]{3,31}", "a hosted zone's id, such as Z0123456789ABCDEFGHIJ")
    ResourceId = _input(r"[a-z]+-[0-9a-f]{8,}", "an id of AWS's, such as vpc-0123456789abcdef0")


class Checked(BaseModel):
    """A group of settings. Unknown names, wrong types and values out of range are errors, and never corrected."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        arbitrary_types_allowed=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(to_camel(name), name)),
        use_attribute_docstrings=True,
    )

    # What fields are in production when they are not given; the fields' own defaults are development's.
    in_production: ClassVar[Mapping[str, Any]] = {}
    # Fields that a stack's config keeps outside the object, each as a secret with this key.
    config_secrets: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def spellings(cls, field: str) -> tuple[str, str]:
        """How a field may be written: in camel case, and as it is."""
        return to_camel(field), field

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """(dotted name of a field, sentence) of what is wrong between settings that are right one by one."""
        return iter(())


Model = TypeVar("Model", bound=Checked)


def checked(model: type[Model], values: Mapping[str, Any] | Checked, where: str, *, production: bool) -> Model:
    """The settings that ``values`` give, each with its default. Raises SettingsError with everything that is wrong."""
    given = _with_defaults(model, _as_given(values), production=production)
    problems: list[str] = []
    wrong: list[Path] = []
    settings: Model | None = None
    try:
        settings = model.model_validate(given)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            place = _without_choices(one["loc"], given)
            wrong.append(place)
            problems.append(f"{_dotted(where, place)}: {_sentence(model, place, one)}")
    # The others may still contradict each other: somebody wants to know it now, not after the next try.
    spoiled = [_dotted(where, place) for place in wrong]
    for place, sentence in _contradictions(model, _without(given, wrong)):
        full = _dotted(where, place)
        if not any(full.startswith(one) or one.startswith(full + ".") for one in spoiled):
            problems.append(f"{full}: {sentence}")
    if problems or settings is None:
        raise SettingsError(list(dict.fromkeys(problems)))
    return settings


def _as_given(values: Any) -> Any:
    if isinstance(values, Checked):
        return {name: _as_given(getattr(values, name)) for name in values.model_fields_set}
    if isinstance(values, Mapping):
        return {name: _as_given(value) for name, value in cast("Mapping[str, Any]", values).items()}
    return values


def _with_defaults(model: type[Checked], values: Any, *, production: bool) -> Any:
    if not isinstance(values, dict):
        return values
    given = dict(cast("dict[str, Any]", values))
    for name, field in model.model_fields.items():
        key = next((key for key in model.spellings(name) if key in given), None)
        inner = model_in(field.annotation)
        if inner is not None and (key is not None or isinstance(field.get_default(call_default_factory=True), inner)):
            given[key or name] = _with_defaults(inner, given[key] if key else {}, production=production)
        elif key is None and production and name in model.in_production:
            given[name] = model.in_production[name]
    return given


def place(name: str) -> str:
    """A field's dotted name as a stack's config spells it."""
    return ".".join(to_camel(part) for part in name.split("."))


def model_in(annotation: Any) -> type[Checked] | None:
    """The group of settings that a field holds, if it holds one."""
    options = typing.get_args(annotation) or (annotation,)
    return next((one for one in options if isinstance(one, type) and issubclass(one, Checked)), None)


def _without_choices(place: Path, given: Any) -> Path:
    """pydantic names the branch of a union, too; here a place is what somebody has written."""
    kept: list[str | int] = []
    for part in place:
        if isinstance(given, dict) and part in given:
            given = cast("dict[Any, Any]", given)[part]
        elif isinstance(given, list) and isinstance(part, int) and part < len(cast("list[Any]", given)):
            given = cast("list[Any]", given)[part]
        elif kept and not isinstance(given, dict):
            continue
        kept.append(part)
    return tuple(kept)


def _without(values: Any, wrong: list[Path]) -> Any:
    if not isinstance(values, dict):
        return values
    given = cast("dict[str, Any]", values)
    here = {place[0] for place in wrong if len(place) == 1 or not isinstance(given.get(str(place[0])), dict)}
    return {
        name: _without(value, [place[1:] for place in wrong if place[0] == name])
        for name, value in given.items()
        if name not in here
    }


def _dotted(where: str, place: Path) -> str:
    text = where
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{to_camel(part)}"
    return text


def _sentence(model: type[Checked], place: Path, error: Any) -> str:
    owner, field = _field_at(model, place)
    if error["type"] == "extra_forbidden":
        names = ", ".join(to_camel(name) for name in owner.model_fields if name not in owner.config_secrets)
        return f"no such setting; there are {names}."
    takes = allowed(field) if field else "something else"
    if error["type"] == "missing":
        return f"it is missing; allowed is {takes}."
    return f"{_shown(error['input'])} is given; allowed is {takes}."


def _field_at(model: type[Checked], place: Path) -> tuple[type[Checked], FieldInfo | None]:
    owner = model
    field = None
    for part in place:
        if isinstance(part, int):
            continue
        known = {key: field for name, field in owner.model_fields.items() for key in (name, to_camel(name))}
        field = known.get(part)
        inner = model_in(field.annotation) if field else None
        if part == place[-1] or inner is None:
            return owner, field
        owner = inner
    return owner, field


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words."""
    return _in_words(field.annotation, list(field.metadata))


def _in_words(kind: Any, metadata: list[Any]) -> str:
    said = next((str(one) for one in metadata if isinstance(one, Takes)), None)
    if said:
        return said
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _in_words(options[0], [*options[1:], *metadata])
    if origin is Literal:
        return "one of " + ", ".join(str(one) for one in options)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(one, metadata) for one in options if one is not NoneType)
    if origin is list:
        return f"a list, each {_in_words(options[0], [])}"
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        least = next((one.ge for one in metadata if isinstance(one, annotated_types.Ge)), None)
        most = next((one.le for one in metadata if isinstance(one, annotated_types.Le)), None)
        return number if least is None or most is None else f"{number} from {least} to {most}"
    if isinstance(kind, type) and issubclass(kind, Checked):
        return "a group of " + ", ".join(to_camel(name) for name in kind.model_fields)
    return "true or false" if kind is bool else "a text" if kind is str else "names and texts"


def _contradictions(model: type[Checked], given: Any, place: Path = ()) -> Iterator[tuple[Path, str]]:
    """(place, sentence) of what is wrong in each group that can be told without the others."""
    if not isinstance(given, dict):
        return
    values = cast("dict[str, Any]", given)
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        for key in model.spellings(name):
            if inner is not None and key in values:
                value = values[key]
                below = enumerate(cast("list[Any]", value)) if isinstance(value, list) else [(None, value)]
                for number, one in below:
                    yield from _contradictions(inner, one, (*place, name, *([] if number is None else [number])))
    try:
        settings = model.model_validate(values)
    except ValidationError:
        return
    for name, sentence in settings.contradictions():
        yield (*place, *name.split(".")), sentence
