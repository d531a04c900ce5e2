"""The artifacts' bucket: closed to the public, cleaned up by itself, and gone with its content in development only."""

from typing import Any

import pytest

from components.gcp.artifacts import Artifacts
from components.gcp.data_args import ArtifactsArgs
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import PROJECT, make_deployment, only

BUCKET = "gcp:storage/bucket:Bucket"


def recorded(*, deletion_protection: bool = False, **args: Any) -> tuple[Graph, Artifacts]:
    made: list[Artifacts] = []
    graph = record(
        lambda: made.append(Artifacts(make_deployment(deletion_protection=deletion_protection), ArtifactsArgs(**args)))
    )
    return graph, made[0]


def bucket(**args: Any) -> Resource:
    return only(recorded(**args)[0], BUCKET)


def rules(**args: Any) -> dict[str, Any]:
    return {rule["action"]["type"]: rule["condition"] for rule in bucket(**args).inputs["lifecycleRules"]}


def test_nobody_outside_reads_it() -> None:
    inputs = bucket().inputs
    assert inputs["uniformBucketLevelAccess"] is True
    assert inputs["publicAccessPrevention"] == "enforced"


def test_what_is_overwritten_or_deleted_stays_for_a_while() -> None:
    inputs = bucket(noncurrent_version_days=5, soft_delete_days=14).inputs
    assert inputs["versioning"] == {"enabled": True}
    assert inputs["softDeletePolicy"] == {"retentionDurationSeconds": 14 * 86_400}
    assert rules(noncurrent_version_days=5)["Delete"] == {"daysSinceNoncurrentTime": 5, "withState": "ARCHIVED"}


def test_soft_delete_can_be_switched_off() -> None:
    # Left out, it would be Google's default of 7 days.
    assert bucket(soft_delete_days=0).inputs["softDeletePolicy"] == {"retentionDurationSeconds": 0}


def test_dangling_uploads_go() -> None:
    assert rules()["AbortIncompleteMultipartUpload"] == {"age": 7}


def test_no_rule_touches_what_is_current() -> None:
    assert set(rules()) == {"Delete", "AbortIncompleteMultipartUpload"}


@pytest.mark.parametrize("protected", [True, False])
def test_only_in_development_it_goes_with_all_that_is_in_it(protected: bool) -> None:
    made = bucket(deletion_protection=protected)
    assert made.inputs["forceDestroy"] is not protected
    assert made.protect is protected


@pytest.mark.parametrize(("given", "location"), [(None, "EUROPE-WEST1"), ("EU", "EU"), ("us-east1", "US-EAST1")])
def test_it_is_in_the_region_or_where_the_settings_say(given: str | None, location: str) -> None:
    assert bucket(location=given).inputs["location"] == location


def test_its_name_is_one_of_its_own_or_the_given_one() -> None:
    assert "name" not in bucket().inputs
    assert bucket(bucket_name="acme-artifacts").inputs["name"] == "acme-artifacts"


def test_mlflow_finds_it() -> None:
    found: list[str] = []
    record(lambda: Artifacts(make_deployment(), ArtifactsArgs(bucket_name="acme-artifacts")).url.apply(found.append))
    assert found == ["gs://acme-artifacts"]


def test_what_stays_after_a_destroy_is_named() -> None:
    (kept,) = recorded(soft_delete_days=14)[1].retained_on_destroy
    assert "14 days" in kept
    assert not recorded(soft_delete_days=0)[1].retained_on_destroy


def test_it_has_labels_and_a_project() -> None:
    inputs = bucket().inputs
    assert inputs["labels"] == make_deployment().labels
    assert inputs["project"] == PROJECT
    assert bucket(storage_class="NEARLINE").inputs["storageClass"] == "NEARLINE"
