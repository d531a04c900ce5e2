"""VPC endpoints: the services that have one, their subnets and route tables, and their policies."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest

from components.aws.artifacts import ArtifactLocation
from components.aws.endpoints import Endpoints, one_per_zone
from components.aws.identity import SERVED_ARTIFACTS
from components.aws.image import Image
from components.aws.network import Network
from components.aws.network_settings import Endpoint, NetworkSettings
from components.aws.proxy_log import ProxyLog
from components.aws.tokens import Tokens
from components.aws.tracking import Tracking
from preview import mock_outputs
from preview.aws.mock_outputs import ACCOUNT, ZONES, arn
from preview.graph import Graph, Resource
from preview.recorder import record

from .helpers import KEY, make_deployment, only, statements

ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
SERVER = arn("sagemaker", "mlflow-tracking-server/team")
APP = arn("sagemaker", "mlflow-app/app-ABCDEFGHIJKL")
REPOSITORY = arn("ecr", "repository/proxy")
TOKENS_SECRET = arn("secretsmanager", "secret:proxy-hashes-AbCdEf")
LOG = arn("logs", "log-group:proxy-log")
BUCKET = "arn:aws:s3:::proxy-artifacts"
OTHER_ROLE = "arn:aws:iam::210987654321:role/mlflow-proxy"
LAYERS = "arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/*"
SERVICES = {
    *("ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "sagemaker.api", "secretsmanager"),
    *("ssm", "ssmmessages", "s3"),
}
EXISTING: dict[str, Any] = {
    "vpc_id": "vpc-0aaaaaaaaaaaaaaaa",
    "vpc_cidr": "10.9.0.0/16",
    "private_subnet_ids": ["subnet-0aaaaaaaaaaaaaaa0", "subnet-0aaaaaaaaaaaaaaa1"],
    "private_route_table_ids": ["rtb-0aaaaaaaaaaaaaaaa"],
}


def record_endpoints(
    *,
    app: bool = True,
    bucket: bool = True,
    assume_role_arn: str | None = None,
    kms_key_arn: str | None = None,
    studio: bool = False,
    artifacts: str | None = None,
    **args: Any,
) -> Graph:
    output = pulumi.Output.from_input

    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn)
        settings = NetworkSettings.model_validate({"egress": "endpoints", **args})
        tracking = SimpleNamespace(
            policy_arn=output(APP if app else SERVER),
            assume_role_arn=assume_role_arn,
            serverless=app,
            bucket_arn=output(BUCKET) if bucket else None,
            artifact_prefix="mlflow",
        )
        Endpoints(
            deployment,
            settings,
            network=Network(deployment, settings, public=False),
            tracking=cast("Tracking", tracking),
            artifacts=location(artifacts) if artifacts else None,
            image=cast("Image", SimpleNamespace(repository_arn=output(REPOSITORY))),
            tokens=cast("Tokens", SimpleNamespace(hashes_secret_arn=output(TOKENS_SECRET))),
            log=cast("ProxyLog", SimpleNamespace(arn=output(LOG))),
            studio=studio,
        )

    return record(program)


def services(graph: Graph) -> set[str]:
    return {resource.inputs["serviceName"] for resource in graph.of(ENDPOINT)}


def endpoint(graph: Graph, name: str) -> Resource:
    return only(graph, ENDPOINT, f"proxy-endpoint-{name.replace('.', '-')}")


def targets(graph: Graph, name: str) -> set[str]:
    """The resources in all statements of an endpoint's policy."""
    return {
        target for statement in statements(endpoint(graph, name).inputs["policy"]) for target in statement["Resource"]
    }


def test_without_a_nat_every_required_service_has_an_endpoint() -> None:
    expected = {f"com.amazonaws.eu-west-1.{name}" for name in SERVICES}
    assert services(record_endpoints(app=True)) == {*expected, "aws.sagemaker.eu-west-1.mlflow"}
    assert services(record_endpoints(app=False)) == {*expected, "aws.sagemaker.eu-west-1.experiments"}


def test_customer_key_adds_a_kms_endpoint_restricted_to_the_key() -> None:
    graph = record_endpoints(kms_key_arn=KEY)
    assert "com.amazonaws.eu-west-1.kms" in services(graph)
    assert targets(graph, "kms") == {KEY}


def test_studio_adds_the_sagemaker_runtime_and_studio_endpoints() -> None:
    added = services(record_endpoints(studio=True)) - services(record_endpoints())
    assert added == {
        "com.amazonaws.eu-west-1.sagemaker.runtime",
        "com.amazonaws.eu-west-1.sts",
        "aws.sagemaker.eu-west-1.studio",
    }


