"""A certificate for a name in Route 53, proven by DNS, and the name itself.

The hosted zones are the caller's.
"""

import pulumi
from pulumi_aws import acm, lb, route53

from .edge_args import DomainArgs
from .place import Place


def certificate(place: Place, domain: DomainArgs, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The ARN of a new certificate, once it is issued."""
    inside = pulumi.ResourceOptions(parent=parent)
    made = acm.Certificate(
        place.named("certificate"),
        domain_name=domain.name,
        validation_method="DNS",
        tags=place.tagged("certificate"),
        opts=inside,
    )
    wanted = made.domain_validation_options[0]
    proof = route53.Record(
        place.named("certificate-proof"),
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
        place.named("certificate"), certificate_arn=made.arn, validation_record_fqdns=[proof.fqdn], opts=inside
    )
    return issued.certificate_arn


def name_in_dns(place: Place, domain: DomainArgs, balancer: lb.LoadBalancer, parent: pulumi.Resource) -> None:
    """The name leads to the load balancer: in the private zone if there is one, else in the public one."""
    route53.Record(
        place.named("name"),
        zone_id=domain.private_zone_id or domain.zone_id,
        name=domain.name,
        type="A",
        aliases=[
            route53.RecordAliasArgs(name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=False)
        ],
        opts=pulumi.ResourceOptions(parent=parent),
    )
