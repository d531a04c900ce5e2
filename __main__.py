"""What this stack's config names is built; its outputs say where to go."""

import pulumi

import components
from components.config import read_config


def main() -> None:
    """Build what the config names. Raises pulumi.RunError for settings that are wrong."""
    try:
        config = read_config()
    except components.SettingsError as error:
        # The engine shows this one without a stack trace.
        raise pulumi.RunError(str(error)) from None
    built: dict[str, pulumi.ComponentResource] = {}
    if config.aws is not None:
        built["aws"] = components.AwsMlflowProxy("mlflow", config.aws)
    if config.gcp is not None:
        built["gcp"] = components.GcpMlflow("mlflow", config.gcp)
    for cloud, component in built.items():
        # One says where to go in plain words; two say of which cloud they speak.
        prefix = f"{cloud}_" if len(built) > 1 else ""
        for output in type(component).__annotations__:
            pulumi.export(prefix + output, getattr(component, output))


main()
