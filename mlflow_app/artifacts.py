"""The artifact root of new experiments, and a workaround for multipart uploads to Cloud Storage."""

from typing import Any

from .settings import Settings

_PROXIED_ROOT = "mlflow-artifacts:/"


def artifact_root(settings: Settings) -> str:
    """MLflow's default artifact root: each new experiment stores it as its artifact location."""
    return _PROXIED_ROOT if settings.artifacts_proxied else settings.artifacts_destination


def refuse_multipart_without_a_key() -> None:
    """Refuse multipart uploads if the credentials cannot sign URLs; clients then upload the file in one request.

    MLflow offers multipart uploads for every bucket (clients use them from 500 MB on) and signs the URLs of the parts
    with a private key, which a service account on Google's machines does not have: mlflow/mlflow#21847. Without this,
    clients get 500 and fail.
    """
    from google.auth.credentials import Signing
    from mlflow.exceptions import _UnsupportedMultipartUploadException  # pyright: ignore
    from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository

    untyped: Any = GCSArtifactRepository
    original = untyped.create_multipart_upload

    def create_multipart_upload(repository: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(repository.client._credentials, Signing):
            raise _UnsupportedMultipartUploadException
        return original(repository, *arguments, **options)

    untyped.create_multipart_upload = create_multipart_upload
