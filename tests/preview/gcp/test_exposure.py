from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp
import pytest

from preview.cloud import Holder, Out, Reach
from preview.exposure import exposure
from preview.recorder import record

from .programs import AUDIENCE, PROJECT, account, application, database, lets_in, may, page, rule, version, vpc

HEALTH = "/live, /ready"
BESIDE = "Google's health checks, and whom VPC default lets in"


def in_vpc(network: gcp.compute.Network) -> gcp.appengine.FlexibleAppVersionNetworkArgs:
    return gcp.appengine.FlexibleAppVersionNetworkArgs(name=network.name)


def ways(program: Callable[[], object]) -> list[Reach]:
    return exposure(record(program)).ways_in


def asked(program: Callable[[], object]) -> list[str]:
    """Whom the ways from the internet to the service ask for what."""
    return [way.authentication for way in ways(program) if way.source == "the internet" and "mlflow" in way.target]


def test_a_service_behind_identity_aware_proxy_asks_for_members_then_for_a_role() -> None:
    def program() -> None:
        application()
        version()
        lets_in("people", "group:ml@example.com")

    assert ways(program) == [
        Reach(
            "the internet",
            "Identity-Aware Proxy > mlflow",
            "443 HTTPS",
            "all",
            "sign-in as group:ml@example.com, then a role",
        ),
        Reach(BESIDE, "mlflow", "all", HEALTH, "nothing"),
        Reach(BESIDE, "mlflow", "all", "all others", "Identity-Aware Proxy's signature"),
    ]


def test_members_on_a_condition_are_a_way_of_their_own() -> None:
    def program() -> None:
        application()
        version()
        lets_in("a", "user:a@example.com")
        lets_in("b", account("robot").member)
        lets_in("c", "user:c@example.com", until="2027")
        lets_in("d", "user:d@example.com", until="2027")

    assert asked(program) == [
        "sign-in as user:a@example.com or robot, then a role",
        "sign-in as user:c@example.com or user:d@example.com if until 2027: year < 2027, then a role",
    ]


def test_another_services_members_are_not_its_own() -> None:
    def program() -> None:
        application()
        version()
        page()
        lets_in("other", "user:a@example.com", service="default")

    assert [way.authentication for way in ways(program) if way.target.startswith("Identity-Aware Proxy")] == [
        "sign-in lets nobody in",
        "sign-in as user:a@example.com",
    ]


@pytest.mark.parametrize("everybody", ["allUsers", "allAuthenticatedUsers"])
def test_everybody_is_called_so(everybody: str) -> None:
    assert asked(lambda: (application(), version(), lets_in("all", everybody))) == ["sign-in as anybody, then a role"]


def test_who_has_no_role_is_said_to() -> None:
    assert asked(lambda: (application(), version(AUDIENCE), lets_in("a", "user:a@b.de"))) == [
        "sign-in as user:a@b.de, then a role, which nobody has"
    ]


@pytest.mark.parametrize("iap", [False, None])
def test_without_identity_aware_proxy_the_proxy_lets_nobody_in(*, iap: bool | None) -> None:
    found = ways(lambda: (application(iap=iap), version()))
    assert found[0] == Reach(
        "the internet", "mlflow", "443 HTTPS", "all", "Identity-Aware Proxy's signature, which nobody has"
    )


def test_without_it_and_without_the_proxy_nobody_is_asked() -> None:
    found = ways(lambda: (application(iap=False), version({"OTHER": "x"})))
    assert [way.authentication for way in found] == ["nothing", "not known"]


def test_an_application_of_others_may_have_it_off() -> None:
    def program() -> None:
        gcp.appengine.Application.get("app", PROJECT)
        version()
        lets_in("a", "user:a@example.com")

    assert asked(program) == ["sign-in, if it is on there, as user:a@example.com, then a role"]


def test_a_new_vpc_lets_in_whom_its_rules_do() -> None:
    def program() -> None:
        application()
        network = vpc()
        version(network=in_vpc(network))
        version(service="elsewhere")
        google = ["35.191.0.0/16", "130.211.0.0/22"]
        tcp = gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["8443", "10402"])
        rule("google", network, source_ranges=google, allows=[tcp])
        rule(
            "office",
            network,
            source_ranges=[google[0], "192.0.2.0/24"],
            allows=[gcp.compute.FirewallAllowArgs(protocol="all")],
        )

    google, office = "Google's front end and health checks", "35.191.0.0/16, 192.0.2.0/24"
    assert ways(program)[4:] == [
        Reach(google, "mlflow", "8443, 10402", HEALTH, "nothing"),
        Reach(google, "mlflow", "8443, 10402", "all others", "Identity-Aware Proxy's signature"),
        Reach(office, "mlflow", "all", HEALTH, "nothing"),
        Reach(office, "mlflow", "all", "all others", "Identity-Aware Proxy's signature"),
    ]


