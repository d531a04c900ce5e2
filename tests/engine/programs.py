"""Programs for the engine: a short program for a test, or the repository's program."""

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

ROOT = Path(__file__).parents[2]
CONFIG = {"aws:region": "eu-west-1"}
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
# `default` is the default VPC of a Google Cloud project.
EXISTING = (KEY, "default")
OAUTH_SECRET = "planted-oauth-client-secret-9c2f"


def secrets_of(stack: str) -> dict[str, str]:
    """Return the secrets of a stack, which are not in Pulumi.<stack>.yaml."""
    return {"mlflow:gcpOauthClientSecret": OAUTH_SECRET} if stack.startswith("gcp") else {}


def write(folder: Path, venv: Path, program: str | None = None) -> None:
    """Write a project for the engine: this program, or a copy of the repository's program."""
    folder.mkdir(parents=True)
    project: Any = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    project["runtime"]["options"]["virtualenv"] = str(venv)
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
    if program is not None:
        (folder / "__main__.py").write_text(textwrap.dedent(program), encoding="utf-8")
        return
    copy_packages(folder)
    for name in ("__main__.py", ".dockerignore"):
        shutil.copy(ROOT / name, folder)


def copy_packages(folder: Path) -> None:
    """Copy the packages that a program imports or builds images from."""
    for name in ("components", "proxy_app", "mlflow_app"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def config_of(stack: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the config of Pulumi.<stack>.yaml, merged with these settings of the component."""
    config: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    # The example files contain placeholders, and the mock providers take them.
    return with_settings({**config, "mlflow:allowPlaceholders": True}, settings or {})


def with_settings(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config, merged with these settings of its component."""
    component = next(name for name in ("mlflow:aws", "mlflow:gcp") if name in config)
    return {**config, component: _merge(config[component], settings)}


def _merge(base: Any, override: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(override, Mapping):
        return override
    first, second = cast("Mapping[str, Any]", base), cast("Mapping[str, Any]", override)
    return {**first, **{name: _merge(first.get(name), value) for name, value in second.items()}}
