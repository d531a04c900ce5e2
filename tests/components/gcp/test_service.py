"""MLflow's App Engine service: environment, scaling, lifecycle."""

from collections.abc import Mapping
from typing import Any

import pytest

from components import mlflow_environment, proxy_environment
from mlflow_app import settings as image
from mlflow_app import tls
from preview.graph import SECRET, Graph
from proxy_app.auth.iap import IapSettings
from proxy_app.auth.no_auth import AuthSettings
from proxy_app.auth.role_rules import RoleRulesSettings
from proxy_app.settings import Settings as ProxySettings

from .helpers import HOST, NUMBER, PROJECT, only, record_stack, urns_needed_by

VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
SPLIT = "gcp:appengine/engineSplitTraffic:EngineSplitTraffic"
NAMES = {name for name, *_ in (*image.Settings.table(), *ProxySettings.table())}
PRIVATE = {"database": {"privateIp": True}}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "on default": {"app": {"service": "default"}},
    "private database": PRIVATE,
    "application of others": {"app": {"mode": "existing"}},
    "direct artifacts": {"artifacts": {"access": "direct"}},
    "production": {"environment": "production"},
    "sized": {"app": {"cpu": 2, "memoryGb": 4.5, "workers": 6}},
    "named by hand": {"database": {"instanceName": "i" * 60, "name": "tracking", "user": "tracker"}},
}
every_kind = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)


