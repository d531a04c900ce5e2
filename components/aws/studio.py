"""A SageMaker Studio domain in the same VPC with one user profile.

Spaces and apps are created by users. docs/destroy.md lists what remains after the domain is deleted.
"""

import pulumi
from pulumi_aws import ec2, iam, sagemaker, vpc

from .deployment import Deployment
from .identity import (
    Statement,
    artifact_statements,
    mlflow_statements,
    role_policy,
    service_role,
    studio_statements,
)
from .load_balancer import LoadBalancer
from .network import Network, allow_traffic
from .settings import StudioSettings
from .tracking import Tracking

_NFS = 2049
# Ports between the apps of a user: "Connect Amazon SageMaker Studio in a VPC to External Resources".
_APPS = (8192, 65535)


class Studio(pulumi.ComponentResource):
    """The Studio domain, its security group and execution role."""

    domain_id: pulumi.Output[str]

    def __init__(
        self,
        deployment: Deployment,
        args: StudioSettings,
        *,
        network: Network,
        tracking: Tracking,
        load_balancer: LoadBalancer,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Studio", deployment.component, {}, opts)
        group = ec2.SecurityGroup(
            deployment.logical_name("studio"),
            vpc_id=network.vpc_id,
            description="The apps of SageMaker Studio",
            tags=deployment.tags_for("studio"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        rules = [
            *self._rules(deployment, network, group),
            *self._load_balancer_rules(deployment, load_balancer, group),
            *network.allow_egress(deployment, "studio", group.id, self),
        ]
        role = service_role(deployment, "studio", "sagemaker.amazonaws.com", [], parent=self)
        domain = self._domain(deployment, network, group, role, rules)
        # The policy contains the domain ID.
        role_policy(deployment, "studio", role, self._statements(deployment, args, domain, tracking), parent=self)
        sagemaker.UserProfile(
            deployment.logical_name("studio"),
            domain_id=domain.id,
            user_profile_name=args.user_profile,
            tags=deployment.tags_for("studio"),
            # It owns a home directory.
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        self.domain_id = domain.id
        self.register_outputs({"domain_id": self.domain_id})

    def _rules(self, deployment: Deployment, network: Network, group: ec2.SecurityGroup) -> list[pulumi.Resource]:
        inside = pulumi.ResourceOptions(parent=self)

        def to(role: str, ports: tuple[int, int], **other: pulumi.Input[str]) -> pulumi.Resource:
            return vpc.SecurityGroupEgressRule(
                deployment.logical_name(f"studio-to-{role}"),
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=ports[0],
                to_port=ports[1],
                tags=deployment.tags_for(f"studio-to-{role}"),
                opts=inside,
                **other,
            )

        return [
            vpc.SecurityGroupIngressRule(
                deployment.logical_name("studio-from-apps"),
                security_group_id=group.id,
                referenced_security_group_id=group.id,
                description="Between apps",
                ip_protocol="tcp",
                from_port=_APPS[0],
                to_port=_APPS[1],
                tags=deployment.tags_for("studio-from-apps"),
                opts=inside,
            ),
            to("apps", _APPS, referenced_security_group_id=group.id, description="Between apps"),
            to("files", (_NFS, _NFS), cidr_ipv4=network.cidr, description="The file system of the domain"),
        ]

    def _load_balancer_rules(
        self, deployment: Deployment, load_balancer: LoadBalancer, group: ec2.SecurityGroup
    ) -> list[pulumi.Resource]:
        """Allow notebooks to connect to an internal load balancer; a public one needs no rule."""
        if load_balancer.public:
            return []
        # allowedCidrs may not contain the VPC's range.
        return allow_traffic(
            deployment,
            "studio-to-load-balancer",
            source=group.id,
            target=load_balancer.security_group_id,
            port=load_balancer.port,
            parent=self,
            out="The proxy",
            into="Notebooks of Studio",
        )

    def _domain(
        self,
        deployment: Deployment,
        network: Network,
        group: ec2.SecurityGroup,
        role: iam.Role,
        rules: list[pulumi.Resource],
    ) -> sagemaker.Domain:
        return sagemaker.Domain(
            deployment.logical_name("studio"),
            domain_name=deployment.physical_name("studio", 63),
            auth_mode="IAM",
            vpc_id=network.vpc_id,
            subnet_ids=network.private_subnet_ids,
            app_network_access_type="VpcOnly",
            default_user_settings=sagemaker.DomainDefaultUserSettingsArgs(
                execution_role=role.arn, security_groups=[group.id]
            ),
            kms_key_id=deployment.kms_key_arn,
            # Otherwise the file system with the notebooks remains, and is billed.
            retention_policy=sagemaker.DomainRetentionPolicyArgs(home_efs_file_system="Delete"),
            tags=deployment.tags_for("studio"),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=rules,
                # The domain name is unique.
                delete_before_replace=True,
                # Home directories hold data, as the artifact bucket does.
                protect=deployment.deletion_protection,
            ),
        )

    def _statements(
        self, deployment: Deployment, args: StudioSettings, domain: sagemaker.Domain, tracking: Tracking
    ) -> list[Statement]:
        target, serverless = tracking.target_arn, tracking.serverless
        statements = [
            *studio_statements(
                deployment,
                domain_id=domain.id,
                user_profile=args.user_profile,
                target_arn=target,
                serverless=serverless,
            ),
            *mlflow_statements(target_arn=target, serverless=serverless, deletes=False, interface=True),
        ]
        if tracking.bucket_arn is not None:
            statements += artifact_statements(
                deployment, bucket_arn=tracking.bucket_arn, prefix=tracking.artifact_prefix
            )
        return statements
