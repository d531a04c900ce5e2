"""A private bucket: what holds for each one, and what its owner chooses."""

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


def recorded(
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


def test_nobody_outside_reads_it() -> None:
    block = only(recorded(), "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").inputs
    owned = only(recorded(), "aws:s3/bucketOwnershipControls:BucketOwnershipControls").inputs
    assert {name: value for name, value in block.items() if name != "bucket"} == {
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert owned["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


def test_it_speaks_tls_only() -> None:
    (rule,) = statements(only(recorded(), POLICY).inputs["policy"])
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
def test_it_is_encrypted(kms_key_arn: str | None, kms: bool, algorithm: str, key: str | None) -> None:
    (rule,) = only(recorded(kms_key_arn=kms_key_arn, kms=kms), ENCRYPTION).inputs["rules"]
    given = rule["applyServerSideEncryptionByDefault"]
    assert (given["sseAlgorithm"], given.get("kmsMasterKeyId"), rule["bucketKeyEnabled"]) == (
        algorithm,
        key,
        key is not None,
    )


def test_dangling_uploads_always_go() -> None:
    graph = recorded(noncurrent_days=None)
    assert rules(graph) == {
        "dangling-uploads": {
            "id": "dangling-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
        }
    }
    assert not graph.of(VERSIONING)


def test_old_versions_go_with_their_delete_markers() -> None:
    graph = recorded(noncurrent_days=30)
    rule = rules(graph)["old-versions"]
    assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert rule["expiration"] == {"expiredObjectDeleteMarker": True}
    versioning = only(graph, VERSIONING)
    assert versioning.inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert versioning.urn in only(graph, LIFECYCLE).dependencies


def test_no_rule_names_days_and_delete_markers() -> None:
    found = rules(recorded(noncurrent_days=30, expire_days=90))
    assert found["old-objects"]["expiration"] == {"days": 90}
    # S3 refuses both in one rule.
    assert all(len(rule.get("expiration", {"one": 1})) == 1 for rule in found.values())


def test_a_statement_of_its_own_knows_the_bucket() -> None:
    def delivery(bucket: pulumi.Output[str]) -> list[Statement]:
        return [{**allow(["s3:PutObject"], [pulumi.Output.concat(bucket, "/logs/*")]), "Principal": {"Service": "x"}}]

    graph = recorded(statements=delivery)
    assert statements(only(graph, POLICY).inputs["policy"])[1]["Resource"] == ["arn:aws:s3:::proxy-files/logs/*"]
    assert not faults(graph)


def test_it_opens_its_policy_only_when_it_is_closed_to_the_public() -> None:
    graph = recorded()
    policy = only(graph, POLICY)
    owned = only(graph, "aws:s3/bucketOwnershipControls:BucketOwnershipControls")
    block = only(graph, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    assert owned.urn in policy.dependencies
    assert block.urn in owned.dependencies


def test_in_development_it_goes_with_all_that_is_in_it() -> None:
    graph = recorded()
    assert only(graph, BUCKET).inputs["forceDestroy"] is True
    assert not any(one.protect for one in graph.resources)


def test_in_production_nothing_of_it_goes() -> None:
    graph = recorded(deletion_protection=True)
    assert only(graph, BUCKET).inputs["forceDestroy"] is False
    # A destroy that stops at the bucket has taken neither its policy nor its access block before.
    assert {one.type for one in graph.resources if not one.protect} == {"test:test:Owner"}


def test_whoever_waits_for_it_waits_for_its_policy() -> None:
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


def test_documents_are_whole() -> None:
    assert not faults(recorded(kms_key_arn=KEY))
    assert "None" not in json.dumps(only(recorded(), POLICY).inputs)
