"""The load balancer: who reaches it, what it does with a request, and what it tells the proxy."""

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
from preview.graph import SECRET, Graph, texts
from preview.recorder import record

from .helpers import KEY, make_deployment, only, statements

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
PROXIES = "aws:lb/targetGroup:TargetGroup"
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
WAYS: dict[str, dict[str, Any]] = {
    "internal": {},
    "internal with a certificate": {"certificate_arn": CERTIFICATE},
    "public with a domain": {"public": True, "domain": DOMAIN},
    "public with sign-in and WAF": {"public": True, "domain": DOMAIN, "oidc": OIDC, "waf": True},
}


def recorded(
    *,
    name: str = "proxy",
    deletion_protection: bool = False,
    kms_key_arn: str | None = None,
    then: Callable[[LoadBalancer], object] = lambda _: None,
    **args: Any,
) -> Graph:
    def program() -> None:
        settings = LoadBalancerSettings.model_validate(args)
        deployment = make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn)
        deployment = dataclasses.replace(deployment, name=name)
        network = Network(deployment, NetworkSettings(), public=settings.public)
        secret = pulumi.Output.secret("client-secret") if settings.oidc else None
        then(LoadBalancer(deployment, settings, network=network, oidc_client_secret=secret))

    return record(program)


def told(**args: Any) -> dict[str, Any]:
    """The load_balancer's outputs, and what it says to the proxy."""

    def export(load_balancer: LoadBalancer) -> None:
        pulumi.export("url", load_balancer.url)
        pulumi.export("port", load_balancer.port)
        pulumi.export("proxy", load_balancer.proxy_settings)

    return recorded(then=export, **args).outputs


def connections(graph: Graph) -> set[tuple[int, str]]:
    """(port, from where) of all that may come in at the load balancer."""
    (group,) = [one.id for one in graph.of(GROUP) if one.name == "proxy-load-balancer"]
    rules = [one.inputs for one in graph.of(IN) if one.inputs["securityGroupId"] == group]
    assert all(rule["fromPort"] == rule["toPort"] and rule["ipProtocol"] == "tcp" for rule in rules)
    return {(rule["fromPort"], rule["cidrIpv4"]) for rule in rules}


def test_an_internal_one_is_reached_from_its_vpc_alone_and_by_http_without_a_certificate() -> None:
    graph = recorded()
    assert only(graph, BALANCER).inputs["internal"] is True
    assert connections(graph) == {(80, "10.42.0.0/16")}


def test_a_public_one_is_reached_from_everywhere_by_http_and_https() -> None:
    graph = recorded(public=True, domain=DOMAIN)
    assert only(graph, BALANCER).inputs["internal"] is False
    assert connections(graph) == {(80, "0.0.0.0/0"), (443, "0.0.0.0/0")}


@pytest.mark.parametrize("public", [False, True])
def test_named_ranges_are_all_that_may_connect(public: bool) -> None:
    graph = recorded(public=public, domain=DOMAIN, allowed_cidrs=["198.51.100.0/24", "203.0.113.7/32"])
    assert {source for _, source in connections(graph)} == {"198.51.100.0/24", "203.0.113.7/32"}


def test_the_order_of_ranges_moves_no_rule() -> None:
    first, second = (
        {one.name: one.inputs["cidrIpv4"] for one in recorded(allowed_cidrs=ranges).of(IN)}
        for ranges in (["198.51.100.0/24", "203.0.113.0/24"], ["203.0.113.0/24", "198.51.100.0/24"])
    )
    assert first == second


@pytest.mark.parametrize("way", WAYS)
def test_public_subnets_are_for_a_public_one_only(way: str) -> None:
    graph = recorded(**WAYS[way])
    public = {one.id for one in graph.of("aws:ec2/subnet:Subnet") if "-public-" in one.name}
    assert (set(only(graph, BALANCER).inputs["subnets"]) == public) == WAYS[way].get("public", False)


@pytest.mark.parametrize("way", WAYS)
def test_it_reaches_nobody_but_a_provider_that_it_asks_who_somebody_is(way: str) -> None:
    graph = recorded(**WAYS[way])
    group = only(graph, GROUP, "proxy-load-balancer")
    assert "egress" not in group.inputs
    ports = [one.inputs["toPort"] for one in graph.of(OUT) if one.inputs["securityGroupId"] == group.id]
    assert ports == ([443] if "oidc" in WAYS[way] else [])


@pytest.mark.parametrize("way", WAYS)
def test_plain_http_ends_in_a_redirect_where_there_is_a_certificate(way: str) -> None:
    graph = recorded(**WAYS[way])
    plain = [one for one in graph.of(LISTENER) if one.inputs["protocol"] == "HTTP"]
    assert [one.inputs["port"] for one in plain] == [80]
    (action,) = plain[0].inputs["defaultActions"]
    if way == "internal":
        assert action["targetGroupArn"] == only(graph, PROXIES).outputs["arn"]
        return
    assert action["redirect"] == {"statusCode": "HTTP_301", "protocol": "HTTPS", "port": "443"}
    (encrypted,) = [one for one in graph.of(LISTENER) if one.inputs["protocol"] == "HTTPS"]
    assert encrypted.inputs["port"] == 443
    assert encrypted.inputs["sslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")
    assert encrypted.inputs["defaultActions"][-1]["targetGroupArn"] == only(graph, PROXIES).outputs["arn"]


