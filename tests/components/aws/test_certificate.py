"""A certificate for a name in Route 53, and where the name leads."""

from typing import Any

import pytest

from components.aws.load_balancer_settings import LoadBalancerSettings
from components.validation import SettingsError, validate_args

from .helpers import only
from .test_load_balancer import recorded

RECORD = "aws:route53/record:Record"
PUBLIC: dict[str, Any] = {"name": "mlflow.example.com", "zone_id": "ZPUBLIC"}
SPLIT: dict[str, Any] = {**PUBLIC, "private_zone_id": "ZPRIVATE"}


@pytest.mark.parametrize("domain", [PUBLIC, SPLIT])
def test_the_public_zone_proves_the_certificate(domain: dict[str, Any]) -> None:
    graph = recorded(domain=domain)
    (wanted,) = only(graph, "aws:acm/certificate:Certificate").outputs["domainValidationOptions"]
    proof = only(graph, RECORD, "proxy-certificate-validation").inputs
    assert proof["zoneId"] == "ZPUBLIC"
    assert (proof["name"], proof["type"], proof["records"]) == (
        wanted["resourceRecordName"],
        wanted["resourceRecordType"],
        [wanted["resourceRecordValue"]],
    )


def test_the_listener_waits_for_the_certificate_to_be_issued() -> None:
    graph = recorded(domain=PUBLIC)
    issued = only(graph, "aws:acm/certificateValidation:CertificateValidation")
    listener = only(graph, "aws:lb/listener:Listener", "proxy-https")
    assert issued.urn in listener.property_dependencies["certificateArn"]
    assert listener.inputs["certificateArn"] == only(graph, "aws:acm/certificate:Certificate").outputs["arn"]
    assert only(graph, RECORD, "proxy-certificate-validation").urn in issued.dependencies


def test_a_record_of_an_earlier_certificate_is_no_obstacle_and_another_name_is_never_taken_over() -> None:
    graph = recorded(domain=PUBLIC)
    assert only(graph, RECORD, "proxy-certificate-validation").inputs["allowOverwrite"] is True
    assert "allowOverwrite" not in only(graph, RECORD, "proxy-dns-record").inputs


@pytest.mark.parametrize(("domain", "zone"), [(PUBLIC, "ZPUBLIC"), (SPLIT, "ZPRIVATE")])
def test_the_name_is_in_the_private_zone_where_there_is_one(domain: dict[str, Any], zone: str) -> None:
    graph = recorded(domain=domain)
    name = only(graph, RECORD, "proxy-dns-record").inputs
    balancer = only(graph, "aws:lb/loadBalancer:LoadBalancer").outputs
    assert (name["zoneId"], name["name"], name["type"]) == (zone, "mlflow.example.com", "A")
    (alias,) = name["aliases"]
    assert (alias["name"], alias["zoneId"]) == (balancer["dnsName"], balancer["zoneId"])


def test_a_certificate_that_was_there_touches_no_zone() -> None:
    graph = recorded(certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1")
    assert graph.of(RECORD) == []
    assert only(graph, "aws:lb/listener:Listener", "proxy-https").inputs["certificateArn"].endswith("/1")


def test_a_host_name_belongs_to_a_certificate_that_was_there() -> None:
    with pytest.raises(SettingsError, match=r"loadBalancer\.hostName: requires certificateArn"):
        validate_args(
            LoadBalancerSettings,
            {"hostName": "mlflow.example.org", "domain": PUBLIC},
            "loadBalancer",
            production=False,
        )
