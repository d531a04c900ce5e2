"""Small AWS programs, each for one feature of the preview."""

import json
from typing import Any, TypedDict, Unpack

import pulumi
import pulumi_aws as aws

from components import proxy_environment

ANY_ADDRESS = "0.0.0.0/0"
PUBLIC_POLICY = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}}


def security_group(name: str) -> aws.ec2.SecurityGroup:
    """A security group."""
    return aws.ec2.SecurityGroup(name, vpc_id="vpc-0123456789abcdef0", description=name)


class Peer(TypedDict, total=False):
    """The other side of a security group rule."""

    cidr_ipv4: str
    referenced_security_group_id: pulumi.Output[str]


def allow_ingress(name: str, group: aws.ec2.SecurityGroup, port: int, **source: Unpack[Peer]) -> None:
    """An ingress rule for one TCP port."""
    aws.vpc.SecurityGroupIngressRule(
        name, security_group_id=group.id, ip_protocol="tcp", from_port=port, to_port=port, **source
    )


def allow_egress(name: str, group: aws.ec2.SecurityGroup, port: int, **target: Unpack[Peer]) -> None:
    """An egress rule for one TCP port."""
    aws.vpc.SecurityGroupEgressRule(
        name, security_group_id=group.id, ip_protocol="tcp", from_port=port, to_port=port, **target
    )


def load_balancer(name: str, group: aws.ec2.SecurityGroup, *, internal: bool = False) -> aws.lb.LoadBalancer:
    """An Application Load Balancer."""
    return aws.lb.LoadBalancer(name, internal=internal, security_groups=[group.id])


def target_group(name: str) -> aws.lb.TargetGroup:
    """A target group for IP addresses."""
    return aws.lb.TargetGroup(name, port=8080, protocol="HTTP", target_type="ip", vpc_id="vpc-0123456789abcdef0")


def service(name: str, targets: aws.lb.TargetGroup, group: aws.ec2.SecurityGroup, *variables: str) -> aws.ecs.Service:
    """A service whose only container has these environment variables."""
    task = aws.ecs.TaskDefinition(
        name,
        family=name,
        container_definitions=json.dumps(
            [{"name": "proxy", "environment": [{"name": variable, "value": "x"} for variable in variables]}]
        ),
    )
    return aws.ecs.Service(
        name,
        task_definition=task.arn,
        load_balancers=[
            aws.ecs.ServiceLoadBalancerArgs(target_group_arn=targets.arn, container_name="proxy", container_port=8080)
        ],
        network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
            subnets=["subnet-0123456789abcdef0"], security_groups=[group.id]
        ),
    )


def forward(targets: aws.lb.TargetGroup, order: int = 1) -> aws.lb.ListenerDefaultActionArgs:
    """A default action that forwards to a target group."""
    return aws.lb.ListenerDefaultActionArgs(type="forward", order=order, target_group_arn=targets.arn)


def proxy_behind_load_balancer(
    *variables: str,
    source: str = ANY_ADDRESS,
    internal: bool = False,
    before: aws.lb.ListenerDefaultActionArgs | None = None,
    default_actions: list[aws.lb.ListenerDefaultActionArgs] | None = None,
) -> aws.lb.Listener:
    """A load balancer with a listener on 443 that forwards to a service, after the action ``before``."""
    alb_group, proxy_group = security_group("load-balancer"), security_group("proxies")
    allow_ingress("in", alb_group, 443, cidr_ipv4=source)
    allow_ingress("load-balancer-to-proxy", proxy_group, 8080, referenced_security_group_id=alb_group.id)
    allow_egress("load-balancer-to-proxy", alb_group, 8080, referenced_security_group_id=proxy_group.id)
    alb, targets = load_balancer("alb", alb_group, internal=internal), target_group("to")
    service("proxy", targets, proxy_group, *(variables or (proxy_environment.TOKENS_SECRET,)))
    actions = default_actions or [*([before] if before else []), forward(targets, order=2)]
    return aws.lb.Listener("https", load_balancer_arn=alb.arn, port=443, protocol="HTTPS", default_actions=actions)


class Provider(TypedDict):
    """An OpenID Connect provider."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    user_info_endpoint: str
    client_id: str
    client_secret: str


PROVIDER: Provider = {
    "issuer": "https://login.example.com/tenant",
    "authorization_endpoint": "https://login.example.com/a",
    "token_endpoint": "https://login.example.com/t",
    "user_info_endpoint": "https://login.example.com/u",
    "client_id": "x",
    "client_secret": "x",
}


def role(name: str, service_name: str, *statements: dict[str, Any], **more: Any) -> aws.iam.Role:
    """A role that a service may assume, with an inline policy if there are statements."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": service_name},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
    }
    created = aws.iam.Role(name, assume_role_policy=json.dumps({"Statement": [trust]}), **more)
    if statements:
        aws.iam.RolePolicy(name, role=created.name, policy=pulumi.Output.json_dumps({"Statement": list(statements)}))
    return created
