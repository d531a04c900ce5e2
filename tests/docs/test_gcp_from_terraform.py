"""docs/from-terraform.md: all of the module is in its tables, and what it imports is what the program makes."""

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
# Of app.tf, database.tf and storage.tf: what is written there, and not taken from a variable.
FIXED = re.findall(
    r"\w+",
    "default v1 target_utilization min_total_instances max_total_instances cpu memory_gb MYSQL_8_0 disk_size "
    "ipv4_enabled day hour deletion_protection mlflow MULTI_REGIONAL EU",
)
# What Terraform and this program both have, and lose or make anew if they do not agree.
KEPT = {
    "google_app_engine_application.mlflow_app",
    "google_app_engine_flexible_app_version.mlflow_default_app",
    "google_sql_database_instance.mlflow_cloudsql_instance",
    "google_sql_database.mlflow_cloudsql_database",
    "google_storage_bucket.mlflow_artifacts_bucket",
}
TAKEN_OVER = {"gcp:sql/databaseInstance:DatabaseInstance", "gcp:sql/database:Database", "gcp:storage/bucket:Bucket"}


def given() -> dict[str, Any]:
    """The page's settings, as the whole stack's."""
    (settings,) = settings_in("from-terraform.md")
    place = {name: stack_settings("gcp-dev")[name] for name in ("project", "region")}
    return cast("dict[str, Any]", over(place, settings))


def imported() -> list[dict[str, Any]]:
    (block,) = blocks("from-terraform.md", "json")
    return json.loads(block)["resources"]


def made(one: dict[str, Any]) -> Resource:
    """What the program calls so, of this kind and below the same parents."""
    names = {each["name"]: each for each in imported()}
    parents: list[tuple[str, str]] = []
    above = one.get("parent")
    while above:
        parents.append((names[above]["type"], _name(names[above])))
        above = names[above].get("parent")
    found = graph(given())
    (resource,) = [
        each
        for each in found.of(one["type"])
        if each.name == _name(one) and [(parent.type, parent.name) for parent in found.ancestors(each)] == parents
    ]
    return resource


def _name(one: dict[str, Any]) -> str:
    return one.get("logicalName", one["name"])


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_of_the_module_has_a_row(name: str) -> None:
    assert re.search(rf"^\| (?:output )?`{name}`", PAGE, re.MULTILINE), name


@pytest.mark.parametrize("value", FIXED)
def test_every_value_that_the_module_holds_has_a_row(value: str) -> None:
    rows = [line.split("|")[1] for line in PAGE.split("### Values that are fixed")[1].split("\n\n")[1].splitlines()]
    assert any(re.search(rf"\b{value}\b", row) for row in rows), value


def test_every_setting_is_the_counterpart_of_something() -> None:
    named = set(re.findall(r"`([\w.]+)`", "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))))
    groups = {name.rpartition(".")[0] for name in SETTINGS}
    # What the module's world has not: further OAuth clients, a VPC for a private database.
    of_today = {"signIn.desktopClientIds", "network.cidr", "network.peered"}
    secret = {"oauthClientSecret"}
    missing = {
        name
        for name in set(SETTINGS) - named - groups
        # A group in a row stands for all that is in it.
        if not any(name.startswith(f"{one}.") for one in named & groups)
    }
    assert missing == of_today | secret


def test_outputs_in_the_tables_are_the_programs() -> None:
    assert set(re.findall(r"output `(\w+)`", PAGE)) - {"mlflow_artifacts_bucket_name"} <= set(GcpMlflow.__annotations__)


# --- Moving in


@pytest.mark.parametrize("one", imported(), ids=lambda one: one["name"])
def test_each_name_in_the_import_file_is_the_programs(one: dict[str, Any]) -> None:
    found = made(one)
    assert found.custom is not one.get("component", False)


def test_all_that_would_be_made_a_second_time_is_in_the_file() -> None:
    named = {(one["type"], _name(one)) for one in imported()}
    there = {(one.type, one.name) for one in graph(given()).resources if one.type in TAKEN_OVER}
    assert there
    assert there <= named
    (application,) = graph(given()).of("gcp:appengine/application:Application")
    assert application.import_id == given()["project"]


@pytest.mark.parametrize("one", [one for one in imported() if "id" in one], ids=lambda one: one["name"])
def test_each_id_is_that_of_what_the_settings_name(one: dict[str, Any]) -> None:
    """As the provider takes ids in an import, so that neither name nor place has to change."""
    found = made(one).inputs
    forms = {
        "gcp:sql/databaseInstance:DatabaseInstance": "projects/{project}/instances/{name}",
        "gcp:sql/database:Database": "projects/{project}/instances/{instance}/databases/{name}",
        "gcp:storage/bucket:Bucket": "{name}",
    }
    assert one["id"] == forms[one["type"]].format(**found)


def test_the_database_keeps_its_character_set() -> None:
    """Another one for new tables alone is what ends upgrades half way (mlflow/mlflow#17896)."""
    (database,) = graph(given()).of("gcp:sql/database:Database")
    assert {"charset", "collation"} <= set(database.ignore_changes)


def test_the_old_user_stays_as_it_is() -> None:
    (user,) = graph(given()).of("gcp:sql/user:User")
    assert user.inputs["name"] != "mlflow"


def test_terraform_lets_go_of_what_pulumi_takes_over() -> None:
    (command,) = re.findall(r"terraform state rm (.*?)\n\$", PAGE, re.DOTALL)
    assert set(re.findall(r"google_\S+", command)) == KEPT
