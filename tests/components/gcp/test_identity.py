"""Who MLflow is: what it may is on the resource, and for the project only what takes no rights of its own."""

from typing import Any

import pytest

from components.gcp.args import ImageArgs
from components.gcp.artifacts import Artifacts
from components.gcp.data_args import ArtifactsArgs, DatabaseArgs, NetworkArgs
from components.gcp.database import Database
from components.gcp.identity import Identity
from components.gcp.image import Image
from components.gcp.network import Network
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import NUMBER, PROJECT, REGION, make_deployment, only

ACCOUNT = "gcp:serviceaccount/account:Account"
OF_PROJECT = "gcp:projects/iAMMember:IAMMember"
OF_BUCKET = "gcp:storage/bucketIAMMember:BucketIAMMember"
OF_SECRET = "gcp:secretmanager/secretIamMember:SecretIamMember"
OF_REPOSITORY = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"
OF_SUBNETWORK = "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember"
DIGEST = f"sha256:{'0' * 64}"


def recorded(
    *, private: bool = False, network: dict[str, Any] | None = None, location: str = "europe-west", image: str = ""
) -> tuple[Graph, str]:
    """(graph, the account's address)."""
    found: list[str] = []

    def program() -> None:
        place = make_deployment()
        vpc = Network(place, NetworkArgs(**(network or {})), private_ip=private, location=location)
        box = Identity(
            place,
            artifacts=Artifacts(place, ArtifactsArgs()),
            database=Database(place, DatabaseArgs(private_ip=private), network=vpc),
            image=Image(place, ImageArgs(image_uri=image or None)),
            network=vpc,
            number=NUMBER,
        )
        box.email.apply(found.append)

    return record(program), found[0]


def rights(graph: Graph, email: str) -> dict[str, str]:
    """Role and type of every right of an account."""
    return {one.inputs["role"]: one.type for one in _rights(graph) if one.inputs["member"] == f"serviceAccount:{email}"}


def _rights(graph: Graph) -> list[Resource]:
    return [one for one in graph.resources if "member" in one.inputs]


def test_mlflow_has_an_account_of_its_own() -> None:
    graph, email = recorded()
    account = only(graph, ACCOUNT)
    assert account.inputs["project"] == PROJECT
    assert email == f"{account.inputs['accountId']}@{PROJECT}.iam.gserviceaccount.com"
    assert 6 <= len(account.inputs["accountId"]) <= 30


def test_it_may_what_instances_need_and_nothing_else() -> None:
    graph, email = recorded()
    assert rights(graph, email) == {
        "roles/cloudsql.client": OF_PROJECT,
        "roles/logging.logWriter": OF_PROJECT,
        "roles/monitoring.metricWriter": OF_PROJECT,
        "roles/artifactregistry.reader": OF_REPOSITORY,
        "roles/storage.objectUser": OF_BUCKET,
        "roles/secretmanager.secretAccessor": OF_SECRET,
    }
    assert len(_rights(graph)) == 6


def test_rights_are_on_what_was_made() -> None:
    graph, _ = recorded()
    assert only(graph, OF_BUCKET).inputs["bucket"] == only(graph, "gcp:storage/bucket:Bucket").outputs["name"]
    secret = only(graph, "gcp:secretmanager/secret:Secret")
    assert only(graph, OF_SECRET).inputs["secretId"] == secret.inputs["secretId"]
    repository = only(graph, "gcp:artifactregistry/repository:Repository").inputs
    inputs = only(graph, OF_REPOSITORY).inputs
    assert (inputs["location"], inputs["repository"]) == (repository["location"], repository["repositoryId"])


def test_a_private_database_is_reached_without_cloud_sqls_api() -> None:
    graph, email = recorded(private=True)
    assert "roles/cloudsql.client" not in rights(graph, email)


def test_it_pulls_an_existing_image_of_this_project() -> None:
    graph, _ = recorded(image=f"us-docker.pkg.dev/{PROJECT}/images/mlflow@{DIGEST}")
    inputs = only(graph, OF_REPOSITORY).inputs
    assert (inputs["project"], inputs["location"], inputs["repository"]) == (PROJECT, "us", "images")


def test_it_gets_no_rights_in_other_projects() -> None:
    graph, _ = recorded(image=f"us-docker.pkg.dev/other-project/images/mlflow@{DIGEST}")
    assert not graph.of(OF_REPOSITORY)


@pytest.mark.parametrize(
    ("network", "location", "region", "subnetwork"),
    [
        ({}, "europe-west", REGION, "mlflow-network"),
        ({"vpc_name": "shared", "subnetwork": "apps"}, "us-central", "us-central1", "apps"),
    ],
)
def test_app_engines_agent_puts_instances_into_the_subnetwork(
    network: dict[str, Any], location: str, region: str, subnetwork: str
) -> None:
    graph, _ = recorded(private=True, network=network, location=location)
    inputs = only(graph, OF_SUBNETWORK).inputs
    assert inputs["member"] == f"serviceAccount:service-{NUMBER}@gae-api-prod.google.com.iam.gserviceaccount.com"
    assert (inputs["role"], inputs["region"], inputs["subnetwork"]) == ("roles/compute.networkUser", region, subnetwork)


@pytest.mark.parametrize("network", [{}, {"vpc_name": "shared"}])
def test_where_there_is_no_subnetwork_to_name_the_agent_gets_nothing(network: dict[str, Any]) -> None:
    assert not recorded(network=network)[0].of(OF_SUBNETWORK)


def test_nobody_else_gets_rights() -> None:
    graph, email = recorded(private=True)
    agent = f"serviceAccount:service-{NUMBER}@gae-api-prod.google.com.iam.gserviceaccount.com"
    assert {one.inputs["member"] for one in _rights(graph)} == {f"serviceAccount:{email}", agent}


def test_rights_name_the_project() -> None:
    graph, _ = recorded(private=True)
    # A bucket's name needs none.
    assert {one.type for one in _rights(graph) if one.inputs.get("project") != PROJECT} == {OF_BUCKET}
