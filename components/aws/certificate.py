"""An ACM certificate with DNS validation in Route 53, and the DNS record of the load balancer.

The hosted zones must exist.
"""

import pulumi
from pulumi_aws import acm, lb, route53

from .deployment import Deployment
from .load_balancer_settings import DomainSettings


def certificate(deployment: Deployment, domain: DomainSettings, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Create a certificate and return its ARN once it is issued."""
    inside = pulumi.ResourceOptions(parent=parent)
    made = acm.Certificate(
        deployment.logical_name("certificate"),
        domain_name=domain.name,
        validation_method="DNS",
        tags=deployment.tags_for("certificate"),
        opts=inside,
    )
    validation = made.domain_validation_options[0]
    record = route53.Record(
        deployment.logical_name("certificate-validation"),
        zone_id=domain.zone_id,
        name=validation.resource_record_name,
        type=validation.resource_record_type,
        records=[validation.resource_record_value],
        ttl=60,
        # ACM uses the same record for every certificate of a name in an account, so it may already exist.
        allow_overwrite=True,
        opts=inside,
    )
    issued = acm.CertificateValidation(
        deployment.logical_name("certificate"),
        certificate_arn=made.arn,
        validation_record_fqdns=[record.fqdn],
        opts=inside,
    )
    return issued.certificate_arn


def dns_record(
    deployment: Deployment, domain: DomainSettings, balancer: lb.LoadBalancer, parent: pulumi.Resource
) -> None:
    """Create the DNS record of the load balancer, in the private zone if there is one, otherwise in the public zone."""
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
