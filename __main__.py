"""What this stack's config names is built; its outputs say where to go."""

import pulumi

from components import AwsMlflowProxy, SettingsError
from components.config import read_config


def main() -> None:
    """Build what the config names. Raises pulumi.RunError for settings that are wrong."""
    try:
        config = read_config()
    except SettingsError as error:
        # The engine shows this one without a stack trace.
        raise pulumi.RunError(str(error)) from None
    if config.aws is None:
        raise pulumi.RunError("This stack has no mlflow:aws in its config: see Pulumi.dev.yaml for one that works.")
    gate = AwsMlflowProxy("mlflow", config.aws)
    for output in type(gate).__annotations__:
        pulumi.export(output, getattr(gate, output))


main()
