import json

import pulumi_aws as aws
import pytest

from components import proxy_environment
from preview.cloud import Egress, Ingress, PolicyGrant
from preview.exposure import exposure
from preview.recorder import record

from .programs import (
    PROVIDER,
    PUBLIC_POLICY,
    WORLD,
    allow_egress,
    allow_ingress,
    balancer,
    forward,
    group,
    proxy_in_front,
    targets,
)


def test_public_proxy_is_reachable_from_the_internet_with_a_token() -> None:
    found = exposure(record(proxy_in_front))
    assert found.ingress == [
        Ingress("the internet", "alb > proxy", "443 HTTPS", "all", "token"),
        Ingress("alb", "proxy", "8080", "", "token"),
    ]
    assert found.egress == [Egress("alb", "proxy", "8080")]


def test_internal_proxy_is_reachable_from_connected_networks() -> None:
    found = exposure(record(lambda: proxy_in_front(internal=True)))
    assert found.ingress[0].source == "the VPC and connected networks"


def test_proxy_without_tokens_has_unknown_authentication() -> None:
    found = exposure(record(lambda: proxy_in_front("SOMETHING_ELSE")))
    assert {way.authentication for way in found.ingress} == {"unknown"}


def test_sources_with_the_same_target_share_a_row() -> None:
    front = next(one.id for one in record(proxy_in_front).resources if one.name == "load-balancer")
    ways = exposure(record(lambda: (proxy_in_front(source="10.0.0.0/8"), _more(front)))).ingress
    sources = "10.0.0.0/8, 192.0.2.0/24, 198.51.100.0/24"
    assert ways[0] == Ingress(sources, "alb > proxy", "443 HTTPS", "all", "token")


def _more(front: str) -> None:
    for name, addresses in (("a", "192.0.2.0/24"), ("b", "198.51.100.0/24")):
        aws.vpc.SecurityGroupIngressRule(
            name, security_group_id=front, ip_protocol="tcp", from_port=400, to_port=500, cidr_ipv4=addresses
        )


def test_listener_without_ingress_rule_is_not_reachable() -> None:
    def program() -> None:
        front, to = group("front"), targets("to")
        allow_ingress("in", front, 80, cidr_ipv4=WORLD)
        aws.lb.Listener("l", load_balancer_arn=balancer("alb", front).arn, port=443, default_actions=[forward(to)])

    assert exposure(record(program)).ingress == []


def test_each_listener_rule_has_its_own_authentication() -> None:
    def program() -> None:
        to = targets("others")
        listener = proxy_in_front(
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
        session = aws.lb.ListenerRuleActionArgs(
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
            actions=[session, aws.lb.ListenerRuleActionArgs(type="forward", order=2, target_group_arn=to.arn)],
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
            actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=to.arn)],
        )

    ways = [way[1:] for way in exposure(record(program)).ingress if way.port.startswith("443")]
    assert ways == [
        ("alb > others", "443 HTTPS", "Authorization: Bearer *", "unknown"),
        ("alb > others", "443 HTTPS", "/a/* or /b", "OIDC sign-in at login.example.com (otherwise 401), then unknown"),
        ("alb", "443 HTTPS", "all others", "none (fixed response 404)"),
    ]


@pytest.mark.parametrize(
    ("settings", "authentication"),
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
def test_oidc_sign_in_replaces_the_token_if_the_proxy_trusts_it(settings: tuple[str, ...], authentication: str) -> None:
    def program() -> None:
        session = aws.lb.ListenerDefaultActionArgs(
            type="authenticate-oidc",
            order=1,
            authenticate_oidc=aws.lb.ListenerDefaultActionAuthenticateOidcArgs(**PROVIDER),
        )
        proxy_in_front(*settings, before=session)

    assert exposure(record(program)).ingress[0].authentication == authentication


def test_rule_for_all_ports_is_shown_as_all() -> None:
    def program() -> None:
        inside = group("inside")
        aws.vpc.SecurityGroupIngressRule("all", security_group_id=inside.id, ip_protocol="-1", cidr_ipv4="10.0.0.0/8")
        aws.ec2.LaunchTemplate("machine", vpc_security_group_ids=[inside.id])

    assert exposure(record(program)).ingress == [Ingress("10.0.0.0/8", "machine", "all", "", "unknown")]


def test_vpc_endpoints_require_aws_signatures() -> None:
    def program() -> None:
        inside = group("inside")
        allow_ingress("in", inside, 443, cidr_ipv4="10.0.0.0/8")
        for name, policy in (("a", "{}"), ("b", None)):
            aws.ec2.VpcEndpoint(
                name, vpc_id="vpc-1", service_name=f"com.x.{name}", security_group_ids=[inside.id], policy=policy
            )

    (way,) = exposure(record(program)).ingress
    assert way == Ingress("10.0.0.0/8", "2 VPC endpoints", "443", "", "AWS signature (1 of 2 have a policy)")


def test_nat_gateway_gives_egress_to_any_address() -> None:
    def program() -> None:
        inside = group("inside")
        allow_egress("out", inside, 443, cidr_ipv4=WORLD)
        aws.ec2.LaunchTemplate("machine", vpc_security_group_ids=[inside.id])
        aws.ec2.NatGateway("nat", subnet_id="subnet-1")

    assert exposure(record(program)).egress == [Egress("machine", "any address", "443")]


def test_public_bucket_policy_is_shown() -> None:
    def program() -> None:
        bucket = aws.s3.Bucket("b")
        aws.s3.BucketPolicy("b", bucket=bucket.bucket, policy=json.dumps(PUBLIC_POLICY))

    assert exposure(record(program)).policy_grants == [PolicyGrant("Allow", "everyone", "s3:GetObject", "*", "")]


@pytest.mark.parametrize(
    ("statement", "shown"),
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
def test_policy_statement_is_shown_as_a_row(statement: dict[str, object], shown: PolicyGrant) -> None:
    def program() -> None:
        aws.s3.BucketPolicy("b", bucket="x", policy=json.dumps({"Statement": [statement]}))

    assert exposure(record(program)).policy_grants == [shown]
