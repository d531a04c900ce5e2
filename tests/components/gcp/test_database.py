"""The Cloud SQL instance, its database, user and password."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.gcp.data_settings import DatabaseSettings, NetworkSettings
from components.gcp.database import Database
from components.gcp.network import Network
from components.gcp.password import Password
from components.validation import validate_args
from mlflow_app import tls
from mlflow_app.settings import Settings
from preview.graph import SECRET, Graph, texts
from preview.mock_outputs import RESOURCES
from preview.recorder import record

from .helpers import PROJECT, REGION, make_deployment, only

INSTANCE = "gcp:sql/databaseInstance:DatabaseInstance"
DATABASE = "gcp:sql/database:Database"
USER = "gcp:sql/user:User"
MADE = "random:index/randomPassword:RandomPassword"
KEPT = "gcp:secretmanager/secret:Secret"
VERSION = "gcp:secretmanager/secretVersion:SecretVersion"


def recorded(
    *, deletion_protection: bool = False, environment: str = "development", vpc: str | None = None, **given: Any
) -> tuple[Graph, dict[str, Any]]:
    """(graph, the component's outputs)."""
    seen: dict[str, Any] = {}

    def program() -> None:
        args = validate_args(DatabaseSettings, given, "database", production=environment == "production")
        place = make_deployment(deletion_protection=deletion_protection)
        network = Network(place, NetworkSettings(vpc_name=vpc), private_ip=args.private_ip, location="europe-west")
        box = Database(place, args, network=network)
        outputs = {name: value for name, value in vars(box).items() if not name.startswith("_")}
        pulumi.Output.all(**outputs).apply(seen.update)

    return record(program), seen


def settings(**given: Any) -> dict[str, Any]:
    return only(recorded(**given)[0], INSTANCE).inputs["settings"]


def test_backups_and_point_in_time_recovery() -> None:
    found = settings(transaction_log_retention_days=5, backup_count=20)["backupConfiguration"]
    assert (found["enabled"], found["binaryLogEnabled"], found["transactionLogRetentionDays"]) == (True, True, 5)
    assert found["backupRetentionSettings"] == {"retainedBackups": 20, "retentionUnit": "COUNT"}


def test_maintenance_window() -> None:
    found = settings(maintenance_day=6, maintenance_hour=22)["maintenanceWindow"]
    assert (found["day"], found["hour"]) == (6, 22)


def test_disk_grows_automatically_and_size_is_ignored() -> None:
    graph, _ = recorded(disk_gb=20)
    instance = only(graph, INSTANCE)
    assert instance.inputs["settings"]["diskAutoresize"] is True
    assert instance.inputs["settings"]["diskSize"] == 20
    assert "settings.diskSize" in instance.ignore_changes


@pytest.mark.parametrize("protected", [True, False])
def test_deletion_protection_covers_the_data(protected: bool) -> None:
    graph, _ = recorded(deletion_protection=protected)
    instance = only(graph, INSTANCE)
    assert instance.inputs["deletionProtection"] is protected
    assert instance.inputs["settings"]["deletionProtectionEnabled"] is protected
    assert only(graph, KEPT).inputs["deletionProtection"] is protected
    # The data, and the user that reads it.
    assert {one.type for one in graph.resources if one.protect} == (
        {INSTANCE, DATABASE, USER, KEPT} if protected else set()
    )


def test_password_is_replaceable_with_deletion_protection() -> None:
    graph, _ = recorded(deletion_protection=True)
    # The engine does not replace protected resources.
    assert not only(graph, MADE).protect
    assert not only(graph, VERSION).protect


def test_protected_user_depends_on_the_password() -> None:
    graph, _ = recorded(deletion_protection=True)
    # A destroy deletes dependents first: the protected user stops it before the password is deleted.
    assert only(graph, VERSION).urn in only(graph, USER).dependencies


def test_final_backup_in_production_only() -> None:
    found = settings(environment="production")
    assert found["finalBackupConfig"] == {"enabled": True, "retentionDays": 30}
    assert found["retainBackupsOnDelete"] is True
    found = settings()
    assert "finalBackupConfig" not in found
    assert found["retainBackupsOnDelete"] is False


def test_final_backup_does_not_need_deletion_protection() -> None:
    # Deletion protection is removed before a destroy.
    assert settings(environment="production", deletion_protection=False)["finalBackupConfig"]["enabled"] is True


def test_retained_resources_are_listed() -> None:
    assert recorded()[1]["retained_on_destroy"] == []
    kept = recorded(final_backup_days=90, instance_name="acme-mlflow")[1]["retained_on_destroy"]
    assert "90 days" in kept[0]
    assert "acme-mlflow" in kept[1]


def test_name_is_generated_or_configured() -> None:
    # Pulumi adds a random suffix: Cloud SQL reserves a name for a week.
    assert "name" not in only(recorded()[0], INSTANCE).inputs
    assert only(recorded(instance_name="acme-mlflow")[0], INSTANCE).inputs["name"] == "acme-mlflow"


@pytest.mark.parametrize(
    ("tier", "edition"),
    [
        ("db-g1-small", "ENTERPRISE"),
        ("db-custom-2-7680", "ENTERPRISE"),
        ("db-perf-optimized-N-2", "ENTERPRISE_PLUS"),
    ],
)
def test_edition_matches_the_tier(tier: str, edition: str) -> None:
    found = settings(tier=tier)
    assert (found["tier"], found["edition"]) == (tier, edition)


def test_availability_follows_the_setting() -> None:
    assert settings()["availabilityType"] == "ZONAL"
    assert settings(environment="production")["availabilityType"] == "REGIONAL"


def test_no_network_is_authorized_and_tls_is_required() -> None:
    found = settings()["ipConfiguration"]
    assert (found["ipv4Enabled"], found["authorizedNetworks"], found["sslMode"]) == (True, [], "ENCRYPTED_ONLY")
    assert "privateNetwork" not in found
    assert found["serverCaMode"] == "GOOGLE_MANAGED_INTERNAL_CA"


def test_public_instance_is_reached_over_the_socket() -> None:
    graph, seen = recorded()
    assert seen["connection_name"] == f"{PROJECT}:{REGION}:mlflow-database"
    assert (seen["private_address"], seen["server_ca"]) == (None, None)
    assert not graph.calls


def test_private_instance_has_no_public_address() -> None:
    graph, seen = recorded(private_ip=True)
    found = only(graph, INSTANCE).inputs["settings"]["ipConfiguration"]
    assert (found["ipv4Enabled"], found["authorizedNetworks"], found["sslMode"]) == (False, [], "ENCRYPTED_ONLY")
    assert found["privateNetwork"] == only(graph, "gcp:compute/network:Network").id
    assert seen["private_address"] == only(graph, INSTANCE).outputs["privateIpAddress"]


@pytest.mark.parametrize("vpc", [None, "shared"])
def test_private_instance_depends_on_the_connection(vpc: str | None) -> None:
    graph, _ = recorded(private_ip=True, vpc=vpc)
    connection = only(graph, "gcp:servicenetworking/connection:Connection")
    assert connection.urn in only(graph, INSTANCE).dependencies


def test_server_ca_has_current_and_next_certificates() -> None:
    graph, seen = recorded(private_ip=True)
    (call,) = graph.calls
    assert call.args == {"instance": only(graph, INSTANCE).outputs["name"], "project": PROJECT}
    ca = seen["server_ca"]
    assert [ca.count(part) for part in ("BEGIN CERTIFICATE", "\nnow\n", "\nnext\n")] == [2, 1, 1]


def test_image_accepts_the_server_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(tls, "create_ssl_context", read.append)
    _, seen = recorded(private_ip=True)
    Settings.from_env(_environment(seen, {"MLFLOW_APP_DATABASE_CA_PEM": seen["server_ca"]}))
    assert read == [seen["server_ca"].strip()]


def test_image_accepts_the_secret_name() -> None:
    _, seen = recorded()
    found = Settings.from_env(_environment(seen, {}))
    assert found.database_password_secret == f"{seen['password_secret']}/versions/latest"


def _environment(seen: Mapping[str, Any], further: Mapping[str, str]) -> dict[str, str]:
    return {
        "MLFLOW_APP_DATABASE_ADDRESS": "10.99.0.3:3306",
        "MLFLOW_APP_DATABASE_PASSWORD_SECRET": seen["password_secret"],
        "MLFLOW_APP_ARTIFACTS_DESTINATION": "gs://artifacts",
        **further,
    }


def test_database_uses_utf8mb4() -> None:
    graph, seen = recorded(name="runs")
    database = only(graph, DATABASE)
    assert database.inputs["name"] == seen["database_name"] == "runs"
    assert database.inputs["charset"] == "utf8mb4"
    assert database.inputs["instance"] == only(graph, INSTANCE).outputs["name"]


def test_imported_database_keeps_its_charset() -> None:
    # New tables would differ from existing ones, and foreign keys between them would fail.
    assert set(only(recorded()[0], DATABASE).ignore_changes) == {"charset", "collation"}


def test_user_and_secret_have_the_same_password() -> None:
    graph, seen = recorded(user="tracker")
    user = only(graph, USER)
    assert user.inputs["name"] == seen["user"] == "tracker"
    made = only(graph, MADE).urn
    assert made in user.property_dependencies["password"]
    assert made in only(graph, VERSION).property_dependencies["secretData"]


def test_secret_is_updated_before_the_user() -> None:
    # MLflow reads the secret again when the database rejects the password.
    graph, _ = recorded()
    assert only(graph, VERSION).urn in only(graph, USER).dependencies
    assert not only(graph, VERSION).ignore_changes


def test_secret_name_resolves_after_its_version() -> None:
    def program() -> None:
        place = make_deployment()
        network = Network(place, NetworkSettings(), private_ip=False, location="europe-west")
        secret = Database(place, DatabaseSettings(), network=network).password_secret
        pulumi.CustomResource("test:test:Reader", "reader", {"secret": secret})

    graph = record(program)
    assert only(graph, VERSION).urn in only(graph, "test:test:Reader").property_dependencies["secret"]


def test_password_is_secret_in_inputs_and_outputs() -> None:
    graph, _ = recorded(private_ip=True)
    user, version, made = only(graph, USER), only(graph, VERSION), only(graph, MADE)
    assert (user.inputs["password"], version.inputs["secretData"]) == (SECRET, SECRET)
    assert (user.outputs["password"], version.outputs["secretData"], made.outputs["result"]) == (SECRET,) * 3
    assert {one.type for one in graph.resources if one.secret_inputs} == {USER, VERSION}


def test_password_output_is_secret() -> None:
    # The provider's schema is not what makes it secret.
    found: list[bool] = []

    async def program() -> None:
        found.append(await Password(make_deployment()).value.is_secret())

    record(program)
    assert found == [True]


def test_password_never_appears_in_plain_text() -> None:
    password = RESOURCES[MADE]("mlflow-database-password", {"length": 32})["result"]
    assert len(password) == 32
    graph, seen = recorded(private_ip=True)
    everywhere = [[one.inputs, one.outputs] for one in graph.resources]
    assert not [text for text in texts([everywhere, graph.outputs, list(map(tuple, graph.calls))]) if password in text]
    assert password not in json.dumps(seen, default=str)


def test_password_has_32_letters_and_digits() -> None:
    inputs = only(recorded()[0], MADE).inputs
    assert (inputs["length"], inputs["special"]) == (32, False)


def test_secret_is_replicated_in_the_region_only() -> None:
    graph, seen = recorded()
    secret = only(graph, KEPT)
    assert secret.inputs["replication"] == {"userManaged": {"replicas": [{"location": REGION}]}}
    assert seen["password_secret"] == f"projects/{PROJECT}/secrets/{secret.inputs['secretId']}"
    assert seen["password_secret_id"] == secret.inputs["secretId"]


def test_database_and_user_are_deleted_with_the_instance() -> None:
    graph, _ = recorded()
    instance = only(graph, INSTANCE).urn
    assert {only(graph, kind).deleted_with for kind in (DATABASE, USER)} == {instance}


def test_resources_have_labels_and_project() -> None:
    graph, _ = recorded()
    assert only(graph, INSTANCE).inputs["settings"]["userLabels"] == make_deployment().labels
    assert only(graph, KEPT).inputs["labels"] == make_deployment().labels
    assert {only(graph, kind).inputs["project"] for kind in (INSTANCE, DATABASE, USER, KEPT)} == {PROJECT}


def test_default_version_is_mysql_8_4() -> None:
    inputs = only(recorded()[0], INSTANCE).inputs
    assert (inputs["databaseVersion"], inputs["region"]) == ("MYSQL_8_4", REGION)
    assert only(recorded(version="MYSQL_8_0")[0], INSTANCE).inputs["databaseVersion"] == "MYSQL_8_0"
