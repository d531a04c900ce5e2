"""VPC endpoints for access to AWS services without internet access, and their policies.

Without a NAT gateway, every service that instances and the proxy call has an interface endpoint, and S3 a gateway
endpoint. Endpoints for other workloads in the VPC are not part of it.
"""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from .artifacts import ArtifactLocation
from .deployment import Deployment
from .endpoint_policies import endpoint_statements
from .identity import Statement, document
from .image import Image
from .network import Network
from .network_settings import Endpoint, NetworkSettings
from .proxy_log import ProxyLog
from .tokens import Tokens
from .tracking import Tracking

# Endpoints by client: ECS and Docker on the instances,
_BOOT: tuple[Endpoint, ...] = ("ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs")
# Since 3.3.40, Systems Manager's agent does not use ec2messages where it can reach ssmmessages
# (https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-create-vpc.html). Where a region does not offer a
# service, the preview fails: add it to existingEndpoints.
_SESSIONS: tuple[Endpoint, ...] = ("ssm", "ssmmessages")
# Credentials of a task come from the ECS agent: only an assumed role needs sts.
_PROXY: tuple[Endpoint, ...] = ("mlflow", "sagemaker.api", "secretsmanager")
# Additional endpoints according to "Connect Amazon SageMaker Studio in a VPC to External Resources". Projects and
# JumpStart would also need servicecatalog and buckets of AWS. Notebooks ask sts for their account (sagemaker,
# Session.default_bucket).
_STUDIO: tuple[Endpoint, ...] = ("sagemaker.runtime", "studio", "sts")


class Endpoints(pulumi.ComponentResource):
    """Endpoints with policies that allow only what this component uses, where possible."""

    def __init__(
        self,
        deployment: Deployment,
        args: NetworkSettings,
        *,
        network: Network,
        tracking: Tracking,
        artifacts: ArtifactLocation | None,
        image: Image,
        tokens: Tokens,
        log: ProxyLog,
        studio: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``studio``: the VPC also has a SageMaker Studio domain."""
        super().__init__("mlflow:aws:Endpoints", deployment.component, {}, opts)
        self._deployment = deployment
        self._network = network
        alone = args.egress == "endpoints"
        # In an existing VPC, a policy would apply to all workloads that resolve the endpoints' private DNS names or use
        # the route tables. With a NAT gateway, it would restrict nothing and block packages that are hosted on S3.
        bounded = alone and args.vpc_id is None
        policies: Mapping[Endpoint, Sequence[Statement]] = (
            endpoint_statements(
                deployment,
                tracking=tracking,
                artifacts=artifacts,
                image=image,
                tokens=tokens,
                log=log,
                studio=studio,
            )
            if bounded
            else {}
        )
        if alone:
            for name in _wanted(deployment, assumes_role=tracking.assume_role_arn is not None, studio=studio):
                if name not in args.existing_endpoints:
                    service = self._service(name, args, serverless=tracking.serverless)
                    self._interface(name, service, policies.get(name))
        # Also with a NAT gateway: the endpoint is free of charge, NAT traffic is not. Routes of an existing VPC change
        # only if there is no other route to S3.
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
        # Availability zones (terraform-aws-modules/terraform-aws-vpc#462) and support of policies (not in ecs-agent and
        # ecs-telemetry: awsdocs/amazon-ecs-developer-guide#55) differ by service and region. A service that the region
        # does not offer is an error of the preview.
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
            ).apply(lambda known: one_per_zone(**known)),
            policy=_policy_if_supported(offer.vpc_endpoint_policy_supported, statements),
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


def _wanted(deployment: Deployment, *, assumes_role: bool, studio: bool) -> list[Endpoint]:
    # ECS Exec and Session Manager use a customer managed key from the instance; all other services use it themselves.
    key: tuple[Endpoint, ...] = ("kms",) if deployment.kms_key_arn is not None else ()
    role: tuple[Endpoint, ...] = ("sts",) if assumes_role else ()
    return [*_BOOT, *_SESSIONS, *_PROXY, *role, *key, *(_STUDIO if studio else ())]


def _policy_if_supported(
    supported: pulumi.Output[bool], statements: Sequence[Statement] | None
) -> pulumi.Output[str | None]:
    if statements is None:
        return pulumi.Output.from_input(None)
    return pulumi.Output.all(supported, document(statements)).apply(lambda both: both[1] if both[0] else None)


def one_per_zone(service: str, zones: Sequence[str], subnets: Sequence[str], of_subnets: Sequence[str]) -> list[str]:
    """The subnets for an endpoint: one per availability zone, in zones where the service is offered.

    ``of_subnets`` are the zones of ``subnets``. Raises pulumi.RunError if none remains.
    """
    found: dict[str, str] = {}
    for subnet, zone in zip(subnets, of_subnets, strict=True):
        if zone in zones:
            found.setdefault(zone, subnet)
    if not found:
        raise pulumi.RunError(
            f"network: {service} is offered in {', '.join(zones)}, and the private subnets are in "
            f"{', '.join(sorted(set(of_subnets)))}: use other subnets, or set network.egress to nat."
        )
    return list(found.values())
