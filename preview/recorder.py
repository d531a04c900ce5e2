"""Runs a Pulumi program without a cloud or an engine, and records its registrations.

Pulumi's own mocks record no parents, dependencies or options, so this monitor records the raw requests. Outputs come
from mock_outputs.py; reading an output without a mock is an error.
"""

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import inspect
import json
import logging
import re
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pulumi
from google.protobuf import json_format, struct_pb2
from pulumi.runtime import config as runtime_config
from pulumi.runtime import mocks, settings, stack
from pulumi.runtime.proto import resource_pb2

from .aws.mock_outputs import REGION
from .graph import SECRET, Call, Graph, Resource, strings_in
from .mock_outputs import MissingMockOutputError, call_result, resource_outputs

__all__ = ["SECRET", "Call", "Graph", "MissingMockOutputError", "Resource", "record"]

# Signatures of special values: pulumi/sdk/python/lib/pulumi/runtime/rpc.py.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a signature
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

# The program otherwise refuses placeholders, which the example stack files have (components/placeholders.py).
_ALLOW_PLACEHOLDERS = "mlflow:allowPlaceholders"
_ROOT = str(Path(__file__).resolve().parents[1])
_MISSING = re.compile(r"<no mock output: ([^>]+)>")
# A null in a formatted string: arn:aws:s3:::None.
_NONE = re.compile(r"(?:^|[\s:/.=\"'])None(?:$|[\s:/.=\"'])")


def record(
    program: Callable[[], object],
    *,
    project: str = "mlflow",
    stack_name: str = "dev",
    config: Mapping[str, str] | None = None,
    secret_keys: Sequence[str] = (),
) -> Graph:
    """Run ``program`` and return the graph that it registers. ``config`` has full keys (``aws:region``).

    Errors of the program propagate. Raises MissingMockOutputError if the program uses an output that has no mock, and
    ValueError if two resources have the same URN.
    """
    graph = Graph()
    # Otherwise Pulumi creates an event loop for each worker thread and does not close it.
    with contextlib.closing(asyncio.new_event_loop()) as worker_loop, asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_default_executor(ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(worker_loop,)))
        # Every future that awaits a failed output gets the same error; most of these errors are never retrieved.
        loop.set_exception_handler(lambda _loop, _context: None)
        run = _run(program, graph, project, stack_name, dict(config or {}), list(secret_keys))
        # Pulumi's runtime keeps its state in context variables, so each run needs a new context.
        runner.run(run, context=contextvars.Context())
    missing = list(_missing(graph))
    if missing:
        raise MissingMockOutputError("\n  ".join(["preview/mock_outputs.py has no value for:", *missing]))
    return graph


async def _run(
    program: Callable[[], object],
    graph: Graph,
    project: str,
    stack_name: str,
    values: dict[str, str],
    secret_keys: list[str],
) -> None:
    order = _Order()
    monitor = _Monitor(graph, order)
    runtime_config.set_all_config({_ALLOW_PLACEHOLDERS: "true", **values}, secret_keys)
    log = logging.Logger("engine", logging.INFO)  # noqa: LOG001 - for this run only
    log.addHandler(_MessageHandler(graph))
    mocks.set_mocks(_Mocks(graph), project=project, stack=stack_name, preview=False, logger=log, monitor=monitor)
    # The CLI sets it.
    cast("Any", settings.SETTINGS).root_directory = _ROOT
    # Outputs that a failed run still awaits must not be part of this run.
    cast("Any", settings.SETTINGS).outputs = set[asyncio.Task[Any]]()
    # set_mocks creates a stack whose outputs are resolved already.
    settings.set_root_resource(cast("pulumi.Resource", None))

    def in_stack() -> Awaitable[None] | None:
        stack.register_stack_transformation(order.add)
        result = program()
        return cast("Awaitable[None]", result) if inspect.isawaitable(result) else None

    await stack.run_in_stack(in_stack)
    # The order of registration depends on the order in which outputs resolve, and differs between runs.
    graph.resources.sort(key=lambda resource: order.of(resource.type, resource.name))


class _Order:
    """The order in which the program creates resources, and their classes, from a stack transformation."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, type[pulumi.Resource]]] = {}

    def add(self, args: pulumi.ResourceTransformationArgs) -> None:
        self._found.setdefault((args.type_, args.name), (len(self._found), type(args.resource)))

    def of(self, kind: str, name: str) -> int:
        return self._found[kind, name][0]

    def text_outputs(self, kind: str, name: str) -> tuple[str, ...]:
        """The names of the outputs whose type is a string, from the annotations of the resource's class."""
        return _text_outputs(self._found[kind, name][1])


