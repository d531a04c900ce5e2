"""Invariants of every stack of GcpMlflow."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pulumi_gcp
import pytest

from components import GcpMlflow
from components.gcp.types import is_member
from preview import destroy
from preview.graph import SECRET, Graph, Resource, dig

from ..scenario import Scenario, run
from .helpers import urns_needed_by
from .scenarios import MINIMAL, OAUTH_SECRET, PROJECT, SCENARIOS

every_stack = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
COMPONENT = "mlflow:index:GcpMlflow"
APPLICATION = "gcp:appengine/application:Application"
VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
BUCKET = "gcp:storage/bucket:Bucket"
SECRET_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
ACCESSOR = "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember"
# Scenarios with a private database.
PRIVATE = ("production", "private-database", "existing-network")
PROTECTED = ("production", "explicit-providers")


def stack(name: str) -> Graph:
    return next(one for one in SCENARIOS if one.name == name).graph()


def custom(graph: Graph) -> Iterator[Resource]:
    """Google Cloud resources that the stack manages."""
    return (one for one in graph.resources if one.type.startswith("gcp:") and not one.read)


def class_of(one: Resource) -> Any:
    """The SDK class of a resource."""
    _, module, name = one.type.split(":")
    return getattr(getattr(pulumi_gcp, module.split("/")[0]), name)


def parameters_of(one: Resource) -> set[str]:
    return set(inspect.signature(class_of(one)._internal_init).parameters)


# --- Network access


@every_stack
def test_database_authorizes_no_network(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert graph.of(DATABASE)
    for one in graph.of(DATABASE):
        ways = dig(one.inputs, "settings", "ipConfiguration")
        assert not ways.get("authorizedNetworks")
        assert ways["sslMode"] in ("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED")
        assert ways["ipv4Enabled"] is (scenario.name not in PRIVATE)
        assert bool(ways.get("privateNetwork")) is (scenario.name in PRIVATE)


@every_stack
def test_buckets_are_private(scenario: Scenario) -> None:
    for bucket in scenario.graph().of(BUCKET):
        assert bucket.inputs["publicAccessPrevention"] == "enforced"
        assert bucket.inputs["uniformBucketLevelAccess"] is True


@every_stack
def test_managed_applications_have_iap_enabled(scenario: Scenario) -> None:
    for one in custom(scenario.graph()):
        if one.type == APPLICATION:
            assert dig(one.inputs, "iap", "enabled") is True
            assert dig(one.inputs, "iap", "oauth2ClientSecret") == SECRET


@every_stack
def test_proxy_accepts_iap_only_and_its_own_hosts(scenario: Scenario) -> None:
    for one in scenario.graph().of(VERSION):
        told = one.inputs["envVariables"]
        assert re.fullmatch(r"/projects/\d+/apps/[a-z0-9-]+", told["MLFLOW_PROXY_IAP_AUDIENCE"])
        assert not {"MLFLOW_PROXY_AUTH", "MLFLOW_PROXY_TOKENS_FILE", "MLFLOW_PROXY_TOKENS_SECRET"} & set(told)
        assert not [name for name, value in told.items() if "\n" in value]
        host = told["MLFLOW_PROXY_PUBLIC_URL"].removeprefix("https://")
        assert told["MLFLOW_PROXY_ALLOWED_HOSTS"].split(",") == [host, f"*-dot-{host}"]


@every_stack
def test_access_is_granted_to_valid_members_only(scenario: Scenario) -> None:
    for one in scenario.graph().of(ACCESSOR):
        assert one.inputs["role"] == "roles/iap.httpsResourceAccessor"
        assert is_member(one.inputs["member"]), one.inputs["member"]


@every_stack
def test_new_vpc_allows_google_front_end_ranges_only(scenario: Scenario) -> None:
    graph = scenario.graph()
    for one in graph.of("gcp:compute/firewall:Firewall"):
        assert set(one.inputs["sourceRanges"]) <= {"35.191.0.0/16", "130.211.0.0/22"}
    assert bool(graph.of("gcp:compute/network:Network")) is (scenario.name in ("production", "private-database"))


# --- IAM

# Allowed roles by resource type. Roles on the project have no narrower resource.
RIGHTS: Mapping[str, set[str]] = {
    "gcp:projects/iAMMember:IAMMember": {
        "roles/cloudsql.client",
        "roles/logging.logWriter",
        "roles/monitoring.metricWriter",
        # For the placeholder's image.
        "roles/artifactregistry.createOnPushWriter",
    },
    "gcp:storage/bucketIAMMember:BucketIAMMember": {"roles/storage.objectUser", "roles/storage.objectViewer"},
    "gcp:secretmanager/secretIamMember:SecretIamMember": {"roles/secretmanager.secretAccessor"},
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": {"roles/artifactregistry.reader"},
    "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember": {"roles/compute.networkUser"},
    "gcp:serviceaccount/iAMMember:IAMMember": {
        "roles/iam.serviceAccountTokenCreator",
        "roles/iam.serviceAccountOpenIdTokenCreator",
    },
    ACCESSOR: {"roles/iap.httpsResourceAccessor"},
}


@every_stack
def test_iam_roles_are_the_expected_ones(scenario: Scenario) -> None:
    granted = [one for one in custom(scenario.graph()) if {"role", "member"} <= set(one.inputs)]
    assert len(granted) > 6
    for one in granted:
        assert one.inputs["role"] in RIGHTS[one.type], one.urn
        assert not one.inputs["member"].startswith("all")
    # No authoritative policies or bindings.
    record_stack = re.compile(r"iam(policy|binding)$", re.IGNORECASE)
    assert not [one.urn for one in custom(scenario.graph()) if record_stack.search(one.type)]


@every_stack
def test_mlflow_runs_as_its_own_service_account(scenario: Scenario) -> None:
    graph = scenario.graph()
    accounts = {one.outputs["email"] for one in graph.of("gcp:serviceaccount/account:Account")}
    for one in graph.of(VERSION):
        assert one.inputs["serviceAccount"] in accounts


# --- Data


@every_stack
def test_data_has_backups_and_versions(scenario: Scenario) -> None:
    graph = scenario.graph()
    for one in graph.of(DATABASE):
        backup = dig(one.inputs, "settings", "backupConfiguration")
        assert backup["enabled"]
        assert backup["binaryLogEnabled"]
        assert backup["transactionLogRetentionDays"] >= 1
    for one in graph.of(BUCKET):
        if one.name.endswith("-artifacts"):
            assert dig(one.inputs, "versioning", "enabled") is True
            assert {dig(rule, "action", "type") for rule in one.inputs["lifecycleRules"]} == {
                "Delete",
                "AbortIncompleteMultipartUpload",
            }


@every_stack
def test_log_buckets_have_a_retention(scenario: Scenario) -> None:
    stores = scenario.graph().of("gcp:logging/projectBucketConfig:ProjectBucketConfig")
    assert stores
    assert all(one.inputs["retentionDays"] > 0 for one in stores)


@every_stack
def test_images_are_referenced_by_digest(scenario: Scenario) -> None:
    for one in scenario.graph().of(VERSION):
        assert re.search(r"@sha256:[0-9a-f]{64}$", dig(one.inputs, "deployment", "container", "image"))


@every_stack
def test_secrets_stay_secret(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert graph.of(SECRET_VERSION)
    for one in graph.of(SECRET_VERSION):
        assert one.inputs["secretData"] == SECRET
    for one in graph.of("gcp:sql/user:User"):
        assert one.inputs["password"] == SECRET
    for one in graph.of(VERSION):
        assert SECRET not in one.inputs["envVariables"].values()
    # Outputs are readable, although some derive from objects with secrets.
    if scenario.program is None:
        assert SECRET not in graph.outputs.values()


# --- Labels, names, locations


@every_stack
def test_resources_with_label_support_have_labels(scenario: Scenario) -> None:
    graph = scenario.graph()
    labelled = [(one, labels) for one in custom(graph) if (labels := labels_of(one)) is not None]
    assert len(labelled) > 5
    for one, labels in labelled:
        component = list(graph.ancestors(one))[-1].name
        assert labels.items() >= {"project": "mlflow", "stack": scenario.stack, "component": component}.items(), one.urn
    database = graph.of(DATABASE)[0]
    assert dig(database.inputs, "settings", "userLabels", "stack") == scenario.stack


@every_stack
def test_resources_are_in_the_configured_project(scenario: Scenario) -> None:
    graph = scenario.graph()
    (wanted,) = {one.inputs["project"] for one in graph.of(DATABASE)}
    assert wanted == PROJECT
    for one in custom(graph):
        # A secret version has its project in the secret's name.
        if "project" in parameters_of(one) and one.type != SECRET_VERSION:
            assert one.inputs.get("project") == wanted, one.urn


# (maximum length, pattern) of names that the program sets, by type and property, from the services' references.
CHOSEN: Mapping[tuple[str, str], tuple[int, str]] = {
    ("gcp:artifactregistry/repository:Repository", "repositoryId"): (63, r"[a-z]([a-z0-9-]*[a-z0-9])?"),
    ("gcp:secretmanager/secret:Secret", "secretId"): (255, r"[A-Za-z0-9_-]+"),
    ("gcp:serviceaccount/account:Account", "accountId"): (30, r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
    ("gcp:logging/projectBucketConfig:ProjectBucketConfig", "bucketId"): (100, r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
    ("gcp:logging/projectSink:ProjectSink", "name"): (100, r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
    ("gcp:logging/metric:Metric", "name"): (100, r"[A-Za-z0-9_.,+!*',()%/-]+"),
    (BUCKET, "name"): (63, r"(?!goog)[a-z0-9][a-z0-9_-]+[a-z0-9]"),
    (DATABASE, "name"): (67, r"[a-z][a-z0-9-]*[a-z0-9]"),
}


def chosen(graph: Graph) -> set[tuple[str, str]]:
    """(type, name) of each name without a random part that is unique in its project."""
    return {
        (kind, str(one.inputs[name]))
        for kind, name in CHOSEN
        for one in graph.of(kind)
        if name in one.inputs and not one.property_dependencies.get(name)
    }


@pytest.mark.parametrize("odd", ["a" * 100, "9.Lives_-", "-", "Prod"])
def test_physical_names_are_valid_for_any_stack_name(odd: str) -> None:
    def program() -> None:
        args: Any = {
            **MINIMAL,
            "oauth_client_secret": OAUTH_SECRET,
            "database": {"privateIp": True},
            "access": {**MINIMAL["access"], "clientServiceAccount": True},
            "monitoring": {"alarmEmail": "ops@example.com"},
        }
        GcpMlflow("mlflow-long-name", args)

    graph = run({}, program, stack=odd, project="a-project-with-a-very-long-name")
    seen: set[str] = set()
    for (kind, name), (limit, form) in CHOSEN.items():
        for one in graph.of(kind):
            # Pulumi's auto-naming appends seven digits to the logical name.
            given = str(one.inputs.get(name) or f"{one.name}-0a1b2c3")
            seen.add(kind)
            assert len(given) <= limit, f"{kind}: {given}"
            assert re.fullmatch(form, given), f"{kind}: {given}"
    assert seen == {kind for kind, _ in CHOSEN}
    for one in custom(graph):
        for value in (labels_of(one) or {}).values():
            assert re.fullmatch(r"[a-z0-9_-]{0,63}", value), f"{one.urn}: {value}"


def labels_of(one: Resource) -> Mapping[str, str] | None:
    """The labels of a resource; None if its type has none."""
    # A notification channel's `labels` are its address.
    for name, key in (("user_labels", "userLabels"), ("labels", "labels")):
        if name in parameters_of(one):
            return cast("Mapping[str, str]", one.inputs.get(key) or {})
    return None


def test_two_stacks_in_one_project_share_no_name() -> None:
    scenario = next(one for one in SCENARIOS if one.name == "callers")
    one, other = (run(scenario.config, stack=name) for name in ("one", "other"))
    assert len(chosen(one)) >= 3
    assert not chosen(one) & chosen(other)


def test_two_components_in_one_stack_share_no_name() -> None:
    graph = stack("two-in-one-stack")
    names = [(kind, str(one.inputs[name])) for kind, name in CHOSEN for one in graph.of(kind) if name in one.inputs]
    assert len(names) >= 6
    assert len(set(names)) == len(names)
    services = [one.inputs["service"] for one in graph.of(VERSION)]
    assert services == ["first", "second"]


# --- Destroy


@every_stack
def test_only_production_blocks_the_deletion_of_data(scenario: Scenario) -> None:
    graph = scenario.graph()
    stops = {one.resource.type for one in destroy.retentions(graph) if one.blocks}
    if scenario.name in PROTECTED:
        assert {DATABASE, BUCKET} <= stops
    else:
        assert stops == set()
    for one in graph.of(DATABASE):
        assert one.inputs["deletionProtection"] is (scenario.name in PROTECTED)
        assert dig(one.inputs, "settings", "deletionProtectionEnabled") is (scenario.name in PROTECTED)


@every_stack
def test_retained_resources_are_listed(scenario: Scenario) -> None:
    graph = scenario.graph()
    kept = {one.resource.type for one in destroy.retentions(graph)}
    managed = any(one.type == APPLICATION and not one.read for one in graph.resources)
    assert (APPLICATION in kept) is managed
    assert "gcp:projects/service:Service" in kept
    if scenario.program is None:
        told = json.dumps(graph.outputs["retained_on_destroy"])
        assert ("App Engine application" in told) is managed
        assert "API" in told


@every_stack
def test_service_is_deleted_before_its_dependencies(scenario: Scenario) -> None:
    graph = scenario.graph()
    below: Callable[[Resource], set[str]] = lambda one: {  # noqa: E731
        found.type for found in graph.resources if found.urn in urns_needed_by(graph, one)
    }
    for one in graph.of(VERSION):
        assert {DATABASE, BUCKET, "gcp:sql/user:User", "gcp:projects/service:Service"} <= below(one)
    for one in graph.of(ACCESSOR):
        assert VERSION in below(one)


def test_existing_application_is_only_read() -> None:
    graph = stack("existing-application")
    assert [one.read for one in graph.of(APPLICATION)] == [True]
    assert graph.of("gcp:appengine/standardAppVersion:StandardAppVersion") == []
