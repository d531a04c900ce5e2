"""The Pulumi program: creates the components that the stack's config names, and exports their outputs."""

import pulumi

import components
from components.config import read_config


def main() -> None:
    """Create the components. Raises pulumi.RunError for invalid settings."""
    try:
        config = read_config()
    except components.SettingsError as error:
        # The engine shows a RunError without a stack trace.
        raise pulumi.RunError(str(error)) from None
    built: dict[str, pulumi.ComponentResource] = {}
    if config.aws is not None:
        built["aws"] = components.AwsMlflowProxy("mlflow", config.aws.as_arguments())
    if config.gcp is not None:
        built["gcp"] = components.GcpMlflow("mlflow", config.gcp.as_arguments())
    for cloud, component in built.items():
        # With both components in one stack, the cloud prefixes the names of outputs.
        prefix = f"{cloud}_" if len(built) > 1 else ""
        for output in type(component).__annotations__:
            pulumi.export(prefix + output, getattr(component, output))


main()
