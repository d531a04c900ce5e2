"""Deletion protection of a component as a whole."""

from collections.abc import Sequence

import pulumi


class DeletionProtection(pulumi.ComponentResource):
    """A resource without content that depends on all others of a component; with protection, it is protected.

    The engine deletes in reverse order of dependencies, and skips the dependencies of a resource that it cannot delete:
    it reaches this one first, and then deletes nothing of the component, with or without a preview. `protect` on the
    resources alone stops the engine only after everything that depends on them is gone.
    https://github.com/pulumi/pulumi/blob/v3.260.0/pkg/resource/deploy/deployment_executor.go (performPostSteps)
    """

    def __init__(
        self, name: str, *, enabled: bool, parent: pulumi.Resource, protected: Sequence[pulumi.Resource]
    ) -> None:
        """``protected``: all child resources of ``parent``; a child component stands for its children."""
        super().__init__(
            "mlflow:index:DeletionProtection",
            name,
            {},
            # Registered without protection, too: the engine could not remove it otherwise.
            pulumi.ResourceOptions(parent=parent, protect=enabled, depends_on=list(protected)),
        )
        self.register_outputs({})