@functools.cache
def _text_outputs(resource_class: type[pulumi.Resource]) -> tuple[str, ...]:
    names: list[str] = []
    for _, member in inspect.getmembers(resource_class, lambda member: isinstance(member, property)):
        name = getattr(member.fget, "_pulumi_name", None)
        inner = typing.get_args(getattr(member.fget, "__annotations__", {}).get("return"))
        if name and inner and (inner[0] is str or str in typing.get_args(inner[0])):
            names.append(str(name))
    return tuple(names)


class _MessageHandler(logging.Handler):
    """Records the program's log messages for the engine."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def emit(self, record: logging.LogRecord) -> None:
        self._graph.messages.append((record.levelname, record.getMessage()))


class _Mocks(mocks.Mocks):
    """Results of calls. The monitor handles resources, because only it receives their options."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        raise NotImplementedError(f"{args.typ} {args.name}: the monitor handles resources.")

    def call(self, args: mocks.MockCallArgs) -> Any:
        result = call_result(args.token, cast("dict[str, Any]", cast("Any", args).args))
        return _in_region(result, _region(self._graph, args.provider))


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph, order: _Order) -> None:
        super().__init__(_Mocks(graph))
        self._graph = graph
        self._order = order

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        response = cast("Any", super()).Invoke(request)
        if request.tok != "pulumi:pulumi:getResource":
            result = _plain(getattr(response, "return"))
            self._graph.calls.append(Call(request.tok, _plain(request.args), request.provider, result))
        return response

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == "pulumi:pulumi:Stack":
            self._graph.stack_urn = urn
            return resource_pb2.RegisterResourceResponse(urn=urn)
        outputs = self._register(urn, request, _plain(request.object))
        # An output that is missing is unknown, not null, even if this is not a preview.
        return resource_pb2.RegisterResourceResponse(urn=urn, id=self.resources[urn].id, object=outputs, unknown=True)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        urn = self.make_urn(request.parent, request.type, request.name)
        registration = resource_pb2.RegisterResourceRequest(
            type=request.type,
            name=request.name,
            parent=request.parent,
            custom=True,
            object=request.properties,
            dependencies=request.dependencies,
            provider=request.provider,
            version=request.version,
            additionalSecretOutputs=request.additionalSecretOutputs,
        )
        outputs = self._register(urn, registration, {"id": request.id, **_plain(request.properties)})
        resource = self._graph.resources.pop()
        self._graph.resources.append(dataclasses.replace(resource, id=request.id, read=True))
        return resource_pb2.ReadResourceResponse(urn=urn, properties=outputs)

    def _register(self, urn: str, request: Any, inputs: dict[str, Any]) -> struct_pb2.Struct:
        """Record a resource and return its outputs."""
        if self._graph.by_urn(urn) is not None:
            raise ValueError(f"Two resources have the URN {urn}: rename one of them.")
        mock: dict[str, Any] = {}
        mock_id = ""
        if request.custom:
            new = resource_outputs(request.type, request.name, inputs)
            mock_id, mock = _in_region(list(new), _region(self._graph, request.provider))
        outputs = self._outputs(request, mock)
        self._graph.resources.append(_resource(urn, request, _plain(request.object), mock_id, outputs))
        self.resources[urn] = mocks.MockMonitor.ResourceRegistration(urn, mock_id, _plain(outputs))
        return outputs

    def _outputs(self, request: Any, mock: Mapping[str, Any]) -> struct_pb2.Struct:
        """The inputs with their secrets, the mock outputs, and a marker for each string output without a mock."""
        outputs = struct_pb2.Struct()
        if not request.custom:
            return outputs
        outputs.CopyFrom(request.object)
        for name, value in mock.items():
            if name not in request.object.fields or value != _plain(request.object)[name]:
                outputs.update({name: value})
        for name in self._order.text_outputs(request.type, request.name):
            if name not in outputs.fields:
                outputs.update({name: f"<no mock output: {request.type}.{name}>"})
        for name in request.additionalSecretOutputs:
            if name in outputs.fields and not _is_secret(outputs.fields[name]):
                outputs.update({name: {_SIGNATURE: _SECRET, "value": json_format.MessageToDict(outputs.fields[name])}})
        return outputs

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        outputs = _plain(request.outputs)
        if request.urn == self._graph.stack_urn:
            self._graph.outputs = outputs
        for index, resource in enumerate(self._graph.resources):
            if resource.urn == request.urn:
                self._graph.resources[index] = dataclasses.replace(resource, outputs=outputs)
        return cast("Any", super()).RegisterResourceOutputs(request)


