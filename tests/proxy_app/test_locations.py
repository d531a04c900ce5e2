"""The table of locations against MLflow's protobuf definitions and its GraphQL schema; filters of searches."""

import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from proxy_app.artifacts.filters import map_filter
from proxy_app.artifacts.json_editor import Leaf
from proxy_app.artifacts.locations import FILTERS, LOCATION_TAGS, REQUESTS, RESPONSES
from proxy_app.artifacts.root import ArtifactRoot
from proxy_app.routing import MLFLOW_ROUTES

ROOT = ArtifactRoot("bucket", "team/mlflow")
FIELDS = {"artifact_uri", "artifact_location", "root_uri", "default_artifact_root"}
# Fields whose names have another meaning in other messages.
FIELDS_OF = {"mlflow.ModelVersion.source", "mlflow.CreateModelVersion.source", "mlflow.TraceArchivalConfig.location"}
# Handlers whose response is not the one of their protobuf definition, and routes that MLflow 3.17 no longer has.
OTHERS = {
    "/ajax-api/2.0/mlflow/runs/create-promptlab-run",
    "/api/2.0/mlflow/traces/<trace_id>",
    "/api/2.0/mlflow/traces/search",
    "/graphql",
}
Path = tuple[str, ...]


def located(message: Any, seen: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The paths of the locations in a message: names, and `[]` for the elements of a list."""
    if message.full_name in seen or message.full_name.startswith("google.protobuf."):
        return
    for field in message.fields:
        path = (field.name, "[]") if field.is_repeated else (field.name,)
        if field.message_type is None:
            if field.name in FIELDS or f"{message.full_name}.{field.name}" in FIELDS_OF:
                yield path
        elif field.name == "tags" and field.message_type.GetOptions().map_entry and "Trace" in message.name:
            for tag in LOCATION_TAGS:
                yield field.name, tag
        elif field.message_type.name == "TraceTag":
            yield *path, "value"
        elif not field.message_type.GetOptions().map_entry:
            for below in located(field.message_type, seen | {message.full_name}):
                yield *path, *below


def leaves(tree: Any) -> Iterator[Path]:
    if isinstance(tree, Leaf):
        if tree is not Leaf.TAG_NAME:
            yield ()
        return
    for key, below in tree.items():
        for path in leaves(below):
            yield (key.decode() if key else "[]", *path)


def snake(path: Path) -> Path:
    return tuple(
        "".join("_" + c.lower() if c.isupper() else c for c in name) if "." not in name else name for name in path
    )


@pytest.fixture(scope="module")
def endpoints() -> list[tuple[str, Any]]:
    """(path template, message of the request) of each endpoint of MLflow's services; parameters are <>."""
    extension = importlib.import_module("mlflow.protos.databricks_pb2").rpc
    service, registry = (importlib.import_module(f"mlflow.protos.{name}_pb2") for name in ("service", "model_registry"))
    methods = [
        method
        for described in (service.MlflowService, registry.ModelRegistryService)
        for method in described.DESCRIPTOR.methods
    ]
    found = [
        (f"/api/{endpoint.since.major}.0{generic(endpoint.path)}", method.input_type)
        for method in methods
        for endpoint in method.GetOptions().Extensions[extension].endpoints
    ]
    assert len(found) > 100
    return found


def generic(template: str) -> str:
    return "/".join("<>" if part[:1] in "<{" and part else part for part in template.split("/"))


def by_path(endpoints: list[tuple[str, Any]], *, responses: bool) -> dict[str, set[Path]]:
    paths: dict[str, set[Path]] = {}
    for template, message in endpoints:
        part = message.nested_types_by_name["Response"] if responses else message
        if found := set(located(part)):
            paths.setdefault(template, set()).update(found)
    return paths


def table(trees: Any) -> dict[str, set[Path]]:
    paths: dict[str, set[Path]] = {}
    for template, tree in trees.items():
        if template.startswith("/api/") and template not in OTHERS:
            paths.setdefault(generic(template), set()).update(leaves(tree))
    return paths


def test_responses_are_those_of_the_protobuf_definitions(endpoints: list[tuple[str, Any]]) -> None:
    assert table(RESPONSES) == by_path(endpoints, responses=True)


def test_requests_are_those_of_the_protobuf_definitions(endpoints: list[tuple[str, Any]]) -> None:
    expected = by_path(endpoints, responses=False)
    setters = {f"/api/{version}.0/mlflow/traces/<>/tags" for version in (2, 3)}
    expected |= {template: {("value",)} for template in setters}
    found = {template: {snake(path) for path in paths} for template, paths in table(REQUESTS).items()}
    assert found == expected
    camel = {path for paths in table(REQUESTS).values() for path in paths if snake(path) != path}
    assert ("artifactLocation",) in camel
    assert ("trace", "traceInfo", "tags", "mlflow.artifactLocation") in camel


def test_graphql_is_the_schema() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own dependencies
        module = importlib.import_module("mlflow.server.graphql.graphql_schema_extensions")
    schema = module.schema.graphql_schema
    names = {"artifactUri", "artifactLocation", "rootUri"}

    def walk(kind: Any, seen: frozenset[str]) -> Iterator[Path]:
        for name, field in kind.fields.items():
            inner, is_list = field.type, False
            while hasattr(inner, "of_type"):
                is_list, inner = is_list or type(inner).__name__ == "GraphQLList", inner.of_type
            if name in names or (name == "source" and kind.name == "MlflowModelVersion"):
                yield (name,)
            elif hasattr(inner, "fields") and inner.name not in seen:
                for below in walk(inner, seen | {inner.name}):
                    yield (name, "[]", *below) if is_list else (name, *below)

    roots = (schema.query_type, schema.mutation_type)
    expected = {("data", *path) for root in roots for path in walk(root, frozenset())}
    assert set(leaves(RESPONSES["/graphql"])) == expected


def test_every_template_is_a_route() -> None:
    assert {*RESPONSES, *REQUESTS, *FILTERS} <= {route.template for route in MLFLOW_ROUTES}
    assert {template.replace("/ajax-api/", "/api/") for template in RESPONSES if "promptlab" not in template} == {
        template for template in RESPONSES if template.startswith("/api/")
    } | {"/graphql"}


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("source_path = 'mlflow-artifacts:/1/m'", "source_path = 's3://bucket/team/mlflow/1/m'"),
        ('name = "x" AND source_path="mlflow-artifacts:/1"', 'name = "x" AND source_path="s3://bucket/team/mlflow/1"'),
        ("attributes.artifact_uri != 'mlflow-artifacts:/1'", "attributes.artifact_uri != 's3://bucket/team/mlflow/1'"),
        ("`source_path` LIKE 'mlflow-artifacts:/1/%'", "`source_path` LIKE 's3://bucket/team/mlflow/1/%'"),
        (
            "attr.`artifact_uri` ilike 'mlflow-artifacts:/1/%'",
            "attr.`artifact_uri` ilike 's3://bucket/team/mlflow/1/%'",
        ),
        (
            "tags.`mlflow.artifactLocation` = 'mlflow-artifacts:/1/traces'",
            "tags.`mlflow.artifactLocation` = 's3://bucket/team/mlflow/1/traces'",
        ),
    ],
)
def test_locations_in_filters_are_mapped(text: str, mapped: str) -> None:
    assert map_filter(text, ROOT.to_storage) == mapped
    assert map_filter(mapped, ROOT.to_client) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = 'mlflow-artifacts:/1'",
        "params.source_path = 'mlflow-artifacts:/1'",
        "params.`source_path` = 'mlflow-artifacts:/1'",
        "tags.source_path = 'mlflow-artifacts:/1'",
        "tags.`a.artifact_uri` = 'mlflow-artifacts:/1'",
        "tags.other = 'mlflow-artifacts:/1'",
        """tags.x = "source_path = 'mlflow-artifacts:/1'" """,
        """tags.x = 'artifact_uri = "mlflow-artifacts:/1"' """,
        "my_source_path = 'mlflow-artifacts:/1'",
        "source_path = 'mlflow-artifacts:/../x'",
        "source_path LIKE '%mlflow-artifacts:/1'",
        "source_path = 'mlflow-artifacts:/1",
        "source_path 'mlflow-artifacts:/1'",
    ],
)
def test_anything_else_in_a_filter_is_unchanged(text: str) -> None:
    assert map_filter(text, ROOT.to_storage) == text
