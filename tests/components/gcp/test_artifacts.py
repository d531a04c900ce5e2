"""The artifact bucket."""

from typing import Any

import pytest

from components.gcp.artifacts import Artifacts
from components.gcp.data_settings import ArtifactsSettings
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import PROJECT, make_deployment, only

BUCKET = "gcp:storage/bucket:Bucket"


def recorded(*, deletion_protection: bool = False, **args: Any) -> tuple[Graph, Artifacts]:
    made: list[Artifacts] = []
    graph = record(
        lambda: made.append(
            Artifacts(make_deployment(deletion_protection=deletion_protection), ArtifactsSettings(**args))
        )
    )
    return graph, made[0]


def bucket(**args: Any) -> Resource:
    return only(recorded(**args)[0], BUCKET)


def rules(**args: Any) -> dict[str, Any]:
    return {rule["action"]["type"]: rule["condition"] for rule in bucket(**args).inputs["lifecycleRules"]}


def test_bucket_is_private() -> None:
    inputs = bucket().inputs
    assert inputs["uniformBucketLevelAccess"] is True
    assert inputs["publicAccessPrevention"] == "enforced"


def test_retention_of_noncurrent_and_deleted_objects() -> None:
    inputs = bucket(noncurrent_version_days=5, soft_delete_days=14).inputs
    assert inputs["versioning"] == {"enabled": True}
    assert inputs["softDeletePolicy"] == {"retentionDurationSeconds": 14 * 86_400}
    assert rules(noncurrent_version_days=5)["Delete"] == {"daysSinceNoncurrentTime": 5, "withState": "ARCHIVED"}


def test_soft_delete_can_be_disabled() -> None:
    # The default would be 7 days.
    assert bucket(soft_delete_days=0).inputs["softDeletePolicy"] == {"retentionDurationSeconds": 0}


def test_incomplete_uploads_are_aborted() -> None:
    assert rules()["AbortIncompleteMultipartUpload"] == {"age": 7}


def test_no_lifecycle_rule_affects_live_objects() -> None:
    assert set(rules()) == {"Delete", "AbortIncompleteMultipartUpload"}


@pytest.mark.parametrize("protected", [True, False])
def test_force_destroy_is_off_with_deletion_protection(protected: bool) -> None:
    made = bucket(deletion_protection=protected)
    assert made.inputs["forceDestroy"] is not protected
    assert made.protect is protected


@pytest.mark.parametrize(("given", "location"), [(None, "EUROPE-WEST1"), ("EU", "EU"), ("us-east1", "US-EAST1")])
def test_location_is_the_region_or_the_setting(given: str | None, location: str) -> None:
    assert bucket(location=given).inputs["location"] == location


def test_name_is_generated_or_configured() -> None:
    assert "name" not in bucket().inputs
    assert bucket(bucket_name="acme-artifacts").inputs["name"] == "acme-artifacts"


def test_url_names_the_bucket() -> None:
    found: list[str] = []
    record(
        lambda: Artifacts(make_deployment(), ArtifactsSettings(bucket_name="acme-artifacts")).url.apply(found.append)
    )
    assert found == ["gs://acme-artifacts"]


def test_retained_resources_are_listed() -> None:
    (kept,) = recorded(soft_delete_days=14)[1].retained_on_destroy
    assert "14 days" in kept
    assert not recorded(soft_delete_days=0)[1].retained_on_destroy


def test_bucket_has_labels_and_project() -> None:
    inputs = bucket().inputs
    assert inputs["labels"] == make_deployment().labels
    assert inputs["project"] == PROJECT
    assert bucket(storage_class="NEARLINE").inputs["storageClass"] == "NEARLINE"
