"""The Cloud Storage bucket for artifacts: private, versioned, with lifecycle rules.

Out of scope: permissions of clients that access the bucket directly.
"""

import pulumi
from pulumi_gcp import storage

from .data_settings import ArtifactsSettings
from .deployment import Deployment
from .encryption import bucket_encryption

_DAY = 86_400
_INCOMPLETE_UPLOAD_DAYS = 7


class Artifacts(pulumi.ComponentResource):
    """The artifact bucket."""

    bucket: pulumi.Output[str]
    """Name of the bucket."""
    url: pulumi.Output[str]
    """gs://NAME."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self, deployment: Deployment, args: ArtifactsSettings, *, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlflow:gcp:Artifacts", deployment.component, {}, opts)
        bucket = storage.Bucket(
            deployment.logical_name("artifacts"),
            project=deployment.project,
            # By default Pulumi adds a random suffix: bucket names are globally unique.
            name=args.bucket_name,
            # Cloud Storage returns the location in upper case.
            location=(args.location or deployment.region).upper(),
            storage_class=args.storage_class,
            encryption=bucket_encryption(deployment),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=storage.BucketVersioningArgs(enabled=True),
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(
                retention_duration_seconds=args.soft_delete_days * _DAY
            ),
            lifecycle_rules=[
                storage.BucketLifecycleRuleArgs(
                    action=storage.BucketLifecycleRuleActionArgs(type="Delete"),
                    condition=storage.BucketLifecycleRuleConditionArgs(
                        days_since_noncurrent_time=args.noncurrent_version_days, with_state="ARCHIVED"
                    ),
                ),
                storage.BucketLifecycleRuleArgs(
                    action=storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
                    condition=storage.BucketLifecycleRuleConditionArgs(age=_INCOMPLETE_UPLOAD_DAYS),
                ),
            ],
            force_destroy=not deployment.deletion_protection,
            labels=deployment.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        self.bucket = bucket.name
        self.url = pulumi.Output.concat("gs://", bucket.name)
        self.retained_on_destroy = []
        if args.soft_delete_days:
            self.retained_on_destroy.append(
                f"the objects of the artifact bucket, soft-deleted and billed for {args.soft_delete_days} days "
                "(artifacts.softDeleteDays)"
            )
        self.register_outputs({"bucket": self.bucket, "url": self.url})
