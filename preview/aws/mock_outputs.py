"""Mock outputs of AWS resources and functions: ids, ARNs and names in the documented formats."""

import datetime
from collections.abc import Mapping
from typing import Any

from ..mock_ids import CallMock, ResourceMock, hex_id

ACCOUNT = "123456789012"
REGION = "eu-west-1"
PARTITION = "aws"
ZONES = [f"{REGION}{letter}" for letter in "abc"]


def arn(service: str, resource: str) -> str:
    """Return an ARN in the mock account and region."""
    return f"arn:{PARTITION}:{service}:{REGION}:{ACCOUNT}:{resource}"


def resource_id(prefix: str, name: str) -> str:
    """Return an EC2 id, such as vpc-0123456789abcdef0, that is unique for each name."""
    return f"{prefix}-0{hex_id(f'{prefix} {name}')}"


def _elbv2(kind: str, name: str) -> dict[str, str]:
    value = arn("elasticloadbalancing", f"{kind}/{name}/{hex_id(name)}")
    return {"id": value, "arn": value}


def _certificate(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A new certificate, or one that the program looks up, whose names are not known."""
    if "domainName" not in inputs:
        return {
            "id": inputs["id"],
            "arn": inputs["id"],
            "status": "ISSUED",
            "domainName": "",
            "subjectAlternativeNames": [],
        }
    option = {
        "domainName": inputs["domainName"],
        "resourceRecordName": f"_{hex_id('name')}.{inputs['domainName']}.",
        "resourceRecordType": "CNAME",
        "resourceRecordValue": f"_{hex_id('value')}.acm-validations.aws.",
    }
    value = arn("acm", f"certificate/{name}")
    return {"id": value, "arn": value, "domainValidationOptions": [option]}


def _named_arn(service: str, kind: str, name: str) -> dict[str, str]:
    value = arn(service, f"{kind}{name}")
    return {"id": value, "arn": value, "name": name}


RESOURCES: dict[str, ResourceMock] = {
    # -- network, endpoints
    "aws:ec2/vpc:Vpc": lambda name, _: {"id": resource_id("vpc", name)},
    "aws:ec2/subnet:Subnet": lambda name, _: {"id": resource_id("subnet", name)},
    "aws:ec2/routeTable:RouteTable": lambda name, _: {"id": resource_id("rtb", name)},
    "aws:ec2/internetGateway:InternetGateway": lambda name, _: {"id": resource_id("igw", name)},
    "aws:ec2/eip:Eip": lambda name, _: {"id": resource_id("eipalloc", name)},
    "aws:ec2/natGateway:NatGateway": lambda name, _: {"id": resource_id("nat", name)},
    "aws:ec2/securityGroup:SecurityGroup": lambda name, _: {"id": resource_id("sg", name)},
    "aws:ec2/vpcEndpoint:VpcEndpoint": lambda name, _: {"id": resource_id("vpce", name)},
    "aws:ec2/flowLog:FlowLog": lambda name, _: {"id": resource_id("fl", name)},
    # -- tracking, studio
    "aws:s3/bucket:Bucket": lambda name, inputs: {
        "id": inputs.get("bucket", name),
        "bucket": inputs.get("bucket", name),
        "arn": f"arn:{PARTITION}:s3:::{inputs.get('bucket', name)}",
    },
    "aws:sagemaker/mlflowApp:MlflowApp": lambda name, _: {
        "id": arn("sagemaker", f"mlflow-app/app-{hex_id(name)[:12].upper()}"),
        "arn": arn("sagemaker", f"mlflow-app/app-{hex_id(name)[:12].upper()}"),
    },
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": lambda _, inputs: {
        "id": inputs["trackingServerName"],
        "arn": arn("sagemaker", f"mlflow-tracking-server/{inputs['trackingServerName']}"),
    },
    "aws:sagemaker/domain:Domain": lambda name, _: {"id": f"d-{hex_id(name)[:12]}"},
    # -- image, tokens, log
    "aws:ecr/repository:Repository": lambda name, inputs: {
        "id": inputs.get("name", name),
        "name": inputs.get("name", name),
        "arn": arn("ecr", f"repository/{inputs.get('name', name)}"),
        "repositoryUrl": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{inputs.get('name', name)}",
    },
    "aws:secretsmanager/secret:Secret": lambda name, _: {
        "id": arn("secretsmanager", f"secret:{name}-AbCdEf"),
        "arn": arn("secretsmanager", f"secret:{name}-AbCdEf"),
    },
    "aws:cloudwatch/logGroup:LogGroup": lambda name, inputs: {
        "name": inputs.get("name", name),
        "arn": arn("logs", f"log-group:{inputs.get('name', name)}"),
    },
    # -- load balancer
    "aws:lb/loadBalancer:LoadBalancer": lambda name, inputs: {
        **_elbv2("loadbalancer", f"app/{name}"),
        "arnSuffix": f"app/{name}/{hex_id(name)}",
        "dnsName": f"{'internal-' if inputs.get('internal') else ''}{name}-1234567890.{REGION}.elb.amazonaws.com",
        "zoneId": "Z32O12XQLNTSW2",
    },
    "aws:lb/targetGroup:TargetGroup": lambda name, _: {
        **_elbv2("targetgroup", name),
        "arnSuffix": f"targetgroup/{name}/{hex_id(name)}",
    },
    "aws:lb/listener:Listener": lambda name, _: _elbv2("listener", f"app/{name}/{hex_id(name)}"),
    "aws:acm/certificate:Certificate": _certificate,
    "aws:route53/record:Record": lambda _, inputs: {"fqdn": str(inputs["name"]).rstrip(".")},
    "aws:wafv2/webAcl:WebAcl": lambda name, _: {
        "id": hex_id(name),
        "arn": arn("wafv2", f"regional/webacl/{name}/{hex_id(name)}"),
    },
    # -- service, instances
    "aws:ecs/cluster:Cluster": lambda name, _: _named_arn("ecs", "cluster/", name),
    "aws:ecs/capacityProvider:CapacityProvider": lambda name, inputs: _named_arn(
        "ecs", "capacity-provider/", str(inputs.get("name", name))
    ),
    "aws:ecs/taskDefinition:TaskDefinition": lambda _, inputs: {
        "id": inputs["family"],
        "arn": arn("ecs", f"task-definition/{inputs['family']}:1"),
        "revision": 1,
    },
    "aws:ecs/service:Service": lambda name, inputs: {
        "id": arn("ecs", f"service/{str(inputs.get('cluster')).rpartition('/')[2]}/{name}"),
        "name": name,
    },
    "aws:iam/instanceProfile:InstanceProfile": lambda name, _: {
        "name": name,
        "arn": f"arn:{PARTITION}:iam::{ACCOUNT}:instance-profile/{name}",
    },
    "aws:ec2/launchTemplate:LaunchTemplate": lambda name, _: {
        "id": resource_id("lt", name),
        "name": name,
        "latestVersion": 1,
    },
    "aws:autoscaling/group:Group": lambda name, _: {
        "id": name,
        "name": name,
        "arn": arn("autoscaling", f"autoScalingGroup:{hex_id(name)}:autoScalingGroupName/{name}"),
    },
    # -- monitoring
    "aws:sns/topic:Topic": lambda name, _: {"id": arn("sns", name), "arn": arn("sns", name)},
    "aws:cloudwatch/metricAlarm:MetricAlarm": lambda name, _: {"name": name, "arn": arn("cloudwatch", f"alarm:{name}")},
    # -- identity
    "aws:iam/role:Role": lambda name, inputs: {
        "id": inputs.get("name", name),
        "name": inputs.get("name", name),
        "arn": f"arn:{PARTITION}:iam::{ACCOUNT}:role/{inputs.get('name', name)}",
    },
}
CALLS: dict[str, CallMock] = {
    "aws:index/getRegion:getRegion": lambda _: {"id": REGION, "name": REGION, "region": REGION},
    "aws:index/getCallerIdentity:getCallerIdentity": lambda _: {"id": ACCOUNT, "accountId": ACCOUNT},
    "aws:index/getPartition:getPartition": lambda _: {
        "id": PARTITION,
        "partition": PARTITION,
        "dnsSuffix": "amazonaws.com",
    },
    # -- network, endpoints
    "aws:index/getAvailabilityZones:getAvailabilityZones": lambda _: {"names": ZONES},
    "aws:ec2/getSubnet:getSubnet": lambda args: {**args, "availabilityZone": ZONES[int(args["id"][-1], 16) % 3]},
    "aws:ec2/getVpcEndpointService:getVpcEndpointService": lambda args: {
        **args,
        "availabilityZones": ZONES,
        # These two do not support policies (awsdocs/amazon-ecs-developer-guide#55).
        "vpcEndpointPolicySupported": not args["serviceName"].endswith((".ecs-agent", ".ecs-telemetry")),
    },
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": lambda args: {"id": resource_id("pl", args["name"])},
    # -- image
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": lambda _: {"userName": "AWS", "password": "a-password"},
    # -- instances
    "aws:ec2/getAmi:getAmi": lambda args: {
        **args,
        "creationDate": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%S}.000Z",
    },
    "aws:ssm/getParameter:getParameter": lambda args: {
        **args,
        "insecureValue": resource_id("ami", str(args["name"])),
    },
}
