"""EC2 instances for the tasks: launch template, Auto Scaling group, and the cluster's capacity provider.

Instances install nothing when they boot. ECS scales them with the tasks: one per task, more during a rolling update.
The policy of a customer managed key (``deployment.kms_key_arn``) must allow Auto Scaling's service-linked role to use
it, or no instance starts.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
"""

import base64
import datetime
import re

import pulumi
from pulumi_aws import autoscaling, ec2, ecs, iam, ssm

from .deployment import Deployment
from .identity import instance_statements, role_policy, service_role
from .network import Network
from .security_groups import SecurityGroups
from .settings import Architecture, ServiceSettings

_AMI = re.compile(r"ami-[0-9a-f]{8,17}")
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
_NEWEST: dict[Architecture, str] = {
    "arm64": "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id",
    "amd64": "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id",
}
_USUAL: dict[Architecture, str] = {"arm64": "t4g.small", "amd64": "t3.small"}
# The AMI's root device, and the minimum size for its snapshot (amazon-ecs-ami, al2023.pkr.hcl).
_DISK, _DISK_GIB = "/dev/xvda", 30
# AWS releases an image every few weeks; instances install nothing themselves.
_OLD_DAYS = 90
# Seconds from an instance's start until its agent accepts tasks, with a margin. Further scaling waits for it.
_WARMUP = 120


class Instances(pulumi.ComponentResource):
    """The EC2 instances on which ECS places tasks."""

    group_name: pulumi.Output[str]
    """Name of the Auto Scaling group."""
    capacity_provider: pulumi.Output[str]
    """Name of the capacity provider."""
    in_cluster: pulumi.Resource
    """The association with the cluster; the ECS service must depend on it."""

    def __init__(
        self,
        deployment: Deployment,
        args: ServiceSettings,
        *,
        architecture: Architecture,
        network: Network,
        security_groups: SecurityGroups,
        cluster: ecs.Cluster,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:aws:Instances", deployment.component, {}, opts)
        role = service_role(deployment, "instance", "ec2.amazonaws.com", [], parent=self)
        rights = role_policy(
            deployment,
            "instance",
            role,
            instance_statements(deployment, cluster_arn=cluster.arn, cluster_name=cluster.name),
            parent=self,
        )
        template = _template(
            deployment, args, architecture, security_groups=security_groups, cluster=cluster, role=role, parent=self
        )
        # Agents need permissions and outbound connectivity to join, and to stop their tasks on destroy.
        group = _group(
            deployment,
            args,
            network,
            template,
            pulumi.ResourceOptions(parent=self, depends_on=[rights, security_groups]),
        )
        provider = _capacity_provider(deployment, args, group, self)
        self.in_cluster = ecs.ClusterCapacityProviders(
            deployment.logical_name("instances"),
            cluster_name=cluster.name,
            capacity_providers=[provider.name],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.group_name = group.name
        self.capacity_provider = provider.name
        self.register_outputs({"group_name": self.group_name, "capacity_provider": self.capacity_provider})


def _image(
    deployment: Deployment, args: ServiceSettings, architecture: Architecture, parent: pulumi.Resource
) -> pulumi.Input[str]:
    """The configured AMI, or for a label the latest ECS-optimized AMI when the label was first used.

    A Stash keeps its ID in the state. A new label creates a new Stash, and so a new version of the launch template.
    """
    if _AMI.fullmatch(args.ami):
        _warn_if_old(args.ami, parent)
        return args.ami
    newest = ssm.get_parameter_output(name=_NEWEST[architecture], opts=pulumi.InvokeOptions(parent=parent))
    pinned = pulumi.Stash(
        deployment.logical_name(f"ami-{args.ami}-{architecture}"),
        # Public, although the provider marks ``value`` of every parameter as secret.
        input=newest.insecure_value,
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=["input"]),
    )
    _warn_if_old(pinned.output, parent)
    return pinned.output


def _warn_if_old(ami: pulumi.Input[str], parent: pulumi.Resource) -> None:
    found = ec2.get_ami_output(
        filters=pulumi.Output.from_input(ami).apply(
            lambda known: [ec2.GetAmiFilterArgs(name="image-id", values=[known])]
        ),
        # AWS deprecates its images after two years.
        include_deprecated=True,
        opts=pulumi.InvokeOutputOptions(parent=parent),
    )

    def warn(creation_date: str) -> None:
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(creation_date)
        if age.days > _OLD_DAYS:
            pulumi.log.warn(
                f"service.ami: the machine image of the instances is {age.days} days old and lacks the security "
                "updates since then. Set service.ami to another label, such as today's date, to use the latest one.",
                parent,
            )

    found.creation_date.apply(warn)


def _template(
    deployment: Deployment,
    args: ServiceSettings,
    architecture: Architecture,
    *,
    security_groups: SecurityGroups,
    cluster: ecs.Cluster,
    role: iam.Role,
    parent: pulumi.Resource,
) -> ec2.LaunchTemplate:
    inside = pulumi.ResourceOptions(parent=parent)
    tags = deployment.tags_for("instance")
    profile = iam.InstanceProfile(deployment.logical_name("instance"), role=role.name, tags=tags, opts=inside)
    return ec2.LaunchTemplate(
        deployment.logical_name("instance"),
        description="Instance for one MLflow proxy task",
        image_id=_image(deployment, args, architecture, parent),
        instance_type=args.instance_type or _USUAL[architecture],
        iam_instance_profile=ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn),
        user_data=cluster.name.apply(user_data),
        network_interfaces=[_interface(security_groups)],
        metadata_options=_metadata(),
        block_device_mappings=[_disk(deployment)],
        # Detailed monitoring is billed, and neither scaling nor alarms use instance metrics.
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=False),
        # The Auto Scaling group tags the instances.
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags)
            for kind in ("volume", "network-interface")
        ],
        tags=tags,
        opts=inside,
    )


