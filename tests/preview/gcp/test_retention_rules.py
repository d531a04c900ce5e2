from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp
import pytest

from preview.console import Style
from preview.destroy import retentions
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack

from .programs import PROJECT, application, database, placeholder, version, vpc

Settings = gcp.sql.DatabaseInstanceSettingsArgs


def reported_retentions(program: Callable[[], object]) -> list[tuple[bool, str]]:
    return [(retention.blocks, retention.reason) for retention in retentions(record(program))]


def bucket(days: int | None, **options: bool) -> gcp.storage.Bucket:
    policy = gcp.storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=None if days is None else days * 86_400)
    return gcp.storage.Bucket(
        "x", location="EU", soft_delete_policy=policy, force_destroy=options.get("force_destroy", True)
    )


def secret(*, protected: bool) -> gcp.secretmanager.Secret:
    return gcp.secretmanager.Secret(
        "x",
        project=PROJECT,
        secret_id="x",
        replication=gcp.secretmanager.SecretReplicationArgs(),
        deletion_protection=protected,
    )


def log_bucket() -> gcp.logging.ProjectBucketConfig:
    return gcp.logging.ProjectBucketConfig("x", project=PROJECT, location="europe-west1", bucket_id="own")


def connection(policy: str) -> gcp.servicenetworking.Connection:
    return gcp.servicenetworking.Connection(
        "x", network="n", service="s", reserved_peering_ranges=[], deletion_policy=policy
    )


RETAINED: dict[str, tuple[Callable[[], object], list[tuple[bool, str]]]] = {
    "api": (lambda: gcp.projects.Service("x", service="iap"), [(False, "stay enabled")]),
    "application": (application, [(False, "stays: Google cannot delete an application")]),
    "placeholder": (placeholder, [(False, "stays: App Engine cannot delete the service default; it scales to zero")]),
    "service default": (
        lambda: version(service="default", noop_on_destroy=True),
        [(False, "stays: App Engine cannot delete the service default, and its instances keep running")],
    ),
    "database": (
        lambda: database(settings=Settings(tier="x", deletion_protection_enabled=True)),
        [(True, "has deletion protection"), (True, "has Cloud SQL's own deletion protection")],
    ),
    "backups": (
        lambda: database(
            settings=Settings(
                tier="x",
                retain_backups_on_delete=True,
                final_backup_config=gcp.sql.DatabaseInstanceSettingsFinalBackupConfigArgs(
                    enabled=True, retention_days=30
                ),
            ),
            deletion_protection=False,
        ),
        [(False, "leaves its backups"), (False, "leaves a final backup for 30 days")],
    ),
    "final backup": (
        lambda: database(
            settings=Settings(
                tier="x",
                final_backup_config=gcp.sql.DatabaseInstanceSettingsFinalBackupConfigArgs(enabled=True),
            ),
            deletion_protection=False,
        ),
        [(False, "leaves a final backup")],
    ),
    "configured name": (
        lambda: database(deletion_protection=False, instance_name="a"),
        [(False, "its name is reserved for a week")],
    ),
    "bucket": (
        lambda: bucket(0, force_destroy=False),
        [(True, "cannot be deleted while it contains objects")],
    ),
    "soft deletion": (lambda: bucket(30), [(False, "can be restored, and is billed, for 30 days")]),
    "default soft deletion": (lambda: bucket(None), [(False, "can be restored, and is billed, for 7 days")]),
    "secret": (lambda: secret(protected=True), [(True, "has deletion protection")]),
    "log bucket": (lambda: log_bucket(), [(False, "can be restored for 7 days")]),
    "connection": (lambda: connection("ABANDON"), [(False, "stays, because other resources may use it")]),
}
DELETED: dict[str, Callable[[], object]] = {
    "api": lambda: gcp.projects.Service("x", service="iap", disable_on_destroy=True),
    "existing application": lambda: gcp.appengine.Application.get("x", PROJECT),
    "service": lambda: version(delete_service_on_destroy=True),
    "database": lambda: database(deletion_protection=False),
    "bucket": lambda: bucket(0),
    "secret": lambda: secret(protected=False),
    "connection": lambda: connection("REMOVE_PEERING"),
    "network": vpc,
}


@pytest.mark.parametrize(("program", "expected"), RETAINED.values(), ids=RETAINED)
def test_retained_resource_is_reported(program: Callable[[], object], expected: list[tuple[bool, str]]) -> None:
    assert reported_retentions(program) == expected


@pytest.mark.parametrize("program", DELETED.values(), ids=DELETED)
def test_fully_deleted_resource_is_not_reported(program: Callable[[], object]) -> None:
    assert reported_retentions(program) == []


def destroy_lines(stack: Stack, program: Callable[[], object]) -> list[str]:
    text = report(stack, record(program), Style(colours=False)).partition("pulumi destroy\n")[2]
    return [" ".join(line.split()) for line in text.splitlines()[1:]]


def test_apis_share_one_line(empty_stack: Stack) -> None:
    def program() -> None:
        for name in ("iap", "storage", "sqladmin"):
            gcp.projects.Service(name, project=PROJECT, service=name)

    remedy = "`gcloud services disable ... --project my-project`, if nothing else uses them"
    assert destroy_lines(empty_stack, program) == [f"leaves 3 APIs stay enabled {remedy}"]


def test_failures_and_leftovers_of_a_resource_are_separate_lines(empty_stack: Stack) -> None:
    def program() -> None:
        protected = pulumi.ResourceOptions(protect=True)
        gcp.appengine.Application("app", project=PROJECT, location_id="europe-west", opts=protected)
        gcp.storage.Bucket("data", location="EU", opts=protected)

    remedy = "set deletionProtection: false, then run `pulumi up`"
    assert destroy_lines(empty_stack, program) == [
        f"fails at app (gcp.appengine.Application) is protected {remedy}",
        "leaves app (gcp.appengine.Application) stays: Google cannot delete an application delete the project",
        f"fails at data (gcp.storage.Bucket) is protected; cannot be deleted while it contains objects {remedy}",
        "leaves data (gcp.storage.Bucket) can be restored, and is billed, for 7 days wait",
    ]


def test_resource_deleted_with_a_protected_resource_is_not_listed(empty_stack: Stack) -> None:
    def program() -> None:
        instance = database(opts=pulumi.ResourceOptions(protect=True))
        gcp.sql.User("user", instance=instance.name, opts=pulumi.ResourceOptions(protect=True, deleted_with=instance))

    (line,) = destroy_lines(empty_stack, program)
    assert line.startswith("fails at data (gcp.sql.DatabaseInstance) is protected; has deletion protection set ")


def test_retained_application_is_listed_once(empty_stack: Stack) -> None:
    def program() -> None:
        options = pulumi.ResourceOptions(retain_on_delete=True)
        gcp.appengine.Application("app", project=PROJECT, location_id="europe-west", opts=options)

    assert destroy_lines(empty_stack, program) == [
        "leaves app (gcp.appengine.Application) stays: Google cannot delete an application delete the project"
    ]
