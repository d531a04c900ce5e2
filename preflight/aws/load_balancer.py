"""The certificate, hosted zones and DNS names of the load balancer."""

import datetime
from typing import Any

from botocore.exceptions import ClientError

from components.aws.certificate import covers
from preview.graph import Resource

from ..model import Fault, check
from ..subject import Subject
from .api import error_code

_LISTENER = "aws:lb/listener:Listener"
_RECORD = "aws:route53/record:Record"


def _certificates(subject: Subject) -> list[str]:
    made = {certificate.outputs.get("arn") for certificate in subject.created("aws:acm/certificate:Certificate")}
    arns = {str(listener.inputs.get("certificateArn", "")) for listener in subject.created(_LISTENER)}
    return sorted(arns - made - {""})


@check(
    "aws certificate",
    types=(_LISTENER,),
    when=lambda subject: bool(_certificates(subject)),
    concerns="`loadBalancer.certificateArn`",
)
def certificate(subject: Subject) -> str | list[Fault]:
    """The certificate is issued, valid, in the region, and for the host name."""
    faults: list[Fault] = []
    for arn in _certificates(subject):
        faults += _certificate_faults(subject, arn)
    return faults or ", ".join(_certificates(subject))


def _certificate_faults(subject: Subject, arn: str) -> list[Fault]:
    region = arn.split(":")[3]
    if region != subject.aws.region:
        return [
            Fault(
                f"the certificate is in {region}, the load balancer in {subject.aws.region}",
                "request or import a certificate in the region of the load balancer",
            )
        ]
    try:
        found = subject.aws.call("acm", "describe_certificate", CertificateArn=arn)["Certificate"]
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        return [
            Fault(f"there is no certificate {arn}", "set loadBalancer.certificateArn to a certificate of this account")
        ]
    faults: list[Fault] = []
    if found["Status"] != "ISSUED":
        faults.append(
            Fault(
                f"the certificate's status is {found['Status']}, expected ISSUED",
                "create its validation record (ACM console), or choose another certificate",
            )
        )
    expires = found.get("NotAfter")
    if isinstance(expires, datetime.datetime) and expires < datetime.datetime.now(datetime.UTC):
        faults.append(
            Fault(f"the certificate expired on {expires:%Y-%m-%d}", "renew it, or choose another certificate")
        )
    host = subject.setting("aws.loadBalancer.hostName")
    names = [str(found["DomainName"]), *map(str, found.get("SubjectAlternativeNames", []))]
    if isinstance(host, str) and not any(covers(name, host) for name in names):
        faults.append(
            Fault(
                f"the certificate is for {', '.join(dict.fromkeys(names))}, not for {host}",
                "set loadBalancer.hostName to a name of the certificate, or choose another certificate",
            )
        )
    return faults


@check("aws hosted zone", types=(_RECORD,))
def hosted_zone(subject: Subject) -> str | list[Fault]:
    """The Route 53 zones of `loadBalancer.domain` exist, contain the name, and are public where they must be."""
    name = str(subject.setting("aws.loadBalancer.domain.name"))
    private = subject.setting("aws.loadBalancer.domain.privateZoneId")
    faults: list[Fault] = []
    for setting, zone_id in (("zoneId", subject.setting("aws.loadBalancer.domain.zoneId")), ("privateZoneId", private)):
        if zone_id:
            faults += _zone_faults(
                subject, f"loadBalancer.domain.{setting}", str(zone_id), name, private=setting == "privateZoneId"
            )
    return faults or f"for {name}"


def _zone_faults(subject: Subject, setting: str, zone_id: str, name: str, *, private: bool) -> list[Fault]:
    try:
        zone: dict[str, Any] = subject.aws.call("route53", "get_hosted_zone", Id=zone_id)["HostedZone"]
    except ClientError as error:
        if error_code(error) != "NoSuchHostedZone":
            raise
        return [Fault(f"there is no hosted zone {zone_id}", f"set {setting} to a zone of this account")]
    domain = str(zone["Name"]).rstrip(".")
    if name != domain and not name.endswith(f".{domain}"):
        return [Fault(f"{name} is not in the zone {domain} ({zone_id})", f"set {setting} to the zone of {name}")]
    if bool(zone.get("Config", {}).get("PrivateZone")) != private:
        kind, wanted = ("a public", "a private") if private else ("a private", "a public")
        return [Fault(f"{zone_id} is {kind} zone", f"set {setting} to {wanted} zone")]
    return []


def _addresses(subject: Subject) -> list[Resource]:
    return [record for record in subject.missing(_RECORD) if record.inputs.get("type") == "A"]


@check("aws DNS name", types=(_RECORD,))
def dns_name(subject: Subject) -> str | list[Fault]:
    """The DNS name of the load balancer has no other record yet."""
    faults: list[Fault] = []
    for record in _addresses(subject):
        zone, name = str(record.inputs["zoneId"]), str(record.inputs["name"])
        found = subject.aws.call("route53", "list_resource_record_sets", HostedZoneId=zone)["ResourceRecordSets"]
        kinds = [
            str(one["Type"]) for one in found if str(one["Name"]).rstrip(".") == name and one["Type"] in ("A", "CNAME")
        ]
        if kinds:
            faults.append(
                Fault(
                    f"the zone {zone} has a record {name} ({', '.join(kinds)}) already",
                    "delete that record, or set another loadBalancer.domain.name",
                )
            )
    return faults or "free"
