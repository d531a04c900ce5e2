"""MLflow's service account and its roles."""

from typing import Any

import pytest

from components.gcp.artifacts import Artifacts
from components.gcp.data_settings import ArtifactsSettings, DatabaseSettings, NetworkSettings
from components.gcp.database import Database
from components.gcp.identity import Identity
from components.gcp.image import Image
from components.gcp.network import Network
from components.gcp.settings import ImageSettings
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
    """(graph, the account's e-mail address)."""
    found: list[str] = []

    def program() -> None:
        place = make_deployment()
        vpc = Network(place, NetworkSettings(**(network or {})), private_ip=private, location=location)
        box = Identity(
            place,
            artifacts=Artifacts(place, ArtifactsSettings()),
            database=Database(place, DatabaseSettings(private_ip=private), network=vpc),
            image=Image(place, ImageSettings(image_uri=image or None)),
            network=vpc,
            number=NUMBER,
        )
        box.email.apply(found.append)

    return record(program), found[0]


def rights(graph: Graph, email: str) -> dict[str, str]:
    """The type of each IAM member resource of an account, by role."""
    return {one.inputs["role"]: one.type for one in _rights(graph) if one.inputs["member"] == f"serviceAccount:{email}"}


def _rights(graph: Graph) -> list[Resource]:
    return [one for one in graph.resources if "member" in one.inputs]


def test_mlflow_has_its_own_service_account() -> None:
    graph, email = recorded()
    account = only(graph, ACCOUNT)
    assert account.inputs["project"] == PROJECT
    assert email == f"{account.inputs['accountId']}@{PROJECT}.iam.gserviceaccount.com"
    assert 6 <= len(account.inputs["accountId"]) <= 30


def test_service_account_has_required_roles_only() -> None:
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


def test_roles_are_granted_on_the_created_resources() -> None:
    graph, _ = recorded()
    assert only(graph, OF_BUCKET).inputs["bucket"] == only(graph, "gcp:storage/bucket:Bucket").outputs["name"]
    secret = only(graph, "gcp:secretmanager/secret:Secret")
    assert only(graph, OF_SECRET).inputs["secretId"] == secret.inputs["secretId"]
    repository = only(graph, "gcp:artifactregistry/repository:Repository").inputs
    inputs = only(graph, OF_REPOSITORY).inputs
    assert (inputs["location"], inputs["repository"]) == (repository["location"], repository["repositoryId"])


def test_private_database_needs_no_cloud_sql_role() -> None:
    graph, email = recorded(private=True)
    assert "roles/cloudsql.client" not in rights(graph, email)


def test_existing_image_in_the_project_gets_a_reader_role() -> None:
    graph, _ = recorded(image=f"us-docker.pkg.dev/{PROJECT}/images/mlflow@{DIGEST}")
    inputs = only(graph, OF_REPOSITORY).inputs
    assert (inputs["project"], inputs["location"], inputs["repository"]) == (PROJECT, "us", "images")


def test_image_in_another_project_gets_no_role() -> None:
    graph, _ = recorded(image=f"us-docker.pkg.dev/other-project/images/mlflow@{DIGEST}")
    assert not graph.of(OF_REPOSITORY)


@pytest.mark.parametrize(
    ("network", "location", "region", "subnetwork"),
    [
        ({}, "europe-west", REGION, "mlflow-network"),
        ({"vpc_name": "shared", "subnetwork": "apps"}, "us-central", "us-central1", "apps"),
    ],
)
def test_service_agent_gets_network_user_on_the_subnetwork(
    network: dict[str, Any], location: str, region: str, subnetwork: str
) -> None:
    graph, _ = recorded(private=True, network=network, location=location)
    inputs = only(graph, OF_SUBNETWORK).inputs
    assert inputs["member"] == f"serviceAccount:service-{NUMBER}@gae-api-prod.google.com.iam.gserviceaccount.com"
    assert (inputs["role"], inputs["region"], inputs["subnetwork"]) == ("roles/compute.networkUser", region, subnetwork)


@pytest.mark.parametrize("network", [{}, {"vpc_name": "shared"}])
def test_service_agent_gets_no_role_without_subnetwork(network: dict[str, Any]) -> None:
    assert not recorded(network=network)[0].of(OF_SUBNETWORK)


def test_only_the_account_and_the_agent_get_roles() -> None:
    graph, email = recorded(private=True)
    agent = f"serviceAccount:service-{NUMBER}@gae-api-prod.google.com.iam.gserviceaccount.com"
    assert {one.inputs["member"] for one in _rights(graph)} == {f"serviceAccount:{email}", agent}


def test_iam_members_name_the_project() -> None:
    graph, _ = recorded(private=True)
    # Bucket names are global.
    assert {one.type for one in _rights(graph) if one.inputs.get("project") != PROJECT} == {OF_BUCKET}