def test_a_rule_for_nobodys_machines_is_its_vpcs() -> None:
    allow = gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["22"])
    assert ways(lambda: rule("ssh", vpc(), allows=[allow])) == [Reach("the internet", "VPC vpc", "22", "", "not known")]


def test_a_public_database_without_networks_is_reached_through_cloud_sqls_proxy_alone() -> None:
    def program() -> None:
        database()
        may("client", "roles/cloudsql.client", account("server").member)

    assert ways(program) == [
        Reach(
            "the internet", "data", "3307 TLS", "", "Cloud SQL's certificate (cloudsql.client: server), then a password"
        )
    ]


@pytest.mark.parametrize(
    ("mode", "password"),
    [
        ("ENCRYPTED_ONLY", "a password, over TLS"),
        ("ALLOW_UNENCRYPTED_AND_ENCRYPTED", "a password, with TLS or without"),
        (None, "a password, with TLS or without"),
    ],
)
def test_a_private_database_is_reached_in_its_vpc(mode: str | None, password: str) -> None:
    def program(network: pulumi.Input[str]) -> None:
        database(
            ip=gcp.sql.DatabaseInstanceSettingsIpConfigurationArgs(
                ipv4_enabled=False, private_network=network, ssl_mode=mode
            )
        )

    way = Reach("VPC vpc", "data", "3306", "", password)
    assert ways(lambda: program(vpc().id)) == [way]
    assert ways(lambda: program(f"projects/{PROJECT}/global/networks/corp")) == [way._replace(source="VPC corp")]


@pytest.mark.parametrize(
    ("prevention", "who", "shown"),
    [
        ("enforced", None, "rights in IAM, which the public cannot have"),
        ("inherited", None, "rights in IAM"),
        ("inherited", "user:a@b.de", "rights in IAM"),
        ("inherited", "allUsers", "nothing (storage.objectViewer)"),
    ],
)
def test_a_bucket_says_whether_the_public_may_read_it(prevention: str, who: str | None, shown: str) -> None:
    def program() -> None:
        made = gcp.storage.Bucket("b", location="EU", public_access_prevention=prevention)
        if who:
            gcp.storage.BucketIAMMember("r", bucket=made.name, role="roles/storage.objectViewer", member=who)

    assert ways(program) == [Reach("the internet", "b", "443 HTTPS", "", shown)]


def test_what_a_version_is_told_of_is_where_it_goes() -> None:
    def program() -> None:
        first = database("socket")
        private = gcp.sql.DatabaseInstanceSettingsIpConfigurationArgs(ipv4_enabled=False, private_network="n")
        second = database("address", ip=private)
        version({"ADDRESS": pulumi.Output.concat(second.private_ip_address, ":3306")}, "one")
        version({}, "two", beta_settings={"cloud_sql_instances": first.connection_name})

    assert exposure(record(program)).ways_out == [
        Out("one", "address", "3306"),
        Out("one", "anywhere", "all"),
        Out("two", "socket", "3307"),
        Out("two", "anywhere", "all"),
    ]


def test_machines_without_public_addresses_go_where_routes_lead() -> None:
    network = gcp.appengine.FlexibleAppVersionNetworkArgs(name="corp", instance_ip_mode="INTERNAL")
    assert exposure(record(lambda: version(network=network))).ways_out == [
        Out("mlflow", "any address that its routes reach", "all")
    ]


def test_the_proxy_rules_say_who_has_which_role() -> None:
    rules = {"MLFLOW_PROXY_ROLE_RULES": "domain:a.de=viewer, email:x@a.de=admin, domain:b.de=viewer"}
    assert exposure(record(lambda: version(rules))).holders == [
        Holder("viewer", "domain:a.de, domain:b.de"),
        Holder("admin", "email:x@a.de"),
    ]


def test_several_proxy_rules_are_told_apart() -> None:
    rules = {"MLFLOW_PROXY_ROLE_RULES": "domain:a.de=viewer"}
    assert exposure(record(lambda: (version(rules, "one"), version(rules, "two"), version({}, "none")))).holders == [
        Holder("viewer", "domain:a.de", "one"),
        Holder("viewer", "domain:a.de", "two"),
    ]
