"""MLflow's App Engine service: environment, scaling, lifecycle."""

from collections.abc import Mapping
from typing import Any

import pytest

from components import mlflow_environment, proxy_environment
from mlflow_app import settings as image
from preview.graph import SECRET, Graph
from proxy_app.auth.iap import IapSettings
from proxy_app.auth.no_auth import AuthSettings
from proxy_app.auth.role_rules import RoleRulesSettings
from proxy_app.settings import Settings as ProxySettings

from .helpers import HOST, NUMBER, PROJECT, only, record_stack, transitive_dependencies

VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
SPLIT = "gcp:appengine/engineSplitTraffic:EngineSplitTraffic"
IMAGE_VARIABLES = {name for name, *_ in (*image.Settings.table(), *ProxySettings.table())}
IAM = {"database": {"iamAuthentication": True}}
PRIVATE = {"database": {"privateIp": True}}
CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "default settings": {},
    "default service": {"app": {"service": "default"}},
    "private database": PRIVATE,
    "existing application": {"app": {"mode": "existing"}},
    "direct artifacts": {"artifacts": {"access": "direct"}},
    "production": {"environment": "production"},
    "configured size": {"app": {"cpu": 2, "memoryGb": 4.5, "workers": 6}},
    "configured names": {"database": {"instanceName": "i" * 60, "name": "tracking", "user": "tracker"}},
}
every_configuration = pytest.mark.parametrize("settings", CONFIGURATIONS.values(), ids=CONFIGURATIONS)


