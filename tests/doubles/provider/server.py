"""The providers aws, gcp, random and docker-build, as the engine speaks with them (pulumirpc.ResourceProvider).

They run in the tests' own process, and the engine attaches by PULUMI_DEBUG_PROVIDERS: so the account outlives a killed
engine. What they answer is ours, not the clouds'.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from . import calls, schema, wire
from .changes import changed_paths, table
from .cloud import Cloud, Thing
from .faults import Action, Fault, Plan, nothing
from .kind import REGION, RefusedError, Values
from .kinds import KINDS
from .kinds.gcp.project import PROJECT
from .kinds.images import IMAGE, context_hash
from .names import TooLongError, chosen_and_kept, with_name
from .paths import without
from .wire import UNKNOWN

PACKAGES = ("aws", "gcp", "random", "docker-build")
# As many as the engine is told to do at once, and room for those that hang.
_WORKERS = 80


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that the engine asked for; ``fault`` went wrong on purpose, ``refusal`` is what the cloud said."""

    action: Action
    kind: str
    urn: str
    fault: Fault | None = None
    refusal: str | None = None


@dataclass(slots=True)
class Double:
    """The providers of one engine: an account, a plan of faults, and a journal of what was asked."""

    cloud: Cloud = field(default_factory=Cloud)
    plan: Plan = nothing
    journal: list[Done] = field(default_factory=list[Done])
    asked: list[tuple[str, Values]] = field(default_factory=list[tuple[str, Values]])
    made: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Outputs of all that was ever created, secrets in plain: tests look for them where they must not be."""
    hanging: threading.Event = field(default_factory=threading.Event)
    """Somebody hangs."""
    released: threading.Event = field(default_factory=threading.Event)
    """Whoever hangs may end: nobody listens to it any more."""

    @contextlib.contextmanager
    def serve(self) -> Generator[str]:
        """The value for PULUMI_DEBUG_PROVIDERS, until the end of the block."""
        servers = {name: grpc.server(futures.ThreadPoolExecutor(_WORKERS)) for name in PACKAGES}
        try:
            ports: list[str] = []
            for name, server in servers.items():
                provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Provider(name, self), server)
                ports.append(f"{name}:{server.add_insecure_port('127.0.0.1:0')}")
                server.start()
            yield ",".join(ports)
        finally:
            self.released.set()
            for server in servers.values():
                server.stop(grace=1).wait()


class _Provider(provider_pb2_grpc.ResourceProviderServicer):
    """gRPC's names are not ours to choose."""

    def __init__(self, package: str, double: Double) -> None:
        self._package = package
        self._double = double

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802
        # As older providers do: the engine goes on with Configure.
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "no handshake")

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=schema.package_version(self._package))

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        # As Pulumi's bridge: it takes no secrets as such, and the engine marks what comes back under the same names.
        if self._package == "aws" and wire.read(request.args).get("region", REGION) != REGION:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the double's account is in {REGION}")
        if self._package == "gcp" and wire.read(request.args).get("project", PROJECT) != PROJECT:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the double's project is {PROJECT}")
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        asked = wire.read(request.args)
        answer = calls.CALLS.get(request.tok)
        if answer is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the double has no {request.tok}: add it to calls.py")
            raise AssertionError
        self._double.asked.append((request.tok, asked))
        try:
            # A word of Python's.
            named: Any = {"return": wire.write(answer(asked, self._double.cloud))}
            return provider_pb2.InvokeResponse(**named)
        except RefusedError as error:
            _fail(context, str(error))

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = _token(request.urn)
        olds, news = wire.read(request.olds), wire.read(request.news)
        problems: list[tuple[str, str]] = []
        kind = KINDS.get(token)
        if kind is None:
            problems.append(("", f"the double knows no {token}: add it to kinds/ and a replace_table"))
        else:
            try:
                if kind.name is not None:
                    news = with_name(kind.name, _name(request.urn), news, olds, request.randomSeed)
            except TooLongError as error:
                problems.append((kind.name.field if kind.name else "", str(error)))
            problems += schema.problems(token, news)
            # What is of the wrong type is not asked further.
            problems += [] if problems else kind.check(news)
        failures = [provider_pb2.CheckFailure(property=path, reason=f"{path}: {why}") for path, why in problems]
        return provider_pb2.CheckResponse(inputs=wire.write(news), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = _token(request.urn)
        olds, news = wire.read(request.old_inputs), wire.read(request.news)
        stuck = KINDS[token].stuck(olds, news)
        if stuck is not None:
            _fail(context, stuck)
        paths = list(self._paths(token, olds, news, wire.read(request.olds)))
        replacing = [path for path in paths if table()[token].replaces(path, olds, news)]
        kinds = provider_pb2.PropertyDiff.Kind
        detailed = {
            path: provider_pb2.PropertyDiff(
                kind=kinds.UPDATE_REPLACE if path in replacing else kinds.UPDATE, inputDiff=True
            )
            for path in paths
        }
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if paths else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({_top(path) for path in paths}),
            replaces=sorted({_top(path) for path in replacing}),
            deleteBeforeReplace=bool(replacing)
            and (KINDS[token].first_deleted or chosen_and_kept(KINDS[token].name, olds, news)),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        token, inputs = _token(request.urn), wire.read(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=wire.write(_planned(token, inputs)))
        self._still_right(token, inputs, context)
        with self._operation("create", request.urn, context) as fault:
            thing = self._double.cloud.create(token, _name(request.urn), inputs)
            self._double.made.append(_state(thing))
            self._effective("create", request.urn, fault, thing, context)
        return provider_pb2.CreateResponse(id=thing.id, properties=wire.write(_state(thing)))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        token, inputs = _token(request.urn), wire.read(request.news)
        state = wire.read(request.olds)
        if request.preview:
            unknown = dict.fromkeys(KINDS[token].moves, UNKNOWN)
            return provider_pb2.UpdateResponse(properties=wire.write({**state, **inputs, **unknown}))
        self._still_right(token, inputs, context)
        with self._operation("update", request.urn, context) as fault:
            thing = self._double.cloud.update(token, request.id, state, inputs)
            self._effective("update", request.urn, fault, thing, context)
        return provider_pb2.UpdateResponse(properties=wire.write(_state(thing)))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = _token(request.urn)
        with self._operation("delete", request.urn, context) as fault:
            self._double.cloud.delete(token, request.id, wire.read(request.properties))
            self._effective("delete", request.urn, fault, None, context)
        return empty_pb2.Empty()

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        thing = self._double.cloud.get(_token(request.urn), request.id, wire.read(request.properties))
        if thing is None:
            return provider_pb2.ReadResponse()
        # Who knows it already keeps what the cloud does not tell.
        untold = () if request.HasField("inputs") and request.inputs.fields else thing.kind.untold
        return provider_pb2.ReadResponse(
            id=thing.id,
            properties=wire.write(without(_state(thing), untold)),
            inputs=wire.write(without(thing.inputs, untold)),
        )

    def _paths(self, token: str, olds: Values, news: Values, state: Values) -> Iterator[str]:
        if token != IMAGE:
            yield from changed_paths(KINDS[token].normal_form(olds), news, table()[token].kept)
            return
        # It looks at its files, and not at the passwords of registries: provider/internal/image.go.
        yield from (path for path in changed_paths(olds, news) if not path.endswith(".password"))
        if state.get("contextHash") != context_hash(news, self._double.cloud):
            yield "contextHash"

    def _still_right(self, token: str, inputs: Values, context: Any) -> None:
        """What was unknown when it was checked is known now."""
        if wire.holds_unknown(inputs):
            _fail(context, f"the engine asks to make a {token} with values that nobody knows")
        problems = [*schema.problems(token, inputs), *KINDS[token].check(inputs)]
        if problems:
            _fail(context, "; ".join(f"{path}: {why}" for path, why in problems))

    @contextlib.contextmanager
    def _operation(self, action: Action, urn: str, context: Any) -> Generator[Fault | None]:
        token, fault = _token(urn), self._double.plan(action, urn)
        try:
            if fault is Fault.BEFORE:
                self._double.journal.append(Done(action, token, urn, fault))
                _fail(context, f"failed on purpose, before the {action}")
            if fault is Fault.HANG_BEFORE:
                self._hang(context)
            yield fault
        except RefusedError as error:
            self._double.journal.append(Done(action, token, urn, fault, str(error)))
            _fail(context, str(error))

    def _effective(self, action: Action, urn: str, fault: Fault | None, thing: Thing | None, context: Any) -> None:
        self._double.journal.append(Done(action, _token(urn), urn, fault))
        if fault is Fault.HANG_AFTER:
            self._hang(context)
        if fault is not Fault.AFTER:
            return
        reason = "failed on purpose, after it took effect"
        if thing is not None and not (action == "create" and thing.kind.forgets):
            # As the provider does when it knows the id but gave up waiting: the engine keeps what there is.
            detail = any_pb2.Any()
            detail.Pack(
                provider_pb2.ErrorResourceInitFailed(
                    id=thing.id,
                    properties=wire.write(_state(thing)),
                    inputs=wire.write(thing.inputs),
                    reasons=[reason],
                )
            )
            context.set_trailing_metadata((("grpc-status-details-bin", _status(reason, detail.SerializeToString())),))
        _fail(context, reason)

    def _hang(self, context: Any) -> NoReturn:
        self._double.hanging.set()
        self._double.released.wait()
        _fail(context, "nobody listens")


def _planned(token: str, inputs: Values) -> dict[str, Any]:
    """What a preview knows: what was given. The rest is unknown."""
    return {**dict.fromkeys(schema.schema_of(token).outputs - {"id"}, UNKNOWN), **inputs}


def _state(thing: Thing) -> dict[str, Any]:
    outputs = schema.schema_of(thing.kind.token).outputs
    always: dict[str, Any] = {"region": REGION} if thing.kind.token.startswith("aws:") else {}
    if "tags" in thing.inputs:
        always["tagsAll"] = thing.inputs["tags"]
    if "labels" in thing.inputs:
        always["pulumiLabels"] = thing.inputs["labels"]
        always["effectiveLabels"] = {**thing.inputs["labels"], "goog-pulumi-provisioned": "true"}
    return {name: value for name, value in {**always, **thing.outputs}.items() if name in outputs}


def _fail(context: Any, why: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, why)
    raise AssertionError


def _status(message: str, detail: bytes) -> bytes:
    """google.rpc.Status, written by hand: its Python module cannot be loaded beside pulumi's own copy of it."""
    text = message.encode()
    return b"\x08\x02" + b"\x12" + _size(text) + text + b"\x1a" + _size(detail) + detail


def _size(data: bytes) -> bytes:
    left, written = len(data), b""
    while left > 0x7F:
        written += bytes([left & 0x7F | 0x80])
        left >>= 7
    return written + bytes([left])


def _token(urn: str) -> str:
    return urn.split("::")[2].split("$")[-1]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _top(path: str) -> str:
    return path.split(".")[0].split("[")[0]
