"""Runs a Pulumi program with no cloud and no engine, and keeps all that it asked for.

Pulumi's own mocks keep neither parents nor dependencies nor options: here the raw requests are kept. What a cloud
would answer comes from answers.py; a program that uses an answer which is not there is told so.
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

from .answers import REGION, MissingAnswer, answer_call, answer_resource
from .graph import SECRET, Call, Graph, Resource, texts

__all__ = ["SECRET", "Call", "Graph", "MissingAnswer", "Resource", "record"]

# pulumi/sdk/python/lib/pulumi/runtime/rpc.py: how a value says on the wire what it is.
_KIND = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

_ROOT = str(Path(__file__).resolve().parents[1])
_MISSING = re.compile(r"<no answer: ([^>]+)>")
# What becomes of a null that is put into a text: arn:aws:s3:::None.
_NONE = re.compile(r"(?:^|[\s:/.=\"'])None(?:$|[\s:/.=\"'])")


def record(
    program: Callable[[], object],
    *,
    project: str = "mlflow",
    stack_name: str = "dev",
    config: Mapping[str, str] | None = None,
    secret_keys: Sequence[str] = (),
) -> Graph:
    """The graph that ``program`` registers. ``config`` has full keys (``aws:region``).

    The program's errors come through as they are. Raises MissingAnswer for what answers.py should say and does not,
    and ValueError for two resources with one URN.
    """
    graph = Graph()
    # Pulumi would make a loop for each thread that answers, and leave it open.
    with contextlib.closing(asyncio.new_event_loop()) as answering, asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_default_executor(ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(answering,)))
        # One error is reported to everyone who waits for the same answer, and most of them are never asked.
        loop.set_exception_handler(lambda _loop, _context: None)
        run = _run(program, graph, project, stack_name, dict(config or {}), list(secret_keys))
        # Pulumi's runtime keeps its state in context variables: each run has a context of its own.
        runner.run(run, context=contextvars.Context())
    missing = list(_missing(graph))
    if missing:
        raise MissingAnswer("\n  ".join(["preview/answers.py does not say:", *missing]))
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
    runtime_config.set_all_config(values, secret_keys)
    log = logging.Logger("engine", logging.INFO)  # noqa: LOG001 - of this run alone
    log.addHandler(_Keep(graph))
    mocks.set_mocks(_Mocks(graph), project=project, stack=stack_name, preview=False, logger=log, monitor=monitor)
    # As the CLI says it.
    cast("Any", settings.SETTINGS).root_directory = _ROOT
    # What a failed run was still waiting for is not ours.
    cast("Any", settings.SETTINGS).outputs = set[asyncio.Task[Any]]()
    # set_mocks makes a stack of its own, whose outputs are settled already.
    settings.set_root_resource(cast("pulumi.Resource", None))

    def in_stack() -> Awaitable[None] | None:
        stack.register_stack_transformation(order.note)
        result = program()
        return cast("Awaitable[None]", result) if inspect.isawaitable(result) else None

    await stack.run_in_stack(in_stack)
    # The order of registration differs from run to run, with the order in which answers come in.
    graph.resources.sort(key=lambda one: order.of(one.type, one.name))


class _Order:
    """The program's order of resources, and their classes. Pulumi calls a transformation within each constructor."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, type[pulumi.Resource]]] = {}

    def note(self, args: pulumi.ResourceTransformationArgs) -> None:
        self._found.setdefault((args.type_, args.name), (len(self._found), type(args.resource)))

    def of(self, kind: str, name: str) -> int:
        return self._found[kind, name][0]

    def text_outputs(self, kind: str, name: str) -> tuple[str, ...]:
        """The outputs that are texts, as the resource's class has them."""
        return _text_outputs(self._found[kind, name][1])


