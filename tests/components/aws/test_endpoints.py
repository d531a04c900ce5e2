"""Endpoints: all that is needed is there, and no more passes through them than is ours."""

from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest

from components.aws.endpoints import Endpoints, one_per_zone
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
HASHES = arn("secretsmanager", "secret:proxy-hashes-AbCdEf")
LOG = arn("logs", "log-group:proxy-log")
BUCKET = "arn:aws:s3:::proxy-artifacts"
LAYERS = "arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/*"
NEEDED = {
    *("ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "sagemaker.api", "secretsmanager"),
    *("ssm", "ssmmessages", "ec2messages", "sts", "s3"),
}
EXISTING: dict[str, Any] = {
    "vpc_id": "vpc-0aaaaaaaaaaaaaaaa",
    "vpc_cidr": "10.9.0.0/16",
    "private_subnet_ids": ["subnet-0aaaaaaaaaaaaaaa0", "subnet-0aaaaaaaaaaaaaaa1"],
    "private_route_table_ids": ["rtb-0aaaaaaaaaaaaaaaa"],
}


def recorded(
    *, app: bool = True, bucket: bool = True, kms_key_arn: str | None = None, studio: bool = False, **args: Any
) -> Graph:
    known = pulumi.Output.from_input

    def program() -> None:
        deployment = make_deployment(kms_key_arn=kms_key_arn)
        settings = NetworkSettings.model_validate({"egress": "endpoints", **args})
        tracking = SimpleNamespace(
            target_arn=known(APP if app else SERVER),
            serverless=app,
            bucket_arn=known(BUCKET) if bucket else None,
            artifact_prefix="mlflow",
        )
        Endpoints(
            deployment,
            settings,
            network=Network(deployment, settings, public=False),
            tracking=cast("Tracking", tracking),
            image=cast("Image", SimpleNamespace(repository_arn=known(REPOSITORY))),
            tokens=cast("Tokens", SimpleNamespace(hashes_secret_arn=known(HASHES))),
            log=cast("ProxyLog", SimpleNamespace(arn=known(LOG))),
            studio=studio,
        )

    return record(program)


def services(graph: Graph) -> set[str]:
    return {one.inputs["serviceName"] for one in graph.of(ENDPOINT)}


def endpoint(graph: Graph, name: str) -> Resource:
    return only(graph, ENDPOINT, f"proxy-endpoint-{name.replace('.', '-')}")


def targets(graph: Graph, name: str) -> set[str]:
    """What an endpoint's policy lets through: resources of all its statements."""
    return {target for one in statements(endpoint(graph, name).inputs["policy"]) for target in one["Resource"]}


def test_without_a_nat_every_service_that_is_called_has_an_endpoint() -> None:
    expected = {f"com.amazonaws.eu-west-1.{name}" for name in NEEDED}
    assert services(recorded(app=True)) == {*expected, "aws.sagemaker.eu-west-1.mlflow"}
    assert services(recorded(app=False)) == {*expected, "aws.sagemaker.eu-west-1.experiments"}


def test_a_customer_key_brings_the_endpoint_of_its_service_for_that_key_alone() -> None:
    graph = recorded(kms_key_arn=KEY)
    assert "com.amazonaws.eu-west-1.kms" in services(graph)
    assert targets(graph, "kms") == {KEY}


def test_studio_brings_the_endpoints_of_its_notebooks() -> None:
    more = services(recorded(studio=True)) - services(recorded())
    assert more == {"com.amazonaws.eu-west-1.sagemaker.runtime", "aws.sagemaker.eu-west-1.studio"}


def test_the_name_of_mlflows_service_can_be_set() -> None:
    graph = recorded(mlflow_endpoint_service="com.amazonaws.eu-west-1.mlflow-of-tomorrow")
    assert endpoint(graph, "mlflow").inputs["serviceName"] == "com.amazonaws.eu-west-1.mlflow-of-tomorrow"


def test_interface_endpoints_answer_to_the_public_names_in_every_private_subnet() -> None:
    graph = recorded()
    private = {one.id for one in graph.of("aws:ec2/subnet:Subnet")}
    group = only(graph, "aws:ec2/securityGroup:SecurityGroup")
    interfaces = [one for one in graph.of(ENDPOINT) if one.inputs["vpcEndpointType"] == "Interface"]
    assert len(interfaces) == len(NEEDED)
    for one in interfaces:
        assert one.inputs["privateDnsEnabled"] is True
        assert set(one.inputs["subnetIds"]) == private
        assert one.inputs["securityGroupIds"] == [group.id]


def test_s3_is_on_every_private_route_table_with_a_nat_too() -> None:
    for egress in ("endpoints", "nat", "nat-per-az"):
        graph = recorded(egress=egress)
        tables = {one.id for one in graph.of("aws:ec2/routeTable:RouteTable") if "private" in one.name}
        gateway = endpoint(graph, "s3").inputs
        assert gateway["vpcEndpointType"] == "Gateway"
        assert set(gateway["routeTableIds"]) == tables
        assert len(tables) == 2


def test_with_a_nat_s3_is_the_only_endpoint_and_takes_all() -> None:
    graph = recorded(egress="nat")
    assert services(graph) == {"com.amazonaws.eu-west-1.s3"}
    assert "policy" not in endpoint(graph, "s3").inputs


def test_nothing_is_made_in_an_existing_vpc_that_has_a_nat() -> None:
    assert not recorded(egress="nat", **EXISTING).of(ENDPOINT)


def test_an_existing_vpc_keeps_the_endpoints_that_it_has() -> None:
    kept: list[Endpoint] = ["sts", "logs", "mlflow", "s3"]
    made = {
        one.name.removeprefix("proxy-endpoint-") for one in recorded(existing_endpoints=kept, **EXISTING).of(ENDPOINT)
    }
    assert made == {name.replace(".", "-") for name in {*NEEDED, "mlflow"} - set(kept)}


def test_in_an_existing_vpc_no_policy_binds_those_who_are_there() -> None:
    graph = recorded(kms_key_arn=KEY, **EXISTING)
    assert len(graph.of(ENDPOINT)) == len(NEEDED) + 2
    assert not any("policy" in one.inputs for one in graph.of(ENDPOINT))
    assert endpoint(graph, "s3").inputs["routeTableIds"] == EXISTING["private_route_table_ids"]


def test_what_takes_an_arn_is_bounded_to_this_stack() -> None:
    graph = recorded(app=False)
    assert targets(graph, "secretsmanager") == {HASHES}
    assert targets(graph, "logs") == {f"{LOG}:*"}
    assert targets(graph, "mlflow") == targets(graph, "sagemaker.api") == {SERVER}
    assert targets(graph, "s3") == {BUCKET, f"{BUCKET}/mlflow/*", LAYERS}
    for name in ("ecr.api", "ecr.dkr"):
        for one in statements(endpoint(graph, name).inputs["policy"]):
            assert one["Resource"] == (["*"] if one["Action"] == ["ecr:GetAuthorizationToken"] else [REPOSITORY])


def test_other_accounts_principals_get_nothing_but_image_layers() -> None:
    for studio in (False, True):
        graph = recorded(kms_key_arn=KEY, studio=studio)
        bounded = [one for one in graph.of(ENDPOINT) if "policy" in one.inputs]
        assert len(bounded) >= len(NEEDED) - 1
        for one in bounded:
            for statement in statements(one.inputs["policy"]):
                assert statement["Principal"] == "*"
                if statement["Resource"] == [LAYERS]:
                    assert statement["Action"] == ["s3:GetObject"]
                else:
                    assert statement["Condition"]["StringEquals"]["aws:PrincipalAccount"] == ACCOUNT, one.name


def test_every_endpoint_that_takes_a_policy_has_one() -> None:
    without = {one.name for one in recorded().of(ENDPOINT) if "policy" not in one.inputs}
    assert without == {"proxy-endpoint-ecs-agent", "proxy-endpoint-ecs-telemetry"}


@pytest.mark.parametrize(("bucket", "studio"), [(False, False), (True, True)])
def test_buckets_that_are_not_known_are_at_least_of_this_account(bucket: bool, studio: bool) -> None:
    graph = recorded(bucket=bucket, studio=studio)
    artifacts, _ = statements(endpoint(graph, "s3").inputs["policy"])
    assert artifacts["Condition"]["StringEquals"]["aws:ResourceAccount"] == ACCOUNT


def test_an_endpoint_is_in_the_zones_only_that_its_service_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(args: Any) -> dict[str, Any]:
        zones = ["eu-west-1b", "eu-west-1c"] if args["serviceName"].endswith(".mlflow") else ZONES
        return {**args, "availabilityZones": zones, "vpcEndpointPolicySupported": True}

    monkeypatch.setitem(mock_outputs.CALLS, "aws:ec2/getVpcEndpointService:getVpcEndpointService", offered)
    graph = recorded()
    second = only(graph, "aws:ec2/subnet:Subnet", "proxy-private-2")
    assert endpoint(graph, "mlflow").inputs["subnetIds"] == [second.id]
    assert len(endpoint(graph, "sts").inputs["subnetIds"]) == 2


def test_of_two_subnets_in_a_zone_an_endpoint_gets_the_first() -> None:
    assert one_per_zone("sts", ["a", "b"], ["s1", "s2", "s3"], ["a", "a", "b"]) == ["s1", "s3"]


def test_a_service_in_none_of_the_zones_is_refused_with_its_name() -> None:
    with pytest.raises(pulumi.RunError, match="network: sts is offered in c, and the private subnets are in a, b"):
        one_per_zone("sts", ["c"], ["s1", "s2"], ["a", "b"])


def test_every_endpoint_is_tagged_and_belongs_to_the_box() -> None:
    graph = recorded()
    box = only(graph, "mlflow:aws:Endpoints")
    for one in graph.of(ENDPOINT):
        assert one.parent == box.urn
        assert one.inputs["tags"]["Component"] == "proxy"
