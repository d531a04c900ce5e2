"""What the searches share: resources with the tags of a component, and the VPCs and security groups of a stack."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from preflight.subject import Subject

from ..model import Left
from ..owner import Owner
from .kinds import ASG, Kind

AWS = ("aws:*",)


def options_of(subject: Subject) -> str:
    """The options with the region and the profile, for each command."""
    profile = subject.stack.config.get("aws:profile")
    return f" --region {subject.aws.region}" + (f" --profile {shlex.quote(profile)}" if profile else "")


def tagged(subject: Subject, owners: list[Owner]) -> Iterator[tuple[str, dict[str, str]]]:
    """(ARN, tags) of what has the tags of a component."""
    for owner in owners:
        filters = [{"Key": key, "Values": [value]} for key, value in owner.tags.items()]
        found = subject.aws.call("resourcegroupstaggingapi", "get_resources", TagFilters=filters)
        for one in found.get("ResourceTagMappingList", []):
            yield one["ResourceARN"], as_dict(one.get("Tags", []))


def as_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags by key."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def without_account(arn: str) -> str:
    """An ARN from the service on, without region and account."""
    parts = arn.split(":", 5)
    return f"{parts[2]}:{parts[5]}"


def of_kinds(subject: Subject, owners: list[Owner], kinds: tuple[Kind, ...]) -> list[Left]:
    """The tagged resources of these kinds, in their order."""
    options, found = options_of(subject), list(tagged(subject, owners))
    left: list[Left] = []
    for kind in kinds:
        for arn, tags in found:
            match = re.fullmatch(kind.arn, without_account(arn))
            if match is None:
                continue
            names = {name: shlex.quote(value) for name, value in match.groupdict().items()}
            # The instances of a group that the stack has come and go.
            within = (ASG, tags.get("aws:autoscaling:groupName", ""))
            command = kind.command.format(**names, arn=arn, o=options)
            left.append(Left(f"{kind.what} {match['id']}", command, kind.type, (arn, match["id"]), within))
    return left


def filters_of(owner: Owner) -> list[dict[str, Any]]:
    """The filters of EC2 for the tags of a component."""
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in owner.tags.items()]


def is_owned(tags: list[dict[str, str]], owners: list[Owner]) -> bool:
    """Whether the tags are those of a component."""
    return any(owner.tags.items() <= as_dict(tags).items() for owner in owners)


def vpcs_of(subject: Subject, owners: list[Owner]) -> list[str]:
    """The IDs of the VPCs with the tags of a component."""
    found = [subject.aws.call("ec2", "describe_vpcs", Filters=filters_of(owner))["Vpcs"] for owner in owners]
    return [one["VpcId"] for some in found for one in some]


def removed_groups(subject: Subject, groups: list[dict[str, Any]]) -> list[Left]:
    """Security groups: first their rules, in which they can refer to each other."""
    if not groups:
        return []
    options, type_token = options_of(subject), "aws:ec2/securityGroup:SecurityGroup"
    ids = [group["GroupId"] for group in groups]
    filters = [{"Name": "group-id", "Values": ids}]
    rules = subject.aws.call("ec2", "describe_security_group_rules", Filters=filters)["SecurityGroupRules"]
    left: list[Left] = []
    for group in ids:
        for direction, egress in (("ingress", False), ("egress", True)):
            own = [one["SecurityGroupRuleId"] for one in rules if (one["GroupId"], one["IsEgress"]) == (group, egress)]
            if own:
                command = (
                    f"aws ec2 revoke-security-group-{direction} --group-id {group} "
                    f"--security-group-rule-ids {' '.join(own)}{options}"
                )
                left.append(Left(f"{direction} rules of the security group {group}", command, type_token, (group,)))
    return [
        *left,
        *(
            Left(
                f"security group {group['GroupName']} ({group['GroupId']})",
                f"aws ec2 delete-security-group --group-id {group['GroupId']}{options}",
                type_token,
                (group["GroupId"],),
            )
            for group in groups
        ),
    ]