def test_assumed_role_adds_an_sts_endpoint_restricted_to_the_role() -> None:
    graph = record_endpoints(assume_role_arn=OTHER_ROLE)
    assert services(graph) - services(record_endpoints()) == {"com.amazonaws.eu-west-1.sts"}
    (assume,) = statements(endpoint(graph, "sts").inputs["policy"])
    assert assume["Action"] == ["sts:AssumeRole"]
    assert assume["Resource"] == [OTHER_ROLE]
    assert assume["Condition"] == {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}


@pytest.mark.parametrize("app", [False, True])
def test_endpoints_of_mlflow_admit_the_account_whose_role_the_proxy_uses(app: bool) -> None:
    for role, account in ((None, ACCOUNT), (OTHER_ROLE, "210987654321")):
        graph = record_endpoints(app=app, assume_role_arn=role)
        for name in ("mlflow", "sagemaker.api"):
            (call,) = statements(endpoint(graph, name).inputs["policy"])
            assert call["Condition"] == {"StringEquals": {"aws:PrincipalAccount": account}}
            assert call["Resource"] == [APP if app else SERVER]


def test_mlflow_endpoint_service_sets_the_service_name() -> None:
    graph = record_endpoints(mlflow_endpoint_service="com.amazonaws.eu-west-1.mlflow-custom")
    assert endpoint(graph, "mlflow").inputs["serviceName"] == "com.amazonaws.eu-west-1.mlflow-custom"


def test_interface_endpoints_have_private_dns_and_are_in_every_private_subnet() -> None:
    graph = record_endpoints()
    private = {resource.id for resource in graph.of("aws:ec2/subnet:Subnet")}
    group = only(graph, "aws:ec2/securityGroup:SecurityGroup")
    interfaces = [resource for resource in graph.of(ENDPOINT) if resource.inputs["vpcEndpointType"] == "Interface"]
    assert len(interfaces) == len(SERVICES)
    for resource in interfaces:
        assert resource.inputs["privateDnsEnabled"] is True
        assert set(resource.inputs["subnetIds"]) == private
        assert resource.inputs["securityGroupIds"] == [group.id]


def test_s3_gateway_endpoint_is_on_every_private_route_table() -> None:
    for egress in ("endpoints", "nat", "nat-per-az"):
        graph = record_endpoints(egress=egress)
        tables = {resource.id for resource in graph.of("aws:ec2/routeTable:RouteTable") if "private" in resource.name}
        gateway = endpoint(graph, "s3").inputs
        assert gateway["vpcEndpointType"] == "Gateway"
        assert set(gateway["routeTableIds"]) == tables
        assert len(tables) == 2


def test_with_a_nat_the_only_endpoint_is_s3_without_a_policy() -> None:
    graph = record_endpoints(egress="nat")
    assert services(graph) == {"com.amazonaws.eu-west-1.s3"}
    assert "policy" not in endpoint(graph, "s3").inputs


def test_existing_vpc_with_a_nat_gets_no_endpoints() -> None:
    assert not record_endpoints(egress="nat", **EXISTING).of(ENDPOINT)


def test_existing_endpoints_are_not_created_again() -> None:
    existing: list[Endpoint] = ["ssm", "logs", "mlflow", "s3"]
    created = {
        resource.name.removeprefix("proxy-endpoint-")
        for resource in record_endpoints(existing_endpoints=existing, **EXISTING).of(ENDPOINT)
    }
    assert created == {name.replace(".", "-") for name in {*SERVICES, "mlflow"} - set(existing)}


def test_endpoints_in_an_existing_vpc_have_no_policy() -> None:
    graph = record_endpoints(kms_key_arn=KEY, **EXISTING)
    assert len(graph.of(ENDPOINT)) == len(SERVICES) + 2
    assert not any("policy" in resource.inputs for resource in graph.of(ENDPOINT))
    assert endpoint(graph, "s3").inputs["routeTableIds"] == EXISTING["private_route_table_ids"]


def test_endpoint_policies_allow_resources_of_this_stack_only() -> None:
    graph = record_endpoints(app=False)
    assert targets(graph, "secretsmanager") == {TOKENS_SECRET}
    assert targets(graph, "logs") == {f"{LOG}:*"}
    assert targets(graph, "mlflow") == targets(graph, "sagemaker.api") == {SERVER}
    assert targets(graph, "s3") == {BUCKET, f"{BUCKET}/mlflow/*", LAYERS}
    assert targets(record_endpoints(app=True), "mlflow") == {APP}
    for name in ("ecr.api", "ecr.dkr"):
        for statement in statements(endpoint(graph, name).inputs["policy"]):
            assert statement["Resource"] == (
                ["*"] if statement["Action"] == ["ecr:GetAuthorizationToken"] else [REPOSITORY]
            )


