"""private_bucket: access, encryption, lifecycle rules, bucket policy and deletion."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pulumi
import pytest

from components.aws.bucket import private_bucket
from components.aws.identity import Statement, allow
from preview.graph import Graph
from preview.recorder import record

from .helpers import KEY, make_deployment, only, statements
from .policies import faults

BUCKET = "aws:s3/bucket:Bucket"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"


def record_bucket(
    *,
    deletion_protection: bool = False,
    kms_key_arn: str | None = None,
    noncurrent_days: int | None = 7,
    expire_days: int | None = None,
    statements: Callable[[pulumi.Output[str]], Sequence[Statement]] | None = None,
    kms: bool = True,
) -> Graph:
    def program() -> None:
        private_bucket(
            make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn),
            "files",
            parent=pulumi.ComponentResource("test:test:Owner", "owner", {}),
            noncurrent_days=noncurrent_days,
            expire_days=expire_days,
            statements=statements,
            protect=deletion_protection,
            kms=kms,
        )

    return record(program)


def rules(graph: Graph) -> dict[str, Any]:
    return {rule["id"]: rule for rule in only(graph, LIFECYCLE).inputs["rules"]}


def test_public_access_and_acls_are_disabled() -> None:
    public_access = only(record_bucket(), "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").inputs
    ownership = only(record_bucket(), "aws:s3/bucketOwnershipControls:BucketOwnershipControls").inputs
    assert {name: value for name, value in public_access.items() if name != "bucket"} == {
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert ownership["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


def test_bucket_policy_denies_requests_without_tls() -> None:
    (rule,) = statements(only(record_bucket(), POLICY).inputs["policy"])
    assert rule == {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::proxy-files", "arn:aws:s3:::proxy-files/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


@pytest.mark.parametrize(
    ("kms_key_arn", "kms", "algorithm", "key"),
    [(None, True, "AES256", None), (KEY, True, "aws:kms", KEY), (KEY, False, "AES256", None)],
)
def test_encryption_uses_the_customer_key_or_sse_s3(
    kms_key_arn: str | None, kms: bool, algorithm: str, key: str | None
) -> None:
    (rule,) = only(record_bucket(kms_key_arn=kms_key_arn, kms=kms), ENCRYPTION).inputs["rules"]
    default = rule["applyServerSideEncryptionByDefault"]
    assert (default["sseAlgorithm"], default.get("kmsMasterKeyId")) == (algorithm, key)
    assert rule["bucketKeyEnabled"] is (key is not None)


def test_incomplete_multipart_uploads_are_aborted_even_without_versioning() -> None:
    graph = record_bucket(noncurrent_days=None)
    assert rules(graph) == {
        "dangling-uploads": {
            "id": "dangling-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
        }
    }
    assert not graph.of(VERSIONING)


def test_noncurrent_versions_and_expired_delete_markers_are_deleted() -> None:
    graph = record_bucket(noncurrent_days=30)
    rule = rules(graph)["old-versions"]
    assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert rule["expiration"] == {"expiredObjectDeleteMarker": True}
    versioning = only(graph, VERSIONING)
    assert versioning.inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert versioning.urn in only(graph, LIFECYCLE).dependencies


def test_no_lifecycle_rule_has_both_days_and_delete_markers() -> None:
    found = rules(record_bucket(noncurrent_days=30, expire_days=90))
    assert found["old-objects"]["expiration"] == {"days": 90}
    # S3 rejects a rule whose expiration has both days and expiredObjectDeleteMarker.
    expirations = [rule["expiration"] for rule in found.values() if "expiration" in rule]
    assert len(expirations) == 2
    assert all(len(expiration) == 1 for expiration in expirations)


def test_additional_statement_is_added_to_the_bucket_policy_with_the_bucket_arn() -> None:
    def delivery(bucket: pulumi.Output[str]) -> list[Statement]:
        return [{**allow(["s3:PutObject"], [pulumi.Output.concat(bucket, "/logs/*")]), "Principal": {"Service": "x"}}]

    graph = record_bucket(statements=delivery)
    assert statements(only(graph, POLICY).inputs["policy"])[1]["Resource"] == ["arn:aws:s3:::proxy-files/logs/*"]
    assert not faults(graph)


def test_policy_is_created_after_the_public_access_block() -> None:
    graph = record_bucket()
    policy = only(graph, POLICY)
    ownership = only(graph, "aws:s3/bucketOwnershipControls:BucketOwnershipControls")
    public_access = only(graph, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    assert ownership.urn in policy.dependencies
    assert public_access.urn in ownership.dependencies


def test_without_deletion_protection_bucket_is_deleted_with_its_objects() -> None:
    graph = record_bucket()
    assert only(graph, BUCKET).inputs["forceDestroy"] is True
    assert not any(resource.protect for resource in graph.resources)


def test_with_deletion_protection_every_resource_is_protected() -> None:
    graph = record_bucket(deletion_protection=True)
    assert only(graph, BUCKET).inputs["forceDestroy"] is False
    # If destroy stops at the bucket, it must not have deleted the policy and the public access block before.
    assert {resource.type for resource in graph.resources if not resource.protect} == {"test:test:Owner"}


def test_dependency_on_the_bucket_includes_its_policy() -> None:
    def program() -> None:
        bucket = private_bucket(
            make_deployment(),
            "files",
            parent=pulumi.ComponentResource("test:test:Owner", "owner", {}),
            noncurrent_days=None,
            expire_days=None,
            protect=False,
        )
        pulumi.CustomResource("test:test:Writer", "writer", {}, pulumi.ResourceOptions(depends_on=[bucket]))

    graph = record(program)
    assert only(graph, POLICY).urn in only(graph, "test:test:Writer").dependencies


def test_policy_documents_are_valid_and_contain_no_none() -> None:
    assert not faults(record_bucket(kms_key_arn=KEY))
    assert "None" not in json.dumps(only(record_bucket(), POLICY).inputs)
