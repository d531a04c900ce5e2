"""A private S3 bucket: encrypted, TLS only, without public access, and with lifecycle rules.

Write permissions are not part of it.
"""

from collections.abc import Callable, Sequence

import pulumi
from pulumi_aws import s3

from .deployment import Deployment
from .identity import Statement, document

Statements = Callable[[pulumi.Output[str]], Sequence[Statement]]


class PrivateBucket(pulumi.ComponentResource):
    """A bucket with its policy and configuration; depending on it means depending on all of them."""

    bucket: pulumi.Output[str]
    """Name of the bucket."""
    arn: pulumi.Output[str]

    def __init__(
        self,
        deployment: Deployment,
        role: str,
        *,
        noncurrent_days: int | None,
        expire_days: int | None,
        statements: Statements | None,
        kms: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("mlflow:aws:PrivateBucket", deployment.logical_name(role), {}, opts)
        name = deployment.logical_name(role)
        inside = pulumi.ResourceOptions(parent=self)
        made = s3.Bucket(
            name, force_destroy=not deployment.deletion_protection, tags=deployment.tags_for(role), opts=inside
        )
        self.bucket, self.arn = made.bucket, made.arn
        _encryption(name, made, deployment.kms_key_arn if kms else None, inside)
        ready = _block_public_access(name, made, self)
        s3.BucketPolicy(
            name,
            bucket=made.bucket,
            policy=document([_tls_only(made.arn), *(statements(made.arn) if statements else ())]),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[ready]),
        )
        _lifecycle(name, made, noncurrent_days, expire_days, self)
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})


def private_bucket(
    deployment: Deployment,
    role: str,
    *,
    parent: pulumi.Resource,
    noncurrent_days: int | None,
    expire_days: int | None,
    statements: Statements | None = None,
    protect: bool,
    kms: bool = True,
) -> PrivateBucket:
    """A bucket with optional versioning and expiration.

    ``expire_days``: objects are deleted after that many days; None keeps them. ``noncurrent_days``: noncurrent versions
    are deleted after that many days; None disables versioning. ``statements`` returns additional statements of the
    bucket policy for the bucket's ARN. ``kms`` False is for writers that cannot use a customer managed key.
    """
    return PrivateBucket(
        deployment,
        role,
        noncurrent_days=noncurrent_days,
        expire_days=expire_days,
        statements=statements,
        kms=kms,
        # Protects all child resources: a destroy that fails on the bucket must not have removed its policy before.
        opts=pulumi.ResourceOptions(parent=parent, protect=protect),
    )


def _encryption(name: str, bucket: s3.Bucket, key: pulumi.Input[str] | None, opts: pulumi.ResourceOptions) -> None:
    s3.BucketServerSideEncryptionConfiguration(
        name,
        bucket=bucket.bucket,
        rules=[
            s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=(
                    s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="AES256" if key is None else "aws:kms", kms_master_key_id=key
                    )
                ),
                # Reduces the number of requests to KMS.
                bucket_key_enabled=key is not None,
            )
        ],
        opts=opts,
    )


def _block_public_access(name: str, bucket: s3.Bucket, parent: pulumi.Resource) -> pulumi.Resource:
    """Block public access. Later configuration has to depend on the returned resource."""
    block = s3.BucketPublicAccessBlock(
        name,
        bucket=bucket.bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    # Sequential: S3 rejects concurrent changes of this kind (OperationAborted).
    return s3.BucketOwnershipControls(
        name,
        bucket=bucket.bucket,
        rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[block]),
    )


def _tls_only(arn: pulumi.Output[str]) -> Statement:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, pulumi.Output.concat(arn, "/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _lifecycle(
    name: str, bucket: s3.Bucket, noncurrent_days: int | None, expire_days: int | None, parent: pulumi.Resource
) -> None:
    versioning: list[pulumi.Resource] = []
    if noncurrent_days is not None:
        versioning.append(
            s3.BucketVersioning(
                name,
                bucket=bucket.bucket,
                versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
                opts=pulumi.ResourceOptions(parent=parent),
            )
        )
    s3.BucketLifecycleConfiguration(
        name,
        bucket=bucket.bucket,
        rules=_rules(noncurrent_days, expire_days),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=versioning),
    )


def _rules(noncurrent_days: int | None, expire_days: int | None) -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    # All objects; without a filter, every refresh reports a change (pulumi-aws#2128).
    every = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    rules = [
        s3.BucketLifecycleConfigurationRuleArgs(
            id="dangling-uploads",
            status="Enabled",
            filter=every,
            abort_incomplete_multipart_upload=(
                s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(days_after_initiation=7)
            ),
        )
    ]
    if noncurrent_days is not None:
        rules.append(
            s3.BucketLifecycleConfigurationRuleArgs(
                id="old-versions",
                status="Enabled",
                filter=every,
                noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=noncurrent_days
                ),
                # S3 accepts this and a number of days in separate rules only.
                expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(expired_object_delete_marker=True),
            )
        )
    if expire_days is not None:
        rules.append(
            s3.BucketLifecycleConfigurationRuleArgs(
                id="old-objects",
                status="Enabled",
                filter=every,
                expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(days=expire_days),
            )
        )
    return rules