def _region(graph: Graph, provider: str) -> str:
    """The region of an explicit provider, or else the config's."""
    explicit = graph.by_urn(provider.rpartition("::")[0])
    region = explicit.inputs.get("region") if explicit is not None else pulumi.Config("aws").get("region")
    return str(region or REGION)


def _in_region(value: Any, region: str) -> Any:
    """Mock outputs are written for REGION: replace it with the region in use."""
    if isinstance(value, str):
        return value.replace(REGION, region)
    if isinstance(value, dict):
        return {name: _in_region(inner, region) for name, inner in cast("dict[str, Any]", value).items()}
    return [_in_region(inner, region) for inner in cast("list[Any]", value)] if isinstance(value, list) else value


def _resource(urn: str, request: Any, inputs: dict[str, Any], resource_id: str, outputs: struct_pb2.Struct) -> Resource:
    return Resource(
        urn=urn,
        type=request.type,
        name=request.name,
        id=resource_id,
        custom=request.custom,
        parent=request.parent,
        inputs=inputs,
        outputs={
            name: value
            for name, value in sorted(_plain(outputs).items())
            if not (isinstance(value, str) and _MISSING.fullmatch(value))
        },
        secret_inputs=tuple(sorted(name for name, value in inputs.items() if SECRET in strings_in(value))),
        secret_outputs=tuple(request.additionalSecretOutputs),
        dependencies=tuple(sorted(request.dependencies)),
        property_dependencies={
            name: tuple(sorted(dependencies.urns))
            for name, dependencies in sorted(request.propertyDependencies.items())
        },
        provider=request.provider,
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        replace_with=tuple(sorted(request.replace_with)),
        hide_diffs=tuple(request.hideDiffs),
        delete_before_replace=request.deleteBeforeReplace,
        deleted_with=request.deletedWith,
        # Aliases without a name are the provider's, for earlier types of the resource class.
        aliases=tuple(alias.urn or alias.spec.name for alias in request.aliases if alias.urn or alias.spec.name),
        timeouts={name: value for name, value in _fields(request.customTimeouts) if value},
        import_id=request.importId,
        version=request.version,
    )


def _fields(message: Any) -> list[tuple[str, str]]:
    return [(name, getattr(message, name)) for name in ("create", "update", "delete")]


def _is_secret(value: struct_pb2.Value) -> bool:
    return value.struct_value.fields[_SIGNATURE].string_value == _SECRET if value.HasField("struct_value") else False


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The values of a struct, with SECRET for secrets and int for whole numbers."""
    return _without_secrets(json_format.MessageToDict(struct))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if items.get(_SIGNATURE) == _SECRET:
            # The marker of a missing mock output stays: _missing searches for it.
            return next((text for text in strings_in(items) if _MISSING.search(text)), SECRET)
        return {name: _without_secrets(inner) for name, inner in sorted(items.items())}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _missing(graph: Graph) -> Iterator[str]:
    for resource in graph.resources:
        reader = f"{resource.type} {resource.name!r}"
        for name, value in resource.inputs.items():
            sources = _source_types(graph, resource, name)
            yield from _missing_in(value, f"input {name} of {reader}", sources)
        if not resource.custom:
            for name, value in resource.outputs.items():
                yield from _missing_in(value, f"output {name} of {reader}", "")
    for name, value in graph.outputs.items():
        yield from _missing_in(value, f"stack output {name}", "")


def _source_types(graph: Graph, resource: Resource, name: str) -> str:
    urns = resource.property_dependencies.get(name, ())
    types = {source.type for source in map(graph.by_urn, urns) if source is not None and source.custom}
    return ", ".join(sorted(types))


def _missing_in(value: Any, reader: str, sources: str) -> Iterator[str]:
    for text in strings_in(value):
        for output in _MISSING.findall(text):
            yield f"{output}, used by {reader}"
        if text == _UNKNOWN:
            yield f"an output of {sources or 'a resource'} that is not a string, used by {reader}"
        elif sources and (_NONE.search(text) or _null_in_json(text)):
            yield f"an output of {sources}, or the result of a call, used by {reader}: it is null"


def _null_in_json(text: str) -> bool:
    if not text.startswith(("{", "[")) or "null" not in text:
        return False
    try:
        return None in _leaves(json.loads(text))
    except ValueError:
        return False


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in cast("dict[str, Any]", value).values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _leaves(inner)
    else:
        yield value
