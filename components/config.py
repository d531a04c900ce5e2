"""The only reader of the stack's config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import pulumi
from pulumi.runtime import config as runtime

from .aws.settings import AwsMlflowProxySettings
from .gcp.settings import GcpMlflowSettings
from .placeholders import placeholders
from .validation import SettingsError, config_name

Args = TypeVar("Args", AwsMlflowProxySettings, GcpMlflowSettings)
# `make preview` and the tests set it: they create nothing, so they take the example files as they are.
_ALLOW_PLACEHOLDERS = "allowPlaceholders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of the stack's component, and None for the other one."""

    aws: AwsMlflowProxySettings | None
    gcp: GcpMlflowSettings | None


def read_config() -> Config:
    """Read and validate the stack's config. Raises SettingsError with all problems at once."""
    google = pulumi.Config("gcp")
    problems = list(_unknown_keys())
    if not pulumi.Config("mlflow").get_bool(_ALLOW_PLACEHOLDERS):
        problems += [f"{setting}: {problem}" for setting, problem in placeholders(_plain_config())]
    aws = _read(AwsMlflowProxySettings, "aws", {}, problems)
    region = pulumi.Config("aws").get("region")
    if aws is not None and region:
        problems += [f"mlflow:aws.{config_name(name)}: {message}" for name, message in aws.wrong_region(region)]
    # Defaults from the provider's configuration.
    provided = {"project": google.get("project"), "region": google.get("region")}
    gcp = _read(GcpMlflowSettings, "gcp", {name: value for name, value in provided.items() if value}, problems)
    if problems:
        raise SettingsError(problems)
    if aws is not None and gcp is not None:
        # A second cloud would have to rename the outputs that both components have.
        raise SettingsError(
            ["mlflow:aws, mlflow:gcp: both are set, expected one of them: create another stack for the other cloud."]
        )
    if aws is None and gcp is None:
        raise SettingsError(
            ["mlflow:aws, mlflow:gcp: missing: set one of them, as in Pulumi.dev.yaml and Pulumi.gcp-dev.yaml."]
        )
    return Config(aws=aws, gcp=gcp)


def _plain_config() -> dict[str, str]:
    config = {**runtime.CONFIG.get(), **runtime.get_config_env()}
    return {key: value for key, value in config.items() if not runtime.is_config_secret(key)}


def _unknown_keys() -> Iterator[str]:
    known = {"aws", "gcp", *AwsMlflowProxySettings.config_secrets.values(), *GcpMlflowSettings.config_secrets.values()}
    # pulumi.Config does not list keys, so a misspelt key would otherwise be ignored silently.
    for key in sorted({*runtime.CONFIG.get(), *runtime.get_config_env()}):
        if key.startswith("mlflow:") and key.removeprefix("mlflow:") not in {_ALLOW_PLACEHOLDERS, *known}:
            yield f"{key}: unknown setting, expected one of {', '.join(f'mlflow:{name}' for name in sorted(known))}."


def _read(args: type[Args], name: str, provided: Mapping[str, str], problems: list[str]) -> Args | None:
    """Settings of one component; problems are appended to ``problems``."""
    config = pulumi.Config("mlflow")
    where = f"mlflow:{name}"
    configured: Any = config.get_object(name)
    if configured is None:
        return None
    if not isinstance(configured, Mapping):
        problems.append(f"{where}: got {configured!r}, expected an object.")
        return None
    values = {**provided, **cast("Mapping[str, Any]", configured)}
    wrong: list[str] = []
    for field, key in args.config_secrets.items():
        for spelling in args.spellings(field):
            if values.pop(spelling, None) is not None:
                how = f"`pulumi config set --secret mlflow:{key}`"
                wrong.append(f"{where}.{spelling}: not allowed here, set it as a secret: {how}.")
        secret = config.get_secret(key)
        if secret is not None:
            values[field] = secret
            if not runtime.is_config_secret(f"mlflow:{key}"):
                wrong.append(
                    f"mlflow:{key}: stored in plain text, expected a secret: `pulumi config set --secret mlflow:{key}`."
                )
    try:
        settings = args.read(values, where)
    except SettingsError as error:
        problems += [*wrong, *error.problems]
        return None
    problems += wrong
    return settings
