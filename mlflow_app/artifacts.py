"""The artifact root of new experiments, and multipart uploads to Cloud Storage without a private key."""

import contextlib
import datetime
import logging
import math
import posixpath
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from google.auth.credentials import Signing

from .settings import Settings
from .signing import SIGNING_THREADS, ServiceAccount, SigningError

log = logging.getLogger(__name__)

_PROXIED_ROOT = "mlflow-artifacts:/"
# https://cloud.google.com/storage/quotas#requests
_MAX_PARTS = 10_000
# The longest for which a signature by signBlob is sure to be valid.
# https://cloud.google.com/storage/docs/authentication/creating-signatures
_URL_LIFETIME = datetime.timedelta(hours=12)
# MLflow's client waits 120 s for the URLs of all parts.
_SIGNING_SECONDS = 90.0


def artifact_root(settings: Settings) -> str:
    """MLflow's default artifact root: each new experiment stores it as its artifact location."""
    return _PROXIED_ROOT if settings.artifacts_proxied else settings.artifacts_destination


def sign_multipart_uploads(settings: Settings) -> None:
    """Replace MLflow's multipart uploads to Cloud Storage; they circumvent the request limit of App Engine.

    MLflow signs the URLs of the parts with a private key, which a service account on Google's machines does not have:
    mlflow/mlflow#21847. Here IAM signs them. If it cannot, the upload is refused in the way that makes MLflow's client
    send the file in one request, and the log has the reason.
    """
    from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

    untyped: Any = GCSArtifactRepository
    account = ServiceAccount(settings.iam_credentials_url)

    def create_multipart_upload(
        repository: Any, local_file: str, num_parts: int = 1, artifact_path: str | None = None
    ) -> Any:
        return _create(account, repository, _file_name(local_file), num_parts, artifact_path or "")

    untyped.create_multipart_upload = create_multipart_upload
    untyped.complete_multipart_upload = _with_file_name(untyped.complete_multipart_upload)
    untyped.abort_multipart_upload = _with_file_name(untyped.abort_multipart_upload)
    untyped._gcs_mpu_arguments = staticmethod(_with_quoted_url(untyped._gcs_mpu_arguments))


def _create(account: ServiceAccount, repository: Any, file_name: str, num_parts: int, folder: str) -> Any:
    from google.resumable_media.requests import XMLMPUContainer
    from mlflow.entities.multipart_upload import CreateMultipartUploadResponse, MultipartUploadCredential
    from mlflow.exceptions import MlflowException, _UnsupportedMultipartUploadException  # pyright: ignore
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    if num_parts > _MAX_PARTS:
        factor = math.ceil(num_parts / _MAX_PARTS)
        raise MlflowException(
            f"The upload of {file_name} has {num_parts} parts, and Cloud Storage takes {_MAX_PARTS}: multiply the "
            f"client's MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE (default 10485760 bytes) by {factor}.",
            INVALID_PARAMETER_VALUE,
        )
    bucket, root = repository.parse_gcs_uri(repository.artifact_uri)
    blob = repository._get_bucket(bucket).blob(posixpath.join(root, folder, file_name))
    arguments = repository._gcs_mpu_arguments(file_name, blob)
    untyped: Any = XMLMPUContainer
    upload = untyped(arguments.url, file_name, headers=arguments.headers)
    try:
        signing = account.signing()
        upload.initiate(transport=arguments.transport, content_type=arguments.content_type)
        urls = _part_urls(signing, blob, upload.upload_id, num_parts)
    except SigningError as error:
        log.error("Multipart uploads are refused, files above 32 MB cannot be uploaded. %s", error)
        if upload.upload_id:
            # Otherwise the bucket's lifecycle rule does it.
            with contextlib.suppress(Exception):
                upload.cancel(transport=arguments.transport)
        raise _UnsupportedMultipartUploadException from error
    credentials = [
        MultipartUploadCredential(url=url, part_number=number, headers={}) for number, url in enumerate(urls, 1)
    ]
    return CreateMultipartUploadResponse(upload_id=upload.upload_id, credentials=credentials)


def _part_urls(signing: Signing, blob: Any, upload_id: str, num_parts: int) -> list[str]:
    """The URL of each part, for a PUT without further credentials. Raises SigningError."""

    def sign(number: int) -> str:
        return blob.generate_signed_url(
            version="v4",
            method="PUT",
            expiration=_URL_LIFETIME,
            query_parameters={"partNumber": number, "uploadId": upload_id},
            credentials=signing,
        )

    pool = ThreadPoolExecutor(SIGNING_THREADS)
    try:
        return list(pool.map(sign, range(1, num_parts + 1), timeout=_SIGNING_SECONDS))
    except TimeoutError:
        raise SigningError(f"{num_parts} parts were not signed within {_SIGNING_SECONDS:g} s.") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _file_name(path: str) -> str:
    """The last component of the client's path, which may be one of Windows; MLflow splits it at slashes only."""
    return re.split(r"[/\\]", path)[-1]


def _with_file_name(method: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(repository: Any, local_file: str, *arguments: Any, **options: Any) -> Any:
        return method(repository, _file_name(local_file), *arguments, **options)

    return wrapper


def _with_quoted_url(method: Callable[..., Any]) -> Callable[..., Any]:
    """MLflow does not quote the object's name: a # or ? would end it."""

    def wrapper(file_name: str, blob: Any) -> Any:
        arguments = method(file_name, blob)
        root = arguments.url.removesuffix(blob.name)
        return arguments._replace(url=root + quote(blob.name, safe="/~"))

    return wrapper
