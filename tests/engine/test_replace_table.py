"""The replace tables are complete, and agree with the SDKs, CloudFormation and the documentation."""

import re
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.doubles.provider import schema
from tests.doubles.provider.changes import Entry, table
from tests.doubles.provider.kinds import KINDS

# The type in CloudFormation, and the names of fields that differ in more than the case.
CLOUDFORMATION: dict[str, tuple[str, dict[str, str]]] = {
    "aws:ec2/vpc:Vpc": ("AWS::EC2::VPC", {}),
    "aws:ec2/subnet:Subnet": ("AWS::EC2::Subnet", {}),
    "aws:ec2/internetGateway:InternetGateway": ("AWS::EC2::InternetGateway", {}),
    "aws:ec2/eip:Eip": ("AWS::EC2::EIP", {}),
    "aws:ec2/natGateway:NatGateway": ("AWS::EC2::NatGateway", {"PrivateIpAddress": "privateIp"}),
    "aws:ec2/routeTable:RouteTable": ("AWS::EC2::RouteTable", {}),
    "aws:ec2/route:Route": ("AWS::EC2::Route", {}),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ("AWS::EC2::SubnetRouteTableAssociation", {}),
    "aws:ec2/securityGroup:SecurityGroup": (
        "AWS::EC2::SecurityGroup",
        {"GroupDescription": "description", "GroupName": "name"},
    ),
    "aws:ec2/flowLog:FlowLog": (
        "AWS::EC2::FlowLog",
        {"DeliverLogsPermissionArn": "iamRoleArn", "ResourceId": "vpcId"},
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("AWS::EC2::VPCEndpoint", {}),
    "aws:ec2/launchTemplate:LaunchTemplate": ("AWS::EC2::LaunchTemplate", {"LaunchTemplateName": "name"}),
    "aws:iam/role:Role": ("AWS::IAM::Role", {"RoleName": "name"}),
    "aws:iam/instanceProfile:InstanceProfile": ("AWS::IAM::InstanceProfile", {"InstanceProfileName": "name"}),
    "aws:s3/bucket:Bucket": ("AWS::S3::Bucket", {"BucketName": "bucket", "BucketNamePrefix": "bucketPrefix"}),
    "aws:s3/bucketPolicy:BucketPolicy": ("AWS::S3::BucketPolicy", {}),
    "aws:secretsmanager/secret:Secret": ("AWS::SecretsManager::Secret", {}),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": ("AWS::SageMaker::MlflowTrackingServer", {}),
    "aws:sagemaker/mlflowApp:MlflowApp": ("AWS::SageMaker::MlflowApp", {}),
    "aws:sagemaker/domain:Domain": ("AWS::SageMaker::Domain", {}),
    "aws:sagemaker/userProfile:UserProfile": ("AWS::SageMaker::UserProfile", {}),
    "aws:ecr/repository:Repository": (
        "AWS::ECR::Repository",
        {"RepositoryName": "name", "EncryptionConfiguration": "encryptionConfigurations"},
    ),
    "aws:lb/loadBalancer:LoadBalancer": (
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        {"Type": "loadBalancerType", "Scheme": "internal"},
    ),
    "aws:lb/targetGroup:TargetGroup": ("AWS::ElasticLoadBalancingV2::TargetGroup", {}),
    "aws:lb/listener:Listener": ("AWS::ElasticLoadBalancingV2::Listener", {}),
    "aws:lb/listenerRule:ListenerRule": ("AWS::ElasticLoadBalancingV2::ListenerRule", {}),
    "aws:acm/certificate:Certificate": (
        "AWS::CertificateManager::Certificate",
        {"DomainValidationOptions": "validationOptions"},
    ),
    "aws:route53/record:Record": ("AWS::Route53::RecordSet", {"HostedZoneId": "zoneId"}),
    "aws:wafv2/webAcl:WebAcl": ("AWS::WAFv2::WebACL", {}),
    "aws:wafv2/webAclAssociation:WebAclAssociation": ("AWS::WAFv2::WebACLAssociation", {"WebACLArn": "webAclArn"}),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ("AWS::WAFv2::LoggingConfiguration", {}),
    "aws:autoscaling/group:Group": ("AWS::AutoScaling::AutoScalingGroup", {"AutoScalingGroupName": "name"}),
    "aws:ecs/cluster:Cluster": ("AWS::ECS::Cluster", {"ClusterName": "name"}),
    "aws:ecs/capacityProvider:CapacityProvider": ("AWS::ECS::CapacityProvider", {"ClusterName": "cluster"}),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": (
        "AWS::ECS::ClusterCapacityProviderAssociations",
        {"Cluster": "clusterName"},
    ),
    "aws:ecs/taskDefinition:TaskDefinition": ("AWS::ECS::TaskDefinition", {}),
    "aws:ecs/service:Service": ("AWS::ECS::Service", {"Role": "iamRole", "ServiceName": "name"}),
    "aws:appautoscaling/target:Target": ("AWS::ApplicationAutoScaling::ScalableTarget", {}),
    "aws:appautoscaling/policy:Policy": ("AWS::ApplicationAutoScaling::ScalingPolicy", {"PolicyName": "name"}),
    "aws:appautoscaling/scheduledAction:ScheduledAction": ("AWS::ApplicationAutoScaling::ScalableTarget", {}),
    "aws:cloudwatch/alarmMuteRule:AlarmMuteRule": ("AWS::CloudWatch::AlarmMuteRule", {}),
    "aws:cloudwatch/logGroup:LogGroup": ("AWS::Logs::LogGroup", {"LogGroupName": "name"}),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": ("AWS::Logs::MetricFilter", {"FilterName": "name"}),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("AWS::CloudWatch::Alarm", {"AlarmName": "name"}),
    "aws:cloudwatch/dashboard:Dashboard": ("AWS::CloudWatch::Dashboard", {}),
    "aws:sns/topic:Topic": ("AWS::SNS::Topic", {"TopicName": "name"}),
    "aws:sns/topicSubscription:TopicSubscription": ("AWS::SNS::Subscription", {"TopicArn": "topic"}),
}
# Create-only properties in CloudFormation that the provider updates in place, with the reason.
UPDATED_IN_PLACE = {
    ("aws:ec2/routeTableAssociation:RouteTableAssociation", "RouteTableId"): "ReplaceRouteTableAssociation",
    ("aws:sagemaker/mlflowApp:MlflowApp", "Name"): "UpdateMlflowApp accepts it",
    ("aws:acm/certificate:Certificate", "CertificateExport"): "UpdateCertificateOptions",
    ("aws:ec2/vpcEndpoint:VpcEndpoint", "DnsOptions"): "fields that are not used here",
    ("aws:sagemaker/domain:Domain", "DomainSettings"): "fields that are not used here",
    ("aws:sagemaker/userProfile:UserProfile", "UserSettings"): "fields that are not used here",
}


