"""The certificate of the load balancer: an existing one, or a new one with DNS validation in Route 53; its DNS record.

The hosted zones must exist.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_aws import acm, lb, route53

from .deployment import Deployment
from .load_balancer_settings import DomainSettings, LoadBalancerSettings


def existing_certificate(
    component: str, args: LoadBalancerSettings, region: pulumi.Output[str], parent: pulumi.Resource
) -> list[pulumi.Output[acm.Certificate]]:
    """Look up `certificate_arn`: what depends on the result is created only with a certificate that can be used.

    Empty without that setting, and for the output of another resource, which is not known in a preview. The lookup
    fails a preview, too. The provider's error for an ARN that does not exist has the name of the resource, which is
    therefore the setting's.
    """
    arn = args.certificate_arn
    if not isinstance(arn, str):
        return []
    found = acm.Certificate.get(
        f"{component}-loadBalancer.certificateArn",
        region.apply(lambda known: _in_region(arn, known)),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    names = pulumi.Output.all(found.domain_name, found.subject_alternative_names).apply(_names)

    def checked(values: Sequence[Any]) -> acm.Certificate:
        _check(values[0], values[1], args.host_name)
        return found

    return [pulumi.Output.all(found.status, names).apply(checked)]


def covers(name: str, host: str) -> bool:
    """Whether the name of a certificate, such as *.example.com, covers a host name in lowercase letters."""
    return name.lower() == host or (name.startswith("*.") and host.partition(".")[2] == name[2:].lower())


def _names(values: Sequence[Any]) -> list[str]:
    domain_name, others = values
    return [name for name in dict.fromkeys((domain_name, *others)) if name]


def _in_region(arn: str, region: str) -> str:
    found = arn.split(":")[3]
    if found != region:
        raise pulumi.RunError(
            f"loadBalancer.certificateArn: the certificate is in {found}, the load balancer in {region}. Request or "
            f"import a certificate in {region}."
        )
    return arn


def _check(status: str, names: Sequence[str], host: str | None) -> None:
    if status != "ISSUED":
        raise pulumi.RunError(
            f"loadBalancer.certificateArn: the certificate's status is {status}, expected ISSUED. Create its "
            "validation record (ACM console), or choose another certificate."
        )
    # make preview knows no names.
    if host and names and not any(covers(name, host) for name in names):
        raise pulumi.RunError(
            f"loadBalancer.hostName: got {host}, but loadBalancer.certificateArn is for {', '.join(names)}. Set a name "
            "of the certificate, or choose another certificate."
        )


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
