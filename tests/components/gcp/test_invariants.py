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
from preview.graph import SECRET, Graph, Resource, value_at

from ..scenario import Scenario, run
from .helpers import transitive_dependencies
from .scenarios import MINIMAL, OAUTH_SECRET, PROJECT, SCENARIOS

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
COMPONENT = "mlflow:index:GcpMlflow"
APPLICATION = "gcp:appengine/application:Application"
VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
DOMAIN = "gcp:appengine/domainMapping:DomainMapping"
DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
BUCKET = "gcp:storage/bucket:Bucket"
SUBNETWORK_IAM = "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember"
SECRET_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
ACCESSOR = "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember"
# Scenarios with a private database.
PRIVATE = ("shared-vpc", "production", "private-database", "existing-network")
PROTECTED = ("production", "explicit-providers")


def graph_of(name: str) -> Graph:
    return next(scenario for scenario in SCENARIOS if scenario.name == name).graph()


def managed_resources(graph: Graph) -> Iterator[Resource]:
    """Google Cloud resources that the stack manages."""
    return (resource for resource in graph.resources if resource.type.startswith("gcp:") and not resource.read)


def class_of(resource: Resource) -> Any:
    """The SDK class of a resource."""
    _, module, name = resource.type.split(":")
    return getattr(getattr(pulumi_gcp, module.split("/")[0]), name)


def parameters_of(resource: Resource) -> set[str]:
    return set(inspect.signature(class_of(resource)._internal_init).parameters)


# --- Network access


