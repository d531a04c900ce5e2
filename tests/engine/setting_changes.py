"""The effect of changing each setting of a deployed development stack: the reviewed table.

The program and tests/doubles/provider/replace_table.toml determine which resources are updated or replaced. The table
records the result, so that a review shows a change of either. Settings of an existing VPC or target are not in the
table: they do not change after the first deployment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.engine.programs import CERTIFICATE, KEY

# A new revision of the task definition, and its rolling update.
ROLLOUT_STEPS = ("replace TaskDefinition", "update Service")
# The image's name contains a hash of its content; the old image stays in the repository.
REBUILD_STEPS = ("create Image", "delete Image")
HTTPS = {"certificateArn": CERTIFICATE, "hostName": "mlflow.example.com"}
ECR_IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/proxy@sha256:{'0' * 64}"
# Settings that replace the tracking target and lose its runs, as their documentation states.
DATA_LOSS_SETTINGS = {"tracking.kind", "tracking.artifactPrefix", "tracking.mlflowVersion"}
DATA_TYPES = {"Bucket", "MlflowApp", "MlflowTrackingServer"}
# Settings that delete or replace a resource of DATA_TYPES that holds no user data.
NO_DATA_LOSS_SETTINGS: set[str] = set()
# Settings without a row: existing resources, production, Studio, and OIDC, which test_lifecycle.py sets.
EXCLUDED = re.compile(
    r"environment|oidcClientSecret|network\.(vpc|private|public|existing|mlflow)\w+|tracking\.(targetArn|assumeRoleArn|serverSize|mlflowVersion)"
    r"|studio.*|artifacts\.uri|image\.packageIndexUrl|service\.(bodyBudgetMib|schedule\.(stop|days|timeZone))|loadBalancer\.(oidc.*|hostName|domain.*|allowHttp|rateLimitPerIp)|access\.roles.*|monitoring\.alarmTopicArn"
)


@dataclass(frozen=True, slots=True)
class Change:
    """``settings`` override those of Pulumi.dev.yaml; ``steps`` are the expected steps.

    ``error``: the cloud rejects the change with this message.
    """

    settings: Mapping[str, Any]
    steps: tuple[str, ...] = ()
    error: str | None = None


CHANGES = {
    "tags": Change(
        {"tags": {"Team": "data"}},
        (
            "update Bucket",
            "update CapacityProvider",
            "update Cluster",
            "update DefaultSecurityGroup",
            "update Eip",
            "update FlowLog",
            "update Group",
            "update InstanceProfile",
            "update InternetGateway",
            "update LaunchTemplate",
            "update Listener",
            "update LoadBalancer",
            "update LogGroup",
            "update MetricAlarm",
            "update MlflowApp",
            "update NatGateway",
            "update Repository",
            "update Role",
            "update RouteTable",
            "update Secret",
            "update SecurityGroup",
            "update SecurityGroupEgressRule",
            "update SecurityGroupIngressRule",
            "update Service",
            "update Subnet",
            "update Target",
            "update TargetGroup",
            "update TaskDefinition",
            "update Topic",
            "update Vpc",
            "update VpcEndpoint",
        ),
    ),
    "permissionsBoundaryArn": Change(
        {"permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary"}, ("update Role",)
    ),
    # A repository cannot change its key: the repository and its image are replaced.
    "kmsKeyArn": Change(
        {"kmsKeyArn": KEY},
        (
            *ROLLOUT_STEPS,
            *REBUILD_STEPS,
            "replace LifecyclePolicy",
            "replace Repository",
            "update BucketServerSideEncryptionConfiguration",
            "update Group",
            "update LaunchTemplate",
            "update LogGroup",
            "update RolePolicy",
            "update Secret",
            "update Topic",
        ),
    ),
    "deletionProtection": Change(
        {"deletionProtection": True}, ("update Bucket", "update LoadBalancer", "update Repository", "update Secret")
    ),
    # Resources cannot move to another VPC.
    "network.cidr": Change({"network": {"cidr": "10.43.0.0/16"}}, error="DependencyViolation"),
    "network.azCount": Change(
        {"network": {"azCount": 3}},
        (
            "create Route",
            "create RouteTable",
            "create RouteTableAssociation",
            "create Subnet",
            "update Group",
            "update LoadBalancer",
            "update Service",
            "update VpcEndpoint",
        ),
    ),
    "network.egress: nat-per-az": Change(
        {"network": {"egress": "nat-per-az"}},
        ("create Eip", "create NatGateway", "create RouteTableAssociation", "create Subnet", "update Route"),
    ),
    "network.egress: endpoints": Change(
        {"network": {"egress": "endpoints"}},
        (
            "create SecurityGroup",
            "create SecurityGroupEgressRule",
            "create SecurityGroupIngressRule",
            "create VpcEndpoint",
            "delete Eip",
            "delete InternetGateway",
            "delete NatGateway",
            "delete Route",
            "delete RouteTable",
            "delete RouteTableAssociation",
            "delete SecurityGroupEgressRule",
            "delete Subnet",
            "update VpcEndpoint",
        ),
    ),
    "network.flowLogRetentionDays": Change({"network": {"flowLogRetentionDays": 90}}, ("update LogGroup",)),
    "tracking.kind": Change(
        {"tracking": {"kind": "server"}},
        (*ROLLOUT_STEPS, "create MlflowTrackingServer", "delete MlflowApp", "update RolePolicy"),
    ),
    "tracking.maintenanceWindow": Change({"tracking": {"maintenanceWindow": "Sun:02:00"}}, ("update MlflowApp",)),
    "tracking.automaticModelRegistration": Change(
        {"tracking": {"automaticModelRegistration": True}}, ("update MlflowApp", "update RolePolicy")
    ),
    "tracking.artifactPrefix": Change(
        {"tracking": {"artifactPrefix": "other"}}, (*ROLLOUT_STEPS, "replace MlflowApp", "update RolePolicy")
    ),
    "tracking.noncurrentVersionDays": Change(
        {"tracking": {"noncurrentVersionDays": 30}}, ("update BucketLifecycleConfiguration",)
    ),
    "artifacts.enabled": Change({"artifacts": {"enabled": False}}, ("update RolePolicy", *ROLLOUT_STEPS)),
    "artifacts.presignedTransfers": Change({"artifacts": {"presignedTransfers": True}}, ROLLOUT_STEPS),
    "ui.enabled": Change({"ui": {"enabled": False}}, (*ROLLOUT_STEPS, *REBUILD_STEPS)),
    "limits.requestsPerSecond": Change({"limits": {"requestsPerSecond": 20}}, ROLLOUT_STEPS),
    "limits.maxRequests": Change({"limits": {"maxRequests": 16}}, ROLLOUT_STEPS),
    "image.keepImages": Change(
        {"image": {"keepImages": 20}},
        ("replace LifecyclePolicy",),
    ),
    "image.architecture": Change(
        {"image": {"architecture": "amd64"}},
        (
            *ROLLOUT_STEPS,
            *REBUILD_STEPS,
            "create Stash",
            "delete Stash",
            "update Group",
            "update LaunchTemplate",
        ),
    ),
    "image.baseImage": Change({"image": {"baseImage": "python:3.12-slim"}}, (*ROLLOUT_STEPS, *REBUILD_STEPS)),
    "image.imageUri": Change(
        {"image": {"imageUri": ECR_IMAGE}},
        (
            *ROLLOUT_STEPS,
            "delete Image",
            "delete LifecyclePolicy",
            "delete Repository",
            "update RolePolicy",
        ),
    ),
    "service.instanceType": Change(
        {"service": {"instanceType": "t4g.medium"}}, ("update Group", "update LaunchTemplate")
    ),
    # A newer AMI alone changes nothing: the label has to change.
    "service.ami": Change(
        {"service": {"ami": "second"}},
        ("create Stash", "delete Stash", "update Group", "update LaunchTemplate"),
    ),
    "service.minTasks": Change({"service": {"minTasks": 2}}, ("update Target",)),
    "service.maxTasks": Change(
        {"service": {"maxTasks": 4}}, ("update CapacityProvider", "update Group", "update Target")
    ),
    "service.requestsPerTask": Change({"service": {"requestsPerTask": 9000}}, ("update Policy",)),
    "service.cpuTargetPercent": Change({"service": {"cpuTargetPercent": 50}}, ("update Policy",)),
    "service.taskMemoryMib": Change({"service": {"taskMemoryMib": 1200}}, ROLLOUT_STEPS),
    "service.taskCpuUnits": Change({"service": {"taskCpuUnits": 512}}, ROLLOUT_STEPS),
    "service.bodyLimitMib": Change({"service": {"bodyLimitMib": 16}}, ROLLOUT_STEPS),
    "service.enableExecuteCommand": Change(
        {"service": {"enableExecuteCommand": True}}, (*ROLLOUT_STEPS, "update Cluster", "update RolePolicy")
    ),
    "service.containerInsights": Change({"service": {"containerInsights": True}}, ("update Cluster",)),
    # The new load balancer is created before the old is deleted, and a target group belongs to one load balancer.
    "loadBalancer.public": Change({"loadBalancer": {"public": True, **HTTPS}}, error="TargetGroupAssociationLimit"),
    "loadBalancer.allowedCidrs": Change(
        {"loadBalancer": {"allowedCidrs": ["10.0.0.0/8"]}},
        ("create SecurityGroupIngressRule", "delete SecurityGroupIngressRule"),
    ),
    "service.schedule.start": Change(
        {"service": {"schedule": {"start": "08:00", "stop": "20:00"}}},
        ("create AlarmMuteRule", "create ScheduledAction"),
    ),
    "loadBalancer.certificateArn": Change(
        {"loadBalancer": HTTPS},
        (
            *ROLLOUT_STEPS,
            "create Listener",
            "create ListenerRule",
            "create MetricAlarm",
            "create SecurityGroupIngressRule",
            "update Dashboard",
            "update Listener",
            "update SecurityGroupEgressRule",
            "update SecurityGroupIngressRule",
        ),
    ),
    "loadBalancer.domain": Change(
        {"loadBalancer": {"domain": {"name": "mlflow.example.com", "zoneId": "Z0123456789ABCDEFGHIJ"}}},
        (
            *ROLLOUT_STEPS,
            "create Certificate",
            "create CertificateValidation",
            "create Listener",
            "create ListenerRule",
            "create MetricAlarm",
            "create Record",
            "create SecurityGroupIngressRule",
            "update Dashboard",
            "update Listener",
            "update SecurityGroupEgressRule",
            "update SecurityGroupIngressRule",
        ),
    ),
    "service.upstreamTimeoutSeconds": Change({"service": {"upstreamTimeoutSeconds": 60}}, ROLLOUT_STEPS),
    "service.longUpstreamTimeoutSeconds": Change(
        {"service": {"longUpstreamTimeoutSeconds": 600}}, (*ROLLOUT_STEPS, "update LoadBalancer", "update TargetGroup")
    ),
    "loadBalancer.waf": Change(
        {"loadBalancer": {"waf": True}},
        (
            "create LogGroup",
            "create LogResourcePolicy",
            "create MetricAlarm",
            "create WebAcl",
            "create WebAclAssociation",
            "create WebAclLoggingConfiguration",
            "update Dashboard",
        ),
    ),
    "loadBalancer.accessLogRetentionDays": Change(
        {"loadBalancer": {"accessLogRetentionDays": 90}}, ("update BucketLifecycleConfiguration",)
    ),
    # The setting applies only when the token is created.
    "access.adminTokenDays": Change({"access": {"adminTokenDays": 30}}, ()),
    "monitoring.logRetentionDays": Change({"monitoring": {"logRetentionDays": 90}}, ("update LogGroup",)),
    "monitoring.alarmEmail": Change({"monitoring": {"alarmEmail": "ops@example.com"}}, ("create TopicSubscription",)),
    "monitoring.dashboard": Change({"monitoring": {"dashboard": False}}, ("delete Dashboard",)),
    "monitoring.latencyThresholdSeconds": Change(
        {"monitoring": {"latencyThresholdSeconds": 2}}, ("update MetricAlarm",)
    ),
}
# The sample for CI: groups of settings, changed in this order, each in addition to the previous groups.
CI_GROUPS = (
    ("tags", "network.flowLogRetentionDays", "tracking.maintenanceWindow", "monitoring.latencyThresholdSeconds"),
    (
        "service.ami",
        "service.minTasks",
        "service.requestsPerTask",
        "loadBalancer.accessLogRetentionDays",
        "monitoring.alarmEmail",
    ),
    (
        "service.longUpstreamTimeoutSeconds",
        "loadBalancer.waf",
        "network.azCount",
        "image.baseImage",
        "service.containerInsights",
    ),
)
