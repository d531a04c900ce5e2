"""The load balancer: inbound and outbound rules, listeners, access logs, and the proxy's environment."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components import proxy_environment
from components.aws.load_balancer import LoadBalancer
from components.aws.load_balancer_settings import LoadBalancerSettings
from components.aws.network import Network
from components.aws.network_settings import NetworkSettings
from components.aws.timing import Timing
from preview.graph import SECRET, Graph, strings_in
from preview.recorder import record

from .helpers import KEY, TIMING, make_deployment, only, statements

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
IN = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
DOMAIN: dict[str, Any] = {"name": "mlflow.example.com", "zone_id": "ZPUBLIC"}
OIDC: dict[str, Any] = {
    "issuer": "https://login.example.com",
    "authorization_endpoint": "https://login.example.com/authorize",
    "token_endpoint": "https://login.example.com/token",
    "user_info_endpoint": "https://login.example.com/userinfo",
    "client_id": "mlflow",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "internal": {},
    "internal-certificate": {"certificate_arn": CERTIFICATE},
    "public-domain": {"public": True, "domain": DOMAIN},
    "public-oidc-waf": {"public": True, "domain": DOMAIN, "oidc": OIDC, "waf": True},
}


def record_load_balancer(
    *,
    name: str = "proxy",
    deletion_protection: bool = False,
    kms_key_arn: str | None = None,
    timing: Timing = TIMING,
    then: Callable[[LoadBalancer], object] = lambda _: None,
    **args: Any,
) -> Graph:
    def program() -> None:
        settings = LoadBalancerSettings.model_validate(args)
        deployment = make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn)
        deployment = dataclasses.replace(deployment, component=name, name=name)
        network = Network(deployment, NetworkSettings(), public=settings.public)
        secret = pulumi.Output.secret("client-secret") if settings.oidc else None
        then(LoadBalancer(deployment, settings, network=network, timing=timing, oidc_client_secret=secret))

    return record(program)


def outputs_of(**args: Any) -> dict[str, Any]:
    """The URL and port of the load balancer, and the environment variables that it sets for the proxy."""

    def export(load_balancer: LoadBalancer) -> None:
        pulumi.export("url", load_balancer.url)
        pulumi.export("port", load_balancer.port)
        pulumi.export("proxy_environment", load_balancer.proxy_settings)

    return record_load_balancer(then=export, **args).outputs


def connections(graph: Graph) -> set[tuple[int, str]]:
    """(port, source CIDR) of the load balancer's ingress rules."""
    (group,) = [resource.id for resource in graph.of(GROUP) if resource.name == "proxy-load-balancer"]
    rules = [resource.inputs for resource in graph.of(IN) if resource.inputs["securityGroupId"] == group]
    assert all(rule["fromPort"] == rule["toPort"] and rule["ipProtocol"] == "tcp" for rule in rules)
    return {(rule["fromPort"], rule["cidrIpv4"]) for rule in rules}


def test_internal_load_balancer_without_certificate_accepts_http_from_the_vpc_only() -> None:
    graph = record_load_balancer()
    assert only(graph, BALANCER).inputs["internal"] is True
    assert connections(graph) == {(80, "10.42.0.0/16")}


def test_public_load_balancer_accepts_http_and_https_from_any_address() -> None:
    graph = record_load_balancer(public=True, domain=DOMAIN)
    assert only(graph, BALANCER).inputs["internal"] is False
    assert connections(graph) == {(80, "0.0.0.0/0"), (443, "0.0.0.0/0")}


@pytest.mark.parametrize("public", [False, True])
def test_allowed_cidrs_are_the_only_sources(public: bool) -> None:
    graph = record_load_balancer(public=public, domain=DOMAIN, allowed_cidrs=["198.51.100.0/24", "203.0.113.7/32"])
    assert {source for _, source in connections(graph)} == {"198.51.100.0/24", "203.0.113.7/32"}


