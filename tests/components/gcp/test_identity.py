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
ON_PROJECT = "gcp:projects/iAMMember:IAMMember"
ON_ACCOUNT = "gcp:serviceaccount/iAMMember:IAMMember"
ON_BUCKET = "gcp:storage/bucketIAMMember:BucketIAMMember"
ON_SECRET = "gcp:secretmanager/secretIamMember:SecretIamMember"
ON_REPOSITORY = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"
ON_SUBNETWORK = "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember"
DIGEST = f"sha256:{'0' * 64}"


def record_identity(
    *,
    private: bool = False,
    iam: bool = False,
    network: dict[str, Any] | None = None,
    location: str = "europe-west",
    image: str = "",
) -> tuple[Graph, str]:
    """(graph, the account's e-mail address)."""
    emails: list[str] = []

    def program() -> None:
        deployment = make_deployment()
        vpc = Network(deployment, NetworkSettings(**(network or {})), private_ip=private, location=location)
        identity = Identity(
            deployment,
            artifacts=Artifacts(deployment, ArtifactsSettings()),
            database=Database(deployment, DatabaseSettings(private_ip=private, iam_authentication=iam), network=vpc),
            image=Image(deployment, ImageSettings(image_uri=image or None)),
            network=vpc,
            number=NUMBER,
        )
        identity.email.apply(emails.append)

    return record(program), emails[0]


def roles_of(graph: Graph, email: str) -> dict[str, str]:
    """The type of each IAM member resource of an account, by role."""
    return {
        binding.inputs["role"]: binding.type
        for binding in iam_members(graph)
        if binding.inputs["member"] == f"serviceAccount:{email}"
    }


def iam_members(graph: Graph) -> list[Resource]:
    return [resource for resource in graph.resources if "member" in resource.inputs]


def test_mlflow_has_its_own_service_account() -> None:
    graph, email = record_identity()
    account = only(graph, ACCOUNT)
    assert account.inputs["project"] == PROJECT
    assert email == f"{account.inputs['accountId']}@{PROJECT}.iam.gserviceaccount.com"
    assert 6 <= len(account.inputs["accountId"]) <= 30


def test_service_account_has_required_roles_only() -> None:
    graph, email = record_identity()
    assert roles_of(graph, email) == {
        "roles/cloudsql.client": ON_PROJECT,
        "roles/logging.logWriter": ON_PROJECT,
        "roles/monitoring.metricWriter": ON_PROJECT,
        "roles/artifactregistry.reader": ON_REPOSITORY,
        "roles/storage.objectUser": ON_BUCKET,
        "roles/secretmanager.secretAccessor": ON_SECRET,
        "roles/iam.serviceAccountTokenCreator": ON_ACCOUNT,
    }
    assert len(iam_members(graph)) == 7


def test_iam_login_has_a_database_user_and_no_password() -> None:
    graph, email = record_identity(iam=True)
    roles = roles_of(graph, email)
    assert roles["roles/cloudsql.instanceUser"] == ON_PROJECT
    assert "roles/secretmanager.secretAccessor" not in roles
    inputs = only(graph, "gcp:sql/user:User").inputs
    assert (inputs["name"], inputs["type"]) == (email, "CLOUD_IAM_SERVICE_ACCOUNT")
    assert "password" not in inputs
    assert len(email.partition("@")[0]) <= 32


def test_roles_are_granted_on_the_created_resources() -> None:
    graph, _ = record_identity()
    assert only(graph, ON_ACCOUNT).inputs["serviceAccountId"] == only(graph, ACCOUNT).outputs["name"]
    assert only(graph, ON_BUCKET).inputs["bucket"] == only(graph, "gcp:storage/bucket:Bucket").outputs["name"]
    secret = only(graph, "gcp:secretmanager/secret:Secret")
    assert only(graph, ON_SECRET).inputs["secretId"] == secret.inputs["secretId"]
    repository = only(graph, "gcp:artifactregistry/repository:Repository").inputs
    inputs = only(graph, ON_REPOSITORY).inputs
    assert (inputs["location"], inputs["repository"]) == (repository["location"], repository["repositoryId"])


def test_existing_image_in_the_project_has_a_reader_role_on_its_repository() -> None:
    graph, _ = record_identity(image=f"us-docker.pkg.dev/{PROJECT}/images/mlflow@{DIGEST}")
    inputs = only(graph, ON_REPOSITORY).inputs
    assert (inputs["project"], inputs["location"], inputs["repository"]) == (PROJECT, "us", "images")


def test_image_in_another_project_has_no_reader_role() -> None:
    graph, _ = record_identity(image=f"us-docker.pkg.dev/other-project/images/mlflow@{DIGEST}")
    assert not graph.of(ON_REPOSITORY)


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
    graph, _ = record_identity(private=True, network=network, location=location)
    inputs = only(graph, ON_SUBNETWORK).inputs
    assert inputs["member"] == f"serviceAccount:service-{NUMBER}@gae-api-prod.google.com.iam.gserviceaccount.com"
    assert (inputs["role"], inputs["region"], inputs["subnetwork"]) == ("roles/compute.networkUser", region, subnetwork)


@pytest.mark.parametrize("network", [{}, {"vpc_name": "shared"}])
def test_service_agent_gets_no_role_without_subnetwork(network: dict[str, Any]) -> None:
    assert not record_identity(network=network)[0].of(ON_SUBNETWORK)


def test_only_the_account_and_the_agent_get_roles() -> None:
    graph, email = record_identity(private=True)
    agent = f"serviceAccount:service-{NUMBER}@gae-api-prod.google.com.iam.gserviceaccount.com"
    assert {binding.inputs["member"] for binding in iam_members(graph)} == {f"serviceAccount:{email}", agent}


def test_iam_members_name_the_project() -> None:
    graph, _ = record_identity(private=True)
    # Bucket names are global, and an account's name has its project.
    without = {binding.type for binding in iam_members(graph) if binding.inputs.get("project") != PROJECT}
    assert without == {ON_BUCKET, ON_ACCOUNT}
