"""The Pulumi program: creates the component that the stack's config names, and exports its outputs."""

import pulumi

import components
from components.config import read_config


def main() -> None:
    """Create the component. Raises pulumi.RunError for invalid settings."""
    try:
        config = read_config()
    except components.SettingsError as error:
        # The engine shows a RunError without a stack trace.
        raise pulumi.RunError(str(error)) from None
    if config.aws is not None:
        _export(components.AwsMlflowProxy("mlflow", config.aws.as_arguments()))
    if config.gcp is not None:
        _export(components.GcpMlflow("mlflow", config.gcp.as_arguments()))


def _export(component: pulumi.ComponentResource) -> None:
    for output in type(component).__annotations__:
        pulumi.export(output, getattr(component, output))


main()