def create_only(resource: str) -> list[str]:
    """The paths of the create-only properties in CloudFormation."""
    manager: Any = PROVIDER_SCHEMA_MANAGER
    paths: list[str] = manager.get_resource_schema("eu-west-1", resource).schema.get("createOnlyProperties", [])
    return sorted({path.removeprefix("/properties/") for path in paths})


def test_table_has_every_type_of_the_double_with_a_source() -> None:
    assert set(table()) == set(KINDS)
    assert all(entry.source for entry in table().values())


@pytest.mark.parametrize(("token", "entry"), table().items())
def test_table_fields_exist_in_the_sdk(token: str, entry: Entry) -> None:
    inputs = schema.schema_of(token).inputs
    fields = {*entry.fields, *entry.exceptions, *entry.alternatives, *entry.removed, *entry.retained}
    fields |= {*entry.unless, *entry.unless.values()}
    assert {path.split(".")[0] for path in fields} <= set(inputs)


@pytest.mark.parametrize(("token", "cloudformation"), CLOUDFORMATION.items(), ids=list(CLOUDFORMATION))
def test_cloudformation_create_only_properties_replace(token: str, cloudformation: tuple[str, dict[str, str]]) -> None:
    resource, names = cloudformation
    inputs = schema.schema_of(token).inputs
    for path in create_only(resource):
        top, *inner = path.split("/")
        field = names.get(top, top[0].lower() + top[1:])
        # The provider does not have the other properties, which are alternatives.
        if field in inputs and (token, top) not in UPDATED_IN_PLACE:
            nested = [part[0].lower() + part[1:] for part in inner]
            assert table()[token].replaces(".".join([field, *nested]), {field: 1}, {field: 2}), f"{resource}: {path}"


def test_fields_that_googles_provider_documents_as_immutable_replace() -> None:
    immutable = re.compile(r"[Cc]hanging this forces a new|must be recreated|cannot be changed after")
    fields = [
        (token, field)
        for token in table()
        if token.startswith("gcp:")
        for field, text in schema.documentation_of(token).items()
        if immutable.search(" ".join(text.split()))
    ]
    assert len(fields) > 5
    assert [
        (token, field) for token, field in fields if not table()[token].replaces(field, {field: 1}, {field: 2})
    ] == []
