"""Requests for instances, the ECS service and IAM roles, by resource type."""

from collections.abc import Mapping

from .rows import (
    ACCOUNT,
    EC2_TAG_ACTIONS,
    ID,
    PARTITION,
    REGION,
    SUFFIX,
    TAG_ACTIONS,
    Row,
    create_linked_role,
    ec2,
    on_resource,
    pass_role,
    without_resource,
)

ROWS: Mapping[str, tuple[Row, ...]] = {
    "aws:ec2/launchTemplate:LaunchTemplate": ec2(
        "launch-template",
        create="CreateLaunchTemplate",
        change=f"CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate {EC2_TAG_ACTIONS}",
        read="DescribeLaunchTemplates DescribeLaunchTemplateVersions",
    ),
    "aws:autoscaling/group:Group": (
        on_resource(
            "autoscaling",
            f"autoScalingGroup:{ID}:autoScalingGroupName/{{name}}",
            "CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup CreateOrUpdateTags DeleteTags "
            "StartInstanceRefresh CancelInstanceRefresh EnableMetricsCollection DisableMetricsCollection",
        ),
        without_resource(
            "autoscaling", "DescribeAutoScalingGroups DescribeScalingActivities DescribeInstanceRefreshes"
        ),
        # Auto Scaling checks whether the principal may run the launch template.
        *(
            on_resource(
                "ec2",
                f"{kind}/{ID}",
                "RunInstances",
                ec2__LaunchTemplate=f"arn:{PARTITION}:ec2:{REGION}:{ACCOUNT}:launch-template/lt-{ID}",
            )
            for kind in ("instance", "network-interface", "security-group", "subnet", "volume", "launch-template")
        ),
        *(
            on_resource("ec2", f"{kind}/{ID}", "CreateTags", ec2__CreateAction="RunInstances")
            for kind in ("instance", "network-interface", "volume")
        ),
        pass_role("ec2.amazonaws.com"),
        create_linked_role("autoscaling.amazonaws.com"),
    ),
    "aws:ecs/cluster:Cluster": (
        on_resource(
            "ecs", "cluster/{name}", f"CreateCluster UpdateCluster DescribeClusters DeleteCluster {TAG_ACTIONS}"
        ),
        create_linked_role("ecs.amazonaws.com"),
    ),
    "aws:ecs/capacityProvider:CapacityProvider": (
        on_resource(
            "ecs",
            "capacity-provider/{name}",
            "CreateCapacityProvider UpdateCapacityProvider DescribeCapacityProviders DeleteCapacityProvider "
            + TAG_ACTIONS,
        ),
        # ECS adds the tag AmazonECSManaged to the group.
        on_resource("autoscaling", f"autoScalingGroup:{ID}:autoScalingGroupName/mlflow-any", "CreateOrUpdateTags"),
    ),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": (
        on_resource("ecs", "cluster/{cluster}", "PutClusterCapacityProviders DescribeClusters"),
    ),
    "aws:ecs/taskDefinition:TaskDefinition": (
        on_resource("ecs", "task-definition/{name}:1", f"RegisterTaskDefinition {TAG_ACTIONS}"),
        without_resource("ecs", "DescribeTaskDefinition DeregisterTaskDefinition"),
        pass_role("ecs-tasks.amazonaws.com"),
    ),
    "aws:ecs/service:Service": (
        on_resource(
            "ecs",
            "service/{cluster}/{name}",
            f"CreateService UpdateService DescribeServices ListServiceDeployments DeleteService {TAG_ACTIONS}",
        ),
        on_resource("ecs", f"service-deployment/{{cluster}}/{{name}}/{ID}", "DescribeServiceDeployments"),
    ),
    "aws:appautoscaling/target:Target": (
        on_resource(
            "application-autoscaling",
            f"scalable-target/{ID}",
            f"RegisterScalableTarget DeregisterScalableTarget {TAG_ACTIONS}",
        ),
        without_resource("application-autoscaling", "DescribeScalableTargets"),
        on_resource("ecs", f"service/{{cluster}}/mlflow-proxy-{SUFFIX}", "DescribeServices UpdateService"),
        create_linked_role("ecs.application-autoscaling.amazonaws.com"),
    ),
    "aws:appautoscaling/scheduledAction:ScheduledAction": (
        on_resource("application-autoscaling", f"scalable-target/{ID}", "PutScheduledAction DeleteScheduledAction"),
        without_resource("application-autoscaling", "DescribeScheduledActions"),
    ),
    "aws:appautoscaling/policy:Policy": (
        on_resource("application-autoscaling", f"scalable-target/{ID}", "PutScalingPolicy DeleteScalingPolicy"),
        without_resource("application-autoscaling", "DescribeScalingPolicies"),
        # Its alarms, with the names that Application Auto Scaling gives them.
        on_resource(
            "cloudwatch",
            f"alarm:TargetTracking-service/{{cluster}}/mlflow-proxy-{SUFFIX}-AlarmHigh-{ID}",
            "PutMetricAlarm DescribeAlarms DeleteAlarms",
        ),
    ),
    # -- roles
    "aws:iam/role:Role": (
        on_resource(
            "iam",
            "role/{name}",
            "CreateRole GetRole DeleteRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription "
            "PutRolePermissionsBoundary DeleteRolePermissionsBoundary TagRole UntagRole ListRolePolicies "
            "ListAttachedRolePolicies ListInstanceProfilesForRole",
        ),
    ),
    "aws:iam/rolePolicy:RolePolicy": (
        on_resource("iam", "role/{name}", "PutRolePolicy GetRolePolicy DeleteRolePolicy"),
    ),
    "aws:iam/instanceProfile:InstanceProfile": (
        on_resource(
            "iam",
            "instance-profile/{name}",
            "CreateInstanceProfile GetInstanceProfile DeleteInstanceProfile AddRoleToInstanceProfile "
            "RemoveRoleFromInstanceProfile TagInstanceProfile UntagInstanceProfile",
        ),
        pass_role("ec2.amazonaws.com"),
    ),
}
