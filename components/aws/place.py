"""Where a component's resources go, and what all of them have: names, tags, protection."""

from dataclasses import dataclass

import pulumi

from ..names import physical_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Shared by the boxes of one component. ``name`` is the component's."""

    name: str
    stack: str
    region: pulumi.Output[str]
    account: pulumi.Output[str]
    partition: pulumi.Output[str]
    tags: dict[str, str]
    deletion_protection: bool
    kms_key_arn: pulumi.Input[str] | None
    permissions_boundary_arn: pulumi.Input[str] | None

    def named(self, role: str) -> str:
        """A child's name in the program."""
        return f"{self.name}-{role}"

    def tagged(self, role: str) -> dict[str, str]:
        """A child's tags; its Name tells stacks apart in the console."""
        return {**self.tags, "Name": f"{self.stack}-{self.name}-{role}"}

    def physical_name(self, role: str, limit: int) -> str:
        """A name for a service that wants one chosen: letters, digits and hyphens, at most ``limit`` of them.

        It is the same at every run, and another one for another stack, component or role.
        """
        return physical_name(f"{self.stack}-{self.name}-{role}", limit)

    def arn(self, service: str, resource: pulumi.Input[str]) -> pulumi.Output[str]:
        """The ARN of a resource of this account and region."""
        return pulumi.Output.concat(
            "arn:", self.partition, ":", service, ":", self.region, ":", self.account, ":", resource
        )
