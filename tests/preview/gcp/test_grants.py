from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp

from preview.console import Style
from preview.gcp.bindings import Binding, bindings
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack

from .programs import PROJECT, account, lets_in, may, version


def one(program: Callable[[], object]) -> Binding:
    (found,) = bindings(record(program))
    return found


def test_what_is_given_in_the_project_is_about_all_of_it() -> None:
    found = one(lambda: may("x", "roles/logging.logWriter", "user:a@example.com"))
    assert (found.member, found.role, found.on) == (
        "user:a@example.com",
        "roles/logging.logWriter",
        "the whole project my-project",
    )
    assert found.wide


def test_what_is_given_on_a_resource_is_about_that() -> None:
    def program() -> None:
        bucket = gcp.storage.Bucket("bucket", location="EU")
        secret = gcp.secretmanager.Secret(
            "secret", project=PROJECT, secret_id="chosen", replication=gcp.secretmanager.SecretReplicationArgs()
        )
        images = gcp.artifactregistry.Repository(
            "images", project=PROJECT, location="europe-west1", repository_id="chosen", format="DOCKER"
        )
        who = account("who")
        gcp.storage.BucketIAMMember("a", bucket=bucket.name, role="r", member=who.member)
        gcp.secretmanager.SecretIamMember("b", project=PROJECT, secret_id=secret.secret_id, role="r", member=who.member)
        gcp.artifactregistry.RepositoryIamMember(
            "c", project=PROJECT, location="europe-west1", repository=images.repository_id, role="r", member=who.member
        )
        gcp.serviceaccount.IAMMember("d", service_account_id=who.name, role="r", member=who.member)
        version()
        lets_in("e", who.member)

    found = bindings(record(program))
    assert [each.resource.name for each in found if each.resource] == ["bucket", "secret", "images", "who", "mlflow"]
    assert not any(each.wide for each in found)


def test_what_others_have_is_called_as_they_do() -> None:
    def program() -> None:
        app = gcp.appengine.Application("app", project=PROJECT, location_id="europe-west")
        gcp.storage.BucketIAMMember("a", bucket=app.code_bucket, role="r", member="user:a@example.com")
        gcp.compute.SubnetworkIAMMember(
            "b", project=PROJECT, region="europe-west1", subnetwork="corp", role="r", member="user:a@example.com"
        )

    found = bindings(record(program))
    assert [(each.resource, each.on) for each in found] == [(None, f"staging.{PROJECT}.appspot.com"), (None, "corp")]


def test_a_condition_is_said_with_its_name() -> None:
    condition = gcp.projects.IAMMemberConditionArgs(title="office hours", expression="request.time.getHours() < 18")
    found = one(lambda: may("x", "roles/viewer", "user:a@example.com", condition=condition))
    assert found.condition == "office hours: request.time.getHours() < 18"


def test_the_report_is_by_member_with_own_accounts_first(a_stack: Stack) -> None:
    def program() -> None:
        may("before", "roles/owner", "user:a@example.com")
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
        for name, who, role in (
            ("itself", client.member, "roles/iam.serviceAccountTokenCreator"),
            ("server", server.member, "roles/iam.serviceAccountOpenIdTokenCreator"),
            ("looks", pulumi.Output.from_input("user:a@example.com"), "roles/iam.unheardOf"),
        ):
            gcp.serviceaccount.IAMMember(name, service_account_id=client.name, role=role, member=who)

    text = report(a_stack, record(program), Style(colours=False))
    shown = text.partition("\n\nIAM\n")[2].partition("\n\n")[0]
    assert shown.splitlines() == [
        "  server (gcp.serviceaccount.Account), for mlflow (gcp.appengine.FlexibleAppVersion)",
        "    may read, write and delete objects    on data (gcp.storage.Bucket)            storage.objectUser",
        "      if t: e",
        "    may get ID tokens as it               on client (gcp.serviceaccount.Account)  "
        "iam.serviceAccountOpenIdTokenCreator",
        "  client (gcp.serviceaccount.Account)",
        "    may be acted as by itself, server",
        "    may get tokens as it, and sign as it  on client (gcp.serviceaccount.Account)  "
        "iam.serviceAccountTokenCreator",
        "  user:a@example.com",
        "    may do everything                     on the whole project my-project         owner",
        "    may do what its role says             on client (gcp.serviceaccount.Account)  iam.unheardOf",
    ]


def test_what_reaches_far_is_coloured(a_stack: Stack) -> None:
    text = report(a_stack, record(lambda: may("x", "roles/owner", "allUsers")), Style(colours=True))
    for far in ("do everything", "the whole project my-project", "allUsers"):
        assert f"\x1b[33m{far}\x1b[0m" in text
