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
from mlflow_app.settings import Settings
from preview.graph import SECRET, Graph, strings_in
from preview.mock_outputs import RESOURCES
from preview.recorder import record

from .helpers import PROJECT, REGION, make_deployment, only

INSTANCE = "gcp:sql/databaseInstance:DatabaseInstance"
DATABASE = "gcp:sql/database:Database"
USER = "gcp:sql/user:User"
PASSWORD = "random:index/randomPassword:RandomPassword"
SECRET_TYPE = "gcp:secretmanager/secret:Secret"
SECRET_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"


def record_database(
    *, deletion_protection: bool = False, environment: str = "development", vpc: str | None = None, **settings: Any
) -> tuple[Graph, dict[str, Any]]:
    """(graph, the component's outputs)."""
    outputs: dict[str, Any] = {}

    def program() -> None:
        args = validate_args(DatabaseSettings, settings, "database", production=environment == "production")
        deployment = make_deployment(deletion_protection=deletion_protection)
        network = Network(deployment, NetworkSettings(vpc_name=vpc), private_ip=args.private_ip, location="europe-west")
        database = Database(deployment, args, network=network)
        attributes = {name: value for name, value in vars(database).items() if not name.startswith("_")}
        pulumi.Output.all(**attributes).apply(outputs.update)

    return record(program), outputs


def instance_settings(**args: Any) -> dict[str, Any]:
    return only(record_database(**args)[0], INSTANCE).inputs["settings"]


def test_backups_and_transaction_logs_follow_the_settings() -> None:
    backups = instance_settings(transaction_log_retention_days=5, backup_count=20)["backupConfiguration"]
    assert (backups["enabled"], backups["binaryLogEnabled"], backups["transactionLogRetentionDays"]) == (True, True, 5)
    assert backups["backupRetentionSettings"] == {"retainedBackups": 20, "retentionUnit": "COUNT"}


def test_maintenance_window_follows_the_settings() -> None:
    window = instance_settings(maintenance_day=6, maintenance_hour=22)["maintenanceWindow"]
    assert (window["day"], window["hour"]) == (6, 22)


def test_disk_grows_automatically_and_size_is_ignored() -> None:
    graph, _ = record_database(disk_gb=20)
    instance = only(graph, INSTANCE)
    assert instance.inputs["settings"]["diskAutoresize"] is True
    assert instance.inputs["settings"]["diskSize"] == 20
    assert "settings.diskSize" in instance.ignore_changes


@pytest.mark.parametrize("protected", [True, False])
def test_deletion_protection_covers_the_data(protected: bool) -> None:
    graph, _ = record_database(deletion_protection=protected)
    instance = only(graph, INSTANCE)
    assert instance.inputs["deletionProtection"] is protected
    assert instance.inputs["settings"]["deletionProtectionEnabled"] is protected
    assert only(graph, SECRET_TYPE).inputs["deletionProtection"] is protected
    # The resources with data, and the user that reads it.
    assert {resource.type for resource in graph.resources if resource.protect} == (
        {INSTANCE, DATABASE, USER, SECRET_TYPE} if protected else set()
    )


def test_password_is_replaceable_with_deletion_protection() -> None:
    graph, _ = record_database(deletion_protection=True)
    # The engine does not replace protected resources.
    assert not only(graph, PASSWORD).protect
    assert not only(graph, SECRET_VERSION).protect


def test_protected_user_depends_on_the_password() -> None:
    graph, _ = record_database(deletion_protection=True)
    # `destroy` deletes dependents first: it stops at the protected user, before it deletes the password.
    assert only(graph, SECRET_VERSION).urn in only(graph, USER).dependencies


def test_final_backup_in_production_only() -> None:
    production = instance_settings(environment="production")
    assert production["finalBackupConfig"] == {"enabled": True, "retentionDays": 30}
    assert production["retainBackupsOnDelete"] is True
    production = instance_settings()
    assert "finalBackupConfig" not in production
    assert production["retainBackupsOnDelete"] is False


def test_final_backup_does_not_need_deletion_protection() -> None:
    # Deletion protection is disabled before `destroy`.
    assert (
        instance_settings(environment="production", deletion_protection=False)["finalBackupConfig"]["enabled"] is True
    )


