"""The location of the artifacts that the proxy serves."""

from dataclasses import dataclass

import pulumi

from .. import proxy_environment
from .artifacts_settings import ARTIFACTS_URI, ArtifactsSettings
from .deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactLocation:
    """``prefix`` in a bucket, below which MLflow stores artifacts."""

    bucket: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    prefix: str
    presigned_transfers: bool

    @property
    def environment(self) -> dict[str, pulumi.Input[str]]:
        """Environment variables of the proxy."""
        variables: dict[str, pulumi.Input[str]] = {
            proxy_environment.ARTIFACTS_URI: pulumi.Output.concat("s3://", self.bucket, "/", self.prefix)
        }
        return variables | ({proxy_environment.PRESIGNED_TRANSFERS: "true"} if self.presigned_transfers else {})


def artifact_location(
    deployment: Deployment,
    args: ArtifactsSettings,
    *,
    bucket: pulumi.Output[str | None],
    bucket_arn: pulumi.Output[str] | None,
    prefix: str,
) -> ArtifactLocation | None:
    """What the proxy serves: ``prefix`` in the bucket of a new target, or `uri`; None without artifacts through it."""
    if not args.enabled:
        return None
    if bucket_arn is not None:
        return ArtifactLocation(
            bucket=bucket.apply(str),
            bucket_arn=bucket_arn,
            prefix=prefix,
            presigned_transfers=args.presigned_transfers,
        )
    found = ARTIFACTS_URI.fullmatch(args.uri) if args.uri else None
    if found is None:
        return None
    return ArtifactLocation(
        bucket=pulumi.Output.from_input(found[1]),
        bucket_arn=pulumi.Output.concat("arn:", deployment.partition, ":s3:::", found[1]),
        prefix=found[2],
        presigned_transfers=args.presigned_transfers,
    )
