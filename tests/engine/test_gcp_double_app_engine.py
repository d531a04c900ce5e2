"""The double of App Engine rejects operations that App Engine and its provider reject."""

from typing import Any

import pytest

from tests.doubles.provider.changes import changed_paths, table
from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kind import CloudError
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.gcp import (
    app_engine,
    domains,
    network,
    project,
)
from tests.doubles.provider.paths import without
from tests.engine.gcp_project import DIGEST, REGION, Project, flexible


def test_application_cannot_be_deleted_or_created_twice() -> None:
    cloud = Project()
    cloud.delete_resource(cloud.application)
    assert f"Application {project.PROJECT}" in cloud.left
    with pytest.raises(CloudError, match="409: This application already exists and cannot be re-created"):
        cloud.create(app_engine.APPLICATION, "app", {"locationId": "us-central"})


def test_application_cannot_change_its_location() -> None:
    update_error = KINDS[app_engine.APPLICATION].update_error
    assert update_error({"locationId": "europe-west"}, {"locationId": "us-central"})
    assert update_error({"locationId": "europe-west"}, {"locationId": "europe-west"}) is None


def test_iap_stays_enabled_without_its_settings() -> None:
    cloud = Project()
    iap = {"enabled": True, "oauth2ClientId": "1", "oauth2ClientSecret": "s"}
    inputs = {"locationId": "europe-west", "iap": iap}
    cloud.update(app_engine.APPLICATION, project.PROJECT, {}, inputs)
    changed = cloud.update(app_engine.APPLICATION, project.PROJECT, {}, {"locationId": "europe-west"})
    assert changed.inputs["iap"] == iap
    kept_fields = table()[app_engine.APPLICATION].retained
    assert list(changed_paths(inputs, {"locationId": "europe-west"}, kept_fields)) == []
    assert without(changed.inputs, changed.kind.write_only)["iap"] == {"enabled": True, "oauth2ClientId": "1"}


def test_first_service_other_than_default_is_rejected() -> None:
    cloud = Project(placeholder=False)
    with pytest.raises(CloudError, match="must be the 'default' service"):
        cloud.version()
    cloud.version(service="default")
    cloud.version()


def test_domain_must_be_the_deployers_and_is_mapped_once() -> None:
    cloud = Project()
    inputs = {"domainName": "mlflow.example.com", "sslSettings": {"sslManagementType": "AUTOMATIC"}}
    with pytest.raises(CloudError, match="not authorized to administer the domain"):
        cloud.create(domains.DOMAIN, "d", {**inputs, "domainName": "mlflow.notexample.com"})
    cloud.create(domains.DOMAIN, "d", inputs)
    with pytest.raises(CloudError, match="already mapped"):
        cloud.create(domains.DOMAIN, "d", inputs)


def test_dispatch_rule_needs_its_service() -> None:
    cloud = Project()
    inputs = {"dispatchRules": [{"domain": "mlflow.example.com", "path": "/*", "service": "mlflow"}]}
    with pytest.raises(CloudError):
        cloud.create(domains.DISPATCH, "r", inputs)
    version = cloud.version(deleteServiceOnDestroy=True)
    rules = cloud.create(domains.DISPATCH, "r", inputs)
    with pytest.raises(CloudError, match="in use by"):
        cloud.delete_resource(version)
    cloud.delete_resource(rules)
    cloud.delete_resource(version)


def test_version_needs_an_application() -> None:
    cloud = Cloud()
    cloud.apis |= {"appengine.googleapis.com", "appengineflex.googleapis.com", "compute.googleapis.com"}
    with pytest.raises(CloudError, match="Could not find Application"):
        cloud.create(app_engine.FLEXIBLE, "v", flexible())


def test_default_service_cannot_be_deleted() -> None:
    cloud = Project(placeholder=False)
    with pytest.raises(CloudError, match="default service"):
        cloud.delete_resource(cloud.version(service="default", deleteServiceOnDestroy=True))


