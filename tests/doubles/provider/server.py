"""The providers aws, gcp, random and docker-build as gRPC servers (pulumirpc.ResourceProvider).

They run in the test process, and the engine attaches by PULUMI_DEBUG_PROVIDERS: the account outlives a killed engine.
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
from .cloud import Cloud, Resource
from .documents import DOCUMENTS
from .faults import Action, Fault, Plan, no_faults
from .kind import REGION, CloudError, Values
from .kinds import KINDS
from .kinds.gcp.project import PROJECT
from .kinds.images import IMAGE, context_hash
from .names import TooLongError, has_same_chosen_name, with_name
from .paths import without
from .wire import UNKNOWN

PACKAGES = ("aws", "gcp", "random", "docker-build")
# More than the engine's parallelism, because operations may hang.
_WORKERS = 80


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that the engine requested; ``fault`` is the injected fault, ``error`` the cloud's error."""

    action: Action
    kind: str
    urn: str
    fault: Fault | None = None
    error: str | None = None


@dataclass(slots=True)
class Double:
    """The providers of one engine: an account, a plan of faults, and a journal of operations and calls."""

    cloud: Cloud = field(default_factory=Cloud)
    plan: Plan = no_faults
    journal: list[Operation] = field(default_factory=list[Operation])
    calls: list[tuple[str, Values]] = field(default_factory=list[tuple[str, Values]])
    created: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Outputs of every created resource, with secrets in plain text: tests search for leaks of these."""
    hanging: threading.Event = field(default_factory=threading.Event)
    """Set while an operation hangs."""
    released: threading.Event = field(default_factory=threading.Event)
    """Set when hanging operations may end, because their engine was killed."""

    @contextlib.contextmanager
    def serve(self) -> Generator[str]:
        """Serve the providers, and yield the value for PULUMI_DEBUG_PROVIDERS."""
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
    """The methods are those of the gRPC service."""

    def __init__(self, package: str, double: Double) -> None:
        self._package = package
        self._double = double

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802
        # As older providers: the engine continues with Configure.
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
        # As Pulumi's bridge: it accepts no secrets, and the engine marks outputs with the names of secret inputs.
        if self._package == "aws" and wire.read(request.args).get("region", REGION) != REGION:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the double's account is in {REGION}")
        if self._package == "gcp" and wire.read(request.args).get("project", PROJECT) != PROJECT:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the double's project is {PROJECT}")
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        arguments = wire.read(request.args)
        function = calls.CALLS.get(request.tok)
        if function is None:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED, f"the double does not support {request.tok}: add it to calls.py"
            )
            raise AssertionError
        self._double.calls.append((request.tok, arguments))
        try:
            # `return` is a Python keyword.
            named: Any = {"return": wire.write(function(arguments, self._double.cloud))}
            return provider_pb2.InvokeResponse(**named)
        except CloudError as error:
            _fail(context, str(error))

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = _token(request.urn)
        olds, news = wire.read(request.olds), wire.read(request.news)
        problems: list[tuple[str, str]] = []
        kind = KINDS.get(token)
        if kind is None:
            problems.append(("", f"the double does not support {token}: add it to kinds/ and a replace_table"))
        else:
            try:
                if kind.name is not None:
                    news = with_name(kind.name, _name(request.urn), news, olds, request.randomSeed)
            except TooLongError as error:
                problems.append((kind.name.field if kind.name else "", str(error)))
            problems += schema.problems(token, news)
            # Checks of values assume that the types are right.
            problems += [] if problems else kind.check(news)
        failures = [provider_pb2.CheckFailure(property=path, reason=f"{path}: {why}") for path, why in problems]
        return provider_pb2.CheckResponse(inputs=wire.write(news), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = _token(request.urn)
        olds, news = wire.read(request.old_inputs), wire.read(request.news)
        update_error = KINDS[token].update_error(olds, news)
        if update_error is not None:
            _fail(context, update_error)
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
            and (KINDS[token].delete_before_replace or has_same_chosen_name(KINDS[token].name, olds, news)),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        token, inputs = _token(request.urn), wire.read(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=wire.write(_preview_outputs(token, inputs)))
        self._validate_resolved(token, inputs, context)
        with self._operation("create", request.urn, context) as fault:
            resource = self._double.cloud.create(token, _name(request.urn), inputs)
            self._double.created.append(_state(resource))
            self._apply_fault_after("create", request.urn, fault, resource, context)
        return provider_pb2.CreateResponse(id=resource.id, properties=wire.write(_state(resource)))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        token, inputs = _token(request.urn), wire.read(request.news)
        state = wire.read(request.olds)
        if request.preview:
            unknown = dict.fromkeys(KINDS[token].updated_outputs, UNKNOWN)
            return provider_pb2.UpdateResponse(properties=wire.write({**state, **inputs, **unknown}))
        self._validate_resolved(token, inputs, context)
        with self._operation("update", request.urn, context) as fault:
            resource = self._double.cloud.update(token, request.id, state, inputs)
            self._apply_fault_after("update", request.urn, fault, resource, context)
        return provider_pb2.UpdateResponse(properties=wire.write(_state(resource)))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = _token(request.urn)
        with self._operation("delete", request.urn, context) as fault:
            self._double.cloud.delete(token, request.id, wire.read(request.properties))
            self._apply_fault_after("delete", request.urn, fault, None, context)
        return empty_pb2.Empty()

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource = self._double.cloud.get(_token(request.urn), request.id, wire.read(request.properties))
        if resource is None:
            return provider_pb2.ReadResponse()
        # A refresh returns the write-only fields; an import has none.
        hidden = () if request.HasField("inputs") and request.inputs.fields else resource.kind.write_only
        return provider_pb2.ReadResponse(
            id=resource.id,
            properties=wire.write(without(_state(resource), hidden)),
            inputs=wire.write(without(resource.inputs, hidden)),
        )

    def _paths(self, token: str, olds: Values, news: Values, state: Values) -> Iterator[str]:
        if token != IMAGE:
            yield from changed_paths(
                KINDS[token].normal_form(olds), news, table()[token].retained, DOCUMENTS.get(token)
            )
            return
        # The provider compares the files, and ignores registry passwords: provider/internal/image.go.
        yield from (path for path in changed_paths(olds, news) if not path.endswith(".password"))
        if state.get("contextHash") != context_hash(news, self._double.cloud):
            yield "contextHash"

    def _validate_resolved(self, token: str, inputs: Values, context: Any) -> None:
        """Repeat the checks for values that were unknown in Check."""
        if wire.holds_unknown(inputs):
            _fail(context, f"the engine creates a {token} with unknown values")
        problems = [*schema.problems(token, inputs), *KINDS[token].check(inputs)]
        if problems:
            _fail(context, "; ".join(f"{path}: {why}" for path, why in problems))

    @contextlib.contextmanager
    def _operation(self, action: Action, urn: str, context: Any) -> Generator[Fault | None]:
        token, fault = _token(urn), self._double.plan(action, urn)
        try:
            if fault is Fault.BEFORE:
                self._double.journal.append(Operation(action, token, urn, fault))
                _fail(context, f"injected failure before the {action}")
            if fault is Fault.HANG_BEFORE:
                self._hang(context)
            yield fault
        except CloudError as error:
            self._double.journal.append(Operation(action, token, urn, fault, str(error)))
            _fail(context, str(error))

    def _apply_fault_after(
        self, action: Action, urn: str, fault: Fault | None, resource: Resource | None, context: Any
    ) -> None:
        self._double.journal.append(Operation(action, _token(urn), urn, fault))
        if fault is Fault.HANG_AFTER:
            self._hang(context)
        if fault is not Fault.AFTER:
            return
        reason = "injected failure after the operation took effect"
        if resource is not None and not (action == "create" and resource.kind.lost_on_timeout):
            # As the provider when its wait times out after it has the id: the resource stays in the state.
            detail = any_pb2.Any()
            detail.Pack(
                provider_pb2.ErrorResourceInitFailed(
                    id=resource.id,
                    properties=wire.write(_state(resource)),
                    inputs=wire.write(resource.inputs),
                    reasons=[reason],
                )
            )
            context.set_trailing_metadata((("grpc-status-details-bin", _status(reason, detail.SerializeToString())),))
        _fail(context, reason)

    def _hang(self, context: Any) -> NoReturn:
        self._double.hanging.set()
        self._double.released.wait()
        _fail(context, "injected hang")


def _preview_outputs(token: str, inputs: Values) -> dict[str, Any]:
    """The outputs in a preview: the inputs; the rest is unknown."""
    return {**dict.fromkeys(schema.schema_of(token).outputs - {"id"}, UNKNOWN), **inputs}


def _state(resource: Resource) -> dict[str, Any]:
    outputs = schema.schema_of(resource.kind.token).outputs
    always: dict[str, Any] = {"region": REGION} if resource.kind.token.startswith("aws:") else {}
    if "tags" in resource.inputs:
        always["tagsAll"] = resource.inputs["tags"]
    if "labels" in resource.inputs:
        always["pulumiLabels"] = resource.inputs["labels"]
        always["effectiveLabels"] = {**resource.inputs["labels"], "goog-pulumi-provisioned": "true"}
    returned = {
        name: document.returned_text(resource.inputs[name])
        for name, document in DOCUMENTS.get(resource.kind.token, {}).items()
        if isinstance(resource.inputs.get(name), str)
    }
    return {name: value for name, value in {**always, **resource.outputs, **returned}.items() if name in outputs}


def _fail(context: Any, why: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, why)
    raise AssertionError


def _status(message: str, detail: bytes) -> bytes:
    """Encode a google.rpc.Status: its Python module conflicts with the copy in pulumi."""
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
