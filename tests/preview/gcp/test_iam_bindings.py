from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp

from preview.console import Style
from preview.gcp.iam_bindings import Binding, bindings
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack

from .programs import PROJECT, account, grant, grant_iap_access, version


def only_binding(program: Callable[[], object]) -> Binding:
    (binding,) = bindings(record(program))
    return binding


def test_project_binding_is_project_wide() -> None:
    binding = only_binding(lambda: grant("x", "roles/logging.logWriter", "user:a@example.com"))
    assert (binding.member, binding.role, binding.target) == (
        "user:a@example.com",
        "roles/logging.logWriter",
        "project my-project",
    )
    assert binding.project_wide


def test_binding_names_the_resource_of_the_stack() -> None:
    def program() -> None:
        bucket = gcp.storage.Bucket("bucket", location="EU")
        secret = gcp.secretmanager.Secret(
            "secret", project=PROJECT, secret_id="chosen", replication=gcp.secretmanager.SecretReplicationArgs()
        )
        images = gcp.artifactregistry.Repository(
            "images", project=PROJECT, location="europe-west1", repository_id="chosen", format="DOCKER"
        )
        trainer = account("trainer")
        gcp.storage.BucketIAMMember("a", bucket=bucket.name, role="r", member=trainer.member)
        gcp.secretmanager.SecretIamMember(
            "b", project=PROJECT, secret_id=secret.secret_id, role="r", member=trainer.member
        )
        gcp.artifactregistry.RepositoryIamMember(
            "c",
            project=PROJECT,
            location="europe-west1",
            repository=images.repository_id,
            role="r",
            member=trainer.member,
        )
        gcp.serviceaccount.IAMMember("d", service_account_id=trainer.name, role="r", member=trainer.member)
        version()
        grant_iap_access("e", trainer.member)

    found = bindings(record(program))
    assert [binding.resource.name for binding in found if binding.resource] == [
        "bucket",
        "secret",
        "images",
        "trainer",
        "mlflow",
    ]
    assert not any(binding.project_wide for binding in found)


def test_binding_on_a_resource_outside_the_stack_has_its_name() -> None:
    def program() -> None:
        app = gcp.appengine.Application("app", project=PROJECT, location_id="europe-west")
        gcp.storage.BucketIAMMember("a", bucket=app.code_bucket, role="r", member="user:a@example.com")
        gcp.compute.SubnetworkIAMMember(
            "b", project=PROJECT, region="europe-west1", subnetwork="corp", role="r", member="user:a@example.com"
        )

    found = bindings(record(program))
    assert [(binding.resource, binding.target) for binding in found] == [
        (None, f"staging.{PROJECT}.appspot.com"),
        (None, "corp"),
    ]


def test_condition_is_shown_with_its_title() -> None:
    condition = gcp.projects.IAMMemberConditionArgs(title="office hours", expression="request.time.getHours() < 18")
    binding = only_binding(lambda: grant("x", "roles/viewer", "user:a@example.com", condition=condition))
    assert binding.condition == "office hours: request.time.getHours() < 18"


def test_report_lists_own_service_accounts_first(empty_stack: Stack) -> None:
    def program() -> None:
        grant("before", "roles/owner", "user:a@example.com")
        server, client = account("server"), account("client")
        version(service_account=server.email)
        bucket = gcp.storage.Bucket("data", location="EU")
        gcp.storage.BucketIAMMember(
            "objects",
            bucket=bucket.name,
            role="roles/storage.objectUser",
            member=server.member,
            condition=gcp.storage.BucketIAMMemberConditionArgs(title="t", expression="e"),
        )
        for name, member, role in (
            ("itself", client.member, "roles/iam.serviceAccountTokenCreator"),
            ("server", server.member, "roles/iam.serviceAccountOpenIdTokenCreator"),
            ("user", pulumi.Output.from_input("user:a@example.com"), "roles/iam.unknownRole"),
        ):
            gcp.serviceaccount.IAMMember(name, service_account_id=client.name, role=role, member=member)

    text = report(empty_stack, record(program), Style(colours=False))
    section = text.partition("\n\nIAM bindings\n")[2].partition("\n\n")[0]
    assert [" ".join(line.split()) for line in section.splitlines()] == [
        "server (gcp.serviceaccount.Account), used by mlflow (gcp.appengine.FlexibleAppVersion)",
        "can read, write and delete objects on data (gcp.storage.Bucket) storage.objectUser",
        "if t: e",
        "can create ID tokens for it on client (gcp.serviceaccount.Account) iam.serviceAccountOpenIdTokenCreator",
        "client (gcp.serviceaccount.Account)",
        "impersonated by itself, server",
        "can create tokens and signatures for it on client (gcp.serviceaccount.Account) iam.serviceAccountTokenCreator",
        "user:a@example.com",
        "can do everything on project my-project owner",
        "can do what the role allows on client (gcp.serviceaccount.Account) iam.unknownRole",
    ]
    assert len({line.index("  on ") for line in section.splitlines() if "  on " in line}) == 1, (
        "columns are not aligned"
    )


def test_public_members_and_basic_roles_are_highlighted(empty_stack: Stack) -> None:
    text = report(empty_stack, record(lambda: grant("x", "roles/owner", "allUsers")), Style(colours=True))
    for text_part in ("do everything", "project my-project", "allUsers"):
        assert f"\x1b[33m{text_part}\x1b[0m" in text