def version_inputs(settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return only(record_stack(settings), VERSION).inputs


def variables(settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    return version_inputs(settings)["envVariables"]


def image_settings(settings: Mapping[str, Any]) -> tuple[image.Settings, ProxySettings]:
    """The settings that the image reads from the environment."""
    return image.read_settings(variables(settings))


# --- Environment


def test_variable_names_are_known_to_the_image() -> None:
    app_variables = {
        value for value in vars(mlflow_environment).values() if isinstance(value, str) and "_APP_" in value
    }
    assert len(app_variables) > 8
    assert app_variables <= IMAGE_VARIABLES


@every_configuration
def test_image_accepts_the_environment(settings: Mapping[str, Any]) -> None:
    assert set(variables(settings)) <= IMAGE_VARIABLES
    app_settings, proxy_settings = image_settings(settings)
    assert proxy_settings.section(AuthSettings).auth
    assert proxy_settings.section(IapSettings).iap_audience == f"/projects/{NUMBER}/apps/{PROJECT}"
    assert app_settings.database_password_secret.startswith(f"projects/{PROJECT}/secrets/")
    assert not app_settings.database_password


@every_configuration
def test_environment_has_no_secrets(settings: Mapping[str, Any]) -> None:
    assert "envVariables" not in only(record_stack(settings), VERSION).secret_inputs
    assert SECRET not in variables(settings).values()


@pytest.mark.parametrize(("settings", "ip_type"), [({}, "public"), (PRIVATE, "private")])
def test_database_is_connected_by_its_connection_name(settings: Mapping[str, Any], ip_type: str) -> None:
    connection = record_stack(settings).of("mlflow:index:GcpMlflow")[0].outputs["connection_name"]
    app_settings, _ = image_settings(settings)
    assert (app_settings.database_instance, app_settings.database_ip_type) == (connection, ip_type)
    # No Cloud SQL Auth Proxy of App Engine: GoogleCloudPlatform/cloud-sql-proxy#2317.
    assert "betaSettings" not in version_inputs(settings)


def test_iam_login_uses_the_name_of_the_service_account() -> None:
    graph = record_stack(IAM)
    app_settings, _ = image_settings(IAM)
    (account,) = [
        account for account in graph.of("gcp:serviceaccount/account:Account") if account.name == "mlflow-server"
    ]
    assert app_settings.database_iam_login
    assert app_settings.database_user == account.inputs["accountId"]
    assert not app_settings.database_password_secret
    (component,) = graph.of("mlflow:index:GcpMlflow")
    assert component.outputs.get("password_secret") is None


def test_public_database_needs_no_network() -> None:
    assert "network" not in version_inputs()


def test_instances_are_in_the_network_of_a_private_database() -> None:
    network, subnetwork = (
        only(record_stack(PRIVATE), kind)
        for kind in ("gcp:compute/network:Network", "gcp:compute/subnetwork:Subnetwork")
    )
    # App Engine requires short names.
    assert version_inputs(PRIVATE)["network"] == {
        "name": network.outputs["name"],
        "subnetwork": subnetwork.outputs["name"],
        "instanceIpMode": "EXTERNAL",
    }


def test_image_reads_the_database_names() -> None:
    app_settings, _ = image_settings(CONFIGURATIONS["configured names"])
    assert (app_settings.database_name, app_settings.database_user) == ("tracking", "tracker")


@pytest.mark.parametrize(("access", "proxied"), [("proxied", True), ("direct", False)])
def test_image_reads_the_artifact_settings(access: str, proxied: bool) -> None:
    settings = {"artifacts": {"access": access}}
    app_settings, _ = image_settings(settings)
    bucket = only(record_stack(settings), "gcp:storage/bucket:Bucket", "mlflow-artifacts")
    assert app_settings.artifacts_destination == f"gs://{bucket.outputs['name']}"
    assert app_settings.artifacts_proxied is proxied


def test_image_reads_memory_and_workers() -> None:
    app_settings, _ = image_settings(CONFIGURATIONS["configured size"])
    assert (app_settings.memory_limit_mib, app_settings.workers) == (4608, 6)
    assert mlflow_environment.WORKERS not in variables()
    assert version_inputs(CONFIGURATIONS["configured size"])["resources"] == {"cpu": 2, "memoryGb": 4.5, "diskGb": 10}


@pytest.mark.parametrize(("service", "host"), [("mlflow", f"mlflow-dot-{HOST}"), ("default", HOST)])
def test_allowed_hosts_are_the_services_hosts(service: str, host: str) -> None:
    settings = {"app": {"service": service}}
    _, proxy_settings = image_settings(settings)
    assert proxy_settings.public_url == f"https://{host}"
    assert set(proxy_settings.allowed_hosts) == {host, f"*-dot-{host}"}
    outputs = record_stack(settings).of("mlflow:index:GcpMlflow")[0].outputs
    assert outputs["url"] == outputs["tracking_uri"] == f"https://{host}"


def test_domain_is_the_public_name_and_app_engines_names_stay_allowed() -> None:
    settings = {"app": {"domain": "mlflow.example.com"}}
    _, proxy_settings = image_settings(settings)
    assert proxy_settings.public_url == "https://mlflow.example.com"
    service_host = f"mlflow-dot-{HOST}"
    assert set(proxy_settings.allowed_hosts) == {"mlflow.example.com", service_host, f"*-dot-{service_host}"}


def test_proxy_reads_the_role_rules() -> None:
    assert image_settings({})[1].section(RoleRulesSettings).role_rules == "domain:example.com=editor"
    assert proxy_environment.ROLE_RULES not in variables({"access": {}})


def test_health_checks_use_the_proxys_paths() -> None:
    assert version_inputs()["livenessCheck"]["path"] == proxy_environment.HEALTH
    assert version_inputs()["readinessCheck"]["path"] == proxy_environment.STARTED


# --- Scaling and timeouts


def test_automatic_scaling_follows_the_settings() -> None:
    settings = {"app": {"minInstances": 3, "maxInstances": 5, "cpuUtilization": 0.6}}
    assert version_inputs(settings)["automaticScaling"] == {
        "minTotalInstances": 3,
        "maxTotalInstances": 5,
        "cpuUtilization": {"targetUtilization": 0.6},
    }


@pytest.mark.parametrize("seconds", [600, 1800])
def test_timeouts_exceed_the_start_timeout_and_the_time_to_boot(seconds: int) -> None:
    version = only(record_stack({"app": {"startTimeoutSeconds": seconds}}), VERSION)
    assert version.inputs["readinessCheck"]["appStartTimeout"] == f"{seconds}s"
    for action in ("create", "update"):
        assert int(version.timeouts[action].removesuffix("s")) >= seconds + 600


# --- Lifecycle


def test_version_id_is_the_same_in_every_configuration() -> None:
    assert {version_inputs(settings)["versionId"] for settings in CONFIGURATIONS.values()} == {"v1"}


def test_changed_service_replaces_version_and_split() -> None:
    assert only(record_stack(), VERSION).replace_on_changes == ("service",)
    assert only(record_stack(), SPLIT).replace_on_changes == ("service",)


@every_configuration
def test_all_traffic_goes_to_the_version(settings: Mapping[str, Any]) -> None:
    graph = record_stack(settings)
    split, flexible_version = only(graph, SPLIT), only(graph, VERSION)
    assert split.inputs["service"] == flexible_version.inputs["service"]
    assert split.inputs["split"] == {"allocations": {flexible_version.inputs["versionId"]: "1"}}
    assert split.inputs["migrateTraffic"] is False
    assert flexible_version.urn in transitive_dependencies(graph, split)


@every_configuration
def test_destroy_deletes_the_service_unless_it_is_default(settings: Mapping[str, Any]) -> None:
    graph = record_stack(settings)
    inputs = only(graph, VERSION).inputs
    is_default = inputs["service"] == "default"
    assert (inputs["noopOnDestroy"], inputs["deleteServiceOnDestroy"]) == (is_default, not is_default)
    assert any("gcloud app versions stop v1 --service default" in text for text in retained_lines(graph)) is is_default


def retained_lines(graph: Graph) -> list[str]:
    return graph.of("mlflow:index:GcpMlflow")[0].outputs["retained_on_destroy"]


@every_configuration
def test_version_depends_on_its_bindings_and_required_resources(settings: Mapping[str, Any]) -> None:
    graph = record_stack(settings)
    dependencies_of_version = transitive_dependencies(graph, only(graph, VERSION))
    account = only(graph, VERSION).inputs["serviceAccount"]
    bindings = {
        resource.urn for resource in graph.resources if resource.inputs.get("member") == f"serviceAccount:{account}"
    }
    dependencies = {
        resource.urn
        for resource in graph.resources
        if resource.type
        in (
            "gcp:appengine/application:Application",
            "gcp:appengine/standardAppVersion:StandardAppVersion",
            "gcp:sql/user:User",
            "gcp:sql/database:Database",
            "gcp:secretmanager/secretVersion:SecretVersion",
            "gcp:compute/firewall:Firewall",
        )
    }
    assert len(bindings) > 4
    assert bindings | dependencies <= dependencies_of_version