@pytest.mark.parametrize("way", WAYS)
def test_the_listener_that_a_service_waits_for_uses_its_target_group(way: str) -> None:
    waited: list[pulumi.Resource] = []
    graph = recorded(then=lambda load_balancer: waited.extend(load_balancer.listeners), **WAYS[way])
    target_group = only(graph, PROXIES).urn
    names = [one.name for one in graph.of(LISTENER) if target_group in one.dependencies]
    assert names == ["proxy-http" if way == "internal" else "proxy-https"]
    assert len(waited) == 1


def test_requests_that_could_be_read_in_two_ways_go_no_further() -> None:
    inputs = only(recorded(), BALANCER).inputs
    assert inputs["desyncMitigationMode"] == "strictest"
    assert inputs["dropInvalidHeaderFields"] is True


def test_the_proxy_sees_the_host_that_the_caller_named() -> None:
    assert only(recorded(), BALANCER).inputs["preserveHostHeader"] is True


@pytest.mark.parametrize("protection", [False, True])
def test_deletion_protection_holds_for_the_load_balancer_and_its_logs(protection: bool) -> None:
    graph = recorded(deletion_protection=protection)
    assert only(graph, BALANCER).inputs["enableDeletionProtection"] is protection
    bucket = only(graph, "aws:s3/bucket:Bucket")
    assert bucket.inputs["forceDestroy"] is not protection
    assert bucket.protect is protection or only(graph, "mlflow:aws:PrivateBucket").protect is protection


def test_access_logs_are_written_before_the_first_request_and_end_before_their_bucket() -> None:
    graph = recorded()
    balancer, policy = only(graph, BALANCER), only(graph, POLICY)
    logs = balancer.inputs["accessLogs"]
    assert logs == {"enabled": True, "bucket": only(graph, "aws:s3/bucket:Bucket").outputs["bucket"]}
    assert policy.urn in balancer.dependencies


def test_access_logs_are_written_by_elastic_load_balancing_for_this_account_alone() -> None:
    graph = recorded()
    allowed = [one for one in statements(only(graph, POLICY).inputs["policy"]) if one["Effect"] == "Allow"]
    bucket = only(graph, "aws:s3/bucket:Bucket").outputs["arn"]
    assert [(one["Principal"], one["Action"], one["Resource"]) for one in allowed] == [
        (
            {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "s3:PutObject",
            f"{bucket}/AWSLogs/123456789012/*",
        )
    ]


def test_access_logs_use_s3s_own_key_even_where_there_is_another() -> None:
    graph = recorded(kms_key_arn=KEY)
    (rule,) = only(
        graph, "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ).inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


def test_access_logs_expire() -> None:
    graph = recorded(access_log_retention_days=77)
    rules = only(graph, "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration").inputs["rules"]
    assert [rule["expiration"]["days"] for rule in rules if "days" in rule.get("expiration", {})] == [77]


def test_a_proxy_is_judged_by_whether_it_runs_and_not_by_sagemaker() -> None:
    inputs = only(recorded(), PROXIES).inputs
    assert inputs["targetType"] == "ip"
    assert inputs["port"] == proxy_environment.PORT
    assert inputs["healthCheck"]["path"] == proxy_environment.HEALTH


@pytest.mark.parametrize("idle_timeout_seconds", [60, 180, 4000])
def test_waiting_times_fit_each_other(idle_timeout_seconds: int) -> None:
    timing: list[Timing] = []
    graph = recorded(
        idle_timeout_seconds=idle_timeout_seconds, then=lambda load_balancer: timing.append(load_balancer.timing)
    )
    assert only(graph, BALANCER).inputs["idleTimeout"] == idle_timeout_seconds
    delay = only(graph, PROXIES).inputs["deregistrationDelay"]
    # A target group's limit.
    assert delay == min(idle_timeout_seconds, 3600) == timing[0].deregistration_delay
    assert timing[0].upstream_timeout < idle_timeout_seconds < timing[0].keepalive


def test_names_fit_with_the_longest_name_of_a_component() -> None:
    graph = recorded(name="sixteen-letters1")
    for kind in (BALANCER, PROXIES):
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
def test_the_url_has_the_certificates_name_where_it_is_known(args: dict[str, Any], url: str) -> None:
    assert told(**args)["url"] == url


@pytest.mark.parametrize("args", [{}, {"certificate_arn": CERTIFICATE}])
def test_the_proxy_is_told_no_public_url_that_is_not_certain(args: dict[str, Any]) -> None:
    assert told(**args)["proxy"] == {}


def test_the_proxy_is_told_the_name_that_callers_use() -> None:
    assert told(domain=DOMAIN)["proxy"] == {"MLFLOW_PROXY_PUBLIC_URL": "https://mlflow.example.com"}


def test_no_secret_shows() -> None:
    graph = recorded(**WAYS["public with sign-in and WAF"])
    assert not [one.name for one in graph.resources if "client-secret" in set(texts([one.inputs, one.outputs]))]
    holders = {one.name for one in graph.resources if SECRET in set(texts(one.inputs))}
    assert holders == {"proxy-https", "proxy-ui-requests-rule"}
    for name in holders:
        (holder,) = [one for one in graph.resources if one.name == name]
        assert holder.secret_outputs in (("defaultActions",), ("actions",))


@pytest.mark.parametrize("way", WAYS)
def test_everything_is_tagged_and_belongs_to_the_edge(way: str) -> None:
    graph = recorded(**WAYS[way])
    load_balancer = only(graph, "mlflow:aws:LoadBalancer")
    inside = [one for one in graph.resources if load_balancer in list(graph.ancestors(one))]
    assert inside
    for kind in (BALANCER, PROXIES, LISTENER, "aws:lb/listenerRule:ListenerRule", "aws:wafv2/webAcl:WebAcl"):
        for one in graph.of(kind):
            assert one in inside
            assert one.inputs["tags"]["Component"] == "proxy"
