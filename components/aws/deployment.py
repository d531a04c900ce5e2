"""The account, region, names, tags, encryption and protection of all resources of one AwsMlflowProxy."""

from dataclasses import dataclass

import pulumi

from ..names import ResourceNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(ResourceNames):
    """Passed to every child component."""

    region: pulumi.Output[str]
    account: pulumi.Output[str]
    partition: pulumi.Output[str]
    tags: dict[str, pulumi.Input[str]]
    deletion_protection: bool
    kms_key_arn: pulumi.Input[str] | None
    permissions_boundary_arn: pulumi.Input[str] | None

    def tags_for(self, role: str) -> dict[str, pulumi.Input[str]]:
        """The tags of a resource; Name distinguishes stacks in the console."""
        return {**self.tags, "Name": self.full_name(role)}

    def arn(self, service: str, resource: pulumi.Input[str]) -> pulumi.Output[str]:
        """The ARN of a resource in this account and region."""
        return pulumi.Output.concat(
            "arn:", self.partition, ":", service, ":", self.region, ":", self.account, ":", resource
        )
