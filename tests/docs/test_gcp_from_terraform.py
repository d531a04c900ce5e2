"""docs/from-terraform.md: its tables cover the Terraform module, and its import file matches the program."""

import json
import re
from typing import Any, cast

import pytest

from components import GcpMlflow
from preview.graph import Resource

from .gcp_pages import PAGES, SETTINGS, blocks, graph, over, settings_in, stack_settings

PAGE = PAGES["from-terraform.md"]
# git show f70f70a:mlflow/variables.tf, outputs.tf
VARIABLES = re.findall(
    r"\w+",
    "project env prefix region app_engine_region docker_image machine_type secret_for_oauth_client_secret "
    "secret_for_oauth_client_id availability_type mlflow_artifacts_bucket_name",
)
# Fixed values in app.tf, database.tf and storage.tf.
FIXED = re.findall(
    r"\w+",
    "default v1 target_utilization min_total_instances max_total_instances cpu memory_gb MYSQL_8_0 disk_size "
    "ipv4_enabled day hour deletion_protection mlflow MULTI_REGIONAL EU",
)
# Resources whose state moves from Terraform to Pulumi.
MOVED = {
    "google_app_engine_application.mlflow_app",
    "google_app_engine_flexible_app_version.mlflow_default_app",
    "google_sql_database_instance.mlflow_cloudsql_instance",
    "google_sql_database.mlflow_cloudsql_database",
    "google_storage_bucket.mlflow_artifacts_bucket",
}
IMPORTED_TYPES = {"gcp:sql/databaseInstance:DatabaseInstance", "gcp:sql/database:Database", "gcp:storage/bucket:Bucket"}


def page_settings() -> dict[str, Any]:
    """Return the page's settings with the project and region of the development stack."""
    (settings,) = settings_in("from-terraform.md")
    place = {name: stack_settings("gcp-dev")[name] for name in ("project", "region")}
    return cast("dict[str, Any]", over(place, settings))


def imported() -> list[dict[str, Any]]:
    """Return the resources of the page's import file."""
    (block,) = blocks("from-terraform.md", "json")
    return json.loads(block)["resources"]


def program_resource(entry: dict[str, Any]) -> Resource:
    """Return the program's resource with this type, name and parents."""
    names = {each["name"]: each for each in imported()}
    parents: list[tuple[str, str]] = []
    above = entry.get("parent")
    while above:
        parents.append((names[above]["type"], _name(names[above])))
        above = names[above].get("parent")
    found = graph(page_settings())
    (resource,) = [
        resource
        for resource in found.of(entry["type"])
        if resource.name == _name(entry)
        and [(parent.type, parent.name) for parent in found.ancestors(resource)] == parents
    ]
    return resource


def _name(entry: dict[str, Any]) -> str:
    return entry.get("logicalName", entry["name"])


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_of_the_module_has_a_row(name: str) -> None:
    assert re.search(rf"^\| (?:output )?`{name}`", PAGE, re.MULTILINE), name


@pytest.mark.parametrize("value", FIXED)
def test_every_fixed_value_of_the_module_has_a_row(value: str) -> None:
    rows = [line.split("|")[1] for line in PAGE.split("### Values that are fixed")[1].split("\n\n")[1].splitlines()]
    assert any(re.search(rf"\b{value}\b", row) for row in rows), value


def test_every_setting_is_in_the_tables() -> None:
    named = set(re.findall(r"`([\w.]+)`", "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))))
    groups = {name.rpartition(".")[0] for name in SETTINGS}
    # Without a counterpart in the module: additional OAuth clients, a VPC for a private database, the proxy's timeouts
    # and limits.
    without_counterpart = {"oauthClient.desktopClientIds", "network.cidr", "network.peered"}
    without_counterpart |= {"network.instanceIp", "network.hostProject", "monitoring.canary", "app.domain", "kmsKey"}
    without_counterpart |= {"app.upstreamTimeoutSeconds", "app.longUpstreamTimeoutSeconds"}
    without_counterpart |= {"limits.maxRequests", "limits.requestsPerSecond"}
    secret = {"oauthClientSecret"}
    missing = {
        name
        for name in set(SETTINGS) - named - groups
        # A row with a group stands for every setting in it.
        if not any(name.startswith(f"{group}.") for group in named & groups)
    }
    assert missing == without_counterpart | secret


def test_outputs_in_the_tables_exist() -> None:
    assert set(re.findall(r"output `(\w+)`", PAGE)) - {"mlflow_artifacts_bucket_name"} <= set(GcpMlflow.__annotations__)


# --- Moving in


@pytest.mark.parametrize("entry", imported(), ids=lambda entry: entry["name"])
def test_import_names_match_the_program(entry: dict[str, Any]) -> None:
    found = program_resource(entry)
    assert found.custom is not entry.get("component", False)


def test_import_file_is_complete() -> None:
    named = {(entry["type"], _name(entry)) for entry in imported()}
    in_program = {
        (resource.type, resource.name)
        for resource in graph(page_settings()).resources
        if resource.type in IMPORTED_TYPES
    }
    assert in_program
    assert in_program <= named
    (application,) = graph(page_settings()).of("gcp:appengine/application:Application")
    assert application.import_id == page_settings()["project"]


@pytest.mark.parametrize("entry", [entry for entry in imported() if "id" in entry], ids=lambda entry: entry["name"])
def test_import_ids_match_the_settings(entry: dict[str, Any]) -> None:
    """The ids have the provider's import format, and the settings keep name and location unchanged."""
    found = program_resource(entry).inputs
    forms = {
        "gcp:sql/databaseInstance:DatabaseInstance": "projects/{project}/instances/{name}",
        "gcp:sql/database:Database": "projects/{project}/instances/{instance}/databases/{name}",
        "gcp:storage/bucket:Bucket": "{name}",
    }
    assert entry["id"] == forms[entry["type"]].format(**found)


def test_character_set_of_the_database_is_ignored() -> None:
    """A different character set for new tables makes schema upgrades fail halfway (mlflow/mlflow#17896)."""
    (database,) = graph(page_settings()).of("gcp:sql/database:Database")
    assert {"charset", "collation"} <= set(database.ignore_changes)


def test_program_uses_another_database_user() -> None:
    (user,) = graph(page_settings()).of("gcp:sql/user:User")
    assert user.inputs["name"] != "mlflow"


def test_state_rm_lists_the_moved_resources() -> None:
    (command,) = re.findall(r"terraform state rm (.*?)\n\$", PAGE, re.DOTALL)
    assert set(re.findall(r"google_\S+", command)) == MOVED
