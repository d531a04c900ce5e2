"""A certificate for a name in Route 53, proven by DNS, and the name itself.

The hosted zones are the caller's.
"""

import pulumi
from pulumi_aws import acm, lb, route53

from .deployment import Deployment
from .load_balancer_settings import DomainSettings


def certificate(deployment: Deployment, domain: DomainSettings, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The ARN of a new certificate, once it is issued."""
    inside = pulumi.ResourceOptions(parent=parent)
    made = acm.Certificate(
        deployment.logical_name("certificate"),
        domain_name=domain.name,
        validation_method="DNS",
        tags=deployment.tags_for("certificate"),
        opts=inside,
    )
    wanted = made.domain_validation_options[0]
    proof = route53.Record(
        deployment.logical_name("certificate-validation"),
        zone_id=domain.zone_id,
        name=wanted.resource_record_name,
        type=wanted.resource_record_type,
        records=[wanted.resource_record_value],
        ttl=60,
        # ACM wants the same record for every certificate of this name in this account: it may be there already.
        allow_overwrite=True,
        opts=inside,
    )
    issued = acm.CertificateValidation(
        deployment.logical_name("certificate"),
        certificate_arn=made.arn,
        validation_record_fqdns=[proof.fqdn],
        opts=inside,
    )
    return issued.certificate_arn


def name_in_dns(
    deployment: Deployment, domain: DomainSettings, balancer: lb.LoadBalancer, parent: pulumi.Resource
) -> None:
    """The name leads to the load balancer: in the private zone if there is one, else in the public one."""
    route53.Record(
        deployment.logical_name("dns-record"),
        zone_id=domain.private_zone_id or domain.zone_id,
        name=domain.name,
        type="A",
        aliases=[
            route53.RecordAliasArgs(name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=False)
        ],
        opts=pulumi.ResourceOptions(parent=parent),
    )