def test_order_of_allowed_cidrs_does_not_change_the_rules() -> None:
    first, second = (
        {resource.name: resource.inputs["cidrIpv4"] for resource in record_load_balancer(allowed_cidrs=ranges).of(IN)}
        for ranges in (["198.51.100.0/24", "203.0.113.0/24"], ["203.0.113.0/24", "198.51.100.0/24"])
    )
    assert first == second


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_only_a_public_load_balancer_is_in_the_public_subnets(configuration: str) -> None:
    graph = record_load_balancer(**CONFIGURATIONS[configuration])
    public = {resource.id for resource in graph.of("aws:ec2/subnet:Subnet") if "-public-" in resource.name}
    assert (set(only(graph, BALANCER).inputs["subnets"]) == public) == CONFIGURATIONS[configuration].get(
        "public", False
    )


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_only_oidc_allows_outbound_https(configuration: str) -> None:
    graph = record_load_balancer(**CONFIGURATIONS[configuration])
    group = only(graph, GROUP, "proxy-load-balancer")
    assert "egress" not in group.inputs
    ports = [resource.inputs["toPort"] for resource in graph.of(OUT) if resource.inputs["securityGroupId"] == group.id]
    assert ports == ([443] if "oidc" in CONFIGURATIONS[configuration] else [])


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_https_is_the_only_listener_that_forwards_if_there_is_a_certificate(configuration: str) -> None:
    graph = record_load_balancer(**CONFIGURATIONS[configuration])
    http = [resource for resource in graph.of(LISTENER) if resource.inputs["protocol"] == "HTTP"]
    assert [resource.inputs["port"] for resource in http] == [80]
    (action,) = http[0].inputs["defaultActions"]
    if configuration == "internal":
        assert action["targetGroupArn"] == only(graph, TARGET_GROUP).outputs["arn"]
        return
    assert action["type"] == "fixed-response"
    (https,) = [resource for resource in graph.of(LISTENER) if resource.inputs["protocol"] == "HTTPS"]
    assert https.inputs["port"] == 443
    assert https.inputs["sslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")
    assert https.inputs["defaultActions"][-1]["targetGroupArn"] == only(graph, TARGET_GROUP).outputs["arn"]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_listeners_are_those_that_forward_to_the_target_group(configuration: str) -> None:
    urns: list[str] = []

    def note_urns(load_balancer: LoadBalancer) -> None:
        for listener in load_balancer.listeners:
            listener.urn.apply(urns.append)

    graph = record_load_balancer(then=note_urns, **CONFIGURATIONS[configuration])
    target_group = only(graph, TARGET_GROUP).urn
    forwarding = [resource for resource in graph.of(LISTENER) if target_group in resource.dependencies]
    assert [resource.name for resource in forwarding] == [
        "proxy-http" if configuration == "internal" else "proxy-https"
    ]
    assert urns == [resource.urn for resource in forwarding]


def test_ambiguous_requests_and_invalid_headers_are_dropped() -> None:
    inputs = only(record_load_balancer(), BALANCER).inputs
    assert inputs["desyncMitigationMode"] == "strictest"
    assert inputs["dropInvalidHeaderFields"] is True


def test_host_header_is_preserved() -> None:
    assert only(record_load_balancer(), BALANCER).inputs["preserveHostHeader"] is True


@pytest.mark.parametrize("protection", [False, True])
def test_deletion_protection_applies_to_the_load_balancer_and_its_access_logs(protection: bool) -> None:
    graph = record_load_balancer(deletion_protection=protection)
    assert only(graph, BALANCER).inputs["enableDeletionProtection"] is protection
    bucket = only(graph, "aws:s3/bucket:Bucket")
    assert bucket.inputs["forceDestroy"] is not protection
    assert bucket.protect is protection


def test_load_balancer_with_access_logs_depends_on_their_bucket_policy() -> None:
    graph = record_load_balancer()
    balancer, policy = only(graph, BALANCER), only(graph, POLICY)
    logs = balancer.inputs["accessLogs"]
    assert logs == {"enabled": True, "bucket": only(graph, "aws:s3/bucket:Bucket").outputs["bucket"]}
    assert policy.urn in balancer.dependencies


