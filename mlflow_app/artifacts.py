"""Where artifacts go, in MLflow's words, and what its Cloud Storage code cannot do without a key file."""

from typing import Any

from .settings import Settings

_PROXIED_ROOT = "mlflow-artifacts:/"


def root(settings: Settings) -> str:
    """What new experiments keep as their place."""
    return _PROXIED_ROOT if settings.artifacts_proxied else settings.artifacts


def refuse_multipart_without_a_key() -> None:
    """Let uploads in parts be refused where they cannot work: clients then send the file whole.

    MLflow offers them for every bucket (from 500 MB on), but signs the parts' URLs with a private key, which a service
    account on Google's machines does not have: mlflow/mlflow#21847. The clients get 500 then and give up.
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
