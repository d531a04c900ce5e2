"""What to do when a resource cannot be created or updated, beside the provider's own error."""

import pulumi


def failure_hint(name: str, hint: pulumi.Input[str]) -> pulumi.ResourceHookBinding:
    """Hooks that print ``hint`` before a creation or update starts. ``name`` is unique in the program.

    The engine prints it next to the errors of a failed run. It calls no error hook if the provider has created the
    resource and then waits in vain, as for an ECS service (pulumi 3.260.0, ErrorResourceInitFailed).
    """
    known: list[str] = []
    pulumi.Output.from_input(hint).apply(known.append)

    def announce(args: pulumi.ResourceHookArgs) -> None:
        pulumi.log.info(f"If {args.name} fails: {''.join(known)}")

    hook = pulumi.ResourceHook(name, announce)
    return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])