@functools.cache
def _text_outputs(made: type[pulumi.Resource]) -> tuple[str, ...]:
    found: list[str] = []
    for _, member in inspect.getmembers(made, lambda one: isinstance(one, property)):
        wire = getattr(member.fget, "_pulumi_name", None)
        inside = typing.get_args(getattr(member.fget, "__annotations__", {}).get("return"))
        if wire and inside and (inside[0] is str or str in typing.get_args(inside[0])):
            found.append(str(wire))
    return tuple(found)


class _Keep(logging.Handler):
    """What the program logs for the engine to show."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def emit(self, record: logging.LogRecord) -> None:
        self._graph.messages.append((record.levelname, record.getMessage()))


class _Mocks(mocks.Mocks):
    """Answers to calls; resources are answered by the monitor, which sees their options."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        raise NotImplementedError(f"{args.typ} {args.name}: the monitor answers for resources.")

    def call(self, args: mocks.MockCallArgs) -> Any:
        answer = answer_call(args.token, cast("dict[str, Any]", cast("Any", args).args))
        return _moved(answer, _region(self._graph, args.provider))


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph, order: _Order) -> None:
        super().__init__(_Mocks(graph))
        self._graph = graph
        self._order = order

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        answer = cast("Any", super()).Invoke(request)
        if request.tok != "pulumi:pulumi:getResource":
            said = _plain(getattr(answer, "return"))
            self._graph.calls.append(Call(request.tok, _plain(request.args), request.provider, said))
        return answer

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == "pulumi:pulumi:Stack":
            self._graph.stack_urn = urn
            return resource_pb2.RegisterResourceResponse(urn=urn)
        answer = self._registered(urn, request, _plain(request.object))
        # Not yet said means unknown, not null, also outside of a preview.
        return resource_pb2.RegisterResourceResponse(urn=urn, id=self.resources[urn].id, object=answer, unknown=True)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        urn = self.make_urn(request.parent, request.type, request.name)
        as_new = resource_pb2.RegisterResourceRequest(
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
        answer = self._registered(urn, as_new, {"id": request.id, **_plain(request.properties)})
        made = self._graph.resources.pop()
        self._graph.resources.append(dataclasses.replace(made, id=request.id, read=True))
        return resource_pb2.ReadResourceResponse(urn=urn, properties=answer)

    def _registered(self, urn: str, request: Any, given: dict[str, Any]) -> struct_pb2.Struct:
        """Keeps a resource, and says its outputs."""
        if self._graph.by_urn(urn) is not None:
            raise ValueError(f"Two resources have the URN {urn}: one of them needs another name.")
        known: dict[str, Any] = {}
        given_id = ""
        if request.custom:
            answered = answer_resource(request.type, request.name, given)
            given_id, known = _moved(list(answered), _region(self._graph, request.provider))
        answer = self._answer(request, known)
        self._graph.resources.append(_resource(urn, request, _plain(request.object), given_id, answer))
        self.resources[urn] = mocks.MockMonitor.ResourceRegistration(urn, given_id, _plain(answer))
        return answer

    def _answer(self, request: Any, known: Mapping[str, Any]) -> struct_pb2.Struct:
        """The outputs: what was given (secrets are still secrets), what is known, and marks for what is not."""
        answer = struct_pb2.Struct()
        if not request.custom:
            return answer
        answer.CopyFrom(request.object)
        for name, value in known.items():
            if name not in request.object.fields or value != _plain(request.object)[name]:
                answer.update({name: value})
        for name in self._order.text_outputs(request.type, request.name):
            if name not in answer.fields:
                answer.update({name: f"<no answer: {request.type}.{name}>"})
        for name in request.additionalSecretOutputs:
            if name in answer.fields and not _is_secret(answer.fields[name]):
                answer.update({name: {_KIND: _SECRET, "value": json_format.MessageToDict(answer.fields[name])}})
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        outputs = _plain(request.outputs)
        if request.urn == self._graph.stack_urn:
            self._graph.outputs = outputs
        for place, one in enumerate(self._graph.resources):
            if one.urn == request.urn:
                self._graph.resources[place] = dataclasses.replace(one, outputs=outputs)
        return cast("Any", super()).RegisterResourceOutputs(request)


def _region(graph: Graph, provider: str) -> str:
    """An explicit provider's region, or the config's."""
    found = graph.by_urn(provider.rpartition("::")[0])
    given = found.inputs.get("region") if found is not None else pulumi.Config("aws").get("region")
    return str(given or REGION)


def _moved(value: Any, region: str) -> Any:
    """The answers are of one region."""
    if isinstance(value, str):
        return value.replace(REGION, region)
    if isinstance(value, dict):
        return {name: _moved(one, region) for name, one in cast("dict[str, Any]", value).items()}
    return [_moved(one, region) for one in cast("list[Any]", value)] if isinstance(value, list) else value


def _resource(urn: str, request: Any, inputs: dict[str, Any], given_id: str, answer: struct_pb2.Struct) -> Resource:
    return Resource(
        urn=urn,
        type=request.type,
        name=request.name,
        id=given_id,
        custom=request.custom,
        parent=request.parent,
        inputs=inputs,
        outputs={
            name: value
            for name, value in sorted(_plain(answer).items())
            if not (isinstance(value, str) and _MISSING.fullmatch(value))
        },
        secret_inputs=tuple(sorted(name for name, value in inputs.items() if SECRET in texts(value))),
        secret_outputs=tuple(request.additionalSecretOutputs),
        dependencies=tuple(sorted(request.dependencies)),
        property_dependencies={
            name: tuple(sorted(found.urns)) for name, found in sorted(request.propertyDependencies.items())
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
        # Those by type alone are the class's own, for its older names.
        aliases=tuple(alias.urn or alias.spec.name for alias in request.aliases if alias.urn or alias.spec.name),
        timeouts={name: value for name, value in _fields(request.customTimeouts) if value},
        import_id=request.importId,
        version=request.version,
    )


def _fields(message: Any) -> list[tuple[str, str]]:
    return [(name, getattr(message, name)) for name in ("create", "update", "delete")]


def _is_secret(value: struct_pb2.Value) -> bool:
    return value.struct_value.fields[_KIND].string_value == _SECRET if value.HasField("struct_value") else False


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A struct's values, with SECRET for secrets and whole numbers as such."""
    return _without_secrets(json_format.MessageToDict(struct))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if items.get(_KIND) == _SECRET:
            # A mark is no secret, and has to be found.
            return next((text for text in texts(items) if _MISSING.search(text)), SECRET)
        return {name: _without_secrets(one) for name, one in sorted(items.items())}
    if isinstance(value, list):
        return [_without_secrets(one) for one in cast("list[Any]", value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _missing(graph: Graph) -> Iterator[str]:
    for one in graph.resources:
        needs = f"{one.type} {one.name!r}"
        for name, value in one.inputs.items():
            yield from _missing_in(value, f"{needs} needs it for {name}", _asked(graph, one, name))
        if not one.custom:
            for name, value in one.outputs.items():
                yield from _missing_in(value, f"{needs} has it as its output {name}", "")
    for name, value in graph.outputs.items():
        yield from _missing_in(value, f"the stack has it as its output {name}", "")


def _asked(graph: Graph, resource: Resource, name: str) -> str:
    urns = resource.property_dependencies.get(name, ())
    kinds = {one.type for one in map(graph.by_urn, urns) if one is not None and one.custom}
    return ", ".join(sorted(kinds))


def _missing_in(value: Any, who: str, asked: str) -> Iterator[str]:
    for text in texts(value):
        for found in _MISSING.findall(text):
            yield f"{found}: {who}"
        if text == _UNKNOWN:
            yield f"an output of {asked or 'a resource'} that is no text: {who}"
        elif asked and (_NONE.search(text) or _null_in_json(text)):
            yield f"an output of {asked}, or an answer to a call: {who}, where a null is now"


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
