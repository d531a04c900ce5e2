"""VPC endpoints: how instances reach AWS without the internet, and how far each of them goes.

Without a NAT, every service that a booting and running instance and the proxy call has one, and S3 has its gateway.
Left to the caller: whatever else is to run in the VPC.
"""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from .deployment import Deployment
from .endpoint_policies import endpoint_statements
from .identity import Statement, document
from .image import Image
from .network import Network
from .network_settings import Endpoint, NetworkSettings
from .proxy_log import ProxyLog
from .tokens import Tokens
from .tracking import Tracking

# By who calls:
_BOOT: tuple[Endpoint, ...] = ("ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs")
# Agents since 3.3.40 do without ec2messages, but an older machine image may be given. Where a region has no such
# service, the preview says so: name it in existingEndpoints.
_SESSIONS: tuple[Endpoint, ...] = ("ssm", "ssmmessages", "ec2messages")
_PROXY: tuple[Endpoint, ...] = ("mlflow", "sagemaker.api", "secretsmanager", "sts")
# What "Connect Amazon SageMaker Studio in a VPC to External Resources" asks for beyond those. Its projects and
# JumpStart would need servicecatalog and buckets of AWS's, too.
_STUDIO: tuple[Endpoint, ...] = ("sagemaker.runtime", "studio")


class Endpoints(pulumi.ComponentResource):
    """Each bounded by a policy to what this component uses, where that works."""

    def __init__(
        self,
        deployment: Deployment,
        args: NetworkSettings,
        *,
        network: Network,
        tracking: Tracking,
        image: Image,
        tokens: Tokens,
        log: ProxyLog,
        studio: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``studio``: a Studio domain lives in the VPC, too."""
        super().__init__("mlflow:aws:Endpoints", deployment.logical_name("endpoints"), {}, opts)
        self._deployment = deployment
        self._network = network
        alone = args.egress == "endpoints"
        # In a VPC that is there, a policy would hold for everybody who finds these services by the endpoints' private
        # DNS, or S3 by its route tables. Beside a NAT it would hold nobody off, and would be in the way of packages
        # that come from S3.
        bounded = alone and args.vpc_id is None
        policies: Mapping[Endpoint, Sequence[Statement]] = (
            endpoint_statements(deployment, tracking=tracking, image=image, tokens=tokens, log=log, studio=studio)
            if bounded
            else {}
        )
        if alone:
            for name in _wanted(deployment, studio=studio):
                if name not in args.existing_endpoints:
                    service = self._service(name, args, serverless=tracking.serverless)
                    self._interface(name, service, policies.get(name))
        # Beside a NAT, too: it costs nothing, and what goes through a NAT does. In a VPC that is there, its routes are
        # touched only where there is no other way.
        if (alone or args.vpc_id is None) and "s3" not in args.existing_endpoints:
            self._s3(policies.get("s3"))
        self.register_outputs({})

    def _service(self, name: Endpoint, args: NetworkSettings, *, serverless: bool) -> pulumi.Output[str]:
        region = self._deployment.region
        if name == "mlflow":
            if args.mlflow_endpoint_service is not None:
                return pulumi.Output.from_input(args.mlflow_endpoint_service)
            return pulumi.Output.concat("aws.sagemaker.", region, ".mlflow" if serverless else ".experiments")
        if name == "studio":
            return pulumi.Output.concat("aws.sagemaker.", region, ".studio")
        return pulumi.Output.concat("com.amazonaws.", region, ".", name)

    def _interface(self, name: Endpoint, service: pulumi.Output[str], statements: Sequence[Statement] | None) -> None:
        role = f"endpoint-{name.replace('.', '-')}"
        network = self._network
        # Asked, since it differs by service, region and year: which zones it is in (elsewhere it cannot be made:
        # terraform-aws-modules/terraform-aws-vpc#462), and whether it takes a policy (ecs-agent and ecs-telemetry did
        # not: awsdocs/amazon-ecs-developer-guide#55). A service that is not there is an error before anything is made.
        offer = aws.ec2.get_vpc_endpoint_service_output(
            service_name=service, service_type="Interface", opts=pulumi.InvokeOptions(parent=self)
        )
        group = network.endpoints_security_group_id
        aws.ec2.VpcEndpoint(
            self._deployment.logical_name(role),
            vpc_id=network.vpc_id,
            vpc_endpoint_type="Interface",
            service_name=service,
            private_dns_enabled=True,
            security_group_ids=[group] if group is not None else None,
            subnet_ids=pulumi.Output.all(
                service=service,
                zones=offer.availability_zones,
                subnets=network.private_subnet_ids,
                of_subnets=network.private_zones,
            ).apply(lambda known: one_in_each_zone(**known)),
            policy=_where_taken(offer.vpc_endpoint_policy_supported, statements),
            tags=self._deployment.tags_for(role),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _s3(self, statements: Sequence[Statement] | None) -> None:
        deployment = self._deployment
        aws.ec2.VpcEndpoint(
            deployment.logical_name("endpoint-s3"),
            vpc_id=self._network.vpc_id,
            vpc_endpoint_type="Gateway",
            service_name=pulumi.Output.concat("com.amazonaws.", deployment.region, ".s3"),
            route_table_ids=self._network.private_route_table_ids,
            policy=document(statements) if statements is not None else None,
            tags=deployment.tags_for("endpoint-s3"),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _wanted(deployment: Deployment, *, studio: bool) -> list[Endpoint]:
    # ECS Exec and Session Manager encrypt with a customer key from the instance; all others use it where they are.
    key: tuple[Endpoint, ...] = ("kms",) if deployment.kms_key_arn is not None else ()
    return [*_BOOT, *_SESSIONS, *_PROXY, *key, *(_STUDIO if studio else ())]


def _where_taken(supported: pulumi.Output[bool], statements: Sequence[Statement] | None) -> pulumi.Output[str | None]:
    if statements is None:
        return pulumi.Output.from_input(None)
    return pulumi.Output.all(supported, document(statements)).apply(lambda both: both[1] if both[0] else None)


def one_in_each_zone(
    service: str, zones: Sequence[str], subnets: Sequence[str], of_subnets: Sequence[str]
) -> list[str]:
    """The subnets for an endpoint: AWS takes one in a zone, and only in zones that the service is in.

    ``of_subnets``: the zones of ``subnets``. Raises pulumi.RunError if none is left.
    """
    found: dict[str, str] = {}
    for subnet, zone in zip(subnets, of_subnets, strict=True):
        if zone in zones:
            found.setdefault(zone, subnet)
    if not found:
        raise pulumi.RunError(
            f"network: {service} is offered in {', '.join(zones)}, and the private subnets are in "
            f"{', '.join(sorted(set(of_subnets)))}: take others, or network.egress nat."
        )
    return list(found.values())
