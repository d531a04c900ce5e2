"""The Application Load Balancer with its security group, listeners and target group.

Certificate and DNS, sign-in, WAF and access logs are in separate modules. The DNS record for an existing certificate
and the client registration at the identity provider are not part of it.
"""

from collections.abc import Mapping

import pulumi
from pulumi_aws import ec2, lb, vpc

from .. import proxy_environment
from . import certificate, plain_http, waf
from .access_logs import access_logs
from .deployment import Deployment
from .load_balancer_settings import LoadBalancerSettings
from .network import Network
from .oidc import OidcSignIn
from .timing import Timing

# TLS 1.2 and 1.3 with forward secrecy, as AWS recommends.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
_TLS = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
_WORLD = "0.0.0.0/0"


class LoadBalancer(pulumi.ComponentResource):
    """The entry point of clients."""

    url: pulumi.Output[str]
    """URL of the proxy."""
    dns_name: pulumi.Output[str]
    dns_zone_id: pulumi.Output[str]
    """Hosted zone ID of ``dns_name``, for alias records."""
    host_name: str | None
    """Host name that the certificate covers; None without a certificate and where it is not known."""
    port: int
    https: bool
    public: bool
    timing: Timing
    arn: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]
    """Dimension of CloudWatch metrics: app/name/id."""
    target_group_arn: pulumi.Output[str]
    target_group_suffix: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    """Security group of the load balancer; SecurityGroups adds the rule to the tasks."""
    certificate_arn: pulumi.Output[str] | None
    """None without HTTPS."""
    web_acl_metric: pulumi.Output[str] | None
    """Name of the web ACL in CloudWatch's dimension WebACL; None without one."""
    listeners: list[pulumi.Resource]
    """The ECS service must depend on them: its target group needs a listener."""
    proxy_settings: dict[str, pulumi.Input[str]]
    """Environment variables of the proxy: public URL, and with sign-in the ARN of the load balancer and the issuer."""

    def __init__(
        self,
        deployment: Deployment,
        args: LoadBalancerSettings,
        *,
        network: Network,
        timing: Timing,
        oidc_client_secret: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:LoadBalancer", deployment.component, {}, opts)
        self.public = args.public
        self.https = args.https
        self.port = 443 if self.https else 80
        self.host_name = args.domain.name if args.domain else args.host_name
        self.timing = timing
        sign_in = None
        if args.oidc is not None and oidc_client_secret is not None:
            sign_in = OidcSignIn(settings=args.oidc, client_secret=oidc_client_secret)

        self.security_group_id = _security_group(deployment, args, network, self)
        if sign_in is not None:
            # The load balancer calls the identity provider's token and UserInfo endpoints.
            network.allow_egress(deployment, "load-balancer", self.security_group_id, self)
        balancer = _load_balancer(deployment, args, network, timing, self.security_group_id, self)
        tasks = _target_group(deployment, network, timing, self)
        self.certificate_arn = None
        if args.domain is not None:
            self.certificate_arn = certificate.certificate(deployment, args.domain, self)
        elif args.certificate_arn is not None:
            self.certificate_arn = pulumi.Output.from_input(args.certificate_arn)
        if self.certificate_arn is not None:
            self.listeners = [_https(deployment, self.certificate_arn, balancer, tasks, sign_in, self)]
        else:
            forward = lb.ListenerDefaultActionArgs(type="forward", target_group_arn=tasks.arn)
            self.listeners = [_http(deployment, balancer, forward, self)]
        if args.domain is not None:
            certificate.dns_record(deployment, args.domain, balancer, self)
        self.web_acl_metric = waf.web_acl(deployment, args, balancer, self) if args.waf else None

        self.dns_name, self.dns_zone_id = balancer.dns_name, balancer.zone_id
        self.arn, self.arn_suffix = balancer.arn, balancer.arn_suffix
        self.target_group_arn, self.target_group_suffix = tasks.arn, tasks.arn_suffix
        # Without a host name, clients reject the certificate.
        host = pulumi.Output.from_input(self.host_name) if self.host_name else balancer.dns_name
        self.url = pulumi.Output.concat("https://" if self.https else "http://", host)
        # Without a host name, the proxy uses the request's Host header.
        public_url = {proxy_environment.PUBLIC_URL: f"https://{self.host_name}"} if self.host_name else {}
        self.proxy_settings = {**public_url, **(sign_in.proxy_settings(balancer) if sign_in else {})}
        self.register_outputs(
            {
                "url": self.url,
                "dns_name": self.dns_name,
                "arn": self.arn,
                "target_group_arn": self.target_group_arn,
                "security_group_id": self.security_group_id,
            }
        )


def _security_group(
    deployment: Deployment, args: LoadBalancerSettings, network: Network, parent: pulumi.Resource
) -> pulumi.Output[str]:
    ports = (80, 443) if args.https else (80,)
    inside = pulumi.ResourceOptions(parent=parent)
    group = ec2.SecurityGroup(
        deployment.logical_name("load-balancer"),
        # A change of the description replaces the group.
        description="MLflow load balancer",
        vpc_id=network.vpc_id,
        tags=deployment.tags_for("load-balancer"),
        opts=inside,
    )
    for source, cidr in _sources(args, network).items():
        for port in ports:
            role = f"load-balancer-{port}-from-{source}"
            vpc.SecurityGroupIngressRule(
                deployment.logical_name(role),
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=cidr,
                tags=deployment.tags_for(role),
                opts=inside,
            )
    return group.id


def _sources(args: LoadBalancerSettings, network: Network) -> Mapping[str, pulumi.Input[str]]:
    """Allowed client ranges by a name for each, so that a rule keeps its name when the order of the list changes."""
    if args.allowed_cidrs:
        return {cidr.replace("/", "-"): cidr for cidr in args.allowed_cidrs}
    return {"world": _WORLD} if args.public else {"vpc": network.cidr}


def _load_balancer(
    deployment: Deployment,
    args: LoadBalancerSettings,
    network: Network,
    timing: Timing,
    security_group_id: pulumi.Output[str],
    parent: pulumi.Resource,
) -> lb.LoadBalancer:
    logs = access_logs(deployment, days=args.access_log_retention_days, parent=parent)
    return lb.LoadBalancer(
        # At most 7 characters, here and for the target group: AWS allows 32, the component's name and a suffix take the
        # rest.
        deployment.logical_name("alb"),
        load_balancer_type="application",
        internal=not args.public,
        ip_address_type="ipv4",
        subnets=list(network.public_subnet_ids if args.public else network.private_subnet_ids),
        security_groups=[security_group_id],
        idle_timeout=timing.idle_timeout,
        client_keep_alive=3600,
        drop_invalid_header_fields=True,
        desync_mitigation_mode="strictest",
        # The proxy's CSRF check compares the Host header with the Origin, which differs with a port forward.
        preserve_host_header=True,
        enable_tls_version_and_cipher_suite_headers=False,
        enable_deletion_protection=deployment.deletion_protection,
        access_logs=lb.LoadBalancerAccessLogsArgs(enabled=True, bucket=logs.bucket),
        tags=deployment.tags_for("alb"),
        # DNS records and clients name it by a host name that AWS does not assign again.
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[logs], protect=deployment.deletion_protection),
    )


