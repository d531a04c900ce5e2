from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp
import pytest

from preview.console import Style
from preview.destroy import kept
from preview.recorder import record
from preview.report import report
from preview.stack_files import Stack

from .programs import PROJECT, application, database, page, version, vpc

Settings = gcp.sql.DatabaseInstanceSettingsArgs


def found(program: Callable[[], object]) -> list[tuple[bool, str]]:
    return [(one.stops, one.what) for one in kept(record(program))]


def bucket(days: int | None, **more: bool) -> gcp.storage.Bucket:
    policy = gcp.storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=None if days is None else days * 86_400)
    return gcp.storage.Bucket(
        "x", location="EU", soft_delete_policy=policy, force_destroy=more.get("force_destroy", True)
    )


def secret(*, protected: bool) -> gcp.secretmanager.Secret:
    return gcp.secretmanager.Secret(
        "x",
        project=PROJECT,
        secret_id="x",
        replication=gcp.secretmanager.SecretReplicationArgs(),
        deletion_protection=protected,
    )


def log() -> gcp.logging.ProjectBucketConfig:
    return gcp.logging.ProjectBucketConfig("x", project=PROJECT, location="europe-west1", bucket_id="own")


def connection(policy: str) -> gcp.servicenetworking.Connection:
    return gcp.servicenetworking.Connection(
        "x", network="n", service="s", reserved_peering_ranges=[], deletion_policy=policy
    )


STAYS: dict[str, tuple[Callable[[], object], list[tuple[bool, str]]]] = {
    "api": (lambda: gcp.projects.Service("x", service="iap"), [(False, "stay switched on")]),
    "application": (application, [(False, "stays: no project ever loses it")]),
    "page": (page, [(False, "stays: App Engine never lets go of the service default; it scales to zero")]),
    "service default": (
        lambda: version(service="default", noop_on_destroy=True),
        [(False, "stays: App Engine never lets go of the service default, and its machines go on")],
    ),
    "database": (
        lambda: database(settings=Settings(tier="x", deletion_protection_enabled=True)),
        [(True, "has deletion protection"), (True, "has Cloud SQL's deletion protection, too")],
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
        [(False, "leaves its backups"), (False, "leaves a last backup for 30 days")],
    ),
    "last backup": (
        lambda: database(
            settings=Settings(
                tier="x",
                final_backup_config=gcp.sql.DatabaseInstanceSettingsFinalBackupConfigArgs(enabled=True),
            ),
            deletion_protection=False,
        ),
        [(False, "leaves a last backup")],
    ),
    "name": (
        lambda: database(deletion_protection=False, called="a"),
        [(False, "leaves its name taken for a week")],
    ),
    "bucket": (
        lambda: bucket(0, force_destroy=False),
        [(True, "is not deleted while it holds objects")],
    ),
    "soft deletion": (lambda: bucket(30), [(False, "can be brought back, and costs, for 30 days")]),
    "soft deletion by itself": (lambda: bucket(None), [(False, "can be brought back, and costs, for 7 days")]),
    "secret": (lambda: secret(protected=True), [(True, "has deletion protection")]),
    "log": (lambda: log(), [(False, "can be brought back for 7 days")]),
    "connection": (lambda: connection("ABANDON"), [(False, "stays, since others may use it")]),
}
GOES: dict[str, Callable[[], object]] = {
    "api": lambda: gcp.projects.Service("x", service="iap", disable_on_destroy=True),
    "application of others": lambda: gcp.appengine.Application.get("x", PROJECT),
    "service": lambda: version(delete_service_on_destroy=True),
    "database": lambda: database(deletion_protection=False),
    "bucket": lambda: bucket(0),
    "secret": lambda: secret(protected=False),
    "connection": lambda: connection("REMOVE_PEERING"),
    "network": vpc,
}


@pytest.mark.parametrize(("program", "what"), STAYS.values(), ids=STAYS)
def test_what_stays_or_stops_is_named(program: Callable[[], object], what: list[tuple[bool, str]]) -> None:
    assert found(program) == what


@pytest.mark.parametrize("program", GOES.values(), ids=GOES)
def test_what_goes_is_not(program: Callable[[], object]) -> None:
    assert found(program) == []


def lines(stack: Stack, program: Callable[[], object]) -> list[str]:
    text = report(stack, record(program), Style(colours=False)).partition("pulumi destroy\n")[2]
    return [" ".join(line.split()) for line in text.splitlines()[1:]]


def test_apis_are_one_line(a_stack: Stack) -> None:
    def program() -> None:
        for name in ("iap", "storage", "sqladmin"):
            gcp.projects.Service(name, project=PROJECT, service=name)

    lift = "`gcloud services disable ... --project my-project`, if nobody else there needs them"
    assert lines(a_stack, program) == [f"keeps 3 APIs stay switched on {lift}"]


def test_what_can_be_lifted_is_apart_from_what_stays_anyway(a_stack: Stack) -> None:
    def program() -> None:
        protected = pulumi.ResourceOptions(protect=True)
        gcp.appengine.Application("app", project=PROJECT, location_id="europe-west", opts=protected)
        gcp.storage.Bucket("data", location="EU", opts=protected)

    lift = "set deletionProtection: false, then `pulumi up`"
    assert lines(a_stack, program) == [
        f"stops at app (gcp.appengine.Application) is protected {lift}",
        "keeps app (gcp.appengine.Application) stays: no project ever loses it delete the project",
        f"stops at data (gcp.storage.Bucket) is protected; is not deleted while it holds objects {lift}",
        "keeps data (gcp.storage.Bucket) can be brought back, and costs, for 7 days wait",
    ]


def test_what_goes_with_something_protected_is_not_named(a_stack: Stack) -> None:
    def program() -> None:
        made = database(opts=pulumi.ResourceOptions(protect=True))
        gcp.sql.User("user", instance=made.name, opts=pulumi.ResourceOptions(protect=True, deleted_with=made))

    (line,) = lines(a_stack, program)
    assert line.startswith("stops at data (gcp.sql.DatabaseInstance) is protected; has deletion protection set ")


def test_an_application_that_is_retained_is_named_once(a_stack: Stack) -> None:
    def program() -> None:
        options = pulumi.ResourceOptions(retain_on_delete=True)
        gcp.appengine.Application("app", project=PROJECT, location_id="europe-west", opts=options)

    assert lines(a_stack, program) == [
        "keeps app (gcp.appengine.Application) stays: no project ever loses it delete the project"
    ]
