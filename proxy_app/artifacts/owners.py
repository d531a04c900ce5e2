"""Where the artifacts of a run, a logged model, a model version or a trace are: MLflow knows it."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from .. import errors
from ..context import RequestContext
from ..errors import ApiError
from ..request_body import BodyReader, RequestBody
from ..upstream import Upstream, UpstreamRequest
from ..upstream.client import read_body
from .paths import artifact_path
from .root import ArtifactRoot

_WORKSPACE = "X-MLFLOW-WORKSPACE"
_SEVERAL = re.compile(r"[/\\\0-\x1f\x7f]")
_TRACE_LOCATION = "mlflow.artifactLocation"


class Owners:
    """Asks MLflow for locations. The methods return paths below ``root``; ApiError 403 for a location outside of it."""

    def __init__(self, upstream: Upstream, body_reader: BodyReader, root: ArtifactRoot) -> None:
        self._upstream = upstream
        self._body_reader = body_reader
        self._root = root

    async def run(self, context: RequestContext, run_id: str) -> str:
        """The path of a run's artifacts. Raises ApiError."""
        found = await self.get(context, "/api/2.0/mlflow/runs/get", run_id=run_id)
        return self._path(_string(found, "run", "info", "artifact_uri"), f"run {run_id}")

    async def logged_model(self, context: RequestContext, model_id: str) -> str:
        """The path of a logged model. Raises ApiError."""
        found = await self.get(context, f"/api/2.0/mlflow/logged-models/{_segment(model_id)}")
        return self._path(_string(found, "model", "info", "artifact_uri"), f"model {model_id}")

    async def model_version(self, context: RequestContext, name: str, version: str) -> str:
        """The path of a version of a registered model. Raises ApiError."""
        found = await self.get(context, "/api/2.0/mlflow/model-versions/get-download-uri", name=name, version=version)
        location = _string(found, "artifact_uri")
        scheme, _, rest = location.partition(":/")
        owner, _, path = rest.partition("/")
        if scheme == "models" and not path:
            return await self.logged_model(context, owner)
        if scheme == "runs":
            return join(await self.run(context, owner), artifact_path(path))
        return self._path(location, f"version {version} of {name}")

    async def trace_tags(self, context: RequestContext, trace_id: str) -> Mapping[str, str]:
        """The tags of a trace. Raises ApiError."""
        segment = _segment(trace_id)
        try:
            found = await self.get(context, f"/api/3.0/mlflow/traces/{segment}")
            return _value(found, "trace", "trace_info", "tags") or {}
        except ApiError as error:
            if error.error_code != "ENDPOINT_NOT_FOUND":
                raise
            found = await self.get(context, f"/api/2.0/mlflow/traces/{segment}/info")
            return {tag["key"]: tag["value"] for tag in _value(found, "trace_info", "tags") or ()}

    def trace(self, trace_id: str, tags: Mapping[str, str]) -> str:
        """The path of the artifacts of a trace with these tags. Raises ApiError."""
        if _TRACE_LOCATION not in tags:
            raise errors.ApiError(
                404, "RESOURCE_DOES_NOT_EXIST", f"Trace {trace_id} has no artifacts.", reason="no-artifacts"
            )
        return self._path(tags[_TRACE_LOCATION], f"trace {trace_id}")

    async def get(self, context: RequestContext, path: str, **query: str) -> dict[str, Any]:
        """The JSON object of a GET request to MLflow. ApiError with MLflow's error."""
        body = RequestBody(context.request, self._body_reader, context.owner)
        await body.replace(b"")
        workspace = context.request.headers.get(_WORKSPACE)
        headers = [(_WORKSPACE.encode(), workspace.encode("utf-8", "surrogateescape"))] if workspace else []
        target = f"{path}?{urlencode(query)}" if query else path
        response = await self._upstream.send(UpstreamRequest("GET", target, headers, body, idempotent=True))
        content = await read_body(response)
        try:
            found: Any = json.loads(content)
        except ValueError:
            found = None
        if response.status == 200 and isinstance(found, dict):
            return cast("dict[str, Any]", found)
        if response.status >= 400 and isinstance(found, dict):
            error = cast("dict[str, Any]", found)
            raise ApiError(
                response.status,
                str(error.get("error_code", "INTERNAL_ERROR")),
                str(error.get("message", "")),
                reason="upstream-error",
            )
        if response.status == 404:
            raise errors.unknown_route(f"MLflow has no endpoint {path}.")
        raise errors.bad_gateway(f"MLflow responds to {path} with status {response.status}.", reason="upstream-error")

    def _path(self, location: str, owner: str) -> str:
        path = self._root.path(self._root.to_storage(location))
        if path is None:
            raise errors.forbidden(
                f"The artifacts of {owner} are at {location or 'no location'}, outside of {self._root.uri} "
                "(MLFLOW_PROXY_ARTIFACTS_URI), so the proxy does not transfer them.",
                reason="outside-artifacts",
            )
        return path.rstrip("/")


def join(*paths: str) -> str:
    """The paths as one, empty ones left out."""
    return "/".join(path for path in paths if path)


def _segment(identifier: str) -> str:
    """An identifier as a segment of a path. ApiError 400 for one that servers could read as several segments."""
    if identifier in {"", ".", ".."} or _SEVERAL.search(identifier):
        raise errors.bad_request("An id must not have a slash, a backslash or dots only.", reason="invalid-path")
    return quote(identifier, safe="")


def _value(found: Any, *names: str) -> Any:
    for name in names:
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return found


def _string(found: dict[str, Any], *names: str) -> str:
    value = _value(found, *names)
    return value if isinstance(value, str) else ""
