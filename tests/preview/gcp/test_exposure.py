from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp
import pytest

from preview.cloud import Egress, Ingress, MlflowRoleBinding
from preview.exposure import exposure
from preview.recorder import record

from .programs import (
    AUDIENCE,
    PROJECT,
    account,
    application,
    database,
    firewall_rule,
    grant,
    grant_iap_access,
    placeholder,
    version,
    vpc,
)

HEALTH = "/live, /ready"
DIRECT = "Google's health checks, sources that VPC default allows"


def in_vpc(network: gcp.compute.Network) -> gcp.appengine.FlexibleAppVersionNetworkArgs:
    return gcp.appengine.FlexibleAppVersionNetworkArgs(name=network.name)


def ingress(program: Callable[[], object]) -> list[Ingress]:
    return exposure(record(program)).ingress


def authentications(program: Callable[[], object]) -> list[str]:
    """The authentication of each path from the internet to the service."""
    return [row.authentication for row in ingress(program) if row.source == "the internet" and "mlflow" in row.target]


def test_service_behind_iap_requires_sign_in_then_role() -> None:
    def program() -> None:
        application()
        version()
        grant_iap_access("users", "group:ml@example.com")

    assert ingress(program) == [
        Ingress(
            "the internet",
            "Identity-Aware Proxy > mlflow",
            "443 HTTPS",
            "all",
            "IAP sign-in as group:ml@example.com, then role",
        ),
        Ingress(DIRECT, "mlflow", "all", HEALTH, "none"),
        Ingress(DIRECT, "mlflow", "all", "all others", "IAP assertion"),
    ]


def test_members_with_the_same_condition_share_a_row() -> None:
    def program() -> None:
        application()
        version()
        grant_iap_access("a", "user:a@example.com")
        grant_iap_access("b", account("robot").member)
        grant_iap_access("c", "user:c@example.com", until="2027")
        grant_iap_access("d", "user:d@example.com", until="2027")

    assert authentications(program) == [
        "IAP sign-in as user:a@example.com or robot, then role",
        "IAP sign-in as user:c@example.com or user:d@example.com if until 2027: year < 2027, then role",
    ]


def test_members_of_another_service_are_ignored() -> None:
    def program() -> None:
        application()
        version()
        placeholder()
        grant_iap_access("other", "user:a@example.com", service="default")

    assert [row.authentication for row in ingress(program) if row.target.startswith("Identity-Aware Proxy")] == [
        "IAP sign-in (no member has access)",
        "IAP sign-in as user:a@example.com",
    ]


@pytest.mark.parametrize("public", ["allUsers", "allAuthenticatedUsers"])
def test_public_members_are_shown_as_anyone(public: str) -> None:
    assert authentications(lambda: (application(), version(), grant_iap_access("all", public))) == [
        "IAP sign-in as anyone, then role"
    ]


def test_missing_role_rules_are_reported() -> None:
    assert authentications(lambda: (application(), version(AUDIENCE), grant_iap_access("a", "user:a@b.de"))) == [
        "IAP sign-in as user:a@b.de, then role (there are no role rules)"
    ]


@pytest.mark.parametrize("iap", [False, None])
def test_no_request_has_the_assertion_without_iap(*, iap: bool | None) -> None:
    found = ingress(lambda: (application(iap=iap), version()))
    assert found[0] == Ingress("the internet", "mlflow", "443 HTTPS", "all", "IAP assertion, which no request has")


def test_service_without_iap_and_proxy_has_no_authentication() -> None:
    found = ingress(lambda: (application(iap=False), version({"OTHER": "x"})))
    assert [row.authentication for row in found] == ["none", "unknown"]


def test_sign_in_of_an_existing_application_depends_on_its_iap_setting() -> None:
    def program() -> None:
        gcp.appengine.Application.get("app", PROJECT)
        version()
        grant_iap_access("a", "user:a@example.com")

    assert authentications(program) == ["IAP sign-in (if enabled) as user:a@example.com, then role"]


