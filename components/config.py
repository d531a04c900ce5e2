"""The only reader of the stack's config."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pulumi

from .aws.args import AwsMlflowProxyArgs
from .checked import SettingsError

_HOW = "`pulumi config set --secret mlflow:awsSsoClientSecret`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the stack is to have; None for a component that it does not name."""

    aws: AwsMlflowProxyArgs | None


def read_config() -> Config:
    """The stack's config, checked as a whole. Raises SettingsError with everything that is wrong."""
    config = pulumi.Config("mlflow")
    given: Any = config.get_object("aws")
    if given is None:
        return Config(aws=None)
    if not isinstance(given, Mapping):
        raise SettingsError([f"mlflow:aws: {given!r} is given; allowed is a group of settings (an object)."])
    values = dict(cast("Mapping[str, Any]", given))
    inside = [name for name in ("ssoClientSecret", "sso_client_secret") if values.pop(name, None) is not None]
    problems = [f"mlflow:aws.{name}: a secret has a key of its own: {_HOW}." for name in inside]
    secret = config.get_secret("awsSsoClientSecret")
    if secret is not None:
        values["sso_client_secret"] = secret
    try:
        settings = AwsMlflowProxyArgs.read(values, "mlflow:aws")
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    if problems:
        raise SettingsError(problems)
    return Config(aws=settings)
