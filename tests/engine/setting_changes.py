"""The effect of changing each setting of a deployed development stack: the reviewed table.

What is an update and what a replacement follows from the program and from tests/doubles/provider/replace_table.toml;
here it is written down, so that a change of either is seen in a review. Not here: settings of a VPC or of a target that
were there before, which are chosen once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.engine.programs import CERTIFICATE, KEY

# A new revision of the task definition, which the service rolls out.
ROLLED_OUT = ("replace TaskDefinition", "update Service")
# The image's name contains a hash of its content; the old image stays in the repository.
REBUILT = ("create Image", "delete Image")
HTTPS = {"certificateArn": CERTIFICATE, "hostName": "mlflow.example.com"}
IN_ECR = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/proxy@sha256:{'0' * 64}"
# Settings that replace the tracking target, without its runs, as their documentation says.
ANOTHER = {"tracking.kind", "tracking.artifactPrefix", "tracking.mlflowVersion"}
DATA = {"Bucket", "MlflowApp", "MlflowTrackingServer"}
NO_DATA: set[str] = set()
# Excluded: settings chosen once, existing resources, production; OIDC and Studio are in test_life.py.
NOT_HERE = re.compile(
    r"environment|oidcClientSecret|network\.(vpc|private|public|existing|mlflow)\w+|tracking\.(targetArn|serverSize|mlflowVersion)"
    r"|studio.*|image\.packageIndexUrl|service\.bodyBudgetMib|loadBalancer\.(oidc.*|hostName|domain.*|allowHttp|rateLimitPerIp)|access\.roles.*"
)


@dataclass(frozen=True, slots=True)
class Change:
    """``settings`` override those of Pulumi.dev.yaml; ``steps`` are the expected steps.

    ``refused``: the cloud refuses the change with this message.
    """

    settings: Mapping[str, Any]
    steps: tuple[str, ...] = ()
    refused: str | None = None


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
    # A repository cannot change its key: a new repository, and its image.
    "kmsKeyArn": Change(
        {"kmsKeyArn": KEY},
        (
            *ROLLED_OUT,
            *REBUILT,
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
    "network.cidr": Change({"network": {"cidr": "10.43.0.0/16"}}, refused="DependencyViolation"),
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
        (*ROLLED_OUT, "create MlflowTrackingServer", "delete MlflowApp", "update RolePolicy"),
    ),
    "tracking.maintenanceWindow": Change({"tracking": {"maintenanceWindow": "Sun:02:00"}}, ("update MlflowApp",)),
    "tracking.automaticModelRegistration": Change(
        {"tracking": {"automaticModelRegistration": True}}, ("update MlflowApp", "update RolePolicy")
    ),
    "tracking.artifactPrefix": Change(
        {"tracking": {"artifactPrefix": "other"}}, (*ROLLED_OUT, "replace MlflowApp", "update RolePolicy")
    ),
    "tracking.noncurrentVersionDays": Change(
        {"tracking": {"noncurrentVersionDays": 30}}, ("update BucketLifecycleConfiguration",)
    ),
    "image.keepImages": Change(
        {"image": {"keepImages": 20}},
        ("replace LifecyclePolicy",),
    ),
    "image.architecture": Change(
        {"image": {"architecture": "amd64"}},
        (
            *ROLLED_OUT,
            *REBUILT,
            "create Stash",
            "delete Stash",
            "update Group",
            "update LaunchTemplate",
        ),
    ),
    "image.baseImage": Change({"image": {"baseImage": "python:3.12-slim"}}, (*ROLLED_OUT, *REBUILT)),
    "image.imageUri": Change(
        {"image": {"imageUri": IN_ECR}},
        (
            *ROLLED_OUT,
            "delete Image",
            "delete LifecyclePolicy",
            "delete Repository",
            "update RolePolicy",
        ),
    ),
    "service.instanceType": Change(
        {"service": {"instanceType": "t4g.medium"}}, ("update Group", "update LaunchTemplate")
    ),
    # A newer machine image alone changes nothing.
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
    "service.taskMemoryMib": Change({"service": {"taskMemoryMib": 1200}}, ROLLED_OUT),
    "service.taskCpuUnits": Change({"service": {"taskCpuUnits": 512}}, ROLLED_OUT),
    "service.bodyLimitMib": Change({"service": {"bodyLimitMib": 16}}, ROLLED_OUT),
    "service.enableExecuteCommand": Change(
        {"service": {"enableExecuteCommand": True}}, (*ROLLED_OUT, "update Cluster", "update RolePolicy")
    ),
    "service.containerInsights": Change({"service": {"containerInsights": True}}, ("update Cluster",)),
    # The new load balancer is created before the old one is deleted, and a target group serves one load balancer.
    "loadBalancer.public": Change({"loadBalancer": {"public": True, **HTTPS}}, refused="TargetGroupAssociationLimit"),
    "loadBalancer.allowedCidrs": Change(
        {"loadBalancer": {"allowedCidrs": ["10.0.0.0/8"]}},
        ("create SecurityGroupIngressRule", "delete SecurityGroupIngressRule"),
    ),
    "loadBalancer.certificateArn": Change(
        {"loadBalancer": HTTPS},
        (
            *ROLLED_OUT,
            "create Listener",
            "create SecurityGroupIngressRule",
            "update Listener",
            "update SecurityGroupEgressRule",
            "update SecurityGroupIngressRule",
        ),
    ),
    "loadBalancer.domain": Change(
        {"loadBalancer": {"domain": {"name": "mlflow.example.com", "zoneId": "Z0123456789ABCDEFGHIJ"}}},
        (
            *ROLLED_OUT,
            "create Certificate",
            "create CertificateValidation",
            "create Listener",
            "create Record",
            "create SecurityGroupIngressRule",
            "update Listener",
            "update SecurityGroupEgressRule",
            "update SecurityGroupIngressRule",
        ),
    ),
    "loadBalancer.idleTimeoutSeconds": Change(
        {"loadBalancer": {"idleTimeoutSeconds": 300}}, (*ROLLED_OUT, "update LoadBalancer", "update TargetGroup")
    ),
    "loadBalancer.waf": Change(
        {"loadBalancer": {"waf": True}},
        (
            "create LogGroup",
            "create LogResourcePolicy",
            "create WebAcl",
            "create WebAclAssociation",
            "create WebAclLoggingConfiguration",
        ),
    ),
    "loadBalancer.accessLogRetentionDays": Change(
        {"loadBalancer": {"accessLogRetentionDays": 90}}, ("update BucketLifecycleConfiguration",)
    ),
    # It applies only when the token is created.
    "access.adminTokenDays": Change({"access": {"adminTokenDays": 30}}, ()),
    "monitoring.logRetentionDays": Change({"monitoring": {"logRetentionDays": 90}}, ("update LogGroup",)),
    "monitoring.alarmEmail": Change({"monitoring": {"alarmEmail": "ops@example.com"}}, ("create TopicSubscription",)),
    "monitoring.dashboard": Change({"monitoring": {"dashboard": False}}, ("delete Dashboard",)),
    "monitoring.latencyThresholdSeconds": Change(
        {"monitoring": {"latencyThresholdSeconds": 2}}, ("update MetricAlarm",)
    ),
}
# In CI a sample is changed, a few settings at a time, in this order, each group on top of the one before.
IN_CI = (
    ("tags", "network.flowLogRetentionDays", "tracking.maintenanceWindow", "monitoring.latencyThresholdSeconds"),
    (
        "service.ami",
        "service.minTasks",
        "service.requestsPerTask",
        "loadBalancer.accessLogRetentionDays",
        "monitoring.alarmEmail",
    ),
    (
        "loadBalancer.idleTimeoutSeconds",
        "loadBalancer.waf",
        "network.azCount",
        "image.baseImage",
        "service.containerInsights",
    ),
)