@every_scenario
def test_database_authorizes_no_network(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert graph.of(DATABASE)
    for database in graph.of(DATABASE):
        ip_configuration = value_at(database.inputs, "settings", "ipConfiguration")
        assert not ip_configuration.get("authorizedNetworks")
        assert ip_configuration["sslMode"] in ("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED")
        assert ip_configuration["ipv4Enabled"] is (scenario.name not in PRIVATE)
        assert bool(ip_configuration.get("privateNetwork")) is (scenario.name in PRIVATE)


@every_scenario
def test_buckets_are_private(scenario: Scenario) -> None:
    for bucket in scenario.graph().of(BUCKET):
        assert bucket.inputs["publicAccessPrevention"] == "enforced"
        assert bucket.inputs["uniformBucketLevelAccess"] is True


@every_scenario
def test_managed_applications_have_iap_enabled(scenario: Scenario) -> None:
    for resource in managed_resources(scenario.graph()):
        if resource.type == APPLICATION:
            assert value_at(resource.inputs, "iap", "enabled") is True
            assert value_at(resource.inputs, "iap", "oauth2ClientSecret") == SECRET


@every_scenario
def test_proxy_accepts_iap_assertions_and_the_services_hosts_only(scenario: Scenario) -> None:
    for version in scenario.graph().of(VERSION):
        variables = version.inputs["envVariables"]
        assert re.fullmatch(r"/projects/\d+/apps/[a-z0-9-]+", variables["MLFLOW_PROXY_IAP_AUDIENCE"])
        assert not {"MLFLOW_PROXY_AUTH", "MLFLOW_PROXY_TOKENS_FILE", "MLFLOW_PROXY_TOKENS_SECRET"} & set(variables)
        assert not [name for name, value in variables.items() if "\n" in value]
        host = variables["MLFLOW_PROXY_PUBLIC_URL"].removeprefix("https://")
        *domains, service_host, others = variables["MLFLOW_PROXY_ALLOWED_HOSTS"].split(",")
        assert service_host.endswith(".r.appspot.com")
        assert others == f"*-dot-{service_host}"
        assert (domains or [service_host]) == [host]
        assert domains == [mapping.inputs["domainName"] for mapping in scenario.graph().of(DOMAIN)]


@every_scenario
def test_access_is_granted_to_valid_members_only(scenario: Scenario) -> None:
    for binding in scenario.graph().of(ACCESSOR):
        assert binding.inputs["role"] == "roles/iap.httpsResourceAccessor"
        assert is_member(binding.inputs["member"]), binding.inputs["member"]


@every_scenario
def test_new_vpc_allows_google_front_end_ranges_only(scenario: Scenario) -> None:
    graph = scenario.graph()
    for firewall in graph.of("gcp:compute/firewall:Firewall"):
        assert set(firewall.inputs["sourceRanges"]) <= {"35.191.0.0/16", "130.211.0.0/22"}
    new_network = ("production", "explicit-providers", "private-database")
    assert bool(graph.of("gcp:compute/network:Network")) is (scenario.name in new_network)


# --- IAM

# By resource type. Roles on the project are those that cannot be granted on a narrower resource.
ALLOWED_ROLES: Mapping[str, set[str]] = {
    "gcp:projects/iAMMember:IAMMember": {
        "roles/cloudsql.client",
        "roles/cloudsql.instanceUser",
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
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": {"roles/cloudkms.cryptoKeyEncrypterDecrypter"},
}


@every_scenario
def test_iam_roles_are_the_allowed_roles(scenario: Scenario) -> None:
    granted = [
        resource for resource in managed_resources(scenario.graph()) if {"role", "member"} <= set(resource.inputs)
    ]
    assert len(granted) > 6
    for binding in granted:
        assert binding.inputs["role"] in ALLOWED_ROLES[binding.type], binding.urn
        assert not binding.inputs["member"].startswith("all")
    # Authoritative policies and bindings would remove roles that are granted outside the stack.
    authoritative = re.compile(r"iam(policy|binding)$", re.IGNORECASE)
    assert not [resource.urn for resource in managed_resources(scenario.graph()) if authoritative.search(resource.type)]


@every_scenario
def test_mlflow_runs_as_its_own_service_account(scenario: Scenario) -> None:
    graph = scenario.graph()
    accounts = {account.outputs["email"] for account in graph.of("gcp:serviceaccount/account:Account")}
    for version in graph.of(VERSION):
        assert version.inputs["serviceAccount"] in accounts


# --- Data


@every_scenario
def test_databases_have_backups_and_artifact_buckets_have_versions(scenario: Scenario) -> None:
    graph = scenario.graph()
    for database in graph.of(DATABASE):
        backup = value_at(database.inputs, "settings", "backupConfiguration")
        assert backup["enabled"]
        assert backup["binaryLogEnabled"]
        assert backup["transactionLogRetentionDays"] >= 1
    for bucket in graph.of(BUCKET):
        if bucket.name.endswith("-artifacts"):
            assert value_at(bucket.inputs, "versioning", "enabled") is True
            assert {value_at(rule, "action", "type") for rule in bucket.inputs["lifecycleRules"]} == {
                "Delete",
                "AbortIncompleteMultipartUpload",
            }


@every_scenario
def test_log_buckets_have_a_retention(scenario: Scenario) -> None:
    log_buckets = scenario.graph().of("gcp:logging/projectBucketConfig:ProjectBucketConfig")
    assert log_buckets
    assert all(log_bucket.inputs["retentionDays"] > 0 for log_bucket in log_buckets)


@every_scenario
def test_images_are_referenced_by_digest(scenario: Scenario) -> None:
    for version in scenario.graph().of(VERSION):
        assert re.search(r"@sha256:[0-9a-f]{64}$", value_at(version.inputs, "deployment", "container", "image"))


@every_scenario
def test_secrets_are_secret_and_outputs_are_not(scenario: Scenario) -> None:
    graph = scenario.graph()
    assert graph.of(SECRET_VERSION)
    for secret_version in graph.of(SECRET_VERSION):
        assert secret_version.inputs["secretData"] == SECRET
    for user in graph.of("gcp:sql/user:User"):
        by_iam = user.inputs.get("type") == "CLOUD_IAM_SERVICE_ACCOUNT"
        assert user.inputs.get("password") == (None if by_iam else SECRET)
    for version in graph.of(VERSION):
        assert SECRET not in version.inputs["envVariables"].values()
    # Outputs are not secret, although some depend on objects with secrets.
    if scenario.program is None:
        assert SECRET not in graph.outputs.values()


# --- Labels, names, locations


@every_scenario
def test_resources_with_label_support_have_labels(scenario: Scenario) -> None:
    graph = scenario.graph()
    labelled = [
        (resource, labels) for resource in managed_resources(graph) if (labels := labels_of(resource)) is not None
    ]
    assert len(labelled) > 5
    for resource, labels in labelled:
        component = list(graph.ancestors(resource))[-1].name
        assert labels.items() >= {"project": "mlflow", "stack": scenario.stack, "component": component}.items(), (
            resource.urn
        )
    database = graph.of(DATABASE)[0]
    assert value_at(database.inputs, "settings", "userLabels", "stack") == scenario.stack


@every_scenario
def test_resources_are_in_the_configured_project(scenario: Scenario) -> None:
    graph = scenario.graph()
    (project,) = {database.inputs["project"] for database in graph.of(DATABASE)}
    assert project == PROJECT
    for resource in managed_resources(graph):
        # The secret's name in a secret version has the project.
        if resource.type == SUBNETWORK_IAM and scenario.name == "shared-vpc":
            assert resource.inputs["project"] == "network-team-1"
        elif "project" in parameters_of(resource) and resource.type != SECRET_VERSION:
            assert resource.inputs.get("project") == project, resource.urn


# (maximum length, pattern) of names that the program sets, by type and property, from the services' references.
NAME_RULES: Mapping[tuple[str, str], tuple[int, str]] = {
    ("gcp:artifactregistry/repository:Repository", "repositoryId"): (63, r"[a-z]([a-z0-9-]*[a-z0-9])?"),
    ("gcp:secretmanager/secret:Secret", "secretId"): (255, r"[A-Za-z0-9_-]+"),
    ("gcp:serviceaccount/account:Account", "accountId"): (30, r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
    ("gcp:logging/projectBucketConfig:ProjectBucketConfig", "bucketId"): (100, r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
    ("gcp:logging/projectSink:ProjectSink", "name"): (100, r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
    ("gcp:logging/metric:Metric", "name"): (100, r"[A-Za-z0-9_.,+!*',()%/-]+"),
    (BUCKET, "name"): (63, r"(?!goog)[a-z0-9][a-z0-9_-]+[a-z0-9]"),
    (DATABASE, "name"): (67, r"[a-z][a-z0-9-]*[a-z0-9]"),
}


def fixed_names(graph: Graph) -> set[tuple[str, str]]:
    """(type, name) of each name that has to be unique in its project and has no random part."""
    return {
        (kind, str(resource.inputs[name]))
        for kind, name in NAME_RULES
        for resource in graph.of(kind)
        if name in resource.inputs
        # Other dependencies than on the Stash with the original names are on generated names.
        and all("$pulumi:index:Stash::" in urn for urn in resource.property_dependencies.get(name, ()))
    }


@pytest.mark.parametrize("stack_name", ["a" * 100, "9.Lives_-", "-", "Prod"])
def test_physical_names_are_valid_for_any_stack_name(stack_name: str) -> None:
    def program() -> None:
        args: Any = {
            **MINIMAL,
            "oauth_client_secret": OAUTH_SECRET,
            "database": {"privateIp": True},
            "access": {**MINIMAL["access"], "clientServiceAccount": True},
            "monitoring": {"alarmEmail": "ops@example.com"},
        }
        GcpMlflow("mlflow-long-name", args)

    graph = run({}, program, stack=stack_name, project="a-project-with-a-very-long-name")
    checked: set[str] = set()
    for (kind, name), (limit, pattern) in NAME_RULES.items():
        for resource in graph.of(kind):
            # Pulumi's auto-naming appends seven digits to the logical name.
            physical_name = str(resource.inputs.get(name) or f"{resource.name}-0a1b2c3")
            checked.add(kind)
            assert len(physical_name) <= limit, f"{kind}: {physical_name}"
            assert re.fullmatch(pattern, physical_name), f"{kind}: {physical_name}"
    assert checked == {kind for kind, _ in NAME_RULES}
    for resource in managed_resources(graph):
        for value in (labels_of(resource) or {}).values():
            assert re.fullmatch(r"[a-z0-9_-]{0,63}", value), f"{resource.urn}: {value}"


def labels_of(resource: Resource) -> Mapping[str, str] | None:
    """The labels of a resource; None if its type has none."""
    # The `labels` of a notification channel are its address.
    for name, key in (("user_labels", "userLabels"), ("labels", "labels")):
        if name in parameters_of(resource):
            return cast("Mapping[str, str]", resource.inputs.get(key) or {})
    return None


def test_two_stacks_in_a_project_have_different_names() -> None:
    scenario = next(candidate for candidate in SCENARIOS if candidate.name == "clients")
    first, second = (run(scenario.config, stack=name) for name in ("first", "second"))
    assert len(fixed_names(first)) >= 3
    assert not fixed_names(first) & fixed_names(second)


def test_two_components_in_a_stack_have_different_names() -> None:
    graph = graph_of("two-in-one-stack")
    names = [
        (kind, str(resource.inputs[name]))
        for kind, name in NAME_RULES
        for resource in graph.of(kind)
        if name in resource.inputs
    ]
    assert len(names) >= 6
    assert len(set(names)) == len(names)
    services = [version.inputs["service"] for version in graph.of(VERSION)]
    assert services == ["first", "second"]


# --- Destroy


@every_scenario
def test_only_production_blocks_the_deletion_of_data(scenario: Scenario) -> None:
    graph = scenario.graph()
    blocking = {retention.resource.type for retention in destroy.retentions(graph) if retention.blocks}
    if scenario.name in PROTECTED:
        assert {DATABASE, BUCKET} <= blocking
    else:
        assert blocking == set()
    for database in graph.of(DATABASE):
        assert database.inputs["deletionProtection"] is (scenario.name in PROTECTED)
        assert value_at(database.inputs, "settings", "deletionProtectionEnabled") is (scenario.name in PROTECTED)


def test_production_protects_what_cannot_be_created_again() -> None:
    graph = graph_of("production")
    expected = {
        DATABASE,
        "gcp:sql/database:Database",
        "gcp:sql/user:User",
        APPLICATION,
        "gcp:secretmanager/secret:Secret",
        "gcp:logging/projectBucketConfig:ProjectBucketConfig",
    }
    for type_token in expected:
        resources = graph.of(type_token)
        assert resources, type_token
        assert all(resource.protect for resource in resources), type_token
    # The accounts of the placeholder page and of the canary, and the page's bucket, are no names or data of others.
    others = [*graph.of("gcp:serviceaccount/account:Account"), *graph.of(BUCKET)]
    assert {resource.name: resource.protect for resource in others} == {
        "mlflow-server": True,
        "mlflow-placeholder": False,
        "mlflow-canary": False,
        "mlflow-artifacts": True,
    }


@every_scenario
def test_retained_resources_are_listed(scenario: Scenario) -> None:
    graph = scenario.graph()
    retained = {retention.resource.type for retention in destroy.retentions(graph)}
    managed = any(resource.type == APPLICATION and not resource.read for resource in graph.resources)
    assert (APPLICATION in retained) is managed
    assert "gcp:projects/service:Service" in retained
    if scenario.program is None:
        listed = json.dumps(graph.outputs["retained_on_destroy"])
        assert ("App Engine application" in listed) is managed
        assert "API" in listed


@every_scenario
def test_service_is_deleted_before_its_dependencies(scenario: Scenario) -> None:
    graph = scenario.graph()
    dependency_types: Callable[[Resource], set[str]] = lambda resource: {  # noqa: E731
        dependency.type for dependency in graph.resources if dependency.urn in transitive_dependencies(graph, resource)
    }
    for version in graph.of(VERSION):
        assert {DATABASE, BUCKET, "gcp:sql/user:User", "gcp:projects/service:Service"} <= dependency_types(version)
    for binding in graph.of(ACCESSOR):
        assert VERSION in dependency_types(binding)


def test_existing_application_is_only_read() -> None:
    graph = graph_of("existing-application")
    assert [application.read for application in graph.of(APPLICATION)] == [True]
    assert graph.of("gcp:appengine/standardAppVersion:StandardAppVersion") == []
