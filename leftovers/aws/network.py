"""Searches for the VPC with what is in it."""

from collections.abc import Iterator

from preflight.subject import Subject

from ..model import Left, search
from ..owner import Held, Owner
from .kinds import ASG, NETWORK, VPC
from .tags import AWS, filters_of, of_kinds, options_of, removed_groups, vpcs_of


@search("aws network", types=AWS)
def network(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No NAT gateway, address, VPC endpoint or flow log is left."""
    return of_kinds(subject, owners, NETWORK)


@search("aws security groups", types=AWS)
def security_groups(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No security group is left. A VPC's default one is deleted with it."""
    found = [
        group
        for owner in owners
        for group in subject.aws.call("ec2", "describe_security_groups", Filters=filters_of(owner))["SecurityGroups"]
        if group["GroupName"] != "default"
    ]
    return removed_groups(subject, found)


@search("aws GuardDuty", types=AWS)
def guard_duty(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """Amazon GuardDuty has left no VPC endpoint and no security group in the stack's VPC, where `destroy` may wait for
    them."""
    if any(one.get("type") == ASG for one in Held(subject).resources):
        # GuardDuty monitors its instances.
        return
    for vpc in vpcs_of(subject, owners):
        # https://github.com/hashicorp/terraform-provider-aws/pull/46953
        managed = {"Name": "tag:GuardDutyManaged", "Values": ["true"]}
        filters = [{"Name": "vpc-id", "Values": [vpc]}, managed]
        for one in subject.aws.call("ec2", "describe_vpc_endpoints", Filters=filters)["VpcEndpoints"]:
            command = f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {one['VpcEndpointId']}{options_of(subject)}"
            yield Left(f"VPC endpoint {one['VpcEndpointId']} of GuardDuty", command)
        groups = subject.aws.call("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]
        yield from removed_groups(subject, groups)


@search("aws VPC", types=AWS)
def vpc(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No VPC, subnet, route table or internet gateway is left."""
    return of_kinds(subject, owners, VPC)
