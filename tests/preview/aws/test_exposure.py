import json

import pulumi_aws as aws
import pytest

from components import proxy_environment
from preview.cloud import Egress, Ingress, PolicyGrant
from preview.exposure import exposure
from preview.recorder import record

from .programs import (
    ANY_ADDRESS,
    PROVIDER,
    PUBLIC_POLICY,
    allow_egress,
    allow_ingress,
    forward,
    load_balancer,
    proxy_behind_load_balancer,
    security_group,
    target_group,
)


def test_public_proxy_is_reachable_from_the_internet_with_a_token() -> None:
    found = exposure(record(proxy_behind_load_balancer))
    assert found.ingress == [
        Ingress("the internet", "alb > proxy", "443 HTTPS", "all", "token"),
        Ingress("alb", "proxy", "8080", "", "token"),
    ]
    assert found.egress == [Egress("alb", "proxy", "8080")]


def test_internal_proxy_is_reachable_from_connected_networks() -> None:
    found = exposure(record(lambda: proxy_behind_load_balancer(internal=True)))
    assert found.ingress[0].source == "the VPC and connected networks"


def test_proxy_without_tokens_has_unknown_authentication() -> None:
    found = exposure(record(lambda: proxy_behind_load_balancer("SOMETHING_ELSE")))
    assert {row.authentication for row in found.ingress} == {"unknown"}


def test_sources_with_the_same_target_share_a_row() -> None:
    alb_group = next(
        resource.id for resource in record(proxy_behind_load_balancer).resources if resource.name == "load-balancer"
    )
    ingress = exposure(
        record(lambda: (proxy_behind_load_balancer(source="10.0.0.0/8"), _allow_more_sources(alb_group)))
    ).ingress
    sources = "10.0.0.0/8, 192.0.2.0/24, 198.51.100.0/24"
    assert ingress[0] == Ingress(sources, "alb > proxy", "443 HTTPS", "all", "token")


def _allow_more_sources(group: str) -> None:
    for name, addresses in (("a", "192.0.2.0/24"), ("b", "198.51.100.0/24")):
        aws.vpc.SecurityGroupIngressRule(
            name, security_group_id=group, ip_protocol="tcp", from_port=400, to_port=500, cidr_ipv4=addresses
        )


def test_listener_without_ingress_rule_is_not_reachable() -> None:
    def program() -> None:
        alb_group, targets = security_group("load-balancer"), target_group("to")
        allow_ingress("in", alb_group, 80, cidr_ipv4=ANY_ADDRESS)
        aws.lb.Listener(
            "l", load_balancer_arn=load_balancer("alb", alb_group).arn, port=443, default_actions=[forward(targets)]
        )

    assert exposure(record(program)).ingress == []


def test_each_listener_rule_has_its_own_authentication() -> None:
    def program() -> None:
        others = target_group("others")
        listener = proxy_behind_load_balancer(
            default_actions=[
                aws.lb.ListenerDefaultActionArgs(
                    type="authenticate-oidc",
                    order=1,
                    authenticate_oidc=aws.lb.ListenerDefaultActionAuthenticateOidcArgs(**PROVIDER),
                ),
                aws.lb.ListenerDefaultActionArgs(
                    type="fixed-response",
                    order=2,
                    fixed_response=aws.lb.ListenerDefaultActionFixedResponseArgs(
                        content_type="text/plain", status_code="404"
                    ),
                ),
            ],
        )
        sign_in = aws.lb.ListenerRuleActionArgs(
            type="authenticate-oidc",
            order=1,
            authenticate_oidc=aws.lb.ListenerRuleActionAuthenticateOidcArgs(
                **PROVIDER, on_unauthenticated_request="deny"
            ),
        )
        aws.lb.ListenerRule(
            "pages",
            listener_arn=listener.arn,
            priority=20,
            conditions=[
                aws.lb.ListenerRuleConditionArgs(
                    path_pattern=aws.lb.ListenerRuleConditionPathPatternArgs(values=["/a/*", "/b"])
                )
            ],
            actions=[sign_in, aws.lb.ListenerRuleActionArgs(type="forward", order=2, target_group_arn=others.arn)],
        )
        aws.lb.ListenerRule(
            "tokens",
            listener_arn=listener.arn,
            priority=10,
            conditions=[
                aws.lb.ListenerRuleConditionArgs(
                    http_header=aws.lb.ListenerRuleConditionHttpHeaderArgs(
                        http_header_name="Authorization", values=["Bearer *"]
                    )
                )
            ],
            actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=others.arn)],
        )

    rows = [row[1:] for row in exposure(record(program)).ingress if row.port.startswith("443")]
    assert rows == [
        ("alb > others", "443 HTTPS", "Authorization: Bearer *", "unknown"),
        ("alb > others", "443 HTTPS", "/a/* or /b", "OIDC sign-in at login.example.com (otherwise 401), then unknown"),
        ("alb", "443 HTTPS", "all others", "none (fixed response 404)"),
    ]


