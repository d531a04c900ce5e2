"""The bucket of MLflow's artifacts: closed to the public, with old versions, and cleaned up by itself.

Left to the caller: rights of clients that go to it directly, and customer-managed keys.
"""

import pulumi
from pulumi_gcp import storage

from .data_args import ArtifactsArgs
from .place import Place

_DAY = 86_400
_DANGLING_DAYS = 7


class Artifacts(pulumi.ComponentResource):
    """Files of runs and models."""

    bucket: pulumi.Output[str]
    """Its name."""
    url: pulumi.Output[str]
    """gs://NAME."""
    kept: list[str]

    def __init__(self, place: Place, args: ArtifactsArgs, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:gcp:Artifacts", place.named("artifacts"), {}, opts)
        made = storage.Bucket(
            place.named("artifacts"),
            project=place.project,
            # With none, Pulumi adds a random end: the names of all buckets of everybody differ.
            name=args.bucket,
            # As Cloud Storage writes it.
            location=(args.location or place.region).upper(),
            storage_class=args.storage_class,
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
                        days_since_noncurrent_time=args.old_versions_days, with_state="ARCHIVED"
                    ),
                ),
                storage.BucketLifecycleRuleArgs(
                    action=storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
                    condition=storage.BucketLifecycleRuleConditionArgs(age=_DANGLING_DAYS),
                ),
            ],
            force_destroy=not place.deletion_protection,
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=place.deletion_protection),
        )
        self.bucket = made.name
        self.url = pulumi.Output.concat("gs://", made.name)
        self.kept = []
        if args.soft_delete_days:
            self.kept.append(
                f"the bucket's objects, which can be brought back, and cost, for {args.soft_delete_days} days "
                "(artifacts.softDeleteDays)"
            )
        self.register_outputs({"bucket": self.bucket, "url": self.url})
