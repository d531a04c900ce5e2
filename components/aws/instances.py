"""The EC2 instances under the proxies: launch template, autoscaling group, and the cluster's capacity provider of it.

They boot without installing anything. ECS starts and ends them as its tasks need: one for each proxy, more for the time
of a rollout. Left to the caller: with a customer key (``deployment.kms_key_arn``) its policy has to let Auto Scaling's
service-linked role use it, or no instance starts.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
"""

import base64
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
# The image's own, and the least that its snapshot takes (amazon-ecs-ami, al2023.pkr.hcl).
_DISK, _DISK_GIB = "/dev/xvda", 30
# Seconds from an instance's start to its agent being ready for tasks, with room. A second step out waits for it.
_WARMUP = 120


class Instances(pulumi.ComponentResource):
    """The EC2 instances on which ECS places tasks."""

    group_name: pulumi.Output[str]
    """The autoscaling group's."""
    capacity_provider: pulumi.Output[str]
    """Its name in the cluster."""
    in_cluster: pulumi.Resource
    """A service can only use it from then on, and has to end before this."""

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
        super().__init__("mlflow:aws:Instances", deployment.logical_name("instances"), {}, opts)
        role = service_role(deployment, "instance", "ec2.amazonaws.com", [], parent=self)
        rights = role_policy(
            deployment,
            "instance",
            role,
            instance_statements(deployment, cluster_arn=cluster.arn, cluster_name=cluster.name),
        )
        template = _template(
            deployment, args, architecture, security_groups=security_groups, cluster=cluster, role=role, parent=self
        )
        # Without its rights or its way out, an agent would neither join nor, when all is destroyed, end its tasks.
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
    """The AMI that is given, or the one that was the newest when the label was new.

    The stash keeps that one in Pulumi's state. A new label is a new stash, and so a new version of the same template:
    the old version stays, which is what an instance refresh goes back to when the new one does not work.
    """
    if _AMI.fullmatch(args.ami):
        return args.ami
    newest = ssm.get_parameter_output(name=_NEWEST[architecture], opts=pulumi.InvokeOptions(parent=parent))
    pinned = pulumi.Stash(
        deployment.logical_name(f"ami-{args.ami}-{architecture}"),
        # Public, though the provider takes every parameter's ``value`` for a secret.
        input=newest.insecure_value,
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=["input"]),
    )
    return pinned.output


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
        description="An instance for one proxy",
        image_id=_image(deployment, args, architecture, parent),
        instance_type=args.instance_type or _USUAL[architecture],
        iam_instance_profile=ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn),
        user_data=cluster.name.apply(user_data),
        network_interfaces=[_interface(security_groups)],
        metadata_options=_metadata(),
        block_device_mappings=[_disk(deployment)],
        # Not by the minute, which is billed: nothing here scales or alarms by an instance's metrics.
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=False),
        # The group tags the instances themselves.
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
        # Whatever the subnet would do.
        associate_public_ip_address="false",
        delete_on_termination="true",
        security_groups=[security_groups.instances],
    )


def _metadata() -> ec2.LaunchTemplateMetadataOptionsArgs:
    return ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled",
        http_tokens="required",
        # For the agents, which are in the host's network: one hop. The proxy asks the task's endpoint instead.
        http_put_response_hop_limit=1,
        # Nobody reads them there, and a tag with a space or a slash would then keep instances from starting.
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
    """The agent's settings, in base64, and nothing that could fail: no package, no download."""
    settings = {
        "ECS_CLUSTER": cluster,
        # The instance's role is for the agents, not for tasks.
        "ECS_AWSVPC_BLOCK_IMDS": "true",
        "ECS_DISABLE_PRIVILEGED": "true",
        # By AWS's reference a task may say no-new-privileges only where the agent says that it knows such options. It
        # does no more than that (amazon-ecs-agent, agent_capability.go).
        "ECS_SELINUX_CAPABLE": "true",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "false",
        # Images go by digest: one that is there is the right one. What no task uses the agent removes by itself.
        "ECS_IMAGE_PULL_BEHAVIOR": "once",
        # MiB for agents, Docker and the system: tasks get the rest.
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
    # ECS knows its groups by this one. Missing here, an update would take it away, or instances start without it
    # (https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/ecs_capacity_provider).
    tags = {**deployment.tags_for("instance"), "AmazonECSManaged": "true"}
    return autoscaling.Group(
        deployment.logical_name("instances"),
        vpc_zone_identifiers=list(network.private_subnet_ids),
        # Empty at first: instances that join before the capacity provider knows the group may never belong to it
        # (AWS: "We recommend that you create a new empty Auto Scaling group"). From then on ECS says how many.
        min_size=0,
        # All proxies, and as many new ones in a rollout.
        max_size=args.max_tasks * 2,
        launch_template=autoscaling.GroupLaunchTemplateArgs(
            id=template.id,
            # A number: a refresh can go back from no other.
            version=template.latest_version.apply(str),
        ),
        # Load balancers know tasks, not instances.
        health_check_type="EC2",
        default_instance_warmup=_WARMUP,
        capacity_rebalance=False,
        # ECS takes it from instances without tasks: those go first.
        protect_from_scale_in=True,
        instance_refresh=_refresh(),
        # The provider would wait for exactly as many instances as it knew of, while ECS changes their number.
        wait_for_capacity_timeout="0",
        # All at once, whatever is protected, and past ECS's hook for draining, which could hold each of them for two
        # days: the service has ended before.
        force_delete=True,
        tags=[
            autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
            for key, value in sorted(tags.items())
        ],
        opts=opts,
    )


def _refresh() -> autoscaling.GroupInstanceRefreshArgs:
    """How a new version of the template gets to the instances; `pulumi up` starts it and does not wait.

    New ones first. An old one that is to end waits in ECS's hook until its proxy runs elsewhere.
    """
    return autoscaling.GroupInstanceRefreshArgs(
        strategy="Rolling",
        preferences=autoscaling.GroupInstanceRefreshPreferencesArgs(
            min_healthy_percentage=100,
            # Of a single instance, less would leave no room for the new one.
            max_healthy_percentage=200,
            auto_rollback=True,
            skip_matching=True,
            # Each instance with a task is protected; the refresh would pass them over.
            scale_in_protected_instances="Refresh",
        ),
    )


def _capacity_provider(
    deployment: Deployment, args: ServiceSettings, group: autoscaling.Group, parent: pulumi.Resource
) -> ecs.CapacityProvider:
    return ecs.CapacityProvider(
        deployment.logical_name("instances"),
        # AWS refuses names that begin with aws, ecs or fargate. Another group would be another name.
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
            # Else the group might end an instance with a proxy beside an empty one. All is safe by draining, but
            # slower.
            managed_termination_protection="ENABLED",
        ),
        tags=deployment.tags_for("instances"),
        opts=pulumi.ResourceOptions(parent=parent),
    )