@pytest.mark.parametrize(
    ("variables", "authentication"),
    [
        (
            (proxy_environment.TOKENS_SECRET, proxy_environment.ALB_ISSUER),
            "OIDC sign-in at login.example.com (otherwise redirect to sign-in), then role",
        ),
        (
            (proxy_environment.TOKENS_SECRET,),
            "OIDC sign-in at login.example.com (otherwise redirect to sign-in), then token",
        ),
    ],
)
def test_oidc_sign_in_replaces_the_token_if_the_proxy_trusts_it(
    variables: tuple[str, ...], authentication: str
) -> None:
    def program() -> None:
        sign_in = aws.lb.ListenerDefaultActionArgs(
            type="authenticate-oidc",
            order=1,
            authenticate_oidc=aws.lb.ListenerDefaultActionAuthenticateOidcArgs(**PROVIDER),
        )
        proxy_behind_load_balancer(*variables, before=sign_in)

    assert exposure(record(program)).ingress[0].authentication == authentication


def test_rule_for_all_ports_is_shown_as_all() -> None:
    def program() -> None:
        group = security_group("group")
        aws.vpc.SecurityGroupIngressRule("all", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="10.0.0.0/8")
        aws.ec2.LaunchTemplate("instances", vpc_security_group_ids=[group.id])

    assert exposure(record(program)).ingress == [Ingress("10.0.0.0/8", "instances", "all", "", "unknown")]


def test_vpc_endpoints_require_aws_signatures() -> None:
    def program() -> None:
        group = security_group("group")
        allow_ingress("in", group, 443, cidr_ipv4="10.0.0.0/8")
        for name, policy in (("a", "{}"), ("b", None)):
            aws.ec2.VpcEndpoint(
                name, vpc_id="vpc-1", service_name=f"com.x.{name}", security_group_ids=[group.id], policy=policy
            )

    (row,) = exposure(record(program)).ingress
    assert row == Ingress("10.0.0.0/8", "2 VPC endpoints", "443", "", "AWS signature (1 of 2 have a policy)")


def test_nat_gateway_allows_egress_to_any_address() -> None:
    def program() -> None:
        group = security_group("group")
        allow_egress("out", group, 443, cidr_ipv4=ANY_ADDRESS)
        aws.ec2.LaunchTemplate("instances", vpc_security_group_ids=[group.id])
        aws.ec2.NatGateway("nat", subnet_id="subnet-1")

    assert exposure(record(program)).egress == [Egress("instances", "any address", "443")]


def test_public_bucket_policy_is_shown() -> None:
    def program() -> None:
        bucket = aws.s3.Bucket("b")
        aws.s3.BucketPolicy("b", bucket=bucket.bucket, policy=json.dumps(PUBLIC_POLICY))

    assert exposure(record(program)).policy_grants == [PolicyGrant("Allow", "everyone", "s3:GetObject", "*", "")]


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        (
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            PolicyGrant("Deny", "everyone", "s3:*", "b", "aws:SecureTransport is false"),
        ),
        (
            {
                "Effect": "Allow",
                "Principal": {"Service": "a.amazonaws.com", "AWS": ["1", "*"]},
                "Action": ["s3:A", "s3:B"],
            },
            PolicyGrant("Allow", "a.amazonaws.com, 1, everyone", "s3:A, s3:B", "b", ""),
        ),
    ],
)
def test_policy_statement_is_shown_as_a_row(statement: dict[str, object], row: PolicyGrant) -> None:
    def program() -> None:
        aws.s3.BucketPolicy("b", bucket="x", policy=json.dumps({"Statement": [statement]}))

    assert exposure(record(program)).policy_grants == [row]
