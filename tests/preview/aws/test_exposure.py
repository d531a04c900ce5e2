import json

import pulumi_aws as aws
import pytest

from components import proxy_environment
from preview.cloud import Grant, Out, Reach
from preview.exposure import exposure
from preview.recorder import record

from .programs import PROVIDER, PUBLIC_POLICY, WORLD, balancer, forward, group, let_in, let_out, proxy_in_front, targets


def test_a_public_proxy_is_asked_for_from_the_internet_with_a_token() -> None:
    found = exposure(record(proxy_in_front))
    assert found.ways_in == [
        Reach("the internet", "alb > proxy", "443 HTTPS", "all", "a token"),
        Reach("alb", "proxy", "8080", "", "a token"),
    ]
    assert found.ways_out == [Out("alb", "proxy", "8080")]


def test_an_internal_one_is_reached_by_what_reaches_the_vpc() -> None:
    found = exposure(record(lambda: proxy_in_front(internal=True)))
    assert found.ways_in[0].source == "anything that reaches the VPC"


def test_a_proxy_that_asks_for_nothing_is_not_said_to() -> None:
    found = exposure(record(lambda: proxy_in_front("SOMETHING_ELSE")))
    assert {way.authentication for way in found.ways_in} == {"not known"}


def test_those_who_reach_the_same_are_one_row() -> None:
    edge = next(one.id for one in record(proxy_in_front).resources if one.name == "edge")
    ways = exposure(record(lambda: (proxy_in_front(source="10.0.0.0/8"), _more(edge)))).ways_in
    sources = "10.0.0.0/8, 192.0.2.0/24, 198.51.100.0/24"
    assert ways[0] == Reach(sources, "alb > proxy", "443 HTTPS", "all", "a token")


def _more(edge: str) -> None:
    for name, addresses in (("a", "192.0.2.0/24"), ("b", "198.51.100.0/24")):
        aws.vpc.SecurityGroupIngressRule(
            name, security_group_id=edge, ip_protocol="tcp", from_port=400, to_port=500, cidr_ipv4=addresses
        )


def test_a_listener_that_nobody_is_let_in_to_is_no_way_in() -> None:
    def program() -> None:
        edge, to = group("edge"), targets("to")
        let_in("in", edge, 80, cidr_ipv4=WORLD)
        aws.lb.Listener("l", load_balancer_arn=balancer("alb", edge).arn, port=443, default_actions=[forward(to)])

    assert exposure(record(program)).ways_in == []


def test_each_request_has_the_authentication_of_its_rule() -> None:
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

    ways = [way[1:] for way in exposure(record(program)).ways_in if way.port.startswith("443")]
    assert ways == [
        ("alb > others", "443 HTTPS", "Authorization: Bearer *", "not known"),
        ("alb > others", "443 HTTPS", "/a/* or /b", "sign-in at login.example.com (else 401), then not known"),
        ("alb", "443 HTTPS", "all others", "none: answered 404"),
    ]


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        (
            (proxy_environment.TOKENS_SECRET, proxy_environment.OIDC_ISSUER),
            "sign-in at login.example.com (else the sign-in page), then a role",
        ),
        (
            (proxy_environment.TOKENS_SECRET,),
            "sign-in at login.example.com (else the sign-in page), then a token",
        ),
    ],
)
def test_a_sign_in_is_worth_a_role_where_the_proxy_believes_in_it(settings: tuple[str, ...], asked: str) -> None:
    def program() -> None:
        session = aws.lb.ListenerDefaultActionArgs(
            type="authenticate-oidc",
            order=1,
            authenticate_oidc=aws.lb.ListenerDefaultActionAuthenticateOidcArgs(**PROVIDER),
        )
        proxy_in_front(*settings, before=session)

    assert exposure(record(program)).ways_in[0].authentication == asked


def test_the_port_of_another_service_is_shown_with_the_range_of_its_rule() -> None:
    def program() -> None:
        inside = group("inside")
        aws.vpc.SecurityGroupIngressRule("all", security_group_id=inside.id, ip_protocol="-1", cidr_ipv4="10.0.0.0/8")
        aws.ec2.LaunchTemplate("machine", vpc_security_group_ids=[inside.id])

    assert exposure(record(program)).ways_in == [Reach("10.0.0.0/8", "machine", "all", "", "not known")]


def test_endpoints_of_a_vpc_ask_for_aws_signatures() -> None:
    def program() -> None:
        inside = group("inside")
        let_in("in", inside, 443, cidr_ipv4="10.0.0.0/8")
        for name, policy in (("a", "{}"), ("b", None)):
            aws.ec2.VpcEndpoint(
                name, vpc_id="vpc-1", service_name=f"com.x.{name}", security_group_ids=[inside.id], policy=policy
            )

    (way,) = exposure(record(program)).ways_in
    assert way == Reach("10.0.0.0/8", "2 VPC endpoints", "443", "", "AWS signature; 1 of 2 have a policy")


def test_the_internet_through_a_nat_is_anywhere() -> None:
    def program() -> None:
        inside = group("inside")
        let_out("out", inside, 443, cidr_ipv4=WORLD)
        aws.ec2.LaunchTemplate("machine", vpc_security_group_ids=[inside.id])
        aws.ec2.NatGateway("nat", subnet_id="subnet-1")

    assert exposure(record(program)).ways_out == [Out("machine", "anywhere", "443")]


def test_a_bucket_that_lets_everybody_in_is_shown() -> None:
    def program() -> None:
        bucket = aws.s3.Bucket("b")
        aws.s3.BucketPolicy("b", bucket=bucket.bucket, policy=json.dumps(PUBLIC_POLICY))

    assert exposure(record(program)).grants == [Grant("everybody", "s3:GetObject", "*", "")]


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
            Grant("nobody", "s3:*", "b", "aws:SecureTransport is false"),
        ),
        (
            {
                "Effect": "Allow",
                "Principal": {"Service": "a.amazonaws.com", "AWS": ["1", "*"]},
                "Action": ["s3:A", "s3:B"],
            },
            Grant("a.amazonaws.com, 1, everybody", "s3:A, s3:B", "b", ""),
        ),
    ],
)
def test_a_statement_is_said_in_words(statement: dict[str, object], shown: Grant) -> None:
    def program() -> None:
        aws.s3.BucketPolicy("b", bucket="x", policy=json.dumps({"Statement": [statement]}))

    assert exposure(record(program)).grants == [shown]
