"""What to do when a resource cannot be created or updated, beside the provider's own error."""

import pulumi


def failure_hint(name: str, hint: str, *, except_for: str | None = None) -> pulumi.ResourceHookBinding:
    """A hook that adds ``hint`` to the errors of a failed creation or update. ``name`` is unique in the program.

    Errors that contain ``except_for`` are left to other hooks: a hint ends the operation, which they may repeat.
    """

    def explain(args: pulumi.ErrorHookArgs) -> bool:
        if args.failed_operation == "delete" or (except_for is not None and except_for in args.errors[0]):
            return False
        # The engine reports this error instead of the provider's. The last error is the first one.
        raise pulumi.RunError(f"{args.errors[0]}\n{hint}")

    return pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(name, explain)])