def test_bucket_policy_lets_log_delivery_write_logs_of_this_account_only() -> None:
    graph = record_load_balancer()
    allowed = [
        statement for statement in statements(only(graph, POLICY).inputs["policy"]) if statement["Effect"] == "Allow"
    ]
    bucket = only(graph, "aws:s3/bucket:Bucket").outputs["arn"]
    assert [(statement["Principal"], statement["Action"], statement["Resource"]) for statement in allowed] == [
        (
            {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "s3:PutObject",
            f"{bucket}/AWSLogs/123456789012/*",
        )
    ]


def test_access_logs_use_sse_s3_even_with_a_customer_key() -> None:
    graph = record_load_balancer(kms_key_arn=KEY)
    (rule,) = only(
        graph, "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ).inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


def test_access_logs_expire_after_the_retention_days() -> None:
    graph = record_load_balancer(access_log_retention_days=77)
    rules = only(graph, "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration").inputs["rules"]
    assert [rule["expiration"]["days"] for rule in rules if "days" in rule.get("expiration", {})] == [77]


def test_target_health_check_is_the_start_up_path() -> None:
    inputs = only(record_load_balancer(), TARGET_GROUP).inputs
    assert inputs["targetType"] == "ip"
    assert inputs["port"] == proxy_environment.PORT
    assert inputs["healthCheck"]["path"] == proxy_environment.STARTED


@pytest.mark.parametrize("long_upstream_timeout", [110, 310, 3600])
def test_idle_timeout_deregistration_delay_and_keepalive_are_consistent(long_upstream_timeout: int) -> None:
    timing = Timing(upstream_timeout=110, long_upstream_timeout=long_upstream_timeout)
    graph = record_load_balancer(timing=timing)
    idle_timeout = only(graph, BALANCER).inputs["idleTimeout"]
    delay = only(graph, TARGET_GROUP).inputs["deregistrationDelay"]
    # A load balancer's maximum is 4000, a target group's 3600.
    assert long_upstream_timeout < idle_timeout <= 4000
    assert delay == min(idle_timeout, 3600)
    assert idle_timeout < timing.keepalive


def test_names_have_at_most_32_characters_with_the_longest_component_name() -> None:
    graph = record_load_balancer(name="sixteen-letters1")
    for kind in (BALANCER, TARGET_GROUP):
        # Pulumi adds a hyphen and seven digits.
        assert len(only(graph, kind).name) + 8 <= 32


@pytest.mark.parametrize(
    ("args", "url"),
    [
        ({}, "http://internal-proxy-alb-1234567890.eu-west-1.elb.amazonaws.com"),
        ({"domain": DOMAIN}, "https://mlflow.example.com"),
        ({"certificate_arn": CERTIFICATE, "host_name": "m.example.org"}, "https://m.example.org"),
        (
            {"certificate_arn": CERTIFICATE, "public": True},
            "https://proxy-alb-1234567890.eu-west-1.elb.amazonaws.com",
        ),
    ],
)
def test_url_has_the_host_name_of_the_certificate_if_it_is_known(args: dict[str, Any], url: str) -> None:
    assert outputs_of(**args)["url"] == url


@pytest.mark.parametrize("args", [{}, {"certificate_arn": CERTIFICATE}])
def test_public_url_is_not_set_without_a_host_name(args: dict[str, Any]) -> None:
    assert outputs_of(**args)["proxy_environment"] == {}


def test_public_url_has_the_domain() -> None:
    assert outputs_of(domain=DOMAIN)["proxy_environment"] == {"MLFLOW_PROXY_PUBLIC_URL": "https://mlflow.example.com"}


def test_client_secret_is_secret_in_every_resource() -> None:
    graph = record_load_balancer(**CONFIGURATIONS["public-oidc-waf"])
    assert not [
        candidate.name
        for candidate in graph.resources
        if "client-secret" in set(strings_in([candidate.inputs, candidate.outputs]))
    ]
    names = {candidate.name for candidate in graph.resources if SECRET in set(strings_in(candidate.inputs))}
    assert names == {"proxy-https", "proxy-ui-requests-rule"}
    for name in names:
        (resource,) = [candidate for candidate in graph.resources if candidate.name == name]
        assert resource.secret_outputs in (("defaultActions",), ("actions",))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_resources_are_tagged_descendants_of_the_load_balancer_component(configuration: str) -> None:
    graph = record_load_balancer(**CONFIGURATIONS[configuration])
    load_balancer = only(graph, "mlflow:aws:LoadBalancer")
    descendants = [resource for resource in graph.resources if load_balancer in list(graph.ancestors(resource))]
    assert descendants
    for kind in (BALANCER, TARGET_GROUP, LISTENER, "aws:lb/listenerRule:ListenerRule", "aws:wafv2/webAcl:WebAcl"):
        for resource in graph.of(kind):
            assert resource in descendants
            assert resource.inputs["tags"]["Component"] == "proxy"