def test_last_version_and_version_with_traffic_cannot_be_deleted() -> None:
    cloud = Project()
    first, second = cloud.version("one"), cloud.version("two", versionId="v2")
    with pytest.raises(CloudError, match="non-zero traffic"):
        cloud.delete_resource(first)
    cloud.delete_resource(second)
    with pytest.raises(CloudError, match="final version"):
        cloud.delete_resource(first)


def test_traffic_follows_the_split() -> None:
    cloud = Project()
    first, second = cloud.version("one"), cloud.version("two", versionId="v2")
    cloud.create(app_engine.SPLIT, "s", {"service": "mlflow", "split": {"allocations": {"v2": "1"}}})
    with pytest.raises(CloudError, match="non-zero traffic"):
        cloud.delete_resource(second)
    cloud.delete_resource(first)
    with pytest.raises(CloudError, match="is not there"):
        cloud.create(app_engine.SPLIT, "s", {"service": "mlflow", "split": {"allocations": {"v1": "1"}}})


def test_flexible_versions_cannot_migrate_traffic_gradually() -> None:
    cloud = Project()
    cloud.version()
    split = {"service": "mlflow", "migrateTraffic": True, "split": {"allocations": {"v1": "1"}}}
    with pytest.raises(CloudError, match="does not support App Engine Flexible"):
        cloud.create(app_engine.SPLIT, "s", split)


def test_deletion_of_a_service_deletes_newer_versions() -> None:
    cloud = Project()
    first = cloud.version("one", deleteServiceOnDestroy=True)
    cloud.version("two", versionId="v2")
    cloud.delete_resource(first)
    assert app_engine.services_of(cloud) == {"default"}


def test_version_with_noop_on_destroy_is_retained() -> None:
    cloud = Project(placeholder=False)
    version = cloud.version(service="default", noopOnDestroy=True)
    cloud.delete_resource(version)
    assert str(version) in cloud.left


def test_changed_service_leaves_the_old_version() -> None:
    cloud = Project()
    version = cloud.version()
    cloud.update(app_engine.FLEXIBLE, version.id, {}, flexible(service="runs"))
    assert "service mlflow" in cloud.left


@pytest.mark.parametrize(
    "inputs",
    [
        {"serviceAccount": "missing@my-project.iam.gserviceaccount.com"},
        {"betaSettings": {"cloud_sql_instances": "my-project:europe-west1:missing"}},
        {"network": {"name": "missing-network"}},
        {"deployment": {"container": {"image": f"{REGION}-docker.pkg.dev/my-project/images/mlflow@{DIGEST}"}}},
    ],
)
def test_version_with_a_missing_reference_is_rejected(inputs: dict[str, Any]) -> None:
    with pytest.raises(CloudError, match=r"does not exist|could not be found"):
        Project().version(**inputs)


def test_standard_version_needs_its_source_object() -> None:
    file = {"name": "main.py", "sourceUrl": "https://storage.googleapis.com/test-code/other.py"}
    with pytest.raises(CloudError, match="could not be read"):
        Project().standard(versionId="other", deployment={"files": [file]})


def test_version_needs_a_subnetwork_in_its_region_and_blocks_its_deletion() -> None:
    cloud = Project()
    vpc = cloud.create(network.NETWORK, "vpc", {"name": "vpc", "autoCreateSubnetworks": False})
    subnets = [
        cloud.create(
            network.SUBNETWORK,
            region,
            {"name": region, "network": vpc.id, "region": region, "ipCidrRange": f"10.{index}.0.0/20"},
        )
        for index, region in enumerate((REGION, "us-central1"))
    ]
    with pytest.raises(CloudError, match="set subnetwork"):
        cloud.version(network={"name": "vpc"})
    with pytest.raises(CloudError, match="not in App Engine's region europe-west1"):
        cloud.version(network={"name": "vpc", "subnetwork": "us-central1"})
    version = cloud.version(network={"name": "vpc", "subnetwork": REGION}, deleteServiceOnDestroy=True)
    for resource in (vpc, subnets[0]):
        with pytest.raises(CloudError, match="in use by"):
            cloud.delete_resource(resource)
    for resource in (version, *subnets, vpc):
        cloud.delete_resource(resource)