def test_final_backup_and_reserved_name_are_listed_as_retained() -> None:
    assert record_database()[1]["retained_on_destroy"] == []
    lines = record_database(final_backup_days=90, instance_name="acme-mlflow")[1]["retained_on_destroy"]
    assert "90 days" in lines[0]
    assert "acme-mlflow" in lines[1]


def test_name_is_generated_or_configured() -> None:
    # Pulumi adds a random suffix: Cloud SQL reserves a name for a week.
    assert "name" not in only(record_database()[0], INSTANCE).inputs
    assert only(record_database(instance_name="acme-mlflow")[0], INSTANCE).inputs["name"] == "acme-mlflow"


@pytest.mark.parametrize(
    ("tier", "edition"),
    [
        ("db-g1-small", "ENTERPRISE"),
        ("db-custom-2-7680", "ENTERPRISE"),
        ("db-perf-optimized-N-2", "ENTERPRISE_PLUS"),
    ],
)
def test_edition_matches_the_tier(tier: str, edition: str) -> None:
    edition_settings = instance_settings(tier=tier)
    assert (edition_settings["tier"], edition_settings["edition"]) == (tier, edition)


def test_availability_follows_the_setting() -> None:
    assert instance_settings()["availabilityType"] == "ZONAL"
    assert instance_settings(environment="production")["availabilityType"] == "REGIONAL"


def test_no_network_is_authorized_and_tls_is_required() -> None:
    ip = instance_settings()["ipConfiguration"]
    assert (ip["ipv4Enabled"], ip["authorizedNetworks"], ip["sslMode"]) == (True, [], "ENCRYPTED_ONLY")
    assert "privateNetwork" not in ip
    assert ip["serverCaMode"] == "GOOGLE_MANAGED_INTERNAL_CA"


@pytest.mark.parametrize(("private_ip", "ip_type"), [(False, "public"), (True, "private")])
def test_instance_is_reached_by_its_only_address(private_ip: bool, ip_type: str) -> None:
    _, outputs = record_database(private_ip=private_ip)
    assert outputs["connection_name"] == f"{PROJECT}:{REGION}:mlflow-database"
    assert outputs["ip_type"] == ip_type


def test_private_instance_has_no_public_address() -> None:
    graph, _ = record_database(private_ip=True)
    ip = only(graph, INSTANCE).inputs["settings"]["ipConfiguration"]
    assert (ip["ipv4Enabled"], ip["authorizedNetworks"], ip["sslMode"]) == (False, [], "ENCRYPTED_ONLY")
    assert ip["privateNetwork"] == only(graph, "gcp:compute/network:Network").id


@pytest.mark.parametrize("vpc", [None, "shared"])
def test_private_instance_depends_on_the_connection(vpc: str | None) -> None:
    graph, _ = record_database(private_ip=True, vpc=vpc)
    connection = only(graph, "gcp:servicenetworking/connection:Connection")
    assert connection.urn in only(graph, INSTANCE).dependencies


def test_iam_login_needs_no_password() -> None:
    graph, outputs = record_database(iam_authentication=True)
    assert not {PASSWORD, SECRET_TYPE, SECRET_VERSION, USER} & {resource.type for resource in graph.resources}
    flag = {"name": "cloudsql_iam_authentication", "value": "on"}
    assert only(graph, INSTANCE).inputs["settings"]["databaseFlags"] == [flag]
    assert (outputs["user"], outputs["password_secret"]) == (None, None)


def test_password_login_sets_no_flag() -> None:
    assert "databaseFlags" not in instance_settings()


def test_image_accepts_the_secret_name() -> None:
    _, outputs = record_database()
    image_settings = Settings.from_env(app_environment(outputs, {}))
    assert image_settings.database_password_secret == f"{outputs['password_secret']}/versions/latest"


def app_environment(outputs: Mapping[str, Any], additional: Mapping[str, str]) -> dict[str, str]:
    return {
        "MLFLOW_APP_DATABASE_INSTANCE": outputs["connection_name"],
        "MLFLOW_APP_DATABASE_PASSWORD_SECRET": outputs["password_secret"],
        "MLFLOW_APP_ARTIFACTS_DESTINATION": "gs://artifacts",
        **additional,
    }


def test_database_uses_utf8mb4() -> None:
    graph, outputs = record_database(name="runs")
    database = only(graph, DATABASE)
    assert database.inputs["name"] == outputs["database_name"] == "runs"
    assert database.inputs["charset"] == "utf8mb4"
    assert database.inputs["instance"] == only(graph, INSTANCE).outputs["name"]


