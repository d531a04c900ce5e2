"""Large files: uploaded in parts, around the request limit of App Engine; or refused before a byte is sent.

App Engine's front end answers requests above about 32 MB with 413, before they reach MLflow:
https://cloud.google.com/appengine/docs/flexible/how-requests-are-handled. MLflow's client sends the parts of a large
file to Cloud Storage, which has no such limit, but by default only from 500 MB on, and MLflow 2 not at all. It reads
the variables at each upload.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import requests

from .errors import RequestTooLargeError

if TYPE_CHECKING:
    from requests import PreparedRequest

log = logging.getLogger("mlflow_iap")

ENABLE = "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"
MINIMUM = "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"
CHUNK = "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"
# MLflow's.
_DEFAULT_MINIMUM = 500 * 1024**2
# https://cloud.google.com/storage/quotas#requests
_MIN_CHUNK = 5 * 1024**2
_ARTIFACTS = "/mlflow-artifacts/artifacts/"
_CREATE = "/mlflow-artifacts/mpu/create/"
# Before, MLflow stored such a file at a wrong path (mlflow/mlflow#11225).
_MIN_VERSION = (2, 11)
# Between the attempts to upload one part.
_RETRY_DELAYS_SECONDS = (1.0, 2.0, 4.0)


def upload_in_parts(environ: MutableMapping[str, str], limit: int) -> None:
    """Make MLflow upload files from half of `limit` bytes on in parts; 0: no limit. Variables that are set stay."""
    if limit and _mlflow_version() >= _MIN_VERSION:
        environ.setdefault(ENABLE, "true")
        environ.setdefault(MINIMUM, str(limit // 2))
        _retry_parts()


def problem(environ: Mapping[str, str], limit: int) -> str:
    """The variable that makes MLflow send more than `limit` bytes at once, with the remedy; empty if there is none."""
    enabled = environ.get(ENABLE, "false")
    if enabled.lower() not in {"true", "1"}:
        return f"Set {ENABLE}=true, or remove it: it is {enabled}."
    minimum = _number(environ, MINIMUM, _DEFAULT_MINIMUM)
    # MLflow uploads smaller files in one request.
    if minimum > limit + 1:
        return f"Set {MINIMUM} to {limit // 2}, or remove it: it is {minimum}."
    chunk = _number(environ, CHUNK, _MIN_CHUNK)
    if chunk < _MIN_CHUNK:
        return f"Set {CHUNK} to {_MIN_CHUNK} or more, or remove it: it is {chunk}. Cloud Storage refuses smaller parts."
    return ""


def check_request(request: "PreparedRequest", environ: Mapping[str, str], limit: int) -> None:
    """Raise RequestTooLargeError for a body above `limit` bytes, and for an upload in parts that are too small."""
    if not limit:
        return
    url = request.url or ""
    if _CREATE in url and CHUNK in (found := problem(environ, limit)):
        raise RequestTooLargeError(f"The file is not uploaded. {found}")
    length = int(request.headers.get("Content-Length") or 0)
    if length > limit:
        raise RequestTooLargeError(
            f"The request of {length} bytes is not sent: App Engine refuses requests above 32 MB "
            f"(MLFLOW_IAP_MAX_REQUEST_BYTES={limit}). {_advice(url, environ, limit)}"
        )


def _advice(url: str, environ: Mapping[str, str], limit: int) -> str:
    if _ARTIFACTS not in url:
        return "Send less at once."
    version = _mlflow_version()
    if not any(version):
        return "Upload the file with MLflow's client, which sends it in parts."
    if version < _MIN_VERSION:
        return f"MLflow {'.'.join(map(str, version))} cannot upload it in parts: install MLflow 2.11 or newer."
    return problem(environ, limit) or (
        "The server refused to take the file in parts, and MLflow's log says why: usually its service account lacks "
        "roles/iam.serviceAccountTokenCreator on itself."
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environ.get(name, default))
    except ValueError:
        # MLflow raises an error for it.
        return default


def _mlflow_version() -> tuple[int, int]:
    """Major and minor version of the imported MLflow; (0, 0) if none is imported."""
    found = re.match(r"(\d+)\.(\d+)", str(getattr(sys.modules.get("mlflow"), "__version__", "")))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _retry_parts() -> None:
    """Make MLflow upload a part again after a transient failure. MLflow gives up the whole file."""
    module = sys.modules.get("mlflow.store.artifact.http_artifact_repo")
    repository: Any = getattr(module, "HttpArtifactRepository", None)
    original: Any = getattr(repository, "_upload_part", None)
    if original is not None and not hasattr(original, "retries"):
        repository._upload_part = staticmethod(_with_retries(original))


def _with_retries(upload_part: Callable[..., Any]) -> Callable[..., Any]:
    def upload(*arguments: Any, **options: Any) -> Any:
        for delay in _RETRY_DELAYS_SECONDS:
            try:
                return upload_part(*arguments, **options)
            except requests.RequestException as error:
                status = error.response.status_code if error.response is not None else 503
                if status < 500 and status not in {408, 429}:
                    raise
                # Not the error itself: it contains the signed URL.
                log.warning("Uploading a part of a file failed (%s); retrying in %.0f s", status, delay)
                time.sleep(delay)
        return upload_part(*arguments, **options)

    untyped: Any = upload
    untyped.retries = _RETRY_DELAYS_SECONDS
    return upload