def version(settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return only(record_stack(settings), VERSION).inputs


def told(settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    return version(settings)["envVariables"]


def read(settings: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[image.Settings, ProxySettings]:
    """The settings that the image reads from the environment."""
    # The mock certificates are not valid PEM.
    monkeypatch.setattr(tls, "create_ssl_context", str)
    return image.read_settings(told(settings))


# --- Environment


def test_variable_names_are_known_to_the_image() -> None:
    contract = {value for value in vars(mlflow_environment).values() if isinstance(value, str) and "_APP_" in value}
    assert len(contract) > 8
    assert contract <= NAMES


@every_kind
def test_image_accepts_the_environment(settings: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(told(settings)) <= NAMES
    of_mlflow, of_proxy = read(settings, monkeypatch)
    assert of_proxy.section(AuthSettings).auth
    assert of_proxy.section(IapSettings).iap_audience == f"/projects/{NUMBER}/apps/{PROJECT}"
    assert of_mlflow.database_password_secret.startswith(f"projects/{PROJECT}/secrets/")
    assert not of_mlflow.database_password


@every_kind
def test_environment_has_no_secrets(settings: Mapping[str, Any]) -> None:
    assert "envVariables" not in only(record_stack(settings), VERSION).secret_inputs
    assert SECRET not in told(settings).values()


def test_public_database_is_reached_over_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = record_stack().of("mlflow:index:GcpMlflow")[0].outputs["connection_name"]
    assert read({}, monkeypatch)[0].database_socket == f"/cloudsql/{connection}"
    # App Engine creates the socket for this connection name.
    assert version()["betaSettings"] == {"cloud_sql_instances": connection}
    assert "network" not in version()


def test_private_database_is_reached_over_verified_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    of_mlflow, _ = read(PRIVATE, monkeypatch)
    database = only(record_stack(PRIVATE), "gcp:sql/databaseInstance:DatabaseInstance")
    assert of_mlflow.database_address is not None
    assert (of_mlflow.database_address.host, of_mlflow.database_address.port) == (
        database.outputs["privateIpAddress"],
        3306,
    )
    assert "BEGIN CERTIFICATE" in of_mlflow.database_ca_pem
    assert "betaSettings" not in version(PRIVATE)
    network, subnetwork = (
        only(record_stack(PRIVATE), kind)
        for kind in ("gcp:compute/network:Network", "gcp:compute/subnetwork:Subnetwork")
    )
    # App Engine requires short names.
    assert version(PRIVATE)["network"] == {"name": network.outputs["name"], "subnetwork": subnetwork.outputs["name"]}


def test_database_names_reach_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    of_mlflow, _ = read(KINDS["named by hand"], monkeypatch)
    assert (of_mlflow.database_name, of_mlflow.database_user) == ("tracking", "tracker")


@pytest.mark.parametrize(("access", "proxied"), [("proxied", True), ("direct", False)])
def test_artifact_settings_reach_the_image(access: str, proxied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"artifacts": {"access": access}}
    of_mlflow, _ = read(given, monkeypatch)
    bucket = only(record_stack(given), "gcp:storage/bucket:Bucket", "mlflow-artifacts")
    assert of_mlflow.artifacts_destination == f"gs://{bucket.outputs['name']}"
    assert of_mlflow.artifacts_proxied is proxied


def test_memory_and_workers_reach_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    of_mlflow, _ = read(KINDS["sized"], monkeypatch)
    assert (of_mlflow.memory_limit_mib, of_mlflow.workers) == (4608, 6)
    assert mlflow_environment.WORKERS not in told()
    assert version(KINDS["sized"])["resources"] == {"cpu": 2, "memoryGb": 4.5, "diskGb": 10}


@pytest.mark.parametrize(("service", "host"), [("mlflow", f"mlflow-dot-{HOST}"), ("default", HOST)])
def test_allowed_hosts_are_the_services_hosts(service: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"app": {"service": service}}
    _, of_proxy = read(given, monkeypatch)
    assert of_proxy.public_url == f"https://{host}"
    assert set(of_proxy.allowed_hosts) == {host, f"*-dot-{host}"}
    outputs = record_stack(given).of("mlflow:index:GcpMlflow")[0].outputs
    assert outputs["url"] == outputs["tracking_uri"] == f"https://{host}"


def test_role_rules_reach_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read({}, monkeypatch)[1].section(RoleRulesSettings).role_rules == "domain:example.com=editor"
    assert proxy_environment.ROLE_RULES not in told({"access": {}})


def test_health_checks_use_the_proxys_paths() -> None:
    assert version()["livenessCheck"]["path"] == proxy_environment.HEALTH
    assert version()["readinessCheck"]["path"] == proxy_environment.READY


# --- Scaling and timeouts


def test_automatic_scaling_follows_the_settings() -> None:
    given = {"app": {"minInstances": 3, "maxInstances": 5, "cpuUtilization": 0.6}}
    assert version(given)["automaticScaling"] == {
        "minTotalInstances": 3,
        "maxTotalInstances": 5,
        "cpuUtilization": {"targetUtilization": 0.6},
    }


def test_timeouts_cover_a_schema_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = int(str(version()["readinessCheck"]["appStartTimeout"]).removesuffix("s"))
    assert seconds >= read({}, monkeypatch)[0].schema_lock_timeout
    timeouts = only(record_stack(), VERSION).timeouts
    for action in ("create", "update"):
        assert int(timeouts[action].removesuffix("m")) * 60 >= seconds + 600


# --- Lifecycle


def test_version_id_never_changes() -> None:
    assert {version(settings)["versionId"] for settings in KINDS.values()} == {"v1"}


def test_changed_service_replaces_version_and_split() -> None:
    assert only(record_stack(), VERSION).replace_on_changes == ("service",)
    assert only(record_stack(), SPLIT).replace_on_changes == ("service",)


@every_kind
def test_all_traffic_goes_to_the_version(settings: Mapping[str, Any]) -> None:
    graph = record_stack(settings)
    split, made = only(graph, SPLIT), only(graph, VERSION)
    assert split.inputs["service"] == made.inputs["service"]
    assert split.inputs["split"] == {"allocations": {made.inputs["versionId"]: "1"}}
    assert split.inputs["migrateTraffic"] is False
    assert made.urn in urns_needed_by(graph, split)


@every_kind
def test_destroy_deletes_the_service_unless_it_is_default(settings: Mapping[str, Any]) -> None:
    graph = record_stack(settings)
    made = only(graph, VERSION).inputs
    alone = made["service"] == "default"
    assert (made["noopOnDestroy"], made["deleteServiceOnDestroy"]) == (alone, not alone)
    assert any("gcloud app versions stop v1 --service default" in text for text in kept(graph)) is alone


def kept(graph: Graph) -> list[str]:
    return graph.of("mlflow:index:GcpMlflow")[0].outputs["retained_on_destroy"]


@every_kind
def test_version_depends_on_everything_it_needs(settings: Mapping[str, Any]) -> None:
    graph = record_stack(settings)
    below = urns_needed_by(graph, only(graph, VERSION))
    account = only(graph, VERSION).inputs["serviceAccount"]
    rights = {one.urn for one in graph.resources if one.inputs.get("member") == f"serviceAccount:{account}"}
    there = {
        one.urn
        for one in graph.resources
        if one.type
        in (
            "gcp:appengine/application:Application",
            "gcp:appengine/standardAppVersion:StandardAppVersion",
            "gcp:sql/user:User",
            "gcp:sql/database:Database",
            "gcp:secretmanager/secretVersion:SecretVersion",
            "gcp:compute/firewall:Firewall",
        )
    }
    assert len(rights) > 4
    assert rights | there <= below