def _target_group(deployment: Deployment, network: Network, timing: Timing, parent: pulumi.Resource) -> lb.TargetGroup:
    return lb.TargetGroup(
        deployment.logical_name("tasks"),
        target_type="ip",
        vpc_id=network.vpc_id,
        port=proxy_environment.PORT,
        protocol="HTTP",
        # Requests take from milliseconds to minutes, so round robin would distribute load unevenly.
        load_balancing_algorithm_type="least_outstanding_requests",
        deregistration_delay=timing.deregistration_delay,
        health_check=lb.TargetGroupHealthCheckArgs(
            # A task is healthy once it has reached SageMaker: a rollout whose tasks never do is rolled back. Later it
            # stays healthy, since ECS would replace it, which does not help while SageMaker is unavailable. A stopping
            # task needs no check: ECS deregisters it before it stops it.
            path=proxy_environment.STARTED,
            protocol="HTTP",
            matcher="200",
            interval=10,
            timeout=5,
            healthy_threshold=2,
            unhealthy_threshold=3,
        ),
        tags=deployment.tags_for("tasks"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _http(
    deployment: Deployment, balancer: lb.LoadBalancer, action: lb.ListenerDefaultActionArgs, parent: pulumi.Resource
) -> lb.Listener:
    return lb.Listener(
        deployment.logical_name("http"),
        load_balancer_arn=balancer.arn,
        port=80,
        protocol="HTTP",
        default_actions=[action],
        routing_http_response_server_enabled=False,
        tags=deployment.tags_for("http"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _https(
    deployment: Deployment,
    certificate_arn: pulumi.Output[str],
    balancer: lb.LoadBalancer,
    tasks: lb.TargetGroup,
    sign_in: OidcSignIn | None,
    parent: pulumi.Resource,
) -> lb.Listener:
    plain_http.redirect_browsers(deployment, _http(deployment, balancer, plain_http.refusal(), parent), parent)
    first = [sign_in.action()] if sign_in else []
    listener = lb.Listener(
        deployment.logical_name("https"),
        load_balancer_arn=balancer.arn,
        port=443,
        protocol="HTTPS",
        ssl_policy=_TLS,
        certificate_arn=certificate_arn,
        default_actions=[
            *first,
            lb.ListenerDefaultActionArgs(type="forward", order=len(first) + 1, target_group_arn=tasks.arn),
        ],
        routing_http_response_server_enabled=False,
        routing_http_response_strict_transport_security_header_value="max-age=31536000",
        tags=deployment.tags_for("https"),
        opts=pulumi.ResourceOptions(parent=parent, additional_secret_outputs=["default_actions"] if first else None),
    )
    if sign_in is not None:
        sign_in.rules(deployment, listener, tasks, parent)
    return listener