def test_charset_of_an_imported_database_is_ignored() -> None:
    # New tables would differ from existing ones, and foreign keys between them would fail.
    assert set(only(record_database()[0], DATABASE).ignore_changes) == {"charset", "collation"}


def test_user_and_secret_have_the_same_password() -> None:
    graph, outputs = record_database(user="tracker")
    user = only(graph, USER)
    assert user.inputs["name"] == outputs["user"] == "tracker"
    password = only(graph, PASSWORD).urn
    assert password in user.property_dependencies["password"]
    assert password in only(graph, SECRET_VERSION).property_dependencies["secretData"]


def test_secret_is_updated_before_the_user() -> None:
    # MLflow reads the secret again when the database rejects the password.
    graph, _ = record_database()
    assert only(graph, SECRET_VERSION).urn in only(graph, USER).dependencies
    assert not only(graph, SECRET_VERSION).ignore_changes


def test_secret_name_resolves_after_its_version() -> None:
    def program() -> None:
        deployment = make_deployment()
        network = Network(deployment, NetworkSettings(), private_ip=False, location="europe-west")
        secret = Database(deployment, DatabaseSettings(), network=network).password_secret
        pulumi.CustomResource("test:test:Reader", "reader", {"secret": secret})

    graph = record(program)
    assert only(graph, SECRET_VERSION).urn in only(graph, "test:test:Reader").property_dependencies["secret"]


def test_password_is_secret_in_inputs_and_outputs() -> None:
    graph, _ = record_database(private_ip=True)
    user, version, password = only(graph, USER), only(graph, SECRET_VERSION), only(graph, PASSWORD)
    assert (user.inputs["password"], version.inputs["secretData"]) == (SECRET, SECRET)
    assert (user.outputs["password"], version.outputs["secretData"], password.outputs["result"]) == (SECRET,) * 3
    assert {resource.type for resource in graph.resources if resource.secret_inputs} == {USER, SECRET_VERSION}


def test_password_output_is_secret() -> None:
    # The output is secret independently of the provider's schema.
    secrecy: list[bool] = []

    async def program() -> None:
        secrecy.append(await Password(make_deployment()).value.is_secret())

    record(program)
    assert secrecy == [True]


def test_password_never_appears_in_plain_text() -> None:
    password = RESOURCES[PASSWORD]("mlflow-database-password", {"length": 32})["result"]
    assert len(password) == 32
    graph, outputs = record_database(private_ip=True)
    values = [[resource.inputs, resource.outputs] for resource in graph.resources]
    assert not [text for text in strings_in([values, graph.outputs, list(map(tuple, graph.calls))]) if password in text]
    assert password not in json.dumps(outputs, default=str)


def test_password_has_32_letters_and_digits() -> None:
    inputs = only(record_database()[0], PASSWORD).inputs
    assert (inputs["length"], inputs["special"]) == (32, False)


def test_secret_is_replicated_in_the_region_only() -> None:
    graph, outputs = record_database()
    secret = only(graph, SECRET_TYPE)
    assert secret.inputs["replication"] == {"userManaged": {"replicas": [{"location": REGION}]}}
    assert outputs["password_secret"] == f"projects/{PROJECT}/secrets/{secret.inputs['secretId']}"
    assert outputs["password_secret_id"] == secret.inputs["secretId"]


def test_database_and_user_are_deleted_with_the_instance() -> None:
    graph, _ = record_database()
    instance = only(graph, INSTANCE).urn
    assert {only(graph, kind).deleted_with for kind in (DATABASE, USER)} == {instance}


def test_resources_have_labels_and_project() -> None:
    graph, _ = record_database()
    assert only(graph, INSTANCE).inputs["settings"]["userLabels"] == make_deployment().labels
    assert only(graph, SECRET_TYPE).inputs["labels"] == make_deployment().labels
    assert {only(graph, kind).inputs["project"] for kind in (INSTANCE, DATABASE, USER, SECRET_TYPE)} == {PROJECT}


def test_default_version_is_mysql_8_4() -> None:
    inputs = only(record_database()[0], INSTANCE).inputs
    assert (inputs["databaseVersion"], inputs["region"]) == ("MYSQL_8_4", REGION)
    assert only(record_database(version="MYSQL_8_0")[0], INSTANCE).inputs["databaseVersion"] == "MYSQL_8_0"
