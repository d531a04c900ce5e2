"""The certificate of the load balancer, existing or of a Route 53 domain, and the DNS record."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import AwsMlflowProxy
from components.aws.certificate import covers
from components.aws.load_balancer_settings import LoadBalancerSettings
from components.validation import SettingsError, validate_args
from preview.recorder import record

from .helpers import only
from .test_load_balancer import record_load_balancer

ARN = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
RECORD = "aws:route53/record:Record"
PUBLIC: dict[str, Any] = {"name": "mlflow.example.com", "zone_id": "ZPUBLIC"}
SPLIT: dict[str, Any] = {**PUBLIC, "private_zone_id": "ZPRIVATE"}


@pytest.mark.parametrize("domain", [PUBLIC, SPLIT])
def test_validation_record_is_in_the_public_zone(domain: dict[str, Any]) -> None:
    graph = record_load_balancer(domain=domain)
    (option,) = only(graph, "aws:acm/certificate:Certificate").outputs["domainValidationOptions"]
    record = only(graph, RECORD, "proxy-certificate-validation").inputs
    assert record["zoneId"] == "ZPUBLIC"
    assert (record["name"], record["type"], record["records"]) == (
        option["resourceRecordName"],
        option["resourceRecordType"],
        [option["resourceRecordValue"]],
    )


def test_listener_depends_on_the_certificate_validation() -> None:
    graph = record_load_balancer(domain=PUBLIC)
    validation = only(graph, "aws:acm/certificateValidation:CertificateValidation")
    listener = only(graph, "aws:lb/listener:Listener", "proxy-https")
    assert validation.urn in listener.property_dependencies["certificateArn"]
    assert listener.inputs["certificateArn"] == only(graph, "aws:acm/certificate:Certificate").outputs["arn"]
    assert only(graph, RECORD, "proxy-certificate-validation").urn in validation.dependencies


def test_only_the_validation_record_may_overwrite_an_existing_record() -> None:
    graph = record_load_balancer(domain=PUBLIC)
    assert only(graph, RECORD, "proxy-certificate-validation").inputs["allowOverwrite"] is True
    assert "allowOverwrite" not in only(graph, RECORD, "proxy-dns-record").inputs


@pytest.mark.parametrize(("domain", "zone"), [(PUBLIC, "ZPUBLIC"), (SPLIT, "ZPRIVATE")])
def test_alias_record_is_in_the_private_zone_if_there_is_one(domain: dict[str, Any], zone: str) -> None:
    graph = record_load_balancer(domain=domain)
    record = only(graph, RECORD, "proxy-dns-record").inputs
    balancer = only(graph, "aws:lb/loadBalancer:LoadBalancer").outputs
    assert (record["zoneId"], record["name"], record["type"]) == (zone, "mlflow.example.com", "A")
    (alias,) = record["aliases"]
    assert (alias["name"], alias["zoneId"]) == (balancer["dnsName"], balancer["zoneId"])


def test_existing_certificate_creates_no_dns_record() -> None:
    graph = record_load_balancer(certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1")
    assert graph.of(RECORD) == []
    assert only(graph, "aws:lb/listener:Listener", "proxy-https").inputs["certificateArn"].endswith("/1")


def test_host_name_requires_certificate_arn() -> None:
    with pytest.raises(SettingsError, match=r"loadBalancer\.hostName: requires certificateArn"):
        validate_args(
            LoadBalancerSettings,
            {"hostName": "mlflow.example.org", "domain": PUBLIC},
            "loadBalancer",
            production=False,
        )


def test_an_existing_certificate_is_looked_up_before_everything_else() -> None:
    graph = record(
        lambda: AwsMlflowProxy("proxy", {"load_balancer": {"certificate_arn": ARN, "host_name": "mlflow.example.com"}})
    )
    (certificate,) = [resource for resource in graph.resources if resource.read]
    assert (certificate.type, certificate.id) == ("aws:acm/certificate:Certificate", ARN)
    (component,) = graph.of("mlflow:index:AwsMlflowProxy")
    direct = [resource for resource in graph.resources if resource.parent == component.urn and resource != certificate]
    assert len(direct) > 8
    without = [resource.urn for resource in direct if certificate.urn not in resource.dependencies]
    # It depends on all others.
    assert without == [graph.of("mlflow:index:DeletionProtection")[0].urn]


def test_the_certificate_of_another_resource_is_not_looked_up() -> None:
    def program() -> None:
        made = aws.acm.Certificate("own", domain_name="mlflow.example.com", validation_method="DNS")
        AwsMlflowProxy("proxy", {"load_balancer": {"certificate_arn": made.arn}})

    assert [resource for resource in record(program).resources if resource.read] == []


def test_a_certificate_in_another_region_than_that_of_the_provider_is_an_error() -> None:
    def program() -> None:
        provider = aws.Provider("other", region="eu-north-1")
        AwsMlflowProxy(
            "proxy", {"load_balancer": {"certificate_arn": ARN}}, pulumi.ResourceOptions(providers=[provider])
        )

    with pytest.raises(pulumi.RunError, match=r"is in eu-west-1, the load balancer in eu-north-1\. Request or import"):
        record(program)


@pytest.mark.parametrize(
    ("name", "host", "covered"),
    [
        ("mlflow.example.com", "mlflow.example.com", True),
        ("MLflow.example.com", "mlflow.example.com", True),
        ("*.example.com", "mlflow.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.mlflow.example.com", False),
        ("example.com", "mlflow.example.com", False),
    ],
)
def test_names_of_a_certificate(name: str, host: str, covered: bool) -> None:
    assert covers(name, host) is covered
