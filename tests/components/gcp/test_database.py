"""Cloud SQL: nobody comes in but MLflow, nothing is lost by accident, and its password is seen by nobody."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.gcp.data_args import DatabaseArgs, NetworkArgs
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
    """(graph, what other boxes see)."""
    seen: dict[str, Any] = {}

    def program() -> None:
        args = validate_args(DatabaseArgs, given, "database", production=environment == "production")
        place = make_deployment(deletion_protection=deletion_protection)
        network = Network(place, NetworkArgs(vpc_name=vpc), private_ip=args.private_ip, location="europe-west")
        box = Database(place, args, network=network)
        outputs = {name: value for name, value in vars(box).items() if not name.startswith("_")}
        pulumi.Output.all(**outputs).apply(seen.update)

    return record(program), seen


def settings(**given: Any) -> dict[str, Any]:
    return only(recorded(**given)[0], INSTANCE).inputs["settings"]


def test_every_second_of_the_last_days_can_be_restored() -> None:
    found = settings(transaction_log_retention_days=5, backup_count=20)["backupConfiguration"]
    assert (found["enabled"], found["binaryLogEnabled"], found["transactionLogRetentionDays"]) == (True, True, 5)
    assert found["backupRetentionSettings"] == {"retainedBackups": 20, "retentionUnit": "COUNT"}


def test_google_maintains_it_when_the_settings_say() -> None:
    found = settings(maintenance_day=6, maintenance_hour=22)["maintenanceWindow"]
    assert (found["day"], found["hour"]) == (6, 22)


def test_its_disk_grows_and_is_never_shrunk_by_the_program() -> None:
    graph, _ = recorded(disk_gb=20)
    instance = only(graph, INSTANCE)
    assert instance.inputs["settings"]["diskAutoresize"] is True
    assert instance.inputs["settings"]["diskSize"] == 20
    assert "settings.diskSize" in instance.ignore_changes


@pytest.mark.parametrize("protected", [True, False])
def test_in_production_nothing_deletes_it(protected: bool) -> None:
    graph, _ = recorded(deletion_protection=protected)
    instance = only(graph, INSTANCE)
    assert instance.inputs["deletionProtection"] is protected
    assert instance.inputs["settings"]["deletionProtectionEnabled"] is protected
    assert only(graph, KEPT).inputs["deletionProtection"] is protected
    # Neither the data in it nor the one who reads it.
    assert {one.type for one in graph.resources if one.protect} == (
        {INSTANCE, DATABASE, USER, KEPT} if protected else set()
    )


def test_a_password_can_be_replaced_in_production() -> None:
    graph, _ = recorded(deletion_protection=True)
    # The engine replaces nothing that is protected.
    assert not only(graph, MADE).protect
    assert not only(graph, VERSION).protect


def test_what_production_protects_keeps_what_it_hangs_on() -> None:
    graph, _ = recorded(deletion_protection=True)
    # A destroy takes what depends first: the protected user stops it before the password is gone.
    assert only(graph, VERSION).urn in only(graph, USER).dependencies


def test_a_database_that_goes_leaves_its_backups_in_production_only() -> None:
    found = settings(environment="production")
    assert found["finalBackupConfig"] == {"enabled": True, "retentionDays": 30}
    assert found["retainBackupsOnDelete"] is True
    found = settings()
    assert "finalBackupConfig" not in found
    assert found["retainBackupsOnDelete"] is False


def test_the_last_backup_does_not_depend_on_the_protection() -> None:
    # It is lifted right before a destroy.
    assert settings(environment="production", deletion_protection=False)["finalBackupConfig"]["enabled"] is True


def test_what_stays_after_a_destroy_is_named() -> None:
    assert recorded()[1]["retained_on_destroy"] == []
    kept = recorded(final_backup_days=90, instance_name="acme-mlflow")[1]["retained_on_destroy"]
    assert "90 days" in kept[0]
    assert "acme-mlflow" in kept[1]


def test_its_name_is_one_of_its_own_or_the_given_one() -> None:
    # Pulumi ends it by chance then: Cloud SQL keeps a name for a week.
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
def test_the_edition_is_the_tiers(tier: str, edition: str) -> None:
    found = settings(tier=tier)
    assert (found["tier"], found["edition"]) == (tier, edition)


def test_a_standby_is_the_settings_choice() -> None:
    assert settings()["availabilityType"] == "ZONAL"
    assert settings(environment="production")["availabilityType"] == "REGIONAL"


def test_nobodys_network_is_let_in_and_nothing_goes_unencrypted() -> None:
    found = settings()["ipConfiguration"]
    assert (found["ipv4Enabled"], found["authorizedNetworks"], found["sslMode"]) == (True, [], "ENCRYPTED_ONLY")
    assert "privateNetwork" not in found
    assert found["serverCaMode"] == "GOOGLE_MANAGED_INTERNAL_CA"


def test_a_public_one_is_reached_through_the_socket() -> None:
    graph, seen = recorded()
    assert seen["connection_name"] == f"{PROJECT}:{REGION}:mlflow-database"
    assert (seen["private_address"], seen["server_ca"]) == (None, None)
    assert not graph.calls


def test_a_private_one_has_no_public_address_and_is_in_the_vpc() -> None:
    graph, seen = recorded(private_ip=True)
    found = only(graph, INSTANCE).inputs["settings"]["ipConfiguration"]
    assert (found["ipv4Enabled"], found["authorizedNetworks"], found["sslMode"]) == (False, [], "ENCRYPTED_ONLY")
    assert found["privateNetwork"] == only(graph, "gcp:compute/network:Network").id
    assert seen["private_address"] == only(graph, INSTANCE).outputs["privateIpAddress"]


@pytest.mark.parametrize("vpc", [None, "shared"])
def test_a_private_one_comes_after_the_connection(vpc: str | None) -> None:
    graph, _ = recorded(private_ip=True, vpc=vpc)
    connection = only(graph, "gcp:servicenetworking/connection:Connection")
    assert connection.urn in only(graph, INSTANCE).dependencies


def test_mlflow_believes_the_authorities_of_now_and_next() -> None:
    graph, seen = recorded(private_ip=True)
    (call,) = graph.calls
    assert call.args == {"instance": only(graph, INSTANCE).outputs["name"], "project": PROJECT}
    ca = seen["server_ca"]
    assert [ca.count(part) for part in ("BEGIN CERTIFICATE", "\nnow\n", "\nnext\n")] == [2, 1, 1]


def test_the_image_takes_the_authorities_as_they_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    believed: list[str] = []
    monkeypatch.setattr(tls, "create_ssl_context", believed.append)
    _, seen = recorded(private_ip=True)
    Settings.from_env(_environment(seen, {"MLFLOW_APP_DATABASE_CA_PEM": seen["server_ca"]}))
    assert believed == [seen["server_ca"].strip()]


def test_the_image_takes_the_secrets_name() -> None:
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


def test_mlflows_database_holds_every_letter() -> None:
    graph, seen = recorded(name="runs")
    database = only(graph, DATABASE)
    assert database.inputs["name"] == seen["database_name"] == "runs"
    assert database.inputs["charset"] == "utf8mb4"
    assert database.inputs["instance"] == only(graph, INSTANCE).outputs["name"]


def test_a_database_that_was_moved_in_keeps_its_letters() -> None:
    # New tables would have others than the old ones, and no foreign key goes from one to the other.
    assert set(only(recorded()[0], DATABASE).ignore_changes) == {"charset", "collation"}


def test_mlflows_user_has_the_password_of_the_secret() -> None:
    graph, seen = recorded(user="tracker")
    user = only(graph, USER)
    assert user.inputs["name"] == seen["user"] == "tracker"
    made = only(graph, MADE).urn
    assert made in user.property_dependencies["password"]
    assert made in only(graph, VERSION).property_dependencies["secretData"]


def test_the_secret_has_a_new_password_before_the_database_has_it() -> None:
    # Who is refused reads the secret again.
    graph, _ = recorded()
    assert only(graph, VERSION).urn in only(graph, USER).dependencies
    assert not only(graph, VERSION).ignore_changes


def test_whoever_gets_the_secrets_name_waits_for_the_password_in_it() -> None:
    def program() -> None:
        place = make_deployment()
        network = Network(place, NetworkArgs(), private_ip=False, location="europe-west")
        secret = Database(place, DatabaseArgs(), network=network).password_secret
        pulumi.CustomResource("test:test:Reader", "reader", {"secret": secret})

    graph = record(program)
    assert only(graph, VERSION).urn in only(graph, "test:test:Reader").property_dependencies["secret"]


def test_the_password_is_secret_in_every_input_and_output() -> None:
    graph, _ = recorded(private_ip=True)
    user, version, made = only(graph, USER), only(graph, VERSION), only(graph, MADE)
    assert (user.inputs["password"], version.inputs["secretData"]) == (SECRET, SECRET)
    assert (user.outputs["password"], version.outputs["secretData"], made.outputs["result"]) == (SECRET,) * 3
    assert {one.type for one in graph.resources if one.secret_inputs} == {USER, VERSION}


def test_the_password_is_secret_on_its_way() -> None:
    # Also where no class of a provider's makes it one.
    found: list[bool] = []

    async def program() -> None:
        found.append(await Password(make_deployment()).value.is_secret())

    record(program)
    assert found == [True]


def test_the_password_is_nowhere_in_plain() -> None:
    password = RESOURCES[MADE]("mlflow-database-password", {"length": 32})["result"]
    assert len(password) == 32
    graph, seen = recorded(private_ip=True)
    everywhere = [[one.inputs, one.outputs] for one in graph.resources]
    assert not [text for text in texts([everywhere, graph.outputs, list(map(tuple, graph.calls))]) if password in text]
    assert password not in json.dumps(seen, default=str)


def test_the_password_is_long_and_needs_no_escaping() -> None:
    inputs = only(recorded()[0], MADE).inputs
    assert (inputs["length"], inputs["special"]) == (32, False)


def test_the_secret_stays_in_the_region() -> None:
    graph, seen = recorded()
    secret = only(graph, KEPT)
    assert secret.inputs["replication"] == {"userManaged": {"replicas": [{"location": REGION}]}}
    assert seen["password_secret"] == f"projects/{PROJECT}/secrets/{secret.inputs['secretId']}"
    assert seen["password_secret_id"] == secret.inputs["secretId"]


def test_what_is_in_the_instance_goes_with_it() -> None:
    graph, _ = recorded()
    instance = only(graph, INSTANCE).urn
    assert {only(graph, kind).deleted_with for kind in (DATABASE, USER)} == {instance}


def test_everything_has_labels_and_a_project() -> None:
    graph, _ = recorded()
    assert only(graph, INSTANCE).inputs["settings"]["userLabels"] == make_deployment().labels
    assert only(graph, KEPT).inputs["labels"] == make_deployment().labels
    assert {only(graph, kind).inputs["project"] for kind in (INSTANCE, DATABASE, USER, KEPT)} == {PROJECT}


def test_it_is_mysql_8_4_in_the_region() -> None:
    inputs = only(recorded()[0], INSTANCE).inputs
    assert (inputs["databaseVersion"], inputs["region"]) == ("MYSQL_8_4", REGION)
    assert only(recorded(version="MYSQL_8_0")[0], INSTANCE).inputs["databaseVersion"] == "MYSQL_8_0"
