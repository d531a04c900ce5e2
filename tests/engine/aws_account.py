"""An AWS account for tests of the double."""

import json
from typing import Any

from tests.doubles.provider.cloud import Cloud, Resource

VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
BUCKET = "aws:s3/bucket:Bucket"
SECRET = "aws:secretsmanager/secret:Secret"
ROLE = "aws:iam/role:Role"
LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
IMAGE = "docker-build:index:Image"
REPOSITORY = "aws:ecr/repository:Repository"
LIFECYCLE_POLICY = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
TRUST_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)


class Account(Cloud):
    """An account with a VPC, two subnets and a security group."""

    def __init__(self) -> None:
        super().__init__()
        self.vpc = self.create(VPC, "vpc", {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True})
        self.subnets = [self.subnet(index) for index in (1, 2)]
        self.group = self.create(GROUP, "group", {"name": "group", "vpcId": self.vpc.id})

    def subnet(self, index: int) -> Resource:
        """Create a subnet."""
        zone = f"eu-west-1{'abc'[index % 3]}"
        return self.create(
            SUBNET, f"s{index}", {"vpcId": self.vpc.id, "cidrBlock": f"10.0.{index}.0/24", "availabilityZone": zone}
        )

    def load_balancer(self, name: str = "alb", **more: Any) -> Resource:
        """Create an internal load balancer."""
        inputs = {
            "internal": True,
            "subnets": [subnet.id for subnet in self.subnets],
            "securityGroups": [self.group.id],
        }
        return self.create(LOAD_BALANCER, name, {"name": name, **inputs, **more})

    def target_group(self) -> Resource:
        """Create a target group."""
        return self.create(
            TARGET_GROUP,
            "proxies",
            {"name": "proxies", "port": 80, "protocol": "HTTP", "vpcId": self.vpc.id, "targetType": "ip"},
        )

    def listener(self, load_balancer: Resource, target_group: Resource, port: int = 80) -> Resource:
        """Create a listener that forwards to a target group."""
        forward = [{"type": "forward", "targetGroupArn": target_group.id}]
        return self.create(
            LISTENER, f"l{port}", {"loadBalancerArn": load_balancer.id, "port": port, "defaultActions": forward}
        )

    def delete_resource(self, resource: Resource) -> None:
        """Delete a resource."""
        self.delete(resource.kind.token, resource.id, resource.outputs)