def _interface(security_groups: SecurityGroups) -> ec2.LaunchTemplateNetworkInterfaceArgs:
    return ec2.LaunchTemplateNetworkInterfaceArgs(
        device_index=0,
        # Regardless of the subnet's setting.
        associate_public_ip_address="false",
        delete_on_termination="true",
        security_groups=[security_groups.instances],
    )


def _metadata() -> ec2.LaunchTemplateMetadataOptionsArgs:
    return ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled",
        http_tokens="required",
        # One hop, for the agents in the host's network. The proxy uses the task's credentials endpoint instead.
        http_put_response_hop_limit=1,
        # Not used, and instances with a space or slash in a tag key would fail to start.
        instance_metadata_tags="disabled",
    )


def _disk(deployment: Deployment) -> ec2.LaunchTemplateBlockDeviceMappingArgs:
    return ec2.LaunchTemplateBlockDeviceMappingArgs(
        device_name=_DISK,
        ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
            volume_type="gp3",
            volume_size=_DISK_GIB,
            encrypted="true",
            kms_key_id=deployment.kms_key_arn,
            delete_on_termination="true",
        ),
    )


def user_data(cluster: str) -> str:
    """User data in base64: the ECS agent's settings only, without packages and downloads that could fail."""
    settings = {
        "ECS_CLUSTER": cluster,
        # Tasks must not use the instance's role.
        "ECS_AWSVPC_BLOCK_IMDS": "true",
        "ECS_DISABLE_PRIVILEGED": "true",
        # Required for the option no-new-privileges in a task, and without other effect (amazon-ecs-agent,
        # agent_capability.go).
        "ECS_SELINUX_CAPABLE": "true",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "false",
        # Images are referenced by digest, so a cached one is current. The agent removes unused images.
        "ECS_IMAGE_PULL_BEHAVIOR": "once",
        # MiB reserved for agents, Docker and the system.
        "ECS_RESERVED_MEMORY": "256",
    }
    lines = "\n".join(f"{name}={value}" for name, value in settings.items())
    script = f"#!/bin/bash\ncat >>/etc/ecs/ecs.config <<'END'\n{lines}\nEND\n"
    return base64.b64encode(script.encode()).decode()


