"""The kinds of tagged resources, with the command that removes each; in an order in which the removals succeed."""

import re
from typing import NamedTuple

ASG = "aws:autoscaling/group:Group"


class Kind(NamedTuple):
    """A kind of tagged resource: its type in Pulumi, its ARN from the service on, and the command that removes it.

    {id} and {arn} stand for those of the resource, {o} for the region and profile.
    """

    what: str
    type: str
    arn: str
    command: str


CONTAINERS = (
    Kind(
        "ECS service",
        "aws:ecs/service:Service",
        r"ecs:service/(?P<cluster>[^/]+)/(?P<id>.+)",
        "aws ecs delete-service --cluster {cluster} --service {id} --force{o}",
    ),
    Kind("EC2 instance", "", r"ec2:instance/(?P<id>.+)", "aws ec2 terminate-instances --instance-ids {id}{o}"),
    Kind(
        "ECS cluster",
        "aws:ecs/cluster:Cluster",
        r"ecs:cluster/(?P<id>.+)",
        "aws ecs delete-cluster --cluster {id}{o}",
    ),
    Kind(
        "ECS capacity provider",
        "aws:ecs/capacityProvider:CapacityProvider",
        r"ecs:capacity-provider/(?P<id>.+)",
        "aws ecs delete-capacity-provider --capacity-provider {id}{o}",
    ),
    Kind(
        "launch template",
        "aws:ec2/launchTemplate:LaunchTemplate",
        r"ec2:launch-template/(?P<id>.+)",
        "aws ec2 delete-launch-template --launch-template-id {id}{o}",
    ),
    Kind(
        "scalable target",
        "aws:appautoscaling/target:Target",
        r"application-autoscaling:scalable-target/(?P<id>.+)",
        # The ARN does not contain the service's name.
        "aws application-autoscaling describe-scalable-targets --service-namespace ecs --query "
        "\"ScalableTargets[?ScalableTargetARN=='{arn}'].ResourceId\" --output text{o} | xargs -I % "
        "aws application-autoscaling deregister-scalable-target --service-namespace ecs "
        "--scalable-dimension ecs:service:DesiredCount --resource-id %{o}",
    ),
)
LOAD_BALANCING = (
    Kind(
        "load balancer",
        "aws:lb/loadBalancer:LoadBalancer",
        r"elasticloadbalancing:loadbalancer/(?P<id>.+)",
        "aws elbv2 modify-load-balancer-attributes --load-balancer-arn {arn} "
        "--attributes Key=deletion_protection.enabled,Value=false{o} && "
        "aws elbv2 delete-load-balancer --load-balancer-arn {arn}{o}",
    ),
    Kind(
        "target group",
        "aws:lb/targetGroup:TargetGroup",
        r"elasticloadbalancing:targetgroup/(?P<id>.+)",
        "aws elbv2 delete-target-group --target-group-arn {arn}{o}",
    ),
    Kind(
        "web ACL",
        "aws:wafv2/webAcl:WebAcl",
        r"wafv2:regional/webacl/(?P<name>[^/]+)/(?P<id>.+)",
        "aws wafv2 delete-web-acl --scope REGIONAL --name {name} --id {id}{o} --lock-token "
        '"$(aws wafv2 get-web-acl --scope REGIONAL --name {name} --id {id} --query LockToken --output text{o})"',
    ),
    Kind(
        "certificate",
        "aws:acm/certificate:Certificate",
        r"acm:certificate/(?P<id>.+)",
        "aws acm delete-certificate --certificate-arn {arn}{o}",
    ),
)
NETWORK = (
    Kind(
        "NAT gateway",
        "aws:ec2/natGateway:NatGateway",
        r"ec2:natgateway/(?P<id>.+)",
        "aws ec2 delete-nat-gateway --nat-gateway-id {id}{o} && "
        "aws ec2 wait nat-gateway-deleted --nat-gateway-ids {id}{o}",
    ),
    Kind(
        "Elastic IP address",
        "aws:ec2/eip:Eip",
        r"ec2:elastic-ip/(?P<id>.+)",
        "aws ec2 release-address --allocation-id {id}{o}",
    ),
    Kind(
        "VPC endpoint",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        r"ec2:vpc-endpoint/(?P<id>.+)",
        "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {id}{o}",
    ),
    Kind(
        "flow log",
        "aws:ec2/flowLog:FlowLog",
        r"ec2:vpc-flow-log/(?P<id>.+)",
        "aws ec2 delete-flow-logs --flow-log-ids {id}{o}",
    ),
)
VPC = (
    Kind("subnet", "aws:ec2/subnet:Subnet", r"ec2:subnet/(?P<id>.+)", "aws ec2 delete-subnet --subnet-id {id}{o}"),
    Kind(
        "route table",
        "aws:ec2/routeTable:RouteTable",
        r"ec2:route-table/(?P<id>.+)",
        "aws ec2 delete-route-table --route-table-id {id}{o}",
    ),
    Kind(
        "internet gateway",
        "aws:ec2/internetGateway:InternetGateway",
        r"ec2:internet-gateway/(?P<id>.+)",
        "aws ec2 describe-internet-gateways --internet-gateway-ids {id} "
        "--query 'InternetGateways[].Attachments[].VpcId' --output text{o} | "
        "xargs -r aws ec2 detach-internet-gateway --internet-gateway-id {id}{o} --vpc-id && "
        "aws ec2 delete-internet-gateway --internet-gateway-id {id}{o}",
    ),
    Kind("VPC", "aws:ec2/vpc:Vpc", r"ec2:vpc/(?P<id>.+)", "aws ec2 delete-vpc --vpc-id {id}{o}"),
)
DATA = (
    Kind(
        "ECR repository",
        "aws:ecr/repository:Repository",
        r"ecr:repository/(?P<id>.+)",
        "aws ecr delete-repository --repository-name {id} --force{o}",
    ),
    Kind(
        "S3 bucket",
        "aws:s3/bucket:Bucket",
        r"s3:(?P<id>.+)",
        # The AWS CLI has no command that deletes all versions of all objects.
        ".local/venv/bin/python -c "
        "'import boto3, sys; b = boto3.resource(\"s3\").Bucket(sys.argv[1]); b.object_versions.delete(); b.delete()' "
        "{id}",
    ),
)
MONITORING = (
    Kind(
        "log group",
        "aws:cloudwatch/logGroup:LogGroup",
        r"logs:log-group:(?P<id>[^:]+)(?::\*)?",
        "aws logs delete-log-group --log-group-name {id}{o}",
    ),
    Kind(
        "alarm",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        r"cloudwatch:alarm:(?P<id>.+)",
        "aws cloudwatch delete-alarms --alarm-names {id}{o}",
    ),
    Kind(
        "alarm mute rule",
        "aws:cloudwatch/alarmMuteRule:AlarmMuteRule",
        r"cloudwatch:alarm-mute-rule:(?P<id>.+)",
        "aws cloudwatch delete-alarm-mute-rule --alarm-mute-rule-name {id}{o}",
    ),
    Kind("SNS topic", "aws:sns/topic:Topic", r"sns:(?P<id>.+)", "aws sns delete-topic --topic-arn {arn}{o}"),
)
_GROUPS = (CONTAINERS, LOAD_BALANCING, NETWORK, VPC, DATA, MONITORING)
TAGGED = tuple(kind for group in _GROUPS for kind in group)
# Deleted with what they belong to, or found by another search.
ELSEWHERE = re.compile(
    r"elasticloadbalancing:listener|ec2:(?:security-group|volume|network-interface)|"
    r"ecs:(?:task|container-instance)|secretsmanager:|sagemaker:|autoscaling:|iam:"
)
