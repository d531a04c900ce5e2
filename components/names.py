"""Names of resources: in the Pulumi program, and at the cloud provider."""

import hashlib
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceNames:
    """Names of the resources of one component.

    ``component`` is the component's name in the program; ``name`` and ``stack`` are those of the component and the
    Pulumi stack when the component was created: see original_names.
    """

    component: str
    name: pulumi.Input[str]
    stack: pulumi.Input[str]

    def logical_name(self, role: str) -> str:
        """The Pulumi name of a child resource.

        Child components have the component's own name. A name that begins with that of the parent resource inherits
        the parent's aliases, so that a renamed component keeps its resources.
        https://www.pulumi.com/docs/iac/concepts/options/aliases/
        """
        return f"{self.component}-{role}"

    @property
    def title(self) -> pulumi.Output[str]:
        """The component and its stack, for descriptions and display names."""
        return pulumi.Output.concat(self.name, " (", self.stack, ")")

    def full_name(self, role: str) -> pulumi.Output[str]:
        """A readable name that is unique among the stacks and components of one cloud account."""
        return pulumi.Output.concat(self.stack, "-", self.name, "-", role)

    def physical_name(self, role: str, limit: int) -> pulumi.Output[str]:
        """A name for a resource that Pulumi does not name itself: see the function physical_name."""
        return self.full_name(role).apply(lambda name: physical_name(name, limit))


def original_names(
    component: str, *, protect: bool, opts: pulumi.ResourceOptions
) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """The names of a component and its stack when the component was created, from the state.

    Names at the provider, tags and descriptions derive from them: most services cannot rename a resource, so that
    another name of the component or the stack would replace it.
    """
    stash = pulumi.Stash(
        component,
        input={"component": component, "stack": pulumi.get_stack()},
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=protect, ignore_changes=["input"])),
    )
    return stash.output.apply(lambda names: names["component"]), stash.output.apply(lambda names: names["stack"])


def physical_name(name: str, limit: int) -> str:
    """``name`` in lowercase letters, digits and hyphens, starting with a letter, at most ``limit`` characters.

    A name that has to be changed for this gets a hash of the original, so that results are stable and distinct.
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    if plain == name and len(plain) <= limit and plain[0].isalpha():
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"s{plain}"[: limit - 9].rstrip("-") + f"-{digest}"