def _group(
    deployment: Deployment,
    args: ServiceSettings,
    network: Network,
    template: ec2.LaunchTemplate,
    opts: pulumi.ResourceOptions,
) -> autoscaling.Group:
    # ECS adds this tag to its groups. Without it here, an update would remove it
    # (https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/ecs_capacity_provider).
    tags = {**deployment.tags_for("instance"), "AmazonECSManaged": "true"}
    return autoscaling.Group(
        deployment.logical_name("instances"),
        vpc_zone_identifiers=list(network.private_subnet_ids),
        # Starts empty: instances that start before the capacity provider exists may never be registered with it
        # (AWS: "We recommend that you create a new empty Auto Scaling group"). Then ECS sets the desired capacity.
        min_size=0,
        # All tasks, and as many new ones during a rolling update.
        max_size=args.max_tasks * 2,
        launch_template=autoscaling.GroupLaunchTemplateArgs(
            id=template.id,
            # A number: with $Latest, the group would not change, and no instance refresh would start.
            version=template.latest_version.apply(str),
        ),
        # Tasks, not instances, are the load balancer's targets.
        health_check_type="EC2",
        default_instance_warmup=_WARMUP,
        # For the alarm old-instances; free of charge.
        enabled_metrics=[autoscaling.Metric.GROUP_TERMINATING_INSTANCES],
        metrics_granularity="1Minute",
        capacity_rebalance=False,
        # ECS removes the protection from instances without tasks.
        protect_from_scale_in=True,
        instance_refresh=_refresh(),
        # The provider would wait for a number of instances that ECS changes meanwhile.
        wait_for_capacity_timeout="0",
        # Deletes instances regardless of protection and of ECS's draining hook, which can take two days. The service is
        # deleted before.
        force_delete=True,
        tags=[
            autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
            for key, value in sorted(tags.items())
        ],
        opts=opts,
    )


def _refresh() -> autoscaling.GroupInstanceRefreshArgs:
    """How instances get a new version of the launch template; `pulumi up` starts the refresh and does not wait for it.

    New instances start first. ECS's hook delays the termination of an old one until its task runs on another instance.
    There is no automatic rollback: the provider changes the group before it starts the refresh, so that AWS would roll
    back to the new version (hashicorp/terraform-provider-aws#34189). Alarms show a refresh that does not proceed.
    """
    return autoscaling.GroupInstanceRefreshArgs(
        strategy="Rolling",
        preferences=autoscaling.GroupInstanceRefreshPreferencesArgs(
            min_healthy_percentage=100,
            # With a single instance, a lower value would not allow a new one.
            max_healthy_percentage=200,
            skip_matching=True,
            # Instances with tasks are protected from scale-in; by default, the refresh would skip them.
            scale_in_protected_instances="Refresh",
        ),
    )


def _capacity_provider(
    deployment: Deployment, args: ServiceSettings, group: autoscaling.Group, parent: pulumi.Resource
) -> ecs.CapacityProvider:
    return ecs.CapacityProvider(
        deployment.logical_name("instances"),
        # Names must not start with aws, ecs or fargate. A new group gets a new name.
        name=pulumi.Output.concat("instances-", group.name),
        auto_scaling_group_provider=ecs.CapacityProviderAutoScalingGroupProviderArgs(
            auto_scaling_group_arn=group.arn,
            managed_scaling=ecs.CapacityProviderAutoScalingGroupProviderManagedScalingArgs(
                status="ENABLED",
                target_capacity=100,
                instance_warmup_period=_WARMUP,
                minimum_scaling_step_size=1,
                maximum_scaling_step_size=args.max_tasks * 2,
            ),
            managed_draining="ENABLED",
            # Without it, the group may terminate an instance with a task while another is empty. Draining makes this
            # safe, but slow.
            managed_termination_protection="ENABLED",
        ),
        tags=deployment.tags_for("instances"),
        opts=pulumi.ResourceOptions(parent=parent),
    )