def test_firewall_rules_of_a_new_vpc_are_shown() -> None:
    def program() -> None:
        application()
        network = vpc()
        version(network=in_vpc(network))
        version(service="other")
        google = ["35.191.0.0/16", "130.211.0.0/22"]
        tcp = gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["8443", "10402"])
        firewall_rule("google", network, source_ranges=google, allows=[tcp])
        firewall_rule(
            "office",
            network,
            source_ranges=[google[0], "192.0.2.0/24"],
            allows=[gcp.compute.FirewallAllowArgs(protocol="all")],
        )

    google, office = "Google's front end and health checks", "35.191.0.0/16, 192.0.2.0/24"
    assert ingress(program)[4:] == [
        Ingress(google, "mlflow", "8443, 10402", HEALTH, "none"),
        Ingress(google, "mlflow", "8443, 10402", "all others", "IAP assertion"),
        Ingress(office, "mlflow", "all", HEALTH, "none"),
        Ingress(office, "mlflow", "all", "all others", "IAP assertion"),
    ]


def test_firewall_rule_without_versions_targets_the_vpc() -> None:
    allow = gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["22"])
    assert ingress(lambda: firewall_rule("ssh", vpc(), allows=[allow])) == [
        Ingress("the internet", "VPC vpc", "22", "", "unknown")
    ]


def test_public_database_requires_a_cloud_sql_client_certificate() -> None:
    def program() -> None:
        database()
        grant("client", "roles/cloudsql.client", account("server").member)

    assert ingress(program) == [
        Ingress(
            "the internet",
            "data",
            "3307 TLS",
            "",
            "Cloud SQL client certificate (cloudsql.client: server), then password",
        )
    ]


@pytest.mark.parametrize(
    ("mode", "password"),
    [
        ("ENCRYPTED_ONLY", "password over TLS"),
        ("ALLOW_UNENCRYPTED_AND_ENCRYPTED", "password, TLS optional"),
        (None, "password, TLS optional"),
    ],
)
def test_private_database_is_reachable_from_its_vpc(mode: str | None, password: str) -> None:
    def program(network: pulumi.Input[str]) -> None:
        database(
            ip=gcp.sql.DatabaseInstanceSettingsIpConfigurationArgs(
                ipv4_enabled=False, private_network=network, ssl_mode=mode
            )
        )

    row = Ingress("VPC vpc", "data", "3306", "", password)
    assert ingress(lambda: program(vpc().id)) == [row]
    assert ingress(lambda: program(f"projects/{PROJECT}/global/networks/corp")) == [row._replace(source="VPC corp")]


@pytest.mark.parametrize(
    ("prevention", "member", "authentication"),
    [
        ("enforced", None, "IAM, public access prevented"),
        ("inherited", None, "IAM"),
        ("inherited", "user:a@b.de", "IAM"),
        ("inherited", "allUsers", "none (storage.objectViewer)"),
    ],
)
def test_bucket_shows_public_access(prevention: str, member: str | None, authentication: str) -> None:
    def program() -> None:
        bucket = gcp.storage.Bucket("b", location="EU", public_access_prevention=prevention)
        if member:
            gcp.storage.BucketIAMMember("r", bucket=bucket.name, role="roles/storage.objectViewer", member=member)

    assert ingress(program) == [Ingress("the internet", "b", "443 HTTPS", "", authentication)]


def test_egress_follows_the_database_of_a_version() -> None:
    def program() -> None:
        version({"INSTANCE": database("first").connection_name}, "one")
        database("second")

    assert exposure(record(program)).egress == [
        Egress("one", "first", "3307"),
        Egress("one", "any address", "all"),
    ]


def test_egress_of_instances_without_public_addresses_needs_a_route() -> None:
    network = gcp.appengine.FlexibleAppVersionNetworkArgs(name="corp", instance_ip_mode="INTERNAL")
    assert exposure(record(lambda: version(network=network))).egress == [
        Egress("mlflow", "any address with a route", "all")
    ]


def test_role_rules_become_mlflow_roles() -> None:
    rules = {"MLFLOW_PROXY_ROLE_RULES": "domain:a.de=viewer, email:x@a.de=admin, domain:b.de=viewer"}
    assert exposure(record(lambda: version(rules))).role_bindings == [
        MlflowRoleBinding("viewer", "domain:a.de, domain:b.de"),
        MlflowRoleBinding("admin", "email:x@a.de"),
    ]


def test_mlflow_roles_of_several_services_name_the_service() -> None:
    rules = {"MLFLOW_PROXY_ROLE_RULES": "domain:a.de=viewer"}
    assert exposure(
        record(lambda: (version(rules, "one"), version(rules, "two"), version({}, "none")))
    ).role_bindings == [
        MlflowRoleBinding("viewer", "domain:a.de", "one"),
        MlflowRoleBinding("viewer", "domain:a.de", "two"),
    ]
