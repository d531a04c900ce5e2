"""A SageMaker Studio domain in the same VPC, and one user of it.

Left to people: the spaces and apps that they start there. What stays behind when the domain goes, and the commands that
remove it, is in docs/destroy.md.
"""

import pulumi
from pulumi_aws import ec2, iam, sagemaker, vpc

from .args import StudioArgs
from .edge import Edge
from .identity import (
    Statement,
    artifact_statements,
    mlflow_statements,
    role_policy,
    service_role,
    studio_statements,
)
from .network import Network, way
from .place import Place
from .tracking import Tracking

_NFS = 2049
# What AWS asks for between a user's own apps: "Connect Amazon SageMaker Studio in a VPC to External Resources".
_APPS = (8192, 65535)


class Studio(pulumi.ComponentResource):
    """What AWS leaves behind when it goes is named in docs/destroy.md."""

    domain_id: pulumi.Output[str]

    def __init__(
        self,
        place: Place,
        args: StudioArgs,
        *,
        network: Network,
        tracking: Tracking,
        edge: Edge,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Studio", place.named("studio"), {}, opts)
        group = ec2.SecurityGroup(
            place.named("studio"),
            vpc_id=network.vpc_id,
            description="The apps of SageMaker Studio",
            tags=place.tagged("studio"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        ways = [
            *self._rules(place, network, group),
            *self._to_the_proxy(place, edge, group),
            *network.let_out(place, "studio", group.id, self),
        ]
        role = service_role(place, "studio", "sagemaker.amazonaws.com", [], parent=self)
        domain = self._domain(place, network, group, role, ways)
        # Here its id is known.
        role_policy(place, "studio", role, self._statements(place, args, domain, tracking))
        sagemaker.UserProfile(
            place.named("studio"),
            domain_id=domain.id,
            user_profile_name=args.user_profile,
            tags=place.tagged("studio"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.domain_id = domain.id
        self.register_outputs({"domain_id": self.domain_id})

    def _rules(self, place: Place, network: Network, group: ec2.SecurityGroup) -> list[pulumi.Resource]:
        inside = pulumi.ResourceOptions(parent=self)

        def to(role: str, ports: tuple[int, int], **other: pulumi.Input[str]) -> pulumi.Resource:
            return vpc.SecurityGroupEgressRule(
                place.named(f"studio-to-{role}"),
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=ports[0],
                to_port=ports[1],
                tags=place.tagged(f"studio-to-{role}"),
                opts=inside,
                **other,
            )

        return [
            vpc.SecurityGroupIngressRule(
                place.named("studio-from-apps"),
                security_group_id=group.id,
                referenced_security_group_id=group.id,
                description="Between apps",
                ip_protocol="tcp",
                from_port=_APPS[0],
                to_port=_APPS[1],
                tags=place.tagged("studio-from-apps"),
                opts=inside,
            ),
            to("apps", _APPS, referenced_security_group_id=group.id, description="Between apps"),
            to("files", (_NFS, _NFS), cidr_ipv4=network.cidr, description="The file system of the domain"),
        ]

    def _to_the_proxy(self, place: Place, edge: Edge, group: ec2.SecurityGroup) -> list[pulumi.Resource]:
        """Notebooks may come through the proxy, too. A public one is reached as everything on the internet is."""
        if edge.public:
            return []
        # The VPC's addresses may not be among those that are allowed.
        return way(
            place,
            "studio-to-edge",
            source=group.id,
            target=edge.security_group_id,
            port=edge.port,
            parent=self,
            out="The proxy",
            into="Notebooks of Studio",
        )

    def _domain(
        self, place: Place, network: Network, group: ec2.SecurityGroup, role: iam.Role, ways: list[pulumi.Resource]
    ) -> sagemaker.Domain:
        return sagemaker.Domain(
            place.named("studio"),
            domain_name=place.physical_name("studio", 63),
            auth_mode="IAM",
            vpc_id=network.vpc_id,
            subnet_ids=network.private_subnet_ids,
            app_network_access_type="VpcOnly",
            default_user_settings=sagemaker.DomainDefaultUserSettingsArgs(
                execution_role=role.arn, security_groups=[group.id]
            ),
            kms_key_id=place.kms_key_arn,
            # Notebooks live in it: without this, they stay and cost.
            retention_policy=sagemaker.DomainRetentionPolicyArgs(home_efs_file_system="Delete"),
            tags=place.tagged("studio"),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=ways,
                # Two cannot have one name.
                delete_before_replace=True,
                # Home directories, like artifacts, are not destroyed in production.
                protect=place.deletion_protection,
            ),
        )

    def _statements(
        self, place: Place, args: StudioArgs, domain: sagemaker.Domain, tracking: Tracking
    ) -> list[Statement]:
        target, serverless = tracking.target_arn, tracking.serverless
        statements = [
            *studio_statements(
                place,
                domain_id=domain.id,
                user_profile=args.user_profile,
                target_arn=target,
                serverless=serverless,
            ),
            *mlflow_statements(target_arn=target, serverless=serverless, deletes=False, interface=True),
        ]
        if tracking.bucket_arn is not None:
            statements += artifact_statements(place, bucket_arn=tracking.bucket_arn, prefix=tracking.artifact_prefix)
        return statements
