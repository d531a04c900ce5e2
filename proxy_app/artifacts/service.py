"""MLflow's artifact API, served by the proxy on S3: handlers of the routes of the group ``artifacts``.

Requests and responses are those of mlflow.server.handlers in MLflow 3.17.2.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from mimetypes import guess_type
from typing import Any

from aiohttp import web

from .. import errors
from ..context import RequestContext
from ..credentials import CredentialKeeper
from ..errors import ApiError
from ..metrics import Metrics
from ..request_body import BodyReader
from ..routing import MLFLOW_ROUTES, Endpoint, Handler
from ..settings import Settings
from ..target import SageMakerTarget
from ..upstream import Upstream
from . import objects
from .downloads import download
from .owners import Owners, join
from .paths import artifact_path, workspace_path
from .presigned import Presigned, PresignedRequest
from .recording import recorded
from .root import ArtifactRoot
from .s3 import S3
from .settings import ArtifactSettings
from .uploads import MIB, Uploads

_SERVER_INFO = "/api/3.0/mlflow/server-info"
_UPLOAD_LIMIT = 10 * MIB
_WORKSPACE = "X-MLFLOW-WORKSPACE"
_TRACE_FILE = "traces.json"
_JSON_HEADERS = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
_IN_TRACKING_STORE = "TRACKING_STORE"


class ArtifactService:
    """The handlers; ``upstream`` knows where the artifacts of runs, models and traces are."""

    def __init__(
        self,
        settings: Settings,
        root: ArtifactRoot,
        target: SageMakerTarget,
        credentials: CredentialKeeper,
        upstream: Upstream,
        body_reader: BodyReader,
    ) -> None:
        self._root = root
        self._s3 = S3(settings, root, target.region, credentials)
        self._uploads = Uploads(self._s3, settings.body_timeout)
        self._owners = Owners(upstream, body_reader, root)
        enabled = settings.section(ArtifactSettings).presigned_transfers
        self._presigned = Presigned(self._s3, self._uploads, enabled=enabled)
        self._multipart = enabled

    def add_metrics(self, metrics: Metrics) -> None:
        """Add the gauge of the memory for uploads."""
        metrics.gauge(
            "mlflow_proxy_upload_budget_free_bytes",
            "Free memory for the parts of uploads to S3.",
            lambda: self._uploads.budget.free,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Connections to S3 can be made in this block; at its end, unfinished uploads are aborted."""
        async with self._s3.running(), self._uploads.running():
            yield

    def endpoints(self, forward: Handler) -> list[Endpoint]:
        """MLflow's routes with the handlers of this service; ``forward`` serves what only MLflow can."""

        async def get_trace_artifact(context: RequestContext) -> web.StreamResponse:
            return await self._trace_artifact(context, forward)

        handlers: Mapping[tuple[str, str], Handler] = {
            ("GET", "/get-artifact"): self._run_artifact,
            ("GET", "/model-versions/get-artifact"): self._model_version_artifact,
            ("GET", "/api/2.0/mlflow/logged-models/<model_id>/artifacts/directories"): self._model_folder,
            ("GET", "/api/2.0/mlflow/logged-models/<model_id>/artifacts/files"): self._model_artifact,
            ("GET", "/api/2.0/mlflow/get-trace-artifact"): get_trace_artifact,
            ("GET", "/api/3.0/mlflow/get-trace-artifact"): get_trace_artifact,
            ("POST", "/api/2.0/mlflow/upload-artifact"): self._upload_to_run,
            ("GET", "/api/2.0/mlflow-artifacts/artifacts"): self._list,
            ("GET", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"): self._get,
            ("PUT", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"): self._put,
            ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"): self._delete,
            ("POST", "/api/2.0/mlflow-artifacts/mpu/create/<path:artifact_path>"): self._create_multipart,
            ("POST", "/api/2.0/mlflow-artifacts/mpu/complete/<path:artifact_path>"): self._complete_multipart,
            ("POST", "/api/2.0/mlflow-artifacts/mpu/abort/<path:artifact_path>"): self._abort_multipart,
            ("GET", "/api/2.0/mlflow-artifacts/presigned/<path:artifact_path>"): self._presigned_url,
            ("POST", "/api/2.0/mlflow/artifacts/presigned-download-url"): self._presigned_download,
            ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url"): self._presigned_upload,
        }
        found = [(route, handlers.get((route.method, _api(route.template)))) for route in MLFLOW_ROUTES]
        endpoints = [Endpoint(route, recorded(handler)) for route, handler in found if handler is not None]
        # Not the same path below /ajax-api/: MLflow's page, which calls it, transfers no files in parts.
        return [
            *endpoints,
            *(Endpoint(route, self._server_info) for route in MLFLOW_ROUTES if route.template == _SERVER_INFO),
        ]

    # mlflow-artifacts

    async def _list(self, context: RequestContext) -> web.Response:
        folder = artifact_path(context.request.query.get("path", "").rstrip("/"))
        return _json(_files(await self._entries(self._key(context, folder))))

    async def _get(self, context: RequestContext) -> web.StreamResponse:
        return await download(context, self._s3, self._parameter_key(context))

    async def _put(self, context: RequestContext) -> web.Response:
        if "?" in context.target:
            raise errors.bad_request(
                "The URL of an upload has a query. MLflow's clients do not encode a ? in a name: rename the file.",
                reason="invalid-path",
            )
        key = self._parameter_key(context)
        await self._uploads.put(key, context.body, _stored_type(key))
        return _json({})

    async def _delete(self, context: RequestContext) -> web.Response:
        await objects.delete(
            self._s3, self._key(context, artifact_path(context.parameters["artifact_path"].rstrip("/")))
        )
        return _json({})

    # Transfers by the client itself

    async def _create_multipart(self, context: RequestContext) -> web.Response:
        return _json(await self._presigned.create(context, self._parameter_key(context)))

    async def _complete_multipart(self, context: RequestContext) -> web.Response:
        return _json(await self._presigned.complete(context, self._parameter_key(context)))

    async def _abort_multipart(self, context: RequestContext) -> web.Response:
        return _json(await self._presigned.abort(context, self._parameter_key(context)))

    async def _presigned_url(self, context: RequestContext) -> web.Response:
        return _json(await self._presigned.download(self._parameter_key(context)))

    async def _presigned_download(self, context: RequestContext) -> web.Response:
        request = await PresignedRequest.read(context, models=False)
        key = self._root_key(join(await self._owners.run(context, request.run_id), request.path))
        return _json(await self._presigned.download_of_run(key, request.seconds))

    async def _presigned_upload(self, context: RequestContext) -> web.Response:
        request = await PresignedRequest.read(context, models=True)
        if request.run_id:
            folder = await self._owners.run(context, request.run_id)
        else:
            folder = await self._owners.logged_model(context, request.model_id)
        return _json(self._presigned.upload(self._root_key(join(folder, request.path)), request.seconds))

    async def _server_info(self, context: RequestContext) -> web.Response:
        """MLflow's server-info, which tells clients whether to transfer parts of files by presigned URLs."""
        try:
            found = await self._owners.get(context, _SERVER_INFO)
        except ApiError as error:
            # Older versions of MLflow have no such route; these are the values of a server that has nothing of it.
            if not (self._multipart and error.status < 500):
                raise
            found = {"store_type": None, "workspaces_enabled": False, "trace_archival_enabled": False}
        enabled = {"multipart_uploads_enabled": self._multipart, "multipart_downloads_enabled": self._multipart}
        return _json({**found, **enabled})

    # Artifacts of runs, models and traces

    async def _run_artifact(self, context: RequestContext) -> web.StreamResponse:
        query = context.request.query
        path = _required_path(context, "path")
        run_id = query.get("run_id") or query.get("run_uuid") or ""
        return await self._download(context, await self._owners.run(context, run_id), path)

    async def _model_version_artifact(self, context: RequestContext) -> web.StreamResponse:
        query = context.request.query
        path = _required_path(context, "path")
        folder = await self._owners.model_version(context, query.get("name", ""), query.get("version", ""))
        return await self._download(context, folder, path)

    async def _model_artifact(self, context: RequestContext) -> web.StreamResponse:
        path = _required_path(context, "artifact_file_path")
        folder = await self._owners.logged_model(context, context.parameters["model_id"])
        return await self._download(context, folder, path)

    async def _model_folder(self, context: RequestContext) -> web.Response:
        path = artifact_path(context.request.query.get("artifact_directory_path", "").rstrip("/"))
        folder = await self._owners.logged_model(context, context.parameters["model_id"])
        files = await self._entries(self._root_key(join(folder, path)))
        # Unlike those of the list of mlflow-artifacts, these paths are relative to the model.
        files = [{**file, "path": join(path, str(file["path"]))} for file in files]
        return _json({**_files(files), "root_uri": self._root.to_client(join(self._root.uri, folder))})

    async def _trace_artifact(self, context: RequestContext, forward: Handler) -> web.StreamResponse:
        query = context.request.query
        trace_id = query.get("request_id")
        if not trace_id:
            raise errors.bad_request(
                'Request must include the "request_id" query parameter.', reason="missing-parameter"
            )
        path = artifact_path(query.get("path", ""))
        tags = await self._owners.trace_tags(context, trace_id)
        if not path and tags.get("mlflow.trace.spansLocation") == _IN_TRACKING_STORE:
            return await forward(context)
        folder = self._owners.trace(trace_id, tags)
        return await self._download(context, folder, join("attachments", path) if path else _TRACE_FILE)

    async def _upload_to_run(self, context: RequestContext) -> web.Response:
        query = context.request.query
        run_id = query.get("run_uuid")
        if not run_id:
            raise errors.bad_request("Request must specify run_uuid.", reason="missing-parameter")
        path = _required_path(context, "path")
        body = context.body
        if (body.length or 0) > _UPLOAD_LIMIT:
            raise _upload_too_large()
        content = (await body.buffer()).content
        if not content:
            raise errors.bad_request("Request must specify data.", reason="missing-body")
        if len(content) > _UPLOAD_LIMIT:
            raise _upload_too_large()
        key = self._root_key(join(await self._owners.run(context, run_id), path))
        await self._uploads.put(key, body, _stored_type(key))
        return web.Response(headers=_JSON_HEADERS)

    # Keys

    async def _download(self, context: RequestContext, folder: str, path: str) -> web.StreamResponse:
        return await download(context, self._s3, self._root_key(join(folder, path)))

    async def _entries(self, key: str) -> list[dict[str, str | bool | int]]:
        return [entry.json() for entry in await objects.entries(self._s3, key)]

    def _parameter_key(self, context: RequestContext) -> str:
        return self._key(context, artifact_path(context.parameters["artifact_path"]))

    def _key(self, context: RequestContext, path: str) -> str:
        return self._root_key(workspace_path(path, context.request.headers.get(_WORKSPACE, "")))

    def _root_key(self, path: str) -> str:
        return join(self._root.prefix, path)


def _api(template: str) -> str:
    return "/api/" + template.removeprefix("/ajax-api/") if template.startswith("/ajax-api/") else template


def _files(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The list in MLflow's JSON, which leaves out empty ones."""
    return {"files": files} if files else {}


def _json(content: Mapping[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(content, indent=2), headers=_JSON_HEADERS)


def _required_path(context: RequestContext, name: str) -> str:
    path = artifact_path(context.request.query.get(name, ""))
    if not path:
        raise errors.bad_request(f"Request must specify {name}.", reason="missing-parameter")
    return path


def _stored_type(key: str) -> str:
    """The type that is stored with an object, for other readers of the bucket; downloads have their own."""
    return guess_type(key)[0] or "application/octet-stream"


def _upload_too_large() -> errors.ApiError:
    return errors.bad_request("Artifact size is too large. Max size is 10MB.", reason="body-too-large")
