"""The only reader of the stack's config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import pulumi
from pulumi.runtime import config as runtime

from .aws.settings import AwsMlflowProxySettings
from .gcp.args import GcpMlflowArgs
from .validation import SettingsError, config_name

Args = TypeVar("Args", AwsMlflowProxySettings, GcpMlflowArgs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the stack is to have; None for a component that it does not name."""

    aws: AwsMlflowProxySettings | None
    gcp: GcpMlflowArgs | None


def read_config() -> Config:
    """The stack's config, checked as a whole. Raises SettingsError with everything that is wrong."""
    google = pulumi.Config("gcp")
    problems = list(_unknown_keys())
    aws = _read(AwsMlflowProxySettings, "aws", {}, problems)
    region = pulumi.Config("aws").get("region")
    if aws is not None and region:
        problems += [f"mlflow:aws.{config_name(name)}: {sentence}" for name, sentence in aws.wrong_region(region)]
    # Where the provider knows them, nobody should have to say them twice.
    provided = {"project": google.get("project"), "region": google.get("region")}
    gcp = _read(GcpMlflowArgs, "gcp", {name: value for name, value in provided.items() if value}, problems)
    if problems:
        raise SettingsError(problems)
    if aws is None and gcp is None:
        raise SettingsError(["mlflow:aws, mlflow:gcp: neither is there; see Pulumi.dev.yaml and Pulumi.gcp-dev.yaml."])
    return Config(aws=aws, gcp=gcp)


def _unknown_keys() -> Iterator[str]:
    known = {"aws", "gcp", *AwsMlflowProxySettings.config_secrets.values(), *GcpMlflowArgs.config_secrets.values()}
    # pulumi.Config tells no keys: a misspelt one would be as if it were not there.
    for key in sorted({*runtime.CONFIG.get(), *runtime.get_config_env()}):
        if key.startswith("mlflow:") and key.removeprefix("mlflow:") not in known:
            yield f"{key}: unknown setting, expected one of {', '.join(f'mlflow:{name}' for name in sorted(known))}."


def _read(args: type[Args], name: str, provided: Mapping[str, str], problems: list[str]) -> Args | None:
    """One component's settings; what is wrong goes to ``problems``."""
    config = pulumi.Config("mlflow")
    where = f"mlflow:{name}"
    given: Any = config.get_object(name)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        problems.append(f"{where}: got {given!r}, expected an object.")
        return None
    values = {**provided, **cast("Mapping[str, Any]", given)}
    wrong: list[str] = []
    for field, key in args.config_secrets.items():
        for spelling in args.spellings(field):
            if values.pop(spelling, None) is not None:
                how = f"`pulumi config set --secret mlflow:{key}`"
                wrong.append(f"{where}.{spelling}: a secret has a key of its own: {how}.")
        secret = config.get_secret(key)
        if secret is not None:
            values[field] = secret
            if not runtime.is_config_secret(f"mlflow:{key}"):
                wrong.append(f"mlflow:{key}: it is in plain text: `pulumi config set --secret mlflow:{key}`.")
    try:
        settings = args.read(values, where)
    except SettingsError as error:
        problems += [*wrong, *error.problems]
        return None
    problems += wrong
    return settings