def object_actions(statement: Mapping[str, Any]) -> set[str]:
    return set(statement["Action"]) - {"s3:ListBucket"}


def location(bucket: str) -> ArtifactLocation:
    output = pulumi.Output.from_input
    arn = output(f"arn:aws:s3:::{bucket}")
    return ArtifactLocation(bucket=output(bucket), bucket_arn=arn, prefix="mlflow", presigned_transfers=False)


def test_s3_policy_allows_what_the_proxy_does_with_artifacts() -> None:
    served = {f"s3:{action}" for action in SERVED_ARTIFACTS}
    own, _ = statements(endpoint(record_endpoints(artifacts="proxy-artifacts"), "s3").inputs["policy"])
    assert object_actions(own) == served
    without, _ = statements(endpoint(record_endpoints(), "s3").inputs["policy"])
    # Those of SageMaker, which does not delete.
    assert object_actions(without) < served
    graph = record_endpoints(bucket=False, assume_role_arn=OTHER_ROLE, artifacts="theirs")
    _, existing, _ = statements(endpoint(graph, "s3").inputs["policy"])
    assert object_actions(existing) == served
    assert existing["Resource"] == ["arn:aws:s3:::theirs", "arn:aws:s3:::theirs/mlflow/*"]
    assert existing["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "210987654321"}}


def test_endpoint_policies_allow_other_accounts_image_layers_only() -> None:
    for studio in (False, True):
        graph = record_endpoints(kms_key_arn=KEY, studio=studio)
        endpoints = [resource for resource in graph.of(ENDPOINT) if "policy" in resource.inputs]
        assert len(endpoints) >= len(SERVICES) - 1
        for resource in endpoints:
            for statement in statements(resource.inputs["policy"]):
                assert statement["Principal"] == "*"
                if statement["Resource"] == [LAYERS]:
                    assert statement["Action"] == ["s3:GetObject"]
                else:
                    assert statement["Condition"]["StringEquals"]["aws:PrincipalAccount"] == ACCOUNT, resource.name


def test_every_endpoint_that_supports_policies_has_one() -> None:
    without = {resource.name for resource in record_endpoints().of(ENDPOINT) if "policy" not in resource.inputs}
    assert without == {"proxy-endpoint-ecs-agent", "proxy-endpoint-ecs-telemetry"}


@pytest.mark.parametrize(("bucket", "studio"), [(False, False), (True, True)])
def test_s3_policy_allows_buckets_of_this_account_if_the_bucket_is_unknown(bucket: bool, studio: bool) -> None:
    graph = record_endpoints(bucket=bucket, studio=studio)
    artifacts, _ = statements(endpoint(graph, "s3").inputs["policy"])
    assert artifacts["Condition"]["StringEquals"]["aws:ResourceAccount"] == ACCOUNT


def test_endpoint_is_only_in_zones_that_offer_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(args: Any) -> dict[str, Any]:
        zones = ["eu-west-1b", "eu-west-1c"] if args["serviceName"].endswith(".mlflow") else ZONES
        return {**args, "availabilityZones": zones, "vpcEndpointPolicySupported": True}

    monkeypatch.setitem(mock_outputs.CALLS, "aws:ec2/getVpcEndpointService:getVpcEndpointService", offered)
    graph = record_endpoints()
    second = only(graph, "aws:ec2/subnet:Subnet", "proxy-private-2")
    assert endpoint(graph, "mlflow").inputs["subnetIds"] == [second.id]
    assert len(endpoint(graph, "ssm").inputs["subnetIds"]) == 2


def test_endpoint_uses_the_first_subnet_of_each_zone() -> None:
    assert one_per_zone("sts", ["a", "b"], ["s1", "s2", "s3"], ["a", "a", "b"]) == ["s1", "s3"]


def test_service_offered_in_no_zone_of_the_subnets_is_rejected() -> None:
    with pytest.raises(pulumi.RunError, match="network: sts is offered in c, and the private subnets are in a, b"):
        one_per_zone("sts", ["c"], ["s1", "s2"], ["a", "b"])


def test_endpoints_are_tagged_children_of_the_component() -> None:
    graph = record_endpoints()
    component = only(graph, "mlflow:aws:Endpoints")
    for resource in graph.of(ENDPOINT):
        assert resource.parent == component.urn
        assert resource.inputs["tags"]["Component"] == "proxy"
