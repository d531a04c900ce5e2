"""The artifact bucket."""

from typing import Any

import pytest

from components.gcp.artifacts import Artifacts
from components.gcp.data_settings import ArtifactsSettings
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import PROJECT, make_deployment, only

BUCKET = "gcp:storage/bucket:Bucket"


def record_artifacts(*, deletion_protection: bool = False, **args: Any) -> tuple[Graph, Artifacts]:
    components: list[Artifacts] = []
    graph = record(
        lambda: components.append(
            Artifacts(make_deployment(deletion_protection=deletion_protection), ArtifactsSettings(**args))
        )
    )
    return graph, components[0]


def bucket(**args: Any) -> Resource:
    return only(record_artifacts(**args)[0], BUCKET)


def lifecycle_rules(**args: Any) -> dict[str, Any]:
    return {rule["action"]["type"]: rule["condition"] for rule in bucket(**args).inputs["lifecycleRules"]}


def test_bucket_is_private() -> None:
    inputs = bucket().inputs
    assert inputs["uniformBucketLevelAccess"] is True
    assert inputs["publicAccessPrevention"] == "enforced"


def test_noncurrent_versions_and_deleted_objects_are_kept_for_the_configured_days() -> None:
    inputs = bucket(noncurrent_version_days=5, soft_delete_days=14).inputs
    assert inputs["versioning"] == {"enabled": True}
    assert inputs["softDeletePolicy"] == {"retentionDurationSeconds": 14 * 86_400}
    assert lifecycle_rules(noncurrent_version_days=5)["Delete"] == {
        "daysSinceNoncurrentTime": 5,
        "withState": "ARCHIVED",
    }


def test_soft_delete_can_be_disabled() -> None:
    # Cloud Storage's default is 7 days.
    assert bucket(soft_delete_days=0).inputs["softDeletePolicy"] == {"retentionDurationSeconds": 0}


def test_incomplete_uploads_are_aborted() -> None:
    assert lifecycle_rules()["AbortIncompleteMultipartUpload"] == {"age": 7}


def test_lifecycle_rules_affect_noncurrent_objects_and_uploads_only() -> None:
    assert set(lifecycle_rules()) == {"Delete", "AbortIncompleteMultipartUpload"}


@pytest.mark.parametrize("protected", [True, False])
def test_force_destroy_is_off_with_deletion_protection(protected: bool) -> None:
    artifact_bucket = bucket(deletion_protection=protected)
    assert artifact_bucket.inputs["forceDestroy"] is not protected
    assert artifact_bucket.protect is protected


@pytest.mark.parametrize(("setting", "location"), [(None, "EUROPE-WEST1"), ("EU", "EU"), ("us-east1", "US-EAST1")])
def test_location_is_the_region_or_the_setting(setting: str | None, location: str) -> None:
    assert bucket(location=setting).inputs["location"] == location


def test_name_is_generated_or_configured() -> None:
    assert "name" not in bucket().inputs
    assert bucket(bucket_name="acme-artifacts").inputs["name"] == "acme-artifacts"


def test_url_has_the_bucket_name() -> None:
    urls: list[str] = []
    record(lambda: Artifacts(make_deployment(), ArtifactsSettings(bucket_name="acme-artifacts")).url.apply(urls.append))
    assert urls == ["gs://acme-artifacts"]


def test_soft_deleted_objects_are_listed_as_retained() -> None:
    (line,) = record_artifacts(soft_delete_days=14)[1].retained_on_destroy
    assert "14 days" in line
    assert not record_artifacts(soft_delete_days=0)[1].retained_on_destroy


def test_bucket_has_labels_and_project() -> None:
    inputs = bucket().inputs
    assert inputs["labels"] == make_deployment().labels
    assert inputs["project"] == PROJECT
    assert bucket(storage_class="NEARLINE").inputs["storageClass"] == "NEARLINE"
