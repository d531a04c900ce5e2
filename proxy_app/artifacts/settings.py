"""The settings of artifacts through the proxy."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ..setting_table import Problem, SettingTable, setting
from ..setting_values import origin, true_false
from .root import ArtifactRoot

if TYPE_CHECKING:
    from ..settings import Settings

_ROOT = "MLFLOW_PROXY_ARTIFACTS_URI"
_PRESIGNED = "MLFLOW_PROXY_PRESIGNED_TRANSFERS"


def _root(text: str) -> ArtifactRoot | None:
    return ArtifactRoot.parse(text) if text else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArtifactSettings(SettingTable):
    """Where the artifacts are; without ``artifacts_root`` clients transfer them without the proxy."""

    title: ClassVar[str] = "Artifacts"

    artifacts_root: ArtifactRoot | None = setting(
        _ROOT,
        "",
        "Location (s3://bucket/prefix) below which MLflow stores artifacts: clients see `mlflow-artifacts:/` "
        "in its place, and need no AWS credentials; empty: clients transfer artifacts to S3 themselves.",
        _root,
    )
    presigned_transfers: bool = setting(
        _PRESIGNED,
        "false",
        "Whether clients reach S3 themselves, and transfer large files by presigned URLs: true or false.",
        true_false,
    )
    s3_endpoint: str = setting(
        "AWS_ENDPOINT_URL_S3",
        "",
        "Origin of another S3 for artifacts, addressed by path; empty: S3 in the region of the target.",
        origin,
    )


def conflicts(settings: "Settings") -> Iterator[Problem]:
    """The problems between these settings and the others."""
    artifacts = settings.section(ArtifactSettings)
    if artifacts.artifacts_root is not None and settings.upstream_url:
        yield (
            (_ROOT, "MLFLOW_PROXY_UPSTREAM_URL"),
            f"{_ROOT} can be used with MLFLOW_PROXY_TARGET_ARN only: a plain MLflow server serves its own artifacts.",
        )
    if artifacts.presigned_transfers and artifacts.artifacts_root is None:
        yield (_ROOT, _PRESIGNED), f"{_PRESIGNED} requires {_ROOT}."
