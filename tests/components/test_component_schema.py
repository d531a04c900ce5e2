"""The components' arguments and outputs as Pulumi's component host reads them, without the Pulumi CLI."""

import typing
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.analyzer import Analyzer, PropertyDefinition, PropertyType, TypeDefinition
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from components import AwsMlflowProxy, GcpMlflow, args_module
from components.aws.settings import AwsMlflowProxySettings
from components.gcp.settings import GcpMlflowSettings
from components.validation import AcceptsOutput, ValidatedArgs, nested_model

PREFIX = "#/types/mlflow:index:"
TYPES: dict[type, PropertyType] = {
    bool: PropertyType.BOOLEAN,
    int: PropertyType.INTEGER,
    float: PropertyType.NUMBER,
    str: PropertyType.STRING,
    dict: PropertyType.OBJECT,
    list: PropertyType.ARRAY,
}
COMPONENTS: list[tuple[type[pulumi.ComponentResource], type[ValidatedArgs]]] = [
    (AwsMlflowProxy, AwsMlflowProxySettings),
    (GcpMlflow, GcpMlflowSettings),
]


def analyze(component: type[pulumi.ComponentResource]) -> tuple[TypeDefinition, dict[str, TypeDefinition]]:
    """The schema of a component's arguments as a type, and all types that they refer to."""
    found = Analyzer("mlflow").analyze([component])
    definition = found["component_definitions"][component.__name__]
    args = TypeDefinition(
        name=component.__name__,
        type=PropertyType.OBJECT,
        properties=definition.inputs,
        properties_mapping=definition.inputs_mapping,
        module="",
        python_type=component,
    )
    return args, found["type_definitions"]


def groups(
    args: TypeDefinition, model: type[ValidatedArgs], types: dict[str, TypeDefinition]
) -> Iterator[tuple[TypeDefinition, type[ValidatedArgs]]]:
    """Each group of settings as a type of the schema, and as a model."""
    yield args, model
    for name, field in model.model_fields.items():
        inner = nested_model(field.annotation)
        if inner is not None:
            schema_property = args.properties[to_camel(name)]
            ref = (schema_property.items or schema_property).ref
            assert ref is not None
            yield from groups(types[ref.removeprefix(PREFIX)], inner, types)


@pytest.fixture(scope="module", params=COMPONENTS, ids=lambda case: case[0].__name__)
def found(request: pytest.FixtureRequest) -> list[tuple[TypeDefinition, type[ValidatedArgs]]]:
    component, model = request.param
    args, types = analyze(component)
    return list(groups(args, model, types))


def test_generated_modules_are_up_to_date() -> None:
    for path, source in args_module.modules().items():
        assert path.read_text(encoding="utf-8") == source, f"{path.name} is out of date: run `make docs`"


def test_schema_has_the_settings_in_camel_case(found: list[tuple[TypeDefinition, type[ValidatedArgs]]]) -> None:
    for schema, model in found:
        assert list(schema.properties) == [to_camel(name) for name in model.model_fields]
        assert list(schema.properties_mapping.values()) == list(model.model_fields)


def test_schema_has_the_settings_descriptions(found: list[tuple[TypeDefinition, type[ValidatedArgs]]]) -> None:
    for schema, model in found:
        for name, field in model.model_fields.items():
            assert schema.properties[to_camel(name)].description == args_module.description(field)


def test_schema_requires_what_the_settings_require(found: list[tuple[TypeDefinition, type[ValidatedArgs]]]) -> None:
    for schema, model in found:
        for name, field in model.model_fields.items():
            assert schema.properties[to_camel(name)].optional is not field.is_required()


def accepts_output(field: FieldInfo) -> bool:
    """Whether the validated model takes an Output for a field or, in a list, for its items."""
    metadata = list(field.metadata)
    parts: list[Any] = [field.annotation]
    while parts:
        part = parts.pop()
        metadata += getattr(part, "__metadata__", ())
        parts += typing.get_args(part)
    return any(isinstance(one, AcceptsOutput) for one in metadata)


def test_only_fields_that_accept_outputs_are_not_plain(
    found: list[tuple[TypeDefinition, type[ValidatedArgs]]],
) -> None:
    for schema, model in found:
        for name, field in model.model_fields.items():
            schema_property = schema.properties[to_camel(name)]
            value: PropertyDefinition = schema_property.items or schema_property
            assert (value.plain is True) is not accepts_output(field), name


def plain_type(annotation: Any) -> type:
    """The type of a setting's value without None, constraints and the choice of values."""
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return type(options[0])  # pyright: ignore[reportUnknownVariableType]
    if origin in (list, dict):
        return origin
    return plain_type(next(one for one in options if one is not type(None))) if options else annotation


def test_schema_has_the_settings_types(found: list[tuple[TypeDefinition, type[ValidatedArgs]]]) -> None:
    for schema, model in found:
        for name, field in model.model_fields.items():
            schema_property = schema.properties[to_camel(name)]
            if schema_property.ref is not None:
                assert nested_model(field.annotation) is not None
            else:
                assert schema_property.type is TYPES[plain_type(field.annotation)], name


@pytest.mark.parametrize("component", [case[0] for case in COMPONENTS])
def test_outputs_have_types_and_descriptions(component: type[pulumi.ComponentResource]) -> None:
    outputs = Analyzer("mlflow").analyze([component])["component_definitions"][component.__name__].outputs
    assert [to_camel(name) for name in component.__annotations__] == list(outputs)
    for output in outputs.values():
        assert (output.items or output).type is PropertyType.STRING
        assert output.description
