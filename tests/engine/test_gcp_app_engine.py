"""The double of App Engine refuses what App Engine and its provider refuse."""

from typing import Any

import pytest

from tests.doubles.provider.changes import changed_paths, table
from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kind import RefusedError
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.gcp import (
    app_engine,
    network,
    project,
)
from tests.doubles.provider.paths import without
from tests.engine.google import DIGEST, REGION, Project, flexible


def test_a_project_has_one_application_for_good() -> None:
    cloud = Project()
    cloud.gone(cloud.application)
    assert f"Application {project.PROJECT}" in cloud.left
    with pytest.raises(RefusedError, match="409: This application already exists and cannot be re-created"):
        cloud.create(app_engine.APPLICATION, "app", {"locationId": "us-central"})


def test_an_application_stays_where_it_is() -> None:
    stuck = KINDS[app_engine.APPLICATION].stuck
    assert stuck({"locationId": "europe-west"}, {"locationId": "us-central"})
    assert stuck({"locationId": "europe-west"}, {"locationId": "europe-west"}) is None


def test_without_its_block_the_proxy_stays_on() -> None:
    cloud = Project()
    proxy = {"enabled": True, "oauth2ClientId": "1", "oauth2ClientSecret": "s"}
    inputs = {"locationId": "europe-west", "iap": proxy}
    cloud.update(app_engine.APPLICATION, project.PROJECT, {}, inputs)
    changed = cloud.update(app_engine.APPLICATION, project.PROJECT, {}, {"locationId": "europe-west"})
    assert changed.inputs["iap"] == proxy
    kept = table()[app_engine.APPLICATION].kept
    assert list(changed_paths(inputs, {"locationId": "europe-west"}, kept)) == []
    assert without(changed.inputs, changed.kind.untold)["iap"] == {"enabled": True, "oauth2ClientId": "1"}


def test_the_first_service_is_default() -> None:
    cloud = Project(page=False)
    with pytest.raises(RefusedError, match="must be the 'default' service"):
        cloud.version()
    cloud.version(service="default")
    cloud.version()


def test_without_an_application_there_is_no_version() -> None:
    cloud = Cloud()
    cloud.apis |= {"appengine.googleapis.com", "appengineflex.googleapis.com", "compute.googleapis.com"}
    with pytest.raises(RefusedError, match="Could not find Application"):
        cloud.create(app_engine.FLEXIBLE, "v", flexible())


def test_the_service_default_is_not_deleted() -> None:
    cloud = Project(page=False)
    with pytest.raises(RefusedError, match="default service"):
        cloud.gone(cloud.version(service="default", deleteServiceOnDestroy=True))


def test_the_last_version_and_one_with_traffic_go_with_their_service_only() -> None:
    cloud = Project()
    first, second = cloud.version("one"), cloud.version("two", versionId="v2")
    with pytest.raises(RefusedError, match="non-zero traffic"):
        cloud.gone(first)
    cloud.gone(second)
    with pytest.raises(RefusedError, match="final version"):
        cloud.gone(first)


def test_traffic_goes_where_it_is_split_to() -> None:
    cloud = Project()
    first, second = cloud.version("one"), cloud.version("two", versionId="v2")
    cloud.create(app_engine.SPLIT, "s", {"service": "mlflow", "split": {"allocations": {"v2": "1"}}})
    with pytest.raises(RefusedError, match="non-zero traffic"):
        cloud.gone(second)
    cloud.gone(first)
    with pytest.raises(RefusedError, match="is not there"):
        cloud.create(app_engine.SPLIT, "s", {"service": "mlflow", "split": {"allocations": {"v1": "1"}}})


def test_traffic_of_flexible_versions_does_not_move_slowly() -> None:
    cloud = Project()
    cloud.version()
    split = {"service": "mlflow", "migrateTraffic": True, "split": {"allocations": {"v1": "1"}}}
    with pytest.raises(RefusedError, match="does not support App Engine Flexible"):
        cloud.create(app_engine.SPLIT, "s", split)


def test_a_deleted_service_takes_newer_versions_along() -> None:
    cloud = Project()
    first = cloud.version("one", deleteServiceOnDestroy=True)
    cloud.version("two", versionId="v2")
    cloud.gone(first)
    assert app_engine.services_of(cloud) == {"default"}


def test_a_version_that_is_only_forgotten_stays() -> None:
    cloud = Project(page=False)
    made = cloud.version(service="default", noopOnDestroy=True)
    cloud.gone(made)
    assert str(made) in cloud.left


def test_a_version_in_another_service_leaves_the_old_one_behind() -> None:
    cloud = Project()
    made = cloud.version()
    cloud.update(app_engine.FLEXIBLE, made.id, {}, flexible(service="runs"))
    assert "service mlflow" in cloud.left


@pytest.mark.parametrize(
    "more",
    [
        {"serviceAccount": "nobody@my-project.iam.gserviceaccount.com"},
        {"betaSettings": {"cloud_sql_instances": "my-project:europe-west1:nothing"}},
        {"network": {"name": "no-such-network"}},
        {"deployment": {"container": {"image": f"{REGION}-docker.pkg.dev/my-project/images/mlflow@{DIGEST}"}}},
    ],
)
def test_what_a_version_names_has_to_be_there(more: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=r"does not exist|could not be found"):
        Project().version(**more)


def test_the_code_of_a_page_has_to_be_in_its_bucket() -> None:
    file = {"name": "main.py", "sourceUrl": "https://storage.googleapis.com/some-code/other.py"}
    with pytest.raises(RefusedError, match="could not be read"):
        Project().standard(versionId="other", deployment={"files": [file]})


def test_a_version_is_in_a_subnetwork_of_its_region_and_holds_it() -> None:
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
    with pytest.raises(RefusedError, match="name one"):
        cloud.version(network={"name": "vpc"})
    with pytest.raises(RefusedError, match="where App Engine is"):
        cloud.version(network={"name": "vpc", "subnetwork": "us-central1"})
    made = cloud.version(network={"name": "vpc", "subnetwork": REGION}, deleteServiceOnDestroy=True)
    for one in (vpc, subnets[0]):
        with pytest.raises(RefusedError, match="in use by"):
            cloud.gone(one)
    for one in (made, *subnets, vpc):
        cloud.gone(one)
